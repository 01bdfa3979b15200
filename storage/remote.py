"""Backend over any fsspec file system; S3 (by s3fs) first.

- fsspec is imported when a backend is made, not with this module.
- Caches of listings are off: a log that is listed from a cache is a log that lost commits.
- A file system belongs to the process that made it: s3fs has an event loop in a thread, which a fork does not take
  along. So there is one per process id, and the parent's is kept, unused, lest its finalizer wait for that thread.
- Conditional create is `pipe_file(mode="create")`. On S3 that is `If-None-Match: *`. Another file system may check
  and then write; `storage.probe` finds out.
- s3fs and botocore repeat requests by themselves, so `create` can meet its own success also without `RetryingBackend`.
"""

from __future__ import annotations

import builtins
import contextlib
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from . import s3, s3_multipart
from .answers import Answer, classify, describe, without_credentials
from .backend import Buffer, Stat, check_key, check_prefix
from .errors import (
    CommError,
    ConflictError,
    Error,
    InvalidNameError,
    NotFoundError,
    StoreError,
    UsageError,
)
from .s3_options import S3_SCHEMES, split_address
from .staging import TemporaryStaging

__all__ = ["FsspecBackend"]

_Result = TypeVar("_Result")

_BUSY_ATTEMPTS = 10
_BUSY_DELAY_S = 0.05


