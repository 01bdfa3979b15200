"""Backend wrapper that counts: the requests that a piece of work costs are asserted in tests and benchmarks."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from .backend import Backend, Buffer, Stat
from .wrapper import BackendWrapper

__all__ = ["CountingBackend"]

_Result = TypeVar("_Result")


class CountingBackend(BackendWrapper):
    """Counts calls (also those that fail) and, of those that succeed, the bytes of values, per method.

    `bytes` holds what `read` gave and what `write`, `write_file` and `create` were given; `entries` what `list`
    yielded. Both are counted after the fact, so a listing that is not read to its end counts what was read.

    >>> from lineart.storage.memory import MemoryBackend
    >>> backend = CountingBackend(MemoryBackend())
    >>> backend.write("a/b", b"12345")
    >>> backend.read("a/b", start=-2)
    b'45'
    >>> backend.calls["read"], backend.bytes["write"], backend.bytes["read"]
    (1, 5, 2)
    """

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Start again at zero."""
        self.calls: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.entries = 0

    def _around(self, method: str, key: str, call: Callable[[], _Result]) -> _Result:
        with self._lock:
            self.calls[method] += 1
        return call()

    def _add_bytes(self, method: str, size_bytes: int) -> None:
        with self._lock:
            self.bytes[method] += size_bytes

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        value = super().read(key, start, length)
        self._add_bytes("read", len(value))
        return value

    def write(self, key: str, data: Buffer) -> None:
        super().write(key, data)
        self._add_bytes("write", memoryview(data).nbytes)

    def write_file(self, key: str, path: Path) -> None:
        size_bytes = path.stat().st_size if path.exists() else 0  # the file is gone afterwards
        super().write_file(key, path)
        self._add_bytes("write_file", size_bytes)

    def create(self, key: str, data: Buffer) -> None:
        super().create(key, data)
        self._add_bytes("create", memoryview(data).nbytes)

    def list(self, prefix: str, start_after: str = "") -> Iterator[Stat]:
        return self._count_entries(super().list(prefix, start_after))

    def _count_entries(self, found: Iterator[Stat]) -> Iterator[Stat]:
        for entry in found:
            with self._lock:
                self.entries += 1
            yield entry
