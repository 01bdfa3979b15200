"""Charts of scikit-learn models, each logged by one call to `run`, or to the current run.

The names are those of the W&B SDK's `wandb.sklearn`. Each function returns what it logged. A model that has to be
fitted for a chart is cloned first: the one given is not changed.
"""

# ruff: noqa: N803 - X is the features, as everywhere in this field
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ...storage.errors import Error, UsageError
from . import estimator_points, estimators
from .chart import Chart
from .classification import confusion_matrix, pr_curve, roc_chart

__all__ = [
    "plot_calibration_curve",
    "plot_class_proportions",
    "plot_classifier",
    "plot_clusterer",
    "plot_confusion_matrix",
    "plot_elbow_curve",
    "plot_feature_importances",
    "plot_learning_curve",
    "plot_outlier_candidates",
    "plot_precision_recall",
    "plot_regressor",
    "plot_residuals",
    "plot_roc",
    "plot_silhouette",
    "plot_summary_metrics",
]


class Logs(Protocol):
    """What a chart is logged to: a `Run`."""

    def log(self, data: Mapping[str, Any]) -> Any:
        """Keep the values under their names."""
        ...


def plot_classifier(
    model: Any,
    X_train: Any,
    X_test: Any,
    y_train: Any,
    y_test: Any,
    y_pred: Any,
    y_probas: Any,
    labels: Any = None,
    is_binary: bool = False,
    model_name: str = "Classifier",
    feature_names: Sequence[str] | None = None,
    log_learning_curve: bool = False,
    run: Logs | None = None,
) -> dict[str, Chart]:
    """All charts of a fitted classifier, in one `log`.

    Feature importances (of a model that has them), class proportions, summary metrics, confusion matrix, ROC and
    precision-recall curves (with `y_probas`); the calibration curve with `is_binary`; the learning curve, which fits
    the model 25 times, with `log_learning_curve`. Raises: UsageError for input that does not fit; Error without a run.
    """
    charts: dict[str, Chart] = {}
    last = model.steps[-1][1] if hasattr(model, "steps") else model
    if hasattr(last, "feature_importances_") or hasattr(last, "coef_"):
        title = f"Feature importance: {model_name}"
        charts["feature_importances"] = estimators.feature_importances(model, feature_names, title, 50)
    charts["class_proportions"] = estimators.class_proportions(y_train, y_test, labels)
    charts["summary_metrics"] = estimators.summary_metrics(model, X_test, y_test)
    charts["confusion_matrix"] = confusion_matrix(y_true=y_test, preds=y_pred, class_names=labels)
    if y_probas is not None:
        charts["roc"] = roc_chart(y_test, y_probas, labels, None, None, averages=("micro", "macro"))
        charts["precision_recall"] = pr_curve(y_test, y_probas, labels)
    if is_binary:
        charts["calibration_curve"] = estimators.calibration_curve(model, X_train, y_train, model_name)
    if log_learning_curve:
        charts["learning_curve"] = _learning_curve(model, X_train, y_train)
    return _log(charts, run)


def plot_regressor(
    model: Any,
    X_train: Any,
    X_test: Any,
    y_train: Any,
    y_test: Any,
    model_name: str = "Regressor",
    run: Logs | None = None,
) -> dict[str, Chart]:
    """All charts of a fitted regressor: summary metrics, learning curve, outlier candidates, residuals of both sets.

    Raises: UsageError for input that does not fit; Error without a run.
    """
    fitted = [("train", y_train, model.predict(X_train)), ("test", y_test, model.predict(X_test))]
    residuals = estimator_points.residuals_of(fitted)
    residuals.spec["title"]["subtitle"] = model_name
    charts = {
        "summary_metrics": estimators.summary_metrics(model, X_test, y_test),
        "learning_curve": _learning_curve(model, X_train, y_train),
        "outlier_candidates": estimator_points.outlier_candidates(model, X_train, y_train),
        "residuals": residuals,
    }
    return _log(charts, run)


def plot_clusterer(
    model: Any,
    X_train: Any,
    cluster_labels: Any,
    labels: Sequence[str] | None = None,
    model_name: str = "Clusterer",
    run: Logs | None = None,
) -> dict[str, Chart]:
    """All charts of a fitted clusterer: silhouettes, and for k-means the elbow curve.

    Raises: UsageError for input that does not fit; Error without a run.
    """
    by_count = hasattr(model, "n_clusters") and hasattr(model, "score")
    charts = {}
    if by_count:
        charts["elbow_curve"] = estimators.elbow_curve(model, X_train, None, 1, True)
    silhouette = estimator_points.silhouette(model, X_train, cluster_labels, labels, "euclidean", by_count)
    silhouette.spec["title"]["text"] = f"Silhouette: {model_name}"
    charts["silhouette_plot"] = silhouette
    return _log(charts, run)


