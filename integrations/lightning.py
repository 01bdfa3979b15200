"""PyTorch Lightning: a logger for its `Trainer`."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..storage.errors import UsageError
from ..tracking.media import Audio, Image, Table, Video
from ..tracking.session import init
from .current import running
from .library import library
from .model_files import fitting, log_model_path
from .plain_settings import plain_settings

if TYPE_CHECKING:
    from ..tracking.artifact import Artifact
    from ..tracking.model_hooks import Watched
    from ..tracking.run import Run

# The same classes exist under two names; a trainer of one knows only its own.
_NAME = "lightning.pytorch" if "lightning.pytorch" in sys.modules else "pytorch_lightning"
_base: Any = library(f"{_NAME}.loggers.logger", "pytorch-lightning")
_utilities: Any = library(f"{_NAME}.utilities", "pytorch-lightning")
_rank_zero_only: Any = _utilities.rank_zero_only

__all__ = ["LineartLogger"]

_STEP = "trainer/global_step"
_OF_CHECKPOINTS = ("monitor", "mode", "save_last", "save_top_k", "save_weights_only")


class LineartLogger(_base.Logger):  # type: ignore[misc]
    """Logs what a Lightning module logs, over ``trainer/global_step``; hyper-parameters go to the config.

    The run is `experiment`, or the current run, or one that is made with the other arguments when it is first needed.
    With ``log_model="all"`` every checkpoint becomes a version of the artifact `checkpoint_name` (default
    ``model-<run>``) when it is written, with True those that are left in the end; the best one has the alias
    ``best``. Only the first of several processes logs. The run is not finished: a trainer may be used again.

    >>> import lineart, torch, pytorch_lightning
    >>> from lineart.integrations.lightning import LineartLogger
    >>> class Model(pytorch_lightning.LightningModule):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.layer = torch.nn.Linear(2, 1)
    ...     def training_step(self, batch, index):
    ...         loss = self.layer(batch).pow(2).mean()
    ...         self.log("loss", loss)
    ...         return loss
    ...     def configure_optimizers(self):
    ...         return torch.optim.SGD(self.parameters(), lr=0.1)
    >>> logger = LineartLogger(project="docs", config={"seed": 1})
    >>> logger.log_hyperparams({"lr": 0.1})
    >>> logger.log_metrics({"loss": 0.5}, step=3)
    >>> logger.experiment.finish()
    >>> dict(logger.experiment.config), logger.experiment.summary["trainer/global_step"]
    ({'seed': 1, 'lr': 0.1}, 3)
    """

    LOGGER_JOIN_CHAR = "-"

    def __init__(
        self,
        name: str | None = None,
        save_dir: str | os.PathLike[str] = ".",
        version: str | None = None,
        offline: bool = False,
        id: str | None = None,
        project: str | None = None,
        log_model: Literal["all"] | bool = False,
        experiment: Run | None = None,
        prefix: str = "",
        checkpoint_name: str | None = None,
        *,
        entity: str | None = None,
        config: Mapping[str, Any] | None = None,
        tags: Sequence[str] | None = None,
        notes: str | None = None,
        group: str | None = None,
        job_type: str | None = None,
        resume: Literal["allow", "must", "never", "auto"] | None = "allow",
        store: str | None = None,
    ) -> None:
        """`version` and `id` both are the run's id. Raises: UsageError for another `log_model`."""
        if log_model not in (True, False, "all"):
            raise UsageError(f"LineartLogger: log_model is {log_model!r}; expected True, False or 'all'")
        super().__init__()
        self._experiment = experiment
        self._save_dir = os.fspath(save_dir)
        self._log_model = log_model
        self._prefix = prefix
        self._checkpoint_name = checkpoint_name
        self._logged: dict[str, float] = {}
        self._waiting: list[Any] = []  # checkpoint callbacks whose files are logged in the end
        self._init: dict[str, Any] = {
            "name": name,
            "id": version or id,
            "project": project,
            "entity": entity,
            "mode": "offline" if offline else None,
            "config": None if config is None else plain_settings(config),
            "tags": tags,
            "notes": notes,
            "group": group,
            "job_type": job_type,
            "resume": resume,
            "store": store,
        }

    def __getstate__(self) -> dict[str, Any]:
        """A process that is spawned goes on with the same run."""
        _ = self.experiment
        return {**self.__dict__, "_waiting": []}

    @property
    @_base.rank_zero_experiment  # type: ignore[untyped-decorator]
    def experiment(self) -> Run:
        """The run; in other processes than the first, an object that takes every call and does nothing."""
        if self._experiment is None:
            self._experiment = running()
        if self._experiment is None:
            self._experiment = init(**self._init)
            self._experiment.define_metric(_STEP)
            self._experiment.define_metric("*", step_metric=_STEP)
        return self._experiment

    def watch(
        self, model: Any, log: Watched | None = "gradients", log_freq: int = 100, log_graph: bool = True
    ) -> None:
        """`Run.watch`."""
        self.experiment.watch(model, log=log, log_freq=log_freq, log_graph=log_graph)

    @_rank_zero_only  # type: ignore[untyped-decorator]
    def log_hyperparams(self, params: Mapping[str, Any] | Namespace | None = None) -> None:
        """Set keys of the config."""
        values = vars(params) if isinstance(params, Namespace) else params or {}
        self.experiment.config.update(plain_settings(values), allow_val_change=True)

    @_rank_zero_only  # type: ignore[untyped-decorator]
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log one row; `step` is the trainer's, and stands in it."""
        start = f"{self._prefix}{self.LOGGER_JOIN_CHAR}" if self._prefix else ""
        row = {f"{start}{key}": value for key, value in metrics.items()}
        self.experiment.log(row if step is None else {**row, _STEP: step})

    @_rank_zero_only  # type: ignore[untyped-decorator]
    def log_table(
        self,
        key: str,
        columns: Sequence[str] | None = None,
        data: Any = None,
        dataframe: Any = None,
        step: int | None = None,
    ) -> None:
        """Log a `Table`."""
        self.log_metrics({key: Table(columns=columns, data=data, dataframe=dataframe)}, step)

    def log_text(
        self,
        key: str,
        columns: Sequence[str] | None = None,
        data: Any = None,
        dataframe: Any = None,
        step: int | None = None,
    ) -> None:
        """Log texts as a `Table`."""
        self.log_table(key, columns, data, dataframe, step)

    @_rank_zero_only  # type: ignore[untyped-decorator]
    def log_image(
        self,
        key: str,
        images: Sequence[Any],
        step: int | None = None,
        caption: Sequence[str] | None = None,
        masks: Sequence[Any] | None = None,
        boxes: Sequence[Any] | None = None,
    ) -> None:
        """Log pictures; `caption`, `masks` and `boxes` have one item for each. Raises: UsageError."""
        given = _each("images", images, {"caption": caption, "masks": masks, "boxes": boxes})
        self.log_metrics({key: [Image(item, **more) for item, more in given]}, step)

    @_rank_zero_only  # type: ignore[untyped-decorator]
    def log_audio(
        self,
        key: str,
        audios: Sequence[Any],
        step: int | None = None,
        caption: Sequence[str] | None = None,
        sample_rate: Sequence[int] | None = None,
    ) -> None:
        """Log sounds; `caption` and `sample_rate` (hertz) have one item for each. Raises: UsageError."""
        given = _each("audios", audios, {"caption": caption, "sample_rate": sample_rate})
        self.log_metrics({key: [Audio(item, **more) for item, more in given]}, step)

    @_rank_zero_only  # type: ignore[untyped-decorator]
    def log_video(
        self,
        key: str,
        videos: Sequence[Any],
        step: int | None = None,
        caption: Sequence[str] | None = None,
        fps: Sequence[int] | None = None,
        format: Sequence[str] | None = None,
    ) -> None:
        """Log videos; `caption`, `fps` and `format` have one item for each. Raises: UsageError."""
        given = _each("videos", videos, {"caption": caption, "fps": fps, "format": format})
        self.log_metrics({key: [Video(item, **more) for item, more in given]}, step)

    def use_artifact(self, artifact: str, artifact_type: str | None = None) -> Artifact:
        """`Run.use_artifact`."""
        run: Run = self.experiment
        return run.use_artifact(artifact, type=artifact_type)

    @property
    def save_dir(self) -> str:
        """Where Lightning puts its checkpoints."""
        return self._save_dir

    @property
    def name(self) -> str | None:
        """The project's name, which is a folder's name in `save_dir`; the run's is ``experiment.name``."""
        return self._experiment.project if self._experiment is not None else self._init["project"]

    @property
    def version(self) -> str | None:
        """The run's id."""
        return self._experiment.id if self._experiment is not None else self._init["id"]

    # Checkpoints

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Log what was written, or remember to do so in the end."""
        keeps_all = getattr(checkpoint_callback, "save_top_k", None) == -1
        if self._log_model == "all" or (self._log_model is True and keeps_all):
            self._log_checkpoints(checkpoint_callback)
        elif self._log_model is True and checkpoint_callback not in self._waiting:
            self._waiting.append(checkpoint_callback)

    @_rank_zero_only  # type: ignore[untyped-decorator]
    def finalize(self, status: str) -> None:
        """Log the checkpoints that are left, also when the training failed."""
        for callback in self._waiting:
            self._log_checkpoints(callback)
        self._waiting.clear()

    @_rank_zero_only  # type: ignore[untyped-decorator]
    def _log_checkpoints(self, callback: Any) -> None:
        for path, score in _checkpoints(callback):
            changed = path.stat().st_mtime
            if self._logged.get(str(path)) == changed:
                continue
            self._logged[str(path)] = changed
            settings = {key: getattr(callback, key) for key in _OF_CHECKPOINTS if hasattr(callback, key)}
            log_model_path(
                self.experiment,
                self._checkpoint_name or fitting(f"model-{self.experiment.id}"),
                path,
                file_name="model.ckpt",
                metadata={
                    "score": None if score is None else float(score),
                    "original_filename": path.name,
                    callback.__class__.__name__: settings,  # it comes as a weak proxy
                },
                aliases=["best"] if str(path) == getattr(callback, "best_model_path", None) else [],
            )


def _checkpoints(callback: Any) -> list[tuple[Path, Any]]:
    """The files or folders that a checkpoint callback keeps, with their scores, oldest first."""
    scores: dict[str, Any] = {}
    if getattr(callback, "last_model_path", ""):
        scores[callback.last_model_path] = getattr(callback, "current_score", None)
    if getattr(callback, "best_model_path", ""):
        scores[callback.best_model_path] = getattr(callback, "best_model_score", None)
    scores.update(getattr(callback, "best_k_models", {}))
    found = [(Path(path), score) for path, score in scores.items() if Path(path).exists()]
    return sorted(found, key=lambda each: each[0].stat().st_mtime)


def _each(
    what: str, items: Sequence[Any], more: Mapping[str, Sequence[Any] | None]
) -> list[tuple[Any, dict[str, Any]]]:
    """Each item with its part of `more`. Raises: UsageError."""
    if not isinstance(items, (list, tuple)):
        raise UsageError(f"{what}: expected a list, not {type(items).__name__}")
    given = {key: values for key, values in more.items() if values is not None}
    for key, values in given.items():
        if len(values) != len(items):
            raise UsageError(f"{what}: {len(items)} of them, and {len(values)} of {key}; expected as many")
    return [(item, {key: values[at] for key, values in given.items()}) for at, item in enumerate(items)]
