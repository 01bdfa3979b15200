"""What the wrappers share: a backend that passes every call on to another one, through one place."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from .backend import Backend, Buffer, Stat, check_key, check_prefix

__all__ = ["BackendWrapper"]

_Result = TypeVar("_Result")


class BackendWrapper:
    """Passes every call to `inner`; a subclass overrides `_around`, and what does not fit into it.

    `_around` sees all calls that can fail for the store's sake. `key` is the prefix in `folders` and `list`,
    and the first key (or ``""``) in `delete`.
    """

    def __init__(self, inner: Backend) -> None:
        self._inner = inner

    @property
    def inner(self) -> Backend:
        """What the calls are passed on to."""
        return self._inner

    def _around(self, method: str, key: str, call: Callable[[], _Result]) -> _Result:
        return call()

    @property
    def url(self) -> str:
        return self._inner.url

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        return self._around("read", check_key(key), lambda: self._inner.read(key, start, length))

    def write(self, key: str, data: Buffer) -> None:
        self._around("write", check_key(key), lambda: self._inner.write(key, data))

    def write_file(self, key: str, path: Path) -> None:
        self._around("write_file", check_key(key), lambda: self._inner.write_file(key, path))

    def create(self, key: str, data: Buffer) -> None:
        self._around("create", check_key(key), lambda: self._inner.create(key, data))

    def stat(self, key: str) -> Stat:
        return self._around("stat", check_key(key), lambda: self._inner.stat(key))

    def list(self, prefix: str, start_after: str = "") -> Iterator[Stat]:
        return self._around("list", check_prefix(prefix), lambda: self._inner.list(prefix, start_after))

    def folders(self, prefix: str) -> builtins.list[str]:
        return self._around("folders", check_prefix(prefix), lambda: self._inner.folders(prefix))

    def delete(self, keys: Iterable[str]) -> None:
        doomed = [check_key(key) for key in keys]  # a generator would be empty when the call is repeated
        self._around("delete", doomed[0] if doomed else "", lambda: self._inner.delete(doomed))

    def staging(self) -> Path:
        return self._inner.staging()

    def local_path(self, key: str) -> Path | None:
        return self._inner.local_path(key)

    def close(self) -> None:
        self._inner.close()
