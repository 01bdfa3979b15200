"""What this machine has noted of a remote store between two processes: its settings, and the folded state of logs.

Notes may be lost at any time, and are believed only by who sees at once whether they are still true: a folded state
names its position, which the log has or has not.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from .backend import Backend
from .digest import DIGEST_BYTES, digest_of
from .durable import flush
from .errors import StoreError
from .memory import MemoryBackend

FOLDER = "notes"


@dataclass(frozen=True, slots=True)
class Note:
    """One value in a file, with its BLAKE3 behind it. What the disk refuses is not noted, and that is no error."""

    path: Path

    def read(self) -> bytes | None:
        """The value, None when there is none or it is damaged."""
        try:
            whole = self.path.read_bytes()
        except OSError:
            return None
        data, digest = whole[:-DIGEST_BYTES], whole[-DIGEST_BYTES:]
        return data if digest_of(data) == digest else None

    def write(self, data: bytes) -> None:
        """Replace the value."""
        with contextlib.suppress(StoreError):
            self._replace(data, is_durable=False)

    def keep(self, data: bytes) -> None:
        """Replace the value, durably: something relies on it. Raises: StoreError."""
        self._replace(data, is_durable=True)

    def _replace(self, data: bytes, *, is_durable: bool) -> None:
        temporary = self.path.parent / f".{os.getpid()}-{secrets.token_hex(4)}"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(data + digest_of(data))
            if is_durable:
                flush(temporary)
            temporary.replace(self.path)
            if is_durable:
                flush(self.path.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise StoreError(
                f"{self.path} cannot be written ({error.strerror or error}); make room for it"
            ) from error


class Notes:
    """The notes about the store at one address."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.settings = Note(folder / "settings")

    @classmethod
    def of(cls, backend: Backend, cache: Path) -> Notes | None:
        """Of a remote store; others need none."""
        if backend.local_path("x") is not None or isinstance(backend, MemoryBackend):
            return None
        return cls(cache / FOLDER / digest_of(backend.url.encode()).hex()[:40])

    def of_log(self, prefix: str) -> Note:
        """The folded state of the log under a key prefix."""
        return Note(self._folder / "logs" / digest_of(prefix.encode()).hex()[:40])

    def forget(self) -> None:
        """Drop all."""
        shutil.rmtree(self._folder, ignore_errors=True)
