"""Pictures and figures of other libraries: recognised without importing them, drawn by themselves."""

from __future__ import annotations

import io
import types
from typing import Any

from ...storage.errors import UsageError
from .optional import comes_from


def is_pil(value: object) -> bool:
    """Whether it is a Pillow picture."""
    return comes_from(value, "PIL") and hasattr(value, "getpixel")


def is_plotly(value: object) -> bool:
    """Whether it is a plotly figure."""
    return comes_from(value, "plotly") and hasattr(value, "to_plotly_json") and hasattr(value, "add_trace")


def matplotlib_figure(value: object) -> Any | None:
    """The matplotlib figure that a figure, its axes, a seaborn grid or ``pyplot`` itself stands for, or None."""
    if isinstance(value, types.ModuleType):
        return value.gcf() if value.__name__ in ("matplotlib.pyplot", "pylab") else None
    if not comes_from(value, "matplotlib", "seaborn"):
        return None
    found: Any = value
    for _ in range(8):  # an artist in axes in a part of a figure in a part of a figure…
        if comes_from(found, "matplotlib") and hasattr(found, "savefig"):
            return found
        found = getattr(found, "figure", None)
        if found is None:
            return None
    return None


def drawn(figure: Any) -> bytes:
    """A matplotlib figure as PNG: the same figure gives the same bytes.

    Raises: UsageError when matplotlib cannot draw it.
    """
    buffer = io.BytesIO()
    try:
        figure.savefig(buffer, format="png", metadata={"Software": None})
    except (ValueError, RuntimeError, OSError) as error:  # bad TeX, a size of millions of pixels
        raise UsageError(
            f"matplotlib cannot draw the figure: {' '.join(str(error).split())[:300]}"
        ) from error
    return buffer.getvalue()
