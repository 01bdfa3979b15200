"""XGBoost: a callback that logs every round, and in the end the importance of features and the model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from ..tracking import plot
from ..tracking.media import Table
from .current import run_or_current
from .library import library
from .model_files import fitting, log_model_files
from .plain_settings import plain_settings

if TYPE_CHECKING:
    from ..tracking.run import Run

xgboost: Any = library("xgboost")

__all__ = ["LineartCallback"]

Importance = Literal["weight", "gain", "cover", "total_gain", "total_cover"]

# What grows when a model gets better; every other metric of XGBoost is a loss. `ndcg@5-` is ndcg, too.
_BETTER_WHEN_MORE = (
    "auc",
    "aucpr",
    "pre",
    "map",
    "ndcg",
    "acc",
    "accuracy",
    "f1",
    "interval-regression-accuracy",
)


class LineartCallback(xgboost.callback.TrainingCallback):  # type: ignore[misc]
    """Logs what XGBoost evaluates, as ``<data>-<metric>`` with ``epoch``, one row a round.

    With `define_metric` the summary keeps the best value of each metric. The booster's parameters go to the config,
    with early stopping ``best_score`` and ``best_iteration`` to the summary. In the end come the bar chart and table
    ``Feature Importance`` (`log_feature_importance`, by `importance_type`) and the artifact ``<run>_model`` with the
    model as JSON (`log_model`). In ``xgboost.cv`` the means are logged, and ``…-std``.

    >>> import lineart, numpy, xgboost
    >>> from lineart.integrations.xgboost import LineartCallback
    >>> data = xgboost.DMatrix(numpy.arange(20.0).reshape(10, 2), label=numpy.arange(10) % 2)
    >>> parameters = {"objective": "binary:logistic", "nthread": 1}
    >>> with lineart.init(project="docs") as run:
    ...     model = xgboost.train(parameters, data, 3, evals=[(data, "train")], verbose_eval=False,
    ...                           callbacks=[LineartCallback()])
    >>> run.step, "train-logloss" in run.summary
    (4, True)
    """

    def __init__(
        self,
        log_model: bool = False,
        log_feature_importance: bool = True,
        importance_type: Importance = "gain",
        define_metric: bool = True,
        run: Run | None = None,
    ) -> None:
        """Raises: Error when no `run` is given and none is current."""
        super().__init__()
        self.run = run_or_current(run, "LineartCallback")
        self.log_model = log_model
        self.log_feature_importance = log_feature_importance
        self.importance_type: Importance = importance_type
        self.define_metric = define_metric
        self._defined: set[str] = set()

    def __deepcopy__(self, memo: dict[int, Any]) -> LineartCallback:
        """The same run: scikit-learn copies an estimator's callbacks with it."""
        return LineartCallback(
            self.log_model, self.log_feature_importance, self.importance_type, self.define_metric, self.run
        )

    def before_training(self, model: Any) -> Any:
        """Take the parameters into the config."""
        if isinstance(model, xgboost.Booster):
            config = json.loads(model.save_config())
            self.run.config.update(plain_settings(config), allow_val_change=True)
        return model

    def after_iteration(
        self, model: Any, epoch: int, evals_log: Mapping[str, Mapping[str, Sequence[Any]]]
    ) -> bool:
        """Log the newest values."""
        row: dict[str, Any] = {"epoch": epoch}
        for data, metrics in evals_log.items():
            for metric, values in metrics.items():
                name, value = f"{data}-{metric}", values[-1]
                if isinstance(value, tuple):
                    value, row[f"{name}-std"] = value
                row[name] = value
                self._define(name, metric)
        self.run.log(row)
        return False

    def _define(self, name: str, metric: str) -> None:
        if self.define_metric and name not in self._defined:
            self._defined.add(name)
            kind = metric.partition("@")[0].lower()
            more = kind in _BETTER_WHEN_MORE
            self.run.define_metric(name, summary="max" if more else "min")

    def after_training(self, model: Any) -> Any:
        """Log what is known of the whole training."""
        if not isinstance(model, xgboost.Booster):
            return model
        if model.attr("best_score") is not None:
            self.run.summary["best_score"] = float(model.attr("best_score"))
            self.run.summary["best_iteration"] = int(model.attr("best_iteration"))
        if self.log_feature_importance:
            self._log_importance(model)
        if self.log_model:
            name = fitting(f"{self.run.id}_model")
            log_model_files(
                self.run,
                name,
                lambda folder: model.save_model(folder / "model.json"),
                metadata={"xgboost": xgboost.__version__, "rounds": model.num_boosted_rounds()},
            )
        return model

    def _log_importance(self, model: Any) -> None:
        kind = json.loads(model.save_config())["learner"]["gradient_booster"]["name"]
        found = model.get_score(importance_type="weight" if kind == "gblinear" else self.importance_type)
        rows = [[name, value] for name, score in found.items() for value in _numbers(score)]
        if rows:  # a model without any split has none
            table = Table(columns=["Feature", "Importance"], data=sorted(rows, key=lambda row: -row[1]))
            title = "Feature Importance"
            self.run.log({title: plot.bar(table, "Feature", "Importance", title=title)})


def _numbers(score: Any) -> list[float]:
    """One, or for a linear model one for each class."""
    return [float(value) for value in score] if isinstance(score, (list, tuple)) else [float(score)]
