"""The XGBoost callback, with XGBoost itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lineart
from lineart.storage.errors import Error

xgboost: Any = pytest.importorskip("xgboost", reason="xgboost is not installed (requirements/frameworks.txt)")

from lineart.integrations.xgboost import LineartCallback  # noqa: E402 - after the skip

PARAMETERS = {"objective": "binary:logistic", "nthread": 1, "max_depth": 2, "eval_metric": ["logloss", "auc"]}


def data(seed: int = 0) -> Any:
    random = np.random.default_rng(seed)
    values = random.normal(size=(80, 3))
    return xgboost.DMatrix(values, label=values[:, 0] + values[:, 1] > 0, feature_names=["a", "b", "c"])


def train(rounds: int, callback: Any, **more: Any) -> Any:
    given = [(data(), "train"), (data(1), "eval")]
    return xgboost.train(
        PARAMETERS, given[0][0], rounds, evals=given, verbose_eval=False, callbacks=[callback], **more
    )


def rows(run: lineart.Run) -> list[dict[str, Any]]:
    return list(lineart.Api().run(run.path).scan_history())


def test_every_round_is_a_row_and_the_summary_has_the_best() -> None:
    evaluated: dict[str, Any] = {}
    with lineart.init() as run:
        train(6, LineartCallback(), evals_result=evaluated)
    found = [row for row in rows(run) if "epoch" in row]
    assert [row["epoch"] for row in found] == list(range(6))
    assert [row["eval-logloss"] for row in found] == evaluated["eval"]["logloss"]
    summary = lineart.Api().run(run.path).summary
    assert summary["eval-auc"] == max(evaluated["eval"]["auc"])
    assert summary["eval-logloss"] == min(evaluated["eval"]["logloss"])
    config = lineart.Api().run(run.path).config
    assert config["learner"]["learner_train_param"]["objective"] == "binary:logistic"


def test_importance_is_a_chart_with_its_table() -> None:
    with lineart.init() as run:
        model = train(4, LineartCallback())
    (chart,) = (row["Feature Importance"] for row in rows(run) if "Feature Importance" in row)
    gains = model.get_score(importance_type="gain")
    assert chart["table"]["nrows"] == len(gains)
    assert chart["columns"] == ["Feature", "Importance"]
    saved = {file.name for file in lineart.Api().run(run.path).files()}
    assert chart["table"]["parts"][0]["path"] in saved


def test_early_stopping_puts_the_best_round_into_the_summary() -> None:
    with lineart.init() as run:
        model = train(50, LineartCallback(), early_stopping_rounds=2)
    summary = lineart.Api().run(run.path).summary
    assert summary["best_iteration"] == model.best_iteration
    assert summary["best_score"] == pytest.approx(model.best_score)


def test_logged_model_predicts_the_same() -> None:
    with lineart.init(id="x1") as run:
        model = train(3, LineartCallback(log_model=True))
    artifact = lineart.Api().artifact("x1_model:latest")
    assert artifact.metadata["rounds"] == 3
    loaded = xgboost.Booster(model_file=str(artifact.file("model.json")))
    assert np.array_equal(loaded.predict(data()), model.predict(data()))
    assert [used.name for used in lineart.Api().run(run.path).logged_artifacts()] == ["x1_model:v0"]


def test_cross_validation_logs_means_and_deviations() -> None:
    with lineart.init() as run:
        found = xgboost.cv(PARAMETERS, data(), 3, nfold=2, callbacks=[LineartCallback(log_model=True)])
    logged = [row for row in rows(run) if "epoch" in row]
    assert [row["test-logloss"] for row in logged] == pytest.approx(found["test-logloss-mean"].tolist())
    assert logged[0]["test-logloss-std"] == pytest.approx(found["test-logloss-std"][0])


def test_scikit_learn_interface_and_linear_models_with_several_classes() -> None:
    random = np.random.default_rng(2)
    x, y = random.normal(size=(60, 2)), np.arange(60) % 3
    with lineart.init() as run:
        model = xgboost.XGBClassifier(
            n_estimators=2, booster="gblinear", n_jobs=1, callbacks=[LineartCallback()]
        )
        model.fit(x, y, eval_set=[(x, y)], verbose=False)
    assert [row["validation_0-mlogloss"] for row in rows(run) if "epoch" in row] == pytest.approx(
        model.evals_result()["validation_0"]["mlogloss"]
    )


def test_copy_of_a_callback_logs_to_the_same_run() -> None:
    sklearn: Any = pytest.importorskip("sklearn.model_selection", reason="scikit-learn is not installed")
    random = np.random.default_rng(2)
    x, y = random.normal(size=(60, 2)), np.arange(60) % 2
    with lineart.init() as run:
        model = xgboost.XGBClassifier(
            n_estimators=2, n_jobs=1, callbacks=[LineartCallback(define_metric=False)]
        )
        sklearn.cross_val_score(model, x, y, cv=2)
    assert [row["epoch"] for row in rows(run) if "epoch" in row] == [0, 1, 0, 1]


def test_explicit_run_is_used_and_none_at_all_is_refused() -> None:
    first = lineart.init()
    with lineart.init(reinit="create_new") as second:
        train(1, LineartCallback(run=first))
    first.finish()
    assert [row["epoch"] for row in rows(first) if "epoch" in row] == [0]
    assert rows(second) == []
    with pytest.raises(Error, match=r"LineartCallback: there is no run; call lineart\.init\(\)"):
        LineartCallback()
