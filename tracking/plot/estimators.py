"""The charts of fitted scikit-learn models, computed by scikit-learn. `sklearn` logs them.

Models that a chart has to fit are clones: the one given stays as it is.
"""

# ruff: noqa: N803, N806 - X is the features, as everywhere in this field
from __future__ import annotations

import importlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ...storage.errors import UsageError
from .chart import Chart, make_table
from .vega import BLUE, GREY, HEIGHT, WIDTH, Spec, colours, encode, frame, tooltip

_TWO = {"range": ["#4c78a8", "#f58518"]}


def library(module: str = "sklearn") -> Any:
    """A module of scikit-learn. Raises: UsageError when it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise UsageError(
            'charts of models need the package scikit-learn: pip install "scikit-learn"'
        ) from None


def demand(given: Mapping[str, Any]) -> None:
    """Refuse arguments that are None. Raises: UsageError."""
    for name, value in given.items():
        if value is None:
            raise UsageError(f"{name} is missing; expected a value")


def feature_importances(
    model: Any, feature_names: Sequence[str] | None, title: str, max_num_features: int
) -> Chart:
    """The model's `feature_importances_`, or the size of its coefficients (mean over classes), largest first."""
    import numpy as np

    demand({"model": model})
    last = model.steps[-1][1] if hasattr(model, "steps") else model
    library("sklearn.utils.validation").check_is_fitted(last)
    if hasattr(last, "feature_importances_"):
        sizes, name = np.asarray(last.feature_importances_), "importance"
    elif hasattr(last, "coef_"):
        coefficients = last.coef_.toarray() if hasattr(last.coef_, "toarray") else np.asarray(last.coef_)
        sizes, name = np.abs(np.atleast_2d(coefficients)).mean(axis=0), "size of coefficient"
    else:
        kind = type(last).__name__
        raise UsageError(
            f"{kind} has no feature_importances_ or coef_; expected a model that weighs its features"
        )
    names = getattr(last, "feature_names_in_", None) if feature_names is None else feature_names
    names = [f"feature {at}" for at in range(len(sizes))] if names is None else [str(one) for one in names]
    if len(names) != len(sizes):
        raise UsageError(f"feature_names has {len(names)} names for {len(sizes)} features; expected as many")
    order = np.argsort(-sizes, kind="stable")[:max_num_features]
    table = make_table(["feature_names", "importances"], [[names[at], float(sizes[at])] for at in order])
    columns = ["feature_names", "importances"]
    encoding = {
        "y": encode(columns[0], "nominal", {"title": None, "axis": {"labelLimit": 240}}),
        "x": encode(columns[1], "quantitative", {"title": name.capitalize(), "scale": {"zero": True}}),
        "tooltip": tooltip([(columns[0], "nominal"), (columns[1], "quantitative")]),
    }
    mark = {"type": "bar", "color": BLUE}
    spec = {**frame(title), "width": WIDTH, "height": {"step": 20}, "mark": mark, "encoding": encoding}
    return Chart(table, spec, columns=columns)


def class_proportions(y_train: Any, y_test: Any, labels: Any) -> Chart:
    """How many samples of each class are in the training set and in the test set."""
    from .arrays import as_labels, match_classes

    arrays = [as_labels(y_train, "y_train")]
    if y_test is not None:
        arrays.append(as_labels(y_test, "y_test"))
    classes = match_classes(arrays, None, labels)
    rows = [
        [name, dataset, int((codes == at).sum())]
        for at, name in enumerate(classes.names)
        for dataset, codes in zip(("train", "test"), classes.codes, strict=False)
    ]
    columns = ["class", "dataset", "count"]
    encoding: Spec = {
        "y": encode("class", "nominal", {"title": None}),
        "yOffset": {"field": "dataset", "sort": None},
        "x": encode("count", "quantitative", {"title": "Samples", "scale": {"zero": True}}),
        "color": encode("dataset", "nominal", {"title": None, "scale": _TWO}),
        "tooltip": tooltip([("class", "nominal"), ("dataset", "nominal"), ("count", "quantitative")], ","),
    }
    size = {"width": WIDTH, "height": {"step": 16}}
    spec = {**frame("Class proportions"), **size, "mark": "bar", "encoding": encoding}
    return Chart(make_table(columns, rows), spec, columns=columns)