def plot_roc(
    y_true: Any = None,
    y_probas: Any = None,
    labels: Any = None,
    plot_micro: bool = True,
    plot_macro: bool = True,
    classes_to_plot: Any = None,
    run: Logs | None = None,
) -> Chart:
    """`plot.roc_curve` as ``roc``; with more than two classes also the micro and the macro average.

    Raises: UsageError for input that does not fit; Error without a run.
    """
    asked = (("micro", plot_micro), ("macro", plot_macro))
    averages = [name for name, wanted in asked if wanted]
    chart = roc_chart(y_true, y_probas, labels, classes_to_plot, None, averages=averages)
    return _log({"roc": chart}, run)["roc"]


def plot_precision_recall(
    y_true: Any = None,
    y_probas: Any = None,
    labels: Any = None,
    classes_to_plot: Any = None,
    run: Logs | None = None,
) -> Chart:
    """`plot.pr_curve` as ``precision_recall``. Raises: UsageError for input that does not fit; Error without a run."""
    chart = pr_curve(y_true, y_probas, labels, classes_to_plot)
    return _log({"precision_recall": chart}, run)["precision_recall"]


def plot_confusion_matrix(
    y_true: Any = None,
    y_pred: Any = None,
    labels: Any = None,
    true_labels: Sequence[Any] | None = None,
    pred_labels: Sequence[Any] | None = None,
    normalize: bool = False,
    run: Logs | None = None,
) -> Chart:
    """`plot.confusion_matrix` as ``confusion_matrix``.

    `true_labels` and `pred_labels` choose rows and columns by name; with `normalize` a cell is its share of the
    class, from 0 to 1. Raises: UsageError for input that does not fit; Error without a run.
    """
    chart = confusion_matrix(y_true=y_true, preds=y_pred, class_names=labels)
    if true_labels is not None or pred_labels is not None or normalize:
        chart = _part_of_matrix(chart, true_labels, pred_labels, normalize)
    return _log({"confusion_matrix": chart}, run)["confusion_matrix"]


def plot_feature_importances(
    model: Any = None,
    feature_names: Sequence[str] | None = None,
    title: str = "Feature importance",
    max_num_features: int = 50,
    run: Logs | None = None,
) -> Chart:
    """A bar for each feature of a fitted model, as ``feature_importances``: its importance or mean |coefficient|.

    Raises: UsageError for a model that has neither, or that is not fitted; Error without a run.
    """
    chart = estimators.feature_importances(model, feature_names, title, max_num_features)
    return _log({"feature_importances": chart}, run)["feature_importances"]


def plot_class_proportions(
    y_train: Any = None, y_test: Any = None, labels: Any = None, run: Logs | None = None
) -> Chart:
    """Samples of each class in both sets, as ``class_proportions``. Raises: UsageError; Error without a run."""
    chart = estimators.class_proportions(y_train, y_test, labels)
    return _log({"class_proportions": chart}, run)["class_proportions"]


def plot_calibration_curve(
    clf: Any = None,
    X: Any = None,
    y: Any = None,
    clf_name: str = "Classifier",
    run: Logs | None = None,
) -> Chart:
    """How far predicted probabilities are true, as ``calibration_curve``; four models are fitted on half of the data.

    Raises: UsageError unless `y` has two classes; Error without a run.
    """
    chart = estimators.calibration_curve(clf, X, y, clf_name)
    return _log({"calibration_curve": chart}, run)["calibration_curve"]


def plot_learning_curve(
    model: Any = None,
    X: Any = None,
    y: Any = None,
    cv: Any = None,
    shuffle: bool = False,
    random_state: Any = None,
    train_sizes: Any = None,
    n_jobs: int | None = 1,
    scoring: Any = None,
    run: Logs | None = None,
) -> Chart:
    """Scores over the size of the training set, as ``learning_curve``; arguments as in scikit-learn.

    Raises: UsageError for a missing argument; Error without a run.
    """
    chart = estimators.learning_curve(
        model,
        X,
        y,
        cv=cv,
        shuffle=shuffle,
        random_state=random_state,
        train_sizes=train_sizes,
        n_jobs=n_jobs,
        scoring=scoring,
    )
    return _log({"learning_curve": chart}, run)["learning_curve"]


def plot_summary_metrics(
    model: Any = None,
    X: Any = None,
    y: Any = None,
    X_test: Any = None,
    y_test: Any = None,
    run: Logs | None = None,
) -> Chart:
    """Metrics of a fitted model on the test set, as ``summary_metrics``; `X` and `y` are taken and not needed.

    Raises: UsageError for a model that is neither classifier nor regressor; Error without a run.
    """
    chart = estimators.summary_metrics(model, X_test, y_test)
    return _log({"summary_metrics": chart}, run)["summary_metrics"]


