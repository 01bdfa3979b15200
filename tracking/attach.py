"""Children of a run: processes that log into a run that another process has started and will end.

A child writes a journal of its own; the parent takes it in when it ends. Children are: forks, processes that were given
the `Run` object (pickled), and whatever runs under `art exec` (by the variable ``LINEART_ATTACH``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..artifacts.names import ProjectName
from ..storage.errors import NotFoundError, UsageError
from .metrics import RunHistory
from .run_folder import RunFolder
from .run_log import read_run
from .run_settings import Settings
from .workspace import Workspace

if TYPE_CHECKING:
    from .run import Run


def split_run_path(path: str) -> tuple[ProjectName, str]:
    """``entity/project/id`` in its parts. Raises: UsageError."""
    project, _, run = path.rpartition("/")
    entity, _, name = project.partition("/")
    if not (entity and name and run) or "/" in name:
        raise UsageError(f"run {path!r}: expected entity/project/id")
    return ProjectName(entity, name), run


def attach(workspace: Workspace, run: str, step: int | None = None, **given: Any) -> Run:
    """A child of `run`, which is in the workspace's project. Raises: NotFoundError when there is no such run."""
    from .run import Run

    project = workspace.project()
    record = read_run(project, run)
    if record is None:
        raise NotFoundError(
            f"run {project.name}/{run} is not in {workspace.url}; start it with lineart.init()"
        )
    if step is None:
        step = next_step(workspace, run)
    return Run(workspace, id=run, role="attached", record=record, step=step, **given)


def next_step(workspace: Workspace, run: str) -> int:
    """The step after the newest row of a run."""
    name = workspace.project_name
    folder = RunFolder.of(workspace.store, name, run, workspace.data)
    last = RunHistory(workspace.store, name, run, folder).last_step()
    return 0 if last is None else last + 1


def attach_pickled(url: str, data: str, path: str, step: int, observe: Sequence[str] = ()) -> Run:
    """What a pickled `Run` becomes in another process, which observes the same data roots; the current run there."""
    from . import session
    from .settings import find_settings

    project, run = split_run_path(path)
    settings = find_settings(
        store=url.removeprefix("file://"), project=project.project, entity=project.entity
    )
    opened = Workspace.open(settings)
    workspace = Workspace(opened.store, opened.project_name, Path(data))
    made = attach(workspace, run, step, settings=Settings(observe=list(observe)))
    session.adopt(made)
    return made
