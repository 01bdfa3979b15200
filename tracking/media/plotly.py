"""`Plotly`: an interactive figure."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from ...storage.errors import UsageError
from .base import FileSink
from .content import Content, FileMedia, LocalContent, MemoryContent
from .figures import is_plotly, matplotlib_figure
from .image import Image
from .optional import need


class Plotly(FileMedia):
    """A plotly figure, its JSON as a dictionary, or a file of it (``.plotly.json``, ``.json``).

    A matplotlib figure is kept as a picture: its value in the row, and what is read back, is an `Image`.

    >>> figure = Plotly({"data": [{"type": "scatter", "y": [1, 2]}]})
    >>> figure.data["data"][0]["y"]
    [1, 2]
    """

    kind = "plotly-file"
    folder = "media/plotly"

    def __init__(self, val: Any, caption: object = None) -> None:
        """Raises: UsageError for what is no figure; NotFoundError for a path that does not exist."""
        self._picture: Image | None = None
        if isinstance(val, str | os.PathLike):
            content: Content = LocalContent(val, ".plotly.json")
            _parsed(content.read(), str(val))
        elif is_plotly(val):
            content = MemoryContent(str(val.to_json()).encode(), ".plotly.json")
        elif isinstance(val, Mapping) and "data" in val:
            try:
                text = json.dumps(val, separators=(",", ":"), allow_nan=False)
            except (TypeError, ValueError) as error:
                raise UsageError(
                    f"Plotly: the dictionary is not JSON: {error}; use figure.to_plotly_json()"
                ) from error
            content = MemoryContent(text.encode(), ".plotly.json")
        elif matplotlib_figure(val) is not None:
            self._picture = Image(val, caption=caption)
            content = MemoryContent(self._picture.read(), ".png")
        else:
            raise UsageError(f"Plotly: {type(val).__name__} is not a plotly or matplotlib figure")
        super().__init__(content, caption, {})

    @property
    def data(self) -> dict[str, Any]:
        """The figure as plotly's JSON: data, layout. Raises: UsageError when it is a picture."""
        if self.format == "png":
            raise UsageError("Plotly: a matplotlib figure is a picture and has no plotly data")
        return _parsed(self.read(), "the file")

    @property
    def figure(self) -> Any:
        """The plotly figure. Raises: UsageError when plotly is not installed."""
        return need("plotly.graph_objects", "Plotly.figure").Figure(self.data)

    def to_value(self, sink: FileSink) -> dict[str, Any]:
        """Keep the figure; a picture stands in the row as the picture that it is."""
        picture = getattr(self, "_picture", None)
        return super().to_value(sink) if picture is None else picture.to_value(sink)


def _parsed(read: bytes, what: str) -> dict[str, Any]:
    try:
        parsed = json.loads(read)
    except ValueError as error:
        raise UsageError(f"Plotly: {what} is not JSON: {error}") from error
    if not isinstance(parsed, dict) or "data" not in parsed:
        raise UsageError(f"Plotly: {what} is not a figure; expected an object with data and layout")
    return parsed