class FsspecBackend:
    """Keys are the files below `url`, for example ``s3://bucket/prefix``. See `Backend` for the contract.

    `storage_options` go to the file system; on S3 they may be those of `s3_options`, too, and options in the address
    go before them. Other than on S3, listings are filtered and sorted here, after the
    file system has given all of the folder.
    Raises: StoreError when the package for the protocol is missing, UsageError when there is no such protocol.
    """

    def __init__(
        self,
        url: str,
        storage_options: Mapping[str, Any] | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self._is_s3 = url.split("://", 1)[0] in S3_SCHEMES
        self._options = dict(storage_options or {})
        if self._is_s3:
            url, options = split_address(url)
            self._options |= options
        self._address = url.rstrip("/")
        self._sleep = sleep
        self._uniform = uniform
        self._staging = TemporaryStaging()
        self._file_systems: dict[int, Any] = {}
        file_system, path = self._open()
        self._file_systems[os.getpid()] = file_system
        self._base = f"{path.rstrip('/')}/"

    @property
    def url(self) -> str:
        return without_credentials(self._address)

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        path = self._path(key)
        if length == 0:
            self.stat(key)  # an empty range cannot be asked for, but the key must be there
            return b""
        try:
            if not self._is_s3:
                return self._read_clamped(path, start, length)
            # A suffix is read whole and cut here, since where it begins is known only afterwards. A plain read is a
            # range too: without one s3fs asks for the size first.
            end = None if length is None or start < 0 else start + length
            value = bytes(self._fs().cat_file(path, start=start, end=end))
        except Exception as error:  # file systems raise anything; classified below
            if classify(error) is Answer.BEHIND_END:
                return b""
            raise self._error("read", key, error) from error
        return value if length is None else value[:length]

    def _read_clamped(self, path: str, start: int, length: int | None) -> bytes:
        """Where a range that leaves the value is an error, and a suffix unknown: the size first."""
        if start == 0 and length is None:
            return bytes(self._fs().cat_file(path))
        size_bytes, _ = self._size_and_time(path)
        begin = max(0, size_bytes + start) if start < 0 else start
        end = size_bytes if length is None else min(size_bytes, begin + length)
        return bytes(self._fs().cat_file(path, start=begin, end=end)) if begin < end else b""

    def write(self, key: str, data: Buffer) -> None:
        path = self._path(key)
        self._call("write", key, lambda: self._fs().pipe_file(path, bytes(data)))

    def write_file(self, key: str, path: Path) -> None:
        target = self._path(key)
        if not path.is_file():
            raise NotFoundError(f"file {path} for key {key!r} is not there; write it to staging() first")
        if self._is_s3 and path.stat().st_size >= s3_multipart.MULTIPART_BYTES:
            self._call("write", key, lambda: s3_multipart.upload(self._fs(), target, path))
        else:
            whole = {"chunksize": s3_multipart.MULTIPART_BYTES} if self._is_s3 else {}  # in one piece
            self._call("write", key, lambda: self._fs().put_file(os.fspath(path), target, **whole))
        path.unlink(missing_ok=True)

    def create(self, key: str, data: Buffer) -> None:
        path = self._path(key)
        value = bytes(data)
        for attempt in range(_BUSY_ATTEMPTS):
            try:
                self._fs().pipe_file(path, value, mode="create")
                return
            except Exception as error:  # file systems raise anything; classified below
                answer = classify(error)
                if answer is Answer.TAKEN:
                    raise ConflictError(
                        f"key {key!r} exists already in {self.url}; read it and decide again"
                    ) from error
                if answer is not Answer.BUSY or attempt + 1 == _BUSY_ATTEMPTS:
                    raise self._error("create", key, error) from error
            self._sleep(_BUSY_DELAY_S * 2**attempt * self._uniform())
        raise AssertionError("unreachable: the last attempt returns or raises")

    def stat(self, key: str) -> Stat:
        path = self._path(key)
        size_bytes, modified_s = self._call("stat", key, lambda: self._size_and_time(path))
        return Stat(key=key, size_bytes=size_bytes, modified_s=modified_s)

    def list(self, prefix: str, start_after: str = "") -> Iterator[Stat]:
        check_prefix(prefix)
        walk = self._walk_s3 if self._is_s3 else self._walk
        return walk(prefix, start_after)

    def folders(self, prefix: str) -> builtins.list[str]:
        folder = self._base + check_prefix(prefix)
        if self._is_s3:
            names = self._call("list", prefix, lambda: s3.list_folders(self._fs(), folder))
        else:
            names = [name[:-1] for name in self._names(prefix) if name.endswith("/")]
        return sorted(name for name in names if _is_key(prefix + name))

    def delete(self, keys: Iterable[str]) -> None:
        paths = [self._path(key) for key in keys]
        if self._is_s3:
            self._call("delete", "", lambda: s3.delete_objects(self._fs(), paths))
            return
        for path in paths:
            with contextlib.suppress(NotFoundError):  # no error, says the contract
                self._call("delete", path.removeprefix(self._base), partial(self._fs().rm_file, path))

    def drop_unfinished(self, before_s: float) -> int:
        """Drop what uploads that began before `before_s` (seconds since the epoch) have left; how many there were.

        Values stay as they are. An upload that is still going on begins anew. Other services than S3 keep nothing.
        """
        if not self._is_s3:
            return 0
        return self._call(
            "abort uploads of", "", lambda: s3_multipart.abort_before(self._fs(), self._base, before_s)
        )

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
        file_system = self._file_systems.pop(os.getpid(), None)
        client = getattr(file_system, "_s3", None)  # the property `s3` would connect just to be closed
        if client is not None:
            from fsspec.asyn import sync

            self._call("close", "", lambda: sync(file_system.loop, client.close))

    def _open(self) -> tuple[Any, str]:
        try:
            from fsspec.core import url_to_fs

            options = s3.with_patience(self._options) if self._is_s3 else self._options
            fs, path = url_to_fs(self._address, use_listings_cache=False, skip_instance_cache=True, **options)
            if self._is_s3:
                fs.retries = s3.RETRIES
        except ImportError as error:
            package = 'pip install "lineart[s3]"' if self._is_s3 else describe(error)
            raise StoreError(f"{self.url} needs a package that is not installed: {package}") from error
        except Exception as error:  # constructors raise anything, and all of it means the same
            raise UsageError(
                f"{self.url} cannot be opened: {describe(error)}; check address and options"
            ) from error
        return fs, str(path)

    def _fs(self) -> Any:
        process = os.getpid()
        found = self._file_systems.get(process)
        if found is None:
            # Atomic instead of locked: a lock held by another thread at the fork would stay locked here.
            found = self._file_systems.setdefault(process, self._open()[0])
        return found

    def _path(self, key: str) -> str:
        return self._base + check_key(key)

    def _size_and_time(self, path: str) -> tuple[int, float]:
        if self._is_s3:
            return s3.head_object(self._fs(), path)
        info = self._fs().info(path)
        if info["type"] != "file":
            raise FileNotFoundError(path)
        return int(info["size"]), _modified_s(info)

    def _walk_s3(self, prefix: str, start_after: str) -> Iterator[Stat]:
        # Keys are compared below the prefix; everything there is above a start that sorts before it.
        if start_after and not start_after.startswith(prefix):
            if start_after > prefix:
                return
            start_after = ""
        entries = s3.list_objects(self._fs(), self._base + prefix, start_after[len(prefix) :])
        while True:
            entry = self._call("list", prefix, lambda: next(entries, None))
            if entry is None:
                return
            key, size_bytes, modified_s = prefix + entry[0], entry[1], entry[2]
            if _is_key(key):
                yield Stat(key=key, size_bytes=size_bytes, modified_s=modified_s)

    def _walk(self, prefix: str, start_after: str) -> Iterator[Stat]:
        """Folder by folder rather than by `find`, which leaves out folders that it fails to list."""
        for name, info in sorted(self._names(prefix).items()):
            key = prefix + name
            if key.endswith("/"):
                if key > start_after or start_after.startswith(key):
                    yield from self._walk(key, start_after)
            elif key > start_after:
                yield Stat(key=key, size_bytes=int(info["size"]), modified_s=_modified_s(info))

    def _names(self, prefix: str) -> dict[str, dict[str, Any]]:
        """What is directly below `prefix`, folders with ``/``."""
        folder = self._base + prefix
        try:
            found = self._call("list", prefix, lambda: self._fs().ls(folder.rstrip("/"), detail=True))
        except NotFoundError:
            return {}
        names = {}
        for info in found:
            path = info["name"].rstrip("/")
            name = path[len(folder) :]
            if path.startswith(folder) and "/" not in name and _is_key(prefix + name):
                names[name if info["type"] == "file" else f"{name}/"] = info
        return names

    def _call(self, verb: str, key: str, call: Callable[[], _Result]) -> _Result:
        try:
            return call()
        except Error:
            raise
        except Exception as error:  # file systems raise anything; classified here
            raise self._error(verb, key, error) from error

    def _error(self, verb: str, key: str, error: Exception) -> Error:
        answer = classify(error)
        if answer is Answer.MISSING:
            return NotFoundError(f"key {key!r} is not in {self.url}, or that is not there; check both names")
        # The path that a file system names may begin with credentials, which the url leaves out.
        what = f"{verb} {key!r}: {describe(error).replace(self._base, '')}"
        if answer in (Answer.REFUSED, Answer.TAKEN):
            return StoreError(f"{self.url} refuses to {what}; check credentials and permissions")
        return CommError(f"{self.url} cannot be reached to {what}; try again later")


def _is_key(key: str) -> bool:
    """False for what other programs leave in a bucket, for example the empty objects that stand for folders."""
    try:
        check_key(key)
    except InvalidNameError:
        return False
    return True


def _modified_s(info: Mapping[str, Any]) -> float:
    """The time of change as this file system calls it; 0.0 when it does not tell."""
    for name in ("LastModified", "last_modified", "mtime", "modified", "updated", "created"):
        value = info.get(name)
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, (int, float)):
            return float(value)
    return 0.0
