"""Recording scikit-learn estimators, with scikit-learn itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lineart
from lineart.storage.errors import Error, UsageError

pytest.importorskip("sklearn", reason="scikit-learn is not installed (requirements/frameworks.txt)")

import joblib
from sklearn import metrics
from sklearn.cluster import KMeans
from sklearn.datasets import load_diabetes, load_iris
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from lineart.integrations import sklearn as integration
from lineart.integrations.sklearn import log_estimator

X, Y = load_iris(return_X_y=True)
NAMES = ["setosa", "versicolor", "virginica"]


def rows(run: lineart.Run) -> list[dict[str, Any]]:
    return list(lineart.Api().run(run.path).scan_history())


def test_classifier_is_recorded_whole() -> None:
    with lineart.init(id="s1") as run:
        model = DecisionTreeClassifier(max_depth=2, random_state=0).fit(X, Y)
        found = log_estimator(model, X, Y, prefix="train/", labels=NAMES)
    predicted, sure = model.predict(X), model.predict_proba(X)
    assert found["train/accuracy"] == metrics.accuracy_score(Y, predicted)
    assert found["train/f1"] == metrics.f1_score(Y, predicted, average="macro")
    assert found["train/log_loss"] == metrics.log_loss(Y, sure)
    assert found["train/roc_auc"] == metrics.roc_auc_score(Y, sure, multi_class="ovr")
    (row,) = rows(run)
    assert {key: row[key] for key in found} == found
    assert {"train/confusion_matrix", "train/roc", "train/precision_recall"} <= set(row)
    config = lineart.Api().run(run.path).config
    assert config["DecisionTreeClassifier"]["max_depth"] == 2
    artifact = lineart.Api().artifact("s1_DecisionTreeClassifier:latest")
    assert artifact.type == "model"
    assert artifact.metadata["class"] == "sklearn.tree._classes.DecisionTreeClassifier"
    assert "runs code" in str(artifact.description)
    loaded = joblib.load(artifact.file("model.joblib"))
    assert np.array_equal(loaded.predict(X), predicted)


def test_two_classes_given_as_text() -> None:
    x, y = X[:100], np.array(NAMES)[Y[:100]]
    with lineart.init() as run:
        model = LogisticRegression().fit(x, y)
        found = log_estimator(model, x, y, log_model=False)
    assert found["roc_auc"] == metrics.roc_auc_score(y, model.predict_proba(x)[:, 1])
    assert "roc" in rows(run)[0]
    assert lineart.Api().run(run.path).logged_artifacts() == []


def test_regressor() -> None:
    x, y = load_diabetes(return_X_y=True)
    with lineart.init() as run:
        model = LinearRegression().fit(x, y)
        found = log_estimator(model, x, y, run=run, log_model=False)
    predicted = model.predict(x)
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(y, predicted))
    assert (found["r2"], found["mae"]) == (
        metrics.r2_score(y, predicted),
        metrics.mean_absolute_error(y, predicted),
    )


def test_clusterer_and_transformer() -> None:
    with lineart.init():
        clusterer = KMeans(3, random_state=0).fit(X)
        assert log_estimator(clusterer, X, log_model=False) == {
            "silhouette": pytest.approx(metrics.silhouette_score(X, clusterer.labels_))
        }
        reduction = PCA(2).fit(X)
        assert log_estimator(reduction, X, log_model=False) == {"score": pytest.approx(reduction.score(X))}
        assert log_estimator(StandardScaler().fit(X), X, log_model=False) == {}


def test_pipeline_and_search() -> None:
    with lineart.init() as run:
        pipeline = make_pipeline(StandardScaler(), LogisticRegression())
        search = GridSearchCV(pipeline, {"logisticregression__C": [0.01, 1.0]}, cv=2).fit(X, Y)
        log_estimator(search, X, Y)
    (row,) = rows(run)
    assert row["best_score"] == pytest.approx(search.best_score_)
    assert row["search"]["nrows"] == 2
    config = lineart.Api().run(run.path).config
    assert config["GridSearchCV"]["best_params"] == {
        "logisticregression__C": search.best_params_["logisticregression__C"]
    }


def test_classifiers_without_probabilities_or_with_several_targets() -> None:
    with lineart.init():
        found = log_estimator(LinearSVC().fit(X, Y), X, Y, log_model=False)
        assert "accuracy" in found
        assert "log_loss" not in found
        many = np.stack([Y == 0, Y == 1], axis=1).astype(int)
        several = MultiOutputClassifier(DecisionTreeClassifier(max_depth=1)).fit(X, many)
        assert "accuracy" in log_estimator(several, X, many, log_model=False)


def test_samples_that_lack_a_class_or_have_a_new_one_are_measured_all_the_same() -> None:
    with lineart.init():
        model = DecisionTreeClassifier().fit(X, Y)
        lacking = log_estimator(model, X[:100], Y[:100], log_model=False, prefix="a/")
        assert "a/log_loss" in lacking
        assert "a/roc_auc" not in lacking
        fewer = DecisionTreeClassifier().fit(X[:100], Y[:100])
        assert set(log_estimator(fewer, X, Y, log_model=False)) == {
            "accuracy",
            "balanced_accuracy",
            "precision",
            "recall",
            "f1",
        }


def test_recording_again_and_another_estimator_do_not_collide() -> None:
    with lineart.init(id="s2") as run:
        for depth in (1, 2):
            log_estimator(DecisionTreeClassifier(max_depth=depth).fit(X, Y), X, Y)
        log_estimator(LogisticRegression(max_iter=500).fit(X, Y), X, Y, name="other")
    config = lineart.Api().run(run.path).config
    assert config["DecisionTreeClassifier"]["max_depth"] == 2
    assert "LogisticRegression" in config
    versions = lineart.Api().artifacts("model", "s2_DecisionTreeClassifier")
    assert [version.version for version in versions] == ["v1", "v0"]


def test_charts_have_the_names_that_people_know() -> None:
    assert all(callable(getattr(integration, name)) for name in integration.__all__)
    with lineart.init() as run:
        model = LogisticRegression(max_iter=500).fit(X, Y)
        integration.plot_confusion_matrix(Y, model.predict(X), NAMES)
    assert rows(run)


def test_bad_input_is_refused() -> None:
    with pytest.raises(Error, match="log_estimator: there is no run"):
        log_estimator(LinearRegression(), X, Y)
    with lineart.init():
        with pytest.raises(UsageError, match="LinearRegression is not fitted"):
            log_estimator(LinearRegression(), X, Y)
        with pytest.raises(UsageError, match=r"builtins\.str is not an estimator"):
            log_estimator("model", X, Y)
        with pytest.raises(UsageError, match="2 labels for 3 classes"):
            log_estimator(DecisionTreeClassifier().fit(X, Y), X, Y, labels=["a", "b"])
