"""Watching torch models: gradients and parameters as histograms, and the layers as a table.

Between two looks a watched model carries one forward hook that counts batches. Gradients are caught by hooks on the
graph of the batch looked at, set after its forward pass, and go with it; so every other backward pass runs as if
nobody watched (a hook that stays on a parameter costs 0.4 µs a pass, also after it was taken off). Hooks hold model
and run weakly: neither keeps the other alive.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args
from weakref import WeakKeyDictionary, ref

from ..storage.errors import UsageError
from .model_graph import ModelGraph, output_shape, unwrapped
from .tensor_histogram import tensor_histogram

if TYPE_CHECKING:
    from .run import Run

Watched = Literal["gradients", "parameters", "all"]

# What wrappers of inner modules put into the names of parameters.
_INSERTED = ("_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod.")


@dataclass(slots=True)
class _Watching:
    """What a run watches. A model keeps its index, so that its metrics go on when it is watched again."""

    watches: list[_Watch] = field(default_factory=list)
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
    log_graph: bool = False,
    idx: int | None = None,
) -> None:
    """Log histograms of a torch model's gradients or parameters, every `log_freq` batches and at the first.

    They stand in the history as ``gradients/<parameter>`` and ``parameters/<parameter>``, in the row that the next
    committing `log` makes, and not in the summary; values that are not finite are counted apart. A batch is a forward
    pass that records gradients, so evaluation under ``no_grad`` does not count. Gradients are those of one backward
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
    _skip_when_compiling(sys.modules["torch"])
    for name, model in zip(names, chosen, strict=True):
        known.watches.append(_Watch(run, model, name, log, log_freq, log_graph, criterion))


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


class _Hook:
    """A hook that a copy or a pickle of its model does not take along: copies are not watched."""

    __slots__ = ("__weakref__",)

    def __reduce__(self) -> tuple[Any, ...]:
        # A callable of the standard library that takes three arguments and returns None: such a file is read
        # without Lineart.
        return getattr, (contextlib.nullcontext(), "__exit__")

    def __deepcopy__(self, memo: Any) -> Callable[..., None]:
        return contextlib.nullcontext().__exit__


class _ShapeHook(_Hook):
    """Notes the shape of a layer's first output."""

    __slots__ = ("is_compiling", "name", "shapes")

    def __init__(self, shapes: dict[str, str], name: str) -> None:
        self.shapes = shapes
        self.name = name
        self.is_compiling = sys.modules["torch"].compiler.is_compiling

    def __call__(self, module: Any, inputs: Any, output: Any) -> None:
        if not self.is_compiling() and self.name not in self.shapes:
            self.shapes[self.name] = output_shape(output)


class _GradientHook(_Hook):
    """Logs one gradient of one parameter, then goes."""

    __slots__ = ("handle", "key", "watch")

    def __init__(self, watch: _Watch, key: str, parameter: Any) -> None:
        self.watch = watch
        self.key = key
        edge = watch.torch.autograd.graph.get_gradient_edge(parameter)
        self.handle = edge.node.register_prehook(self)

    def __call__(self, gradients: Any) -> None:
        self.handle.remove()
        gradient = gradients[0]
        if gradient is None:
            return
        run = self.watch.run()
        if run is not None:
            data = self.watch.histogram(self.key, gradient)
            if data:
                run.log(data, commit=False)


