"""Filters of runs in the manner of MongoDB, read into a small tree; `run_matching` and `run_sql` are its two meanings.

    {"config.lr": {"$gte": 0.01}, "$or": [{"tags": "baseline"}, {"summary_metrics.loss": {"$lt": 1}}]}

The rules, where MongoDB's are many: a number equals a number whatever its type, a bool only a bool; NaN equals NaN and
is neither more nor less than anything; numbers are compared as 64-bit floats, text by code points, times as times. A
test of a list holds when it holds for the list or for one of its elements. What is missing equals None. A document of
names without ``$`` means its keys one by one; ``$eq`` compares it as a whole.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..artifacts.names import nearest
from ..storage.errors import UsageError
from .run_keys import TIMES, Key, parse_key
from .values import plain

_WHAT = "filter"
LOG_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
Order = Literal["<", "<=", ">", ">="]


@dataclass(frozen=True, slots=True)
class All:
    """Every one of the parts holds."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of the parts holds."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: Node


@dataclass(frozen=True, slots=True)
class Exists:
    """There is a value, if only null."""

    key: Key


@dataclass(frozen=True, slots=True)
class Among:
    """The value, or an element of it, is one of these JSON values; a missing one is null."""

    key: Key
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Compare:
    """The value, or an element of it, is of the kind of `operand` (float, text or bool) and lies on that side of it."""

    key: Key
    order: Order
    operand: float | str | bool


@dataclass(frozen=True, slots=True)
class Matches:
    """The value, or an element of it, is text in which `pattern` is found; the flags stand in it: ``(?i)``."""

    key: Key
    pattern: str


@dataclass(frozen=True, slots=True)
class Element:
    """The value is a list with an element for which `part` holds; its keys have the root None."""

    key: Key
    part: Node


Node = All | AnyOf | Not | Exists | Among | Compare | Matches | Element

_ORDERS: Mapping[str, Order] = {"$lt": "<", "$lte": "<=", "$gt": ">", "$gte": ">="}
_LOGIC = ("$and", "$or", "$nor", "$not")
OPERATORS = (
    "$eq",
    "$ne",
    *_ORDERS,
    "$in",
    "$nin",
    "$exists",
    "$regex",
    "$options",
    "$not",
    "$all",
    "$elemMatch",
)


def parse_filters(filters: Mapping[str, Any] | None) -> Node:
    """The tree of a filter; None and an empty one match every run.

    Raises: UsageError naming the operator, key or operand that is not understood.
    """
    if filters is None:
        return All(())
    try:
        return _document(filters, None)
    except RecursionError:
        raise UsageError("filter: is nested without end, or too deeply") from None


def _document(filters: object, inside: Key | None) -> Node:
    if not isinstance(filters, Mapping):
        raise UsageError(f"{_WHAT}: {filters!r} is {type(filters).__name__}, expected a dictionary")
    parts: list[Node] = []
    for name, wanted in filters.items():
        if name in _LOGIC:
            parts.append(_logic(name, wanted, inside))
        elif isinstance(name, str) and name.startswith("$"):
            hint = nearest(name, [*OPERATORS, *_LOGIC])
            if name in OPERATORS:
                raise UsageError(
                    f'{_WHAT}: operator {name!r} stands behind a key: {{"config.lr": {{"{name}": …}}}}'
                )
            raise UsageError(f"{_WHAT}: unknown operator {name!r}{hint}")
        else:
            parts.append(
                _field(parse_key(name, _WHAT) if inside is None else inside.below(str(name)), wanted)
            )
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def _logic(name: str, wanted: object, inside: Key | None) -> Node:
    if name == "$not":
        return Not(_document(wanted, inside))
    parts = tuple(_document(part, inside) for part in _listed(name, wanted))
    if not parts:
        raise UsageError(f"{_WHAT}: {name} has an empty list, expected one or more filters")
    return All(parts) if name == "$and" else AnyOf(parts) if name == "$or" else Not(AnyOf(parts))


def _field(key: Key, wanted: object) -> Node:
    """What stands behind a key: a value, operators, or a document of further keys."""
    if isinstance(wanted, re.Pattern):
        return Matches(key, _pattern(wanted, ""))
    if not isinstance(wanted, Mapping):
        return Among(key, (_value(key, wanted),))
    is_operator = [isinstance(name, str) and name.startswith("$") for name in wanted]
    if any(is_operator) and not all(is_operator):
        raise UsageError(f"{_WHAT}: {_shown(key)}: {dict(wanted)!r} mixes operators and keys")
    if not any(is_operator):
        if not wanted:
            return Among(key, ({},))
        return _document(wanted, key)
    parts = [_operator(key, name, operand, wanted) for name, operand in wanted.items() if name != "$options"]
    if not parts:
        raise UsageError(f"{_WHAT}: {_shown(key)}: $options stands beside $regex")
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def _operator(key: Key, name: str, operand: object, beside: Mapping[str, Any]) -> Node:
    if name in _ORDERS:
        return Compare(key, _ORDERS[name], _comparable(key, name, operand))
    match name:
        case "$eq":
            return Among(key, (_value(key, operand),))
        case "$ne":
            return Not(Among(key, (_value(key, operand),)))
        case "$in":
            return _among(key, name, operand)
        case "$nin":
            return Not(_among(key, name, operand))
        case "$all":
            wanted = [Among(key, (_value(key, value),)) for value in _listed(name, operand)]
            return All(tuple(wanted)) if wanted else AnyOf(())  # as MongoDB: nothing has all of nothing
        case "$exists":
            if operand not in (True, False):
                raise UsageError(f"{_WHAT}: {_shown(key)}: $exists {operand!r}, expected true or false")
            return Exists(key) if operand else Not(Exists(key))
        case "$regex":
            return Matches(key, _pattern(operand, beside.get("$options", "")))
        case "$not":
            return Not(_field(key, operand))
        case "$elemMatch":
            return Element(key, _element(operand))
        case _:
            pass
    raise UsageError(f"{_WHAT}: {_shown(key)}: unknown operator {name!r}{nearest(name, OPERATORS)}")


