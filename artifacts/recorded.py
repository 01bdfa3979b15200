"""Values as the log has them, as they are meant, and as other tools can read them. Pure.

The log is JSON; numbers and texts that JSON does not have are dictionaries with one key there (`tracking.values`).
"""

from __future__ import annotations

import datetime
import decimal
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

_RETURN: Mapping[str, Callable[[str], Any]] = {
    "_float": float,
    "_int": int,
    "_decimal": decimal.Decimal,
    "_datetime": datetime.datetime.fromisoformat,
    "_date": datetime.date.fromisoformat,
    "_str": lambda text: str(json.loads(f'"{text}"')),
}


def shown(value: Any) -> Any:
    """What was recorded of a number or text that JSON does not have, as it was; anything else as it is."""
    if isinstance(value, dict):
        if len(value) == 1:
            ((key, text),) = value.items()
            if key in _RETURN and isinstance(text, str):
                try:
                    return _RETURN[key](text)
                except (ValueError, ArithmeticError):
                    return value  # somebody's own dictionary that happens to have such a key
        items = {key: shown(item) for key, item in value.items()}
        return items if any(items[key] is not value[key] for key in value) else value
    if isinstance(value, list):
        items_ = [shown(item) for item in value]
        return items_ if any(a is not b for a, b in zip(items_, value, strict=True)) else value
    return value


def for_others(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values that were recorded, as JSON that any reader has: a number that not each of them knows is its text.

    >>> for_others({"n": {"_int": "18446744073709551616"}, "x": [{"_float": "nan"}, 0.5], "d": {"_date": "2026-01-02"}})
    {'n': '18446744073709551616', 'x': ['nan', 0.5], 'd': '2026-01-02'}
    """
    return {key: _plain(shown(value)) for key, value in values.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, int):  # true and false, too
        return value if -(1 << 63) <= value < 1 << 63 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    return None if value is None else str(value)
