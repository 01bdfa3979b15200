"""The logs of a store in one table of a PostgreSQL database, for stores that commit thousands of times a second.

A transaction is a row, created by an insert that does nothing when its number is taken. The insert also demands the row
before it, by number and digest: the database can be an older copy than the store (a restored backup, a stand-by that
lagged), and a writer that remembers more must not leave a hole.

That nothing is found is believed only where the row is that `create` left for this store (number 0 of ``store/``): an
empty database at the same address is not an empty store.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from .errors import ConflictError, IntegrityError, StoreError, UsageError
from .log import FOLDER_ENTRIES, LogEntry, Position, Tail, following
from .transaction import GENESIS, Transaction, chain_digest

if TYPE_CHECKING:
    from .postgres import PostgresDatabase
    from .retry import Retries

LOG_FORMAT = 1  # of the table
STORE_LOG = (
    "store/"  # the log about the store itself; its first transaction says that the database has the store
)
_ROWS_AT_ONCE = 64  # each may have 32 MiB
_SCHEMES = ("postgresql", "postgres")
_SECRETS = {"password", "sslpassword"}

# Bytes are compared, never words of a language; rows are only ever inserted.
_CREATE = """
CREATE TABLE IF NOT EXISTS lineart_log (
    store text COLLATE "C" NOT NULL,
    prefix text COLLATE "C" NOT NULL,
    seq bigint NOT NULL CHECK (seq >= 0),
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    body bytea NOT NULL,
    PRIMARY KEY (store, prefix, seq)
)
"""
_IS_THERE = "SELECT to_regclass('lineart_log') IS NOT NULL"
_INSERT = """
INSERT INTO lineart_log (store, prefix, seq, digest, body)
SELECT %s::text, %s::text, %s::bigint, %s::bytea, %s::bytea
WHERE EXISTS (SELECT FROM lineart_log WHERE store = %s AND prefix = %s AND seq = %s::bigint {before})
ON CONFLICT DO NOTHING
RETURNING 1
"""
_INSERT_FIRST = _INSERT.format(before="")  # after the row of the store
_INSERT_NEXT = _INSERT.format(before="AND digest = %s::bytea")
_INSERT_STORE = """
INSERT INTO lineart_log (store, prefix, seq, digest, body)
VALUES (%s, %s, 0, %s, %s) ON CONFLICT DO NOTHING
"""
# With the row of the position itself, of which only the digest: it must be there, and be the same.
_READ = """
SELECT seq, digest, CASE WHEN seq > %s::bigint THEN body END FROM lineart_log
WHERE store = %s AND prefix = %s AND seq >= %s::bigint ORDER BY seq LIMIT %s
"""
_ROWS = """
SELECT seq, digest, body FROM lineart_log
WHERE store = %s AND prefix = %s AND seq > %s::bigint ORDER BY seq LIMIT %s
"""
_BODY = "SELECT body FROM lineart_log WHERE store = %s AND prefix = %s AND seq = %s::bigint"
_DIGEST = "SELECT digest FROM lineart_log WHERE store = %s AND prefix = %s AND seq = %s::bigint"
_BEHIND = "SELECT min(seq) FROM lineart_log WHERE store = %s AND prefix = %s AND seq > %s::bigint"
# One step down the index for each log, however many transactions it has.
_PREFIXES = """
WITH RECURSIVE logs (prefix) AS (
    (SELECT prefix FROM lineart_log WHERE store = %s ORDER BY prefix LIMIT 1)
    UNION ALL
    SELECT (SELECT l.prefix FROM lineart_log l WHERE l.store = %s AND l.prefix > logs.prefix ORDER BY l.prefix LIMIT 1)
    FROM logs WHERE logs.prefix IS NOT NULL
)
SELECT prefix FROM logs WHERE prefix IS NOT NULL
"""
_RIGHTS = """
SELECT has_table_privilege('lineart_log', 'SELECT') AND has_table_privilege('lineart_log', 'INSERT'),
       current_setting('transaction_read_only')
