"""The log: numbered transactions, each created once and never changed.

The laws of every log:

- A transaction is committed when its number is taken, and it exists whole or not at all.
- Numbers have no holes: number n + 1 is created only by somebody who has read n. Readers stop at the first hole.
- After an answer was lost the number may hold our own transaction: the bytes, with the id in them, are compared
  before a conflict is believed.
- Order is the number, never a clock. Entries are never deleted.

`BackendLog` keeps each transaction under a key of the store, so that the store is all there is; `postgres_log` keeps
them in a table. Segments are copies of 1,000 finished entries in one value; a reader may use them, nobody needs them.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from .backend import Backend, Stat
from .bounded import FRAME_LIMIT_BYTES, read_bounded
from .codec import compress_whole, decompress_whole
from .errors import ConflictError, IntegrityError, NotFoundError
from .transaction import GENESIS, MAX_BYTES, Transaction, chain_digest, decode_transaction
from .turn import turn

FOLDER_ENTRIES = 1000
SEGMENT_LIMIT_BYTES = 1 << 30  # a forged frame cannot fill the memory
_FOLDER = re.compile(r"[0-9]{6,}\Z")  # not what a backup program may put there
_ENTRY = re.compile(r"log/\d{6,}/\d{12}\.json\Z")
_PARALLEL_READS = 16
_FEW = 3  # entries read one by one before the folder is listed: a listing is one request
_AT_ONCE = 64  # entries that are read ahead of who folds them
_FEW_LOCAL = 200  # listing a local folder costs as much as reading a hundred entries


@dataclass(frozen=True, slots=True)
class Position:
    """The newest transaction somebody has read: number (-1: none) and digest of its bytes."""

    seq: int = -1
    digest: str = GENESIS


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A transaction and the position after it."""

    transaction: Transaction
    position: Position


@dataclass(frozen=True, slots=True)
class Tail:
    """The newest entries, and the time of the last one by the store's clock."""

    entries: list[LogEntry]
    modified_s: float


class Log(Protocol):
    """The transactions under a prefix (``"projects/team/digits/"``). Stateless; safe in threads and after `fork`.

    Who does not answer raises CommError, who refuses StoreError.
    """

    @property
    def prefix(self) -> str:
        """What tells this log from the others of the store; ends with `/`."""
        ...

    def read_after(self, position: Position) -> Iterator[LogEntry]:
        """Everything behind `position`, in order, up to the first hole; the chain is checked on the way.

        Raises: IntegrityError when a transaction does not follow from the one before it.
        """
        ...

    def read_first_folder(self) -> Tail | None:
        """The whole log, None when it is longer than a folder: then there may be a checkpoint.

        Raises: IntegrityError.
        """
        ...

    def continue_from(self, position: Position, modified_s: float) -> Tail | None:
        """What came behind a position that an earlier process has noted; None when that is not of this log.

        `modified_s` is what the tail of that process said. Raises: IntegrityError.
        """
        ...

    def demand_no_hole(self, head: Position) -> None:
        """See that nothing lies behind the newest transaction that was read: whoever appended would end the log there.

        For those that begin to read; costs a listing or a query. Raises: IntegrityError when a transaction was lost.
        """
        ...

    def append(self, transaction: Transaction) -> Position:
        """Create the transaction under its number; the position after it. When this returns, it is durable.

        Exactly once: when the number holds these very bytes, an earlier try had succeeded.
        Raises: ConflictError when somebody else has this number; CommError, after which it may be there or not.
        """
        ...

    def turn(self) -> AbstractContextManager[None]:
        """Meanwhile, other writers may wait a little for their turn. A courtesy: `append` decides."""
        ...

    def seal(self, folder: int) -> None:
        """All transactions of `folder` exist: make them quick to read. Safe to repeat, and by several at once."""
        ...

    def reaches(self, seq: int) -> bool:
        """Whether transaction `seq` exists."""
        ...

    def holds(self, position: Position) -> bool:
        """Whether a position that a checkpoint or a claim names is one of this log.

        It is not when the log was restored from an older copy than the store. A log that lies beside the
        checkpoints, in the same copies, says yes without looking.
        """
        ...


class Logs(Protocol):
    """All logs of a store."""

    def log(self, prefix: str) -> Log:
        """The log under a prefix."""
        ...

    def projects(self) -> list[tuple[str, str]]:
        """(entity, project) of every project that has a log, sorted."""
        ...

    def demand_writable(self) -> None:
        """See that transactions can be appended. Raises: StoreError, CommError."""
        ...

    def close(self) -> None:
        """Release connections. Using the logs afterwards is undefined."""
        ...


