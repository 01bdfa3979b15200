"""Parquet files of a store as DuckDB reads them: local ones by their path, others by ranges of their bytes."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING, Any

from ...storage.errors import Error
from ...storage.store import Store

if TYPE_CHECKING:
    import duckdb

_READ_AHEAD_BYTES = 64 * 1024
_SCHEME = "lineartstore"


def open_parquet(connection: duckdb.DuckDBPyConnection, store: Store, keys: list[str]) -> list[str]:
    """What to name `keys` in a query on `connection`."""
    paths = [store.backend.local_path(key) for key in keys]
    if all(path is not None for path in paths):
        return [str(path) for path in paths]
    name = f"{_SCHEME}{store.settings.store[:12]}"
    if not connection.filesystem_is_registered(name):
        connection.register_filesystem(file_system(store, name))
    return [f"{name}://{key}" for key in keys]


def file_system(store: Store, name: str) -> Any:
    """`store` as a file system that DuckDB can register under `name`."""
    from fsspec.spec import AbstractFileSystem

    class StoreFiles(AbstractFileSystem):  # type: ignore[misc]
        """The keys of a store as an fsspec file system that can only be read."""

        protocol = name
        cachable = False

        def info(self, path: str, **_: Any) -> dict[str, Any]:
            key = _key(path)
            try:
                found = store.backend.stat(key)
            except Error as error:
                raise FileNotFoundError(str(error)) from error
            return {"name": key, "size": found.size_bytes, "type": "file", "mtime": found.modified_s}

        def glob(self, path: str, maxdepth: int | None = None, **_: Any) -> list[str]:
            return [_key(path)]

        def modified(self, path: str) -> Any:
            import datetime

            return datetime.datetime.fromtimestamp(self.info(path)["mtime"], datetime.UTC)

        def _open(
            self,
            path: str,
            mode: str = "rb",
            block_size: int | None = None,
            autocommit: bool = True,
            cache_options: Any = None,
            **_: Any,
        ) -> Any:
            return _SharedFile(store, _key(path))

    return StoreFiles()


def _key(path: str) -> str:
    return path.partition("://")[2] or path


class _SharedFile:
    """A value of a store as DuckDB's threads want it: each seeks and then reads, on the same handle at once.

    So every thread has its own place in it.
    """

    def __init__(self, store: Store, key: str) -> None:
        self._store, self._key = store, key
        self._size = store.backend.stat(key).size_bytes
        self._threads = threading.local()

    def _mine(self) -> Any:
        if not hasattr(self._threads, "file"):
            raw = _StoreFile(self._store, self._key, self._size)
            self._threads.file = io.BufferedReader(raw, _READ_AHEAD_BYTES)
        return self._threads.file

    def read(self, size: int = -1) -> bytes:
        return bytes(self._mine().read(size))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._mine().seek(offset, whence))

    def tell(self) -> int:
        return int(self._mine().tell())

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        """Nothing is held open."""


class _StoreFile(io.RawIOBase):
    """A value of a store as a seekable file; each read is one ranged request."""

    def __init__(self, store: Store, key: str, size: int) -> None:
        self._store, self._key, self.size = store, key, size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, target: Any) -> int:
        if self._at >= self.size or not len(target):
            return 0
        data = self._store.backend.read(self._key, self._at, len(target))
        target[: len(data)] = data
        self._at += len(data)
        return len(data)
