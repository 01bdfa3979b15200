"""The lines of a journal: how each kind is written and read (docs/format.md).

====================================  ==============================================================================
line                                  meaning
====================================  ==============================================================================
``{"writer": …}``                     the first line: who writes, where, since when
``{"step": 3, "time": …, "log": …}``  one call of `log`; with ``"more": true`` it goes on with the row before it
``{"time": …, "system": …}``          one measurement of the machine
``{"time": …, "config": …}``          keys that were set (so too ``summary``, ``define``, ``alert``, ``set``)
``{"op": …}``                         a fact for the project's log that could not be committed yet
====================================  ==============================================================================

Times are seconds since the epoch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from ...storage.errors import UsageError

_MAX_S = 1e11  # in the year 5138; in microseconds it fits into 64 bits
_DICTIONARIES = ("log", "system", "config", "summary", "set", "alert", "op")


def row_line(step: int, time_s: float, data: Mapping[str, Any], more: bool) -> bytes:
    """One call of `log`. `data` is flat and plain."""
    mark = b',"more":true' if more else b""
    return b'{"step":%d,"time":%.6f%b,"log":%b}\n' % (step, time_s, mark, encoded(data))


def line(kind: str, value: Any, time_s: float | None = None) -> bytes:
    """A line of another kind."""
    if time_s is None:
        return b'{"%b":%b}\n' % (kind.encode(), encoded(value))
    return b'{"time":%.6f,"%b":%b}\n' % (time_s, kind.encode(), encoded(value))


def encoded(value: Any) -> bytes:
    """`value` as JSON in one line. Raises: UsageError for names that are not Unicode, and for endless nesting."""
    try:
        return orjson.dumps(value)
    except TypeError:  # nested more deeply than orjson goes
        try:
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        except UnicodeEncodeError as error:
            raise UsageError(
                f"name {error.object[max(0, error.start - 20) : error.end + 20]!a}: is not Unicode (a lone surrogate);"
                " rename it"
            ) from None
        except RecursionError:
            raise UsageError("value: is nested without end, or too deeply") from None


def decoded(text: bytes) -> dict[str, Any] | None:
    """The line, None for one that is torn or damaged."""
    try:
        found = orjson.loads(text)
    except ValueError:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return None
    return found if isinstance(found, dict) and _is_line(found) else None


def _is_line(found: Mapping[str, Any]) -> bool:
    """Whether the parts that readers rely on are what they should be: a journal may have been written by anybody."""
    time_s, step = found.get("time", 0.0), found.get("step", 0)
    if not isinstance(time_s, int | float) or not -_MAX_S < time_s < _MAX_S:
        return False
    if not isinstance(step, int) or not -(1 << 63) <= step < 1 << 63:
        return False
    if any(kind in found and not isinstance(found[kind], dict) for kind in _DICTIONARIES):
        return False
    return ("log" not in found or ("time" in found and "step" in found)) and (
        "system" not in found or "time" in found
    )


def read_lines(data: bytes) -> Iterator[dict[str, Any]]:
    """Every whole line of a journal's bytes."""
    end = data.rfind(b"\n") + 1
    for text in data[:end].splitlines():
        if text:
            found = decoded(text)
            if found is not None:
                yield found
