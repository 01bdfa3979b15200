"""The columns of a table: what kind of values one holds, and its values as numpy arrays and pandas columns.

=====================================  =============================================================
kind                                   holds
=====================================  =============================================================
bool, int, float, text                 those; with sizes where an array or a DataFrame had them: int8, float32…
datetime, datetime[zone], date         microseconds; with a zone the instant in UTC
datetime_ns, datetime_ns[zone]         nanoseconds, from pandas
json                                   values of several kinds, lists, dictionaries, whole numbers beyond 64 bits
media                                  pictures, sounds…, alone or inside of lists, as the JSON of their values
null                                   nothing but None
=====================================  =============================================================
"""

from __future__ import annotations

import datetime
import enum
import re
import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...storage.errors import UsageError
from .base import Media
from .optional import need

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

_EXACT_IN_A_FLOAT = 1 << 53
_CHECKED_AT_ONCE = 10_000  # texts
_FIXED_ZONE = re.compile(r"UTC(?:([+-])(\d\d):(\d\d))?\Z")


@dataclass(frozen=True, slots=True)
class Column:
    """Values of one kind: an array (masked where values are missing), or a list of cells with None for missing."""

    kind: str
    values: Any

    def __len__(self) -> int:
        return len(self.values)


def family(kind_of_value: type[Any]) -> str:
    """What a value of this type is to a column.

    >>> family(bool), family(int), family(float), family(str), family(list), family(bytes)
    ('bool', 'int', 'float', 'text', 'list', 'bytes')
    """
    found = _KNOWN.get(kind_of_value)
    if found is None:
        found = _KNOWN[kind_of_value] = _family(kind_of_value)
    return found


def _family(kind_of_value: type[Any]) -> str:
    names = {f"{base.__module__.partition('.')[0]}.{base.__name__}" for base in kind_of_value.__mro__}
    if kind_of_value is type(None) or names & {"pandas.NAType", "pandas.NaTType"}:
        return "null"
    if issubclass(kind_of_value, enum.Enum):
        return "json"
    for types, found in _FAMILIES:
        if issubclass(kind_of_value, types):
            return found
    for name, found in _NUMPY_FAMILIES.items():
        if name in names:
            return found
    if issubclass(kind_of_value, Media):
        return f"media {kind_of_value.__name__}"
    return "json"


_KNOWN: dict[type[Any], str] = {}  # asked for each cell that is added
_FAMILIES: tuple[tuple[Any, str], ...] = (
    (bool, "bool"),
    (int, "int"),
    (float, "float"),
    (str, "text"),
    ((bytes, bytearray, memoryview), "bytes"),
    (datetime.datetime, "datetime"),
    (datetime.date, "date"),
    ((list, tuple, set, frozenset), "list"),
    (dict, "dict"),
)
_NUMPY_FAMILIES = {
    "numpy.bool": "bool",
    "numpy.bool_": "bool",
    "numpy.integer": "int",
    "numpy.floating": "float",
    "numpy.datetime64": "datetime",
    "numpy.ndarray": "list",
}


def column_of(values: Sequence[Any], what: str) -> Column:
    """The column that a list of Python values makes. Raises: UsageError for bytes."""
    types = set(map(type, values))
    families = {family(found) for found in types}
    if "bytes" in families:
        row = next(i for i, value in enumerate(values) if family(type(value)) == "bytes")
        raise UsageError(
            f"{what}: row {row} holds bytes, which a table does not keep; decode them to text,"
            " or make a media value of them"
        )
    cells = list(values)
    if "null" in families:
        families.discard("null")
        if any(family(found) == "null" and found is not type(None) for found in types):
            cells = [None if family(type(cell)) == "null" else cell for cell in cells]
    if not families:
        return Column("null", cells)
    if any(found.startswith("media") for found in families):
        return Column("media", cells)
    if families == {"bool"}:
        return Column("bool", _plainly(cells, types, bool))
    if families == {"int"}:
        cells = _plainly(cells, types, int)
        present = [cell for cell in cells if cell is not None] if None in cells else cells
        if min(present) >= -(1 << 63) and max(present) < 1 << 63:
            return Column("int", cells)
    elif families <= {"int", "float"}:
        if _floats_are_exact(cells, families):
            return Column("float", _plainly(cells, types, float))
    elif families == {"text"}:
        cells = _plainly(cells, types, str)
        if _encodable(cells):
            return Column("text", cells)
    elif families == {"datetime"}:
        return _datetimes(cells)
    elif families == {"date"}:
        return Column("date", cells)
    return Column("json", cells)


