from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lineart.storage.errors import UsageError
from lineart.tracking import plot
from lineart.tracking.media import Table

POINTS = Table(columns=["step", "loss", "run"], data=[[0, 1.0, "a"], [1, 0.5, "a"], [0, 2.0, "b"]])


def test_line_draws_the_columns_and_keeps_the_whole_table() -> None:
    chart = plot.line(POINTS, "step", "loss", stroke="run", title="Loss")
    assert chart.table is POINTS
    assert chart.title == "Loss"
    assert [chart.spec["encoding"][name]["field"] for name in ("x", "y", "color")] == ["step", "loss", "run"]
    assert chart.vega_lite()["data"]["values"][2] == {"step": 0, "loss": 2.0, "run": "b"}


def test_only_columns_of_the_drawing_are_inlined() -> None:
    assert plot.scatter(POINTS, "step", "loss").vega_lite()["data"]["values"][0] == {"step": 0, "loss": 1.0}


def test_spec_does_not_depend_on_the_values_of_a_step() -> None:
    other = Table(columns=["step", "loss", "run"], data=[[5, 9.0, "a"], [6, 8.0, "b"]])
    assert plot.line(POINTS, "step", "loss", "run").spec == plot.line(other, "step", "loss", "run").spec


def test_dataframe_is_taken_for_a_table() -> None:
    frame = pd.DataFrame({"x": [1, 2], "y": [0.5, float("nan")]})
    frame["when"] = [pd.Timestamp("2026-01-01"), pd.NaT]
    values = plot.scatter(frame, "x", "y").vega_lite()["data"]["values"]
    assert values == [{"x": 1, "y": 0.5}, {"x": 2, "y": None}]
    timed = plot.line(frame, "when", "x")
    assert timed.spec["encoding"]["x"]["type"] == "temporal"
    assert timed.vega_lite()["data"]["values"][1]["when"] is None


@pytest.mark.parametrize(
    "values, kind",
    [
        ([1, 2.5, None], "quantitative"),
        ([datetime.date(2026, 1, 1), datetime.date(2026, 1, 2)], "temporal"),
        ([datetime.datetime(2026, 1, 1, 5, tzinfo=datetime.UTC), None], "temporal"),
        (["a", "b"], "nominal"),
        ([True, False], "nominal"),
        ([None, None], "nominal"),
    ],
)
def test_kind_of_axis_follows_the_values(values: list[Any], kind: str) -> None:
    chart = plot.scatter(Table(columns=["x", "y"], data=[[value, 1] for value in values]), "x", "y")
    assert chart.spec["encoding"]["x"]["type"] == kind


def test_nan_and_infinities_are_gaps_in_the_drawing_and_stay_in_the_table() -> None:
    table = Table(columns=["x", "y"], data=[[0, float("nan")], [1, float("inf")], [2, np.float32(1.5)]])
    chart = plot.line(table, "x", "y")
    assert [row["y"] for row in chart.vega_lite()["data"]["values"]] == [None, None, 1.5]
    assert chart.table.data[1][1] == float("inf")


def test_column_called_by_a_number_is_drawn() -> None:
    table = Table(columns=[0, 1], data=[[1, 2]])
    chart = plot.line(table, 0, 1)  # type: ignore[arg-type]
    assert chart.vega_lite()["data"]["values"] == [{"0": 1, "1": 2}]


def test_line_series_with_shared_and_own_xs() -> None:
    shared = plot.line_series([0, 1, 2], [[1, 2, 3], [4, 5]], keys=["a", "b"], xname="epoch")
    assert shared.table.columns == ["step", "lineKey", "lineVal"]
    assert shared.table.data == [[0, "a", 1], [1, "a", 2], [2, "a", 3], [0, "b", 4], [1, "b", 5]]
    assert shared.spec["encoding"]["x"]["title"] == "epoch"
    own = plot.line_series(np.array([[0, 1], [5, 6]]), iter([(1, 2), np.array([3.5, 4.5])]))
    assert own.table.data == [[0, "key_0", 1], [1, "key_0", 2], [5, "key_1", 3.5], [6, "key_1", 4.5]]