"""


def check_address(address: str) -> str:
    """Return the address of a database if it may be written into a store, else raise `UsageError`.

    >>> check_address("postgresql://db.example.org/lineart?sslmode=verify-full")
    'postgresql://db.example.org/lineart?sslmode=verify-full'
    """
    parts = urlsplit(address)
    if parts.scheme not in _SCHEMES or not address.startswith(f"{parts.scheme}://") or "\0" in address:
        raise UsageError(
            f"log {without_password(address)!r}: expected the address of a PostgreSQL database such as"
            " postgresql://host/database"
        )
    keys = {key for key, _ in parse_qsl(parts.query, keep_blank_values=True)}
    if ":" in parts.netloc.rpartition("@")[0] or keys & _SECRETS:
        raise UsageError(
            f"log {without_password(address)}: has a password, which everybody who reads the store would see; leave it"
            " out and give it to libpq in PGPASSFILE, ~/.pgpass, PGPASSWORD or PGSERVICE"
        )
    return address


def without_password(address: str) -> str:
    """The address for a message: without password and parameters.

    >>> without_password("postgresql://ada:secret@db/lineart?password=secret")
    'postgresql://ada@db/lineart'
    """
    head, mark, rest = address.partition("?")[0].partition("://")
    user, at, host = rest.rpartition("@")
    return f"{head}{mark}{user.partition(':')[0]}{at}{host}"


class PostgresLogs:
    """All logs of the store with the id `store`, in the database at `address`. Connects when it is first asked."""

    def __init__(self, address: str, store: str, retries: Retries | None = None) -> None:
        """Raises: UsageError for an address that is none, or has a password; StoreError when psycopg is missing."""
        self.name = without_password(check_address(address))
        self.store = store
        self.database = _database(address, self.name, retries)

    def create(self, time: str) -> None:
        """Make the table if there is none, and the row that says that this store's logs lie here.

        Raises: StoreError when the database refuses; CommError.
        """
        database = self.database
        if database.query(_IS_THERE) == [(False,)]:
            try:
                database.query(_CREATE)
            except StoreError:
                if database.query(_IS_THERE) == [(False,)]:
                    raise  # not because another process has made it meanwhile
        self.demand_writable()
        ops = [{"op": "store.create", "store": self.store}]
        data = Transaction(0, uuid.uuid4().hex, time, {}, GENESIS, ops).encode()
        database.query(_INSERT_STORE, (self.store, STORE_LOG, bytes.fromhex(chain_digest(data)), data))

    def log(self, prefix: str) -> PostgresLog:
        return PostgresLog(self, prefix)

    def projects(self) -> list[tuple[str, str]]:
        found = [row[0].split("/") for row in self.database.query(_PREFIXES, (self.store, self.store))]
        if not found:
            self.demand_store()
        return sorted((parts[1], parts[2]) for parts in found if parts[0] == "projects" and len(parts) == 4)

    def rows(self, prefix: str) -> Iterator[tuple[int, bytes, bytes]]:
        """Number, digest and bytes of every transaction of a log, whether they fit each other or not."""
        after = -1
        while found := self.database.query(_ROWS, (self.store, prefix, after, _ROWS_AT_ONCE)):
            yield from found
            after = found[-1][0]

    def demand_writable(self) -> None:
        ((is_allowed, read_only),) = self.database.query(_RIGHTS)
        if not is_allowed or read_only == "on":
            why = "is read-only" if read_only == "on" else "does not let this user select and insert"
            raise StoreError(f"log database {self.name} {why}; ask who runs it")

    def demand_store(self) -> None:
        """See that the database has this store. Raises: StoreError when it is an empty or another one."""
        if not self.database.query(_BODY, (self.store, STORE_LOG, 0)):
            raise StoreError(
                f"log database {self.name} has nothing of store {self.store[:12]}; check the address, or restore the"
                " database from its backup"
            )

    def close(self) -> None:
        self.database.close()


def _database(address: str, name: str, retries: Retries | None) -> PostgresDatabase:
    """Here and not at the first query, when another thread may fork: half an import would stay half in the child."""
    try:
        from .postgres import PostgresDatabase
    except ImportError as error:
        raise StoreError(
            f"the logs of this store lie in {name}, and psycopg cannot be imported ({error}); run"
            ' pip install "lineart[postgres]"'
        ) from error
    return PostgresDatabase(address, name, retries=retries)


class PostgresLog:
    """The log whose transactions are the rows of one prefix."""

    def __init__(self, logs: PostgresLogs, prefix: str) -> None:
        self._logs = logs
        self.prefix = prefix

    def read_after(self, position: Position) -> Iterator[LogEntry]:
        """One query for each thousand entries; an up-to-date reader pays one."""
        while True:
            parameters = (position.seq, *self._key(position.seq), FOLDER_ENTRIES + 1)
            rows = self._logs.database.query(_READ, parameters)
            if position.seq >= 0:
                if not rows or rows[0][:2] != (position.seq, bytes.fromhex(position.digest)):
                    raise self._forgotten(position)
                rows = rows[1:]
            elif not rows:
                self._logs.demand_store()
            for seq, _, body in rows:
                if seq != position.seq + 1:
                    return
                entry = following(body, position, self.prefix)
                yield entry
                position = entry.position
            if len(rows) < FOLDER_ENTRIES:
                return

    def read_first_folder(self) -> Tail | None:
        entries = list(itertools.islice(self.read_after(Position()), FOLDER_ENTRIES))
        return None if len(entries) == FOLDER_ENTRIES else Tail(entries, 0.0)

    def continue_from(self, position: Position, modified_s: float) -> Tail | None:
        """A row has no time; its digest says whether it is the same."""
        return Tail(list(self.read_after(position)), 0.0) if self.holds(position) else None

    def demand_no_hole(self, head: Position) -> None:
        ((first,),) = self._logs.database.query(_BEHIND, self._key(head.seq))
        if first is not None and first != head.seq + 1:
            raise IntegrityError(
                f"transaction {head.seq + 1} of {self.prefix}log is missing from {self._logs.name}, and there are later"
                " ones; restore the database from its backup"
            )

    def append(self, transaction: Transaction) -> Position:
        data, seq = transaction.encode(), transaction.seq
        position = Position(seq, chain_digest(data))
        row = (*self._key(seq), bytes.fromhex(position.digest), data)
        if seq == 0:
            made = self._logs.database.query(_INSERT_FIRST, (*row, self._logs.store, STORE_LOG, 0))
        else:
            before = (*self._key(seq - 1), bytes.fromhex(transaction.prev))
            made = self._logs.database.query(_INSERT_NEXT, (*row, *before))
        if not made:
            self._demand_ours(transaction, data)
        return position

    def turn(self) -> AbstractContextManager[None]:
        """Nobody waits: who loses has waited for the winner's flush in the database, and flushes nothing itself.

        Measured, with a lock of the database as the turn: half as many commits (docs/decisions).
        """
        return nullcontext()

    def seal(self, folder: int) -> None:
        """Nothing: a thousand rows are one query."""

    def reaches(self, seq: int) -> bool:
        return bool(self._logs.database.query(_DIGEST, self._key(seq)))

    def holds(self, position: Position) -> bool:
        if position.seq < 0:
            return True
        return self._logs.database.query(_DIGEST, self._key(position.seq)) == [
            (bytes.fromhex(position.digest),)
        ]

    def _key(self, seq: int) -> tuple[str, str, int]:
        return self._logs.store, self.prefix, seq

    def _demand_ours(self, transaction: Transaction, data: bytes) -> None:
        """After an insert that did nothing: fine if the row is our own, inserted by a try whose answer was lost."""
        seq = transaction.seq
        found = self._logs.database.query(_BODY, self._key(seq))
        if found == [(data,)]:
            return
        if found:
            raise ConflictError(
                f"transaction {seq} of {self.prefix}log exists already in {self._logs.name}; read it and decide again"
            )
        self._logs.demand_store()
        raise self._forgotten(Position(seq - 1, transaction.prev))

    def _forgotten(self, position: Position) -> IntegrityError:
        return IntegrityError(
            f"transaction {position.seq} of {self.prefix}log, known as {position.digest[:12]}, is not in"
            f" {self._logs.name}: the database is older than what was read from it; restore its newest copy, or start"
            " this process again to go on from the older one"
        )
