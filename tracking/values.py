"""`Config` and `Summary`: a run's settings and results, with attribute and item access, always plain JSON values.

Numbers that JSON does not have are written as a dictionary with one key that says what it is: ``{"_float": "nan"}``,
``{"_int": "18446744073709551616"}`` (beyond 64 bits), ``{"_decimal": "0.10"}``, ``{"_date": "2026-01-02"}``,
``{"_datetime": "2026-01-02T03:04:05"}``; text that is not Unicode (as of a file name in another encoding), as
``{"_str": "\\\\udcff"}``, with the escapes of JSON. Whoever reads gets the value back.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import math
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

from ..artifacts.recorded import shown
from ..storage.errors import UsageError


def plain(value: Any, what: str, convert: Callable[[Any], Any] = lambda value: None) -> Any:
    """`value` as JSON data: numpy scalars and arrays become numbers and lists, other numbers as the module says.

    `convert` is asked first for what has no JSON form; None means that it has none either.
    Raises: UsageError naming `what` for a value that has no JSON form.
    """
    try:
        return _plain(value, what, convert)
    except RecursionError:
        raise UsageError(f"{what}: is nested without end, or too deeply") from None


def _plain(value: Any, what: str, convert: Callable[[Any], Any]) -> Any:
    if value is None:
        return None
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, enum.Enum):
        return _plain(value.value, what, convert)
    number = plain_number(value)
    if number is not None:
        return number
    if isinstance(value, Mapping):
        return {_plain_key(key, what): _plain(item, f"{what}.{key}", convert) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item, what, convert) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain({f.name: getattr(value, f.name) for f in dataclasses.fields(value)}, what, convert)
    converted = convert(value)
    if converted is not None:
        return converted
    for method_name in ("tolist", "item"):  # numpy and torch, without importing either
        method = getattr(value, method_name, None)
        if callable(method):
            return _plain(method(), what, convert)
    if hasattr(value, "__fspath__"):
        return str(value)
    raise UsageError(
        f"{what}: {type(value).__name__} {str(value)[:80]!r} is not a number, text, list or dictionary"
    )


def plain_text(value: str) -> Any:
    """The JSON form of text."""
    text = value if type(value) is str else str.__str__(value)
    return text if is_unicode(text) else {"_str": json.dumps(text)[1:-1]}


def is_unicode(text: str) -> bool:
    """Whether UTF-8 can say `text`: it has no lone surrogates."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _plain_key(key: Any, what: str) -> str:
    text = str(key)
    if not is_unicode(text):
        raise UsageError(f"{what}: the key {text!a} is not Unicode (a lone surrogate); rename it")
    return text


def checked_text(value: Any, what: str) -> str:
    """`value`, if it is text. Raises: UsageError naming `what`."""
    if not isinstance(value, str) or not is_unicode(value):
        kind = "Unicode" if isinstance(value, str) else f"text, not {type(value).__name__}"
        raise UsageError(f"{what} {ascii(value)[:80]}: expected {kind}")
    return str.__str__(value)


def plain_number(value: Any) -> Any:
    """The JSON form of a number or time; None for what is none."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        number = int(value)
        return number if -(1 << 63) <= number < 1 << 63 else {"_int": str(number)}
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"_float": repr(float(value))}
    if isinstance(value, decimal.Decimal):
        return {"_decimal": str(value)}
    if isinstance(value, datetime.datetime):
        return {"_datetime": value.isoformat()}
    if isinstance(value, datetime.date):
        return {"_date": value.isoformat()}
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    return None


DELETED = {"_deleted": True}  # in what is recorded of a change: the key was removed


def merge_values(values: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Take recorded changes into `values`."""
    for key, value in changes.items():
        if value == DELETED:
            values.pop(key, None)
        else:
            values[key] = value


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What `merge_values` makes `after` of `before` with."""
    changed = {key: value for key, value in after.items() if key not in before or before[key] != value}
    return {**changed, **{key: DELETED for key in before if key not in after}}


class NestedValues(dict[str, Any]):
    """A dictionary inside of a run's values: a change of it is a change of theirs."""

    __slots__ = ("_told",)

    def __init__(self, values: Mapping[str, Any], told: Callable[[dict[str, Any]], None]) -> None:
        object.__setattr__(self, "_told", lambda changed: None)
        super().__init__(
            {
                key: self._wrapped(key, item) if isinstance(item, dict) else item
                for key, item in values.items()
            }
        )
        object.__setattr__(self, "_told", told)

    def _wrapped(self, key: str, item: dict[str, Any]) -> NestedValues:
        return NestedValues(item, lambda changed: self.__setitem__(key, changed))

    def _change(self, changed: dict[str, Any]) -> None:
        self._told(changed)  # may refuse
        dict.clear(self)
        dict.update(
            self,
            {
                key: self._wrapped(key, item) if isinstance(item, dict) else item
                for key, item in changed.items()
            },
        )

    def __setitem__(self, key: str, value: Any) -> None:
        self._change({**self, key: value})

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self._change({name: item for name, item in self.items() if name != key})

    def update(self, *given: Any, **more: Any) -> None:
        self._change({**self, **dict(*given, **more)})

    def setdefault(self, key: str, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def pop(self, key: str, *default: Any) -> Any:
        if key not in self and default:
            return default[0]
        value = self[key]
        del self[key]
        return value

    def popitem(self) -> tuple[str, Any]:
        key = next(reversed(self))
        return key, self.pop(key)

    def clear(self) -> None:
        self._change({})

    def __ior__(self, other: Any) -> NestedValues:  # type: ignore[override,misc]
        self.update(other)
        return self

    def __getattr__(self, key: str) -> Any:
        try:
            return self[key]
        except KeyError:
            raise AttributeError(f"there is no {key!r}") from None

    def __setattr__(self, key: str, value: Any) -> None:
        self[key] = value

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)

    def __deepcopy__(self, memo: Any) -> dict[str, Any]:
        import copy

        return {key: copy.deepcopy(item, memo) for key, item in self.items()}


