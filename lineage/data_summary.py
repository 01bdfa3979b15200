"""What changed in a table: rows, columns and their values, before and after, counted by DuckDB from local files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .catalog import quoted

if TYPE_CHECKING:
    import duckdb

COMPARED_ROWS = 2_000_000  # up to so many on both sides rows are compared with each other
_READERS = {
    ".csv": "read_csv({})",
    ".tsv": "read_csv({}, delim = '\\t')",
    ".parquet": "read_parquet({})",
    ".jsonl": "read_json({}, format = 'newline_delimited')",
    ".ndjson": "read_json({}, format = 'newline_delimited')",
}
_PACKED = (".gz", ".zst")
_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL")
_PLAIN = ("VARCHAR", "BOOLEAN", "DATE", "TIME", "UUID")


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """A column of one table. `distinct` is an estimate (about 2 %); min, max and mean where the type has them."""

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
    more than `COMPARED_ROWS` rows.
    """

    path: str
    rows: tuple[int, int]
    columns_added: dict[str, str]
    columns_removed: dict[str, str]
    columns_retyped: dict[str, tuple[str, str]]
    columns: dict[str, tuple[ColumnFacts, ColumnFacts]]  # in both, and different
    rows_added: int | None
    rows_removed: int | None


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
    with duckdb.connect(":memory:") as connection:
        for side, file in (("before", before), ("after", after)):
            connection.execute(f"CREATE VIEW {side} AS SELECT * FROM {reader.format(quoted(str(file)))}")
        old, new = _types(connection, "before"), _types(connection, "after")
        rows = (_count(connection, "before"), _count(connection, "after"))
        both = [name for name in old if name in new]
        facts = _facts(connection, "before", old, both), _facts(connection, "after", new, both)
        added, removed = (None, None)
        if both and max(rows) <= COMPARED_ROWS:
            added = _missing(connection, "after", "before", both)
            removed = _missing(connection, "before", "after", both)
        return TableChange(
            path=path,
            rows=rows,
            columns_added={name: kind for name, kind in new.items() if name not in old},
            columns_removed={name: kind for name, kind in old.items() if name not in new},
            columns_retyped={name: (old[name], new[name]) for name in both if old[name] != new[name]},
            columns={
                name: (facts[0][name], facts[1][name]) for name in both if facts[0][name] != facts[1][name]
            },
            rows_added=added,
            rows_removed=removed,
        )


def _types(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    return {row[0]: row[1] for row in connection.execute(f"DESCRIBE {table}").fetchall()}


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    found = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    return 0 if found is None else int(found[0])


def _facts(
    connection: duckdb.DuckDBPyConnection, table: str, types: dict[str, str], names: Sequence[str]
) -> dict[str, ColumnFacts]:
    """All columns in one pass over the table."""
    if not names:
        return {}
    parts = []
    for name in names:
        column, kind = _name(name), types[name]
        is_number = kind.removeprefix("U").startswith(_NUMBERS)
        is_ordered = is_number or kind.startswith((*_PLAIN, "TIMESTAMP"))
        parts += [
            f"count(*) - count({column})",
            f"least(approx_count_distinct({column}::VARCHAR), count({column}))",
        ]
        parts += [f"{what}({column})::VARCHAR" if is_ordered else "NULL" for what in ("min", "max")]
        parts.append(f"avg({column})::DOUBLE" if is_number else "NULL")
    row: Any = connection.execute(f"SELECT {', '.join(parts)} FROM {table}").fetchone()
    return {
        name: ColumnFacts(types[name], *row[index * 5 : index * 5 + 5]) for index, name in enumerate(names)
    }


def _missing(connection: duckdb.DuckDBPyConnection, here: str, there: str, names: Sequence[str]) -> int:
    columns = ", ".join(f"{_name(name)}::VARCHAR" for name in names)
    found = connection.execute(
        f"SELECT count(*) FROM (SELECT {columns} FROM {here} EXCEPT ALL SELECT {columns} FROM {there})"
    ).fetchone()
    return 0 if found is None else int(found[0])


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'
