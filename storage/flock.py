"""Locks between processes of one machine: advisory, on an open file, gone with the process. See flock(2)."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import StoreError


def open_lock(path: Path) -> int:
    """A descriptor of the lock file at `path`, which is made, with its folder. Raises: StoreError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise StoreError(
            f"lock {path} cannot be made ({error.strerror or error}); make room for it, or give write access"
        ) from error


def lock(descriptor: int, *, shared: bool = False, wait: bool = True) -> bool:
    """Lock an open file; False when another process has it and this one does not `wait`.

    Where there are no such locks (Windows, some network file systems) it is always True: what is guarded by them
    looks at what is there, too.
    """
    try:
        import fcntl
    except ImportError:
        return True
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
