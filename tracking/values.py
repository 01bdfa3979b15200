"""`Config` and `Summary`: a run's settings and results, with attribute and item access, always plain JSON values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

from ..storage.errors import UsageError


def plain(value: Any, what: str) -> Any:
    """`value` as JSON data: numpy scalars and arrays become numbers and lists, NaN and infinity their names.

    Raises: UsageError naming `what` for a value that has no JSON form.
    """
    try:
        return _plain(value, what)
    except RecursionError:
        raise UsageError(f"{what}: is nested without end, or too deeply") from None


def _plain(value: Any, what: str) -> Any:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"_float": repr(float(value))}
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{what}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item, what) for item in value]
    for convert in ("tolist", "item"):  # numpy and torch, without importing either
        method = getattr(value, convert, None)
        if callable(method):
            return _plain(method(), what)
    if hasattr(value, "__fspath__"):
        return str(value)
    raise UsageError(
        f"{what}: {type(value).__name__} {str(value)[:80]!r} is not a number, text, list or dictionary"
    )


def _shown(value: Any) -> Any:
    """What `plain` made of a number that JSON does not have, as that number again; anything else as it is."""
    if isinstance(value, dict):
        if value.keys() == {"_float"} and value["_float"] in ("nan", "inf", "-inf"):
            return float(value["_float"])
        items = {key: _shown(item) for key, item in value.items()}
        return items if any(items[key] is not value[key] for key in value) else value
    if isinstance(value, list):
        shown = [_shown(item) for item in value]
        return shown if any(a is not b for a, b in zip(shown, value, strict=True)) else value
    return value


class Values(MutableMapping[str, Any]):
    """A dictionary of plain values whose top-level keys are attributes, too; tells `changed` of every change."""

    _what = "value"

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        object.__setattr__(self, "_values", {})
        object.__setattr__(self, "_changed", changed)

    def as_dict(self) -> dict[str, Any]:
        """A copy."""
        return dict(self._values)

    def __getitem__(self, key: str) -> Any:
        return _shown(self._values[key])

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, also in another process, has the values and no run to tell of changes."""
        return _detached, (type(self), self._values)

    def __setitem__(self, key: str, value: Any) -> None:
        self._values[key] = plain(value, f"{self._what} {key!r}")
        self._changed()

    def __delitem__(self, key: str) -> None:
        del self._values[key]
        self._changed()

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, key: str) -> Any:
        try:
            return self[key]
        except KeyError:
            raise AttributeError(f"{self._what} has no {key!r}") from None

    def __setattr__(self, key: str, value: Any) -> None:
        self[key] = value

    def __repr__(self) -> str:
        return repr(self._values)


def _detached(kind: type[Values], values: Mapping[str, Any]) -> Values:
    made = kind()
    made.update(values)
    return made


class Config(Values):
    """A run's settings. Changing one that is set raises, unless it is said to be meant."""

    _what = "config"

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def update(self, values: Mapping[str, Any] = {}, /, allow_val_change: bool = False, **more: Any) -> None:  # type: ignore[override]
        """Set several keys. Raises: UsageError naming the key, its value and the new one when one would change."""
        new = {key: plain(value, f"config {key!r}") for key, value in {**values, **more}.items()}
        for key, value in new.items():
            if key in self._values and self._values[key] != value and not allow_val_change:
                raise UsageError(
                    f"config {key!r} is {self._values[key]!r} and would become {value!r};"
                    " use config.update(…, allow_val_change=True)"
                )
        self._values.update(new)
        self._changed()


class Summary(Values):
    """A run's results: the last logged value of each metric, or what the user sets."""

    _what = "summary"
