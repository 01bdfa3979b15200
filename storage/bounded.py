"""Reading values whole that are never long: one that somebody has made huge does not fill the memory."""

from __future__ import annotations

from .backend import Backend
from .errors import IntegrityError

FRAME_LIMIT_BYTES = 256 * 1024 * 1024  # of segments and checkpoints as they are stored


def read_bounded(backend: Backend, key: str, limit_bytes: int) -> bytes:
    """The bytes of a value. Raises: IntegrityError for one of more than `limit_bytes`; NotFoundError, CommError."""
    data = backend.read(key, 0, limit_bytes + 1)
    if len(data) > limit_bytes:
        raise IntegrityError(
            f"{key}: more than {limit_bytes} bytes; expected at most as many; restore it from a copy"
        )
    return data