class BackendLogs:
    """The logs that lie in the store itself."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def log(self, prefix: str) -> BackendLog:
        return BackendLog(self._backend, prefix)

    def projects(self) -> list[tuple[str, str]]:
        return [
            (entity, project)
            for entity in self._backend.folders("projects/")
            for project in self._backend.folders(f"projects/{entity}/")
        ]

    def demand_writable(self) -> None:
        """Nothing beyond what the backend itself can tell."""

    def close(self) -> None:
        """Nothing: the backend is the store's."""


class BackendLog:
    """The log whose transactions are values of a backend."""

    def __init__(self, backend: Backend, prefix: str) -> None:
        self._backend = backend
        self.prefix = prefix
        self._lock: Path | None = None

    def key(self, seq: int) -> str:
        """The key of transaction `seq`."""
        return f"{self.prefix}log/{seq // FOLDER_ENTRIES:06}/{seq:012}.json"

    def segment_key(self, folder: int) -> str:
        """The key of segment `folder`."""
        return f"{self.prefix}log/{folder:06}.jsonl.zst"

    def read_after(self, position: Position) -> Iterator[LogEntry]:
        """An up-to-date reader pays one read of a key that does not exist yet."""
        is_local = self._backend.local_path(self.prefix + "x") is not None
        for _ in range(_FEW_LOCAL if is_local else _FEW):
            try:
                data = self._read(self.key(position.seq + 1))
            except NotFoundError:
                return
            entry = following(data, position, self.prefix)
            yield entry
            position = entry.position
        for data in self._bulk(position.seq + 1):
            entry = following(data, position, self.prefix)
            yield entry
            position = entry.position

    def demand_no_hole(self, head: Position) -> None:
        start_after = self.key(head.seq) if head.seq >= 0 else ""
        for found in self._backend.list(f"{self.prefix}log/", start_after):
            if self._is_behind(found.key, head.seq + 1):
                self._demand(head.seq + 1)
                return

    def _is_behind(self, key: str, seq: int) -> bool:
        return key > self.key(seq) and _ENTRY.match(key[len(self.prefix) :]) is not None

    def _demand(self, seq: int) -> None:
        try:
            self._backend.stat(self.key(seq))  # a listing may show what is made meanwhile in any order
        except NotFoundError as error:
            raise IntegrityError(
                f"transaction {seq} of {self.prefix}log is missing, and there are later ones; restore it from a copy:"
                ' "art verify --all --repair-from STORE"'
            ) from error

    def read_first_folder(self) -> Tail | None:
        """The whole log with one listing, None when it is longer than a folder: then there may be a checkpoint.

        Raises: IntegrityError, CommError.
        """
        found = self._listed_behind(-1, f"{self.prefix}log/{0:06}/")
        if len(found) >= FOLDER_ENTRIES:
            return None
        entries = self._entries([stat.key for stat in found], Position())
        return Tail(entries, found[-1].modified_s if found else 0.0)

    def continue_from(self, position: Position, modified_s: float) -> Tail | None:
        """What came behind a position that an earlier process has noted; None when that is not of this log.

        `modified_s` is the time of the newest entry then, by the store's clock: a store that was made anew at the same
        address has another. One listing, and one read for each new entry. Raises: IntegrityError, CommError.
        """
        found = self._listed_behind(position.seq - 1, f"{self.prefix}log/")
        if not found or found[0].modified_s != modified_s:
            return None
        entries = self._entries([stat.key for stat in found[1:]], position)
        return Tail(entries, found[-1].modified_s)

    def _listed_behind(self, seq: int, prefix: str) -> list[Stat]:
        """The entries behind number `seq`, up to the first hole."""
        listed = []
        for found in self._backend.list(prefix, self.key(seq) if seq >= 0 else ""):
            if found.key == self.key(seq + 1):
                listed.append(found)
                seq += 1
            elif self._is_behind(found.key, seq + 1):
                self._demand(seq + 1)
                break  # it is there by now; whoever needs more looks again
        return listed

    def _entries(self, keys: Sequence[str], position: Position) -> list[LogEntry]:
        if len(keys) < _FEW:
            contents = [self._read(key) for key in keys]
        else:
            with ThreadPoolExecutor(_PARALLEL_READS) as pool:
                contents = list(pool.map(self._read, keys))
        entries = []
        for data in contents:
            entries.append(following(data, position, self.prefix))
            position = entries[-1].position
        return entries

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Meanwhile, other writers on this machine wait a little for their turn (see `turn`)."""
        if self._backend.local_path(self.prefix + "x") is None:
            yield
            return
        if self._lock is None:
            name = chain_digest(self.prefix.encode())[:16]
            self._lock = self._backend.staging() / f"turn~{name}"
        with turn(self._lock):
            yield

    def append(self, transaction: Transaction) -> Position:
        data = transaction.encode()
        key = self.key(transaction.seq)
        try:
            self._backend.create(key, data)
        except ConflictError:
            if self._backend.read(key) != data:
                raise
        return Position(transaction.seq, chain_digest(data))

    def seal(self, folder: int) -> None:
        """Write segment `folder`."""
        frame = compress_whole(b"".join(self._listed(folder * FOLDER_ENTRIES)))
        if len(frame) > FRAME_LIMIT_BYTES:
            return  # nobody would read it
        try:
            self._backend.create(self.segment_key(folder), frame)
        except ConflictError:
            return  # sealed by another client, from the same bytes

    def reaches(self, seq: int) -> bool:
        try:
            self._backend.stat(self.key(seq))
        except NotFoundError:
            return False
        return True

    def holds(self, position: Position) -> bool:
        return True

    def _read(self, key: str) -> bytes:
        return read_bounded(self._backend, key, MAX_BYTES)

    def _bulk(self, first: int) -> Iterator[bytes]:
        """The bytes of the transactions from number `first` on, folder by folder, from segments if there are some."""
        names = [name for name in self._backend.folders(f"{self.prefix}log/") if _FOLDER.match(name)]
        last_folder = max(map(int, names), default=-1)
        while (folder := first // FOLDER_ENTRIES) <= last_folder:
            sealed = self._segment(folder) if folder < last_folder else None
            entries = (
                self._listed(first) if sealed is None else iter(sealed[first - folder * FOLDER_ENTRIES :])
            )
            before = first
            for data in entries:
                yield data
                first += 1
            if first % FOLDER_ENTRIES or first == before:
                return

    def _segment(self, folder: int) -> list[bytes] | None:
        """The entries of a sealed folder; None when no segment says the same as they do: it is advisory."""
        try:
            frame = read_bounded(self._backend, self.segment_key(folder), FRAME_LIMIT_BYTES)
            last = self._read(self.key((folder + 1) * FOLDER_ENTRIES - 1))
            lines = decompress_whole(frame, SEGMENT_LIMIT_BYTES).splitlines(keepends=True)
        except (NotFoundError, IntegrityError):
            return None
        # Who has the last entry has, by the chain, all before it.
        return lines if len(lines) == FOLDER_ENTRIES and lines[-1] == last and _is_chain(lines) else None

    def _listed(self, first: int) -> Iterator[bytes]:
        """The transactions from `first` to the end of its folder or to the first hole."""
        folder = f"{self.prefix}log/{first // FOLDER_ENTRIES:06}/"
        start_after = self.key(first - 1) if first % FOLDER_ENTRIES else ""
        wanted = []
        for number, found in enumerate(self._backend.list(folder, start_after), first):
            if found.key != self.key(number):
                break
            wanted.append(found.key)
        if self._backend.local_path(folder + "x") is not None or len(wanted) < _FEW:
            yield from map(self._read, wanted)
            return
        with ThreadPoolExecutor(_PARALLEL_READS) as pool:
            for start in range(0, len(wanted), _AT_ONCE):
                yield from pool.map(self._read, wanted[start : start + _AT_ONCE])


def following(data: bytes, position: Position, prefix: str) -> LogEntry:
    """The entry in the bytes that are stored behind `position`. Raises: IntegrityError when it does not follow."""
    seq = position.seq + 1
    transaction = decode_transaction(data, seq=seq, where=prefix + "log")
    if transaction.prev != position.digest:
        raise IntegrityError(
            f"transaction {seq} of {prefix}log: expected it to follow {position.digest[:12]}, it follows"
            f" {transaction.prev[:12]}; the log was changed; restore it from a copy"
        )
    return LogEntry(transaction, Position(seq, chain_digest(data)))


def _is_chain(lines: Sequence[bytes]) -> bool:
    """Whether each stored transaction names the digest of the one before it."""
    return all(f'"prev":"{chain_digest(before)}"'.encode() in after for before, after in pairwise(lines))
