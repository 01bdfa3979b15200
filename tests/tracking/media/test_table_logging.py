from __future__ import annotations

import copy
import datetime
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from sink import FolderSink, kinds, stored

from lineart.storage.errors import IntegrityError, NotFoundError, UsageError
from lineart.tracking.media import Audio, Html, Image, JoinedTable, Table, load_media

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
    value: dict[str, Any] = {}
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
