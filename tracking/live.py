"""Runs that have not ended: are their processes alive, and what do they say now?"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..artifacts.names import ProjectName
from ..storage.errors import CommError, NotFoundError
from .metrics.journal import is_locked
from .metrics.pieces import collect, run_prefix
from .replay import Replay, merged, replay
from .run_folder import JOURNAL, RunFolder
from .run_log import read_run
from .workspace import Workspace

HEARTBEAT_S = 30.0
STALE_S = 300.0  # ten heartbeats: a laptop that sleeps is shown as crashed, and as running when it goes on


@dataclass(frozen=True, slots=True)
class LiveRun:
    """A run whose log says that it is running. What is None was not changed since it started."""

    state: Literal["running", "crashed"]
    config: Mapping[str, Any]
    summary: Mapping[str, Any]
    heartbeat_s: float | None  # seconds since the epoch
    name: str | None = None
    notes: str | None = None
    tags: tuple[str, ...] | None = None
    group: str | None = None
    alerts: tuple[Mapping[str, Any], ...] = ()


def live_state(workspace: Workspace, project: ProjectName, run: str) -> LiveRun:
    """What the processes of a run say, and whether one of them lives.

    On this machine a process is alive while it holds its journal; elsewhere, while its heartbeat is younger than five
    minutes. Raises: CommError.
    """
    folder = RunFolder.of(workspace.store, project, run, workspace.data)
    heard, alive = _heard(workspace, project, run, folder)
    pieces = collect(workspace.store, project, run, folder)
    whole = [tail for tail in pieces.tails if tail.start == 0]
    goes_on = any(
        replay(tail.data[: tail.data.find(b"\n") + 1]).head.get("role") == "joined" for tail in whole
    )
    known = read_run(workspace.project(project), run) if goes_on else None
    ended = known.ended if known is not None else {}
    said = merged(replay(tail.data, known) for tail in whole if tail.writer not in ended)
    if said.last_s and (heard is None or said.last_s > heard):
        heard = said.last_s
    return _of(said, "running" if alive else "crashed", heard)


def _of(said: Replay, state: Literal["running", "crashed"], heard: float | None) -> LiveRun:
    changes = said.changes
    tags = changes.get("tags")
    return LiveRun(
        state=state,
        config=said.config,
        summary=said.summary,
        heartbeat_s=heard,
        name=changes.get("name"),
        notes=changes.get("notes"),
        tags=None if tags is None else tuple(tags),
        group=changes.get("group"),
        alerts=tuple(said.alerts),
    )


def _heard(
    workspace: Workspace, project: ProjectName, run: str, folder: RunFolder
) -> tuple[float | None, bool]:
    """When a process was last heard of, and whether one lives."""
    heard, alive = None, False
    for writer in folder.writers():
        journal = folder.journal(writer)
        try:
            changed = journal.stat().st_mtime
        except FileNotFoundError:
            continue
        heard = max(heard or 0.0, changed)
        alive = alive or writer_lives(folder, writer)
    if workspace.store.backend.local_path("x") is None:
        for found in workspace.store.backend.list(f"{run_prefix(project, run)}heartbeat/"):
            heard = max(heard or 0.0, found.modified_s)
            alive = alive or time.time() - found.modified_s < STALE_S
    return heard, alive


def writer_lives(folder: RunFolder, writer: str) -> bool:
    """Whether the process that writes a journal here is alive."""
    journal = folder.journal(writer)
    locks = [is_locked(place / JOURNAL) for place in folder.places(writer)]
    if any(locks):
        return True
    try:
        with journal.open("rb") as stream:
            head = replay(stream.readline()).head
        # Without a first line it may be about to take its lock; of another host the lock may not be seen from here.
        if None not in locks and head.get("host") == socket.gethostname():
            return False
        return time.time() - journal.stat().st_mtime < STALE_S
    except FileNotFoundError:
        return False


def is_reachable(workspace: Workspace) -> bool:
    """Whether the store answers; for those who can go on without it."""
    try:
        workspace.store.backend.read("lineart.json", 0, 1)
    except (CommError, NotFoundError):
        return False
    return True
