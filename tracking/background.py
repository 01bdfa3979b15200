"""The thread of a run: measures the machine, ships the journal, tells that the run is alive, watches its place.

It never writes metrics and holds no lock that `log` needs for longer than a line takes.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..artifacts.names import ProjectName
from ..storage.errors import Error
from ..storage.store import Store
from .live import HEARTBEAT_S
from .metrics.journal import Journal
from .metrics.lines import line
from .metrics.pieces import run_prefix, write_segment

TICK_S = 1.0
_LOOK_S = 5.0
_FIRST_SHIP_S, _LAST_SHIP_S, _SHIP_BYTES = 10.0, 60.0, 1 << 20
_FIRST_SAMPLE_S = 2.0  # a run of a second is not slowed down by importing psutil

_log = logging.getLogger("lineart")


class Shipper:
    """Copies the lines of one journal to a remote store as segments, and its heartbeat. Used by one thread."""

    def __init__(self, store: Store, project: ProjectName, run: str, writer: str) -> None:
        self._store, self._project, self._run, self._writer = store, project, run, writer
        self._shipped = 0
        self._pause_s, self._next_s, self._beat_s = _FIRST_SHIP_S, 0.0, 0.0

    def tick(self, path: Path, now_s: float) -> None:
        """Ship what is due. Raises: Error when the store does not take it; it is tried again at the next tick."""
        if self._next_s == 0.0:
            self._next_s = now_s + self._pause_s
        size = path.stat().st_size
        if size > self._shipped and (now_s >= self._next_s or size - self._shipped >= _SHIP_BYTES):
            with path.open("rb") as stream:
                stream.seek(self._shipped)
                data = stream.read()
            data = data[: data.rfind(b"\n") + 1]
            if data:
                write_segment(self._store, self._project, self._run, self._writer, self._shipped, data)
                self._shipped += len(data)
            self._pause_s = min(_LAST_SHIP_S, self._pause_s * 1.5)
            self._next_s = now_s + self._pause_s
        if now_s - self._beat_s >= HEARTBEAT_S:
            key = f"{run_prefix(self._project, self._run)}heartbeat/{self._writer}.json"
            self._store.backend.write(key, json.dumps({"time": now_s}).encode())
            self._beat_s = now_s

    def end(self) -> None:
        """Take the heartbeat away. Raises: Error."""
        self._store.backend.delete([f"{run_prefix(self._project, self._run)}heartbeat/{self._writer}.json"])


class Background:
    """Runs the chores of one run in a daemon thread until `stop`."""

    def __init__(
        self,
        journal: Callable[[], Journal],
        *,
        path: str,
        shipper: Shipper | None,
        sample: Callable[[], Mapping[str, float]] | None,
        sample_interval_s: float,
        rescue: Callable[[], None],
        chores: Sequence[Callable[[], None]],
        first: Callable[[], None],
    ) -> None:
        """`rescue` is called when the journal has lost its place, `chores` every few seconds, `first` at the start."""
        self._journal = journal
        self._path = path
        self.shipper = shipper
        self._sample = sample
        self._interval_s = sample_interval_s
        self._rescue, self._chores, self._first = rescue, chores, first
        self._said: set[str] = set()
        self._measured = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"lineart-{path}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """End, and wait for what is under way. Raises nothing."""
        self._stopped.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def say_once(self, what: str, message: str) -> None:
        """A warning of each kind is enough."""
        if what not in self._said:
            self._said.add(what)
            _log.warning("run %s: %s", self._path, message)

    def has_said(self, what: str) -> bool:
        """Whether `say_once` was called for this."""
        return what in self._said

    def _work(self) -> None:
        self._guarded("capture", self._first)
        start_s = time.monotonic()
        next_sample_s, next_look_s, next_beat_s = start_s + min(_FIRST_SAMPLE_S, self._interval_s), 0.0, 0.0
        while not self._stopped.wait(TICK_S if self._interval_s >= TICK_S else self._interval_s):
            now_s = time.monotonic()
            if self._sample is not None and now_s >= next_sample_s:
                next_sample_s = now_s + self._interval_s
                self._guarded("system metrics", self.measure)
            if now_s >= next_look_s:
                next_look_s = now_s + _LOOK_S
                self._guarded("journal", self._look)
                for chore in self._chores:
                    self._guarded("files", chore)
            if self.shipper is not None:
                self._guarded("store", self._ship)
            if now_s >= next_beat_s:
                next_beat_s = now_s + HEARTBEAT_S
                self._journal().touch()

    def measure(self) -> None:
        """Write one measurement of the machine."""
        if self._sample is not None:
            found = self._sample()
            if found:
                self._journal().append(line("system", dict(found), time.time()))
                self._measured = True

    def measure_last(self) -> None:
        """A last measurement, of a run that has lasted long enough for a first one."""
        if self._measured:
            self.measure()

    def _look(self) -> None:
        journal = self._journal()
        journal.retry()
        if not journal.is_in_place():
            self._rescue()

    def _ship(self) -> None:
        if self.shipper is not None:
            self.shipper.tick(self._journal().path, time.time())

    def _guarded(self, what: str, chore: Callable[[], None]) -> None:
        """A chore that fails is told once and tried again: it must not end the others, nor the run."""
        try:
            chore()
        except (Error, OSError) as error:
            self.say_once(what, f"{error}; going on, and trying again")
        except Exception as error:  # whatever a captured system throws at us, the run goes on; it is told
            self.say_once(what, f"{type(error).__name__}: {error}; going on without")
