"""A bar with bytes and speed for work that takes longer than half a second, on terminals only."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PATIENCE_S = 0.5

Advance = Callable[[int], None]  # called from several threads with the bytes dealt with since the last call


@contextlib.contextmanager
def progress(what: str, total_bytes: Callable[[], int | None]) -> Iterator[Advance]:
    """Show how far `what` (``"storing"``) has come; `total_bytes` is asked once, when the bar appears."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield lambda count: None
        return
    bar = _Bar(what, total_bytes)
    try:
        yield bar.advance
    finally:
        bar.stop()


class _Bar:
    def __init__(self, what: str, total_bytes: Callable[[], int | None]) -> None:
        self._what = what
        self._total_bytes = total_bytes
        self._lock = threading.Lock()
        self._done = 0
        self._started = time.monotonic()
        self._shown: tuple[Progress, TaskID] | None = None

    def advance(self, count: int) -> None:
        with self._lock:
            self._done += count
            if self._shown is None and time.monotonic() - self._started > PATIENCE_S:
                self._shown = self._show()
            if self._shown is not None:
                self._shown[0].update(self._shown[1], completed=self._done)

    def stop(self) -> None:
        with self._lock:
            if self._shown is not None:
                self._shown[0].stop()

    def _show(self) -> tuple[Progress, TaskID]:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        shown = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        task = shown.add_task(self._what, total=self._total_bytes(), completed=self._done)
        shown.start()
        return shown, task
