"""Charts of a model's single samples: silhouettes, residuals, influence. `sklearn` logs them."""

# ruff: noqa: N803, N806 - X is the features, as everywhere in this field
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...storage.errors import UsageError
from .chart import Chart, make_table
from .estimators import demand, library
from .vega import BLUE, GREY, HEIGHT, WIDTH, Spec, colours, encode, frame, tooltip


def silhouette(
    clusterer: Any,
    X: Any,
    cluster_labels: Any,
    labels: Sequence[str] | None,
    metric: str,
    kmeans: bool,
) -> Chart:
    """The silhouette of each sample, by cluster, highest first; for k-means also its first two features and centres.

    Rousseeuw, "Silhouettes: a graphical aid to the interpretation and validation of cluster analysis", Journal of
    Computational and Applied Mathematics 20 (1987) 53-65.
    """
    import numpy as np

    demand({"clusterer": clusterer, "X": X})
    points = np.asarray(X)
    if cluster_labels is None:
        labelled = getattr(clusterer, "labels_", None)
        fits = labelled is not None and len(labelled) == len(points)
        found = labelled if fits else library("sklearn.base").clone(clusterer).fit_predict(points)
    else:
        found = np.asarray(cluster_labels).reshape(-1)
    found = np.asarray(found)
    clusters = np.unique(found).tolist()
    if len(found) != len(points) or not 2 <= len(clusters) < len(points):
        raise UsageError(
            f"silhouette: {len(found)} labels of {len(clusters)} clusters for {len(points)} samples; "
            "expected a label for each, and from 2 clusters to one less than samples"
        )
    heights = library("sklearn.metrics").silhouette_samples(points, found, metric=metric)
    named = labels is not None and all(isinstance(one, int) and 0 <= one < len(labels) for one in clusters)
    flat = kmeans and points.ndim == 2 and points.shape[1] > 1
    rows: list[list[Any]] = []
    for cluster in clusters:
        members = np.flatnonzero(found == cluster)
        name = str(labels[cluster]) if named and labels is not None else str(cluster)
        for at in members[np.argsort(-heights[members], kind="stable")]:
            place = [float(points[at, 0]), float(points[at, 1])] if flat else [None, None]
            rows.append([len(rows), name, float(heights[at]), *place])
    columns = ["y", "cluster", "silhouette", "feature_0", "feature_1"]
    spec = _silhouette_spec(len(clusters), len(rows), float(heights.mean()), flat)
    return Chart(make_table(columns, rows), spec, columns=columns)


def _silhouette_spec(clusters: int, samples: int, mean: float, flat: bool) -> Spec:
    """Silhouettes, and the points beside them when they lie in a plane or more."""
    colour = encode("cluster", "nominal", {"title": "Cluster", "scale": colours(clusters)})
    shapes: Spec = {
        "width": 320,
        "height": 380,
        "layer": [
            {
                "mark": {"type": "rule", "strokeWidth": max(1.0, 380 / samples)},
                "encoding": {
                    "y": {
                        "field": "y",
                        "type": "quantitative",
                        "axis": None,
                        "scale": {"reverse": True, "zero": False, "nice": False},
                    },
                    "x": {"field": "silhouette", "type": "quantitative", "title": "Silhouette"},
                    "x2": {"datum": 0},
                    "color": colour,
                    "tooltip": tooltip([("cluster", "nominal"), ("silhouette", "quantitative")]),
                },
            },
            {
                "mark": {"type": "rule", "strokeDash": [5, 4], "color": "#c0392b"},
                "encoding": {"x": {"datum": mean}},
            },
        ],
    }
    dots: Spec = {
        "width": 380,
        "height": 380,
        "mark": {"type": "point", "filled": True, "size": 30, "opacity": 0.75},
        "encoding": {
            "x": encode("feature_0", "quantitative", {"title": "First feature"}),
            "y": encode("feature_1", "quantitative", {"title": "Second feature"}),
            "color": colour,
        },
    }
    head = frame("Silhouette", f"Mean {mean:.3f} (dashed)")
    return {**head, "hconcat": [shapes, dots]} if flat else {**head, **shapes}


