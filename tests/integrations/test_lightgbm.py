"""LightGBM's callback and summary, with LightGBM itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lineart
from lineart.storage.errors import Error, UsageError

lightgbm: Any = pytest.importorskip(
    "lightgbm", reason="lightgbm is not installed (requirements/frameworks.txt)"
)

from lineart.integrations.lightgbm import log_evaluation, log_summary  # noqa: E402 - after the skip

PARAMETERS = {
    "objective": "binary",
    "metric": ["binary_logloss", "auc"],
    "verbose": -1,
    "num_threads": 1,
    "min_data_in_leaf": 2,
}


def samples(seed: int = 0) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    values = random.normal(size=(120, 3))
    return values, (values[:, 0] + values[:, 1] > 0).astype(int)


def train(rounds: int, *callbacks: Any, **parameters: Any) -> Any:
    x, y = samples()
    data = lightgbm.Dataset(x, label=y, feature_name=["a", "b", "c"])
    other = lightgbm.Dataset(*samples(1), reference=data)
    return lightgbm.train(
        {**PARAMETERS, **parameters}, data, rounds, valid_sets=[other], callbacks=list(callbacks)
    )


def rows(run: lineart.Run) -> list[dict[str, Any]]:
    return list(lineart.Api().run(run.path).scan_history())


def test_every_round_is_a_row_and_the_summary_has_the_best() -> None:
    evaluated: dict[str, Any] = {}
    with lineart.init() as run:
        train(6, log_evaluation(), lightgbm.record_evaluation(evaluated))
    assert [row["iteration"] for row in rows(run)] == list(range(6))
    losses = evaluated["valid_0"]["binary_logloss"]
    assert [row["valid_0_binary_logloss"] for row in rows(run)] == losses
    found = lineart.Api().run(run.path)
    assert found.summary["valid_0_binary_logloss"] == min(losses)
    assert found.summary["valid_0_auc"] == max(evaluated["valid_0"]["auc"])
    assert found.config["objective"] == "binary"


def test_period_takes_every_nth_round() -> None:
    with lineart.init() as run:
        train(7, log_evaluation(period=3, log_params=False))
    assert [row["iteration"] for row in rows(run)] == [2, 5]
    assert dict(lineart.Api().run(run.path).config) == {}


def test_summary_has_best_round_scores_importance_and_model() -> None:
    with lineart.init(id="g1") as run:
        model = train(60, log_evaluation(), lightgbm.early_stopping(3, verbose=False), learning_rate=0.5)
        log_summary(model, save_model_checkpoint=True)
    found = lineart.Api().run(run.path)
    assert found.summary["best_iteration"] == model.best_iteration
    assert found.summary["best_score"]["valid_0"]["auc"] == pytest.approx(model.best_score["valid_0"]["auc"])
    assert any("Feature Importance" in row for row in rows(run))
    artifact = lineart.Api().artifact("g1_model:latest")
    loaded = lightgbm.Booster(model_file=str(artifact.file("model.txt")))
    assert np.allclose(loaded.predict(samples(1)[0]), model.predict(samples(1)[0]))


def test_cross_validation_logs_means_and_deviations() -> None:
    with lineart.init() as run:
        data = lightgbm.Dataset(*samples())
        found = lightgbm.cv(PARAMETERS, data, 3, nfold=2, callbacks=[log_evaluation()])
    logged = rows(run)
    assert [row["valid_auc"] for row in logged] == pytest.approx(found["valid auc-mean"])
    assert [row["valid_auc-stdv"] for row in logged] == pytest.approx(found["valid auc-stdv"])


def test_scikit_learn_interface() -> None:
    x, y = samples()
    with lineart.init() as run:
        model = lightgbm.LGBMClassifier(n_estimators=3, verbose=-1, n_jobs=1)
        model.fit(x, y, eval_X=x, eval_y=y, callbacks=[log_evaluation()])
        log_summary(model)
    assert [row["iteration"] for row in rows(run) if "iteration" in row] == [0, 1, 2]


def test_training_without_evaluation_logs_no_rows() -> None:
    x, y = samples()
    with lineart.init() as run:
        model = lightgbm.train(PARAMETERS, lightgbm.Dataset(x, label=y), 2, callbacks=[log_evaluation()])
        log_summary(model, feature_importance=False)
    assert rows(run) == []
    assert "best_iteration" not in lineart.Api().run(run.path).summary


def test_bad_input_is_refused() -> None:
    with pytest.raises(Error, match=r"log_evaluation: there is no run"):
        log_evaluation()
    with lineart.init() as run:
        with pytest.raises(UsageError, match="period is 0"):
            log_evaluation(0)
        with pytest.raises(UsageError, match="int is not a model of LightGBM"):
            log_summary(3, run=run)
