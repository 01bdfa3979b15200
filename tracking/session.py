"""The process's current run and default store: what the module-level functions of `lineart` work on."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NoReturn

from ..storage.errors import Error
from .attach import split_run_path
from .config_sources import chosen_keys, config_values
from .disabled_run import DisabledRun
from .exits import Exits, before_thread_pools_end
from .run import Run
from .run_settings import Settings
from .settings import find_run_environment, find_settings
from .starting import Wish, attach_by_environment, start_run
from .workspace import Workspace

AnyRun = Run | DisabledRun
Mode = Literal["online", "offline", "disabled"]
_MODES = {
    "online": "online",
    "offline": "offline",
    "disabled": "disabled",
    "dryrun": "offline",
    "run": "online",
}

_current: AnyRun | None = None
_exits: Exits | None = None
_registered_pid: int | None = None
_attached_pid: int | None = None


def default_workspace(*, create: bool = False) -> Workspace:
    """The store and project that environment and settings files name. Raises: NotFoundError when there is none."""
    return Workspace.open(find_settings(), create=create)


def init(
    project: str | None = None,
    entity: str | None = None,
    name: str | None = None,
    id: str | None = None,
    config: Any = None,
    tags: Sequence[str] | None = None,
    notes: str | None = None,
    group: str | None = None,
    job_type: str | None = None,
    dir: str | os.PathLike[str] | None = None,
    mode: Mode | None = None,
    resume: bool | Literal["allow", "must", "never", "auto"] | None = None,
    reinit: bool | Literal["default", "return_previous", "finish_previous", "create_new"] | None = None,
    save_code: bool | None = None,
    config_exclude_keys: Sequence[str] | None = None,
    config_include_keys: Sequence[str] | None = None,
    allow_val_change: bool | None = None,
    settings: Settings | Mapping[str, Any] | None = None,
    store: str | None = None,
) -> Run:
    """Start a run and make it the current one; one that was still running is finished first.

    Under `art exec` the first call of a process goes on with the run of its command, unless it names another project.

    The store is `store`, or what `LINEART_STORE`, `lineart.toml` and the user's settings say, else ``~/.lineart``;
    a local folder is made when it does not exist. `config` is a dictionary, a namespace, a dataclass or the path of a
    YAML or JSON file. `resume` continues a run that exists: ``"must"`` and ``"never"`` raise when it does not, or does;
    ``"auto"`` continues the last run that did not end well in this folder. ``mode="offline"`` writes to a store on this
    machine, ``"disabled"`` nowhere. `reinit` says what happens to a run that is still going: ``"finish_previous"`` (the
    default), ``"return_previous"`` or ``"create_new"``. `settings` switch off what is captured.
    Raises: InvalidNameError, UsageError, NotFoundError, StoreError, CommError.
    """
    global _current  # noqa: PLW0603 - one run a process is current: that is what init means
    environment = find_run_environment()
    said = environment.arguments
    previous = _previous(reinit)
    if previous is not None:
        return previous
    chosen_mode = _MODES.get(mode if mode is not None else said.get("mode", "online"))
    if chosen_mode is None:
        raise _bad_choice("mode", mode or said.get("mode"), ("online", "offline", "disabled"))
    values = chosen_keys(config_values(config), config_include_keys, config_exclude_keys)
    wish = Wish(
        id=id if id is not None else said.get("id"),
        name=name if name is not None else said.get("name"),
        config=values,
        tags=_tags(tags, said.get("tags")),
        notes=notes if notes is not None else said.get("notes"),
        group=group if group is not None else said.get("group"),
        job_type=job_type if job_type is not None else said.get("job_type"),
        dir=_folder(dir if dir is not None else said.get("dir")),
        resume=resume if resume is not None else said.get("resume"),
        allow_val_change=bool(allow_val_change),
        offline=chosen_mode == "offline",
    )
    if chosen_mode == "disabled":
        _current = _disabled(wish, project, entity)
        return _current  # type: ignore[return-value]  # it takes the same calls
    around = environment.attach if id is None else None
    if around is not None and not _goes_on_with(around, project, entity):
        around, wish = (
            None,
            replace(wish, id=None, resume=None),
        )  # what the environment says is meant for that run
    found = find_settings(store=store, project=project, entity=entity)
    given = {} if save_code is None else {"save_code": save_code}
    chosen = Settings.of(settings, {**found.run, **environment.settings, **given})
    if around is not None:
        made = attach_by_environment(around, found, wish, chosen, environment)
    else:
        made = start_run(found, wish, chosen, environment)
    adopt(made)
    return made


def _goes_on_with(around: str, project: str | None, entity: str | None) -> bool:
    """Whether `init` means the run that `art exec` has started: the first call of a process, in the same project."""
    global _attached_pid  # noqa: PLW0603 - of the process, as the current run is
    home, _ = split_run_path(around)
    if (
        _attached_pid == os.getpid()
        or project not in (None, home.project, str(home))
        or entity not in (None, home.entity)
    ):
        return False
    _attached_pid = os.getpid()
    return True


def adopt(run: Run) -> None:
    """Make `run` the current one, and see that it ends with the process."""
    global _current, _exits, _registered_pid  # noqa: PLW0603 - see init
    _current = run
    if _exits is None:
        _exits = Exits()
        _exits.watch()
    run._ended.append(lambda: _release(run))
    if _registered_pid != os.getpid():
        _registered_pid = os.getpid()
        before_thread_pools_end(_finish_at_exit)


def forget() -> None:
    """End every run of this process and be as before the first `init`: for tests."""
    global _current, _attached_pid
    from .run import open_runs

    for run in open_runs():
        run.finish()
    _current, _attached_pid = None, None


def _release(run: Run) -> None:
    global _exits  # noqa: PLW0603 - see init
    from .run import open_runs

    if _exits is not None and all(other is run for other in open_runs()):
        _exits.release()
        _exits = None


def _previous(reinit: Any) -> Run | None:
    """What `reinit` says of a run that is still going; the run if it is to be returned."""
    choices = ("finish_previous", "return_previous", "create_new", "default")
    chosen = {None: "finish_previous", True: "finish_previous", False: "return_previous"}.get(reinit, reinit)
    if chosen not in choices:
        raise _bad_choice("reinit", reinit, choices)
    if _current is None or _current.state != "running":
        return None
    if chosen == "return_previous":
        return _current  # type: ignore[return-value]
    if chosen != "create_new":
        _current.finish()
    return None


def _bad_choice(what: str, value: Any, choices: Sequence[str]) -> Error:
    from ..storage.errors import UsageError

    return UsageError(f"init {what} {value!r}: expected one of {', '.join(choices)}")


def _tags(given: Sequence[str] | None, said: str | None) -> Sequence[str] | None:
    if isinstance(given, str):
        return [given]
    if given is not None:
        return given
    return None if said is None else [tag.strip() for tag in said.split(",") if tag.strip()]


def _folder(given: str | os.PathLike[str] | None) -> Path | None:
    return None if given is None else Path(given).expanduser().absolute()


def _disabled(wish: Wish, project: str | None, entity: str | None) -> DisabledRun:
    return DisabledRun(
        project=project or "",
        entity=entity or "",
        id=wish.id or secrets.token_hex(4),
        name=wish.name,
        config=wish.config,
        tags=wish.tags or (),
        notes=wish.notes,
        group=wish.group,
        job_type=wish.job_type,
        allow_val_change=wish.allow_val_change,
    )


def current_run() -> Run | None:
    """The run of the last `init`, also after it was finished; None before."""
    return _current  # type: ignore[return-value]


def demand_run(what: str) -> Run:
    """The current run, for a call of `what`. Raises: Error before `init` and after `finish`."""
    if _current is None:
        no_run(what)
    if _current.state != "running":
        raise Error(
            f"lineart.{what}: the run {_current.path} has ended; call lineart.init() to start another"
        )
    return _current  # type: ignore[return-value]


def no_run(what: str) -> NoReturn:
    """Raises: Error that names `init`."""
    raise Error(f"lineart.{what}: there is no run; call lineart.init() first")


def _finish_at_exit() -> None:
    """A script that ends without `finish` has still finished; one that ends by an exception has failed."""
    from .run import open_runs

    exits = _exits or Exits()
    code, error = exits.outcome()
    for run in open_runs():
        if error is not None:
            run.fail(error)
        elif exits.signal is not None:
            run.end(code, f"terminated by {exits.signal}")
        else:
            run.finish(code)
