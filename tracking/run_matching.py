"""Whether a filter holds for a run, in Python: for short logs, and for runs that are still running."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .run_filters import All, Among, AnyOf, Compare, Element, Exists, Matches, Node, Not, scalar
from .run_keys import MISSING, value_at

_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def holds(node: Node, scope: Mapping[Any, Any]) -> bool:
    """Whether `node` holds for a document (`run_records.document`)."""
    match node:
        case All(parts):
            return all(holds(part, scope) for part in parts)
        case AnyOf(parts):
            return any(holds(part, scope) for part in parts)
        case Not(part):
            return not holds(part, scope)
        case Exists(key):
            return value_at(scope, key) is not MISSING
        case Among(key, values):
            found = value_at(scope, key)
            found = None if found is MISSING else found
            return any(_same(tried, value) for tried in _tried(found) for value in values)
        case Compare(key, order, operand):
            found = value_at(scope, key)
            return any(_lies(_ORDERS[order], tried, operand) for tried in _tried(found))
        case Matches(key, pattern):
            search = re.compile(pattern, re.ASCII).search
            texts = (scalar(tried) for tried in _tried(value_at(scope, key)))
            return any(isinstance(text, str) and search(text) is not None for text in texts)
        case Element(key, part):
            found = value_at(scope, key)
            return isinstance(found, list) and any(holds(part, {None: item}) for item in found)


def _tried(value: Any) -> Iterator[Any]:
    """The value and, of a list, its elements."""
    yield value
    if isinstance(value, list):
        yield from value


def _same(found: Any, wanted: Any) -> bool:
    found, wanted = scalar(found), scalar(wanted)
    if isinstance(wanted, dict):
        return (
            isinstance(found, dict)
            and found.keys() == wanted.keys()
            and all(_same(found[key], wanted[key]) for key in wanted)
        )
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(found) == len(wanted)
            and all(_same(a, b) for a, b in zip(found, wanted, strict=True))
        )
    if isinstance(wanted, float) and math.isnan(wanted):
        return isinstance(found, float) and math.isnan(found)
    return type(found) is type(wanted) and bool(found == wanted)


def _lies(order: Callable[[Any, Any], bool], found: Any, operand: float | str | bool) -> bool:
    found = scalar(found)
    return type(found) is type(operand) and order(found, operand)
