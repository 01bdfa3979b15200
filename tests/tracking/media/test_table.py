from __future__ import annotations

import copy
import datetime
import json
import math
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sink import FolderSink

from lineart.storage.errors import IntegrityError, NotFoundError, UsageError
from lineart.tracking.media import Audio, Html, Image, JoinedTable, Table, load_media

UTC = datetime.UTC


def stored(table: Table, sink: FolderSink) -> Table:
    value = json.loads(json.dumps(table.to_value(sink), allow_nan=False))
    assert value["_type"] == "table-file"
    assert value["nrows"] == len(table)
    again = load_media(value, sink)
    assert isinstance(again, Table)
    return again


def kinds(table: Table, sink: FolderSink) -> list[str]:
    return [column["kind"] for column in table.to_value(sink)["columns"]]


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


@given(st.lists(ONE_KIND, min_size=1, max_size=3))
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
        ([datetime.datetime(1, 1, 1), None, datetime.datetime(9999, 12, 31, 23, 59, 59, 999999)], "datetime"),
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
    with pytest.raises(UsageError, match="Table column 'x' row 1.*object"):
        Table(columns=["x"], data=[[1], [object()]], allow_mixed_types=True).to_value(sink)
    with pytest.raises(UsageError, match="Table column 'x'.*row 0.*bytes"):
        table = Table(columns=["x"])
        table.data.append([b"x"])  # past the check of add_data
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


# Media in cells


def test_media_in_cells_come_back_as_media(sink: FolderSink) -> None:
    picture = Image(np.eye(3), caption="eye", masks={"m": {"mask_data": np.eye(3, dtype=int)}})
    rows = [
        [1, picture, [picture, Audio(np.zeros(5), 8000)], Html("<b>")],
        [2, None, [], Html("<i>")],
    ]
    table = Table(columns=["id", "image", "several", "page"], data=rows)
    assert kinds(table, sink) == ["int", "media", "media", "media"]
    again = stored(table, sink)
    assert again.data == rows
    assert again.get_dataframe()["image"][0] == picture
    pictures = [path for path in sink.files() if path.startswith("media/images/") and "mask" not in path]
    assert len(pictures) == 1  # three times in the table


def test_pictures_and_figures_in_cells_become_media(sink: FolderSink) -> None:
    figure_module = pytest.importorskip("matplotlib.figure")
    figure = figure_module.Figure(figsize=(1, 1))
    table = Table(columns=["a"], data=[[PIL.Image.new("L", (2, 2))]])
    table.add_data(figure)
    figure.set_size_inches(2, 2)  # drawn already
    again = stored(table, sink).data
    assert [(cell.width, cell.height) for (cell,) in again] == [(2, 2), (100, 100)]


def test_table_with_media_is_copied_with_its_files(sink: FolderSink, tmp_path: Path) -> None:
    other = FolderSink(tmp_path / "other")
    again = stored(Table(columns=["a"], data=[[Image(np.eye(2))]]), sink)
    copied = stored(again, other)
    assert copied.data == again.data
    assert [path for path in other.files() if "images" in path]


def test_dictionary_that_looks_like_media_stays_a_dictionary(sink: FolderSink) -> None:
    rows = [[{"_type": "image-file"}]]
    assert stored(Table(columns=["a"], data=rows), sink).data == rows


# Logging again


def test_incremental_table_stores_only_what_is_new(sink: FolderSink) -> None:
    table = Table(columns=["step", "text"], log_mode="INCREMENTAL")
    values = []
    for step in range(5):
        table.add_data(step, f"t{step}")
        sink.written.clear()
        values.append(table.to_value(sink))
        assert len(sink.written) == 1
    assert table.to_value(sink) == values[-1]
    for count, value in enumerate(values, 1):  # each value is whole by itself
        assert load_media(value, sink).data == [[i, f"t{i}"] for i in range(count)]  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    assert [part["nrows"] for part in values[-1]["parts"]] == [1] * 5
    frame = Table.from_value(values[-1], sink).get_dataframe()
    assert frame["step"].tolist() == [0, 1, 2, 3, 4]


