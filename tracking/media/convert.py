"""From the values that people log to media, and back from what stands in a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...storage.errors import IntegrityError
from .base import FileSource, Media
from .figures import is_pil, is_plotly, matplotlib_figure
from .histogram import Histogram
from .image import Image
from .optional import comes_from
from .pixels import is_tensor
from .plotly import Plotly

BIG_ARRAY = 32  # numbers: a longer array is a distribution rather than a list to be read


def as_media(value: Any) -> Media | None:
    """The media value that a value of `log` stands for; None for what stands for itself.

    Figures and pyplot become pictures (`Image`) or `Plotly`, Pillow pictures `Image`, DataFrames `Table`, and arrays,
    tensors and Series of more than 32 numbers a `Histogram`.
    Raises: UsageError when the conversion fails, or needs a library that is not installed.

    >>> as_media({"loss": 0.5}) is None
    True
    """
    if isinstance(value, Media):
        return value
    return as_picture(value) or _as_histogram(value)


def as_picture(value: Any) -> Media | None:
    """As `as_media`, but arrays stay what they are: what a cell of a table does."""
    if isinstance(value, Media):
        return value
    if is_pil(value):
        return Image(value)
    if is_plotly(value):
        return Plotly(value)
    figure = matplotlib_figure(value)
    if figure is not None:
        return Image(figure)
    if comes_from(value, "pandas") and type(value).__name__ == "DataFrame":
        from .table import Table

        return Table(dataframe=value)
    return None


def _as_histogram(value: Any) -> Histogram | None:
    if is_tensor(value):
        big = value.numel() > BIG_ARRAY and not value.is_complex()
    elif comes_from(value, "numpy", "jax", "jaxlib", "tensorflow", "cupy", "pandas"):
        kind = getattr(getattr(value, "dtype", None), "kind", None)
        if kind is None:  # a type of another library that has no one-letter kind
            kind = "f" if "float" in str(getattr(value, "dtype", "")) else ""
        big = kind in ("b", "i", "u", "f") and getattr(value, "size", 0) > BIG_ARRAY
    else:
        return None
    if not big:
        return None
    if comes_from(value, "pandas"):  # nullable columns: what is missing counts as NaN
        value = value.to_numpy(dtype="float64", na_value=float("nan"))
    return Histogram(value)


def load_media(value: Mapping[str, Any], source: FileSource) -> Media:
    """The object whose `to_value` a dictionary with ``"_type"`` is.

    Raises: IntegrityError for a type that is not known or a value that is incomplete; NotFoundError.
    """
    kind = value.get("_type")
    if kind not in Media.kinds:
        import importlib
        import importlib.util

        from . import _HOMES
        from . import __name__ as here

        for name in set(_HOMES.values()):
            importlib.import_module(f".{name}", here)  # a kind is known when its module is loaded
        plots = here.rpartition(".")[0] + ".plot"
        if importlib.util.find_spec(plots) is not None:
            importlib.import_module(plots)  # charts are media, and make themselves known
    if kind not in Media.kinds:
        known = ", ".join(sorted(Media.kinds))
        raise IntegrityError(
            f"media value of type {kind!r}: expected one of {known}; a newer Lineart may know it"
        )
    return Media.kinds[str(kind)].from_value(value, source)