class Values(MutableMapping[str, Any]):
    """A dictionary of plain values whose keys are attributes, too; tells `changed` the keys of every change."""

    _what = "value"

    def __init__(
        self,
        changed: Callable[[Mapping[str, Any]], None] = lambda values: None,
        convert: Callable[[Any], Any] = lambda value: None,
    ) -> None:
        object.__setattr__(self, "_values", {})
        object.__setattr__(self, "_changed", changed)
        object.__setattr__(self, "_convert", convert)

    def as_dict(self) -> dict[str, Any]:
        """A copy, in its JSON form."""
        return dict(self._values)

    @property
    def kept(self) -> dict[str, Any]:
        """The JSON values themselves: what writes into them tells nobody."""
        found: dict[str, Any] = self._values
        return found

    def load(self, values: Mapping[str, Any]) -> None:
        """Take in JSON values that are recorded already."""
        merge_values(self._values, values)

    def __getitem__(self, key: str) -> Any:
        value = shown(self._values[key])
        if type(value) is dict:
            return NestedValues(value, lambda changed: self._set_nested(key, changed))
        return value

    def _set_nested(self, key: str, changed: dict[str, Any]) -> None:
        self[key] = changed

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, also in another process, has the values and no run to tell of changes."""
        return _detached, (type(self), self._values)

    def __setitem__(self, key: str, value: Any) -> None:
        self._set({key: value})

    def _set(self, values: Mapping[str, Any]) -> None:
        for key in values:
            if not isinstance(key, str):
                raise TypeError(f"{self._what} key {key!r}: expected text, not {type(key).__name__}")
        new = {
            _plain_key(key, self._what): plain(value, f"{self._what} {key!r}", self._convert)
            for key, value in values.items()
        }
        self._check(new)
        self._changed(new)
        self._values.update(new)

    def _check(self, new: Mapping[str, Any]) -> None:
        """Refuse a change that is not allowed."""

    def update(self, values: Any = (), /, **more: Any) -> None:
        """Set several keys at once; all of them or, when one is refused, none."""
        self._set({**dict(values), **more})

    def __delitem__(self, key: str) -> None:
        if key not in self._values:
            raise KeyError(key)
        self._changed({key: DELETED})
        del self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, key: str) -> Any:
        if key.startswith("__"):
            raise AttributeError(key)
        try:
            return self[key]
        except KeyError:
            raise AttributeError(f"{self._what} has no {key!r}") from None

    def __setattr__(self, key: str, value: Any) -> None:
        self[key] = value

    def __repr__(self) -> str:
        return repr({key: shown(value) for key, value in self._values.items()})


def _detached(kind: type[Values], values: Mapping[str, Any]) -> Values:
    made = kind()
    made.load(values)
    return made


class Config(Values):
    """A run's settings. Changing one that is set raises, unless it is said to be meant.

    >>> import lineart
    >>> with lineart.init(project="docs", config={"model": {"depth": 3}}) as run:
    ...     run.config["lr"] = 0.1
    >>> run.config.model.depth, run.config.as_dict()
    (3, {'model': {'depth': 3}, 'lr': 0.1})
    """

    _what = "config"

    def __init__(
        self,
        changed: Callable[[Mapping[str, Any]], None] = lambda values: None,
        convert: Callable[[Any], Any] = lambda value: None,
        *,
        allow_val_change: bool = False,
    ) -> None:
        super().__init__(changed, convert)
        object.__setattr__(self, "_allowed", allow_val_change)

    def update(self, values: Any = (), /, allow_val_change: bool | None = None, **more: Any) -> None:
        """Set several keys, from a dictionary, namespace, dataclass or the path of a YAML or JSON file.

        Raises: UsageError naming the key, its value and the new one when one would change.
        """
        from .config_sources import config_values

        new = {**config_values(values), **more}
        before = self._allowed
        object.__setattr__(self, "_allowed", before if allow_val_change is None else allow_val_change)
        try:
            self._set(new)
        finally:
            object.__setattr__(self, "_allowed", before)

    def setdefaults(self, values: Any) -> None:
        """Set the keys that are not set yet."""
        from .config_sources import config_values

        self._set({key: value for key, value in config_values(values).items() if key not in self._values})

    def _check(self, new: Mapping[str, Any]) -> None:
        for key, value in new.items():
            if key in self._values and not self._allowed and _changes(self._values[key], value):
                raise UsageError(
                    f"config {key!r} is {self._values[key]!r} and would become {value!r};"
                    " use config.update(…, allow_val_change=True)"
                )


def _changes(old: Any, new: Any) -> bool:
    """Whether `new` says something else than `old`; a key that is new inside of a dictionary does not."""
    if isinstance(old, dict) and isinstance(new, dict):
        return any(key not in new or _changes(value, new[key]) for key, value in old.items())
    return bool(old != new)


class Summary(Values):
    """A run's results: of each metric what `define_metric` says, else its last value; or what the user sets."""

    _what = "summary"
