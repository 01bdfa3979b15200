"""Bringing home what dead processes have left: journals, files, ops that were not committed.

Whoever finds them does it: the next run on this machine, and whoever lists runs. It may happen twice, or stop half-way
(the finder may be killed, too): every step looks first whether it was done.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from ..artifacts.names import ProjectName
from ..artifacts.state import ProjectState
from ..storage.actor import log_time
from ..storage.transaction import Op
from .live import writer_lives
from .metrics import RunHistory
from .metrics.compaction import compact
from .observed_inputs import inputs_op, observed_logs
from .replay import Replay, defined_summary, merged, replay
from .run_files import publish_files
from .run_folder import FILES, RunFolder, runs_in
from .run_log import RunRecord, read_run
from .workspace import Workspace

_log = logging.getLogger("lineart")
CRASHED = 255  # the exit code of a process that did not live to tell one


def recover_project(
    workspace: Workspace, project: ProjectName, stop: threading.Event | None = None
) -> list[str]:
    """Recover what dead processes of a project have left on this machine; the runs that were touched.

    `stop` ends it between two runs. What cannot be recovered now (the store is read-only, or out of reach) stays as it
    is.
    """
    touched = []
    for run in runs_in(workspace.store, project, workspace.data):
        if stop is not None and stop.is_set():
            break
        try:
            if recover_run(workspace, project, run):
                touched.append(run)
        except Exception as error:  # nothing is lost: the journals lie where they were; the others come home
            _log.debug("run %s/%s is not recovered: %s", project, run, error)
    return touched


def recover_run(workspace: Workspace, project: ProjectName, run: str) -> bool:
    """Recover one run; whether there was anything. Raises: StoreError, CommError, IntegrityError."""
    folder = RunFolder.of(workspace.store, project, run, workspace.data)
    writers = folder.writers()
    dead = [writer for writer in writers if not writer_lives(folder, writer)]
    if not dead:
        return False
    workspace.store.demand_presence()
    record = read_run(workspace.project(project), run)
    if len(dead) < len(
        writers
    ):  # what its dead children have left is brought home by the run itself, which goes on
        dead = [writer for writer in dead if not _is_child(folder, writer, record)]
        if not dead:
            return False
    if record is not None and record.deleted:
        for writer in dead:
            folder.remove(writer)
        return True
    settle(workspace, project, run, folder, dead, record)
    return True


def _is_child(folder: RunFolder, writer: str, record: RunRecord | None) -> bool:
    said = replay(folder.journal(writer).read_bytes(), record)
    return said.head.get("role") == "attached"


def settle(
    workspace: Workspace,
    project: ProjectName,
    run: str,
    folder: RunFolder,
    writers: Sequence[str],
    record: RunRecord | None,
) -> None:
    """Bring the history, files and ops of dead `writers` into the store, then remove their folders.

    Raises: StoreError, CommError.
    """
    said = [replay(folder.journal(writer).read_bytes(), record) for writer in writers]
    home = workspace.project(project)
    ended = record.ended if record is not None else {}
    left = [part.writer for part in said if part.writer not in ended]
    definitions = [*(record.definitions if record is not None else ()), *merged(said).definitions]

    inputs = inputs_op(workspace, home, run, observed_logs(folder, left))

    def stored() -> tuple[dict[str, Any] | None, dict[str, int], dict[str, Any]]:
        files = publish_files(workspace.store, files_of(folder, left)) if left else None
        ends = compact(workspace.store, project, run, folder)
        history = RunHistory(workspace.store, project, run, folder)
        return files, ends, defined_summary(history, definitions, merged(said).set_by_user) if left else {}

    def decide(
        state: ProjectState, found: tuple[dict[str, Any] | None, dict[str, int], dict[str, Any]]
    ) -> list[Op]:
        files, history, defined = found
        # Looked at anew before each try to commit: another finder, or the run itself, may have been faster.
        now = read_run(home, run)
        settled = now.ended if now is not None else {}
        ops: list[Op] = []
        if now is None or not now.started:
            ops += [{**start, "run": run} for part in said if (start := part.head.get("start"))][:1]
        ends = _endings(run, [part for part in said if part.writer not in settled], files, defined)
        if inputs is not None and ends:
            ops.append(inputs)
        return ops + [{**op, "history": history} if op["op"] == "run.finish" else op for op in ends]

    home.commit_stored(stored, decide)
    for writer in writers:
        folder.remove(writer)


def files_of(folder: RunFolder, writers: Sequence[str]) -> dict[Any, str]:
    """The folders with files of some writers, as `publish_files` wants them."""
    return {place / FILES: "" for writer in writers for place in folder.places(writer)}


def recorded_changes(said: Replay) -> dict[str, Any]:
    """What was set of a run while it ran, as keys of its ops."""
    return {key: said.changes[key] for key in ("name", "notes", "tags", "group") if key in said.changes}


def _endings(
    run: str, said: Sequence[Replay], files: Mapping[str, Any] | None, defined: Mapping[str, Any]
) -> list[Op]:
    """The ops that end some dead writers: what they could not commit, or that they crashed."""
    ops: list[Op] = []
    attached = [part for part in said if part.head.get("role") == "attached"]
    for part in said:
        if part in attached:
            continue
        finish = next((op for op in part.pending if op["op"] == "run.finish"), None)
        ops += [dict(op) for op in part.pending if op["op"] != "run.finish"]
        if finish is None:
            state = "preempted" if part.changes.get("preempting") else "crashed"
            finish = {"op": "run.finish", "state": state, "exit_code": CRASHED, "error": None}
            if part.last_s:
                finish = {**finish, "ended_at": log_time(part.last_s)}
        whole = merged([part, *attached])
        op = {
            **finish,
            "run": run,
            "writer": part.writer,
            "config": whole.config,
            "summary": {**whole.summary, **defined},
            **recorded_changes(whole),
        }
        if whole.set_by_user:
            op["summary_set"] = sorted(whole.set_by_user)
        if whole.alerts:
            op["alerts"] = whole.alerts
        if whole.definitions:
            op["define"] = whole.definitions
        ops.append(op)
    if not ops and attached:
        whole = merged(attached)
        update = {"op": "run.update", "run": run, "config": whole.config}
        update["summary"] = {**whole.summary, **defined}
        ops.append({**update, **recorded_changes(whole)})
    if files is not None and ops:
        ops[-1] = {**ops[-1], "files": dict(files)}
    return ops
