from __future__ import annotations

import datetime
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sink import FolderSink, kinds, stored

from lineart.storage.errors import UsageError
from lineart.tracking.media import Html, Image, Table

UTC = datetime.UTC
dt = datetime.datetime


def same(mine: Any, theirs: Any) -> bool:
    """Equal with the same types, NaN as itself."""
    if isinstance(mine, list) and isinstance(theirs, list):
        return len(mine) == len(theirs) and all(map(same, mine, theirs))
    if isinstance(mine, dict) and isinstance(theirs, dict):
        return mine.keys() == theirs.keys() and all(same(mine[key], theirs[key]) for key in mine)
    if isinstance(mine, float) and math.isnan(mine):
        return isinstance(theirs, float) and math.isnan(theirs)
    numbers = (int, float)
    if type(mine) in numbers and type(theirs) in numbers:
        return bool(mine == theirs)
    return type(mine) is type(theirs) and mine == theirs


# What comes back

CELLS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.characters(categories=["Cs"])
    | st.datetimes()
    | st.dates()
    | st.datetimes(timezones=st.just(UTC))
    | st.lists(st.integers() | st.text(max_size=3) | st.floats(), max_size=3)
    | st.dictionaries(st.sampled_from(["a", "é"]), st.none() | st.integers(), max_size=2)
)
ONE_KIND = st.one_of(
    *(
        st.lists(st.none() | kind, min_size=0, max_size=8)
        for kind in (
            st.booleans(),
            st.integers(),
            st.floats(),
            st.text(),
            st.datetimes(),
            st.dates(),
            st.datetimes(timezones=st.just(UTC)),
            CELLS,
        )
    )
)


@given(columns=st.lists(ONE_KIND, min_size=1, max_size=3))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_cell_comes_back_as_it_was(columns: list[list[Any]], tmp_path: Path) -> None:
    length = min(map(len, columns))
    names: list[str | int] = [f"c{index}" for index in range(len(columns))]
    rows = [[column[row] for column in columns] for row in range(length)]
    table = Table(columns=names, data=rows, allow_mixed_types=True)
    again = stored(table, FolderSink(tmp_path))
    assert same(again.data, rows), (again.data, rows)
    assert again == table
    assert len(stored(table, FolderSink(tmp_path)).get_dataframe()) == length


