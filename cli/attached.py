"""The run that a command belongs to when `art exec` has started it: what it reads and writes are that run's edges."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from .options import given

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..artifacts.names import ProjectName
    from ..artifacts.state import ProjectState
    from ..artifacts.version import Version
    from ..storage.transaction import Op
    from ..tracking.workspace import Workspace


def attached_id(project: ProjectName) -> str | None:
    """The id of the run that this command belongs to, if it is a run of `project` in the store that is in use."""
    found = _attached()
    return found[1] if found is not None and found[0] == project else None


def record_use(workspace: Workspace, version: Version, role: str | None = None) -> None:
    """Let the run that this command belongs to, if any, have used `version`.

    Raises: StoreError, CommError when that cannot be recorded: an input that is not known is worse than a late error.
    """
    found = _attached()
    if found is None:
        return
    home, run = found
    fact = {"collection": version.collection, "version": version.state.number, "role": role}

    def decide(state: ProjectState) -> Sequence[Op]:
        return [{"op": "edge.use", "run": run, "project": str(version.project), **fact}]

    workspace.project(home).commit(decide)
    if version.project != home:
        mirrored = {"op": "edge.used_by", "run": run, "project": str(home), **fact}
        workspace.project(version.project).commit(lambda state: [mirrored])


def _attached() -> tuple[ProjectName, str] | None:
    from ..artifacts.names import ProjectName, check_name
    from ..storage.errors import UsageError
    from ..tracking.settings import ATTACH_VARIABLE, attached_run

    path = attached_run(os.environ)
    store = given(click.get_current_context(), "store")
    if path is None or (store is not None and store != os.environ.get("LINEART_STORE")):
        return None  # a run cannot use or make what lies in another store
    if path.count("/") != 2:
        raise UsageError(f"{ATTACH_VARIABLE}={path!r}: expected entity/project/run; unset it")
    entity, project, run = path.split("/")
    return ProjectName(check_name(entity, "entity"), check_name(project, "project")), run