def learning_curve(
    model: Any,
    X: Any,
    y: Any,
    *,
    cv: Any,
    shuffle: bool,
    random_state: Any,
    train_sizes: Any,
    n_jobs: int | None,
    scoring: Any,
) -> Chart:
    """Training and test score over the number of training samples: mean and standard deviation over the folds."""
    import numpy as np

    demand({"model": model, "X": X, "y": y})
    sizes, train, test = library("sklearn.model_selection").learning_curve(
        model,
        X,
        y,
        cv=cv,
        shuffle=shuffle,
        random_state=random_state,
        train_sizes=np.linspace(0.1, 1.0, 5) if train_sizes is None else train_sizes,
        n_jobs=n_jobs,
        scoring=scoring,
    )
    rows = [
        [dataset, float(scores[at].mean()), int(size), float(scores[at].std())]
        for dataset, scores in (("train", train), ("test", test))
        for at, size in enumerate(sizes)
    ]
    columns = ["dataset", "score", "train_size", "std"]
    across = encode("train_size", "quantitative", {"title": "Training samples"})
    legend = {"symbolOpacity": 1, "symbolType": "square"}
    colour = encode("dataset", "nominal", {"title": None, "scale": _TWO, "legend": legend})
    score: Spec = {"type": "quantitative", "title": "Score", "scale": {"zero": False}}
    kinds: Spec = {
        "tooltip": tooltip(
            [
                ("dataset", "nominal"),
                ("train_size", "quantitative"),
                ("score", "quantitative"),
                ("std", "quantitative"),
            ]
        )
    }
    band = {"y": {**score, "field": "low"}, "y2": {"field": "high"}}
    spec = {
        **frame("Learning curve", "Mean and standard deviation over the folds"),
        "width": WIDTH,
        "height": HEIGHT,
        "transform": [
            {"calculate": "datum.score - datum.std", "as": "low"},
            {"calculate": "datum.score + datum.std", "as": "high"},
        ],
        "encoding": {"x": across, "color": colour},
        "layer": [
            {"mark": {"type": "area", "opacity": 0.18}, "encoding": band},
            {
                "mark": {"type": "line", "point": True},
                "encoding": {"y": {**score, "field": "score"}, **kinds},
            },
        ],
    }
    return Chart(make_table(columns, rows), spec, columns=columns)


def calibration_curve(clf: Any, X: Any, y: Any, clf_name: str) -> Chart:
    """Share of positives over predicted probability: the classifier, calibrated in two ways, and a logistic regression.

    All are fitted on half of the samples and measured on the other half, in 10 bins; the Brier score (0 is best) is
    in the legend. Raises: UsageError unless y has two classes and the classifier predicts probabilities.
    """
    import numpy as np

    demand({"clf": clf, "X": X, "y": y})
    target = np.asarray(y).reshape(-1)
    classes = np.unique(target)
    if len(classes) != 2:
        raise UsageError(f"calibration curve: y has {len(classes)} classes; expected two")
    if not hasattr(clf, "predict_proba"):
        raise UsageError(
            f"calibration curve: {type(clf).__name__} has no predict_proba; expected probabilities"
        )
    calibration, clone = library("sklearn.calibration"), library("sklearn.base").clone
    brier = library("sklearn.metrics").brier_score_loss
    X_train, X_test, y_train, y_test = library("sklearn.model_selection").train_test_split(
        X, (target == classes[1]).astype(int), test_size=0.5, random_state=42, stratify=target == classes[1]
    )
    models = {
        "Logistic regression": library("sklearn.linear_model").LogisticRegression(max_iter=1000),
        clf_name: clone(clf),
        f"{clf_name}, isotonic": calibration.CalibratedClassifierCV(clone(clf), cv=2, method="isotonic"),
        f"{clf_name}, sigmoid": calibration.CalibratedClassifierCV(clone(clf), cv=2, method="sigmoid"),
    }
    rows: list[list[Any]] = []
    for name, model in models.items():
        predicted = model.fit(X_train, y_train).predict_proba(X_test)[:, 1]
        score = float(brier(y_test, predicted))
        share, mean = calibration.calibration_curve(y_test, predicted, n_bins=10)
        rows += [[name, float(one), float(other), score] for one, other in zip(mean, share, strict=True)]
    columns = ["model", "mean_predicted_value", "fraction_of_positives", "brier_score"]
    unit: Spec = {"scale": {"domain": [0, 1]}, "axis": {"tickCount": 6}}
    perfect = {
        "data": {"values": [{"x": 0, "y": 0}, {"x": 1, "y": 1}]},
        "mark": {"type": "line", "strokeDash": [4, 4], "color": GREY, "strokeWidth": 1},
        "encoding": {
            "x": {"field": "x", "type": "quantitative"},
            "y": {"field": "y", "type": "quantitative"},
        },
    }
    label = "datum.model + ' (Brier ' + format(datum.brier_score, '.3f') + ')'"
    lines = {
        "transform": [{"calculate": label, "as": "curve"}],
        "mark": {"type": "line", "point": True},
        "encoding": {
            "x": encode(columns[1], "quantitative", {"title": "Mean predicted probability", **unit}),
            "y": encode(columns[2], "quantitative", {"title": "Share of positives", **unit}),
            "color": encode("curve", "nominal", {"title": "Model", "scale": colours(4)}),
            "tooltip": tooltip([("model", "nominal"), *((name, "quantitative") for name in columns[1:])]),
        },
    }
    spec = {**frame("Calibration curve"), "width": 380, "height": 380, "layer": [perfect, lines]}
    return Chart(make_table(columns, rows), spec, columns=columns)


