"""The journal: what one process of a run writes, one line of JSON for each call, one ``write(2)`` for each line.

The laws of this module:

- When `append` has returned, the line outlives the process: it is with the kernel. (Not the machine: a line is not
  flushed to the disk, which would cost milliseconds.)
- A disk that is full or gone does not stop the program: lines are kept in memory, in order, and written as soon as it
  works again; `fault` says what is wrong meanwhile.
- One writer a journal. It holds an advisory lock, which the system releases when the process dies, however it dies:
  that is how a reader on the same machine tells a run that crashed. After a fork the child's copy is closed.
- A torn line is passed over by readers; the next line starts on a line of its own.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

from ...storage.sharing import folder_mode, make_shared, share_file, store_root

_OPEN: weakref.WeakSet[Journal] = weakref.WeakSet()
_HELD_BYTES = 1 << 30  # kept in memory while the disk does not take it


def _close_in_child() -> None:
    """A fork must not keep the parent's lock when the parent dies."""
    for journal in list(_OPEN):
        journal.abandon()


_registered = False


class Journal:
    """An append-only file of lines. Safe in threads, also when a signal handler appends."""

    def __init__(self, path: Path, on_fault: Callable[[OSError], None] = lambda error: None) -> None:
        """Create the file and lock it. Raises: OSError."""
        self.path = path
        self.fault: OSError | None = None
        self._on_fault = on_fault
        self._lock = threading.RLock()
        self._held: list[bytes] = []
        self._held_bytes = 0
        make_shared(path.parent)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        root = store_root(path)
        share_file(self._descriptor, None if root is None else folder_mode(root))
        self._torn = os.fstat(self._descriptor).st_size > 0  # somebody's last line may be unfinished
        _take_lock(self._descriptor)
        global _registered  # noqa: PLW0603 - once a process, when the first journal is opened
        if not _registered:
            _registered = True
            os.register_at_fork(after_in_child=_close_in_child)
        _OPEN.add(self)

    def append(self, line: bytes) -> None:
        """Write `line`, which ends with a newline."""
        with self._lock:
            if self._held or self._torn:
                self._append_late(line)
                return
            try:
                written = os.write(self._descriptor, line)
            except OSError as error:
                self._hold(line, error)
                return
            if written != len(line):
                self._torn = True
                self._append_late(line)

    def retry(self) -> bool:
        """Try to write what is held back; whether nothing is any more."""
        with self._lock:
            if self._held and self._descriptor >= 0:
                self._write_held()
            return not self._held

    @property
    def held(self) -> bytes:
        """What could not be written yet."""
        with self._lock:
            return b"".join(self._held)

    @property
    def is_open(self) -> bool:
        """Whether this process may append."""
        return self._descriptor >= 0

    def is_in_place(self) -> bool:
        """Whether the file still lies at its path: a store that was removed takes its journals with it."""
        try:
            found, own = os.stat(self.path), os.fstat(self._descriptor)
        except OSError:
            return False
        return (found.st_ino, found.st_dev) == (own.st_ino, own.st_dev)

    def content(self) -> bytes:
        """All that was appended, also when the file has lost its name."""
        with self._lock:
            size = os.fstat(self._descriptor).st_size
            pieces, offset = [], 0
            while offset < size:
                piece = os.pread(self._descriptor, min(1 << 20, size - offset), offset)
                if not piece:
                    break
                pieces.append(piece)
                offset += len(piece)
            return b"".join(pieces) + (b"\n" if self._torn and self._held else b"") + self.held

    def rename(self, path: Path) -> None:
        """Give the file another name. Raises: OSError."""
        self.path.replace(path)
        self.path = path

    def touch(self) -> None:
        """Say that the process is alive, to those who cannot see its lock."""
        with contextlib.suppress(OSError):
            os.utime(self._descriptor)

    def close(self) -> None:
        """Release file and lock."""
        with self._lock:
            if self._descriptor >= 0:
                descriptor, self._descriptor = self._descriptor, -1
                os.close(descriptor)
                _OPEN.discard(self)

    def abandon(self) -> None:
        """In a forked child: drop the parent's file, whose locks another thread may have held."""
        self._lock = threading.RLock()
        self._held, self._held_bytes = [], 0
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            with contextlib.suppress(OSError):
                os.close(descriptor)
        _OPEN.discard(self)

    def _append_late(self, line: bytes) -> None:
        """The way of a line when something went wrong before it, or the file ends with a torn line."""
        self._held.append(line)
        self._held_bytes += len(line)
        self._write_held()

    def _hold(self, line: bytes, error: OSError) -> None:
        self._held.append(line)
        self._held_bytes += len(line)
        self._failed(error)

    def _write_held(self) -> None:
        try:
            while self._held:
                data = b"\n" + self._held[0] if self._torn else self._held[0]
                if os.write(self._descriptor, data) != len(data):
                    self._torn = True
                    raise OSError(28, os.strerror(28), str(self.path))
                self._torn = False
                self._held_bytes -= len(self._held.pop(0))
            self.fault = None
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        first, self.fault = self.fault is None, error
        if self._held_bytes > _HELD_BYTES:
            raise MemoryError(
                f"journal {self.path}: the disk takes nothing and 1 GiB of lines is waiting"
            ) from error
        if first:
            self._on_fault(error)


def is_locked(path: Path) -> bool | None:
    """Whether a living process holds the journal at `path`; None where the system cannot tell."""
    try:
        import fcntl
    except ImportError:  # not POSIX
        return None
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except PermissionError:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    except OSError:  # no locks on this file system
        return None
    finally:
        os.close(descriptor)


def _take_lock(descriptor: int) -> None:
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX)  # at most a reader's glance stands in the way
    except (ImportError, OSError):
        return  # then the file's time of change is what tells
