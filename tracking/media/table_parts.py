"""The Parquet files of a table, written and read by DuckDB.

A part holds some rows of a table, in order. The Parquet types say what they can; the kind of each column (see
`table_columns`) stands beside the part's path in the table's value: which text is JSON, and which zone a time has.
NaN and NULL are two things here: NaN is a number, NULL is nothing.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...artifacts.recorded import shown
from ...storage.errors import IntegrityError, UsageError
from ..values import plain
from .base import FileSink, FileSource, FileValue, Media
from .content import file_value
from .convert import as_picture, load_media
from .table_columns import Column, array_of_column, cells_of_column, kind_parts, zoned

if TYPE_CHECKING:
    import duckdb

FOLDER = "media/table"
_LISTED_AT_ONCE = 32  # parts that stand in a row; older ones stand in a file, so that a row stays small
_SQL_TYPES = {
    "bool": "BOOLEAN",
    "int": "BIGINT",
    "float": "DOUBLE",
    "datetime": "TIMESTAMP",
    "date": "DATE",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One Parquet file."""

    file: FileValue
    rows: int
    kinds: tuple[str, ...]

    def to_value(self) -> dict[str, Any]:
        """Its JSON."""
        return {**self.file, "nrows": self.rows, "kinds": list(self.kinds)}

    @classmethod
    def from_value(cls, value: Mapping[str, Any]) -> Part:
        """The part whose value this is. Raises: IntegrityError."""
        try:
            return cls(file_value(value), int(value["nrows"]), tuple(value["kinds"]))
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(f"part of a table: nrows or kinds is missing: {error}") from error


@dataclass(slots=True)
class PartList:
    """The parts of a table that were kept in one sink, and where the list of the older ones lies."""

    parts: list[Part]
    earlier: FileValue | None = None
    listed: int = 0  # how many of the parts the file `earlier` (and those before it) names

    def to_value(self, sink: FileSink) -> dict[str, Any]:
        """The JSON of the parts. When there are many, the older ones go into a file."""
        while len(self.parts) - self.listed > _LISTED_AT_ONCE:
            older = self.parts[self.listed : self.listed + _LISTED_AT_ONCE]
            content: dict[str, Any] = {"parts": [part.to_value() for part in older]}
            if self.earlier is not None:
                content["earlier"] = dict(self.earlier)
            data = json.dumps(content, separators=(",", ":")).encode()
            self.earlier = sink.put_bytes(data, folder=FOLDER, extension=".parts.json")
            self.listed += len(older)
        value: dict[str, Any] = {"parts": [part.to_value() for part in self.parts[self.listed :]]}
        if self.earlier is not None:
            value["earlier"] = dict(self.earlier)
        return value


def parts_of(value: Mapping[str, Any], source: FileSource) -> list[Part]:
    """All parts of a table's value, the oldest first. Raises: IntegrityError, NotFoundError."""
    found: list[list[Part]] = []
    seen: set[str] = set()
    content: Any = value
    while True:
        try:
            found.append([Part.from_value(part) for part in content["parts"]])
            earlier = content.get("earlier")
        except (KeyError, TypeError, AttributeError) as error:
            raise IntegrityError(
                f"table value: its parts are not readable: {error}; run art verify"
            ) from error
        if earlier is None:
            return [part for parts in reversed(found) for part in parts]
        file = file_value(earlier)
        if file["digest"] in seen:
            raise IntegrityError(
                f"table value: {file['path']} names itself as its predecessor; run art verify"
            )
        seen.add(file["digest"])
        with source.open(file["path"]) as reader:
            try:
                content = json.loads(reader.read())
            except ValueError as error:
                raise IntegrityError(
                    f"{file['path']}: not a list of parts: {error}; run art verify"
                ) from error


