"""Taking turns on one machine: sixteen racing writers waste fifteen flushes a commit, sixteen in a queue none.

Only a courtesy: who does not get the turn in time goes on without it, and conditional create decides. So a stopped
process, a file system without locks, or another machine cannot hold anybody up for long. The system releases
the lock of a process that dies.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from .sharing import folder_mode, share_file, store_root

PATIENCE_S = 0.5


@contextlib.contextmanager
def turn(lock: Path) -> Iterator[bool]:
    """Hold the advisory lock of the file `lock` meanwhile, if it can be had within `PATIENCE_S`; whether it is held."""
    descriptor = _acquire(lock)
    try:
        yield descriptor >= 0
    finally:
        if descriptor >= 0:
            _release(descriptor)


def _release(descriptor: int) -> None:
    import fcntl

    # Closing alone would not do: a child that was forked meanwhile has the descriptor, too.
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def _acquire(lock: Path) -> int:
    """The descriptor that holds the lock, -1 if there is no having it."""
    try:
        import fcntl
    except ImportError:  # not POSIX
        return -1
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        root = store_root(lock)
        share_file(descriptor, None if root is None else folder_mode(root))
    except OSError:
        return -1  # a read-only store: the commit itself will say so
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return descriptor
    except BlockingIOError:
        return _Waiter(descriptor).wait()
    except OSError:  # no locks on this file system
        os.close(descriptor)
        return -1


class _Waiter:
    """Waits for the lock in a thread, since flock(2) has no timeout and polling by sixteen takes a whole core."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._decided = threading.Lock()  # taken by the first of: the lock is had, patience is at an end
        self._ended = threading.Lock()  # free when the thread is through
        self._ended.acquire()
        # Neither Thread nor Event: those wait in Python, and an interrupt there can leave them broken.
        _thread.start_new_thread(self._block, ())

    def wait(self) -> int:
        try:
            self._ended.acquire(timeout=PATIENCE_S)
        except BaseException:  # an interrupt is impatience, too
            if not self._decided.acquire(blocking=False):
                _release(self._descriptor)
            raise
        impatient = self._decided.acquire(blocking=False)  # then the thread closes what it gets
        return -1 if impatient else self._descriptor

    def _block(self) -> None:
        import fcntl

        held = False
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            held = self._decided.acquire(blocking=False)
        finally:
            if not held:
                _release(self._descriptor)
            self._ended.release()