def test_value_of_many_increments_stays_small(sink: FolderSink) -> None:
    table = Table(columns=["x"], log_mode="INCREMENTAL")
    value: dict[str, Any] = {}
    for step in range(150):
        table.add_data(step % 3)  # parts of the same content are one file that is named several times
        value = table.to_value(sink)
        assert len(value["parts"]) <= 32
    assert len(json.dumps(value)) < 8000
    again = load_media(json.loads(json.dumps(value)), sink)
    assert isinstance(again, Table)
    assert again.get_dataframe()["x"].tolist() == again.get_column("x") == [step % 3 for step in range(150)]
    assert again.data == [[step % 3] for step in range(150)]


def test_increments_of_other_kinds_come_back_exactly(sink: FolderSink) -> None:
    pytest.importorskip("pandas")
    table = Table(columns=["x"], log_mode="INCREMENTAL", allow_mixed_types=True)
    cells = [None, 2**62 + 1, 0.5, "text", [1], True, None, Image(np.eye(2)), datetime.date(2020, 1, 1)]
    for cell in cells:
        table.add_data(cell)
        value = table.to_value(sink)
    again = Table.from_value(value, sink)
    assert again.get_dataframe()["x"].tolist() == cells
    assert again.get_column("x") == cells
    assert [row[0] for row in again.data] == cells
    assert value["columns"] == [{"name": "x", "kind": "media"}]


def test_read_table_goes_on_growing_without_being_read(sink: FolderSink, tmp_path: Path) -> None:
    table = Table(columns=["x"], data=[[1], [2]], log_mode="INCREMENTAL")
    again = stored(table, sink)
    assert again.log_mode == "INCREMENTAL"
    again.add_data(3)
    other = FolderSink(tmp_path / "other")
    value = again.to_value(other)
    assert [part["nrows"] for part in value["parts"]] == [2, 1]
    assert value["parts"][0]["digest"] == table.to_value(sink)["parts"][0]["digest"]
    assert len(again) == 3
    assert again.get_column("x") == [1, 2, 3]
    assert Table.from_value(value, other).data == [[1], [2], [3]]


@pytest.mark.parametrize("mode", ["IMMUTABLE", "MUTABLE"])
def test_other_tables_are_stored_whole_with_all_changes(mode: str, sink: FolderSink) -> None:
    table = Table(columns=["x"], data=[[1]], log_mode=mode)
    first = table.to_value(sink)
    sink.written.clear()
    assert table.to_value(sink) == first
    assert sink.written == []  # nothing new
    table.add_data(2)
    table.add_column("y", ["a", "b"])
    assert stored(table, sink).data == [[1, "a"], [2, "b"]]
    table.data[0][0] = 9
    assert stored(table, sink).data == [[9, "a"], [2, "b"]]


def test_incremental_table_refuses_what_it_cannot_keep(sink: FolderSink) -> None:
    table = Table(columns=["x"], data=[[1], [2]], log_mode="INCREMENTAL")
    table.to_value(sink)
    with pytest.raises(UsageError, match="gets no columns once it is logged"):
        table.add_column("y", [1, 2])
    table.data.pop()
    with pytest.raises(UsageError, match="2 rows were logged and 1 are left"):
        table.to_value(sink)


def test_copies_of_a_logged_table_are_tables(sink: FolderSink) -> None:
    table = Table(columns=["x"], data=[[1]], log_mode="INCREMENTAL")
    table.to_value(sink)
    assert copy.deepcopy(table) == pickle.loads(pickle.dumps(table)) == table


# Faults


def test_missing_and_broken_files_are_named(sink: FolderSink) -> None:
    value = Table(columns=["x"], data=[[1]]).to_value(sink)
    path = sink.root / value["parts"][0]["path"]
    path.write_bytes(b"no Parquet")
    with pytest.raises(IntegrityError, match=r"media/table/.*art verify"):
        _ = Table.from_value(value, sink).data
    path.unlink()
    with pytest.raises(NotFoundError):
        Table.from_value(value, sink).get_dataframe()


@pytest.mark.parametrize(
    "change",
    [{"parts": None}, {"parts": [{}]}, {"columns": 3}, {"columns": []}, {"parts": [{"path": "x"}]}],
)
def test_incomplete_value_is_refused(change: dict[str, Any], sink: FolderSink) -> None:
    value = {**Table(columns=["x"], data=[[1]]).to_value(sink), **change}
    with pytest.raises(IntegrityError):
        Table.from_value(value, sink)


