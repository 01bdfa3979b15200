"""The layers of a torch model: names, classes, output shapes, numbers of parameters; as a table and as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .media import Table

COLUMNS = ("layer", "class", "output shape", "parameters", "trainable")

# Wrappers whose own name before each layer's would make one model two, on one device and on many.
_WRAPPERS: Mapping[str, str] = {
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "FullyShardedDataParallel": "module",
    "OptimizedModule": "_orig_mod",
}


def unwrapped(model: Any) -> Any:
    """The model inside of what spreads it over devices or compiles it."""
    while (inner := getattr(model, _WRAPPERS.get(type(model).__name__, ""), None)) is not None:
        model = inner
    return model


@dataclass(frozen=True, slots=True)
class Layer:
    """One module; the numbers are of its own parameters, each counted where it is first met."""

    name: str
    kind: str
    shape: str
    parameters: int
    trainable: int


@dataclass(frozen=True, slots=True)
class ModelGraph:
    """A model's layers in the order of their definition, the model itself first."""

    layers: tuple[Layer, ...]
    size_bytes: int
    criterion: str | None = None

    @classmethod
    def of(cls, model: Any, shapes: Mapping[str, str] = {}, criterion: str | None = None) -> ModelGraph:
        """What `model` consists of; `shapes` are the outputs' by layer, as `output_shape` writes them."""
        layers: list[Layer] = []
        seen: set[int] = set()
        size_bytes = 0
        for name, module in model.named_modules():
            own = [p for p in module.parameters(recurse=False) if id(p) not in seen]
            seen.update(map(id, own))
            size_bytes += sum(p.numel() * p.element_size() for p in own if not _is_lazy(p))
            layers.append(
                Layer(
                    name or "(model)",
                    type(module).__name__,
                    shapes.get(name, ""),
                    sum(map(_elements, own)),
                    sum(_elements(p) for p in own if p.requires_grad),
                )
            )
        return cls(tuple(layers), size_bytes, criterion)

    @property
    def parameters(self) -> int:
        """How many there are."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def trainable(self) -> int:
        """How many of the parameters take gradients."""
        return sum(layer.trainable for layer in self.layers)

    def table(self) -> Table:
        """One row a layer."""
        from .media import Table

        return Table(columns=list(COLUMNS), data=[list(row) for row in self._rows()])

    def text(self) -> str:
        """The table in columns, with the sums below."""
        rows = [list(COLUMNS), *([*map(str, row[:3]), *(f"{n:,}" for n in row[3:])] for row in self._rows())]
        widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
        lines = []
        for row in rows:
            cells = [
                cell.ljust(w) if n < 3 else cell.rjust(w)
                for n, (cell, w) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append("  ".join(cells).rstrip())
        lines.insert(1, "-" * max(map(len, lines)))
        lines.append(lines[1])
        lines.append(
            f"{self.parameters:,} parameters, {self.trainable:,} of them trainable, {self.size_bytes:,} bytes"
        )
        if self.criterion is not None:
            lines.append(f"criterion: {self.criterion}")
        return "\n".join(lines) + "\n"

    def _rows(self) -> list[tuple[str, str, str, int, int]]:
        return [
            (layer.name, layer.kind, layer.shape, layer.parameters, layer.trainable) for layer in self.layers
        ]


def output_shape(output: Any, depth: int = 4) -> str:
    """The shape of what a module returned: ``8×10``; of several in brackets; empty where there is none.

    >>> class Tensor:
    ...     shape = (8, 10)
    >>> output_shape((Tensor(), {"state": Tensor(), "cache": None}))
    '(8×10, {state: 8×10})'
    """
    shape = getattr(output, "shape", None)
    if shape is not None and not callable(shape):
        return "×".join(map(str, shape)) or "scalar"
    if depth and isinstance(output, Mapping):
        named = [(name, output_shape(value, depth - 1)) for name, value in output.items()]
        return "{" + ", ".join(f"{name}: {shape}" for name, shape in named if shape) + "}"
    if depth and isinstance(output, (list, tuple)):
        return "(" + ", ".join(filter(None, (output_shape(value, depth - 1) for value in output))) + ")"
    return ""


def _elements(parameter: Any) -> int:
    """How many numbers; 0 for one that gets its shape from the first batch."""
    return 0 if _is_lazy(parameter) else parameter.numel()


def _is_lazy(parameter: Any) -> bool:
    return type(parameter).__name__ == "UninitializedParameter"
