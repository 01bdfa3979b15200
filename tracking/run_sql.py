"""A filter and an order as SQL over the catalog's `runs` view. Every value is a parameter; nothing is pasted.

Columns become JSON too, so that one set of rules serves them all (`run_filters`). Each predicate is true or false,
never NULL, so that NOT means what it says.
"""

from __future__ import annotations

import math
from typing import Any

from .run_filters import All, Among, AnyOf, Compare, Element, Exists, Matches, Node, Not, scalar
from .run_keys import Key

_STAMP = "to_json(strftime({}, '%Y-%m-%dT%H:%M:%S.%fZ'))"
_ROOTS = {
    "config": "config",
    "summary": "summary",
    "tags": "to_json(coalesce(tags, []))",
    "state": "to_json(state)",
    "name": "to_json(run)",
    "display_name": "to_json(coalesce(nullif(name, ''), run))",
    "group": "to_json(group_name)",
    "job_type": "to_json(job_type)",
    "created_at": _STAMP.format("created_at"),
    "heartbeat_at": _STAMP.format("coalesce(finished_at, created_at)"),
    "duration": "to_json((epoch_us(coalesce(finished_at, created_at)) - epoch_us(created_at)) / 1e6)",
    "user": "to_json(user_name)",
    "host": "to_json(host)",
    "sweep": "NULL::JSON",
    "notes": "to_json(notes)",
}
_ONLY = "(json_type({0}) = 'OBJECT' AND len(json_keys({0})) = 1)"


