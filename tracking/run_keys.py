"""The keys of filters and orders: ``config.model.depth``, ``summary_metrics.loss``, ``tags``, ``state``.

A key has a root (a column, or the documents `config` and `summary`) and a path inside it. A dot in a key may be one of
a nested document or of a name that has dots itself, as metrics do: every way to divide the path is tried, the one with
the longest names first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..artifacts.names import nearest
from ..storage.errors import UsageError

ROOTS = (
    "config",
    "summary",
    "tags",
    "state",
    "name",
    "display_name",
    "group",
    "job_type",
    "created_at",
    "heartbeat_at",
    "duration",
    "user",
    "host",
    "sweep",
    "notes",
)
TIMES = frozenset({"created_at", "heartbeat_at"})
DOCUMENTS = frozenset({"config", "summary"})
# The W&B SDK's other spellings.
ALIASES: Mapping[str, str] = {
    "summary_metrics": "summary",
    "summaryMetrics": "summary",
    "displayName": "display_name",
    "id": "name",
    "jobType": "job_type",
    "createdAt": "created_at",
    "heartbeatAt": "heartbeat_at",
    "username": "user",
    "description": "notes",
}
_DIVIDED = 6  # names in a path; of longer ones (32 and more ways) only the two extremes are tried
MISSING: Any = type("Missing", (), {"__repr__": lambda self: "MISSING"})()


@dataclass(frozen=True, slots=True)
class Key:
    """Where a value stands; root None is the element of a list that is being looked at."""

    root: str | None
    path: tuple[str, ...] = ()

    def below(self, text: str) -> Key:
        """The key of something inside."""
        return Key(self.root, (*self.path, *text.split(".")))

    def paths(self) -> Iterator[tuple[str, ...]]:
        """Every way to read the path, in the order in which they are tried."""
        yield from _divisions(self.path)
        if self.root == "config" and len(self.path) > 1 and self.path[-1] == "value":
            yield from _divisions(self.path[:-1])  # the W&B SDK writes config.lr.value


def parse_key(text: str, what: str) -> Key:
    """The key that is written as `text`. Raises: UsageError with the nearest keys; `what` names who asks."""
    if not isinstance(text, str):
        raise UsageError(f"{what}: key {text!r} is {type(text).__name__}, expected text")
    head, dot, tail = text.partition(".")
    root = ALIASES.get(head, head)
    if root not in ROOTS:
        if text.startswith("$"):
            raise UsageError(f"{what}: unknown operator {text!r}")
        near = nearest(head, [*ROOTS, *ALIASES])
        hint = near if "did you mean" in near else ";"
        raise UsageError(
            f"{what}: unknown key {text!r}{hint} settings are config.{text}, results summary_metrics.{text}"
        )
    if dot and root not in DOCUMENTS:
        raise UsageError(f"{what}: key {text!r}: {head!r} has nothing inside")
    return Key(root, tuple(tail.split(".")) if dot else ())


def value_at(scope: Mapping[str | None, Any] | Mapping[str, Any], key: Key) -> Any:
    """The JSON value that `key` means in a document, or MISSING; a column that is None is missing."""
    base = scope.get(key.root)  # type: ignore[arg-type]
    if not key.path:
        return MISSING if base is None and key.root is not None else base
    for path in key.paths():
        found = _walk(base, path)
        if found is not MISSING:
            return found
    return MISSING


def _walk(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and _is_index(name) and int(name) < len(value):
            value = value[int(name)]
        else:
            return MISSING
    return value


def _is_index(name: str) -> bool:
    return name.isascii() and name.isdigit() and (name == "0" or name[0] != "0") and len(name) < 10


def _divisions(path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """`path` with neighbours joined again by dots, the fewest names first."""
    if len(path) > _DIVIDED:
        yield (".".join(path),)
        yield path
        return
    gaps = range(1 << max(len(path) - 1, 0))
    for cuts in sorted(gaps, key=lambda bits: (bits.bit_count(), bits)):
        names: list[str] = []
        for index, name in enumerate(path):
            if index and not cuts >> (index - 1) & 1:
                names[-1] += f".{name}"
            else:
                names.append(name)
        yield tuple(names)
