"""Parquet files of a store as DuckDB reads them: local ones by their path, others by ranges of their bytes.

DuckDB compares no checksums, so it gets nothing that was not compared with the digests of the part: local files are
hashed when they are opened (7 GiB/s), of others the blocks that a range touches.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ...storage.errors import CommError, Error, IntegrityError, NotFoundError
from ...storage.store import Store
from .block_digests import BLOCK_BYTES, BlockDigests

if TYPE_CHECKING:
    import duckdb

_READ_AHEAD_BYTES = 64 * 1024
_KEPT_BLOCKS = 16
_SCHEME = "lineartstore"
_REPAIR = 'run "art verify --all" to see what else is damaged, and restore it from a copy of the store'
_REMEMBERED = 10_000
_lock = threading.Lock()
_digests: dict[str, dict[str, BlockDigests | None]] = {}  # by file system and key: DuckDB opens files by name


def open_parquet(
    connection: duckdb.DuckDBPyConnection,
    store: Store,
    keys: Sequence[str],
    digests: Mapping[str, BlockDigests],
) -> list[str]:
    """What to name `keys` in a query on `connection`. Raises: IntegrityError for a local file that was changed."""
    paths = [store.backend.local_path(key) for key in keys]
    if all(path is not None for path in paths):
        for key in keys:
            if key in digests:
                check_parquet(store, key, digests[key])
        return [str(path) for path in paths]
    name = f"{_SCHEME}{store.settings.store[:12]}"
    with _lock:
        known = _digests.setdefault(name, {})
        for key in keys:
            known.pop(key, None)
            known[key] = digests.get(key)
        for key in list(known)[:-_REMEMBERED]:
            del known[key]
        if not connection.filesystem_is_registered(name):
            connection.register_filesystem(file_system(store, name, partial(_digests_of, name)))
    return [f"{name}://{key}" for key in keys]


def check_parquet(store: Store, key: str, digests: BlockDigests) -> None:
    """Read and compare a whole file of a part. Raises: IntegrityError, NotFoundError, CommError."""
    path = store.backend.local_path(key)
    try:
        if path is not None:
            digests.check_file(path)
            return
        size_bytes = store.backend.stat(key).size_bytes
        if size_bytes != digests.size_bytes:
            raise IntegrityError(f"it has {size_bytes} bytes, expected {digests.size_bytes}")
        step = _KEPT_BLOCKS * BLOCK_BYTES
        for start in range(0, size_bytes, step):
            digests.check(memoryview(store.backend.read(key, start, step)), start)
    except FileNotFoundError as error:
        raise NotFoundError(f"{key} is missing; {_REPAIR}") from error
    except OSError as error:
        raise IntegrityError(f"{key}: {error.strerror or error}; {_REPAIR}") from error
    except IntegrityError as error:
        raise IntegrityError(f"{key}: {error}; {_REPAIR}") from error


def _digests_of(name: str, key: str) -> BlockDigests | None:
    with _lock:
        if key not in _digests.get(name, ()):
            raise CommError(f"{key}: {_REMEMBERED} other files were opened meanwhile; try again")
        return _digests[name][key]


def file_system(store: Store, name: str, digests_of: Callable[[str], BlockDigests | None]) -> Any:
    """`store` as a file system that DuckDB can register under `name`; `digests_of` a key, if it has some."""
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
            key = _key(path)
            return _SharedFile(store, key, digests_of(key))

    return StoreFiles()


def _key(path: str) -> str:
    return path.partition("://")[2] or path


class _SharedFile:
    """A value of a store as DuckDB's threads want it: each seeks and then reads, on the same handle at once.

    So every thread has its own place in it.
    """

    def __init__(self, store: Store, key: str, digests: BlockDigests | None) -> None:
        self._store, self._key, self._digests = store, key, digests
        self._size = store.backend.stat(key).size_bytes
        self._threads = threading.local()

    def _mine(self) -> Any:
        if not hasattr(self._threads, "file"):
            raw = _StoreFile(self._store, self._key, self._size, self._digests)
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
    """A value of a store as a seekable file; each read is one ranged request, of whole blocks if they have digests."""

    def __init__(self, store: Store, key: str, size: int, digests: BlockDigests | None) -> None:
        self._store, self._key, self._digests = store, key, digests
        self.size = size
        self._at = 0
        self._kept: tuple[int, bytes] = (0, b"")  # what was read last: its start and its bytes

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
        data = self._read(self._at, min(len(target), self.size - self._at))
        target[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _read(self, start: int, length: int) -> bytes:
        if self._digests is None:
            return self._store.backend.read(self._key, start, length)
        begin, kept = self._kept
        if not begin <= start <= start + length <= begin + len(kept):
            begin = start - start % BLOCK_BYTES
            end = -(-(start + length) // BLOCK_BYTES) * BLOCK_BYTES
            kept = self._store.backend.read(self._key, begin, end - begin)
            try:
                self._digests.check(memoryview(kept), begin)
            except IntegrityError as error:
                raise IntegrityError(f"{self._key}: {error}; {_REPAIR}") from error
            self._kept = (begin, kept)
        return kept[start - begin : start - begin + length]
