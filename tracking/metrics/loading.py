"""Cells in a DuckDB table: short tails by way of Python, long ones parsed by DuckDB itself, ten times as fast."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .cells import DEFAULT, SYSTEM, Cells, cells_of
from .pieces import Tail

if TYPE_CHECKING:
    import duckdb

COLUMNS = "stream VARCHAR, key VARCHAR, step BIGINT, row BIGINT, time_us BIGINT, value DOUBLE, text VARCHAR"
_LONG_BYTES = 256 * 1024
_LINE_LIMIT_BYTES = 512 << 20
_WRITER_ROWS = 1 << 40  # rows are numbered by writer and line


def load(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    tails: Sequence[Tail],
    *,
    keys: Sequence[str] | None = None,
    stream: str | None = None,
) -> None:
    """Make the temporary table `table` of the cells of `tails`; only those of `keys` and `stream` when given."""
    import duckdb

    connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} ({COLUMNS})")
    if sum(len(tail.data) for tail in tails) >= _LONG_BYTES:
        try:
            if _parse(connection, table, tails, keys, stream):
                return
        except (duckdb.Error, OSError):
            pass  # a line that only Python's parser takes, no room for a temporary file: below it is read
        connection.execute(f"DELETE FROM {table}")
    _insert(connection, table, cells_of(tails, keys=keys, stream=stream))


def _insert(connection: duckdb.DuckDBPyConnection, table: str, cells: Cells) -> None:
    if len(cells):
        kinds = [column.split()[1] for column in COLUMNS.split(", ")]
        values = ", ".join(f"unnest(?::{kind}[])" for kind in kinds)
        connection.execute(f"INSERT INTO {table} SELECT {values}", cells.columns())


def _parse(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    tails: Sequence[Tail],
    keys: Sequence[str] | None,
    stream: str | None,
) -> bool:
    """Let DuckDB read the lines; False when it did not understand each of them."""
    for number, tail in enumerate(tails):
        with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
            file.write(tail.data)
            file.flush()
            path = file.name.replace("'", "''")
            connection.execute(_LINES.format(path=path, limit=_LINE_LIMIT_BYTES))
        ((read, understood, continued),) = connection.execute(
            "SELECT count(*), count(*) FILTER (known), count(*) FILTER (more) FROM lines"
        ).fetchall()
        # A blank line stands before one that follows a torn one: Python knows what to make of them.
        if read != tail.data.count(b"\n") or understood != read:
            return False
        wanted = "" if keys is None else " AND list_contains(?, key)"
        last = (
            "QUALIFY row_number() OVER (PARTITION BY stream, row, key ORDER BY n DESC) = 1"
            if continued
            else ""
        )
        streams = [DEFAULT, SYSTEM] if stream is None else [stream]
        for name in streams:
            logged = _CONTINUED if continued else _LOGGED
            rows, base = logged if name == DEFAULT else _MEASURED, number * _WRITER_ROWS
            cells = _CELLS.format(rows=rows, wanted=wanted, last=last, base=base)
            given = [name] if keys is None else [name, list(keys)]
            connection.execute(f"INSERT INTO {table} {cells}", given)
    return True


_LINES = """
CREATE OR REPLACE TEMP TABLE lines AS
SELECT row_number() OVER () AS n, step, (time * 1000000)::BIGINT AS time_us, coalesce(more, false) AS more, log, system,
       log IS NOT NULL OR system IS NOT NULL OR writer IS NOT NULL OR config IS NOT NULL OR summary IS NOT NULL
       OR define IS NOT NULL OR alert IS NOT NULL OR "set" IS NOT NULL OR op IS NOT NULL OR done IS NOT NULL AS known
FROM read_json('{path}', format = 'newline_delimited', maximum_object_size = {limit}, columns = {{
    'step': 'BIGINT', 'time': 'DOUBLE', 'more': 'BOOLEAN', 'log': 'MAP(VARCHAR, JSON)',
    'system': 'MAP(VARCHAR, JSON)', 'writer': 'JSON', 'config': 'JSON', 'summary': 'JSON', 'define': 'JSON',
    'alert': 'JSON', 'set': 'JSON', 'op': 'JSON', 'done': 'JSON'}})"""

_LOGGED = "SELECT n, step, n AS row, time_us, log AS cells FROM lines WHERE log IS NOT NULL"

# A line that goes on with the row before it has that row's number and time; the first one has its own, since what it
# goes on with was compacted before.
_CONTINUED = """
SELECT n, step, first.n AS row, first.time_us AS time_us, cells
FROM (SELECT n, step, log AS cells, max(CASE WHEN more AND n > head THEN NULL ELSE {'n': n, 'time_us': time_us} END)
                                        OVER (ORDER BY n ROWS UNBOUNDED PRECEDING) AS first
      FROM (SELECT *, min(n) OVER () AS head FROM lines WHERE log IS NOT NULL))"""

_MEASURED = """
SELECT n, row_number() OVER (ORDER BY n) - 1 AS step, n AS row, time_us, system AS cells
FROM lines WHERE system IS NOT NULL"""

# As `cells.as_cell`, for JSON text: a float is a number with a point or an exponent.
_CELLS = """
SELECT stream, key, step, row, time_us,
       CASE WHEN starts_with(text, '{{') THEN
                CASE text WHEN '{{"_float":"nan"}}' THEN 'nan'::DOUBLE WHEN '{{"_float":"inf"}}' THEN 'inf'::DOUBLE
                          WHEN '{{"_float":"-inf"}}' THEN '-inf'::DOUBLE
                          ELSE try_cast(regexp_extract(text, '^{{"_(?:decimal|int)":"([^"]+)"}}$', 1) AS DOUBLE) END
            WHEN text = 'true' THEN 1 WHEN text = 'false' THEN 0
            WHEN starts_with(text, '"') THEN NULL ELSE try_cast(text AS DOUBLE) END AS value,
       CASE WHEN text IN ('{{"_float":"nan"}}', '{{"_float":"inf"}}', '{{"_float":"-inf"}}') THEN NULL
            WHEN regexp_matches(text, '^-?[0-9]') AND regexp_matches(text, '[.eE]') THEN NULL ELSE text END AS text
FROM (SELECT n, ? AS stream, e.key AS key, step, row + {base} AS row, time_us, e.value::VARCHAR AS text
      FROM (SELECT n, step, row, time_us, unnest(map_entries(cells)) AS e FROM ({rows})))
WHERE true{wanted} {last}"""