def _plainly(cells: list[Any], types: set[type], to: type) -> list[Any]:
    """Cells of exactly one type: numpy's scalars and subclasses become it."""
    if types <= {to, type(None)}:
        return cells
    if to is str:
        return [cell if cell is None else str.__str__(cell) for cell in cells]
    return [cell if cell is None else to(cell) for cell in cells]


def _floats_are_exact(cells: list[Any], families: set[str]) -> bool:
    if families == {"float"}:
        return all(cell is None or type(cell).__name__ != "longdouble" for cell in cells)
    return all(
        cell is None or family(type(cell)) == "float" or -_EXACT_IN_A_FLOAT <= cell <= _EXACT_IN_A_FLOAT
        for cell in cells
    )


def _encodable(texts: list[Any]) -> bool:
    """Whether all have a UTF-8 form: a lone surrogate has none, JSON keeps it."""
    try:
        for start in range(0, len(texts), _CHECKED_AT_ONCE):
            "".join(filter(None, texts[start : start + _CHECKED_AT_ONCE])).encode()
    except UnicodeEncodeError:
        return False
    return True


def _datetimes(cells: list[Any]) -> Column:
    """Naive times, times of one zone as instants, or nanoseconds; of several zones as JSON."""
    fine = any(getattr(cell, "nanosecond", 0) or type(cell).__name__ == "datetime64" for cell in cells)
    if fine:
        pandas = need("pandas", "a column of nanoseconds")
        try:
            return series_column(pandas.Series(pandas.DatetimeIndex(cells)), "column")
        except (ValueError, TypeError):
            return Column(
                "json", [cell.isoformat() if hasattr(cell, "isoformat") else str(cell) for cell in cells]
            )
    zones = {
        None if cell.tzinfo is None else (zone_name(cell.tzinfo) or "?") for cell in cells if cell is not None
    }
    if len(zones) > 1 or "?" in zones:
        return Column("json", cells)
    (zone,) = zones
    naive = [cell if cell is None else _instant(cell) for cell in cells]
    if None in naive and naive.count(None) > cells.count(None):
        return Column("json", cells)  # an instant before year 1 or after 9999 in UTC
    return Column("datetime" if zone is None else f"datetime[{zone}]", naive)


def _instant(time: datetime.datetime) -> datetime.datetime | None:
    if time.tzinfo is None:
        return datetime.datetime.combine(time.date(), time.time())  # pandas' subclass becomes the plain class
    try:
        found = time.astimezone(datetime.UTC)
    except OverflowError:
        return None
    return datetime.datetime.combine(found.date(), found.time())


def zone_name(zone: Any) -> str | None:
    """A name that `zone_of` and pandas understand; None for a zone without one."""
    name = getattr(zone, "key", None) or getattr(zone, "zone", None) or str(zone)
    return name if zone_of(name) is not None else None


def zone_of(name: str) -> datetime.tzinfo | None:
    """The zone of that name: UTC, UTC+02:00, Europe/Paris; None when this machine does not know it."""
    fixed = _FIXED_ZONE.match(name)
    if fixed is not None:
        sign, hours, minutes = fixed.groups()
        if sign is None:
            return datetime.UTC
        offset = datetime.timedelta(hours=int(hours), minutes=int(minutes))
        return datetime.timezone(-offset if sign == "-" else offset)
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return None


