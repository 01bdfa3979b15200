"""What a clause comes to, given the facts: ``pass``, ``fail`` or ``undecided``. Pure but for the facts it asks for.

A fact that is not there (a metric that was never logged, an input in another store) makes what depends on it
undecided, in the manner of Kleene's three-valued logic: ``false and unknown`` is false, ``true and unknown`` unknown. A
comparison with the version that is in place holds when there is none yet.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..artifacts.protection import Judged, Verdict
from .expressions import Comparison, Constant, Fact, Items, Node, facts_in

Value = float | int | str | bool | list["Value"]


@dataclass(frozen=True, slots=True)
class Missing:
    """A fact that is not known, and why."""

    reason: str


class NoIncumbent(Exception):
    """A fact of the version in place was asked for, and there is none."""


Found = Value | Missing
Look = Callable[
    [Fact, Sequence[Found]], Found
]  # the fact and the values of its arguments; may raise NoIncumbent
_SHOWN = 200  # characters of a value


def judge(text: str, tree: Node, look: Look, because: str = "") -> Judged:
    """The verdict on a clause, with every fact in it and its value."""
    judging = _Judging(look)
    found = judging.truth(tree)
    verdict: Verdict = "undecided" if isinstance(found, Missing) else "pass" if found else "fail"
    if isinstance(found, Missing) and not facts_in(tree):
        judging.notes["the clause"] = found.reason
    for fact in facts_in(tree):  # those, too, that the verdict did not need
        judging.note(fact)
    return Judged(
        text, verdict, "; ".join(f"{name} = {value}" for name, value in judging.notes.items()), because
    )


def shown(value: Found) -> str:
    """A value in words.

    >>> shown(0.25), shown(True), shown(["a", 3.0]), shown(Missing("not logged"))
    ('0.25', 'true', '[a, 3]', 'unknown (not logged)')
    """
    if isinstance(value, Missing):
        return f"unknown ({value.reason})"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return (
            f"{value:.6g}" if isinstance(value, float) and not float(value).is_integer() else f"{value:.0f}"
        )
    text = f"[{', '.join(map(shown, value))}]" if isinstance(value, list) else value
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


class _Judging:
    def __init__(self, look: Look) -> None:
        self._look = look
        self._known: dict[Fact, Found | NoIncumbent] = {}
        self.notes: dict[str, str] = {}

    def note(self, fact: Fact) -> None:
        """Keep what is known of a fact, in words."""
        found = self._ask(fact)
        self.notes[fact.text] = (
            "none, nothing is in place yet" if isinstance(found, NoIncumbent) else shown(found)
        )

    def _ask(self, fact: Fact) -> Found | NoIncumbent:
        if fact not in self._known:
            try:
                arguments = [self.value(argument) for step in fact.steps for argument in step.arguments or ()]
                self._known[fact] = self._look(fact, arguments)
            except NoIncumbent as none:
                self._known[fact] = none
        return self._known[fact]

    def value(self, node: Node) -> Found:
        """What a node comes to. Raises: NoIncumbent, out of which a comparison makes true."""
        if isinstance(node, Constant):
            return node.value
        if isinstance(node, Items):
            return _listed([self.value(item) for item in node.items])
        if isinstance(node, Fact):
            self.note(node)
            found = self._ask(node)
            if isinstance(found, NoIncumbent):
                raise found
            return found
        if isinstance(node, Comparison):
            return self._compared(node)
        if node.operator in ("and", "or"):
            return _joined(node.operator, [self.truth(operand) for operand in node.operands])
        if node.operator == "not":
            found = self.truth(node.operands[0])
            return not found if isinstance(found, bool) else found
        return _calculated(node.operator, [self.value(operand) for operand in node.operands])

    def truth(self, node: Node) -> bool | Missing:
        """What a node comes to as a condition; true for a fact of the version in place when there is none."""
        try:
            found = self.value(node)
        except NoIncumbent:
            return True
        if isinstance(found, (bool, Missing)):
            return found
        return Missing(f"{shown(found)} is neither true nor false")

    def _compared(self, node: Comparison) -> bool | Missing:
        """Each neighbour with the next; true of a pair of which one is of the version in place when there is none."""
        values: list[Found | None] = []
        for operand in node.operands:
            try:
                values.append(self.value(operand))
            except NoIncumbent:
                values.append(None)
        return _joined(
            "and",
            [
                True if left is None or right is None else _compare(left, operator, right)
                for left, operator, right in zip(values, node.operators, values[1:], strict=False)
            ],
        )


def _listed(values: list[Found]) -> Found:
    found: list[Value] = []
    for value in values:
        if isinstance(value, Missing):
            return value
        found.append(value)
    return found


def _joined(operator: str, values: Sequence[bool | Missing]) -> bool | Missing:
    settled = operator == "or"  # one true settles an "or", one false an "and"
    if any(value is settled for value in values):
        return settled
    return next((value for value in values if isinstance(value, Missing)), not settled)


def _is_number(value: Found) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _calculated(operator: str, values: Sequence[Found]) -> Found:
    for value in values:
        if isinstance(value, Missing):
            return value
        if not _is_number(value):
            return Missing(f"{shown(value)} is no number")
    numbers = [float(value) for value in values if isinstance(value, (int, float))]
    if operator == "negate":
        return -numbers[0]
    left, right = numbers
    if operator == "/":
        return left / right if right else Missing("division by zero")
    return {"+": left + right, "-": left - right, "*": left * right}[operator]


def _compare(left: Found, operator: str, right: Found) -> bool | Missing:
    for value in (left, right):
        if isinstance(value, Missing):
            return value
        if isinstance(value, float) and math.isnan(value):
            return Missing("not a number (NaN), which is neither more nor less than anything")
    assert not isinstance(left, Missing)
    assert not isinstance(right, Missing)
    if operator == "in":
        return _contains(right, left)
    if operator == "not in":
        return _contains_none(right, left)
    if _kind(left) != _kind(right):
        return Missing(f"{shown(left)} is a {_kind(left)}, {shown(right)} a {_kind(right)}")
    if operator in ("==", "!="):
        return (left == right) is (operator == "==")
    if (_is_number(left) and _is_number(right)) or (isinstance(left, str) and isinstance(right, str)):
        return {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[operator]  # type: ignore[operator] # both are numbers, or both are texts
    return Missing(f"{shown(left)} {operator} {shown(right)}: only two numbers or two texts have an order")


def _kind(value: Value) -> str:
    if isinstance(value, bool):
        return "truth value"
    return "number" if isinstance(value, (int, float)) else "text" if isinstance(value, str) else "list"


def _holds(whole: list[Value], item: Value) -> bool | Missing:
    """Whether a list holds a value; not known of one of another kind than all that is in it."""
    if any(_kind(other) == _kind(item) and other == item for other in whole):
        return True
    if whole and all(_kind(other) != _kind(item) for other in whole):
        return Missing(f"{shown(item)} is a {_kind(item)}, and nothing in {shown(whole)} is")
    return False


def _contains(whole: Value, part: Value) -> bool | Missing:
    """Whether a list holds a value, or all of another list; whether a text holds a text."""
    if isinstance(whole, list):
        items = part if isinstance(part, list) else [part]
        return _joined("and", [_holds(whole, item) for item in items])
    if isinstance(whole, str) and isinstance(part, str):
        return part in whole
    return Missing(f"{shown(whole)} is neither a list nor a text that could hold {shown(part)}")


def _contains_none(whole: Value, part: Value) -> bool | Missing:
    """Whether a list holds neither a value nor any of another list."""
    items = part if isinstance(part, list) else [part]
    found = [_contains(whole, item) for item in items]
    any_of = _joined("or", found)
    return any_of if isinstance(any_of, Missing) else not any_of
