"""Where a log lies, for tests of what every log promises: its entries can be looked at and damaged behind its back."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest

from lineart.storage.backend import Backend
from lineart.storage.errors import NotFoundError
from lineart.storage.local import LocalBackend
from lineart.storage.log import BackendLog, Log, Position
from lineart.storage.postgres_log import PostgresLogs
from lineart.storage.transaction import Op, Transaction, chain_digest

PREFIX = "projects/team/digits/"
NOW = "2026-01-02T03:04:05.000006Z"


class LogPlace(Protocol):
    """The log `PREFIX` in some place."""

    @property
    def address(self) -> str:
        """What `place_at` opens in another process."""
        ...

    def log(self) -> Log:
        """The log, as another process would open it."""
        ...

    def read(self, seq: int) -> bytes:
        """The stored bytes of an entry. Raises: NotFoundError."""
        ...

    def write(self, seq: int, data: bytes) -> None:
        """Make these the stored bytes of an entry, as somebody would who has the rights to."""
        ...

    def delete(self, seq: int) -> None:
        """Make a hole."""
        ...


class BackendPlace:
    """The log lies in the store."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    @property
    def address(self) -> str:
        return self.backend.url.removeprefix("file://")

    def log(self) -> BackendLog:
        return BackendLog(self.backend, PREFIX)

    def read(self, seq: int) -> bytes:
        return self.backend.read(self.log().key(seq))

    def write(self, seq: int, data: bytes) -> None:
        self.backend.write(self.log().key(seq), data)

    def delete(self, seq: int) -> None:
        self.backend.delete([self.log().key(seq)])


class PostgresPlace:
    """The log lies in a database, together with those of other stores."""

    def __init__(self, url: str, store: str | None = None) -> None:
        self.url = url
        self.store = store or secrets.token_hex(16)
        self.logs = PostgresLogs(url, self.store)
        if store is None:
            self.logs.create(NOW)

    @property
    def address(self) -> str:
        return f"{self.url} {self.store}"

    def log(self) -> Log:
        return self.logs.log(PREFIX)

    def read(self, seq: int) -> bytes:
        rows = self._run("SELECT body FROM lineart_log WHERE store = %s AND prefix = %s AND seq = %s", seq)
        if not rows:
            raise NotFoundError(f"no row {seq}")
        body: bytes = rows[0][0]
        return body

    def write(self, seq: int, data: bytes) -> None:
        self.delete(seq)
        insert = "INSERT INTO lineart_log (store, prefix, seq, digest, body) VALUES (%s, %s, %s, %s, %s)"
        self._run(insert, seq, bytes.fromhex(chain_digest(data)), data)

    def delete(self, seq: int) -> None:
        self._run("DELETE FROM lineart_log WHERE store = %s AND prefix = %s AND seq = %s", seq)

    def write_many(self, transactions: Sequence[Transaction]) -> None:
        """Insert many at once, as if they had been appended."""
        data = [each.encode() for each in transactions]
        seqs = [each.seq for each in transactions]
        digests = [bytes.fromhex(chain_digest(each)) for each in data]
        insert = (
            "INSERT INTO lineart_log (store, prefix, seq, digest, body)"
            " SELECT %s, %s, * FROM unnest(%s::bigint[], %s::bytea[], %s::bytea[])"
        )
        self.logs.database.query(insert, (self.store, PREFIX, seqs, digests, data))

    def _run(self, statement: str, seq: int, *more: bytes) -> list[tuple[bytes]]:
        return self.logs.database.query(statement, (self.store, PREFIX, seq, *more))


def place_at(address: str) -> LogPlace:
    """The place with this address, opened anew."""
    if address.startswith("postgresql://"):
        url, store = address.split()
        return PostgresPlace(url, store)
    return BackendPlace(LocalBackend(Path(address)))


# What tests write into a log, and what they count


def transaction(position: Position, *ops: Op) -> Transaction:
    seq = position.seq + 1
    return Transaction(
        seq, f"{seq:032x}", NOW, {"user": "u"}, position.digest, ops or [{"op": "x", "n": seq}]
    )


def write(log: Log, count: int, after: Position | None = None) -> list[Position]:
    position, positions = after or Position(), []
    for _ in range(count):
        position = log.append(transaction(position))
        positions.append(position)
    return positions


def write_many(place: PostgresPlace, count: int, after: Position | None = None) -> list[Position]:
    """The same in one statement."""
    position, positions, made = after or Position(), list[Position](), list[Transaction]()
    for _ in range(count):
        made.append(transaction(position, {"op": "run.update", "run": "r"}))
        position = Position(made[-1].seq, chain_digest(made[-1].encode()))
        positions.append(position)
    place.write_many(made)
    return positions


def counted(logs: PostgresLogs, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements sent from now on."""
    sent: list[str] = []
    query = logs.database.query

    def count(statement: str, parameters: Any = ()) -> Any:
        sent.append(statement)
        return query(statement, parameters)

    monkeypatch.setattr(logs.database, "query", count)
    return sent
