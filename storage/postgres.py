"""A PostgreSQL database as the log uses it: statements that are repeated when the server was away, and its errors.

All that knows psycopg stands here, and only `postgres_log` imports this module, when a store needs it. Each statement
is a transaction of its own, and is sent again when its answer is lost: callers send what may be sent twice.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections import deque
from collections.abc import Generator, Sequence
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict

from .errors import CommError, Error, StoreError
from .retry import Retries

__all__ = ["PostgresDatabase"]

ANSWER_S = 30.0  # a server that is silent for longer is taken for dead
_IDLE = 8  # connections that are kept for the next statement
# Of ours, where the address says nothing else. A vanished server is noticed in half a minute, not in two hours.
_OPTIONS = {
    "connect_timeout": 10,  # seconds
    "keepalives_idle": 10,  # seconds
    "keepalives_interval": 5,  # seconds
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds
    "fallback_application_name": "lineart",
    "client_encoding": "utf8",
}
# What the contract of a log needs, whatever the defaults of the server, the database and the user are.
_SET_UP = """
SELECT current_setting('fsync'),
       set_config('default_transaction_isolation', 'read committed', false),
       CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', false) END
"""
# The server answers, and will do more soon. A refused connection has no code, only this text.
_BUSY = (
    "starting up",
    "shutting down",
    "recovery mode",
    "not yet accepting",
    "recovery state",
    "too many",
    "remaining connection slots",
)
# SQLSTATE classes: connection, rolled back, ended by an operator. Then single ones of classes that refuse otherwise.
_PASSING_CLASSES = {"08", "40", "57"}
_PASSING = {"53000", "53200", "53300", "53400", "55P03"}  # short of something but disk; a lock is held
_NO_TABLE = "42P01"
_Result = TypeVar("_Result")

# libpq and OpenSSL take locks of the process while they connect; a child that is forked then would wait for ever.
_connecting = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_connecting.acquire,
        after_in_parent=_connecting.release,
        after_in_child=_connecting.release,
    )


class _NotReached(Exception):
    """There was no answer at the first contact: not tried again, since the address may be wrong."""


class PostgresDatabase:
    """Connections to one database, opened when they are needed. Safe in threads and after `fork`.

    Raises: CommError when the server does not answer, also not after `retries`; StoreError when it refuses.
    """

    def __init__(
        self, address: str, name: str, *, retries: Retries | None = None, answer_s: float = ANSWER_S
    ) -> None:
        """`name` stands in messages for the address; `answer_s` is how long one statement may take."""
        self._address = address
        self._name = name
        self._answer_s = answer_s
        # A server that starts anew, or another one in its place, takes seconds, not minutes.
        self._retries = retries or Retries(attempts=100, first_delay_s=0.05, longest_delay_s=2.0)
        self._reached = False
        self._pool: tuple[int, deque[_Connection]] = (os.getpid(), deque())
        self._inherited: list[deque[_Connection]] = []  # of the process that forked this one; never touched

    def query(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows of a statement, which is committed when this returns."""
        try:
            return self._retries.run(lambda: self._once(statement, parameters))
        except _NotReached as error:
            raise CommError(str(error)) from error.__cause__

    def close(self) -> None:
        """Close the connections that are not in use."""
        idle = self._idle()
        while idle:
            idle.pop().close()

    def _once(self, statement: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
        connection = self._take()
        try:
            cursor = connection.execute(statement.encode(), parameters, binary=True)
            rows = cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            connection.close()
            meaning = self._meaning(error)
            if isinstance(meaning, CommError):
                self.close()  # what was open to the same server is as good
            raise meaning from error
        except BaseException:  # an interrupt: the answer may still come, for somebody else
            connection.close()
            raise
        idle = self._idle()
        if len(idle) < _IDLE:
            idle.append(connection)
        else:
            connection.close()
        return rows

    def _idle(self) -> deque[_Connection]:
        """This process's idle connections. One that came through a fork belongs to the parent."""
        pid, idle = self._pool
        if pid != os.getpid():
            self._inherited.append(idle)
            self._pool = (os.getpid(), idle := deque())
        return idle

    def _take(self) -> _Connection:
        with contextlib.suppress(IndexError):  # none is idle, or another thread was quicker
            return self._idle().pop()
        return self._connect()

    def _connect(self) -> _Connection:
        try:
            given = conninfo_to_dict(self._address)
            options: dict[str, Any] = {key: value for key, value in _OPTIONS.items() if key not in given}
            with _connecting:
                connection = _Connection.connect(self._address, autocommit=True, **options)
        except psycopg.Error as error:
            raise self._no_connection(error) from error
        connection.answer_s = self._answer_s
        try:
            row = connection.execute(_SET_UP.encode()).fetchone()
        except psycopg.Error as error:
            connection.close()
            raise self._meaning(error) from error
        if row is None or row[0] != "on":
            connection.close()
            raise StoreError(
                f"log database {self._name} runs with fsync = off, so that commits would be lost with its machine;"
                " switch fsync on"
            )
        self._reached = True
        return connection

    def _no_connection(self, error: psycopg.Error) -> Exception:
        text = _line(error)
        if "password" in text:
            hint = "libpq reads the password from PGPASSFILE, ~/.pgpass, PGPASSWORD or PGSERVICE"
            return StoreError(f"log database {self._name} refuses: {text}; {hint}")
        if "FATAL" not in text and isinstance(error, psycopg.OperationalError):
            message = f"log database {self._name} does not answer: {text}; check the address, or try again"
            return CommError(message) if self._reached else _NotReached(message)
        if any(words in text for words in _BUSY):
            return CommError(f"log database {self._name} is busy: {text}; try again")
        return StoreError(
            f"log database {self._name} refuses: {text}; check the address and the user's rights"
        )

    def _meaning(self, error: psycopg.Error) -> Error:
        text, state = _line(error), error.sqlstate or ""
        if state == _NO_TABLE:
            return StoreError(
                f"log database {self._name} has no table of logs: {text}; check the address, or restore the database"
            )
        is_lost = not state and isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))
        if is_lost or state[:2] in _PASSING_CLASSES or state in _PASSING:
            return CommError(f"log database {self._name} does not answer: {text}; try again")
        return StoreError(f"log database {self._name} refuses: {text} ({state}); ask who runs it")


class _Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that gives up on a server that is silent for `answer_s` seconds."""

    answer_s = ANSWER_S
    _pool = None  # says that it belongs to a pool: to end a program without closing it is no fault

    def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
        return super().wait(_within(gen, self.answer_s), *args, **options)


def _within(steps: Generator[Any, Any, _Result], limit_s: float) -> Generator[Any, Any, _Result]:
    """The steps of a statement, ended by an error when one is waited for too long.

    psycopg looks every tenth of a second whether it was interrupted, and then sends a zero for "nothing yet".
    """
    give_up_s = time.monotonic() + limit_s
    try:
        state = next(steps)
        while True:
            ready = yield state
            if ready == 0 and time.monotonic() > give_up_s:
                raise psycopg.OperationalError(f"silent for {limit_s:.0f} s")
            state = steps.send(ready)
    except StopIteration as end:
        result: _Result = end.value
        return result


def _line(error: psycopg.Error) -> str:
    """What libpq says, without its advice."""
    text = re.sub(r"Is the server running[^?]*\?", "", str(error).removeprefix("connection failed: "))
    return " ".join(text.split())
