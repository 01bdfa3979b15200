"""`Table`: rows of values with named columns, kept as Parquet.

Rows that are added lie in memory as Python lists. A table made from a DataFrame keeps a copy of it, and a table that
was read back keeps its Parquet files: both become Python rows only when rows are asked for.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from ...storage.errors import IntegrityError, UsageError
from .base import FileSink, FileSource, Media
from .convert import as_picture
from .image import Image
from .optional import comes_from, need
from .table_columns import (
    Column,
    array_of_column,
    cells_of_column,
    column_of,
    family,
    joined,
    kind_parts,
    merged_kind,
    pandas_column,
    series_column,
)
from .table_parts import Part, PartList, parts_of, read_columns, read_rows, write_part
from .table_rules import rules_for

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_COLUMNS = ("Input", "Output", "Expected")  # what scripts that name no columns rely on
LOG_MODES = ("IMMUTABLE", "MUTABLE", "INCREMENTAL")
_SHOWN_ROWS = 10


class Table(Media):
    """Rows with named columns, without a limit: numbers, text, times, lists, dictionaries, and media in cells.

    `log_mode` says what logging the table again keeps: ``"IMMUTABLE"`` and ``"MUTABLE"`` the whole table as it is
    then, ``"INCREMENTAL"`` only the rows that were added since, as a further Parquet file (rows that were logged
    must not be changed).

    >>> table = Table(columns=["name", "loss"])
    >>> table.add_data("first", 0.5)
    >>> table.add_data("second", 0.25)
    >>> len(table), table.get_column("loss")
    (2, [0.5, 0.25])
    """

    kind = "table-file"

    def __init__(
        self,
        columns: Sequence[str | int] | None = None,
        data: Any = None,
        rows: Any = None,
        dataframe: Any = None,
        dtype: Any = None,
        optional: bool | Sequence[bool] = True,
        allow_mixed_types: bool = False,
        log_mode: str = "IMMUTABLE",
    ) -> None:
        """`data` (or `rows`) is a list of rows, a two-dimensional array or a DataFrame; `dataframe` a DataFrame.

        The index of a DataFrame becomes columns when it has a name or holds something else than whole numbers.
        `dtype` is a type, or one for each column; without it a column takes what its first values show, and values
        of another kind are refused unless `allow_mixed_types`. `optional` says whether None may stand in a cell.
        Raises: UsageError.
        """
        if sum(given is not None for given in (data, rows, dataframe)) > 1:
            raise UsageError("Table: give one of data, rows and dataframe")
        given = next((item for item in (data, rows, dataframe) if item is not None), None)
        is_frame = comes_from(given, "pandas") and hasattr(given, "columns")
        if dataframe is not None and not is_frame:
            raise UsageError(f"Table dataframe: {type(dataframe).__name__} is not a pandas DataFrame")
        if log_mode not in LOG_MODES:
            raise UsageError(f"Table log_mode {log_mode!r}: expected one of {', '.join(LOG_MODES)}")
        self.log_mode = log_mode
        self._base: _Frame | _Stored | None = None
        self._rows: list[list[Any]] = []
        self._exposed = False  # whether somebody else may have the list of rows in hand
        self._logged: _Logged | None = None
        frame = _Frame(_with_index(given)) if is_frame else None
        if frame is not None:
            self._base = frame
            names: Sequence[Any] = frame.names if columns is None else columns
            if len(names) != len(frame.names):
                raise UsageError(f"Table: {len(names)} columns named, the DataFrame has {len(frame.names)}")
        else:
            names = DEFAULT_COLUMNS if columns is None else columns
        self._columns = _checked_names(names)
        self._rules = rules_for(self._columns, dtype, optional, allow_mixed_types)
        self._mixed = allow_mixed_types
        if frame is not None:
            if dtype is not None or optional is not True:
                for i, name in enumerate(self._columns):
                    self._rules[i].check(set(map(type, frame.cells(i))), f"Table column {name!r}")
        elif given is not None:
            self._add_all(given)

    # Rows

    @property
    def columns(self) -> list[str | int]:
        """The columns' names, in order."""
        return list(self._columns)

    @property
    def data(self) -> list[list[Any]]:
        """All rows, as a list of lists that is the table's own: a change of it changes the table."""
        self._exposed = True
        return self._all_rows()

    def __len__(self) -> int:
        return (self._base.rows if self._base is not None else 0) + len(self._rows)

    def add_data(self, *data: Any) -> None:
        """Add one row, a value for each column. Raises: UsageError for too many, too few, or another kind."""
        row = len(self)
        if len(data) != len(self._columns):
            raise UsageError(
                f"Table row {row}: {len(data)} values for {len(self._columns)} columns ({_listed(self._columns)})"
            )
        cells = list(data)
        for i, (rule, cell) in enumerate(zip(self._rules, data, strict=True)):
            if type(cell) not in rule.seen:
                cells[i] = _cell(cell)
                rule.check({type(cells[i])}, f"Table row {row}, column {self._columns[i]!r}")
        self._rows.append(cells)

    def add_row(self, *row: Any) -> None:
        """As `add_data`."""
        self.add_data(*row)

    def add_column(self, name: str | int, data: Any, optional: bool = False) -> None:
        """Add a column at the end, a value for each row; to a table without columns also its rows.

        Raises: UsageError when its length is another, or the name is taken.
        """
        if self.log_mode == "INCREMENTAL" and self._logged is not None:
            raise UsageError(
                f"Table column {name!r}: an INCREMENTAL table gets no columns once it is logged; use log_mode='MUTABLE'"
            )
        columns = _checked_names([*self._columns, name])
        cells = [_cell(cell) for cell in (data.tolist() if hasattr(data, "tolist") else data)]
        if self._columns and len(cells) != len(self):
            raise UsageError(f"Table column {name!r}: {len(cells)} values for {len(self)} rows")
        (rule,) = rules_for([name], None, True, self._mixed)
        rule.check(set(map(type, cells)), f"Table column {name!r}")
        rows = self._all_rows() if self._columns else self._rows
        if not self._columns:
            rows.extend([] for _ in cells)
        for row, cell in zip(rows, cells, strict=True):
            row.append(cell)
        rule.optional = rule.optional or optional
        self._rules.append(rule)
        self._columns = columns
        self._logged = None

    def add_computed_columns(self, fn: Callable[[int, dict[str | int, Any]], Mapping[str, Any]]) -> None:
        """Add the columns that `fn(row number, {column: value})` returns for each row, by name.

        Raises: UsageError when it returns other names for one row than for another.
        """
        new: dict[str, list[Any]] = {}
        for i, row in enumerate(self._all_rows()):
            computed = fn(i, dict(zip(self._columns, row, strict=True)))
            if i and set(computed) != set(new):
                raise UsageError(
                    f"Table row {i}: computed columns {_listed(computed)}, before {_listed(new)}"
                )
            for name, cell in computed.items():
                new.setdefault(name, []).append(cell)
        for name, cells in new.items():
            self.add_column(name, cells)

    def iterrows(self) -> Iterator[tuple[int, list[Any]]]:
        """Each row with its number."""
        yield from enumerate(self._all_rows())

    def get_index(self) -> list[int]:
        """The numbers of the rows."""
        return list(range(len(self)))

    def get_column(self, name: str | int, convert_to: str | None = None) -> Any:
        """The values of a column as a list, or as a numpy array with ``convert_to="numpy"``.

        Pictures and lists of one size become one array; whole numbers with gaps an array of objects.
        Raises: UsageError for an unknown column.
        """
        if convert_to not in (None, "numpy"):
            raise UsageError(f"Table convert_to {convert_to!r}: expected 'numpy' or None")
        index = self._place(name)
        if convert_to is None:
            cells = [] if self._base is None else self._base.cells(index)
            return cells + [row[index] for row in self._rows]
        return _as_numpy(joined(self._gathered([index])[0], f"Table column {name!r}"))

    def get_dataframe(self) -> pd.DataFrame:
        """The table as a DataFrame; media cells are media objects. Raises: UsageError without pandas."""
        pandas = need("pandas", "Table.get_dataframe")
        gathered = self._gathered(range(len(self._columns)))
        made = {
            i: pandas_column(joined(columns, f"Table column {name!r}"))
            for i, (name, columns) in enumerate(zip(self._columns, gathered, strict=True))
        }
        frame: pd.DataFrame = pandas.DataFrame(made, index=range(len(self)))
        frame.columns = pandas.Index(self._columns, dtype=None if self._columns else object)
        return frame

    # Logging

    def to_value(self, sink: FileSink) -> dict[str, Any]:
        """Keep the rows as Parquet: all of them, or the new ones of an INCREMENTAL table."""
        logged = self._logged if self._logged is not None and self._logged.sink is sink else None
        unchanged = logged is not None and logged.rows == len(self) and not self._exposed
        if logged is None or not (unchanged or self.log_mode == "INCREMENTAL"):
            logged = _Logged(sink, PartList(self._base_parts(sink)))
            logged.rows = sum(part.rows for part in logged.parts.parts)
        elif logged.rows > len(self):
            raise UsageError(
                f"Table: {logged.rows} rows were logged and {len(self)} are left; INCREMENTAL tables only grow"
            )
        if logged.rows < len(self) or not (logged.parts.parts or not self._columns):
            new = self._rows[logged.rows - (len(self) - len(self._rows)) :]
            columns = [
                column_of([row[i] for row in new], f"Table column {name!r}")
                for i, name in enumerate(self._columns)
            ]
            logged.parts.parts.append(write_part(columns, _stored_names(self._columns), sink, "Table"))
            logged.rows = len(self)
        self._logged = logged
        return self._value(logged.parts, sink)

    @classmethod
    def from_value(cls, value: Mapping[str, Any], source: FileSource) -> Self:
        """The table whose value this is. Its rows are read when they are asked for."""
        parts = parts_of(value, source)
        try:
            names = [column["name"] for column in value["columns"]]
        except (KeyError, TypeError) as error:
            raise IntegrityError(f"table value: columns are not readable: {error}") from error
        if any(len(part.kinds) != len(names) for part in parts):
            raise IntegrityError(
                f"table value: {len(names)} columns, and a part of another number; run art verify"
            )
        made = cls(columns=names, allow_mixed_types=True, log_mode=value.get("log_mode", "IMMUTABLE"))
        made._base = _Stored(parts, source)
        return made

    def _value(self, parts: PartList, sink: FileSink) -> dict[str, Any]:
        columns = []
        for i, (name, stored) in enumerate(zip(self._columns, _stored_names(self._columns), strict=True)):
            column = {"name": name, "kind": merged_kind([part.kinds[i] for part in parts.parts])}
            columns.append(column if stored == name else {**column, "stored_as": stored})
        return {
            "_type": self.kind,
            "format": "parquet",
            "nrows": len(self),
            "ncols": len(self._columns),
            "size_bytes": sum(part.file["size_bytes"] for part in parts.parts),
            "log_mode": self.log_mode,
            "columns": columns,
            **parts.to_value(sink),
        }

    def _base_parts(self, sink: FileSink) -> list[Part]:
        """Parts in `sink` with the rows that are not Python rows."""
        if isinstance(self._base, _Frame):
            return [write_part(self._base.columns(), _stored_names(self._columns), sink, "Table")]
        if isinstance(self._base, _Stored):
            if any("media" in part.kinds for part in self._base.parts):
                self._all_rows()  # the files of the cells have to be kept, too
                return []
            return self._base.copied(sink)
        return []

    def __getstate__(self) -> dict[str, Any]:
        """A copy and a pickle do not know what was logged: the sink belongs to this process."""
        return {**self.__dict__, "_logged": None}

    # Where the rows are

    def _all_rows(self) -> list[list[Any]]:
        """Everything as Python rows, from now on."""
        if self._base is not None:
            self._rows[:0] = self._base.as_rows()
            self._base = None
        return self._rows

    def _gathered(self, wanted: Sequence[int]) -> list[list[Column]]:
        """For each wanted column the columns that make it, one behind the other."""
        found: list[list[Column]] = [[] for _ in wanted]
        if isinstance(self._base, _Frame):
            found = [[self._base.column(index)] for index in wanted]
        elif isinstance(self._base, _Stored):
            found = read_columns(self._base.parts, self._base.source, wanted)
        if self._rows or self._base is None or not all(found):
            for place, index in enumerate(wanted):
                what = f"Table column {self._columns[index]!r}"
                found[place].append(column_of([row[index] for row in self._rows], what))
        return found

    def _place(self, name: str | int) -> int:
        try:
            return self._columns.index(name)
        except ValueError:
            raise UsageError(f"Table: no column {name!r}; there are {_listed(self._columns)}") from None

    def _add_all(self, given: Any) -> None:
        if hasattr(given, "tolist"):
            if getattr(given, "ndim", 2) != 2:
                raise UsageError(f"Table data: array of shape {tuple(given.shape)}; expected (rows, columns)")
            given = given.tolist()
        width = len(self._columns)
        rows: list[list[Any]] = []
        for i, row in enumerate(given):
            if isinstance(row, str | bytes | Mapping) or not hasattr(row, "__iter__"):
                raise UsageError(
                    f"Table row {i}: {type(row).__name__} is not a row; expected a list of {width} values"
                )
            cells = list(row)
            if len(cells) != width:
                raise UsageError(
                    f"Table row {i}: {len(cells)} values for {width} columns ({_listed(self._columns)})"
                )
            rows.append(cells)
        for i, (name, rule) in enumerate(zip(self._columns, self._rules, strict=True)):
            types = {type(row[i]) for row in rows}
            if any(_is_foreign(found) for found in types):
                for row in rows:
                    row[i] = _cell(row[i])
                types = {type(row[i]) for row in rows}
            rule.check(types, f"Table column {name!r}")
        self._rows = rows

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Table):
            return NotImplemented
        if self._columns != other._columns or len(self) != len(other):
            return False
        return all(
            _same(a, b)
            for mine, theirs in zip(self._all_rows(), other._all_rows(), strict=True)
            for a, b in zip(mine, theirs, strict=True)
        )

    __hash__ = None  # type: ignore[assignment]  # a table changes

    def __repr__(self) -> str:
        return f"<Table {len(self)} rows × {len(self._columns)} columns: {_listed(self._columns)}>"

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(str(name))}</th>" for name in self._columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{_shown(cell)}</td>" for cell in row) + "</tr>"
            for row in self._all_rows()[:_SHOWN_ROWS]
        )
        more = f"<p>{len(self):,} rows × {len(self._columns)} columns</p>"
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


