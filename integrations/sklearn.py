"""scikit-learn: one call that records a fitted estimator; and its charts, under the names of the W&B SDK."""

# ruff: noqa: N803 - X is the features, as everywhere in this field
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..storage.errors import UsageError
from ..tracking.media import Table
from ..tracking.plot.sklearn import (
    plot_calibration_curve,
    plot_class_proportions,
    plot_classifier,
    plot_clusterer,
    plot_confusion_matrix,
    plot_elbow_curve,
    plot_feature_importances,
    plot_learning_curve,
    plot_outlier_candidates,
    plot_precision_recall,
    plot_regressor,
    plot_residuals,
    plot_roc,
    plot_silhouette,
    plot_summary_metrics,
)
from .current import run_or_current
from .library import library
from .model_files import fitting, log_model_files
from .plain_settings import plain_settings

if TYPE_CHECKING:
    from ..tracking.run import Run

sklearn: Any = library("sklearn", "scikit-learn")

__all__ = [
    "log_estimator",
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

_NOTE = (
    "A joblib file, which is a pickle: loading it runs code that it names, so load only what you trust,"
    " with the release of scikit-learn in the metadata."
)


def log_estimator(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    run: Run | None = None,
    prefix: str = "",
    name: str | None = None,
    labels: Sequence[str] | None = None,
    charts: bool = True,
    log_model: bool = True,
) -> dict[str, float]:
    """Record a fitted estimator with its results on the samples `X` and targets `y`; returns the metrics.

    Its class and parameters go to the config under its class's name, its metrics into one row of the history: of a
    classifier ``accuracy``, ``balanced_accuracy``, ``precision``, ``recall``, ``f1`` (means over the classes) and,
    with probabilities, ``log_loss`` and ``roc_auc``; of a regressor ``r2``, ``mae``, ``mse``, ``rmse``; of a
    clusterer without `y` ``silhouette``; of anything else ``score``. `prefix` comes before each name ("test/"). With
    `charts` a classifier's confusion matrix, ROC and precision-recall curves are in the row, too; `labels` name the
    classes. A search brings its best parameters and the table ``search``. With `log_model` the estimator is logged as
    the model artifact `name` (default ``<run>_<class>``), a file of joblib.

    Raises: UsageError for what is no fitted estimator; Error when no `run` is given and none is current.

    >>> import lineart
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from lineart.integrations.sklearn import log_estimator
    >>> X, y = load_iris(return_X_y=True)
    >>> with lineart.init(project="docs") as run:
    ...     found = log_estimator(LogisticRegression(max_iter=200).fit(X, y), X, y, prefix="train/")
    >>> run.config["LogisticRegression"]["max_iter"], run.summary["train/accuracy"] == found["train/accuracy"]
    (200, True)
    """
    logged_to = run_or_current(run, "log_estimator")
    _demand_fitted(estimator)
    kind = type(estimator).__name__
    metrics = {f"{prefix}{key}": value for key, value in _metrics(estimator, X, y).items()}
    values = plain_settings(estimator.get_params(deep=False))
    row: dict[str, Any] = {**metrics}
    if hasattr(estimator, "cv_results_"):
        values["best_params"] = plain_settings(estimator.best_params_)
        row[f"{prefix}best_score"] = float(estimator.best_score_)
        row[f"{prefix}search"] = _search_table(estimator.cv_results_)
    if charts and y is not None and sklearn.base.is_classifier(estimator):
        row |= {f"{prefix}{key}": chart for key, chart in _charts(estimator, X, y, labels).items()}
    logged_to.config.update({kind: values}, allow_val_change=True)
    logged_to.log(row)
    if log_model:
        _log_model(logged_to, estimator, name or fitting(f"{logged_to.id}_{kind}"), metrics)
    return metrics


def _demand_fitted(estimator: Any) -> None:
    """Raises: UsageError."""
    what = f"log_estimator: {type(estimator).__module__}.{type(estimator).__qualname__}"
    if isinstance(estimator, type) or not isinstance(estimator, sklearn.base.BaseEstimator):
        raise UsageError(f"{what} is not an estimator of scikit-learn")
    validation = library("sklearn.utils.validation", "scikit-learn")
    try:
        validation.check_is_fitted(estimator)
    except sklearn.exceptions.NotFittedError:
        raise UsageError(f"{what} is not fitted; call its fit() first") from None


def _metrics(estimator: Any, X: Any, y: Any) -> dict[str, float]:
    scores = library("sklearn.metrics", "scikit-learn")
    if y is not None and sklearn.base.is_classifier(estimator):
        return _of_classifier(scores, estimator, X, y)
    if y is not None and sklearn.base.is_regressor(estimator):
        predicted = estimator.predict(X)
        squared = float(scores.mean_squared_error(y, predicted))
        return {
            "r2": float(scores.r2_score(y, predicted)),
            "mae": float(scores.mean_absolute_error(y, predicted)),
            "mse": squared,
            "rmse": squared**0.5,
        }
    assigned = getattr(estimator, "labels_", None)
    if y is None and assigned is not None and len(assigned) == len(X) and 1 < len(set(assigned)) < len(X):
        return {"silhouette": float(scores.silhouette_score(X, assigned))}
    if callable(getattr(estimator, "score", None)):
        return {"score": float(estimator.score(X, y) if y is not None else estimator.score(X))}
    return {}


def _of_classifier(scores: Any, estimator: Any, X: Any, y: Any) -> dict[str, float]:
    predicted = estimator.predict(X)
    found = {"accuracy": float(scores.accuracy_score(y, predicted))}
    multilabel = getattr(predicted, "ndim", 1) > 1
    if not multilabel:
        found["balanced_accuracy"] = float(scores.balanced_accuracy_score(y, predicted))
    for key in ("precision", "recall", "f1"):
        measure = getattr(scores, f"{key}_score")
        found[key] = float(measure(y, predicted, average="macro", zero_division=0))
    probabilities = _probabilities(estimator, X)
    if probabilities is None or multilabel:
        return found
    classes = list(estimator.classes_)
    if not set(y) <= set(classes):
        return found  # a class that was not in training has no probability
    found["log_loss"] = float(scores.log_loss(y, probabilities, labels=classes))
    if len(set(y)) == len(classes):  # the area is not defined for a class without samples
        two = len(classes) == 2
        found["roc_auc"] = float(
            scores.roc_auc_score(y, probabilities[:, 1])
            if two
            else scores.roc_auc_score(y, probabilities, multi_class="ovr", labels=classes)
        )
    return found


def _probabilities(estimator: Any, X: Any) -> Any:
    """None for a classifier that has none, or one for each of several targets."""
    if not hasattr(estimator, "predict_proba"):
        return None
    found = estimator.predict_proba(X)
    return None if isinstance(found, list) else found


def _charts(estimator: Any, X: Any, y: Any, labels: Sequence[str] | None) -> Mapping[str, Any]:
    from ..tracking import plot

    predicted = estimator.predict(X)
    if getattr(predicted, "ndim", 1) > 1:
        return {}  # several targets: there is no one matrix
    classes = list(estimator.classes_)
    names = list(labels) if labels is not None else [str(name) for name in classes]
    if len(names) != len(classes):
        raise UsageError(f"log_estimator: {len(names)} labels for {len(classes)} classes: {classes}")
    known = {value: at for at, value in enumerate(classes)}
    if not set(y) <= set(known):
        return {}
    true = [known[value] for value in y]
    charts = {
        "confusion_matrix": plot.confusion_matrix(
            y_true=true, preds=[known[value] for value in predicted], class_names=names
        )
    }
    probabilities = _probabilities(estimator, X)
    if probabilities is not None:
        charts["roc"] = plot.roc_curve(true, probabilities, labels=names)
        charts["precision_recall"] = plot.pr_curve(true, probabilities, labels=names)
    return charts


def _search_table(results: Mapping[str, Any]) -> Table:
    """One row for each candidate: its parameters, scores and times, best first."""
    chosen = [key for key in results if key.startswith(("param_", "mean_", "std_", "rank_"))]
    parameters = [key for key in chosen if key.startswith("param_")]
    rows = []
    for at in range(len(results["params"])):
        cells = plain_settings({key: results[key][at] for key in chosen})
        rows.append([str(cells[key]) if key in parameters else cells[key] for key in chosen])
    ranks = next((at for at, key in enumerate(chosen) if key.startswith("rank_")), None)
    if ranks is not None:
        rows.sort(key=lambda row: row[ranks])
    return Table(columns=chosen, data=rows)


def _log_model(run: Run, estimator: Any, name: str, metrics: Mapping[str, float]) -> None:
    joblib = library("joblib")
    features = getattr(estimator, "feature_names_in_", None)
    log_model_files(
        run,
        name,
        lambda folder: joblib.dump(estimator, folder / "model.joblib"),
        description=_NOTE,
        metadata={
            "class": f"{type(estimator).__module__}.{type(estimator).__qualname__}",
            "scikit-learn": sklearn.__version__,
            "joblib": joblib.__version__,
            "features": None if features is None else list(features),
            "metrics": dict(metrics),
        },
    )
