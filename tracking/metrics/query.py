"""DuckDB for histories: one connection a process, a cursor for each question, Parquet read by ranges."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

_lock = threading.Lock()
_connection: tuple[int, duckdb.DuckDBPyConnection] | None = None


@contextlib.contextmanager
def cursor() -> Iterator[duckdb.DuckDBPyConnection]:
    """A cursor with temporary tables of its own, closed afterwards.

    Connecting costs as much as reading a hundred thousand rows, so the connection stays. A fork makes its own.
    """
    global _connection  # noqa: PLW0603 - made when the first history is read
    with _lock:
        if _connection is None or _connection[0] != os.getpid():
            import duckdb

            made = duckdb.connect(":memory:", config={"threads": min(4, os.cpu_count() or 1)})
            _connection = (os.getpid(), made)
        opened = _connection[1].cursor()
    try:
        yield opened
    finally:
        opened.close()
