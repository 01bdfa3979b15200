from __future__ import annotations

import builtins
import importlib
import json
from pathlib import Path
from typing import IO, Any

import pytest

import lineart
from lineart.storage.errors import IntegrityError, NotFoundError, UsageError
from lineart.tracking import plot
from lineart.tracking.media import Image, Table, load_media
from lineart.tracking.run_files import FolderSink

ROWS = [["a", 1.0], ["b", 2.5]]


class FolderSource:
    """Reads back what a `FolderSink` wrote."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def open(self, path: str) -> IO[bytes]:
        return self.local_path(path).open("rb")

    def local_path(self, path: str) -> Path:
        if not (self.root / path).exists():
            raise NotFoundError(f"{path}: there is no such file")
        return self.root / path


def bars(title: str = "Bars") -> plot.Chart:
    return plot.bar(Table(columns=["name", "size"], data=ROWS), "name", "size", title, split_table=True)


def test_logged_chart_is_the_same_when_it_is_loaded(tmp_path: Path) -> None:
    chart = bars()
    value = json.loads(json.dumps(chart.to_value(FolderSink(tmp_path))))
    assert value["_type"] == "chart"
    assert value["title"] == "Bars"
    loaded = load_media(value, FolderSource(tmp_path))
    assert isinstance(loaded, plot.Chart)
    assert loaded.table.data == ROWS
    assert loaded.spec == chart.spec
    assert loaded.vega_lite() == chart.vega_lite()
    assert loaded.split_table


def test_charts_of_all_steps_share_one_spec_file(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path)
    specs = [bars().to_value(sink)["spec"]["path"] for _ in range(3)]
    assert len(set(specs)) == 1
    assert len(list(tmp_path.rglob("*.vl.json"))) == 1


def test_damaged_and_missing_spec_are_named(tmp_path: Path) -> None:
    value = bars().to_value(FolderSink(tmp_path))
    file = tmp_path / value["spec"]["path"]
    file.write_bytes(b"{half")
    with pytest.raises(IntegrityError, match=r"chart spec media/chart/.*: not JSON"):
        load_media(value, FolderSource(tmp_path))
    file.unlink()
    with pytest.raises(NotFoundError, match="media/chart"):
        load_media(value, FolderSource(tmp_path))


def test_run_log_is_enough_to_keep_a_chart() -> None:
    with lineart.init(project="charts") as run:
        run.log({"roc": plot.roc_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])})
    (row,) = lineart.Api().run(str(run.path)).scan_history()
    assert row["roc"]["_type"] == "chart"
    kept = {file.name for file in lineart.Api().run(str(run.path)).files()}
    assert row["roc"]["spec"]["path"] in kept


def test_saved_json_holds_the_rows(tmp_path: Path) -> None:
    path = bars().save(tmp_path / "chart.json")
    spec = json.loads(path.read_text(encoding="utf-8"))
    assert spec["data"]["values"] == [{"name": "a", "size": 1.0}, {"name": "b", "size": 2.5}]


def test_saved_page_without_the_converter_has_data_and_cannot_be_broken_out_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _without_converter(monkeypatch)
    text = bars("</script><b>&").save(tmp_path / "chart.html").read_text(encoding="utf-8")
    assert "<\\/script><b>&" in text
    assert "</script><b>" not in text
    assert "<title>&lt;/script&gt;&lt;b&gt;&amp;</title>" in text
    assert '"size": 2.5' in text


def test_image_without_the_converter_names_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _without_converter(monkeypatch)
    with pytest.raises(UsageError, match=r"PNG needs the package vl-convert-python: pip install"):
        bars().save(tmp_path / "chart.png")
    assert not (tmp_path / "chart.png").exists()


def test_wrong_endings_and_specs_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected a name ending in \.json"):
        bars().save(tmp_path / "chart.gif")
    with pytest.raises(UsageError, match="chart as 'gif'"):
        bars().render("gif")
    table = Table(columns=["a"], data=[[1]])
    with pytest.raises(UsageError, match="the spec is not JSON"):
        plot.Chart(table, {"width": float("nan")})
    with pytest.raises(UsageError, match=r"no column 'b'; it has \['a'\]"):
        plot.Chart(table, {}, columns=["b"])


def test_data_of_its_own_stays_and_the_table_is_a_named_data_set() -> None:
    table = Table(columns=["a"], data=[[1]])
    spec = {"data": {"values": [{"b": 2}]}, "mark": "point", "layer": [{"data": {"name": "table"}}]}
    inlined = plot.Chart(table, spec).vega_lite()
    assert inlined["data"] == {"values": [{"b": 2}]}
    assert inlined["datasets"] == {"table": [{"a": 1}]}


def test_cells_that_cannot_be_drawn_are_empty() -> None:
    numpy = pytest.importorskip("numpy")
    table = Table(columns=["a"], data=[[Image(numpy.zeros((2, 2, 3), numpy.uint8))]], allow_mixed_types=True)
    assert plot.Chart(table, {"mark": "point"}).vega_lite()["data"]["values"] == [{"a": None}]


def test_notebook_gets_a_spec_with_rows() -> None:
    bundle = bars()._repr_mimebundle_()
    assert bundle["application/vnd.vegalite.v5+json"]["data"]["values"]
    assert bundle["text/plain"] == "<Chart 'Bars': 2 rows of ['name', 'size']>"


def _without_converter(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def refuse(name: str, package: str | None = None) -> Any:
        if name == "vl_convert":
            raise builtins.ImportError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", refuse)
