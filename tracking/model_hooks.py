"""What hangs on a watched torch model.

Between two looks that is one forward hook, which counts batches. Gradients are caught by hooks on the graph of the
batch looked at, and go with it; so every other backward pass runs as if nobody watched (a hook that stays on a
parameter costs 0.4 µs a pass, also after it was taken off). Hooks hold model and run weakly: neither keeps the other
alive.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from weakref import ref

from .model_graph import ModelGraph, output_shape, unwrapped
from .tensor_histogram import tensor_histogram

if TYPE_CHECKING:
    from .run import Run

Watched = Literal["gradients", "parameters", "all"]

# What wrappers of inner modules put into the names of parameters.
_INSERTED = ("_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod.")


class _Hook:
    """A hook that a copy or a pickle of its model does not take along: copies are not watched."""

    __slots__ = ("__weakref__",)

    def __reduce__(self) -> tuple[Any, ...]:
        # A callable of the standard library that takes anything and returns None: such a file is read without Lineart.
        return getattr, (contextlib.nullcontext(), "__exit__")

    def __deepcopy__(self, memo: Any) -> Callable[..., None]:
        return contextlib.nullcontext().__exit__


class _ShapeHook(_Hook):
    """After a layer's forward pass: notes the shape of its first output."""

    __slots__ = ("is_compiling", "name", "shapes")

    def __init__(self, shapes: dict[str, str], name: str) -> None:
        self.shapes = shapes
        self.name = name
        self.is_compiling = sys.modules["torch"].compiler.is_compiling

    def __call__(self, module: Any, inputs: Any, output: Any) -> None:
        if not self.is_compiling() and self.name not in self.shapes:
            self.shapes[self.name] = output_shape(output)


class _FirstCallHook(_Hook):
    """Before a layer's forward pass: of all layers the one that is called first is where batches are counted."""

    __slots__ = ("is_compiling", "is_grad_enabled", "watch")

    def __init__(self, watch: ModelWatch) -> None:
        self.watch = watch
        self.is_compiling = watch.torch.compiler.is_compiling
        self.is_grad_enabled = watch.torch.is_grad_enabled

    def __call__(self, module: Any, inputs: Any) -> None:
        if not self.is_compiling() and self.is_grad_enabled():
            self.watch.count_at(module)


class _GradientHook(_Hook):
    """Logs one gradient of one parameter, then goes."""

    __slots__ = ("handle", "key", "node", "watch")

    def __init__(self, watch: ModelWatch, key: str, parameter: Any) -> None:
        self.watch = watch
        self.key = key
        # Held until it has fired: without a graph yet nothing else holds the node.
        self.node = watch.torch.autograd.graph.get_gradient_edge(parameter).node
        self.handle = self.node.register_prehook(self)

    def __call__(self, gradients: Any) -> None:
        self.remove()
        self.watch.waiting.pop(self.key, None)
        run = self.watch.run()
        if run is not None and gradients[0] is not None:
            data = self.watch.histogram(self.key, gradients[0])
            if data:
                run.log(data, commit=False)

    def remove(self) -> None:
        """Leave the graph."""
        self.handle.remove()
        self.node = None


class ModelWatch(_Hook):
    """One watched model: its forward hook, and what the hook needs."""

    __slots__ = (
        "anchor",
        "batches",
        "criterion",
        "first_hooks",
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
        """Hang the hooks on `model`; `name` begins its metrics' names, unless it is ``model``."""
        self.run = ref(run)
        waiting: dict[str, _GradientHook] = {}
        self.model = ref(model, lambda _: _forget(waiting))
        self.waiting = waiting  # for gradients of this batch
        self.name = name
        self.log = log
        self.log_freq = log_freq
        self.criterion = (
            None if criterion is None else getattr(criterion, "__name__", None) or repr(criterion)
        )
        self.torch = sys.modules["torch"]
        self.batches = 0
        self.warned = False
        self.shape_hooks: list[Any] = []
        self.first_hooks: list[Any] = []  # until the first batch
        self.shapes: dict[str, str] | None = {} if log_graph else None
        self.anchor = self.model  # the module whose passes are the batches
        self.handle: Any = None
        if log is None and not log_graph:
            return
        _skip_when_compiling(self.torch)
        self.handle = model.register_forward_hook(self)
        if any(map(_is_compiled, model.modules())):
            return  # its layers would keep their hooks in the compiled code
        for layer, module in unwrapped(model).named_modules():
            if self.shapes is not None:
                self.shape_hooks.append(module.register_forward_hook(_ShapeHook(self.shapes, layer)))
        for module in model.modules():
            self.first_hooks.append(module.register_forward_pre_hook(_FirstCallHook(self)))

    def __call__(self, module: Any, inputs: Any, output: Any) -> None:
        # Where not the model itself is called, its layers have all had their turn when the second batch begins.
        if self.shapes is not None and (self.batches or module is self.model()):
            self._log_graph()
        if not self.torch.is_grad_enabled():
            return
        batch = self.batches
        self.batches = batch + 1
        if batch % self.log_freq == 0 and self.log is not None:
            self._look(module)

    def count_at(self, module: Any) -> None:
        """The first batch begins in `module`."""
        model = self.model()
        _take_off(self.first_hooks)
        if model is not None and module is not model and not getattr(module, "_is_replica", False):
            self.handle.remove()
            self.anchor = ref(module)
            self.handle = module.register_forward_hook(self)

    def _look(self, module: Any) -> None:
        run, model = self.run(), self.model()
        if run is None or model is None:
            self._remove_hooks()
            return
        if module is not self.anchor() and not _is_first_replica(module, model):
            self.batches -= 1
            return
        _forget(self.waiting)
        parameters = list(_parameters(model, "" if self.name == "model" else f"{self.name}/"))
        if self.log != "gradients":
            data: dict[str, Any] = {}
            for name, parameter in parameters:
                data.update(self.histogram(f"parameters/{name}", parameter))
            if data:
                run.log(data, commit=False)
        if self.log != "parameters":
            for name, parameter in parameters:
                if parameter.requires_grad:
                    key = f"gradients/{name}"
                    self.waiting[key] = _GradientHook(self, key, parameter)

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
        _take_off(self.shape_hooks)
        if self.log is None:
            _take_off(self.first_hooks)
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
        _forget(self.waiting)
        _take_off(self.shape_hooks)
        _take_off(self.first_hooks)
        if self.handle is not None:
            self.handle.remove()


def _forget(waiting: dict[str, _GradientHook]) -> None:
    """Take off the hooks of gradients that did not come: of unused layers, or no backward pass at all."""
    for hook in waiting.values():
        hook.remove()
    waiting.clear()


def _take_off(hooks: list[Any]) -> None:
    for hook in hooks:
        hook.remove()
    hooks.clear()


# A model that is compiled runs the counting as it is, instead of tracing it into its graph.
setattr(ModelWatch.__call__, "_torchdynamo_disable", True)  # noqa: B010 - functions are not typed with it


def _skip_when_compiling(torch: Any) -> None:
    """Let the compiler run the hook's own code as it is, too; `torch.compiler.disable` would do so, and costs a second.

    Where torch has no such switch (it is not documented) the hook is compiled, which takes longer and does the same.
    """
    frames = getattr(getattr(torch._C, "_dynamo", None), "eval_frame", None)
    switch = getattr(frames, "set_code_exec_strategy", None)
    if frames is not None and switch is not None:
        skip = frames._FrameAction.SKIP
        switch(ModelWatch.__call__.__code__, frames._FrameExecStrategy(skip, skip))


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
