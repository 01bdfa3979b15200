"""The language of policies: comparisons over documented names, parsed to a small tree. Nothing in it is executed.

::

    clause     = term { "or" term } ;   term = factor { "and" factor } ;   factor = [ "not" ] comparison ;
    comparison = sum { ( "==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not in" ) sum } ;
    sum        = product { ( "+" | "-" ) product } ;   product = sign { ( "*" | "/" ) sign } ;   sign = [ "-" ] value ;
    value      = number [ unit ] | string | "true" | "false" | list | fact | "(" clause ")" ;
    list       = "[" [ clause { "," clause } ] "]" ;
    fact       = name { "." name | "[" string "]" | "(" [ clause { "," clause } ] ")" } ;
    unit       = "s" | "m" | "h" | "d" | "w" | "y" | "B" | "kB" | "MB" | "GB" | "TB" | "%" ;

Which facts there are is said in `vocabulary`; a name that is not there is refused when the policy is read. Lengths of
time are in seconds, sizes in bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..storage.errors import UsageError

MAX_LENGTH = 1000  # characters of a clause
MAX_DEPTH = 40
UNITS = {
    "s": 1,
    "m": 60,
    "h": 3600,
    "d": 86_400,
    "w": 604_800,
    "y": 31_536_000,
    "B": 1,
    "kB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
    "%": 0.01,
}
COMPARISONS = ("==", "!=", "<=", ">=", "<", ">")
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?P<unit>(?:kB|MB|GB|TB|[smhdwyB])(?![A-Za-z0-9_])|%)?"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<string>\"[^\"\\]*\"|'[^'\\]*')"
    r"|(?P<sign>==|!=|<=|>=|[<>+\-*/().,\[\]]))"
)
_WORDS = ("and", "or", "not", "in", "true", "false")


@dataclass(frozen=True, slots=True)
class Constant:
    """A number, a text or a truth value that is written in the clause."""

    value: float | str | bool


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a fact: ``accuracy``, or ``eval("golden:v4")`` with its arguments."""

    name: str
    arguments: tuple[Node, ...] | None = None


@dataclass(frozen=True, slots=True)
class Fact:
    """A name with what follows it."""

    steps: tuple[Step, ...]
    text: str  # as it is written


@dataclass(frozen=True, slots=True)
class Operation:
    """``and``, ``or``, ``not``, ``+``, ``-``, ``*``, ``/`` or ``negate`` with its operands."""

    operator: str
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """``a < b <= c``: each neighbour with the next."""

    operands: tuple[Node, ...]
    operators: tuple[str, ...]


Node = Constant | Items | Fact | Operation | Comparison


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # number, string, name, word, sign, end
    text: str
    start: int
    value: float | str | None = None


