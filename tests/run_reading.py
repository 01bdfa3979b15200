"""Reading back what tests have logged, by the parts below `Api`."""

from __future__ import annotations

from typing import Any

from lineart.artifacts import ProjectName
from lineart.tracking import Run, Workspace, find_settings
from lineart.tracking.live import LiveRun, live_state
from lineart.tracking.metrics import RunHistory
from lineart.tracking.run_folder import RunFolder


def parts(path: str) -> tuple[Workspace, ProjectName, str]:
    """The store, project and id of a run's path."""
    entity, project, run = path.split("/")
    name = ProjectName(entity, project)
    return Workspace.open(find_settings(project=project, entity=entity)), name, run


def folder(path: str) -> RunFolder:
    """Where processes of a run write."""
    workspace, project, run = parts(path)
    return RunFolder.of(workspace.store, project, run, workspace.data)


def history(run: Run | str) -> RunHistory:
    """The history of a run."""
    path = run if isinstance(run, str) else run.path
    workspace, project, name = parts(path)
    return RunHistory(workspace.store, project, name, folder(path))


def values(run: Run | str, key: str) -> list[Any]:
    """The values of one metric in the order of their steps."""
    return [row[key] for row in history(run).rows([key])]


def live(run: Run | str) -> LiveRun:
    """The live state of a run."""
    return live_state(*parts(run if isinstance(run, str) else run.path))


def state(path: str) -> str:
    """What the log says of a run's state."""
    workspace, _, _ = parts(path)
    return str(workspace.catalog().rows("SELECT state FROM runs WHERE run_id = ?", [path])[0][0])