def kind_parts(kind: str) -> tuple[str, str | None]:
    """A kind without its zone, and the zone.

    >>> kind_parts("datetime[UTC]"), kind_parts("int")
    (('datetime', 'UTC'), ('int', None))
    """
    base, _, zone = kind.partition("[")
    return base, zone[:-1] or None


def series_column(series: pd.Series[Any], what: str) -> Column:
    """The column that a column of a DataFrame makes, without a look at each cell where its type is known."""
    np, pandas = need("numpy", "Table"), need("pandas", "Table")
    dtype: Any = series.dtype
    name = str(dtype)
    if isinstance(dtype, pandas.CategoricalDtype):
        return series_column(series.astype(dtype.categories.dtype), what)
    if dtype.kind == "M":
        return _series_datetimes(series)
    if dtype.kind == "m":
        return Column("float", (series / pandas.Timedelta(seconds=1)).to_numpy(dtype=np.float64))
    if dtype.kind in "biuf" and not isinstance(dtype, pandas.SparseDtype):
        missing = series.isna().to_numpy() if not isinstance(dtype, np.dtype) else None
        plain_name = name.lower().partition("[")[0]
        kind = {"boolean": "bool", "int64": "int", "float64": "float", "double": "float"}.get(
            plain_name, plain_name
        )
        if missing is None or not missing.any():
            values = series.to_numpy(dtype=None if missing is None else _numpy_type(np, kind))
        else:
            filled = series.to_numpy(dtype=_numpy_type(np, kind), na_value=0)
            values = np.ma.masked_array(filled, missing)
        if kind in ("float16", "float128", "longdouble"):
            kind, values = (
                ("float32" if kind == "float16" else "float"),
                values.astype(np.float32 if kind == "float16" else np.float64),
            )
        return Column(kind, values)
    cells = series.astype(object).tolist()
    if name.startswith(("period", "interval")):
        missing_cells = series.isna().tolist()
        texts = (None if lacks else str(cell) for cell, lacks in zip(cells, missing_cells, strict=True))
        return Column("text", list(texts))
    if name.startswith("str"):
        cells = [cell if isinstance(cell, str) else None for cell in cells]
    return column_of(cells, what)


def _numpy_type(np: Any, kind: str) -> Any:
    return np.dtype({"bool": "bool", "int": "int64", "float": "float64"}.get(kind, kind))


def _series_datetimes(series: pd.Series[Any]) -> Column:
    np = need("numpy", "Table")
    zone = getattr(series.dtype, "tz", None)
    suffix = ""
    if zone is not None:
        name = zone_name(zone)
        suffix = f"[{name or 'UTC'}]"
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    times = series.to_numpy()
    fine = times.dtype == np.dtype("datetime64[ns]")
    if fine and (times.astype(np.int64)[~np.isnat(times)] % 1000 != 0).any():
        return Column("datetime_ns" + suffix, times)
    return Column("datetime" + suffix, times.astype("datetime64[us]"))


def array_of_column(column: Column) -> NDArray[Any]:
    """The values as a numpy array, masked where they are missing; of objects for text, JSON and media."""
    np = need("numpy", "Table")
    values = column.values
    if not isinstance(values, list):
        array: NDArray[Any] = values
        return array
    base, _ = kind_parts(column.kind)
    if base in ("datetime", "date"):
        unit = "datetime64[us]" if base == "datetime" else "datetime64[D]"
        return np.array(values, dtype=unit).astype("datetime64[us]")  # type: ignore[no-any-return]
    if base in ("bool", "int", "float"):
        dtype = _numpy_type(np, base)
        if None not in values:
            return np.array(values, dtype=dtype)  # type: ignore[no-any-return]
        missing = np.fromiter((cell is None for cell in values), bool, len(values))
        filled = np.array([0 if cell is None else cell for cell in values], dtype=dtype)
        masked: NDArray[Any] = np.ma.masked_array(filled, missing)
        return masked
    objects: NDArray[Any] = np.empty(len(values), dtype=object)
    objects[:] = values
    return objects


