"""What changed in a table: rows, columns and their values, before and after, counted by DuckDB from local files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .catalog import quoted

if TYPE_CHECKING:
    import duckdb

COMPARED_ROWS = 2_000_000  # up to so many on both sides rows are compared with each other
COMPARED_COLUMNS = 1_000  # of so many the values are summed up
_AT_ONCE = 100  # columns of one query: what DuckDB needs to plan it grows with their square
_READERS = {
    ".csv": "read_csv({})",
    ".tsv": "read_csv({}, delim = '\\t')",
    ".parquet": "read_parquet({})",
    ".jsonl": "read_json({}, format = 'newline_delimited')",
    ".ndjson": "read_json({}, format = 'newline_delimited')",
}
_WHOLE = ", sample_size = -1)"  # in place of the last bracket: types are those that all rows fit into
_PACKED = (".gz", ".zst")
_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL")
_INEXACT = ("FLOAT", "DOUBLE", "DECIMAL")
_PLAIN = ("VARCHAR", "BOOLEAN", "DATE", "TIME", "UUID")


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """A column of one table. `distinct` is an estimate (about 2 %); min, max and mean where the type has them.

    There is no mean of values of which one is infinite or no number.
    """

    type: str
    nulls: int
    distinct: int
    min: str | None
    max: str | None
    mean: float | None


@dataclass(frozen=True, slots=True)
class TableChange:
    """What changed between two contents of a file that holds a table.

    `rows_added` and `rows_removed` count whole rows by their values in the columns that both have; None for tables of
    more than `COMPARED_ROWS` rows. `left_out` says what was not looked at.
    """

    path: str
    rows: tuple[int, int]
    columns_added: dict[str, str]
    columns_removed: dict[str, str]
    columns_retyped: dict[str, tuple[str, str]]
    columns: dict[str, tuple[ColumnFacts, ColumnFacts]]  # in both, and different
    rows_added: int | None
    rows_removed: int | None
    left_out: tuple[str, ...] = ()


def reader_of(path: str) -> str | None:
    """How DuckDB reads a file of this name; None for one that is no table.

    >>> reader_of("a/b.CSV.gz"), reader_of("model.bin")
    ('read_csv({})', None)
    """
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    if suffixes and suffixes[-1] in _PACKED:
        suffixes.pop()
    return _READERS.get(suffixes[-1]) if suffixes else None


def compare_tables(path: str, before: Path, after: Path) -> TableChange:
    """Compare two local files that hold the table `path`. Raises: duckdb.Error for what DuckDB cannot read."""
    import duckdb

    reader = reader_of(path)
    assert reader is not None
    try:
        return _compare(path, reader, before, after)
    except duckdb.ConversionException:  # a type that the first rows have and a later one has not
        return _compare(path, reader.removesuffix(")") + _WHOLE, before, after)


def _compare(path: str, reader: str, before: Path, after: Path) -> TableChange:
    import duckdb

    with duckdb.connect(":memory:") as connection:
        for side, file in (("before", before), ("after", after)):
            connection.execute(f"CREATE VIEW {side} AS SELECT * FROM {reader.format(quoted(str(file)))}")
        old, new = _types(connection, "before"), _types(connection, "after")
        if min(len(old), len(new)) > _AT_ONCE and "parquet" not in reader:
            _read_once(connection, before.parent)
        rows = (_count(connection, "before"), _count(connection, "after"))
        both = [name for name in old if name in new]
        left_out: dict[str, None] = {}
        if len(both) > COMPARED_COLUMNS:
            more = len(both) - COMPARED_COLUMNS
            left_out[
                f"the values of {more:,} of {len(both):,} columns, all but the first {COMPARED_COLUMNS:,}"
            ] = None
        looked_at = both[:COMPARED_COLUMNS]
        facts = [
            _facts(connection, side, types, looked_at, left_out)
            for side, types in (("before", old), ("after", new))
        ]
        added, removed = (None, None)
        if both and max(rows) <= COMPARED_ROWS:
            shown = ", ".join(_comparable(name, old[name], new[name]) for name in both)
            added = _missing(connection, "after", "before", shown)
            removed = _missing(connection, "before", "after", shown)
        return TableChange(
            path=path,
            rows=rows,
            columns_added={name: kind for name, kind in new.items() if name not in old},
            columns_removed={name: kind for name, kind in old.items() if name not in new},
            columns_retyped={name: (old[name], new[name]) for name in both if old[name] != new[name]},
            columns={
                name: (facts[0][name], facts[1][name])
                for name in looked_at
                if facts[0][name] != facts[1][name]
            },
            rows_added=added,
            rows_removed=removed,
            left_out=tuple(left_out),
        )


def _read_once(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Keep what was read of text: many queries are to come. What memory does not hold goes to `folder`."""
    connection.execute(f"SET temp_directory = {quoted(str(folder))}")
    for side in ("before", "after"):
        connection.execute(f"CREATE TABLE {side}_rows AS SELECT * FROM {side}")
        connection.execute(f"DROP VIEW {side}")
        connection.execute(f"ALTER TABLE {side}_rows RENAME TO {side}")


