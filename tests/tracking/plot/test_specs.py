"""Every spec is valid Vega-Lite, and draws, whatever columns are called."""

from __future__ import annotations

import functools
import importlib.util
import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import jsonschema.exceptions
import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lineart.tracking import plot
from lineart.tracking.media import Table
from lineart.tracking.plot import Chart, sklearn

ODD = ["val.loss", "it's [0]", 'say "x"\\', "ein Maß ≠"]
RANDOM = np.random.default_rng(1)
LABELS = RANDOM.integers(0, 3, 60)
SCORES = RANDOM.dirichlet(np.ones(3), 60)
ODD_ROWS = Table(columns=ODD, data=[[at / 7, at % 5, f"run {at % 2}", -at] for at in range(40)])


class Recorder:
    """Takes what is logged."""

    def __init__(self) -> None:
        self.charts: dict[str, Chart] = {}

    def log(self, data: Mapping[str, Any]) -> None:
        self.charts.update(data)


def of_iris() -> dict[str, Chart]:
    features, target = load_iris(return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(features, target)
    run = Recorder()
    sklearn.plot_classifier(
        model,
        features,
        features,
        target,
        target,
        model.predict(features),
        model.predict_proba(features),
        ["setosa", "versicolor", "virginica"],
        log_learning_curve=True,
        run=run,
    )
    return run.charts


def of_cancer() -> dict[str, Chart]:
    features, target = load_breast_cancer(return_X_y=True)
    run = Recorder()
    model = LogisticRegression(max_iter=5000)
    sklearn.plot_calibration_curve(model, StandardScaler().fit_transform(features), target, run=run)
    return run.charts


def of_diabetes() -> dict[str, Chart]:
    features, target = load_diabetes(return_X_y=True)
    run = Recorder()
    model = Ridge().fit(features, target)
    sklearn.plot_regressor(model, features, features[:50], target, target[:50], run=run)
    return run.charts


def of_clusters() -> dict[str, Chart]:
    features, _ = load_iris(return_X_y=True)
    run = Recorder()
    kmeans: Any = KMeans  # what pyright infers of it is too narrow
    model = kmeans(3, n_init=1, random_state=0).fit(features)
    sklearn.plot_clusterer(model, features, model.labels_, run=run)
    return run.charts


CHARTS: dict[str, Callable[[], Chart]] = {
    "line": lambda: plot.line(ODD_ROWS, ODD[0], ODD[1], title="Line"),
    "line of several": lambda: plot.line(ODD_ROWS, ODD[0], ODD[1], stroke=ODD[2]),
    "line over names": lambda: plot.line(ODD_ROWS, ODD[2], ODD[1], title="Names"),
    "scatter": lambda: plot.scatter(ODD_ROWS, ODD[1], ODD[3], "Scatter"),
    "scatter of names": lambda: plot.scatter(ODD_ROWS, ODD[2], ODD[1]),
    "bar": lambda: plot.bar(ODD_ROWS, ODD[0], ODD[3], "Bars"),
    "few bars": lambda: plot.bar(Table(columns=ODD[:2], data=[["a", -1.5], ["b", 2]]), ODD[0], ODD[1]),
    "stacked bars": lambda: plot.bar(ODD_ROWS, ODD[2], ODD[1]),
    "histogram": lambda: plot.histogram(ODD_ROWS, ODD[0], "Histogram"),
    "histogram of names": lambda: plot.histogram(ODD_ROWS, ODD[2]),
    "histogram of one value": lambda: plot.histogram(Table(columns=["a"], data=[[5], [5]]), "a"),
    "series": lambda: plot.line_series(range(3), [[1, 2, 3], [3, 2, 1]], title="Series", xname="epoch"),
    "confusion matrix": lambda: plot.confusion_matrix(SCORES, LABELS, class_names=["a", "b", "c"]),
    "large confusion matrix": lambda: plot.confusion_matrix(y_true=range(120), preds=range(120)),
    "roc": lambda: plot.roc_curve(LABELS, SCORES, labels=["a", "b", "c"]),
    "pr": lambda: plot.pr_curve(LABELS, SCORES),
    "pr in steps": lambda: plot.pr_curve(LABELS, SCORES, interp_size=None, title="Steps"),
    "custom": lambda: plot.plot_table(
        {"mark": "point", "encoding": {"x": {"field": "${field:x}", "type": "quantitative"}}},
        ODD_ROWS,
        {"x": ODD[1]},
    ),
    "preset": lambda: plot.plot_table(
        "wandb/area-under-curve/v0", ODD_ROWS, {"x": ODD[0], "y": ODD[1], "class": ODD[2]}
    ),
}
OF_MODELS = {"iris": of_iris, "cancer": of_cancer, "diabetes": of_diabetes, "clusters": of_clusters}


@functools.cache
def validator() -> Any:
    """The Vega-Lite schema comes with the package altair, which need not be imported for it."""
    spec = importlib.util.find_spec("altair")
    assert spec is not None, "the dev dependency altair is not installed: it holds the Vega-Lite schema"
    assert spec.origin is not None
    (path,) = Path(spec.origin).parent.glob("vegalite/v*/schema/vega-lite-schema.json")
    return jsonschema.Draft7Validator(json.loads(path.read_text(encoding="utf-8")))


def demand_valid(chart: Chart) -> None:
    for spec in (chart.spec, chart.vega_lite()):
        error = jsonschema.exceptions.best_match(validator().iter_errors(spec))
        assert error is None, f"{error.json_path if error else ''}: {error.message[:300] if error else ''}"


def demand_drawn(chart: Chart) -> None:
    """Drawn without a warning of Vega, with something in it."""
    pytest.importorskip("vl_convert", reason="drawing needs vl-convert-python")
    svg = chart.render("svg").decode()
    assert svg.startswith("<svg")
    assert "NaN" not in svg
    assert svg.count("<path") > 5


@pytest.mark.parametrize("name", CHARTS)
def test_spec_is_valid_and_draws(name: str) -> None:
    chart = CHARTS[name]()
    demand_valid(chart)
    demand_drawn(chart)


@pytest.mark.parametrize("name", OF_MODELS)
def test_specs_of_models_are_valid_and_draw(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        charts = OF_MODELS[name]()
    for chart in charts.values():
        demand_valid(chart)
        demand_drawn(chart)


def test_odd_column_names_are_drawn_with_their_values() -> None:
    pytest.importorskip("vl_convert", reason="drawing needs vl-convert-python")
    rows = [["first", 123.0], ["second", -77.0]]
    for column in ODD:
        svg = plot.bar(Table(columns=["name", column], data=rows), "name", column).render("svg").decode()
        assert "123" in svg, f"the values of column {column!r} are not drawn"
        assert "77" in svg


def test_image_and_page_are_written(tmp_path: Path) -> None:
    pytest.importorskip("vl_convert", reason="drawing needs vl-convert-python")
    chart = CHARTS["line"]()
    assert chart.save(tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert chart.save(tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    assert b"<svg" in chart.save(tmp_path / "a.SVG").read_bytes()
    page = chart.save(tmp_path / "a.html").read_text(encoding="utf-8")
    assert 'src="http' not in page, "the page fetches scripts"
