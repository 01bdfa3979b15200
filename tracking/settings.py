"""Where the store is and which project is meant: argument, environment, project file, user file, default.

The only module below `cli/` that reads the environment, and only when `find_settings` is called.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..artifacts.names import ProjectName, check_name
from ..storage.errors import UsageError

DEFAULT_ENTITY = "default"
DEFAULT_PROJECT = "uncategorized"
_KEYS = {"store", "project", "entity", "cache", "storage_options"}


@dataclass(frozen=True, slots=True)
class StoreChoice:
    """The answer, and for the store where it came from."""

    store: str
    store_from: str
    project: str
    entity: str | None  # None: the store's own default
    cache: Path
    storage_options: Mapping[str, Any]

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

    Order: the arguments; `LINEART_STORE`, `LINEART_PROJECT`, `LINEART_ENTITY`, `LINEART_CACHE`; `lineart.toml` or
    `[tool.lineart]` of `pyproject.toml` in `folder` or above it; `lineart/config.toml` in the user's configuration
    folder; else `~/.lineart` and the project `uncategorized`. `project` may be ``entity/project``.
    Raises: UsageError for a file that is not TOML or has unknown keys; InvalidNameError.
    """
    env = os.environ if environ is None else environ
    home = Path(env.get("HOME") or Path.home())
    files = [*_project_file(folder or Path.cwd()), *_user_file(env, home)]

    def pick(key: str, argument: str | None) -> tuple[str | None, str]:
        if argument is not None:
            return argument, "argument"
        variable = f"LINEART_{key.upper()}"
        if env.get(variable):
            return env[variable], variable
        for path, values in files:
            if key in values:
                return _resolved(key, str(values[key]), path), str(path)
        return None, "default"

    def rank(origin: str) -> int:
        places = ["argument", "environment", *(str(path) for path, _ in files), "default"]
        return places.index("environment" if origin.startswith("LINEART_") else origin)

    store_url, store_from = pick("store", store)
    project_name, project_from = pick("project", project)
    project_name = project_name or DEFAULT_PROJECT
    entity_name, entity_from = pick("entity", entity)
    if "/" in project_name:
        parsed = ProjectName.parse(project_name, ProjectName(DEFAULT_ENTITY, DEFAULT_PROJECT))
        project_name = parsed.project
        if rank(project_from) <= rank(entity_from):  # an entity that was chosen nearer by stays
            entity_name = parsed.entity
    cache = pick("cache", None)[0]
    cache_home = Path(env.get("XDG_CACHE_HOME") or home / ".cache")
    options: Mapping[str, Any] = next(
        (values["storage_options"] for _, values in files if "storage_options" in values), {}
    )
    return StoreChoice(
        store=store_url or str(home / ".lineart"),
        store_from=store_from,
        project=check_name(project_name, "project"),
        entity=None if entity_name is None else check_name(entity_name, "entity"),
        cache=Path(cache).expanduser() if cache else cache_home / "lineart",
        storage_options=options,
    )


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
    if key in ("store", "cache") and "://" not in value:
        return str(path.parent / Path(value).expanduser())
    return value