def parse(text: str) -> Node:
    """The tree of a clause. Raises: UsageError that says where it goes wrong, and what was expected.

    >>> parse("run.loss < 0.5").operators
    ('<',)
    """
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        if len(text) > MAX_LENGTH:
            raise UsageError(
                f"clause {text[:40]!r}…: {len(text):,} characters, at most {MAX_LENGTH} are allowed"
            )
        self.text = text
        self.tokens = list(self._split())
        self.at = 0
        self.depth = 0

    def parse(self) -> Node:
        found = self._clause()
        if self._next.kind != "end":
            raise self._wrong("an operator, or the end")
        return found

    def _split(self) -> Iterator[_Token]:
        position = 0
        while position < len(self.text):
            if self.text[position:].isspace():
                break
            match = _TOKEN.match(self.text, position)
            if match is None:
                start = position + len(self.text[position:]) - len(self.text[position:].lstrip())
                raise UsageError(
                    f"clause {self.text!r}: {self.text[start : start + 10]!r} at {start + 1} is no part of one"
                )
            kind = match.lastgroup if match.lastgroup != "unit" else "number"
            assert kind is not None  # one of the groups has matched
            start, word = match.start(kind), match.group(kind)
            if kind == "number":
                number = float(word) * UNITS.get(match.group("unit") or "", 1)
                yield _Token(kind, word, start, number)
            elif kind == "string":
                yield _Token(kind, word, start, word[1:-1])
            else:
                yield _Token("word" if word in _WORDS else kind, word, start)
            position = match.end()
        yield _Token("end", "", len(self.text))

    # Reading tokens

    @property
    def _next(self) -> _Token:
        return self.tokens[self.at]

    def _take(self, *texts: str) -> str | None:
        """The next token's text, when it is one of these signs or words."""
        token = self._next
        if token.kind in ("sign", "word") and token.text in texts:
            self.at += 1
            return token.text
        return None

    def _demand(self, text: str) -> None:
        if self._take(text) is None:
            raise self._wrong(repr(text))

    def _wrong(self, expected: str) -> UsageError:
        token = self._next
        found = f"{token.text!r} at {token.start + 1}" if token.text else "its end"
        return UsageError(f"clause {self.text!r}: expected {expected}, found {found}")

    def _deeper(self, read: Callable[[], Node]) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise UsageError(f"clause {self.text!r}: nested more than {MAX_DEPTH} deep")
        found = read()
        self.depth -= 1
        return found

    # The grammar, from the loosest to the tightest

    def _clause(self) -> Node:
        return self._deeper(lambda: self._joined("or", lambda: self._joined("and", self._factor)))

    def _joined(self, word: str, read: Callable[[], Node]) -> Node:
        found = [read()]
        while self._take(word):
            found.append(read())
        return found[0] if len(found) == 1 else Operation(word, tuple(found))

    def _factor(self) -> Node:
        if self._take("not"):
            return self._deeper(lambda: Operation("not", (self._factor(),)))
        return self._comparison()

    def _comparison(self) -> Node:
        operands, operators = [self._sum()], []
        while operator := self._operator():
            operators.append(operator)
            operands.append(self._sum())
        return Comparison(tuple(operands), tuple(operators)) if operators else operands[0]

    def _operator(self) -> str | None:
        if self._next.text == "not" and self.tokens[self.at + 1].text == "in":
            self.at += 2
            return "not in"
        return self._take(*COMPARISONS, "in")

    def _sum(self) -> Node:
        return self._chained(("+", "-"), lambda: self._chained(("*", "/"), self._sign))

    def _chained(self, signs: tuple[str, ...], read: Callable[[], Node]) -> Node:
        found = read()
        while sign := self._take(*signs):
            found = Operation(sign, (found, read()))
        return found

    def _sign(self) -> Node:
        if self._take("-"):
            return self._deeper(lambda: Operation("negate", (self._sign(),)))
        return self._value()

    def _value(self) -> Node:
        token = self._next
        if token.value is not None:
            self.at += 1
            return Constant(token.value)
        if word := self._take("true", "false"):
            return Constant(word == "true")
        if self._take("("):
            found = self._clause()
            self._demand(")")
            return found
        if self._take("["):
            return Items(self._several("]"))
        if token.kind == "name":
            return self._fact()
        raise self._wrong("a value")

    def _several(self, end: str) -> tuple[Node, ...]:
        found: list[Node] = []
        if self._take(end):
            return ()
        while True:
            found.append(self._clause())
            if self._take(end):
                return tuple(found)
            self._demand(",")

    def _fact(self) -> Fact:
        start, steps = self._next.start, [Step(self._name())]
        while True:
            if self._take("("):
                if steps[-1].arguments is not None:
                    raise self._wrong("'.'")
                steps[-1] = Step(steps[-1].name, self._several(")"))
            elif self._take("."):
                steps.append(Step(self._name()))
            elif self._take("["):
                token = self._next
                if token.kind != "string":
                    raise self._wrong('a name in quotes, such as ["val/accuracy"]')
                self.at += 1
                steps.append(Step(str(token.value)))
                self._demand("]")
            else:
                end = self.tokens[self.at - 1]
                return Fact(tuple(steps), self.text[start : end.start + len(end.text)])

    def _name(self) -> str:
        token = self._next
        if token.kind not in ("name", "word"):
            raise self._wrong("a name")
        self.at += 1
        return token.text


def facts_in(node: Node) -> Iterator[Fact]:
    """The facts that a clause asks for, as they stand in it from left to right; arguments come before their fact."""
    if isinstance(node, Fact):
        for step in node.steps:
            for argument in step.arguments or ():
                yield from facts_in(argument)
        yield node
    elif isinstance(node, Items):
        for item in node.items:
            yield from facts_in(item)
    elif isinstance(node, (Operation, Comparison)):
        for operand in node.operands:
            yield from facts_in(operand)
