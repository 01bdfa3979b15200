"""Machine-local SQLite databases that may be lost at any time: what they know can be found out again.

Connections belong to one thread and one process; a `Database` opens one for each that comes, also after `fork`.
A database that is damaged or of another schema is removed and made anew: it is a cache.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .errors import StoreError

_ATTEMPTS = 20
_PATIENCE_S = 60  # SQLite waits as long for a lock, in each attempt


class Database:
    """One SQLite file in WAL mode with the tables of `schema`, shared by threads and processes."""

    def __init__(self, path: Path, schema: str, version: int) -> None:
        self._path = path
        self._schema = schema
        self._version = version
        self._local = threading.local()
        self._lock = threading.Lock()

    def connection(self) -> sqlite3.Connection:
        """This thread's connection, in autocommit mode. Raises: StoreError when the cache folder is unusable."""
        held = getattr(self._local, "held", None)
        if held is not None and held[0] == os.getpid():
            opened: sqlite3.Connection = held[1]
            return opened
        with self._lock:
            try:
                connection = self._open_patiently()
            except (sqlite3.Error, OSError) as error:
                raise self._unusable(error) from error
        self._local.held = (os.getpid(), connection)
        return connection

    def query(self, statement: str, parameters: Sequence[object] = ()) -> list[Any]:
        """The rows of a query; one that turns out to be damaged is made anew. Raises: StoreError."""
        try:
            return self.connection().execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            if not _is_damage(error):
                raise self._unusable(error) from error
            self._discard()
        try:
            return self.connection().execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing of what is written inside. Raises: StoreError when the cache's disk refuses."""
        connection = self.connection()
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            if _is_damage(error):
                self._discard()
            raise self._unusable(error) from error

    def close(self) -> None:
        """Close this thread's connection; those of other threads go with their threads."""
        held = getattr(self._local, "held", None)
        if held is not None:
            self._local.held = None
            if held[0] == os.getpid():
                held[1].close()

    def _discard(self) -> None:
        self.close()
        with self._lock:
            self._remove()

    def _unusable(self, error: Exception) -> StoreError:
        return StoreError(
            f"cache {self._path}: {error}; set LINEART_CACHE to a folder that can be written, or remove the file"
        )

    def _open_patiently(self) -> sqlite3.Connection:
        """Open, and once make anew what is damaged; a lock held by another process is neither."""
        give_up_s = time.monotonic() + _PATIENCE_S
        for attempt in range(_ATTEMPTS):
            try:
                return self._open()
            except sqlite3.OperationalError:
                # Switching a fresh file to WAL does not wait for locks; sixteen processes that start at once do meet.
                if attempt + 1 == _ATTEMPTS or time.monotonic() > give_up_s:
                    raise
                time.sleep(0.01 * (attempt + 1))
            except sqlite3.DatabaseError:
                if attempt + 1 == _ATTEMPTS:
                    raise
                self._remove()
        raise AssertionError("unreachable")

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=60, isolation_level=None)
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            # NORMAL in WAL mode: a power cut may lose the newest rows, never damages the file.
            connection.execute("PRAGMA synchronous=NORMAL")
            if version != self._version:
                if version != 0:
                    raise sqlite3.DatabaseError(f"schema {version}, expected {self._version}")
                connection.execute("PRAGMA journal_mode=WAL")
                connection.executescript(
                    f"BEGIN IMMEDIATE; {self._schema} PRAGMA user_version={self._version}; COMMIT;"
                )
        except BaseException:
            connection.close()
            raise
        return connection

    def _remove(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)


def _is_damage(error: sqlite3.Error) -> bool:
    """Whether the file is malformed or no database; what a disk or a lock refuses is an OperationalError."""
    return type(error) is sqlite3.DatabaseError
