"""Values of `log` that are more than numbers: pictures, sounds, tables.

May import: storage, and `tracking.values`. Start with `base`, which says what a media value is, then `content` (a
value that is one file) and `image`. `table` stands on `table_columns` (kinds of values) and `table_parts` (Parquet).
`convert` goes from what people log to media, and from a row's JSON back.
"""

from __future__ import annotations

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
