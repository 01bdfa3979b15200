"""Reading local files so that a change in the middle is noticed, and errors about them in one line."""

from __future__ import annotations

import os
import stat
import time

from .errors import Error, NotFoundError, SourceChangedError, UsageError
from .statcache import Fingerprint

ATTEMPTS = 5
_PAUSE_S = 0.02
_TICK_NS = 10_000_000


def source_error(path: str, error: OSError) -> Error:
    """What to raise for an `OSError` on a local file that is to be logged."""
    made: Error
    if isinstance(error, FileNotFoundError):
        made = NotFoundError(
            f"file {path!r} is not there; it must stay in place until the artifact is logged"
        )
    else:
        reason = error.strerror or str(error)
        made = UsageError(f"file {path!r}: {reason}; make it readable or leave it out; nothing was logged")
    made.source = path
    return made


def changed_error(path: str) -> SourceChangedError:
    """What to raise for a file that did not hold still."""
    made = SourceChangedError(
        f"file {path!r} changed while it was read, {ATTEMPTS} times in a row; stop what writes it and log again"
    )
    made.source = path
    return made


def open_source(path: str) -> tuple[int, Fingerprint]:
    """An open descriptor of a regular file and what it is now. Raises: NotFoundError, UsageError."""
    try:
        # O_NONBLOCK: a named pipe must not hang the log; on a regular file it means nothing.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise source_error(path, error) from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise UsageError(f"file {path!r}: expected a regular file, found mode {stat.filemode(found.st_mode)}")
    return descriptor, Fingerprint.of(found)


def open_settled(path: str) -> tuple[int, Fingerprint]:
    """`open_source`, once the file's times can show the next change. Raises: SourceChangedError, its errors.

    Kernels before Linux 6.13 count file times in ticks of up to 10 ms: of two writes in one tick, the second, in the
    middle of our reading, would go unseen.
    """
    descriptor, found = open_source(path)
    try:
        for _ in range(ATTEMPTS):
            age_ns = time.time_ns() - found.ctime_ns
            if not 0 <= age_ns < _TICK_NS:  # a clock that lies behind the file's is not this machine's
                return descriptor, found
            time.sleep((_TICK_NS - age_ns) / 1e9)
            found = Fingerprint.of(os.fstat(descriptor))
        raise changed_error(path)
    except BaseException:
        os.close(descriptor)
        raise


def read_small(path: str, limit: int) -> tuple[bytes, Fingerprint]:
    """All bytes of a file of at most `limit` bytes, and what it was meanwhile.

    Raises: SourceChangedError, also for a file that has grown beyond `limit`; those of `open_source`.
    """
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE_S * attempt)
        descriptor, before = open_settled(path)
        try:
            if before.size_bytes > limit:
                grown = f"file {path!r} has grown to {before.size_bytes} bytes since logging began; log again"
                made = SourceChangedError(grown)
                made.source = path
                raise made
            data = os.read(descriptor, before.size_bytes + 1)
            after = Fingerprint.of(os.fstat(descriptor))
        except OSError as error:
            raise source_error(path, error) from error
        finally:
            os.close(descriptor)
        if len(data) == before.size_bytes and before.same_content(after):
            return data, before
    raise changed_error(path)
