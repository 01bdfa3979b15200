"""DuckDB for histories: one connection a process, a cursor for each question, Parquet read by ranges."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...storage.errors import StoreError

if TYPE_CHECKING:
    import duckdb

_lock = threading.Lock()
_connection: duckdb.DuckDBPyConnection | None = None
_cursors = 0  # open ones
_abandoned: list[object] = []  # connections of a parent process: closing them in a child hangs or crashes
_registered = False


def _before_fork() -> None:
    """DuckDB does not survive a fork: an idle connection is closed, and opened again when it is needed."""
    global _connection  # noqa: PLW0603 - one a process
    _lock.acquire()
    if _cursors == 0 and _connection is not None:
        _connection.close()
        _connection = None


def _in_parent() -> None:
    _lock.release()


def _in_child() -> None:
    global _connection, _lock, _cursors
    _abandoned.append(_connection)
    _connection, _cursors, _lock = None, 0, threading.Lock()


def _connection_errors() -> type[Exception]:
    import duckdb

    return duckdb.Error


@contextlib.contextmanager
def cursor() -> Iterator[duckdb.DuckDBPyConnection]:
    """A cursor with temporary tables of its own, closed afterwards.

    Connecting costs as much as reading a hundred thousand rows, so the connection stays. A fork makes its own.
    Raises: StoreError for what DuckDB refuses, such as a damaged file.
    """
    global _connection, _cursors, _registered  # noqa: PLW0603 - made when the first history is read
    with _lock:
        if _connection is None:
            import duckdb

            _connection = duckdb.connect(":memory:", config={"threads": min(4, os.cpu_count() or 1)})
            if not _registered and hasattr(os, "register_at_fork"):
                _registered = True
                os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)
        opened = _connection.cursor()
        _cursors += 1
    try:
        yield opened
    except _connection_errors() as error:
        raise StoreError(f"history: it cannot be read or written: {str(error).splitlines()[0]}") from error
    finally:
        opened.close()
        with _lock:
            _cursors -= 1