def summary_metrics(model: Any, X_test: Any, y_test: Any) -> Chart:
    """Metrics on the test set: accuracy, and precision, recall and F1 weighted by class; or MAE, MSE and R²."""
    demand({"model": model, "X_test": X_test, "y_test": y_test})
    metrics, base = library("sklearn.metrics"), library("sklearn.base")
    predicted = model.predict(X_test)
    if base.is_classifier(model):
        weighted = {"average": "weighted", "zero_division": 0.0}
        found = {
            "accuracy_score": metrics.accuracy_score(y_test, predicted),
            "precision": metrics.precision_score(y_test, predicted, **weighted),
            "recall": metrics.recall_score(y_test, predicted, **weighted),
            "f1_score": metrics.f1_score(y_test, predicted, **weighted),
        }
    elif base.is_regressor(model):
        found = {
            "mae": metrics.mean_absolute_error(y_test, predicted),
            "mse": metrics.mean_squared_error(y_test, predicted),
            "r2_score": metrics.r2_score(y_test, predicted),
        }
    else:
        raise UsageError(f"summary metrics: {type(model).__name__} is neither a classifier nor a regressor")
    name = type(model).__name__
    columns = ["metric_name", "metric_value", "model_name"]
    rows = [[metric, float(value), name] for metric, value in found.items()]
    text = {"field": "metric_value", "type": "quantitative", "format": ".4~g"}
    number: Spec = {"mark": {"type": "text", "align": "left", "dx": 5}, "encoding": {"text": text}}
    encoding = {"y": encode("metric_name", "nominal", {"title": None})}
    layer = [number]
    if base.is_classifier(model):
        room = {"scale": {"domain": [0, 1.14], "nice": False}, "axis": {"values": [0, 0.2, 0.4, 0.6, 0.8, 1]}}
        number["encoding"]["x"] = encode("metric_value", "quantitative", {"title": None, **room})
        layer.insert(0, {"mark": {"type": "bar", "color": BLUE}, "encoding": {"x": number["encoding"]["x"]}})
    else:  # errors have the target's unit, its square, and none: numbers, no bars
        number["encoding"]["x"] = {"value": 0}
    size = {"width": 320, "height": {"step": 28}}
    spec: Spec = {**frame("Summary metrics", name), **size, "encoding": encoding, "layer": layer}
    return Chart(make_table(columns, rows), spec, columns=columns)


def elbow_curve(
    clusterer: Any,
    X: Any,
    cluster_ranges: Sequence[int] | None,
    n_jobs: int | None,
    show_cluster_time: bool,
) -> Chart:
    """The error (the model's negative score; inertia for k-means) and seconds of fitting, over numbers of clusters."""
    import numpy as np

    demand({"clusterer": clusterer, "X": X})
    if not hasattr(clusterer, "n_clusters") or not hasattr(clusterer, "score"):
        raise UsageError(
            f"elbow curve: {type(clusterer).__name__} has no n_clusters and score; expected e.g. KMeans"
        )
    limit = min(10, len(X) + 1)
    counts = sorted({int(count) for count in (range(1, limit) if cluster_ranges is None else cluster_ranges)})
    if not counts or counts[0] < 1:
        raise UsageError(f"elbow curve: cluster_ranges {counts}; expected numbers of clusters from 1")
    clone, parallel = library("sklearn.base").clone, library("sklearn.utils.parallel")

    def fit(count: int) -> tuple[float, float]:
        model = clone(clusterer).set_params(n_clusters=count)
        start = time.perf_counter()
        model.fit(X)
        seconds = time.perf_counter() - start
        return float(np.abs(model.score(X))), seconds

    found = parallel.Parallel(n_jobs=n_jobs)(parallel.delayed(fit)(count) for count in counts)
    rows = [[count, error, seconds] for count, (error, seconds) in zip(counts, found, strict=True)]
    columns = ["cluster_ranges", "errors", "clustering_time"]
    kinds: Spec = {"tooltip": tooltip([(name, "quantitative") for name in columns])}
    across = encode(
        columns[0], "quantitative", {"title": "Clusters", "axis": {"tickMinStep": 1, "format": "d"}}
    )

    def part(column: str, title: str, height: int, colour: str) -> Spec:
        up = encode(column, "quantitative", {"title": title, "scale": {"zero": True}})
        mark = {"type": "line", "point": {"color": colour}, "color": colour}
        return {
            "width": WIDTH,
            "height": height,
            "mark": mark,
            "encoding": {"x": across, "y": up, **kinds},
        }

    error = part("errors", "Error", HEIGHT, BLUE)
    spec = {**frame("Elbow curve"), **error}
    if show_cluster_time:
        spec = {**frame("Elbow curve"), "vconcat": [error, part("clustering_time", "Seconds", 110, GREY)]}
    return Chart(make_table(columns, rows), spec, columns=columns)