class _Watch(_Hook):
    """One watched model: its forward hook, and what the hook needs."""

    __slots__ = (
        "batches",
        "criterion",
        "handle",
        "log",
        "log_freq",
        "model",
        "name",
        "run",
        "shape_hooks",
        "shapes",
        "torch",
        "waiting",
        "warned",
    )

    def __init__(
        self,
        run: Run,
        model: Any,
        name: str,
        log: Watched | None,
        log_freq: int,
        log_graph: bool,
        criterion: Any,
    ) -> None:
        self.run = ref(run)
        self.model = ref(model)
        self.name = name
        self.log = log
        self.log_freq = log_freq
        self.criterion = (
            None if criterion is None else getattr(criterion, "__name__", None) or repr(criterion)
        )
        self.torch = sys.modules["torch"]
        self.batches = 0
        self.warned = False
        self.waiting: list[Any] = []
        shapes: dict[str, str] = {}
        self.shapes = shapes if log_graph else None
        self.shape_hooks: list[Any] = []
        if log_graph and not any(map(_is_compiled, model.modules())):  # a compiled one would keep the hooks
            for layer, module in unwrapped(model).named_modules():
                self.shape_hooks.append(module.register_forward_hook(_ShapeHook(shapes, layer)))
        self.handle = model.register_forward_hook(self) if log or log_graph else None

    def __call__(self, module: Any, inputs: Any, output: Any) -> None:
        if self.shapes is not None:
            self._log_graph()
        if not self.torch.is_grad_enabled():
            return
        batch = self.batches
        self.batches = batch + 1
        if batch % self.log_freq == 0 and self.log is not None:
            self._look(module)

    def _look(self, module: Any) -> None:
        run, model = self.run(), self.model()
        if run is None or model is None:
            self._remove_hooks()
            return
        if module is not model and not _is_first_replica(module, model):
            self.batches -= 1
            return
        self._forget_gradients()
        parameters = list(_parameters(model, "" if self.name == "model" else f"{self.name}/"))
        if self.log != "gradients":
            data: dict[str, Any] = {}
            for name, parameter in parameters:
                data.update(self.histogram(f"parameters/{name}", parameter))
            if data:
                run.log(data, commit=False)
        if self.log != "parameters":
            self.waiting = [
                _GradientHook(self, f"gradients/{name}", parameter).handle
                for name, parameter in parameters
                if parameter.requires_grad
            ]

    def histogram(self, key: str, tensor: Any) -> dict[str, Any]:
        """The metric of one tensor; none for what has no values."""
        if not tensor.numel() or tensor.is_meta:
            return {}
        try:
            return {key: tensor_histogram(tensor).as_media()}
        except (RuntimeError, NotImplementedError, TypeError) as error:
            if not self.warned:  # a kind of tensor that cannot be counted must not end the training
                self.warned = True
                warnings.warn(f"watch: {key} cannot be counted: {error}", stacklevel=2)
            return {}

    def _log_graph(self) -> None:
        """Log the layers with the shapes seen so far."""
        run, model = self.run(), self.model()
        shapes, self.shapes = self.shapes, None
        for hook in self.shape_hooks:
            hook.remove()
        self.shape_hooks.clear()
        if self.log is None and self.handle is not None:
            self.handle.remove()
        if run is None or model is None:
            return
        graph = ModelGraph.of(unwrapped(model), shapes or {}, self.criterion)
        path = Path(run.dir) / "graph" / f"{self.name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(graph.text(), encoding="utf-8")
        run.log({f"graph/{self.name}": graph.table()}, commit=False)

    def close(self) -> None:
        """Leave the model as if it had not been watched."""
        if self.shapes is not None:
            self._log_graph()
        self._remove_hooks()

    def _remove_hooks(self) -> None:
        self._forget_gradients()
        if self.handle is not None:
            self.handle.remove()

    def _forget_gradients(self) -> None:
        """Take off the hooks of gradients that did not come: of unused layers, or no backward pass at all."""
        for hook in self.waiting:
            hook.remove()
        self.waiting = []


# A model that is compiled runs the counting as it is, instead of tracing it into its graph.
setattr(_Watch.__call__, "_torchdynamo_disable", True)  # noqa: B010 - functions are not typed with it


def _skip_when_compiling(torch: Any) -> None:
    """Let the compiler run the hook's own code as it is, too; `torch.compiler.disable` would do so, and costs a second.

    Where torch has no such switch (it is not documented) the hook is compiled, which takes longer and does the same.
    """
    frames = getattr(getattr(torch._C, "_dynamo", None), "eval_frame", None)
    switch = getattr(frames, "set_code_exec_strategy", None)
    if frames is not None and switch is not None:
        skip = frames._FrameAction.SKIP
        for code in (_Watch.__call__.__code__, _ShapeHook.__call__.__code__):
            switch(code, frames._FrameExecStrategy(skip, skip))


def _parameters(model: Any, prefix: str) -> Sequence[tuple[str, Any]]:
    found = []
    for full, parameter in unwrapped(model).named_parameters():
        name = full
        for inserted in _INSERTED:
            name = name.replace(inserted, "")
        if not type(parameter).__name__.startswith("Uninitialized"):
            found.append((prefix + name, parameter))
    return found


def _is_first_replica(module: Any, model: Any) -> bool:
    """Whether `module` is the copy that ``DataParallel`` runs where the model itself lies: one of all, each batch."""
    torch = sys.modules["torch"]
    device = next((parameter.device for parameter in model.parameters()), None)
    return bool(
        getattr(module, "_is_replica", False)
        and device is not None
        and device.index == torch.cuda.current_device()
    )


def _is_compiled(module: Any) -> bool:
    return (
        type(module).__name__ == "OptimizedModule" or getattr(module, "_compiled_call_impl", None) is not None
    )
