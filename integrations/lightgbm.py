"""LightGBM: a callback that logs what is evaluated, and a function for what is known in the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..storage.errors import UsageError
from ..tracking import plot
from ..tracking.media import Table
from .current import run_or_current
from .library import library
from .model_files import fitting, log_model_files
from .plain_settings import plain_settings

if TYPE_CHECKING:
    from ..tracking.run import Run

lightgbm: Any = library("lightgbm")

__all__ = ["LogEvaluation", "log_evaluation", "log_summary"]


class LogEvaluation:
    """The callback that `log_evaluation` makes."""

    order = 25  # after LightGBM's own, before early stopping ends the training (30)
    before_iteration = False

    def __init__(self, period: int, log_params: bool, define_metric: bool, run: Run) -> None:
        self.period = period
        self.run = run
        self._log_params = log_params
        self._define_metric = define_metric
        self._defined: set[str] = set()

    def __call__(self, env: Any) -> None:
        """Log one round."""
        if self._log_params:
            self._log_params = False
            self.run.config.update(plain_settings(env.params), allow_val_change=True)
        if not env.evaluation_result_list or (env.iteration + 1) % self.period:
            return
        row: dict[str, Any] = {"iteration": env.iteration}
        for data, metric, value, more, *deviation in env.evaluation_result_list:
            if len(metric.split()) == 2:  # older releases name the data of a cross-validation here
                data, metric = metric.split()  # noqa: PLW2901
            name = f"{data}_{metric}"
            row[name] = value
            if deviation and deviation[0] is not None:
                row[f"{name}-stdv"] = deviation[0]
            if self._define_metric and name not in self._defined:
                self._defined.add(name)
                self.run.define_metric(name, summary="max" if more else "min")
        self.run.log(row)


def log_evaluation(
    period: int = 1, log_params: bool = True, define_metric: bool = True, run: Run | None = None
) -> LogEvaluation:
    """A callback that logs every `period` rounds what LightGBM evaluates, as ``<data>_<metric>`` with ``iteration``.

    With `log_params` the parameters go to the config, with `define_metric` the summary keeps the best value of each
    metric. In ``lightgbm.cv`` the means are logged, and ``…-stdv``.
    Raises: Error when no `run` is given and none is current; UsageError for a period below 1.

    >>> import lightgbm, lineart, numpy
    >>> from lineart.integrations.lightgbm import log_evaluation, log_summary
    >>> data = lightgbm.Dataset(numpy.arange(80.0).reshape(40, 2), label=numpy.arange(40) % 2)
    >>> parameters = {"objective": "binary", "verbose": -1, "num_threads": 1}
    >>> with lineart.init(project="docs") as run:
    ...     model = lightgbm.train(parameters, data, 3, valid_sets=[data], callbacks=[log_evaluation()])
    ...     log_summary(model)
    >>> run.summary["iteration"], "training_binary_logloss" in run.summary
    (2, True)
    """
    if isinstance(period, bool) or not isinstance(period, int) or period < 1:
        raise UsageError(f"log_evaluation: period is {period!r}; expected a number of rounds, 1 or more")
    return LogEvaluation(period, log_params, define_metric, run_or_current(run, "log_evaluation"))


def log_summary(
    model: Any,
    feature_importance: bool = True,
    save_model_checkpoint: bool = False,
    run: Run | None = None,
) -> None:
    """Log what is known of a trained booster, or of a fitted model of LightGBM's scikit-learn interface.

    ``best_iteration`` and ``best_score`` go to the summary, the bar chart and table ``Feature Importance`` (numbers of
    splits) into the history, and with `save_model_checkpoint` the model as text into the artifact ``<run>_model``.
    Raises: UsageError for another kind of model; Error when no `run` is given and none is current.
    """
    found = run_or_current(run, "log_summary")
    booster = model.booster_ if isinstance(model, lightgbm.LGBMModel) else model
    if not isinstance(booster, lightgbm.Booster):
        raise UsageError(f"log_summary: {type(model).__qualname__} is not a model of LightGBM")
    best = model.best_iteration_ if isinstance(model, lightgbm.LGBMModel) else booster.best_iteration
    if best is not None and best > 0:  # without early stopping there is none
        found.summary["best_iteration"] = int(best)
    scores = model.best_score_ if isinstance(model, lightgbm.LGBMModel) else booster.best_score
    if scores:
        found.summary["best_score"] = _numbers(scores)
    if feature_importance:
        rows = zip(booster.feature_name(), booster.feature_importance().tolist(), strict=True)
        ordered = sorted(([name, value] for name, value in rows), key=lambda row: -row[1])
        table = Table(columns=["Feature", "Importance"], data=ordered)
        title = "Feature Importance"
        found.log({title: plot.bar(table, "Feature", "Importance", title=title)})
    if save_model_checkpoint:
        log_model_files(
            found,
            fitting(f"{found.id}_model"),
            lambda folder: booster.save_model(folder / "model.txt"),
            metadata={"lightgbm": lightgbm.__version__, "rounds": booster.current_iteration()},
        )


def _numbers(scores: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    return {data: {name: float(value) for name, value in metrics.items()} for data, metrics in scores.items()}