@pytest.mark.parametrize(
    "values, kind",
    [
        ([True, None, False], "bool"),
        ([1, None, -(2**63)], "int"),
        ([1.5, float("nan"), None, float("inf"), -0.0], "float"),
        ([1, 2.5], "float"),
        ([2**53 + 1, 0.5], "json"),  # a float does not hold it
        ([2**63], "json"),
        ([10**400, 1], "json"),
        (["a\0b", "", None, "日本"], "text"),
        (["\ud800"], "json"),
        ([dt(1, 1, 1), None, dt(9999, 12, 31, 23, 59, 59, 999999)], "datetime"),
        ([datetime.datetime(2020, 1, 1, tzinfo=UTC)], "datetime[UTC]"),
        ([datetime.date(1, 1, 1), None, datetime.date(9999, 12, 31)], "date"),
        ([[1, [2.5, None]], []], "json"),
        ([{"a": {"b": [1]}}, None], "json"),
        ([None, None], "null"),
    ],
)
@pytest.mark.parametrize("with_numpy", [True, False])
def test_kinds_of_columns(
    values: list[Any], kind: str, with_numpy: bool, sink: FolderSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not with_numpy:
        monkeypatch.delitem(sys.modules, "numpy")
    table = Table(columns=["x"], data=[[value] for value in values])
    assert kinds(table, sink) == [kind]
    again = stored(table, sink)
    assert same(again.data, [[value] for value in values])
    assert math.copysign(1, -0.0) == -1


def test_same_file_with_and_without_numpy(sink: FolderSink, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [[i, i / 3, f"t{i}", None if i % 2 else True, float("nan")] for i in range(100)]
    first = Table(columns=list("abcde"), data=rows).to_value(sink)
    monkeypatch.delitem(sys.modules, "numpy")
    assert Table(columns=list("abcde"), data=rows).to_value(sink) == first
    assert len(sink.files()) == 1


def test_numpy_scalars_and_other_values_become_plain_ones(sink: FolderSink) -> None:
    import enum
    import pathlib

    class Colour(enum.Enum):
        RED = "red"

    rows = [
        [np.float32(0.5), np.int8(3), np.bool_(True), np.str_("x"), np.array([1, 2]), Colour.RED, (1, 2)],
        [0.25, np.uint64(2**64 - 1), False, "y", [3], Colour.RED, [3]],
    ]
    again = stored(Table(columns=list("abcdefg"), data=rows), sink)
    assert same(
        again.data,
        [[0.5, 3, True, "x", [1, 2], "red", [1, 2]], [0.25, 2**64 - 1, False, "y", [3], "red", [3]]],
    )
    assert stored(Table(columns=["p"], data=[[pathlib.Path("/a")]]), sink).data == [["/a"]]


def test_times_keep_their_zone(sink: FolderSink) -> None:
    import zoneinfo

    paris = datetime.datetime(2020, 7, 1, 12, tzinfo=zoneinfo.ZoneInfo("Europe/Paris"))
    fixed = datetime.datetime(
        2020, 7, 1, 12, tzinfo=datetime.timezone(datetime.timedelta(hours=-3, minutes=-30))
    )
    table = Table(columns=["paris", "fixed", "both"], data=[[paris, fixed, paris], [None, fixed, fixed]])
    assert kinds(table, sink) == ["datetime[Europe/Paris]", "datetime[UTC-03:30]", "json"]
    again = stored(table, sink)
    assert again.data == table.data
    assert [cell.utcoffset() for cell in again.data[0]] == [cell.utcoffset() for cell in table.data[0]]
    frame = stored(table, sink).get_dataframe()
    assert frame["paris"][0] == paris
    assert str(frame["fixed"].dtype) in ("datetime64[us, UTC-03:30]", "datetime64[us, UTC-3:30]")


# Adding, and what is refused


def test_rows_and_columns_are_added() -> None:
    table = Table(columns=["a", 7])
    table.add_data(1, "x")
    table.add_row(2, "y")
    table.add_column("c", np.array([0.5, 1.5]))
    table.add_computed_columns(lambda index, row: {"d": index + row["a"], "e": row[7] * 2})
    assert table.columns == ["a", 7, "c", "d", "e"]
    assert table.data == [[1, "x", 0.5, 1, "xx"], [2, "y", 1.5, 3, "yy"]]
    assert list(table.iterrows()) == [(0, table.data[0]), (1, table.data[1])]
    assert table.get_index() == [0, 1]
    assert table.get_column(7) == ["x", "y"]
    assert Table().columns == ["Input", "Output", "Expected"]
    empty = Table(columns=[])
    empty.add_column("a", [1, 2])
    assert empty.data == [[1], [2]]


def test_given_lists_are_not_touched() -> None:
    rows = [[1, 2], [3, 4]]
    table = Table(columns=["a", "b"], data=rows)
    table.add_data(5, 6)
    table.add_column("c", [0, 0, 0])
    assert rows == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    "act, message",
    [
        (lambda table: table.add_data(1), r"row 1: 1 values for 2 columns \('n', 't'\)"),
        (
            lambda table: table.add_data("x", "y"),
            "row 1, column 'n': str in a column of int; .*allow_mixed_types",
        ),
        (lambda table: table.add_data(True, "y"), "bool in a column of int"),
        (lambda table: table.add_data(1, b"y"), "column 't': a table does not keep bytes"),
        (lambda table: table.add_column("n", [1]), "'n': given twice"),
        (lambda table: table.add_column("x", [1, 2]), "2 values for 1 rows"),
        (lambda table: table.add_column("x", [b"1"]), "does not keep bytes"),
        (lambda table: table.get_column("x"), "no column 'x'; there are 'n', 't'"),
        (lambda table: table.get_column("n", convert_to="torch"), "convert_to 'torch'"),
    ],
)
def test_bad_rows_and_columns_are_refused(act: Callable[[Table], Any], message: str) -> None:
    table = Table(columns=["n", "t"], data=[[1, "a"]])
    with pytest.raises(UsageError, match=message):
        act(table)
    assert table.data == [[1, "a"]]  # nothing was half added


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"columns": "ab"}, "expected a list of names"),
        ({"columns": ["a", "a"]}, "'a': given twice"),
        ({"columns": [1.5]}, "1.5: a column's name"),
        ({"columns": ["a"], "data": [[1, 2]]}, "row 0: 2 values for 1 columns"),
        ({"columns": ["a"], "data": ["x"]}, "str is not a row"),
        ({"columns": ["a"], "data": [3]}, "int is not a row"),
        ({"columns": ["a"], "data": np.zeros(3)}, r"shape \(3,\)"),
        ({"columns": ["a"], "data": [[1]], "rows": [[1]]}, "give one of"),
        ({"dataframe": [[1]]}, "list is not a pandas DataFrame"),
        ({"columns": ["a"], "log_mode": "MAYBE"}, "log_mode 'MAYBE'"),
        ({"columns": ["a"], "dtype": "int"}, "dtype 'int'"),
        ({"columns": ["a"], "dtype": [int, str]}, "2 given for 1 columns"),
        ({"columns": ["a"], "data": [[b"x"]]}, "does not keep bytes"),
        ({"columns": ["a"], "data": [[1.5]], "dtype": int}, "float in a column of int"),
        ({"columns": ["a"], "data": [[None]], "optional": False}, "not optional"),
        ({"columns": ["a"], "data": [[Html("x")]], "dtype": Image}, "Html in a column of media Image"),
    ],
)
def test_bad_tables_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Table(**arguments)


