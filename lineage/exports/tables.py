"""The tables among a version's files: names and types of their columns, found by DuckDB from a few of their bytes."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any, Literal

from ...artifacts.manifest import Entry

if TYPE_CHECKING:
    import duckdb

Opener = Callable[[str], IO[bytes]]
TableFormat = Literal["csv", "tsv", "jsonl", "parquet"]
_ENDINGS: dict[str, TableFormat] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
_LINE_BYTES = 1 << 20  # a longer line of names is none
_PROTOCOL = "lineart-table"


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `type` is DuckDB's name of it, such as ``BIGINT`` or ``VARCHAR[]``."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Table:
    """A file of rows. `has_names` is False when a CSV file has no header: its columns are then called column0, ….

    `is_plain`: whether a reader that was told nothing finds the same columns: in a CSV file by the first line, divided
    at commas (.tsv: at tabs), with names that differ.
    """

    path: str
    format: TableFormat
    columns: tuple[Column, ...]
    has_names: bool
    is_plain: bool = True


def table_format(path: str) -> TableFormat | None:
    """The format that a path's ending promises, compressed with gzip or not.

    >>> table_format("a/train.CSV.gz"), table_format("b.parquet"), table_format("c.png")
    ('csv', 'parquet', None)
    """
    name = path.lower()
    zipped = name.endswith(".gz")
    name = name.removesuffix(".gz")
    for ending, found in _ENDINGS.items():
        if name.endswith(ending) and not (zipped and found == "parquet"):
            return found
    return None


def read_tables(entries: Sequence[Entry], opened: Opener) -> list[Table]:
    """The tables among `entries`, in their order; a file that is not what its ending says is left out.

    `opened` gives a seekable reader of a path; of Parquet its footer is read, of text the first rows.
    """
    chosen: list[tuple[str, TableFormat]] = []
    for entry in entries:
        form = table_format(entry.path)
        if form is not None and entry.kind in ("file", "executable", "reference"):
            chosen.append((entry.path, form))
    if not chosen:
        return []
    import duckdb

    connection = duckdb.connect(":memory:", config={"threads": 1})
    try:
        connection.register_filesystem(_file_system([path for path, _ in chosen], opened))
        found_tables = []
        for index, (path, form) in enumerate(chosen):
            try:
                table, quote = _describe(connection, index, path, form)
            except duckdb.Error:
                continue  # not what its ending says: it is a file like any other
            if form in ("csv", "tsv"):
                is_plain = quote != "'" and _first_line(opened, path, form) == [c.name for c in table.columns]
                table = replace(table, is_plain=is_plain)
            found_tables.append(table)
        return found_tables
    finally:
        connection.close()


def _describe(
    connection: duckdb.DuckDBPyConnection, index: int, path: str, form: TableFormat
) -> tuple[Table, str]:
    """The table and, of a CSV file, the mark around its texts."""
    zipped = ".gz" if path.lower().endswith(".gz") else ""
    url = f"{_PROTOCOL}://{index}{zipped}"
    has_names, quote = True, ""
    if form == "parquet":
        source = f"read_parquet('{url}')"
    elif form == "jsonl":
        source = f"read_json('{url}', format = 'newline_delimited')"
    else:
        given = ", delim = '\t'" if form == "tsv" else ""
        source = f"read_csv('{url}'{given})"
        answer = connection.execute(f"SELECT HasHeader, Quote FROM sniff_csv('{url}'{given})").fetchone()
        has_names, quote = answer or (False, "")
    rows = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
    return Table(path, form, tuple(Column(row[0], row[1]) for row in rows), has_names), quote


def _first_line(opened: Opener, path: str, form: TableFormat) -> list[str]:
    """The texts in the first line of a CSV file, as a reader finds them that was told nothing; none if it cannot."""
    delimiter = "\t" if form == "tsv" else ","
    try:
        with opened(path) as stream:
            plain = gzip.GzipFile(fileobj=stream) if path.lower().endswith(".gz") else stream
            data = plain.read(_LINE_BYTES)
        return next(csv.reader(io.StringIO(data.decode("utf-8-sig", "replace")), delimiter=delimiter), [])
    except (OSError, EOFError, zlib.error, csv.Error):
        return []  # DuckDB has read it in another way


def _file_system(paths: Sequence[str], opened: Opener) -> Any:
    """The files as DuckDB can read them: called by their numbers, for a name may hold what it takes for a pattern."""
    from fsspec.spec import AbstractFileSystem

    class Files(AbstractFileSystem):  # type: ignore[misc]  # fsspec is published without types
        protocol = _PROTOCOL
        cachable = False

        def _open(
            self,
            path: str,
            mode: str = "rb",
            block_size: Any = None,
            autocommit: bool = True,
            cache_options: Any = None,
            **options: Any,
        ) -> Any:
            return opened(paths[_number(path)])

        def info(self, path: str, **options: Any) -> dict[str, Any]:
            with opened(paths[_number(path)]) as stream:
                size_bytes = stream.seek(0, 2)
            return {"name": path, "size": size_bytes, "type": "file"}

        def glob(self, path: str, maxdepth: Any = None, **options: Any) -> list[str]:
            return [path]

        def exists(self, path: str, **options: Any) -> bool:
            return True

        def created(self, path: str) -> Any:
            return self.modified(path)

        def modified(self, path: str) -> Any:
            import datetime

            return datetime.datetime.fromtimestamp(0, datetime.UTC)  # a version does not change

    return Files()


def _number(path: str) -> int:
    return int(path.rpartition("/")[2].removesuffix(".gz"))
