"""Files that a command writes where it was told to."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def write_whole(target: Path, data: bytes) -> None:
    """Write a file whole or not at all. Raises: UsageError naming it."""
    unfinished = target.with_name(f".{target.name}~{uuid.uuid4().hex}")
    try:
        try:
            unfinished.write_bytes(data)
            os.replace(unfinished, target)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        from ..storage.errors import UsageError

        raise UsageError(f"{target}: {error.strerror or error}; choose another file") from error
