"""Where the store is and which project is meant: argument, environment, project file, user file, default.

The only module below `cli/` that reads the environment, and only when `find_settings` is called.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..artifacts.names import ProjectName, check_name
from ..storage.errors import UsageError
from ..storage.s3_options import S3_SCHEMES, check_options, parse_options, split_address

DEFAULT_ENTITY = "default"
DEFAULT_PROJECT = "uncategorized"
DEFAULT_REGISTRY = (
    "model-registry"  # where names without a path are looked for that the project does not have
)
ATTACH_VARIABLE = "LINEART_ATTACH"
_OPTIONS_VARIABLE = "LINEART_STORAGE_OPTIONS"
_SIGNING_VARIABLE = "LINEART_SIGNING_KEY"
_TRUST_VARIABLE = "LINEART_TRUSTED_KEYS"
_KEYS = {
    "store",
    "project",
    "entity",
    "cache",
    "cache_size",
    "data",
    "storage_options",
    "alerts",
    "run",
    "signing_key",
    "trust",
}


@dataclass(frozen=True, slots=True)
class StoreChoice:
    """The answer, and for the store where it came from."""

    store: str
    store_from: str
    project: str
    entity: str | None  # None: the store's own default
    cache: Path
    data: Path  # what must not get lost: journals of runs whose store is remote, or gone
    storage_options: Mapping[str, Any]
    cache_bytes: int | None = None  # of what was read of remote stores; None: a tenth of the disk
    alerts: tuple[str, ...] = ()  # addresses that `run.alert` sends to
    run: Mapping[str, Any] = field(default_factory=dict)  # of `Settings`, from a settings file

    @property
    def is_default_store(self) -> bool:
        """Whether nobody chose a store: then it is made at first use."""
        return self.store_from == "default"


def find_settings(
    *,
    store: str | None = None,
    project: str | None = None,
    entity: str | None = None,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> StoreChoice:
    """The choice for a process in `folder` (default: the current one).

    Order: the arguments; `LINEART_STORE`, `LINEART_PROJECT`, `LINEART_ENTITY`, `LINEART_CACHE`, `LINEART_CACHE_SIZE`,
    `LINEART_DATA`, `LINEART_STORAGE_OPTIONS` (for project and entity `WANDB_PROJECT`, `WANDB_ENTITY` after them);
    `lineart.toml` or `[tool.lineart]` of `pyproject.toml` in `folder` or above it; `lineart/config.toml` in the user's
    configuration folder; else `~/.lineart` and the project `uncategorized`. `project` may be ``entity/project``.
    Raises: UsageError for a file that is not TOML or has unknown keys, for wrong options of a store on S3, and for
    credentials in its address; InvalidNameError.
    """
    env = os.environ if environ is None else environ
    home = Path(env.get("HOME") or Path.home())
    files = [*_project_file(folder or _here()), *_user_file(env, home)]

    def pick(key: str, argument: str | None) -> tuple[str | None, str]:
        if argument is not None:
            return argument, "argument"
        for variable in (f"LINEART_{key.upper()}", *_ALSO.get(key, ())):
            if env.get(variable):
                return env[variable], variable
        for path, values in files:
            if key in values:
                return _resolved(key, str(values[key]), path), str(path)
        return None, "default"

    def rank(origin: str) -> int:
        places = ["argument", "environment", *(str(path) for path, _ in files), "default"]
        return places.index("environment" if origin.startswith(("LINEART_", "WANDB_")) else origin)

    store_url, store_from = pick("store", store)
    project_name, project_from = pick("project", project)
    project_name = project_name or DEFAULT_PROJECT
    entity_name, entity_from = pick("entity", entity)
    if "/" in project_name:
        parsed = ProjectName.parse(project_name, ProjectName(DEFAULT_ENTITY, DEFAULT_PROJECT))
        project_name = parsed.project
        if rank(project_from) <= rank(entity_from):  # an entity that was chosen nearer by stays
            entity_name = parsed.entity
    cache, data = pick("cache", None)[0], pick("data", None)[0]
    data_home = Path(env.get("XDG_DATA_HOME") or home / ".local" / "share")
    cache_home = Path(env.get("XDG_CACHE_HOME") or home / ".cache")
    run = _of_runs(files)
    alerts: list[str] | str = _first(files, "alerts", [])
    if env.get("LINEART_ALERTS"):
        alerts = env["LINEART_ALERTS"].split()
    return StoreChoice(
        store=store_url or str(home / ".lineart"),
        store_from=store_from,
        project=check_name(project_name, "project"),
        entity=None if entity_name is None else check_name(entity_name, "entity"),
        cache=Path(cache).expanduser() if cache else cache_home / "lineart",
        data=Path(data).expanduser() if data else data_home / "lineart",
        storage_options=_storage_options(store_url, files, env),
        cache_bytes=_size(pick("cache_size", None)),
        alerts=tuple([alerts] if isinstance(alerts, str) else alerts),
        run=run,
    )


@dataclass(frozen=True, slots=True)
class SigningChoice:
    """With which key to sign and which keys to trust, as they were named. The secrets in it are not printed."""

    key: str | None = field(default=None, repr=False)  # a path, or a private key in PEM
    key_from: str = "default"
    password: str | None = field(default=None, repr=False)
    trusted: tuple[str, ...] = ()  # paths of public keys, which may have wildcards
    trusted_from: str = "default"


def find_signing(*, environ: Mapping[str, str] | None = None, folder: Path | None = None) -> SigningChoice:
    """The keys for a process in `folder` (default: the current one).

    The key to sign with: `LINEART_SIGNING_KEY` (a path, or the key itself in PEM), else `signing_key` in a settings
    file (a path, relative to that file); its password: `LINEART_SIGNING_KEY_PASSWORD`. The keys to trust:
    `LINEART_TRUSTED_KEYS` (paths, divided as in `PATH`), else `keys` of `[trust]` in a settings file.
    Raises: UsageError for a file that is not TOML or has unknown keys, and for a private key in a settings file.
    """
    env = os.environ if environ is None else environ
    home = Path(env.get("HOME") or Path.home())
    files = [*_project_file(folder or _here()), *_user_file(env, home)]
    key, key_from = env.get(_SIGNING_VARIABLE) or None, _SIGNING_VARIABLE
    if key is None:
        path, values = next(((p, v) for p, v in files if "signing_key" in v), (Path(), {}))
        said, key_from = values.get("signing_key"), str(path) if values else "default"
        if said is not None and (not isinstance(said, str) or "-----BEGIN" in said):
            raise UsageError(
                f"settings {path}: signing_key is not a path; name the file that the private key lies in"
            )
        key = None if said is None else _beside(path, said)
    if env.get(_TRUST_VARIABLE):
        trusted, trusted_from = env[_TRUST_VARIABLE].split(os.pathsep), _TRUST_VARIABLE
    else:
        path, values = next(((p, v) for p, v in files if "trust" in v), (Path(), {}))
        trusted, trusted_from = _trusted(path, values), str(path) if values else "default"
    password = env.get(f"{_SIGNING_VARIABLE}_PASSWORD") or None
    return SigningChoice(key, key_from, password, tuple(filter(None, trusted)), trusted_from)


def _trusted(path: Path, values: Mapping[str, Any]) -> list[str]:
    trust = values.get("trust", {})
    listed = trust.get("keys", []) if isinstance(trust, Mapping) else None
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        raise UsageError(f'settings {path}: trust is {trust!r}; expected keys = ["keys/*.pub"] below [trust]')
    return [_beside(path, item) for item in listed]


def _beside(path: Path, value: str) -> str:
    return str(path.parent / Path(value).expanduser())


# What `init` takes from the environment when it is not given: argument → variables, the first that is set counts.
_ALSO = {"project": ("WANDB_PROJECT",), "entity": ("WANDB_ENTITY",)}
_OF_A_RUN = {
    "id": ("LINEART_RUN_ID", "WANDB_RUN_ID"),
    "name": ("LINEART_NAME", "WANDB_NAME"),
    "notes": ("LINEART_NOTES", "WANDB_NOTES"),
    "tags": ("LINEART_TAGS", "WANDB_TAGS"),
    "group": ("LINEART_RUN_GROUP", "WANDB_RUN_GROUP"),
    "job_type": ("LINEART_JOB_TYPE", "WANDB_JOB_TYPE"),
    "mode": ("LINEART_MODE", "WANDB_MODE"),
    "resume": ("LINEART_RESUME", "WANDB_RESUME"),
    "dir": ("LINEART_DIR", "WANDB_DIR"),
}
_SWITCHES = {  # setting → variable, and whether a true one switches it off
    "git": ("DISABLE_GIT", True),
    "save_code": ("DISABLE_CODE", True),
    "packages": ("DISABLE_PACKAGES", True),
    "system": ("DISABLE_STATS", True),
    "host": ("DISABLE_HOST", True),
    "environment": ("DISABLE_ENVIRONMENT", True),
    "silent": ("SILENT", False),
}
_TRUE = {"1", "true", "yes", "on"}


@dataclass(frozen=True, slots=True)
class RunEnvironment:
    """What the environment says of a run: arguments of `init`, values of `Settings`, the run it belongs to."""

    arguments: Mapping[str, str]
    settings: Mapping[str, Any]
    attach: str | None
    variables: Mapping[str, str]  # all of them, for what is captured


def find_run_environment(environ: Mapping[str, str] | None = None) -> RunEnvironment:
    """Read `LINEART_*`, and `WANDB_*` where that is not set."""
    env = os.environ if environ is None else environ
    arguments = {
        argument: env[name]
        for argument, names in _OF_A_RUN.items()
        if (name := next((name for name in names if env.get(name)), None)) is not None
    }
    settings: dict[str, Any] = {}
    for setting, (name, off) in _SWITCHES.items():
        text = env.get(f"LINEART_{name}") or env.get(f"WANDB_{name}")
        if text:
            settings[setting] = (text.lower() in _TRUE) is not off
    console = env.get("LINEART_CONSOLE") or env.get("WANDB_CONSOLE")
    if console:
        settings["console"] = console
    roots = [root.strip() for root in env.get("LINEART_OBSERVE", "").split(",")]
    if any(roots):
        settings["observe"] = [root for root in roots if root]
    return RunEnvironment(arguments, settings, attached_run(env), dict(env))


def attached_run(environ: Mapping[str, str] | None = None) -> str | None:
    """The run that this process belongs to, as ``entity/project/id``: what `art exec` says in `LINEART_ATTACH`."""
    return (os.environ if environ is None else environ).get(ATTACH_VARIABLE) or None


_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_UNITS |= {
    "k": 2**10,
    "m": 2**20,
    "g": 2**30,
    "t": 2**40,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}


def _size(found: tuple[str | None, str]) -> int | None:
    """A size such as ``20 GiB`` in bytes. Raises: UsageError."""
    text, origin = found
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text)
    unit = _UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise UsageError(f"cache_size {text!r} of {origin}: expected a size such as '20 GiB' or '500MB'")
    return int(float(match[1]) * unit)


def _storage_options(
    store: str | None, files: list[tuple[Path, Mapping[str, Any]]], env: Mapping[str, str]
) -> Mapping[str, Any]:
    """How to get to the store: of the nearest file that says something, and over it of the environment.

    What the address itself says stays there, and goes before both. Raises: UsageError.
    """
    path, values = next(((path, values) for path, values in files if "storage_options" in values), (None, {}))
    options: Mapping[str, Any] = values.get("storage_options", {})
    split_address(store or "")
    if (store or "").partition("://")[0] not in S3_SCHEMES:
        return options
    if not isinstance(options, Mapping):
        raise UsageError(f"settings {path}: storage_options is {options!r}; expected a table")
    said = parse_options(env.get(_OPTIONS_VARIABLE, ""), _OPTIONS_VARIABLE)
    return {**check_options(options, f"settings {path}: storage_options"), **said}


def _of_runs(files: list[tuple[Path, Mapping[str, Any]]]) -> Mapping[str, Any]:
    """The settings of runs, of the nearest file that has some; its data roots are relative to that file."""
    path, run = next(((path, values["run"]) for path, values in files if "run" in values), (Path(), {}))
    roots = run.get("observe") if isinstance(run, Mapping) else None
    if isinstance(roots, list) and all(isinstance(root, str) for root in roots):
        return {**run, "observe": [_resolved("observe", root, path) for root in roots]}
    return run


def _first(files: list[tuple[Path, Mapping[str, Any]]], key: str, default: Any) -> Any:
    return next((values[key] for _, values in files if key in values), default)


def _here() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise UsageError("the current folder was removed; change to one that exists") from None


def _project_file(folder: Path) -> list[tuple[Path, Mapping[str, Any]]]:
    for place in [folder, *folder.parents]:
        own = place / "lineart.toml"
        if own.is_file():
            return [(own, _checked(own, _read(own)))]
        shared = place / "pyproject.toml"
        if shared.is_file():
            values = _read(shared).get("tool", {}).get("lineart")
            if values is not None:
                return [(shared, _checked(shared, values))]
    return []


def _user_file(env: Mapping[str, str], home: Path) -> list[tuple[Path, Mapping[str, Any]]]:
    path = Path(env.get("XDG_CONFIG_HOME") or home / ".config") / "lineart" / "config.toml"
    return [(path, _checked(path, _read(path)))] if path.is_file() else []


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"settings {path}: {error}; correct the file") from error


def _checked(path: Path, values: Mapping[str, Any]) -> Mapping[str, Any]:
    unknown = sorted(set(values) - _KEYS)
    if unknown:
        raise UsageError(f"settings {path}: unknown key {unknown[0]!r}; expected {', '.join(sorted(_KEYS))}")
    return values


def _resolved(key: str, value: str, path: Path) -> str:
    """A relative folder in a settings file is relative to that file."""
    if key in ("store", "cache", "data", "observe") and "://" not in value:
        return str(path.parent / Path(value).expanduser())
    return value