def test_types_that_were_asked_for_are_taken_in() -> None:
    table = Table(
        columns=["a", "b", "c", "d"], dtype=[float, str, object, Image], optional=[True, True, False, True]
    )
    table.add_data(1, "x", 1, Image(np.zeros((1, 1))))
    table.add_data(2.5, None, "anything", None)
    table.add_data(np.float32(1), np.str_("x"), [1], None)
    assert len(table) == 3


def test_cell_that_cannot_be_kept_is_named(sink: FolderSink) -> None:
    with pytest.raises(UsageError, match=r"Table column 'x' row 1.*object"):
        Table(columns=["x"], data=[[1], [object()]], allow_mixed_types=True).to_value(sink)
    table = Table(columns=["x"])
    table.data.append([b"x"])  # past the check of add_data
    with pytest.raises(UsageError, match=r"Table column 'x'.*row 0.*bytes"):
        table.to_value(sink)


@pytest.mark.parametrize(
    "names", [["a", "A", "a_1"], ["", " ", "x\ny"], ['"', "';--", "%"], [0, "0", 1], ["é", "日本", "c0"]]
)
def test_odd_names_come_back(names: list[str | int], sink: FolderSink) -> None:
    table = Table(columns=names, data=[[1, 2, 3]])
    again = stored(table, sink)
    assert again.columns == names
    assert again.data == [[1, 2, 3]]
    assert list(again.get_dataframe().columns) == names


def test_empty_tables_come_back(sink: FolderSink) -> None:
    for table in (Table(columns=["a", "b"]), Table(columns=[])):
        again = stored(table, sink)
        assert again == table
        assert again.data == []
        assert again.get_dataframe().shape == (0, len(table.columns))
    assert stored(Table(columns=["a"]), sink).get_column("a") == []


# DataFrames