def _among(key: Key, name: str, operand: object) -> Node:
    values = _listed(name, operand)
    patterns = [_field(key, value) for value in values if isinstance(value, re.Pattern)]
    plain_values = [_value(key, value) for value in values if not isinstance(value, re.Pattern)]
    among = Among(key, tuple(plain_values))
    return AnyOf((among, *patterns)) if patterns else among


def _element(operand: object) -> Node:
    """Operators for the element itself, or a document of its keys."""
    if isinstance(operand, Mapping) and any(str(name) in OPERATORS for name in operand):
        return _field(Key(None), operand)
    return _document(operand, Key(None))


def _listed(name: str, operand: object) -> list[Any]:
    if isinstance(operand, (str, bytes, Mapping)) or not isinstance(operand, Iterable):
        raise UsageError(f"{_WHAT}: {name} {operand!r}, expected a list")
    return list(operand)


def _value(key: Key, value: object) -> Any:
    """An operand as JSON; behind a time it is a time as the log writes it."""
    if key.root in TIMES and not key.path and value is not None:
        return time_text(value, f"{_WHAT}: {_shown(key)}")
    return plain(value, f"{_WHAT}: {_shown(key)}")


def _comparable(key: Key, name: str, operand: object) -> float | str | bool:
    value = scalar(_value(key, operand))
    if not isinstance(value, (bool, float, str)):
        raise UsageError(f"{_WHAT}: {_shown(key)}: {name} {operand!r}, expected a number, text or bool")
    return value


def _pattern(operand: Any, options: Any) -> str:
    """A pattern with its flags in it, for RE2 and Python alike."""
    flags = 0
    if isinstance(operand, re.Pattern):
        operand, flags = operand.pattern, operand.flags
    if not isinstance(operand, str) or not isinstance(options, str) or set(options) - set("ims"):
        raise UsageError(
            f"{_WHAT}: $regex {operand!r} with options {options!r}, expected text and some of 'ims'"
        )
    letters = "".join(
        letter
        for letter, flag in (("i", re.I), ("m", re.M), ("s", re.S))
        if flags & flag or letter in options
    )
    pattern = (f"(?{letters})" if letters else "") + operand
    try:
        re.compile(pattern)
    except re.error as error:
        raise UsageError(f"{_WHAT}: $regex {operand!r}: {error}") from error
    return pattern


def scalar(value: Any) -> Any:
    """A JSON value as it is compared: a number as float, text, bool, None; lists and other dictionaries as they are."""
    if isinstance(value, bool) or value is None or isinstance(value, (str, list)):
        return value
    if isinstance(value, (int, float)):
        return float(value)
    if isinstance(value, dict) and len(value) == 1:
        ((name, inner),) = value.items()
        if (
            name in ("_float", "_int", "_decimal")
            and not isinstance(inner, (bool, dict, list))
            and inner is not None
        ):
            try:
                return float(inner)
            except (ValueError, OverflowError):
                return value
        if name in ("_datetime", "_date") and isinstance(inner, str):
            return inner
    return value


def time_text(value: object, what: str) -> str:
    """A time as the log writes it; one without a zone is UTC. Raises: UsageError."""
    found = value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            found = datetime.datetime.fromtimestamp(value, datetime.UTC)
        except (ValueError, OverflowError, OSError):
            found = None
    elif isinstance(value, str):
        try:
            found = datetime.datetime.fromisoformat(value)
        except ValueError:
            found = None
    elif isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        found = datetime.datetime(value.year, value.month, value.day, tzinfo=datetime.UTC)
    if not isinstance(found, datetime.datetime):
        raise UsageError(f"{what}: {value!r}, expected a time such as 2026-01-31T12:00:00")
    if found.tzinfo is None:
        found = found.replace(tzinfo=datetime.UTC)
    text = found.astimezone(datetime.UTC).strftime(LOG_TIME)
    return text.rjust(len("2026-01-31T12:00:00.000000Z"), "0")  # a year before 1000 has fewer digits


def _shown(key: Key) -> str:
    return ".".join([key.root or "element", *key.path])
