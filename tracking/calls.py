"""The module-level calls of `lineart`: each is the method of the current run with the same name.

Before `init` and after `finish` they raise `Error`, which names ``lineart.init()``.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from . import session

if TYPE_CHECKING:
    from .alerts import AlertLevel
    from .artifact import Artifact
    from .metrics.definitions import Definition


def finish(exit_code: int | None = None, quiet: bool | None = None, timeout: float | None = None) -> None:
    """End the current run; nothing happens when it has ended. Raises: Error when there was none."""
    run = session.current_run()
    if run is None:
        session.no_run("finish")
    run.finish(exit_code, quiet, timeout)


def log(
    data: Mapping[str, Any], step: int | None = None, commit: bool | None = None, sync: bool | None = None
) -> None:
    """`Run.log` of the current run."""
    session.demand_run("log").log(data, step, commit)


def define_metric(
    name: str,
    step_metric: str | Definition | None = None,
    summary: str | None = None,
    goal: str | None = None,
    hidden: bool | None = None,
    step_sync: bool | None = None,
    overwrite: bool | None = None,
) -> Definition:
    """`Run.define_metric` of the current run."""
    run = session.demand_run("define_metric")
    return run.define_metric(name, step_metric, summary, goal, hidden, step_sync, overwrite)


def alert(
    title: str,
    text: str = "",
    level: AlertLevel | str | None = None,
    wait_duration: int | float | datetime.timedelta | None = None,
) -> None:
    """`Run.alert` of the current run."""
    session.demand_run("alert").alert(title, text, level, wait_duration)


def watch(
    models: Any,
    criterion: Any = None,
    log: Literal["gradients", "parameters", "all"] | None = "gradients",
    log_freq: int = 1000,
    idx: int | None = None,
    log_graph: bool = False,
) -> Any:
    """`Run.watch` of the current run."""
    return session.demand_run("watch").watch(models, criterion, log, log_freq, idx, log_graph)


def unwatch(models: Any = None) -> None:
    """`Run.unwatch` of the current run."""
    session.demand_run("unwatch").unwatch(models)


def mark_preempting() -> None:
    """`Run.mark_preempting` of the current run."""
    session.demand_run("mark_preempting").mark_preempting()


def use_artifact(
    artifact_or_name: Artifact | str, type: str | None = None, role: str | None = None
) -> Artifact:
    """`Run.use_artifact` of the current run."""
    return session.demand_run("use_artifact").use_artifact(artifact_or_name, type=type, role=role)


def log_artifact(
    artifact_or_path: Artifact | str | os.PathLike[str],
    name: str | None = None,
    type: str | None = None,
    aliases: Sequence[str] | None = None,
    tags: Sequence[str] | None = None,
    derived_from: Sequence[Artifact | str] | None = None,
) -> Artifact:
    """`Run.log_artifact` of the current run."""
    run = session.demand_run("log_artifact")
    return run.log_artifact(artifact_or_path, name, type, aliases, tags, derived_from)


def upsert_artifact(
    artifact_or_path: Artifact | str | os.PathLike[str],
    name: str | None = None,
    type: str | None = None,
    aliases: Sequence[str] | None = None,
    distributed_id: str | None = None,
) -> Artifact:
    """`Run.upsert_artifact` of the current run."""
    run = session.demand_run("upsert_artifact")
    return run.upsert_artifact(artifact_or_path, name, type, aliases, distributed_id)


def finish_artifact(
    artifact_or_path: Artifact | str | os.PathLike[str],
    name: str | None = None,
    type: str | None = None,
    aliases: Sequence[str] | None = None,
    distributed_id: str | None = None,
) -> Artifact:
    """`Run.finish_artifact` of the current run."""
    run = session.demand_run("finish_artifact")
    return run.finish_artifact(artifact_or_path, name, type, aliases, distributed_id)


def link_artifact(
    artifact: Artifact | str, target_path: str, aliases: Sequence[str] | None = None
) -> Artifact:
    """`Run.link_artifact` of the current run."""
    return session.demand_run("link_artifact").link_artifact(artifact, target_path, aliases)


def log_model(
    path: str | os.PathLike[str], name: str | None = None, aliases: Sequence[str] | None = None
) -> Artifact:
    """`Run.log_model` of the current run."""
    return session.demand_run("log_model").log_model(path, name, aliases)


def use_model(name: str) -> str:
    """`Run.use_model` of the current run."""
    return session.demand_run("use_model").use_model(name)


def link_model(
    path: str | os.PathLike[str],
    registered_model_name: str,
    name: str | None = None,
    aliases: Sequence[str] | None = None,
) -> Artifact:
    """`Run.link_model` of the current run."""
    return session.demand_run("link_model").link_model(path, registered_model_name, name, aliases)


def save(
    glob: str | os.PathLike[str],
    base_path: str | os.PathLike[str] | None = None,
    policy: Literal["live", "now", "end"] = "live",
) -> list[str]:
    """`Run.save` of the current run."""
    return session.demand_run("save").save(glob, base_path, policy)


def restore(
    name: str,
    run_path: str | None = None,
    replace: bool = False,
    root: str | os.PathLike[str] | None = None,
) -> IO[str]:
    """`Run.restore` of the current run; outside of one, of the run that `run_path` names, into the current folder."""
    run = session.current_run()
    if run is not None and run.state == "running":
        return run.restore(name, run_path, replace, root)
    if run_path is None:
        session.no_run("restore")
    from .run_saving import restore_file

    place = Path.cwd() if root is None else root
    return restore_file(session.default_workspace(), name, run_path, replace=replace, root=place)


def log_code(
    root: str | os.PathLike[str] = ".",
    name: str | None = None,
    include_fn: Callable[[str], bool] | Callable[[str, str], bool] | None = None,
    exclude_fn: Callable[[str], bool] | Callable[[str, str], bool] | None = None,
) -> Artifact | None:
    """`Run.log_code` of the current run."""
    return session.demand_run("log_code").log_code(root, name, include_fn, exclude_fn)