def pandas_column(column: Column) -> Any:
    """The values as what becomes a column of a DataFrame; whole numbers with gaps stay whole (``Int64``)."""
    np, pandas = need("numpy", "Table"), need("pandas", "Table.get_dataframe")
    base, zone = kind_parts(column.kind)
    if base in ("json", "media", "null"):
        return pandas.Series(list(column.values), dtype=object)
    if base == "text":
        return pandas.Series(column.values if isinstance(column.values, list) else column.values.tolist())
    array = array_of_column(column)
    if np.ma.isMaskedArray(array):
        data, missing = np.ma.getdata(array), np.ma.getmaskarray(array)
        if base.startswith("datetime") or base == "date":
            array = np.where(missing, np.datetime64("NaT"), data)
        elif base.startswith("float"):
            array = np.where(missing, np.array(np.nan, data.dtype), data)
        elif not missing.any():
            array = data
        else:
            nullable = pandas.arrays.BooleanArray if base == "bool" else pandas.arrays.IntegerArray
            return pandas.Series(nullable(np.array(data), np.array(missing)))
    series = pandas.Series(array)
    if zone is not None:
        series = series.dt.tz_localize("UTC")
        series = series.dt.tz_convert(zone) if zone_of(zone) is not None else series
    return series


def cells_of_column(column: Column) -> list[Any]:
    """The values as Python values, None for missing."""
    base, zone_text = kind_parts(column.kind)
    values = column.values
    cells: list[Any] = values if isinstance(values, list) else values.tolist()
    if base == "date" and not isinstance(values, list):
        return [None if cell is None else cell.date() for cell in cells]  # numpy has it as a time
    if base == "datetime_ns":
        return [_fine_time(cell, zone_text) for cell in cells]  # numpy gives nanoseconds as numbers
    if zone_text is not None:
        return [zoned(cell, zone_text) for cell in cells]
    return cells


def zoned(time: datetime.datetime | None, name: str) -> datetime.datetime | None:
    """An instant, kept without a zone in UTC, in its zone again."""
    if time is None:
        return None
    found = time.replace(tzinfo=datetime.UTC)
    zone = zone_of(name)
    return found if zone is None else found.astimezone(zone)


def _fine_time(nanoseconds: int | None, name: str | None) -> Any:
    """A plain datetime where it says all; else pandas' class, which has nanoseconds."""
    if nanoseconds is None or nanoseconds == -(1 << 63):
        return None
    microseconds, rest = divmod(nanoseconds, 1000)
    if rest:
        time = need("pandas", "a time with nanoseconds").Timestamp(nanoseconds)
        return time if name is None else time.tz_localize("UTC").tz_convert(zone_of(name) or "UTC")
    plainly = datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=microseconds)  # noqa: DTZ001
    return plainly if name is None else zoned(plainly, name)


def joined(columns: Sequence[Column], what: str) -> Column:
    """The values of columns behind each other as one column."""
    if len(columns) == 1:
        return columns[0]
    kinds = {column.kind for column in columns}
    if len(kinds) == 1 and not any(isinstance(column.values, list) for column in columns):
        np = need("numpy", "Table")
        return Column(columns[0].kind, np.ma.concatenate([column.values for column in columns]))
    return column_of([cell for column in columns for cell in cells_of_column(column)], what)


def merged_kind(kinds: Sequence[str]) -> str:
    """The kind of a column whose parts have these kinds."""
    found = dict.fromkeys(kind for kind in kinds if kind != "null")
    if len(found) <= 1:
        return next(iter(found), "null")
    bases = {re.sub(r"\d+\Z", "", kind).removeprefix("u") for kind in found}
    if bases <= {"int", "float"}:
        return "float" if "float" in bases else "int"
    return "media" if "media" in found else "json"
