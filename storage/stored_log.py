"""The transactions of a log as they lie, for those who verify it: every number on its own, damaged ones and holes too.

Readers (`log`) stop where a log does not go on; here what lies behind a hole or a damaged entry is seen as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from .backend import Backend
from .errors import NotFoundError
from .log import FOLDER_ENTRIES, BackendLog
from .transaction import MAX_BYTES

if TYPE_CHECKING:
    from .postgres_log import PostgresLogs

_ENTRY = re.compile(r"log/(\d{6,})/(\d{12})\.json\Z")
_READERS = 8
_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """What lies at one number. `digest` is what is noted beside the bytes (hexadecimal), None where nothing is."""

    seq: int
    data: bytes | None  # None: it is missing
    digest: str | None = None


class StoredLog(Protocol):
    """All entries under a prefix. Who does not answer raises CommError, who refuses StoreError."""

    @property
    def prefix(self) -> str:
        """As of the log."""
        ...

    def place(self, seq: int) -> str:
        """What names the place of transaction `seq`: its key, where it has one."""
        ...

    def entries(self) -> Iterator[StoredEntry]:
        """Every number from 0 to the greatest that is there, in order."""
        ...


class BackendStoredLog:
    """Of transactions that are values of a backend."""

    def __init__(self, backend: Backend, prefix: str) -> None:
        self.prefix = prefix
        self._backend = backend
        self._log = BackendLog(backend, prefix)

    def place(self, seq: int) -> str:
        return self._log.key(seq)

    def entries(self) -> Iterator[StoredEntry]:
        names = (stat.key[len(self.prefix) :] for stat in self._backend.list(f"{self.prefix}log/"))
        found = [(int(match[1]), int(match[2])) for name in names if (match := _ENTRY.match(name))]
        end = max((seq for folder, seq in found if seq // FOLDER_ENTRIES == folder), default=-1) + 1
        if self._backend.local_path("x") is not None:
            yield from map(self._read, range(end))
            return
        with ThreadPoolExecutor(_READERS, "lineart-log") as pool:
            for start in range(0, end, _AT_ONCE):
                yield from pool.map(self._read, range(start, min(end, start + _AT_ONCE)))

    def _read(self, seq: int) -> StoredEntry:
        return StoredEntry(seq, read_entry(self._backend, self._log.key(seq)))


class PostgresStoredLog:
    """Of transactions that are rows of a table. Only the backup of the database can repair them."""

    def __init__(self, logs: PostgresLogs, prefix: str) -> None:
        self.prefix = prefix
        self._logs = logs

    def place(self, seq: int) -> str:
        return f"{self._logs.name} {self.prefix}log {seq}"

    def entries(self) -> Iterator[StoredEntry]:
        expected = 0
        for seq, digest, body in self._logs.rows(self.prefix):
            for missing in range(expected, seq):
                yield StoredEntry(missing, None)
            yield StoredEntry(seq, body, digest.hex())
            expected = seq + 1
        if not expected:
            self._logs.demand_store()


def read_entry(backend: Backend, key: str) -> bytes | None:
    """The bytes of an entry, None when there is none. Raises: CommError, StoreError."""
    try:
        return backend.read(key, 0, MAX_BYTES + 1)
    except NotFoundError:
        return None