def test_title_without_text_leaves_none() -> None:
    assert "title" not in plot.histogram(POINTS, "loss").spec


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: plot.line(POINTS, "epoch", "loss"),
            r"plot.line: the table has no column 'epoch'; it has \['step'",
        ),
        (lambda: plot.line(POINTS, "step", "loss", "kind"), "no column 'kind'"),
        (lambda: plot.line(POINTS, "step", "run"), "column 'run' holds str 'a'; expected numbers"),
        (lambda: plot.bar(POINTS, "run", "run"), "plot.bar: column 'run' holds str 'a'; expected numbers"),
        (lambda: plot.scatter(Table(columns=["x", "y"]), "x", "y"), "plot.scatter: the table is empty"),
        (lambda: plot.histogram(Table(columns=["x"]), "x"), "plot.histogram: the table is empty"),
        (lambda: plot.bar([[1]], "a", "b"), "expected a lineart.Table or a DataFrame, not list"),  # type: ignore[arg-type]
        (lambda: plot.line_series([], []), "ys is empty"),
        (lambda: plot.line_series([0], [[]]), "ys is empty"),
        (lambda: plot.line_series([], [[1]]), "xs is empty"),
        (lambda: plot.line_series(5, [[1]]), "xs is int '5'; expected a sequence"),  # type: ignore[arg-type]
        (lambda: plot.line_series([0, 1], [1, 2]), r"ys\[0\] is int '1'"),  # type: ignore[list-item]
        (lambda: plot.line_series([0, 1], [[1, 2, 3]]), "line 'key_0' has 3 values for 2 in xs"),
        (lambda: plot.line_series([[0, 1]], [[1]]), "line 'key_0' has 1 values for 2 in xs"),
        (lambda: plot.line_series([[0]], [[1], [2]]), "xs has 1 entries for 2 lines"),
        (lambda: plot.line_series([0], [[1]], keys=["a", "b"]), "keys has 2 entries for 1 lines"),
        (lambda: plot.line_series([0], [[1], [2]], keys=["a", "a"]), "name a line twice"),
        (lambda: plot.line_series([0], [["high"]]), "holds str 'high'; expected numbers"),
    ],
)
def test_wrong_input_is_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()


def test_custom_spec_gets_columns_and_texts() -> None:
    table = Table(columns=["a.b", "n"], data=[["x", 1]])
    spec = {
        "data": {"name": "wandb"},
        "title": "${string:title}: ${field:label}",
        "transform": [{"calculate": "datum['${field:count}'] * 2", "as": "twice"}],
        "mark": "bar",
        "encoding": {
            "x": {"field": "${field:label}", "type": "nominal", "title": "${field:label}"},
            "y": {"field": "twice", "type": "quantitative"},
        },
    }
    chart = plot.plot_table(spec, table, {"label": "a.b", "count": "n"}, {"title": "Twice"})
    assert chart.spec["title"] == "Twice: a.b"
    assert chart.spec["transform"][0]["calculate"] == "datum['n'] * 2"
    assert chart.spec["encoding"]["x"] == {"field": "a\\.b", "type": "nominal", "title": "a.b"}
    assert chart.spec["data"] == {"name": "table"}
    assert spec["data"] == {"name": "wandb"}, "the caller's spec was changed"
    assert chart.vega_lite()["data"]["values"] == [{"a.b": "x", "n": 1}]


@pytest.mark.parametrize(
    "name, fields",
    [
        ("wandb/line/v0", {"x": "step", "y": "loss", "stroke": "run", "title": "not a column"}),
        ("wandb/scatter/v0", {"x": "step", "y": "loss"}),
        ("wandb/bar/v0", {"label": "run", "value": "loss"}),
        ("wandb/histogram/v0", {"value": "loss"}),
        ("wandb/lineseries/v0", {"step": "step", "lineKey": "run", "lineVal": "loss"}),
        ("wandb/confusion_matrix/v1", {"Actual": "run", "Predicted": "run", "nPredictions": "step"}),
        ("wandb/area-under-curve/v0", {"x": "step", "y": "loss", "class": "run"}),
    ],
)
def test_presets_are_known_by_their_names(name: str, fields: dict[str, str]) -> None:
    chart = plot.plot_table(name, POINTS, fields, {"title": "T"}, split_table=True)
    assert chart.title == "T"
    assert chart.table is POINTS


@pytest.mark.parametrize(
    "spec, fields, message",
    [
        ("me/my-chart", {}, "no chart is called 'me/my-chart'; expected one of"),
        ("wandb/line/v0", {"x": "step"}, r"line needs fields\['y'\]"),
        ("wandb/line/v0", {"x": "step", "y": "acc"}, "no column 'acc'"),
        ("{", {}, "the spec is not JSON"),
        ({"mark": {1, 2}}, {}, "the spec is not JSON"),
        (
            {"$schema": "https://vega.github.io/schema/vega/v6.json"},
            {},
            "the spec is Vega; expected Vega-Lite",
        ),
        ({"title": "${string:title}"}, {}, "asks for .*, but string_fields has only"),
        ({"mark": "bar", "encoding": {"x": {"field": "${field:x}"}}}, {}, "asks for .*, but fields has only"),
        ({"x": "${field:x}"}, {"x": "acc"}, "field 'x' is column 'acc', but the table has"),
    ],
)
def test_wrong_custom_spec_is_named(spec: Any, fields: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plot.plot_table(spec, POINTS, fields)
