"""Charts of scikit-learn models hold scikit-learn's numbers, and leave the models alone."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from sklearn import metrics
from sklearn.cluster import KMeans
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

import lineart
from lineart.storage.errors import Error, UsageError
from lineart.tracking import session
from lineart.tracking.plot import Chart, sklearn

KMEANS: Any = KMeans  # what pyright infers of it is too narrow
IRIS: Any
IRIS, KINDS = load_iris(return_X_y=True)
TRAIN: Any
TEST: Any
TRAIN, TEST, TRAIN_KINDS, TEST_KINDS = train_test_split(IRIS, KINDS, random_state=0)
NAMES = ["setosa", "versicolor", "virginica"]


class Recorder:
    """Takes what is logged."""

    def __init__(self) -> None:
        self.charts: dict[str, Chart] = {}

    def log(self, data: Mapping[str, Any]) -> None:
        self.charts.update(data)


@pytest.fixture
def run() -> Recorder:
    return Recorder()


def test_classifier_logs_its_charts_to_the_current_run() -> None:
    model = RandomForestClassifier(5, random_state=0).fit(TRAIN, TRAIN_KINDS)
    guesses, probas = model.predict(TEST), model.predict_proba(TEST)
    with lineart.init(project="charts") as current:
        sklearn.plot_classifier(model, TRAIN, TEST, TRAIN_KINDS, TEST_KINDS, guesses, probas, NAMES)
    rows = list(lineart.Api().run(str(current.path)).scan_history())
    assert {key for row in rows for key in row if not key.startswith("_")} == {
        "feature_importances",
        "class_proportions",
        "summary_metrics",
        "confusion_matrix",
        "roc",
        "precision_recall",
    }


def test_without_a_run_the_error_names_init(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_current", None)
    with pytest.raises(Error, match=r"there is no run; call lineart\.init\(\)"):
        sklearn.plot_roc([0, 1], [0.1, 0.9])


def test_roc_of_three_classes_has_micro_and_macro_averages(run: Recorder) -> None:
    model = LogisticRegression(max_iter=500).fit(TRAIN[:, :2], TRAIN_KINDS)
    probas = model.predict_proba(TEST[:, :2])
    chart = sklearn.plot_roc(TEST_KINDS, probas, NAMES, run=run)
    assert run.charts == {"roc": chart}
    area = {row[0]: row[4] for row in chart.table.data}
    one_hot = np.eye(3)[TEST_KINDS]
    micro = metrics.roc_auc_score(one_hot.ravel(), probas.ravel())
    assert area["micro average"] == pytest.approx(micro, abs=1e-12)
    macro = metrics.roc_auc_score(TEST_KINDS, probas, multi_class="ovr", average="macro")
    assert area["macro average"] == pytest.approx(macro, abs=1e-9)
    plain = sklearn.plot_roc(TEST_KINDS, probas, NAMES, plot_micro=False, plot_macro=False, run=run)
    assert {row[0] for row in plain.table.data} == set(NAMES)


def test_confusion_matrix_is_normalised_and_cut(run: Recorder) -> None:
    guesses = np.where(TEST_KINDS == 2, 1, TEST_KINDS)
    guesses[0] = 0
    chart = sklearn.plot_confusion_matrix(TEST_KINDS, guesses, NAMES, normalize=True, run=run)
    theirs = metrics.confusion_matrix(TEST_KINDS, guesses, normalize="true")
    assert [row[2] for row in chart.table.data] == pytest.approx(theirs.ravel().tolist())
    cut = sklearn.plot_confusion_matrix(
        TEST_KINDS, guesses, NAMES, ["virginica"], ["setosa", "virginica"], run=run
    )
    assert [row[:2] for row in cut.table.data] == [["virginica", "setosa"], ["virginica", "virginica"]]
    with pytest.raises(UsageError, match="true_labels"):
        sklearn.plot_confusion_matrix(TEST_KINDS, guesses, NAMES, ["rose"], run=run)


def test_summary_metrics_are_scikit_learns(run: Recorder) -> None:
    model = KNeighborsClassifier().fit(TRAIN, TRAIN_KINDS)
    chart = sklearn.plot_summary_metrics(model, TRAIN, TRAIN_KINDS, TEST, TEST_KINDS, run=run)
    found = {row[0]: row[1] for row in chart.table.data}
    assert found["accuracy_score"] == metrics.accuracy_score(TEST_KINDS, model.predict(TEST))
    assert found["f1_score"] == metrics.f1_score(TEST_KINDS, model.predict(TEST), average="weighted")


def test_feature_importances_are_sorted_and_named(run: Recorder) -> None:
    model = RandomForestClassifier(5, random_state=0).fit(TRAIN, TRAIN_KINDS)
    chart = sklearn.plot_feature_importances(model, ["a", "b", "c", "d"], max_num_features=3, run=run)
    order = np.argsort(-model.feature_importances_)[:3]
    assert [row[0] for row in chart.table.data] == ["abcd"[at] for at in order]
    linear = LogisticRegression(max_iter=500).fit(TRAIN, TRAIN_KINDS)
    sizes = [row[1] for row in sklearn.plot_feature_importances(linear, run=run).table.data]
    assert sizes == pytest.approx(sorted(np.abs(linear.coef_).mean(axis=0), reverse=True))


def test_class_proportions_count_both_sets(run: Recorder) -> None:
    chart = sklearn.plot_class_proportions([0, 1, 1], [0, 2], labels=["a", "b", "c"], run=run)
    counted = {(name, dataset): count for name, dataset, count in chart.table.data}
    assert counted["b", "train"] == 2
    assert counted["b", "test"] == 0
    assert counted["c", "test"] == 1


def test_learning_curve_is_the_mean_over_the_folds(run: Recorder) -> None:
    model = KNeighborsClassifier(3)
    chart = sklearn.plot_learning_curve(model, IRIS, KINDS, cv=3, shuffle=True, random_state=0, run=run)
    assert [row[0] for row in chart.table.data] == ["train"] * 5 + ["test"] * 5
    assert all(0 <= row[1] <= 1 and row[3] >= 0 for row in chart.table.data)
    assert chart.table.data[4][2] == 100


def test_cooks_distance_is_that_of_leaving_the_sample_out(run: Recorder) -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(30, 2))
    target = features @ [1.0, -2.0] + random.normal(size=30)
    target[7] += 15
    model = LinearRegression().fit(features, target)
    chart = sklearn.plot_outlier_candidates(model, features, target, run=run)
    everything = model.predict(features)
    variance = ((target - everything) ** 2).sum() / (30 - 3)
    for at, distance, _ in chart.table.data:
        others = np.arange(30) != at
        without = LinearRegression().fit(features[others], target[others]).predict(features)
        assert distance == pytest.approx(((everything - without) ** 2).sum() / (3 * variance), rel=1e-8)
    assert max(chart.table.data, key=lambda row: row[1])[0] == 7
    assert chart.table.data[7][2] == "yes"


def test_residuals_are_true_minus_predicted(run: Recorder) -> None:
    features, target = load_diabetes(return_X_y=True)
    chart = sklearn.plot_residuals(LinearRegression(), features, target, run=run)
    sets = [row[0] for row in chart.table.data]
    assert (sets.count("train"), sets.count("test")) == (353, 89)
    fitted = np.array([row[2] for row in chart.table.data if row[0] == "train"])
    assert fitted.mean() == pytest.approx(0, abs=1e-9)


def test_elbow_and_silhouette_are_scikit_learns(run: Recorder) -> None:
    model = KMEANS(3, n_init=1, random_state=0).fit(IRIS)
    elbow = sklearn.plot_elbow_curve(model, IRIS, [3, 1], run=run)
    assert [row[0] for row in elbow.table.data] == [1, 3]
    assert elbow.table.data[1][1] == pytest.approx(model.inertia_)
    chart = sklearn.plot_silhouette(model, IRIS, labels=["x", "y", "z"], run=run)
    theirs: Any = metrics.silhouette_samples(IRIS, model.labels_)
    assert sorted(row[2] for row in chart.table.data) == pytest.approx(sorted(theirs))
    assert {row[1] for row in chart.table.data} == {"x", "y", "z"}


def test_silhouette_of_other_points_than_the_fitted_ones_clusters_them(run: Recorder) -> None:
    model = KMEANS(3, n_init=1, random_state=0).fit(IRIS)
    chart = sklearn.plot_silhouette(model, IRIS[:50], run=run)
    assert len(chart.table) == 50
    assert "hconcat" not in sklearn.plot_silhouette(model, IRIS, kmeans=False, run=run).spec


@pytest.mark.parametrize(
    "call",
    [
        lambda model, run: sklearn.plot_learning_curve(model, IRIS, KINDS, run=run),
        lambda model, run: sklearn.plot_calibration_curve(model, IRIS, KINDS == 1, run=run),
        lambda model, run: sklearn.plot_residuals(model, IRIS, KINDS, run=run),
        lambda model, run: sklearn.plot_outlier_candidates(model, IRIS, KINDS, run=run),
    ],
)
def test_model_of_the_user_is_not_refitted(call: Callable[[Any, Recorder], Any], run: Recorder) -> None:
    model = KNeighborsClassifier(3).fit(TRAIN, TRAIN_KINDS)
    before = pickle.dumps(model)
    call(model, run)
    assert pickle.dumps(model) == before


@pytest.mark.parametrize(
    "call, message",
    [
        (sklearn.plot_learning_curve, "model is missing"),
        (lambda: sklearn.plot_summary_metrics(KNeighborsClassifier()), "X_test is missing"),
        (
            lambda: sklearn.plot_summary_metrics(object_with_predict(), X_test=[[1.0]], y_test=[1]),
            "neither a classifier",
        ),
        (
            lambda: sklearn.plot_calibration_curve(KNeighborsClassifier(), IRIS, KINDS),
            "y has 3 classes; expected two",
        ),
        (lambda: sklearn.plot_calibration_curve(LinearRegression(), IRIS, KINDS > 1), "has no predict_proba"),
        (lambda: sklearn.plot_feature_importances(fitted_neighbours()), "no feature_importances_ or coef_"),
        (
            lambda: sklearn.plot_feature_importances(fitted_forest(), ["a"]),
            "feature_names has 1 names for 4 features",
        ),
        (lambda: sklearn.plot_elbow_curve(KNeighborsClassifier(), IRIS), "no n_clusters and score"),
        (lambda: sklearn.plot_elbow_curve(KMEANS(), IRIS, [0, 2]), r"cluster_ranges \[0, 2\]"),
        (lambda: sklearn.plot_silhouette(KMEANS(), IRIS, [0] * 150), "150 labels of 1 clusters"),
        (lambda: sklearn.plot_silhouette(KMEANS(), IRIS, [0, 1]), "2 labels of 2 clusters for 150 samples"),
        (
            lambda: sklearn.plot_outlier_candidates(LinearRegression(), [[1.0], [2.0]], [1, 2]),
            "2 samples for 2 coef",
        ),
        (
            lambda: sklearn.plot_outlier_candidates(LinearRegression(), [1.0, 2.0], [1, 2]),
            r"X has shape \(2,\)",
        ),
    ],
)
def test_wrong_input_is_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()


def test_unfitted_model_is_refused_by_scikit_learn() -> None:
    with pytest.raises(NotFittedError):
        sklearn.plot_feature_importances(RandomForestClassifier())


def fitted_forest() -> RandomForestClassifier:
    return RandomForestClassifier(2, random_state=0).fit(TRAIN, TRAIN_KINDS)


def fitted_neighbours() -> KNeighborsClassifier:
    return KNeighborsClassifier().fit(TRAIN, TRAIN_KINDS)


def object_with_predict() -> Any:
    return KMEANS(1, n_init=1, random_state=0).fit(IRIS[:, :1])