class _Frame:
    """Rows that lie in a DataFrame of which the table has a copy."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame
        self.rows = len(frame)
        self.names = [_name(label) for label in frame.columns]

    def column(self, index: int) -> Column:
        return series_column(self._frame.iloc[:, index], f"Table column {self.names[index]!r}")

    def cells(self, index: int) -> list[Any]:
        return cells_of_column(self.column(index))

    def columns(self) -> list[Column]:
        return [self.column(index) for index in range(len(self.names))]

    def as_rows(self) -> list[list[Any]]:
        cells = [cells_of_column(column) for column in self.columns()]
        return [list(row) for row in zip(*cells, strict=True)] if cells else [[] for _ in range(self.rows)]


class _Stored:
    """Rows that lie in Parquet files."""

    def __init__(self, parts: list[Part], source: FileSource) -> None:
        self.parts = parts
        self.source = source
        self.rows = sum(part.rows for part in parts)

    def cells(self, index: int) -> list[Any]:
        return [cell for (cell,) in read_rows(self.parts, self.source, [index])]

    def as_rows(self) -> list[list[Any]]:
        return read_rows(self.parts, self.source)

    def copied(self, sink: FileSink) -> list[Part]:
        """The same files in another sink, without reading what is in them."""
        paths = ((part, self.source.local_path(part.file["path"])) for part in self.parts)
        files = (
            (part, sink.put_file(path, folder="media/table", extension=".parquet")) for part, path in paths
        )
        return [Part(file, part.rows, part.kinds) for part, file in files]


class _Logged:
    """What a sink has of a table."""

    def __init__(self, sink: FileSink, parts: PartList) -> None:
        self.sink = sink
        self.parts = parts
        self.rows = 0


def _checked_names(given: Sequence[Any]) -> list[str | int]:
    if isinstance(given, str):
        raise UsageError(f"Table columns {given!r}: expected a list of names")
    names = [name.item() if hasattr(name, "item") else name for name in given]
    for name in names:
        if isinstance(name, bool) or not isinstance(name, str | int):
            raise UsageError(f"Table column {name!r}: a column's name is text or a whole number")
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"Table column {name!r}: given twice; each column has a name of its own")
    return names


def _stored_names(names: Sequence[str | int]) -> list[str]:
    """Names for Parquet: printable, and different for readers that do not tell upper from lower case."""
    taken: set[str] = set()
    stored = []
    for i, name in enumerate(names):
        text = str(name) if str(name).isprintable() and str(name) else f"column_{i}"
        chosen, number = text, 1
        while chosen.casefold() in taken:
            chosen, number = f"{text}_{number}", number + 1
        taken.add(chosen.casefold())
        stored.append(chosen)
    return stored


def _name(label: Any) -> str | int:
    """A column's name from a DataFrame's label."""
    if isinstance(label, tuple):
        return ".".join(str(part) for part in label if part != "")
    found = label.item() if hasattr(label, "item") else label
    return found if isinstance(found, str | int) and not isinstance(found, bool) else str(found)


def _with_index(frame: Any) -> Any:
    index = frame.index
    named = any(name is not None for name in index.names)
    labels = getattr(index, "nlevels", 1) > 1 or index.dtype.kind not in "iu"
    return frame.reset_index() if named or (labels and len(index)) else frame.copy()


def _listed(names: Any) -> str:
    texts = [repr(name) for name in names]
    return ", ".join(texts[:8]) + (f", … {len(texts) - 8} more" if len(texts) > 8 else "")


def _is_foreign(kind_of_value: type) -> bool:
    return family(kind_of_value) == "json" and kind_of_value.__module__.partition(".")[0] in (
        "PIL",
        "matplotlib",
        "pandas",
        "plotly",
        "seaborn",
    )


def _cell(value: Any) -> Any:
    """Pictures and figures of other libraries as media, drawn now; anything else as it is."""
    if not _is_foreign(type(value)):
        return value
    media = as_picture(value)
    return value if media is None else media


def _same(mine: Any, theirs: Any) -> bool:
    if hasattr(mine, "tolist") or hasattr(theirs, "tolist"):
        mine = mine.tolist() if hasattr(mine, "tolist") else mine
        theirs = theirs.tolist() if hasattr(theirs, "tolist") else theirs
    if isinstance(mine, list | tuple) and isinstance(theirs, list | tuple):
        return len(mine) == len(theirs) and all(map(_same, mine, theirs))
    if isinstance(mine, dict) and isinstance(theirs, dict):
        return mine.keys() == theirs.keys() and all(_same(mine[key], theirs[key]) for key in mine)
    both_nan = (
        isinstance(mine, float) and isinstance(theirs, float) and math.isnan(mine) and math.isnan(theirs)
    )
    return both_nan or bool(mine == theirs)


def _as_numpy(column: Column) -> Any:
    np = need("numpy", "Table.get_column")
    base, _ = kind_parts(column.kind)
    if base in ("json", "media", "null"):
        cells = [cell.array if isinstance(cell, Image) else cell for cell in column.values]
        try:
            stacked = np.array(cells)
        except ValueError:  # lists of several lengths
            return array_of_column(Column(column.kind, cells))
        return stacked if stacked.dtype != object else array_of_column(Column(column.kind, cells))
    array: Any = array_of_column(column)
    if not np.ma.isMaskedArray(array):
        return array
    if base.startswith("float"):
        return array.filled(np.nan)
    if base.startswith("date"):
        return array.filled(np.datetime64("NaT"))
    return array_of_column(Column("json", array.tolist()))


def _shown(cell: Any) -> str:
    if isinstance(cell, Image):
        return cell._repr_html_()
    text = "" if cell is None else repr(cell) if isinstance(cell, Media) else str(cell)
    return html.escape(text if len(text) <= 200 else text[:199] + "…")
