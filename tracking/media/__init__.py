"""Values of `log` that are more than numbers: pictures, sounds, tables. Start with `base`, which says what one is."""

from __future__ import annotations

from .base import FileSink, FileSource, FileValue, Media

__all__ = ["FileSink", "FileSource", "FileValue", "Media"]