def residuals_of(
    predicted: Sequence[tuple[str, Any, Any]],
) -> Chart:
    """Residuals (true minus predicted) over predictions; each entry is a data set's name, true values, predictions."""
    import numpy as np

    score = library("sklearn.metrics").r2_score
    rows: list[list[Any]] = []
    for dataset, true, guess in predicted:
        first, second = np.asarray(true, float).reshape(-1), np.asarray(guess, float).reshape(-1)
        r2 = float(score(first, second)) if len(first) > 1 else None
        rows += [[dataset, float(b), float(a - b), r2] for a, b in zip(first, second, strict=True)]
    columns = ["dataset", "y_pred", "residuals", "r2"]
    label = "datum.dataset + (datum.r2 === null ? '' : ' (R² ' + format(datum.r2, '.3f') + ')')"
    many = len(rows) > 500
    colour = encode("set", "nominal", {"title": None, "scale": {"range": ["#4c78a8", "#f58518"]}})
    up = encode("residuals", "quantitative", {"title": "Residual"})
    dots: Spec = {
        "width": WIDTH,
        "height": HEIGHT,
        "layer": [
            {
                "mark": {
                    "type": "point",
                    "filled": True,
                    "size": 16 if many else 34,
                    "opacity": 0.45 if many else 0.7,
                },
                "encoding": {
                    "x": encode("y_pred", "quantitative", {"title": "Predicted"}),
                    "y": up,
                    "color": colour,
                    "tooltip": tooltip(
                        [("dataset", "nominal"), ("y_pred", "quantitative"), ("residuals", "quantitative")]
                    ),
                },
            },
            {"mark": {"type": "rule", "color": GREY}, "encoding": {"y": {"datum": 0}}},
        ],
    }
    spread: Spec = {
        "width": 110,
        "height": HEIGHT,
        "mark": {"type": "bar", "opacity": 0.7},
        "encoding": {
            "y": {"field": "residuals", "type": "quantitative", "bin": {"maxbins": 30}, "axis": None},
            "x": {"aggregate": "count", "type": "quantitative", "title": "Count", "axis": {"tickCount": 3}},
            "color": colour,
        },
    }
    spec = {
        **frame("Residuals"),
        "transform": [{"calculate": label, "as": "set"}],
        "hconcat": [dots, spread],
        "resolve": {"scale": {"y": "shared"}},
    }
    return Chart(make_table(columns, rows), spec, columns=columns)


def residuals(regressor: Any, X: Any, y: Any) -> Chart:
    """Residuals of a clone fitted on four fifths of the samples, on these and on the others."""
    demand({"regressor": regressor, "X": X, "y": y})
    X_train, X_test, y_train, y_test = library("sklearn.model_selection").train_test_split(
        X, y, test_size=0.2, random_state=42
    )
    model = library("sklearn.base").clone(regressor).fit(X_train, y_train)
    return residuals_of([("train", y_train, model.predict(X_train)), ("test", y_test, model.predict(X_test))])


def outlier_candidates(regressor: Any, X: Any, y: Any) -> Chart:
    """Cook's distance of each sample: how much a linear fit would change without it; above 4/n is marked.

    Cook, "Detection of influential observation in linear regression", Technometrics 19 (1977) 15-18, with the
    residuals of a clone of the regressor fitted on all samples and the leverages of an ordinary least squares fit
    with intercept.
    """
    import numpy as np

    demand({"regressor": regressor, "X": X, "y": y})
    points, target = np.asarray(X, dtype=float), np.asarray(y, dtype=float).reshape(-1)
    if points.ndim != 2 or len(points) != len(target):
        raise UsageError(
            f"outlier candidates: X has shape {points.shape}, y {target.shape}; expected (n, features), (n,)"
        )
    design = np.column_stack([np.ones(len(points)), points])
    left, sizes, _ = np.linalg.svd(design, full_matrices=False)
    rank = int((sizes > sizes[0] * max(design.shape) * np.finfo(float).eps).sum())
    leverage = (left[:, :rank] ** 2).sum(axis=1)
    if rank >= len(points):
        raise UsageError(
            f"outlier candidates: {len(points)} samples for {rank} coefficients; expected more samples"
        )
    model = library("sklearn.base").clone(regressor).fit(X, y)
    errors = target - np.asarray(model.predict(X), dtype=float).reshape(-1)
    variance = float((errors**2).sum()) / (len(points) - rank)
    # A sample that alone fixes a coefficient has leverage 1: its influence has no bound.
    free = np.maximum(1.0 - leverage, 1e-12)
    distance = errors**2 / (rank * variance) * leverage / free**2 if variance > 0 else np.zeros(len(points))
    limit = 4.0 / len(points)
    columns = ["instance_indices", "distance", "influential"]
    rows = [[at, float(value), "yes" if value > limit else "no"] for at, value in enumerate(distance)]
    above = int((distance > limit).sum())
    colour: Spec = {
        "field": "influential",
        "type": "nominal",
        "scale": {"domain": ["no", "yes"], "range": [BLUE, "#d62728"]},
        "title": "Above 4/n",
    }
    kinds = tooltip([("instance_indices", "quantitative"), ("distance", "quantitative")])
    spec: Spec = {
        **frame("Outlier candidates", f"{above} of {len(points)} samples above 4/n = {limit:.3g}"),
        "width": 560,
        "height": HEIGHT,
        "layer": [
            {
                "mark": {"type": "rule", "strokeWidth": max(0.6, min(3.0, 400 / len(points)))},
                "encoding": {
                    "x": encode("instance_indices", "quantitative", {"title": "Sample"}),
                    "y": encode("distance", "quantitative", {"title": "Cook's distance"}),
                    "y2": {"datum": 0},
                    "color": colour,
                    "tooltip": kinds,
                },
            },
            {
                "mark": {"type": "rule", "strokeDash": [5, 4], "color": GREY},
                "encoding": {"y": {"datum": limit}},
            },
        ],
    }
    return Chart(make_table(columns, rows), spec, columns=columns)
