"""Hugging Face Transformers: a callback for its `Trainer`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..storage.errors import UsageError
from ..tracking.session import init
from .current import running
from .library import library
from .model_files import fitting, log_model_files, log_model_path
from .plain_settings import plain_settings

if TYPE_CHECKING:
    from ..tracking.model_hooks import Watched
    from ..tracking.run import Run

transformers: Any = library("transformers")

__all__ = ["LineartCallback"]

# What the trainer says once, in the end: results, not metrics over time.
_RESULTS = ("train_runtime", "train_samples_per_second", "train_steps_per_second", "train_loss", "total_flos")


class LineartCallback(transformers.TrainerCallback):  # type: ignore[misc]
    """Logs what the `Trainer` logs, as ``train/…`` and ``eval/…`` over ``train/global_step``.

    It goes to `run`, or to the current run, or to a new one in `project` named after the trainer's `run_name`. The
    training arguments and the model's config go to the config, the totals of the training to the summary. With
    ``log_model="checkpoint"`` every checkpoint is logged as a version of the artifact `model_name` (default
    ``model-<run>``), with ``"end"`` the model as it is in the end, which is the best one with
    `load_best_model_at_end`. `watch` is what `Run.watch` takes. Only the first of several processes logs.

    >>> import lineart, torch, transformers
    >>> from lineart.integrations.huggingface import LineartCallback
    >>> config = transformers.BertConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
    ...                                  intermediate_size=8, max_position_embeddings=8)
    >>> model = transformers.BertForSequenceClassification(config)
    >>> data = [{"input_ids": [1, 2, 3], "labels": n % 2} for n in range(4)]
    >>> arguments = transformers.TrainingArguments("out", max_steps=2, logging_steps=1, report_to=[], use_cpu=True,
    ...                                            disable_tqdm=True, save_strategy="no", log_level="error")
    >>> with lineart.init(project="docs") as run:
    ...     trainer = transformers.Trainer(model, arguments, train_dataset=data, callbacks=[LineartCallback()])
    ...     trainer.remove_callback(transformers.PrinterCallback)
    ...     _ = trainer.train()
    >>> run.config["max_steps"], run.summary["train/global_step"], "train_loss" in run.summary
    (2, 2, True)
    """

    def __init__(
        self,
        run: Run | None = None,
        project: str | None = None,
        log_model: Literal["end", "checkpoint"] | bool = False,
        model_name: str | None = None,
        watch: Watched | None = None,
        watch_freq: int = 100,
    ) -> None:
        """`log_model` True means "end"; `watch_freq` is in batches. Raises: UsageError for another `log_model`."""
        if log_model not in (False, True, "end", "checkpoint"):
            raise UsageError(
                f"LineartCallback: log_model is {log_model!r}; expected 'end', 'checkpoint' or False"
            )
        self.run = run
        self.project = project
        self.log_model = "end" if log_model is True else log_model
        self.model_name = model_name
        self.watch: Watched | None = watch
        self.watch_freq = watch_freq
        self._found: Run | None = None  # the run that it logs to
        self._made = False  # by this callback

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **rest: Any) -> None:
        """Find or make the run; of a search for hyper-parameters, one for each trial."""
        if self._found is not None and (state.is_hyper_param_search or self._found.state != "running"):
            if self._made:
                self._found.finish()
            self._found = None
        self._set_up(args, state, model)

    def on_log(
        self,
        args: Any,
        state: Any,
        control: Any,
        model: Any = None,
        logs: Mapping[str, Any] = {},
        **rest: Any,
    ) -> None:
        """Log a row."""
        run = self._set_up(args, state, model)
        if run is None:
            return
        row = {key: value for key, value in logs.items() if key not in _RESULTS}
        run.log({**_renamed(row), "train/global_step": state.global_step})
        for key in _RESULTS:
            if key in logs:
                run.summary[key] = logs[key]

    def on_predict(
        self, args: Any, state: Any, control: Any, metrics: Mapping[str, Any], **rest: Any
    ) -> None:
        """Log the metrics of a prediction."""
        run = self._set_up(args, state, rest.get("model"))
        if run is not None:
            run.log({**_renamed(metrics), "train/global_step": state.global_step})

    def on_save(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Log the checkpoint that was written."""
        run = self._set_up(args, state, rest.get("model"))
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if run is not None and self.log_model == "checkpoint" and folder.is_dir():
            log_model_path(
                run,
                self._name(run),
                folder,
                metadata=self._metadata(state),
                aliases=[
                    f"epoch_{round(state.epoch or 0, 2)}",
                    f"checkpoint_global_step_{state.global_step}",
                ],
            )

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **rest: Any) -> None:
        """Log the model and take the hooks off it."""
        run = self._set_up(args, state, model)
        if run is None:
            return
        if self.watch is not None:
            run.unwatch(model)
        if self.log_model == "end":
            processing = rest.get("processing_class")

            def write(folder: Path) -> None:
                model.save_pretrained(folder)
                if processing is not None:
                    processing.save_pretrained(folder)

            metadata = {**self._metadata(state), "final_model": True}
            log_model_files(run, self._name(run), write, metadata=metadata, aliases=["final_model"])

    def _set_up(self, args: Any, state: Any, model: Any) -> Run | None:
        """The run, with its config, once; None in the processes that do not log."""
        if not state.is_world_process_zero:
            return None
        if self._found is not None:
            return self._found
        run = self.run or running()
        if run is None:
            self._made = True
            run = init(project=self.project, name=_run_name(args, state), group=_group(args, state))
        self._found = run
        values = args.to_dict()
        config = getattr(model, "config", None)
        if config is not None:
            values = {**(config if isinstance(config, dict) else config.to_dict()), **values}
        if getattr(model, "peft_config", None):
            values["peft_config"] = model.peft_config
        if callable(getattr(model, "num_parameters", None)):
            values["model/num_parameters"] = model.num_parameters()
        run.config.update(plain_settings(values), allow_val_change=True)
        run.define_metric("train/global_step")
        for group in ("train/*", "eval/*", "test/*"):
            run.define_metric(group, step_metric="train/global_step")
        if self.watch is not None and model is not None:
            run.watch(model, log=self.watch, log_freq=self.watch_freq)
        return run

    def _name(self, run: Run) -> str:
        return self.model_name or fitting(f"model-{run.id}")

    def _metadata(self, state: Any) -> dict[str, Any]:
        return {
            "transformers": transformers.__version__,
            "global_step": state.global_step,
            "epoch": state.epoch,
            "best_metric": state.best_metric,
            "total_flos": state.total_flos,
        }


def _run_name(args: Any, state: Any) -> str | None:
    if state.trial_name is not None:
        return str(state.trial_name)
    return None if args.run_name in (None, args.output_dir) else str(args.run_name)


def _group(args: Any, state: Any) -> str | None:
    return None if state.trial_name is None else str(args.run_name or args.output_dir)


def _renamed(logs: Mapping[str, Any]) -> dict[str, Any]:
    """``eval_loss`` as ``eval/loss``, ``test_loss`` as ``test/loss``, everything else under ``train/``."""
    row = {}
    for key, value in logs.items():
        first, _, rest = key.partition("_")
        row[f"{first}/{rest}" if first in ("eval", "test") and rest else f"train/{key}"] = value
    return row