@pytest.mark.parametrize("folder", ["[ab]*?", "a=1", "it's", "Größe"])
def test_odd_folders_are_read(folder: str, tmp_path: Path) -> None:
    sink = FolderSink(tmp_path / folder)
    again = stored(Table(columns=["x"], data=[[1]]), sink)
    assert again.data == [[1]]
    assert again.columns == ["x"]


def test_large_table_is_stored_and_read_in_order(sink: FolderSink) -> None:
    pandas = pytest.importorskip("pandas")
    count = 300_000  # more than two row groups
    frame = pandas.DataFrame({"i": range(count), "t": [f"t{i}" for i in range(count)]})
    again = stored(Table(dataframe=frame), sink)
    assert len(again) == count
    assert again.get_dataframe().equals(frame)


def test_table_is_stored_and_read_without_numpy_and_pandas(tmp_path: Path) -> None:
    program = f"""
import sys
for name in ("numpy", "pandas", "PIL"):
    sys.modules[name] = None
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from sink import FolderSink
from lineart.storage.errors import UsageError
from lineart.tracking.media import Table, load_media
sink = FolderSink(Path({str(tmp_path)!r}))
rows = [[1, 0.5, "a", None, [1]], [2, float("inf"), None, True, {{"b": 2}}]]
table = Table(columns=list("abcde"), data=rows, allow_mixed_types=True)
again = load_media(table.to_value(sink), sink)
assert again.data == rows, again.data
assert again.get_column("a") == [1, 2]
try:
    again.get_dataframe()
except UsageError as error:
    assert "pandas" in str(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


# Joined tables, and how tables are shown


def test_tables_are_joined_by_key(sink: FolderSink) -> None:
    left = Table(columns=["id", "x"], data=[[1, "a"], [2, "b"], [None, "c"]])
    right = Table(
        columns=["key", "x", "y"], data=[[2, "B", 20], [2.0, "BB", 21], [9, "Z", 90], [None, "N", 0]]
    )
    joined = JoinedTable(left, right, ["id", "key"])
    value = json.loads(json.dumps(joined.to_value(sink)))
    assert value["_type"] == "joined-table"
    again = load_media(value, sink)
    assert isinstance(again, JoinedTable)
    assert again == joined
    matched = [[2, "b", "B", 20], [2, "b", "BB", 21]]
    assert again.join("inner").data == matched
    assert again.join("inner").columns == ["id", "x_1", "x_2", "y"]
    alone = [[1, "a", None, None], *matched, [None, "c", None, None]]
    assert again.join("left").data == alone
    assert again.join().data == [*alone, [9, None, "Z", 90], [None, None, "N", 0]]
    assert len(again.get_dataframe()) == 6


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((1, "id"), "int is not a Table"),
        ((Table(columns=["id"]), "x"), "table_1 has no column 'x'"),
        ((Table(columns=["x"]), "id"), "table_2 has no column 'id'"),
        ((Table(columns=["id"]), ["id"]), "expected a column, or one for each table"),
    ],
)
def test_tables_that_cannot_be_joined_are_refused(arguments: tuple[Any, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        JoinedTable(Table(columns=["id"]), *arguments)
    with pytest.raises(UsageError, match="how 'cross'"):
        JoinedTable(Table(columns=["id"]), Table(columns=["id"]), "id").join("cross")


def test_notebook_shows_the_first_rows() -> None:
    table = Table(columns=["<a>", "b"], data=[[i, None] for i in range(1000)])
    table.add_column("c", [Image(np.eye(2))] * 1000)
    page = table._repr_html_()
    assert "&lt;a&gt;" in page
    assert page.count("<tr>") == 11
    assert "1,000 rows" in page
    assert "data:image/png" in page
    assert repr(table) == "<Table 1000 rows × 3 columns: '<a>', 'b', 'c'>"


def test_tables_are_equal_cell_by_cell() -> None:
    rows = [[float("nan"), [1, float("nan")]]]
    assert Table(columns=["a", "b"], data=rows) == Table(columns=["a", "b"], data=copy.deepcopy(rows))
    assert Table(columns=["a"], data=[[1]]) != Table(columns=["a"], data=[[2]])
    assert Table(columns=["a"]) != Table(columns=["b"])
    assert Table(columns=["a"]) != 3