def _types(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    return {row[0]: row[1] for row in connection.execute(f"DESCRIBE {table}").fetchall()}


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    found = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    return 0 if found is None else int(found[0])


def _facts(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    types: dict[str, str],
    names: Sequence[str],
    left_out: dict[str, None],
) -> dict[str, ColumnFacts]:
    """Some columns in each pass over the table; of one that makes trouble only what is known of every type."""
    import duckdb

    found: dict[str, ColumnFacts] = {}
    for start in range(0, len(names), _AT_ONCE):
        batch = names[start : start + _AT_ONCE]
        try:
            found |= _asked(connection, table, types, batch)
            continue
        except duckdb.ConversionException:
            raise  # of the file: it is read again
        except duckdb.Error:
            pass  # which of them it is, each alone tells
        for name in batch:
            try:
                found |= _asked(connection, table, types, [name])
            except duckdb.Error as error:
                found |= _asked(connection, table, types, [name], is_plain=True)
                left_out[f"minimum, maximum and mean of column {name} ({str(error).splitlines()[0]})"] = None
    return found


def _asked(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    types: dict[str, str],
    names: Sequence[str],
    *,
    is_plain: bool = False,
) -> dict[str, ColumnFacts]:
    parts = []
    for name in names:
        column, kind = _name(name), types[name]
        has_mean = _is_number(kind) and not is_plain
        is_ordered = has_mean or (not is_plain and _is_of(kind, (*_PLAIN, "TIMESTAMP")))
        parts += [
            f"count(*) - count({column})",
            f"least(approx_count_distinct({column}::VARCHAR), count({column}))",
        ]
        parts += [f"{what}({column})::VARCHAR" if is_ordered else "NULL" for what in ("min", "max")]
        parts.append(f"avg({column}::DOUBLE)" if has_mean else "NULL")
    row: Any = connection.execute(f"SELECT {', '.join(parts)} FROM {table}").fetchone()
    found = {}
    for index, name in enumerate(names):
        nulls, distinct, least, most, mean = row[index * 5 : index * 5 + 5]
        mean = mean if mean is not None and math.isfinite(mean) else None
        found[name] = ColumnFacts(types[name], nulls, distinct, least, most, mean)
    return found


def _is_of(kind: str, names: tuple[str, ...]) -> bool:
    """Whether a type is one of these and not a list or an array of them."""
    return kind.startswith(names) and not kind.endswith("]")


def _is_number(kind: str) -> bool:
    return _is_of(kind.removeprefix("U"), _NUMBERS)


def _comparable(name: str, before: str, after: str) -> str:
    """A column as text that is the same for the same value, also where only the type of number has changed."""
    column, kinds = _name(name), (before, after)
    if before != after and all(map(_is_number, kinds)) and any(_is_of(kind, _INEXACT) for kind in kinds):
        as_what = "FLOAT" if "FLOAT" in kinds else "DOUBLE"  # as exact as the less exact side
        column = f"TRY_CAST({column} AS {as_what})"
    return f"{column}::VARCHAR"


def _missing(connection: duckdb.DuckDBPyConnection, here: str, there: str, columns: str) -> int:
    # Rows by their hash: of 1,000 columns a fifth of the time, and two of two million rows share one once in a million.
    found = connection.execute(
        f"SELECT count(*) FROM (SELECT hash({columns}) FROM {here} EXCEPT ALL SELECT hash({columns}) FROM {there})"
    ).fetchone()
    return 0 if found is None else int(found[0])


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'
