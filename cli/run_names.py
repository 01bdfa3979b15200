"""Which run a person means, and what commands tell machines about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..storage.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from ..tracking.api_run import ApiRun
    from ..tracking.workspace import Workspace

STATES = {"running": "cyan", "finished": "green", "failed": "red", "crashed": "red"}
_SHOWN = 3


def find_run(workspace: Workspace, text: str) -> ApiRun:
    """The run with this id, or the only one with this name; both may stand behind ``[entity/]project/``.

    Raises: NotFoundError with the nearest ids and names; UsageError when several have the name.
    """
    from ..artifacts.names import ProjectName, nearest
    from ..tracking.api_run import ApiRun
    from ..tracking.run_query import RunReader

    prefix, _, run = text.rpartition("/")
    project = ProjectName.parse(prefix, workspace.project_name) if prefix else workspace.project_name
    reader = RunReader(workspace)
    record = reader.record(project, run)
    if record is None:
        known = reader.ids(project)
        named = [found for found, name in known if name == run]
        if len(named) > 1:
            shown = ", ".join(reversed(named[-_SHOWN:])) + (" …" if len(named) > _SHOWN else "")
            raise UsageError(f"{len(named)} runs in {project} are named {run!r}; give the id of one: {shown}")
        record = reader.record(project, named[0]) if named else None
        if record is None:
            hint = nearest(run, {label for pair in known for label in pair})
            raise NotFoundError(f"run {run!r} does not exist in {project}{hint}")
    return ApiRun(reader, record)


def run_record(run: ApiRun) -> dict[str, Any]:
    """The keys of a run's JSON; NaN and the infinities are ``{"_float": …}``, as in the log."""
    return {
        "id": run.id,
        "name": run.name,
        "project": f"{run.entity}/{run.project}",
        "state": run.state,
        "created_at": run.created_at,
        "finished_at": run.finished_at,
        "heartbeat_at": run.heartbeat_at,
        "duration_s": run.duration,
        "user": run.user,
        "host": run.host,
        "group": run.group,
        "job_type": run.job_type,
        "tags": run.tags,
        "notes": run.notes,
        "config": run.document()["config"],
        "summary": run.document()["summary"],
        "exit_code": run.exit_code,
    }


def length_words(seconds: float) -> str:
    """A length of time in its two largest units, without a blank.

    >>> length_words(0.25), length_words(61), length_words(3_700), length_words(200_000)
    ('0.2s', '1m01s', '1h01m', '2d07h')
    """
    if seconds < 60:
        return f"{seconds:.1f}s" if seconds < 9.95 else f"{seconds:.0f}s"
    units = (("d", 86_400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1))
    unit, length, smaller, part = next(row for row in units if seconds >= row[1])
    whole, rest = divmod(int(seconds), length)
    return f"{whole}{unit}{rest // part:02}{smaller}"
