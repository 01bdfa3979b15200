"""What is recorded of a Keras model: its layers, histograms of its weights, and the operations of a prediction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..storage.errors import UsageError
from ..tracking.media import Histogram, Table
from ..tracking.model_graph import COLUMNS
from .library import library

if TYPE_CHECKING:
    from ..tracking.run import Run

keras: Any = library("keras")


def log_layers(run: Run, model: Any) -> None:
    """The table ``graph/model``, and Keras's own summary as the run's file ``graph/model.txt``."""
    rows = [
        [
            layer.name,
            type(layer).__name__,
            _shape(layer),
            sum(_size(weight) for weight in layer.weights),
            sum(_size(weight) for weight in layer.trainable_weights),
        ]
        for layer in model.layers
    ]
    lines: list[str] = []
    model.summary(line_length=100, print_fn=lambda line, **_: lines.append(line))
    path = Path(run.dir) / "graph" / "model.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    run.log({"graph/model": Table(columns=list(COLUMNS), data=rows)}, commit=False)


def weight_histograms(model: Any) -> dict[str, Histogram]:
    """One for each of the model's weights that is trained, by its path."""
    return {
        f"parameters/{weight.path}": Histogram(keras.ops.convert_to_numpy(weight))
        for weight in model.trainable_weights
    }


def gradient_histograms(model: Any, x: Any, y: Any) -> dict[str, Histogram]:
    """Those of the loss on one batch. Raises: UsageError where Keras does not run on torch."""
    _demand_torch("log_gradients")
    weights = [weight.value for weight in model.trainable_weights]
    before = [weight.grad for weight in weights]
    try:
        for weight in weights:
            weight.grad = None
        x, y = keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(y)
        model.compute_loss(x=x, y=y, y_pred=model(x, training=False)).backward()
        return {
            f"gradients/{weight.path}": Histogram(weight.value.grad.detach().cpu().numpy())
            for weight in model.trainable_weights
            if weight.value.grad is not None
        }
    finally:
        for weight, gradient in zip(weights, before, strict=True):
            weight.grad = gradient


def prediction_gflops(model: Any) -> float:
    """Thousand million floating-point operations of the prediction of one sample.

    Counted by torch, two for a multiplication and its addition. Raises: UsageError where Keras does not run on torch.
    """
    _demand_torch("compute_flops")
    torch = library("torch")
    counter = library("torch.utils.flop_counter", "torch").FlopCounterMode(display=False)
    samples = [keras.ops.zeros([size or 1 for size in given.shape], given.dtype) for given in model.inputs]
    with counter, torch.no_grad():
        model(samples if len(samples) > 1 else samples[0])
    return float(counter.get_total_flops()) / 1e9


def _demand_torch(what: str) -> None:
    if keras.backend.backend() != "torch":
        raise UsageError(
            f"LineartCallback: {what} needs Keras on torch (KERAS_BACKEND=torch), not on {keras.backend.backend()}"
        )


def _shape(layer: Any) -> str:
    """As in the tables of torch models, with ``?`` for the number of samples; empty for a layer that has none."""
    try:
        shapes = keras.tree.map_structure(lambda tensor: tensor.shape, layer.output)
    except (AttributeError, ValueError):  # of a layer of a subclassed model
        return ""
    several = shapes if isinstance(shapes, list) else [shapes]
    return ", ".join("×".join("?" if size is None else str(size) for size in shape) for shape in several)


def _size(weight: Any) -> int:
    size = 1
    for part in weight.shape:
        size *= part
    return size
