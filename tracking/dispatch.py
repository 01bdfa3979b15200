"""`log_artifact` on a remote store: it returns when the snapshot is safe on this machine; upload and commit follow.

Each version goes into a lane of its own (`storage.lanes`), in the order of the calls; one thread sends lane after lane,
and packs already while the rest is read. What is on its way when the process dies is sent by the next run here, or
``art sync``.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..artifacts.names import ArtifactName, ProjectName
from ..storage.errors import (
    CommError,
    Error,
    NotFoundError,
    StoreError,
    UsageError,
    WaitTimeoutError,
)
from ..storage.overlay import Outbox
from .artifact import Artifact
from .publishing import log_draft
from .syncing import Sender, Sent
from .workspace import Workspace

_log = logging.getLogger("lineart")
_UPLOADS = 8
_SHOWN = 3
_TELL_S = 10.0  # how often `flush` says what it waits for


@dataclass(slots=True, eq=False)
class Pending:
    """A version on its way."""

    name: str  # for people
    artifact: Artifact
    project: ProjectName
    lane: Outbox
    ahead: dict[str, Future[int]]
    size_bytes: int
    sent_bytes: int = 0
    error: Exception | None = None
    is_done: threading.Event = field(default_factory=threading.Event)
    pid: int = field(default_factory=os.getpid)

    def wait(self, timeout: float | None = None) -> None:
        """Return when it is in the store. Raises: WaitTimeoutError after `timeout` seconds; what went wrong."""
        if self.pid != os.getpid():
            raise UsageError(
                f"{self.name}: it is sent by the process that logged it; wait() there before it forks"
            )
        if not self.is_done.wait(timeout):
            raise WaitTimeoutError(
                f"{self.name}: {self.progress()} after {timeout:g} s; wait longer, or let it go on"
            )
        if self.error is not None:
            raise self.error

    def progress(self) -> str:
        """How far it is, in words."""
        return f"{self.sent_bytes / 1e6:.1f} of {self.size_bytes / 1e6:.1f} MB sent"


class Dispatch:
    """Sends what a run logs. Safe to use from several threads."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._waiting: deque[Pending] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_ended = False
        self._pool = ThreadPoolExecutor(_UPLOADS, "lineart-upload")

    @staticmethod
    def serves(workspace: Workspace) -> bool:
        """Whether commits to the workspace's store are worth going ahead of: a remote one that answers."""
        overlay = workspace.store.overlay
        return overlay is not None and overlay.falls_back and not overlay.is_offline

    def log(self, artifact: Artifact, *, project: ProjectName, **labels: Any) -> None:
        """`log_draft`, with upload and commit to follow. Raises: as `log_draft`, but for CommError."""
        if artifact.incremental:
            self.flush()  # it goes on from the newest version, which may be on its way
        store, data = self._workspace.store, self._workspace.data
        home, overlay = self._workspace.project(project), store.overlay
        home.check_plans()
        if overlay is None or overlay.is_offline:  # since just now
            log_draft(self._workspace, artifact, project=project, **labels)
            return
        lane = overlay.outbox.begin_lane()
        try:
            home.begin_lane(lane, artifact.collection)
            in_lane = store.in_lane(lane, self._upload)
            log_draft(Workspace(in_lane, project, data), artifact, project=project, **labels)
        except (
            StoreError
        ):  # most likely the disk is full, which has to hold one pack at a time without a lane
            lane.remove()
            log_draft(self._workspace, artifact, project=project, **labels)
            return
        except BaseException:
            lane.remove()
            raise
        name = f"artifact {artifact.collection!r}"
        pending = Pending(name, artifact, project, lane, in_lane.ahead, artifact.stored_bytes)
        artifact.expect(pending)
        with self._changed:
            self._waiting.append(pending)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="lineart-dispatch", daemon=True)
                self._thread.start()

    def flush(self, timeout: float | None = None) -> list[Pending]:
        """Wait until all is sent, or for `timeout` seconds; what is still on its way then."""
        end_s = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._changed:
                waiting = list(self._waiting)
                if not waiting:
                    return []
                left_s = _TELL_S if end_s is None else min(_TELL_S, end_s - time.monotonic())
                if left_s <= 0:
                    return waiting
                if not self._changed.wait(left_s) and left_s == _TELL_S:
                    more = f" and {len(waiting) - 1} more" if len(waiting) > 1 else ""
                    _log.warning("waiting for %s%s: %s", waiting[0].name, more, waiting[0].progress())

    def close(self, what: str, timeout: float | None = None) -> None:
        """Wait for what is on its way; after `timeout` seconds, or Ctrl-C, say what that is, and go on offline."""
        begin_s = time.monotonic()
        try:
            left = self.flush(timeout)
        except KeyboardInterrupt:  # whoever is tired of waiting: the run ends all the same
            left = list(self._waiting)
        overlay = self._workspace.store.overlay
        if not left or overlay is None:
            self._pool.shutdown(wait=False)
            return
        count = "1 artifact is" if len(left) == 1 else f"{len(left)} artifacts are"
        on_its_way = ", ".join(f"{pending.name}: {pending.progress()}" for pending in left[:_SHOWN])
        more = ", …" if len(left) > _SHOWN else ""
        _log.warning(
            '%s: after %.1f s %s still on its way (%s%s); it is kept here, and sent by "art sync" or the next run',
            *(what, time.monotonic() - begin_s, count, on_its_way, more),
        )
        overlay.go_offline(None)

    def release(self) -> None:
        """The run has ended: what waits in the outbox may be sent, once nothing is put there any more."""
        with self._changed:
            self._is_ended = True
            if self._thread is None:
                self._release()

    def _release(self) -> None:
        overlay = self._workspace.store.overlay
        if overlay is not None:
            overlay.outbox.release()

    # The thread

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._waiting:
                    self._thread = None
                    if self._is_ended:
                        self._release()
                    return
                pending = self._waiting[0]
            try:
                self._send(pending)
            except (
                Exception
            ) as error:  # whatever it was: told here and where it is waited for; the lane stays
                pending.error = error
                _log.warning(
                    '%s is not in the store yet (%s); it is kept, and "art sync" sends it',
                    pending.name,
                    error,
                )
                pending.lane.release()
            finally:
                with self._changed:
                    self._waiting.popleft()
                    if self._is_ended and not self._waiting:
                        self._release()  # before anybody is told: they may send the outbox themselves
                    pending.is_done.set()
                    self._changed.notify_all()

    def _send(self, pending: Pending) -> None:
        def advance(size_bytes: int) -> None:
            pending.sent_bytes += size_bytes

        for last in (False, True):
            try:
                Sender(self._workspace, pending.lane.current, Sent(), advance, pending.ahead).send()
                break
            except CommError as error:
                overlay = self._workspace.store.overlay
                if last or overlay is None:
                    raise
                overlay.go_offline(error)  # then it goes into the outbox, with all that follows
        home, artifact = self._workspace.project(pending.project), pending.artifact
        number = home.state().collections[artifact.collection].by_digest.get(artifact.digest)
        if number is None:
            pending.lane.remove()
            raise NotFoundError(f"{pending.name}: the version was deleted as soon as it was logged")
        name = ArtifactName(home.name, artifact.collection, f"v{number}")
        artifact.arrive(self._workspace, self._workspace.version(name))
        pending.lane.remove()

    def _upload(self, key: str, copy: Path) -> Future[int]:
        """Send a pack ahead of its lane; 0 when that did not work, and the lane sends it again."""
        backend = self._workspace.store.backend

        def send() -> int:
            try:
                size_bytes = copy.stat().st_size
                backend.write_file(key, copy)
            except (Error, OSError):
                return 0
            return size_bytes

        return self._pool.submit(send)
