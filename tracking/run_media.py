"""Values of `log` that have files: each media object is written into the run's files and stands for itself as JSON."""

from __future__ import annotations

from typing import Any

from .media import Media, as_media
from .media.base import FileSink

_PLAIN = (int, float, str, bool, dict, type(None))


def media_value(value: Any, sink: FileSink) -> Any:
    """The JSON of a media value, or of a list of them; None for anything else. Raises: UsageError, NotFoundError."""
    if isinstance(value, (list, tuple)):
        if not value or isinstance(value[0], _PLAIN):
            return None
        found = [_as_media(item) for item in value]
        if any(item is None for item in found):
            return None
        return [item.to_value(sink) for item in found if item is not None]
    media = _as_media(value)
    return None if media is None else media.to_value(sink)


def _as_media(value: Any) -> Media | None:
    return value if isinstance(value, Media) else as_media(value)
