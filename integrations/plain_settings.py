"""Settings of other libraries as values for a run's config."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

_DEPTH = 20


def plain_settings(settings: Mapping[Any, Any], depth: int = _DEPTH) -> dict[str, Any]:
    """`settings` with what JSON does not have as text: functions and classes by name, other objects as printed.

    >>> plain_settings({"lr": 0.1, "loss": len, "sizes": (1, 2), 3: {4}})
    {'lr': 0.1, 'loss': 'len', 'sizes': [1, 2], '3': [4]}
    """
    return {str(key): _plain(value, depth) for key, value in settings.items()}


def _plain(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Enum):
        return _plain(value.value, depth)
    if isinstance(value, Mapping) and depth:
        return plain_settings(value, depth - 1)
    if isinstance(value, (list, tuple, set, frozenset)) and depth:
        return [_plain(item, depth - 1) for item in value]
    item = getattr(value, "item", None)
    if getattr(value, "shape", None) == () and callable(item):
        return item()  # of numpy or torch
    if isinstance(value, type) or callable(value):
        return getattr(value, "__name__", None) or str(value)
    return str(value)
