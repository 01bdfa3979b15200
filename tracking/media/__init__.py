"""Values of `log` that are more than numbers: pictures, sounds, tables.

May import: storage, and `tracking.values`. Start with `base`, which says what a media value is, then `content` (a
value that is one file) and `image`. `table` stands on `table_columns` (kinds of values) and `table_parts` (Parquet).
`convert` goes from what people log to media, and from a row's JSON back.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .audio import Audio
    from .base import FileSink, FileSource, FileValue, Media
    from .convert import as_media, load_media
    from .histogram import Histogram
    from .image import Image
    from .joined_table import JoinedTable
    from .molecule import Molecule
    from .object3d import Object3D
    from .page import Html
    from .plotly import Plotly
    from .table import Table
    from .video import Video

_HOMES = {
    "Audio": "audio",
    "FileSink": "base",
    "FileSource": "base",
    "FileValue": "base",
    "Media": "base",
    "as_media": "convert",
    "load_media": "convert",
    "Histogram": "histogram",
    "Image": "image",
    "JoinedTable": "joined_table",
    "Molecule": "molecule",
    "Object3D": "object3d",
    "Html": "page",
    "Plotly": "plotly",
    "Table": "table",
    "Video": "video",
}

__all__ = [
    "Audio",
    "FileSink",
    "FileSource",
    "FileValue",
    "Histogram",
    "Html",
    "Image",
    "JoinedTable",
    "Media",
    "Molecule",
    "Object3D",
    "Plotly",
    "Table",
    "Video",
    "as_media",
    "load_media",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = found
    return found