def plot_elbow_curve(
    clusterer: Any = None,
    X: Any = None,
    cluster_ranges: Sequence[int] | None = None,
    n_jobs: int | None = 1,
    show_cluster_time: bool = True,
    run: Logs | None = None,
) -> Chart:
    """Error and seconds over numbers of clusters (1 to 9 unless given), as ``elbow_curve``.

    Raises: UsageError for a clusterer without n_clusters or score; Error without a run.
    """
    chart = estimators.elbow_curve(clusterer, X, cluster_ranges, n_jobs, show_cluster_time)
    return _log({"elbow_curve": chart}, run)["elbow_curve"]


def plot_silhouette(
    clusterer: Any = None,
    X: Any = None,
    cluster_labels: Any = None,
    labels: Sequence[str] | None = None,
    metric: str = "euclidean",
    kmeans: bool = True,
    run: Logs | None = None,
) -> Chart:
    """The silhouette of each sample, as ``silhouette_plot``; with `kmeans` also the first two features.

    `cluster_labels` are the cluster of each sample, else those of the fitted model. Raises: UsageError for less than
    two clusters; Error without a run.
    """
    chart = estimator_points.silhouette(clusterer, X, cluster_labels, labels, metric, kmeans)
    return _log({"silhouette_plot": chart}, run)["silhouette_plot"]


def plot_residuals(regressor: Any = None, X: Any = None, y: Any = None, run: Logs | None = None) -> Chart:
    """Residuals of a clone fitted on four fifths of the samples, as ``residuals``.

    Raises: UsageError for a missing argument; Error without a run.
    """
    return _log({"residuals": estimator_points.residuals(regressor, X, y)}, run)["residuals"]


def plot_outlier_candidates(
    regressor: Any = None, X: Any = None, y: Any = None, run: Logs | None = None
) -> Chart:
    """Cook's distance of each sample, as ``outlier_candidates``. Raises: UsageError; Error without a run."""
    chart = estimator_points.outlier_candidates(regressor, X, y)
    return _log({"outlier_candidates": chart}, run)["outlier_candidates"]


def _learning_curve(model: Any, X: Any, y: Any) -> Chart:
    return estimators.learning_curve(
        model,
        X,
        y,
        cv=None,
        shuffle=True,  # of samples sorted by class, the smallest training sets would hold one class
        random_state=0,
        train_sizes=None,
        n_jobs=1,
        scoring=None,
    )


def _part_of_matrix(
    chart: Chart, true_labels: Sequence[Any] | None, pred_labels: Sequence[Any] | None, normalize: bool
) -> Chart:
    """The chart with fewer rows and columns, or with shares instead of counts."""
    from .chart import make_table
    from .classification import matrix_spec

    cells = chart.table.data
    names = chart.spec["encoding"]["x"]["scale"]["domain"]
    chosen = []
    for what, wanted in (("true_labels", true_labels), ("pred_labels", pred_labels)):
        kept = names if wanted is None else [str(one) for one in wanted]
        unknown = [one for one in kept if one not in names]
        if unknown or not kept:
            raise UsageError(f"{what} {kept}: expected some of the classes {names[:20]}")
        chosen.append([name for name in names if name in kept])
    totals: dict[str, float] = dict.fromkeys(names, 0)
    for true, _, count in cells:
        totals[true] += count
    rows = [
        [true, guess, (count / totals[true] if totals[true] else 0.0) if normalize else count]
        for true, guess, count in cells
        if true in chosen[0] and guess in chosen[1]
    ]
    columns = ["Actual", "Predicted", "nPredictions"]
    spec = matrix_spec(columns, names, "Confusion matrix")
    for axis, kept in (("y", chosen[0]), ("x", chosen[1])):
        spec["encoding"][axis] = {**spec["encoding"][axis], "scale": {"domain": kept}, "sort": kept}
    if normalize:
        for layer in spec["layer"][1:]:
            layer["encoding"]["text"]["format"] = ".2f"
        spec["layer"][0]["encoding"]["tooltip"][2]["format"] = ".4f"
    return Chart(make_table(columns, rows), spec, columns=columns)


def _log(charts: dict[str, Chart], run: Logs | None) -> dict[str, Chart]:
    if run is None:
        from ..session import current_run

        run = current_run()
    if run is None:
        raise Error("plot.sklearn: there is no run; call lineart.init() first, or give run=")
    run.log(charts)
    return charts