class RunSql:
    """Writes expressions and gathers their parameters (``$1``, ``$2``, …)."""

    def __init__(self) -> None:
        self.parameters: list[Any] = []
        self._depth = 0

    def bind(self, value: Any) -> str:
        """The placeholder of a value."""
        self.parameters.append(value)
        return f"${len(self.parameters)}"

    def where(self, node: Node, element: str = "") -> str:
        """`node` as a predicate; `element` is the name that keys with the root None mean."""
        match node:
            case All(parts):
                return _joined(" AND ", [self.where(part, element) for part in parts], "TRUE")
            case AnyOf(parts):
                return _joined(" OR ", [self.where(part, element) for part in parts], "FALSE")
            case Not(part):
                return f"(NOT {self.where(part, element)})"
            case Exists(key):
                return f"({self.value(key, element)} IS NOT NULL)"
            case Among(key, values):
                tests = self._tried(self.value(key, element), lambda x: self._among(x, values))
                if any(value is None for value in values):
                    return f"({tests} OR {self.value(key, element)} IS NULL)"
                return tests
            case Compare(key, order, operand):
                return self._tried(self.value(key, element), lambda x: self._compare(x, order, operand))
            case Matches(key, pattern):
                wanted = self.bind(f"(?-s){pattern}" if not pattern.startswith("(?") else pattern)
                return self._tried(
                    self.value(key, element), lambda x: f"regexp_matches({_text(x)}, {wanted})"
                )
            case Element(key, part):
                return self._some(self.value(key, element), lambda x: self.where(part, x))

    def value(self, key: Key, element: str = "") -> str:
        """The JSON that a key means, NULL where it is missing."""
        base = element if key.root is None else _ROOTS[key.root]
        if not key.path:
            return base
        found = [f"json_extract({base}, {self.bind(_pointer(path))})" for path in key.paths()]
        return found[0] if len(found) == 1 else f"coalesce({', '.join(found)})"

    def rank(self, key: Key) -> tuple[str, str, str]:
        """What orders by a key: its class (`run_order`), number and text."""
        v = self.value(key)
        kind = (
            f"CASE WHEN isnan({_number(v)}) THEN 4 WHEN {_number(v)} IS NOT NULL THEN 0"
            f" WHEN {_text(v)} IS NOT NULL THEN 1 WHEN json_type({v}) = 'BOOLEAN' THEN 2"
            f" WHEN {v} IS NULL OR json_type({v}) = 'NULL' THEN 5 ELSE 3 END"
        )
        number = f"coalesce({_number(v)}, try_cast({_bool(v)} AS DOUBLE), 0)"
        return kind, f"CASE WHEN isnan({number}) THEN 0 ELSE {number} END", f"coalesce({_text(v)}, '')"

    def _tried(self, value: str, test: Any) -> str:
        """`test` of the value or, of a list, of one of its elements."""
        return f"(coalesce({test(value)}, FALSE) OR {self._some(value, test)})"

    def _some(self, value: str, test: Any) -> str:
        self._depth += 1
        name = f"element_{self._depth}"
        inner = f"lambda {name}: coalesce({test(name)}, FALSE)"
        return (
            f"(CASE WHEN json_type({value}) = 'ARRAY'"
            f" THEN len(list_filter(json_extract({value}, '$[*]')::JSON[], {inner})) > 0 ELSE FALSE END)"
        )

    def _among(self, x: str, values: tuple[Any, ...]) -> str:
        return _joined(" OR ", [self._same(x, value) for value in values], "FALSE")

    def _same(self, x: str, value: Any) -> str:
        """Whether two JSON values are the same all through."""
        value = scalar(value)
        match value:
            case None:
                return f"coalesce(json_type({x}) = 'NULL', FALSE)"
            case bool():
                return f"coalesce({_bool(x)} = {self.bind(value)}, FALSE)"
            case float():
                return f"coalesce({_number(x)} = {self.bind(value)}::DOUBLE, FALSE)"
            case str():
                return f"coalesce({_text(x)} = {self.bind(value)}, FALSE)"
            case list():
                parts = [
                    f"coalesce(json_type({x}) = 'ARRAY' AND json_array_length({x}) = {len(value)}, FALSE)"
                ]
                items: Any = enumerate(value)
            case _:
                parts = [f"coalesce(json_type({x}) = 'OBJECT' AND len(json_keys({x})) = {len(value)}, FALSE)"]
                items = value.items()
        for name, item in items:
            inside = f"json_extract({x}, {self.bind(_pointer((str(name),)))})"
            parts.append(self._same(inside, item))
        return _joined(" AND ", parts, "TRUE")

    def _compare(self, x: str, order: str, operand: float | str | bool) -> str:
        if isinstance(operand, bool):
            return f"{_bool(x)} {order} {self.bind(operand)}"
        if isinstance(operand, str):
            return f"{_text(x)} {order} {self.bind(operand)}"
        if math.isnan(operand):
            return "FALSE"
        return f"(NOT isnan({_number(x)}) AND {_number(x)} {order} {self.bind(operand)}::DOUBLE)"


def _joined(word: str, parts: list[str], nothing: str) -> str:
    return f"({word.join(parts)})" if parts else nothing


def _pointer(path: tuple[str, ...]) -> str:
    """A path as a JSON pointer (RFC 6901): any name can stand in one."""
    return "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in path)


def _number(x: str) -> str:
    inner = f"coalesce({x} ->> '/_float', {x} ->> '/_int', {x} ->> '/_decimal')"
    return (
        f"(CASE WHEN json_type({x}) IN ('BIGINT', 'UBIGINT', 'HUGEINT', 'DOUBLE') THEN try_cast({x} AS DOUBLE)"
        f" WHEN {_ONLY.format(x)} THEN try_cast({inner} AS DOUBLE) END)"
    )


def _text(x: str) -> str:
    inner = f"coalesce({x} ->> '/_datetime', {x} ->> '/_date')"
    return f"(CASE WHEN json_type({x}) = 'VARCHAR' THEN {x} ->> '$' WHEN {_ONLY.format(x)} THEN {inner} END)"


def _bool(x: str) -> str:
    return f"(CASE WHEN json_type({x}) = 'BOOLEAN' THEN try_cast({x} AS BOOLEAN) END)"
