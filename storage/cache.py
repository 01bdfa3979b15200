"""What was read of a remote store's immutable values, kept on this machine: bounded, shared by processes.

A *block* is a range of a value in a file of its own: ``blocks/<aa>/<value>/<start>-<end>``, with ``e`` behind it when
the value ends there. Blocks are written under a temporary name and renamed. The least recently used go when the cache
has outgrown its limit. Nothing unverified comes out: bytes of packs are hashed by whoever decodes them (and read anew
from the store when they do not match), all others have their BLAKE3 behind them in the file.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .backend import Backend, check_key
from .digest import DIGEST_BYTES, digest_of
from .errors import CommError
from .wrapper import BackendWrapper

__all__ = ["BlockCache", "CachingBackend"]

FOLDER = "blocks"
_BLOCK = re.compile(r"(\d+)-(\d+)(e?)\Z")
_SHARE_OF_DISK = 0.1
_KEPT_SHARE = 0.9  # what is left after a trim: the next one is not due at once
_TRIM_EVERY_BYTES = 64 * 1024 * 1024
_TOUCH_EVERY_S = 60.0
_STALE_S = 3600.0  # a temporary file of a writer that was killed
# Written once and never changed under their names (docs/format.md).
_IMMUTABLE = re.compile(
    r"packs/|(projects/[^/]+/[^/]+|registries/[^/]+|store)/(log/|runs/[^/]+/(history|segments)/|checkpoints/)"
)
_VERIFIED_BY_READER = "packs/"


@dataclass(frozen=True, slots=True)
class _Block:
    start: int
    end: int
    is_last: bool
    path: Path

    def covers(self, start: int, length: int | None) -> bool:
        """Whether the answer to a read is in this block. `start` as in `Backend.read`."""
        if start < 0:
            return self.is_last and (self.start == 0 or self.end - self.start >= -start)
        if start < self.start:
            return False
        return self.is_last or (length is not None and start + length <= self.end)


class BlockCache:
    """Ranges of values by name, in a folder with a limit in bytes. Safe in threads and processes.

    What the disk refuses is not kept, and that is no error.
    """

    def __init__(self, folder: Path, limit_bytes: int | None = None) -> None:
        """`limit_bytes` is by default a tenth of the disk; 0 keeps nothing."""
        self._folder = folder / FOLDER
        self._given_limit = limit_bytes
        self._lock = threading.Lock()
        self._unchecked_bytes: int | None = None  # written since the last trim; None: none yet

    @property
    def limit_bytes(self) -> int:
        """How much may be kept."""
        if self._given_limit is not None:
            return self._given_limit
        place = self._folder
        while not place.exists():
            place = place.parent
        return int(shutil.disk_usage(place).total * _SHARE_OF_DISK)

    def get(self, name: str, start: int, length: int | None, *, verify: bool) -> bytes | None:
        """The bytes of a read, None when they are not here. With `verify` the block is hashed first."""
        for block in self._blocks(name):
            if block.covers(start, length):
                with contextlib.suppress(OSError):  # removed meanwhile
                    return self._read(block, start, length, verify=verify)
        return None

    def end(self, name: str) -> bytes:
        """The longest range that is here and ends where the value ends; not hashed."""
        for block in sorted(self._blocks(name), key=lambda block: block.start):
            if block.is_last:
                with contextlib.suppress(OSError):
                    return self._read(block, block.start, None, verify=False) or b""
        return b""

    def put(self, name: str, start: int, data: bytes, *, is_last: bool) -> None:
        """Keep a range of a value, which ends there if `is_last`."""
        limit = self.limit_bytes
        if len(data) * 4 > limit or not data:
            return
        folder = self._place(name)
        target = folder / f"{start}-{start + len(data)}{'e' if is_last else ''}"
        temporary = folder / f".{os.getpid()}-{secrets.token_hex(4)}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(data)
                file.write(digest_of(data))
            temporary.replace(target)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            return
        self._trim_if_due(len(data), limit)

    def drop(self, name: str) -> bool:
        """Forget a value; whether anything of it was here."""
        found = self._blocks(name)
        for block in found:
            with contextlib.suppress(OSError):
                block.path.unlink()
        return bool(found)

    def trim(self, limit_bytes: int) -> int:
        """Remove the blocks that were not used for longest until at most `limit_bytes` are left; bytes removed."""
        found = sorted(self._files())
        excess = sum(size for _, size, _ in found) - limit_bytes
        removed = 0
        stale_ns = time.time_ns() - int(_STALE_S * 1e9)
        for used_ns, size, path in found:
            is_litter = path.rpartition("/")[2].startswith(".") and used_ns < stale_ns
            if removed < excess or is_litter:
                with contextlib.suppress(OSError):  # another process trims, too
                    os.unlink(path)
                    removed += size
        return removed

    def size_bytes(self) -> int:
        """Bytes kept now."""
        return sum(size for _, size, _ in self._files())

    def _place(self, name: str) -> Path:
        key = digest_of(name.encode()).hex()[:40]
        return self._folder / key[:2] / key

    def _blocks(self, name: str) -> list[_Block]:
        place = self._place(name)
        try:
            names = os.listdir(place)
        except OSError:
            return []
        found = []
        for file in names:
            match = _BLOCK.match(file)
            if match is not None:
                found.append(_Block(int(match[1]), int(match[2]), bool(match[3]), place / file))
        return found

    def _read(self, block: _Block, start: int, length: int | None, *, verify: bool) -> bytes | None:
        begin = max(block.start, block.end + start) if start < 0 else start
        end = block.end if length is None else min(block.end, begin + length)
        size = max(0, end - begin)
        with block.path.open("rb") as file:
            now = os.fstat(file.fileno())
            if now.st_size != block.end - block.start + DIGEST_BYTES:
                return None
            if time.time() - now.st_mtime > _TOUCH_EVERY_S:
                os.utime(file.fileno())  # used now
            if not verify:
                file.seek(begin - block.start)
                return file.read(size)
            whole = file.read()
        data, digest = memoryview(whole)[:-DIGEST_BYTES], whole[-DIGEST_BYTES:]
        if digest_of(data) != digest:
            block.path.unlink()
            return None
        return bytes(data[begin - block.start : begin - block.start + size])

    def _trim_if_due(self, added_bytes: int, limit: int) -> None:
        with self._lock:
            before, self._unchecked_bytes = self._unchecked_bytes, (self._unchecked_bytes or 0) + added_bytes
            if before is not None and self._unchecked_bytes < min(_TRIM_EVERY_BYTES, limit // 8):
                return
            self._unchecked_bytes = 0
        if self.size_bytes() > limit:
            self.trim(int(limit * _KEPT_SHARE))

    def _files(self) -> Iterator[tuple[int, int, str]]:
        """Time of last use in ns, size in bytes and path of every file."""
        for folder, _, names in os.walk(self._folder):
            for name in names:
                path = f"{folder}/{name}"
                with contextlib.suppress(OSError):
                    found = os.stat(path)
                    yield found.st_mtime_ns, found.st_size, path


class CachingBackend(BackendWrapper):
    """Answers reads of immutable values from a `BlockCache`; all else goes to the store."""

    def __init__(
        self,
        inner: Backend,
        cache: BlockCache,
        store: str,
        is_offline: Callable[[], bool] = lambda: False,
    ) -> None:
        """`store` is the store's id: two stores that were at one address have nothing in common.

        While it `is_offline` the cache answers what `inner` cannot, and takes nothing in.
        """
        super().__init__(inner)
        self.cache = cache
        self._store = store
        self._is_offline = is_offline

    @property
    def uncached(self) -> Backend:
        """The store itself, for those who read a value once and whole: it would drive out what is read again."""
        return self._inner

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        if not _IMMUTABLE.match(check_key(key)) or length == 0:
            return super().read(key, start, length)
        verify = not key.startswith(_VERIFIED_BY_READER)
        if self._is_offline():
            return self._read_offline(key, start, length, verify=verify)
        found = self.cache.get(self._name(key), start, length, verify=verify)
        if found is not None:
            return found
        data = super().read(key, start, length)
        if self._is_offline():  # since just now: this came from elsewhere
            return data
        if start < 0:
            if length is None and len(data) < -start:  # longer than the value: all of it
                self.cache.put(self._name(key), 0, data, is_last=True)
        else:
            self.cache.put(self._name(key), start, data, is_last=length is None or len(data) < length)
        return data

    def _read_offline(self, key: str, start: int, length: int | None, *, verify: bool) -> bytes:
        try:
            return super().read(key, start, length)
        except CommError:
            found = self.cache.get(self._name(key), start, length, verify=verify)
            if found is None:
                raise
            return found

    def keep(self, key: str, start: int, data: bytes, *, is_last: bool) -> None:
        """Keep a range of whose place the reader has learned, as of a value's end."""
        self.cache.put(self._name(key), start, data, is_last=is_last)

    def kept_end(self, key: str) -> bytes:
        """What is kept of the end of a value; empty when that is nothing."""
        return self.cache.end(self._name(key))

    def forget(self, key: str) -> bool:
        """Drop what is kept of a value, since it was found to be damaged; whether there was anything."""
        return self.cache.drop(self._name(key))

    def _name(self, key: str) -> str:
        return f"{self._store}/{key}"
