"""The process's current run and default store: what the module-level functions of `lineart` work on."""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from ..storage.errors import Error
from .artifact import Artifact
from .run import Run
from .settings import find_settings
from .workspace import Workspace

_current: Run | None = None
_registered_pid: int | None = None


def default_workspace(*, create: bool = False) -> Workspace:
    """The store and project that environment and settings files name. Raises: NotFoundError when there is none."""
    return Workspace.open(find_settings(), create=create)


def init(
    project: str | None = None,
    entity: str | None = None,
    name: str | None = None,
    id: str | None = None,
    config: Mapping[str, Any] | None = None,
    tags: Sequence[str] | None = None,
    notes: str | None = None,
    group: str | None = None,
    job_type: str | None = None,
    store: str | None = None,
) -> Run:
    """Start a run and make it the current one; one that was still running is finished first.

    The store is `store`, or what `LINEART_STORE`, `lineart.toml` and the user's settings say, else ``~/.lineart``;
    a local folder is made when it does not exist.
    Raises: InvalidNameError, UsageError, NotFoundError, StoreError, CommError.
    """
    global _current, _registered_pid  # noqa: PLW0603 - one run a process is current: that is what init means
    if _current is not None:
        _current.finish()
    workspace = Workspace.open(find_settings(store=store, project=project, entity=entity), create=True)
    _current = Run(
        workspace,
        id=id,
        name=name,
        config=config,
        tags=tags or (),
        notes=notes,
        group=group,
        job_type=job_type,
    )
    if _registered_pid != os.getpid():
        _registered_pid = os.getpid()
        atexit.register(_finish_at_exit)
    return _current


def current_run() -> Run | None:
    """The run of the last `init`, also after it was finished; None before."""
    return _current


def finish(exit_code: int | None = None) -> None:
    """End the current run. Raises: Error when there is none."""
    _demand("finish").finish(exit_code)


def log(data: Mapping[str, Any]) -> None:
    """`Run.log` of the current run."""
    _demand("log").log(data)


def use_artifact(
    artifact_or_name: Artifact | str, type: str | None = None, role: str | None = None
) -> Artifact:
    """`Run.use_artifact` of the current run."""
    return _demand("use_artifact").use_artifact(artifact_or_name, type=type, role=role)


def log_artifact(
    artifact_or_path: Artifact | str | os.PathLike[str],
    name: str | None = None,
    type: str | None = None,
    aliases: Sequence[str] | None = None,
    tags: Sequence[str] | None = None,
    derived_from: Sequence[Artifact | str] | None = None,
) -> Artifact:
    """`Run.log_artifact` of the current run."""
    return _demand("log_artifact").log_artifact(artifact_or_path, name, type, aliases, tags, derived_from)


def _demand(what: str) -> Run:
    if _current is None or _current.state != "running":
        _no_run(what)
    return _current


def _no_run(what: str) -> NoReturn:
    raise Error(f"lineart.{what}: there is no run; call lineart.init() first")


def _finish_at_exit() -> None:
    """A script that ends without `finish` has still finished; one that ends by an exception has failed."""
    import sys

    if _current is not None:
        error = getattr(sys, "last_value", None)
        if isinstance(error, BaseException):
            _current.fail(error)
        else:
            _current.finish()
