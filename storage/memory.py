"""Backend in this process's memory: the executable specification, and what tests of higher layers run on.

Single dict operations are atomic in CPython, with and without the global lock, and nothing here needs two of them
to be atomic together. So there is no lock, and a fork in the middle of another thread's call leaves none behind.
"""

from __future__ import annotations

import builtins
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from .backend import Buffer, Stat, check_key, check_prefix
from .errors import CommError, ConflictError, NotFoundError
from .staging import TemporaryStaging

__all__ = ["MemoryBackend"]


class MemoryBackend:
    """Keys are entries of a dict; a forked child has a copy. See `Backend` for the contract."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[bytes, Stat]] = {}
        self._staging = TemporaryStaging()

    @property
    def url(self) -> str:
        return f"memory://{id(self):x}"

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        value, found = self._get(key)
        begin = max(0, found.size_bytes + start) if start < 0 else start
        return value[begin : None if length is None else begin + length]

    def write(self, key: str, data: Buffer) -> None:
        self._values[check_key(key)] = _entry(key, data)

    def write_file(self, key: str, path: Path) -> None:
        check_key(key)
        try:
            self.write(key, path.read_bytes())
            path.unlink()
        except FileNotFoundError as error:
            raise NotFoundError(
                f"file {path} for key {key!r} is not there; write it to staging() first"
            ) from error
        except OSError as error:
            raise CommError(f"file {path} for key {key!r} was not read: {error}; try again") from error

    def create(self, key: str, data: Buffer) -> None:
        entry = _entry(check_key(key), data)
        if self._values.setdefault(key, entry) is not entry:
            raise ConflictError(f"key {key!r} exists already in {self.url}; read it and decide again")

    def stat(self, key: str) -> Stat:
        return self._get(key)[1]

    def list(self, prefix: str, start_after: str = "") -> Iterator[Stat]:
        check_prefix(prefix)
        entries = sorted(self._values.copy().items(), key=lambda item: item[0])
        return (found for key, (_, found) in entries if key.startswith(prefix) and key > start_after)

    def folders(self, prefix: str) -> builtins.list[str]:
        below = [found.key[len(prefix) :] for found in self.list(prefix)]
        return sorted({name.split("/", 1)[0] for name in below if "/" in name})

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._values.pop(check_key(key), None)

    def staging(self) -> Path:
        try:
            return self._staging.path()
        except OSError as error:
            raise CommError(f"no temporary folder could be made: {error}; set TMPDIR") from error

    def local_path(self, key: str) -> Path | None:
        check_key(key)
        return None

    def close(self) -> None:
        self._staging.close()

    def _get(self, key: str) -> tuple[bytes, Stat]:
        try:
            return self._values[check_key(key)]
        except KeyError:
            raise NotFoundError(f"key {key!r} is not in {self.url}; check the name and the store") from None


def _entry(key: str, data: Buffer) -> tuple[bytes, Stat]:
    value = bytes(data)
    return value, Stat(key=key, size_bytes=len(value), modified_s=time.time())
