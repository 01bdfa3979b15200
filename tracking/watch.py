"""Watching torch models: gradients and parameters as histograms, and the layers as a table.

Here is what a run watches; `model_hooks` is what hangs on a model meanwhile.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args
from weakref import WeakKeyDictionary

from ..storage.errors import UsageError
from .model_hooks import ModelWatch, Watched

if TYPE_CHECKING:
    from .run import Run


@dataclass(slots=True)
class _Watching:
    """What a run watches. A model keeps its index, so that its metrics go on when it is watched again."""

    watches: list[ModelWatch] = field(default_factory=list)
    indices: WeakKeyDictionary[Any, int] = field(default_factory=WeakKeyDictionary)
    next: int = 0

    def close(self) -> None:
        """The run ends."""
        for watch in self.watches:
            watch.close()
        self.watches.clear()


_watching: WeakKeyDictionary[Run, _Watching] = WeakKeyDictionary()


def watch(
    run: Run,
    models: Any,
    criterion: Any = None,
    log: Watched | None = "gradients",
    log_freq: int = 1000,
    idx: int | None = None,
    log_graph: bool = False,
) -> None:
    """Log histograms of a torch model's gradients or parameters, every `log_freq` batches and at the first.

    They stand in the history as ``gradients/<parameter>`` and ``parameters/<parameter>``, in the row that the next
    committing `log` makes, and not in the summary; values that are not finite are counted apart. A batch is a forward
    pass that records gradients, so evaluation under ``no_grad`` does not count; of a model that is not called itself,
    as in Lightning's `training_step`, it is one of the part that is called first. Gradients are those of one backward
    pass, as it computes them: of a micro-batch when they are accumulated, and with the scale of a gradient scaler.

    With `log_graph` the layers, their classes, output shapes and numbers of parameters are logged at the first
    forward pass as the table ``graph/model``, and kept as text in the run's file ``graph/model.txt``, with the
    `criterion`. The second model and later ones are called ``model_1``, …, and their names begin with that;
    `idx` is the index of the first of `models`. Models in ``DataParallel`` and the like are named as without it.

    Raises: UsageError for what is no ``torch.nn.Module`` or is watched already, and for arguments out of range.
    """
    if log is not None and log not in get_args(Watched):
        raise UsageError(f"watch: log is {log!r}; expected 'gradients', 'parameters', 'all' or None")
    if isinstance(log_freq, bool) or not isinstance(log_freq, int) or log_freq < 1:
        raise UsageError(f"watch: log_freq is {log_freq!r}; expected a number of batches, 1 or more")
    if idx is not None and (isinstance(idx, bool) or not isinstance(idx, int) or idx < 0):
        raise UsageError(f"watch: idx is {idx!r}; expected an index, 0 or more")
    chosen = _modules(models, "watch")
    known = _watching.get(run) or _Watching()
    known.watches[:] = [watch for watch in known.watches if watch.model() is not None]
    taken = {id(watch.model()): watch.name for watch in known.watches}
    for position, model in enumerate(chosen):
        if id(model) in taken or any(model is other for other in chosen[:position]):
            raise UsageError(
                f"watch: this {type(model).__name__} is watched already"
                f" as {taken.get(id(model), 'one of the models given')!r}; run.unwatch(model) first"
            )
    if run.disabled:
        return
    names = [_name(known, model, None if idx is None else idx + n) for n, model in enumerate(chosen)]
    for name in names:
        if name in taken.values() or names.count(name) > 1:
            raise UsageError(f"watch: idx {idx} is taken by another model of this run; leave idx out")
    if run not in _watching:
        _watching[run] = known
        run._ended.append(known.close)
        for pattern in (
            "gradients/*",
            "parameters/*",
        ):  # a thousand histograms would be the log's largest entry
            run.define_metric(pattern, summary="none")
    for name, model in zip(names, chosen, strict=True):
        known.watches.append(ModelWatch(run, model, name, log, log_freq, log_graph, criterion))


def unwatch(run: Run, models: Any = None) -> None:
    """Take the hooks off `models`, or off all that `run` watches; warns of a model that it does not watch.

    A table of layers that still waited for the first forward pass is logged without shapes.
    Raises: UsageError for what is no ``torch.nn.Module``.
    """
    known = _watching.get(run) or _Watching()
    leaving = list(known.watches)
    if models is not None:
        chosen = _modules(models, "unwatch")
        leaving = [watch for watch in known.watches if any(watch.model() is model for model in chosen)]
        for model in chosen:
            if not any(watch.model() is model for watch in leaving):
                warnings.warn(f"unwatch: this {type(model).__name__} is not watched", stacklevel=2)
    for watch in leaving:
        known.watches.remove(watch)
        watch.close()


def _name(known: _Watching, model: Any, index: int | None) -> str:
    if index is None:
        index = known.indices.get(model, known.next)
    known.indices[model] = index
    known.next = max(known.next, index + 1)
    return f"model_{index}" if index else "model"


def _modules(models: Any, what: str) -> list[Any]:
    torch = sys.modules.get("torch")  # without it nothing can be a module of it
    given = list(models) if isinstance(models, (list, tuple, set)) else [models]
    if not given:
        raise UsageError(f"{what}: no model was given; expected a torch.nn.Module or a list of them")
    for model in given:
        if torch is None or not isinstance(model, torch.nn.Module):
            raise UsageError(
                f"{what}: {type(model).__module__}.{type(model).__qualname__} is not a torch.nn.Module;"
                " models of other libraries have callbacks in lineart.integrations"
            )
    return given
