"""File operations that survive a crash: what is named is whole and flushed.

Paths come in; `OSError` goes out, since only the caller knows what the failure means.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from .backend import Buffer

__all__ = ["flush", "link", "move", "temporary_file"]

_PIECE_BYTES = 256 * 1024  # larger write(2) calls were 4-5 times slower, and 2 GiB is the kernel's limit


def _temporary_name(folder: str) -> str:
    return f"{folder}/{os.getpid()}~{secrets.token_hex(8)}"


@contextlib.contextmanager
def temporary_file(folder: str, data: Buffer) -> Iterator[str]:
    """A flushed file with `data`, readable by whom the umask allows; its name is gone afterwards."""
    path = _temporary_name(folder)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        try:
            view = memoryview(data).cast("B")
            written = 0
            while written < len(view):
                written += os.write(descriptor, view[written : written + _PIECE_BYTES])
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        yield path
    finally:
        # Gone already after a rename. A name that cannot be removed is litter in staging, not a failed write.
        with contextlib.suppress(OSError):
            os.unlink(path)


def link(source: str, target: str) -> None:
    """`link(2)`, which fails when `target` exists. Raises: FileExistsError."""
    try:
        os.link(source, target)
    except FileExistsError:
        # NFS repeats a call whose reply was lost, and then reports our own success as EEXIST.
        if os.stat(source).st_nlink != 2:
            raise


def move(source: str, target: str) -> None:
    """Rename the flushed file `source` to `target`, replacing it; from another device by way of a copy."""
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # On another device: copy beside the target, under a name that is no key, and rename that.
        copy = _temporary_name(os.path.dirname(target))
        try:
            shutil.copyfile(source, copy)
            flush(copy)
            os.replace(copy, target)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(copy)
            raise
        os.unlink(source)


def flush(path: str | Path) -> None:
    """`fsync(2)` of a file or folder."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