def write_part(columns: Sequence[Column], names: Sequence[str], sink: FileSink, what: str) -> Part:
    """Keep columns of one length as a Parquet file; media in cells go to the sink first.

    Raises: UsageError for a cell that cannot be kept.
    """
    import duckdb

    ready = [
        _as_text(column, sink, f"{what} column {name!r}") if column.kind in ("json", "media") else column
        for column, name in zip(columns, names, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(":memory:") as connection:
        path = Path(folder, "part.parquet")
        target = f"TO {_quoted(str(path))} (FORMAT parquet, COMPRESSION zstd)"
        try:
            if sys.modules.get("numpy") is not None:
                _copy_arrays(connection, ready, names, target)
            else:
                _copy_lists(connection, ready, names, target)
        except duckdb.Error as error:
            raise UsageError(
                f"{what} cannot be written as Parquet: {' '.join(str(error).split())[:300]}"
            ) from error
        file = sink.put_file(path, folder=FOLDER, extension=".parquet")
    return Part(file, len(ready[0]), tuple(column.kind for column in ready))


def _copy_arrays(
    connection: duckdb.DuckDBPyConnection, columns: Sequence[Column], names: Sequence[str], to: str
) -> None:
    import numpy as np

    cells: dict[str, Any] = {}
    selected = []
    for i, (column, name) in enumerate(zip(columns, names, strict=True)):
        array = array_of_column(column)
        cells[f"c{i}"] = array
        expression = f"c{i}"
        base, _ = kind_parts(column.kind)
        if base == "date":
            expression = f"c{i}::DATE"
        elif base in ("text", "json", "media", "null"):
            expression = f"c{i}::VARCHAR"
        elif base.startswith("float"):
            data, missing = np.ma.getdata(array), np.ma.getmaskarray(array)
            nan = np.isnan(data) & ~missing
            if nan.any():  # DuckDB takes NaN in an array for NULL
                cells[f"n{i}"] = nan
                expression = (
                    f"CASE WHEN n{i} THEN 'NaN'::{'FLOAT' if base == 'float32' else 'DOUBLE'} ELSE c{i} END"
                )
        selected.append(f"{expression} AS {_identifier(name)}")
    # DuckDB finds `cells` by its name.
    connection.execute(f"COPY (SELECT {', '.join(selected)} FROM cells) {to}")


def _copy_lists(
    connection: duckdb.DuckDBPyConnection, columns: Sequence[Column], names: Sequence[str], to: str
) -> None:
    """Without numpy: slower, with the same result."""
    types = [_SQL_TYPES.get(kind_parts(column.kind)[0], "VARCHAR") for column in columns]
    selected = ", ".join(
        f"unnest(?::{sql_type}[]) AS {_identifier(name)}" for sql_type, name in zip(types, names, strict=True)
    )
    connection.execute(f"COPY (SELECT {selected}) {to}", [column.values for column in columns])


def _as_text(column: Column, sink: FileSink, what: str) -> Column:
    """Cells as JSON text; the kind says whether there is media among them."""
    holds_media = False

    def convert(value: Any) -> Any:
        nonlocal holds_media
        media = as_picture(value)
        if media is None:
            return None
        holds_media = True
        return media.to_value(sink)

    texts = [
        None
        if cell is None
        else json.dumps(plain(cell, f"{what} row {row}", convert), separators=(",", ":"), allow_nan=False)
        for row, cell in enumerate(column.values)
    ]
    return Column("media" if holds_media else "json", texts)


def groups(parts: Sequence[Part]) -> list[list[Part]]:
    """Neighbours with the same kinds, which one query reads."""
    found: list[list[Part]] = []
    for part in parts:
        if found and found[-1][0].kinds == part.kinds:
            found[-1].append(part)
        else:
            found.append([part])
    return found


def read_rows(
    parts: Sequence[Part], source: FileSource, wanted: Sequence[int] | None = None
) -> list[list[Any]]:
    """All rows as Python values, of all columns or those wanted (by their places). Needs no numpy."""
    rows: list[list[Any]] = []
    for group in groups(parts):
        kinds = group[0].kinds
        places = range(len(kinds)) if wanted is None else wanted
        read = list(map(list, _query(group, source, places, fine=True).fetchall()))
        for i, place in enumerate(places):
            decode = _decoder(kinds[place], source)
            if decode is not None:
                for row in read:
                    if row[i] is not None:
                        row[i] = decode(row[i])
        rows += read
    return rows


def read_columns(parts: Sequence[Part], source: FileSource, wanted: Sequence[int]) -> list[list[Column]]:
    """For each wanted column (by its place) its values, one `Column` for each group of parts."""
    found: list[list[Column]] = [[] for _ in wanted]
    for group in groups(parts):
        arrays = list(_query(group, source, wanted).fetchnumpy().values())
        for place, index in enumerate(wanted):
            kind = group[0].kinds[index]
            decode = _decoder(kind, source) if kind in ("json", "media") else None
            values: Any = arrays[place]
            if kind in ("json", "media", "null", "text"):
                values = values.tolist()
            if decode is not None:
                values = [None if cell is None else decode(cell) for cell in values]
            column = Column(kind, values)
            if kind_parts(kind)[0] == "datetime_ns":
                column = Column(
                    kind,
                    values.view("int64").astype("datetime64[ns]") if values.dtype.kind == "i" else values,
                )
            found[place].append(column)
    return found


def _decoder(kind: str, source: FileSource) -> Callable[[Any], Any] | None:
    base, zone = kind_parts(kind)
    if base == "json":
        return lambda text: shown(json.loads(text))
    if base == "media":
        return lambda text: _with_media(json.loads(text), source)
    if base == "datetime_ns":
        return lambda nanoseconds: cells_of_column(Column(kind, [nanoseconds]))[0]
    if zone is not None:
        return lambda time: zoned(time, zone)
    return None


def _with_media(value: Any, source: FileSource) -> Any:
    if isinstance(value, dict):
        if value.get("_type") in Media.kinds:
            return load_media(value, source)
        return shown({key: _with_media(item, source) for key, item in value.items()})
    if isinstance(value, list):
        return [_with_media(item, source) for item in value]
    return value


class _Answer:
    """The result of a query; its connection ends with it."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, what: str) -> None:
        self._connection = connection
        self._what = what

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self._fetch("fetchall")  # type: ignore[no-any-return]

    def fetchnumpy(self) -> dict[str, Any]:
        return self._fetch("fetchnumpy")  # type: ignore[no-any-return]

    def _fetch(self, name: str) -> Any:
        import duckdb

        try:
            with self._connection:
                return getattr(self._connection, name)()
        except duckdb.Error as error:
            raise IntegrityError(
                f"{self._what}: {' '.join(str(error).split())[:300]}; run art verify"
            ) from error


def _query(
    group: Sequence[Part], source: FileSource, wanted: Sequence[int], *, fine: bool = False
) -> _Answer:
    """The wanted columns of some parts; `fine` gives nanoseconds as numbers, which Python's times do not hold."""
    import duckdb

    kinds = group[0].kinds
    files = ", ".join(_quoted(_no_pattern(str(source.local_path(part.file["path"])))) for part in group)
    # Read by place: the names are the table's own business, and may be unwieldy ones.
    every = ", ".join(f"c{i}" for i in range(len(kinds)))
    expressions = [f"epoch_ns(c{i})" if kind_parts(kinds[i])[0] == "datetime_ns" else f"c{i}" for i in wanted]
    selected = ", ".join(f"{expression} AS v{place}" for place, expression in enumerate(expressions))
    what = f"table part {group[0].file['path']}"
    connection = duckdb.connect(":memory:")
    try:
        connection.execute(
            f"SELECT {selected} FROM read_parquet([{files}], hive_partitioning = false) AS part({every})"
        )
    except duckdb.Error as error:
        connection.close()
        raise IntegrityError(f"{what}: {' '.join(str(error).split())[:300]}; run art verify") from error
    return _Answer(connection, what)


def _no_pattern(path: str) -> str:
    """A path that DuckDB takes as it is: it would read `*`, `?` and `[` in it as a pattern."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in path)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