def test_dataframe_comes_back_with_its_types(sink: FolderSink) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "int": [1, 2],
            "small": np.array([1, 2], np.int8),
            "big": np.array([2**64 - 1, 0], np.uint64),
            "gaps": pandas.array([2**60 + 1, None], dtype="Int64"),
            "maybe": pandas.array([True, None], dtype="boolean"),
            "float": [0.5, float("nan")],
            "single": np.array([0.1, float("nan")], np.float32),
            "text": ["x", None],
            "time": pandas.to_datetime(["2020-01-01", None]),
            "zone": pandas.to_datetime(["2020-01-01", "2020-07-01"]).tz_localize("Europe/Berlin"),
            "nano": np.array(["2020-01-01T00:00:00.123456789", "NaT"], "datetime64[ns]"),
            "list": [[1], {"a": 2}],
        }
    )
    again = stored(Table(dataframe=frame), sink).get_dataframe()
    for name in frame.columns:
        if name not in ("time", "zone"):  # their unit becomes microseconds
            assert again[name].dtype == frame[name].dtype, name
        pandas.testing.assert_series_equal(again[name], frame[name], check_dtype=False)
    rows = stored(Table(dataframe=frame), sink).data
    assert rows[0][:4] == [1, 1, 2**64 - 1, 2**60 + 1]
    assert rows[1][3] is None
    assert rows[0][10].nanosecond == 789
    assert rows[1][10] is None


def test_dataframe_columns_of_other_types(sink: FolderSink) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "category": pandas.Categorical(["x", None, "x"]),
            "numbers": pandas.Categorical([1, 2, 1]),
            "seconds": pandas.to_timedelta([1.5, 2, None], unit="s"),
            "half": np.array([1, 2, 3], np.float16),
            "period": pandas.period_range("2020", periods=3, freq="D"),
            "interval": pandas.interval_range(0, 3),
            "mixed": [1, "x", None],
        }
    )
    rows = stored(Table(dataframe=frame), sink).data
    assert same(rows[0], ["x", 1, 1.5, 1.0, "2020-01-01", "(0, 1]", 1])
    assert same(rows[2], ["x", 1, float("nan"), 3.0, "2020-01-03", "(2, 3]", None])
    assert rows[1][0] is None


def test_index_with_a_meaning_becomes_columns() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2, 3], "b": [4, 5, 6]})
    assert Table(dataframe=frame[frame.a > 1]).data == [[2, 5], [3, 6]]
    assert Table(dataframe=frame.groupby("a").sum()).columns == ["a", "b"]
    assert Table(dataframe=frame.describe()).columns == ["index", "a", "b"]
    columns = pandas.DataFrame([[1, 2]], columns=pandas.MultiIndex.from_tuples([("a", "mean"), ("a", "")]))
    assert Table(dataframe=columns).columns == ["a.mean", "a"]


def test_dataframe_may_be_changed_afterwards(sink: FolderSink) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2]})
    table = Table(data=frame)
    frame.loc[0, "a"] = 99
    table.add_data(3)
    assert stored(table, sink).data == [[1], [2], [3]]
    assert table.get_column("a") == [1, 2, 3]
    assert Table(dataframe=frame, columns=["b"]).columns == ["b"]
    with pytest.raises(UsageError, match="2 columns named, the DataFrame has 1"):
        Table(dataframe=frame, columns=["b", "c"])


def test_frame_of_rows_in_memory_is_that_of_stored_ones(sink: FolderSink) -> None:
    pandas = pytest.importorskip("pandas")
    rows = [[1, 0.5, "a", True, None, [1]], [None, float("nan"), None, None, None, "x"]]
    table = Table(columns=list("abcdef"), data=rows, allow_mixed_types=True)
    frame = table.get_dataframe()
    pandas.testing.assert_frame_equal(stored(table, sink).get_dataframe(), frame)
    assert str(frame["a"].dtype) == "Int64"


def test_columns_as_arrays(sink: FolderSink) -> None:
    pixels = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
    rows = [[1, 0.5, "a", [1, 2], Image(pixels[0]), None], [2, None, "b", [3, 4], Image(pixels[1]), 5]]
    table = Table(columns=list("abcdef"), data=rows)
    for made in (table, stored(table, sink)):
        assert made.get_column("a", convert_to="numpy").dtype == np.int64
        assert np.isnan(made.get_column("b", convert_to="numpy")[1])
        assert made.get_column("c", convert_to="numpy").tolist() == ["a", "b"]
        assert made.get_column("d", convert_to="numpy").shape == (2, 2)
        assert np.array_equal(made.get_column("e", convert_to="numpy"), pixels)
        assert made.get_column("f", convert_to="numpy").tolist() == [None, 5]
