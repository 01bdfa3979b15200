"""The contract between Lineart and whatever holds its bytes.

A backend is a flat map from keys to immutable byte strings. Everything above it (packs, the log,
checkpoints) needs only what stands here, and `storage.testing.BackendSuite` tests every sentence of it.
A behaviour (retry, counting, injected faults) is a wrapper with the same methods.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from .errors import InvalidNameError

Buffer: TypeAlias = bytes | bytearray | memoryview

STAGING = ".staging"  # the folder of a local store that holds temporary files; no key lies in it
LIVE = ".live"  # the folder of a local store that holds what running processes write; no key lies in it
_KEY = re.compile(r"[A-Za-z0-9_.\-]+(/[A-Za-z0-9_.\-]+)*\Z")


@dataclass(frozen=True, slots=True)
class Stat:
    """A key and what the backend knows about it without reading it."""

    key: str
    size_bytes: int
    modified_s: float  # seconds since the epoch, by the backend's clock; for display and grace periods only


def check_key(key: str) -> str:
    """Return `key` if it is a well-formed key, else raise `InvalidNameError`.

    >>> check_key("packs/3f/3fa9.pack")
    'packs/3f/3fa9.pack'
    """
    if not _KEY.match(key) or any(part in (".", "..") for part in key.split("/")):
        raise InvalidNameError(
            f"key {key!r}: expected relative parts of letters, digits, '_', '.' and '-', joined by '/'"
        )
    for reserved in (STAGING, LIVE):
        if key == reserved or key.startswith(reserved + "/"):
            raise InvalidNameError(
                f"key {key!r}: the folder {reserved!r} is reserved for what is being written"
            )
    return key


def check_prefix(prefix: str) -> str:
    """Return `prefix` if it is empty or a well-formed key and `/`, else raise `InvalidNameError`."""
    if prefix and not prefix.endswith("/"):
        raise InvalidNameError(f"prefix {prefix!r}: expected '' or a folder that ends with '/'")
    if prefix:
        check_key(prefix[:-1])
    return prefix


@runtime_checkable
class Backend(Protocol):
    """A flat map from keys to byte strings, shared by many threads and many processes.

    - Keys are relative, `/`-separated, of `[A-Za-z0-9_.-]`; anything else raises `InvalidNameError`.
      No key is a folder of another: what happens to `a/b` when `a` exists is up to the backend.
    - A key that is visible is whole: no reader ever sees part of a write, also not after a crash.
    - When `write`, `write_file` or `create` has returned, the bytes survive a crash of the machine.
    - All methods may be called from several threads. A backend may be used after `fork`.
    - A missing key raises `NotFoundError`; a server or disk that does not answer raises `CommError`;
      one that refuses (read-only, full, denied) raises `StoreError`. No other exception leaves a backend.
    """

    @property
    def url(self) -> str:
        """The address of the store, without credentials."""
        ...

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Bytes `[start, start + length)` of the value; to its end when `length` is None.

        A negative `start` counts from the end (a suffix read; one longer than the value gives the whole value).
        A range that ends behind the value is cut short; one that starts behind it gives `b""`. `length` is not
        negative.
        Raises: NotFoundError, CommError.
        """
        ...

    def write(self, key: str, data: Buffer) -> None:
        """Put `data` under `key`, atomically replacing what was there."""
        ...

    def write_file(self, key: str, path: Path) -> None:
        """Put the content of the local file `path`, which lies in `staging()`, under `key`; the file is consumed.

        It stays when the call fails before the value is in place. Raises: NotFoundError when `path` is missing.
        """
        ...

    def create(self, key: str, data: Buffer) -> None:
        """Put `data` under `key` if nobody has before; of several racing callers exactly one succeeds.

        Raises: ConflictError when the key exists. After a lost answer a caller may see its own earlier
        success as ConflictError; the caller must look at what is there.
        """
        ...

    def stat(self, key: str) -> Stat:
        """Size and time of `key`. Raises: NotFoundError."""
        ...

    def list(self, prefix: str, start_after: str = "") -> Iterator[Stat]:
        """Every key that starts with the folder `prefix` (``"a/b/"``, or ``""``) and is greater than `start_after`.

        Ordered by the bytes of the key, complete, and never from a cache. `prefix` ends with `/` or is empty.
        """
        ...

    def folders(self, prefix: str) -> builtins.list[str]:  # `list` is a method here
        """Names of the folders directly under the folder `prefix`, sorted; empty when there is none."""
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the keys; one that is not there is no error."""
        ...

    def staging(self) -> Path:
        """A local folder for temporary files that are given to `write_file`; made when missing."""
        ...

    def local_path(self, key: str) -> Path | None:
        """Where the value lies as a local file that may be memory-mapped and read, or None if it does not.

        Says nothing about whether the key exists.
        """
        ...

    def close(self) -> None:
        """Release connections and temporary folders. Using the backend afterwards is undefined."""
        ...
