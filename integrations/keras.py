"""Keras 3: callbacks that log metrics, the best model, checkpoints, and what a model makes of examples."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..storage.errors import UsageError
from ..tracking.media import Image, Table
from .current import run_or_current
from .keras_model import (
    gradient_histograms,
    keras,
    log_layers,
    prediction_gflops,
    weight_histograms,
)
from .model_files import fitting, log_model_path

if TYPE_CHECKING:
    from ..tracking.run import Run

__all__ = ["LineartCallback", "MetricsLogger", "ModelCheckpoint"]

Mode = Literal["auto", "min", "max"]

_BETTER_WHEN_MORE = (
    "acc",
    "auc",
    "precision",
    "recall",
    "f1",
    "fbeta",
    "fmeasure",
    "iou",
    "r2",
    "sensitivity",
)


class MetricsLogger(keras.callbacks.Callback):  # type: ignore[misc]
    """Logs metrics and learning rate as ``epoch/…`` over ``epoch/epoch``.

    With `log_freq` "batch" or a number of batches also as ``batch/…`` over ``batch/batch_step``, which begins at
    `initial_global_step`.

    >>> import keras, lineart, numpy
    >>> from lineart.integrations.keras import MetricsLogger
    >>> model = keras.Sequential([keras.layers.Dense(1)])
    >>> model.compile(optimizer="sgd", loss="mse")
    >>> with lineart.init(project="docs") as run:
    ...     _ = model.fit(numpy.ones((4, 2)), numpy.ones(4), epochs=2, verbose=0, callbacks=[MetricsLogger()])
    >>> sorted(run.summary)
    ['epoch/epoch', 'epoch/learning_rate', 'epoch/loss']
    """

    def __init__(
        self,
        log_freq: Literal["epoch", "batch"] | int = "epoch",
        initial_global_step: int = 0,
        run: Run | None = None,
    ) -> None:
        """Raises: Error when no `run` is given and none is current; UsageError for another `log_freq`."""
        super().__init__()
        every = 1 if log_freq == "batch" else log_freq
        if every != "epoch" and (isinstance(every, bool) or not isinstance(every, int) or every < 1):
            raise UsageError(
                f"MetricsLogger: log_freq is {log_freq!r}; expected 'epoch', 'batch' or a number of batches"
            )
        self.run = run_or_current(run, "MetricsLogger")
        self._every = None if every == "epoch" else every
        self._batch_step = initial_global_step
        self.run.define_metric("epoch/epoch")
        self.run.define_metric("epoch/*", step_metric="epoch/epoch")
        if self._every is not None:
            self.run.define_metric("batch/batch_step")
            self.run.define_metric("batch/*", step_metric="batch/batch_step")

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Log a row."""
        self.run.log(self._row("epoch", "epoch", epoch, logs))

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Log a row, every so many batches."""
        if self._every is not None and batch % self._every == 0:
            self.run.log(self._row("batch", "batch_step", self._batch_step, logs))
        self._batch_step += 1

    def _row(self, group: str, counter: str, count: int, logs: Mapping[str, Any] | None) -> dict[str, Any]:
        row: dict[str, Any] = {f"{group}/{key}": value for key, value in (logs or {}).items()}
        row[f"{group}/{counter}"] = count
        rate = getattr(getattr(self.model, "optimizer", None), "learning_rate", None)
        if rate is not None:
            row[f"{group}/learning_rate"] = float(keras.ops.convert_to_numpy(rate))
        return row


class ModelCheckpoint(keras.callbacks.ModelCheckpoint):  # type: ignore[misc]
    """Keras's `ModelCheckpoint`; every file that it writes is a version of the artifact ``run_<run>_model``.

    The version has the aliases ``latest`` and ``epoch_<n>``, within an epoch ``epoch_<n>_batch_<m>``.

    >>> import keras, lineart, numpy
    >>> from lineart.integrations.keras import ModelCheckpoint
    >>> model = keras.Sequential([keras.layers.Dense(1)])
    >>> model.compile(optimizer="sgd", loss="mse")
    >>> with lineart.init(project="docs", id="k1") as run:
    ...     _ = model.fit(numpy.ones((4, 2)), numpy.ones(4), epochs=2, verbose=0,
    ...                   callbacks=[ModelCheckpoint("model.keras")])
    >>> lineart.Api().artifact("docs/run_k1_model:epoch_1").version
    'v1'
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: Mode = "auto",
        save_freq: Literal["epoch"] | int = "epoch",
        initial_value_threshold: float | None = None,
        run: Run | None = None,
    ) -> None:
        """Raises: Error when no `run` is given and none is current; ValueError as Keras's does."""
        super().__init__(
            filepath=filepath,
            monitor=monitor,
            verbose=verbose,
            save_best_only=save_best_only,
            save_weights_only=save_weights_only,
            mode=mode,
            save_freq=save_freq,
            initial_value_threshold=initial_value_threshold,
        )
        self.run = run_or_current(run, "ModelCheckpoint")
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Remember the epoch, for the names of files."""
        super().on_epoch_begin(epoch, logs)
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Save after so many batches, when that is asked for."""
        if self.save_freq == "epoch":
            super().on_train_batch_end(batch, logs)
            return
        path = self._path({"epoch": self._epoch + 1, "batch": batch + 1, **(logs or {})})
        before = _changed(path)
        super().on_train_batch_end(batch, logs)
        self._log(path, before, logs, f"epoch_{self._epoch}_batch_{batch}")

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Save after the epoch, when that is asked for."""
        path = self._path({"epoch": epoch + 1, **(logs or {})})
        before = _changed(path)
        super().on_epoch_end(epoch, logs)
        self._log(path, before, logs, f"epoch_{epoch}")

    def _path(self, values: Mapping[str, Any]) -> Path | None:
        """The file that is written with these values; None where its name needs others."""
        try:
            return Path(self.filepath.format(**values))
        except KeyError:
            return None

    def _log(self, path: Path | None, before: Any, logs: Mapping[str, Any] | None, alias: str) -> None:
        if path is None or _changed(path) in (None, before):
            return
        name = fitting(f"run_{self.run.id}_model")
        log_model_path(
            self.run, name, path, metadata={"keras": keras.__version__, **(logs or {})}, aliases=[alias]
        )


class LineartCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Logs every epoch's metrics with ``epoch``, and keeps the best model: one callback for everything.

    The best value of `monitor` and its epoch go to the summary as ``best_<monitor>`` and ``best_epoch``
    (`log_best_prefix`; None for neither). The model of the best epoch is kept as ``model-best.keras`` in the run's
    folder and as a version of the artifact ``run_<run>_model`` with the alias ``best`` (`save_model`,
    `save_weights_only`). `log_weights` and `log_gradients` add histograms, the latter of the loss on the first samples
    of `training_data` (x, y). `save_graph` logs the layers as a table. `log_batch_frequency` logs metrics also every
    so many batches. With `validation_data` (x, y), or a `generator` of such batches of which `validation_steps` are
    taken, `log_evaluation` makes a table of inputs, targets and predictions in the end and every
    `log_evaluation_frequency` epochs; ``input_type="image"`` logs `predictions` pictures as ``examples`` every epoch,
    under each what the model says it is (`labels` name the classes). `compute_flops` puts ``GFLOPs`` of one
    prediction into the summary; like `log_gradients` it needs Keras on torch.

    >>> import keras, lineart, numpy
    >>> from lineart.integrations.keras import LineartCallback
    >>> model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(optimizer="sgd", loss="mse")
    >>> x, y = numpy.ones((4, 2)), numpy.ones(4)
    >>> with lineart.init(project="docs") as run:
    ...     _ = model.fit(x, y, validation_data=(x, y), epochs=2, verbose=0, callbacks=[LineartCallback()])
    >>> sorted(run.summary)[:4], run.summary["epoch"]
    (['best_epoch', 'best_val_loss', 'epoch', 'graph/model'], 1)
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        verbose: int = 0,
        mode: Mode = "auto",
        save_weights_only: bool = False,
        log_weights: bool = False,
        log_gradients: bool = False,
        save_model: bool = True,
        training_data: Sequence[Any] | None = None,
        validation_data: Sequence[Any] | None = None,
        labels: Sequence[str] | None = None,
        predictions: int = 36,
        generator: Any = None,
        input_type: str | None = None,
        output_type: str | None = None,
        log_evaluation: bool = False,
        validation_steps: int | None = None,
        log_batch_frequency: int | None = None,
        log_best_prefix: str | None = "best_",
        save_graph: bool = True,
        log_evaluation_frequency: int = 0,
        compute_flops: bool = False,
        run: Run | None = None,
    ) -> None:
        """`verbose` has no meaning here.

        Raises: Error when no `run` is given and none is current; UsageError for arguments that do not fit.
        """
        super().__init__()
        if mode not in ("auto", "min", "max"):
            raise UsageError(f"LineartCallback: mode is {mode!r}; expected 'auto', 'min' or 'max'")
        if log_gradients and training_data is None:
            raise UsageError("LineartCallback: log_gradients needs training_data=(x, y)")
        if log_evaluation and validation_data is None and generator is None:
            raise UsageError("LineartCallback: log_evaluation needs validation_data=(x, y) or a generator")
        self.run = run_or_current(run, "LineartCallback")
        self.monitor = monitor
        self.verbose = verbose
        self.save_model = save_model
        self.save_weights_only = save_weights_only
        self.log_weights = log_weights
        self.log_gradients = log_gradients
        self.training_data = training_data
        self.validation_data = validation_data
        self.labels = labels
        self.predictions = predictions
        self.generator = generator
        self.input_type = input_type
        self.output_type = output_type
        self.log_evaluation = log_evaluation
        self.validation_steps = validation_steps
        self.log_batch_frequency = log_batch_frequency
        self.log_best_prefix = log_best_prefix
        self.log_evaluation_frequency = log_evaluation_frequency
        self._graph_waits = save_graph
        self._flops_wait = compute_flops
        more = any(word in monitor.lower() for word in _BETTER_WHEN_MORE) if mode == "auto" else mode == "max"
        self._sign = 1 if more else -1
        self._best: float | None = None
        self._warned = False

    # What Keras calls

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Record the layers, if they are known already."""
        self._record_model()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Log the metrics, every so many batches."""
        if self.log_batch_frequency and batch % self.log_batch_frequency == 0:
            self.run.log(dict(logs or {}))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Log the row of the epoch; keep the model if it is the best."""
        self._record_model()
        row: dict[str, Any] = {"epoch": epoch, **(logs or {})}
        if self.log_weights:
            row |= weight_histograms(self.model)
        if self.log_gradients and self.training_data is not None:
            x, y = self.training_data[:2]
            row |= gradient_histograms(self.model, x[:32], y[:32])
        if _is_image(self.input_type):
            row["examples"] = self._examples()
        if self.log_evaluation_frequency and epoch % self.log_evaluation_frequency == 0:
            row |= self._evaluation()
        self.run.log(row)
        value = (logs or {}).get(self.monitor)
        if value is None and not self._warned:
            self._warned = True
            warnings.warn(
                f"LineartCallback: there is no metric {self.monitor!r} to find the best model by;"
                f" the epoch has {', '.join(map(repr, logs or {}))}",
                stacklevel=2,
            )
        if value is not None and (self._best is None or self._sign * value > self._sign * self._best):
            self._best = float(value)
            self._keep(epoch, logs or {})

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Log the evaluation of the model as it is in the end."""
        if self.log_evaluation:
            self.run.log(self._evaluation())

    # What it does

    def _record_model(self) -> None:
        if self._graph_waits and self.model.built:
            self._graph_waits = False
            log_layers(self.run, self.model)
        if self._flops_wait and self.model.built:
            self._flops_wait = False
            self.run.summary["GFLOPs"] = prediction_gflops(self.model)

    def _keep(self, epoch: int, logs: Mapping[str, Any]) -> None:
        if self.log_best_prefix:
            self.run.summary[f"{self.log_best_prefix}{self.monitor}"] = self._best
            self.run.summary[f"{self.log_best_prefix}epoch"] = epoch
        if not self.save_model:
            return
        path = Path(self.run.dir) / (
            "model-best.weights.h5" if self.save_weights_only else "model-best.keras"
        )
        (self.model.save_weights if self.save_weights_only else self.model.save)(str(path))
        log_model_path(
            self.run,
            fitting(f"run_{self.run.id}_model"),
            path,
            metadata={"keras": keras.__version__, "epoch": epoch, "monitor": self.monitor, **logs},
            aliases=["best", f"epoch_{epoch}"],
        )

    def _samples(self) -> tuple[Any, Any]:
        """Inputs and targets to look at. Raises: UsageError where there are none."""
        if self.validation_data is not None:
            x, y = self.validation_data[:2]
            return x, y
        if self.generator is None:
            raise UsageError("LineartCallback: examples need validation_data=(x, y) or a generator")
        batches = iter(self.generator)
        parts = [next(batches) for _ in range(self.validation_steps or 1)]
        join = keras.ops.concatenate
        both = [join([keras.ops.convert_to_tensor(part[at]) for part in parts]) for at in (0, 1)]
        return keras.ops.convert_to_numpy(both[0]), keras.ops.convert_to_numpy(both[1])

    def _examples(self) -> list[Image]:
        x, _ = self._samples()
        x = x[: self.predictions]
        found = self.model.predict(x, verbose=0)
        if _is_image(self.output_type):
            return [image for pair in zip(map(Image, x), map(Image, found), strict=True) for image in pair]
        return [Image(picture, caption=str(self._label(one))) for picture, one in zip(x, found, strict=True)]

    def _evaluation(self) -> dict[str, Any]:
        x, y = self._samples()
        found = self.model.predict(x, verbose=0)
        image = _is_image(self.input_type)
        rows = [
            [Image(one) if image else _cell(one), self._label(target), self._label(predicted)]
            for one, target, predicted in zip(x, y, found, strict=True)
        ]
        return {
            "evaluation": Table(columns=["input", "target", "prediction"], data=rows, allow_mixed_types=True)
        }

    def _label(self, value: Any) -> Any:
        """The class that scores say, by its name; a single number or a larger array as it is."""
        shape: tuple[int, ...] = getattr(value, "shape", ())
        if _is_image(self.output_type):
            return Image(value)
        if len(shape) == 1 and shape[0] > 1:
            return self._named(int(value.argmax()))
        if len(shape) <= 1:
            number = value.item() if hasattr(value, "item") else value
            if self.labels is None:
                return number
            if isinstance(number, float) and not number.is_integer():
                number = round(number)  # the probability of the second of two classes
            return self._named(int(number))
        return _cell(value)

    def _named(self, at: int) -> Any:
        return self.labels[at] if self.labels is not None and 0 <= at < len(self.labels) else at


def _changed(path: Path | None) -> tuple[int, int] | None:
    """What tells one writing of a file from the next; None when it is not there."""
    try:
        found = None if path is None else path.stat()
    except FileNotFoundError:
        return None
    return None if found is None else (found.st_mtime_ns, found.st_ino)


def _is_image(kind: str | None) -> bool:
    return kind in ("image", "images", "segmentation_mask")


def _cell(value: Any) -> Any:
    """A sample as a cell of a table."""
    return value.tolist() if hasattr(value, "tolist") else value
