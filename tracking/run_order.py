"""The order of runs: ``-created_at``, ``+summary_metrics.loss``, ``config.lr``; several keys separated by commas.

Numbers come first, then text, bools, anything else, NaN, and what is missing: in this order whether the values go up or
down. Runs that are equal in every key stand newest first, then by id.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from ..storage.errors import UsageError
from .run_filters import scalar
from .run_keys import MISSING, Key, parse_key

Rank = tuple[int, float, str]
_NUMBER, _TEXT, _BOOL, _OTHER, _NAN, _MISSING = range(6)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class SortKey:
    """One key and its direction."""

    key: Key
    descending: bool


def parse_order(order: str | None) -> tuple[SortKey, ...]:
    """The keys of an order; None and the empty text mean newest first. Raises: UsageError with the nearest keys."""
    if order is None:
        order = ""
    if not isinstance(order, str):
        raise UsageError(f"order {order!r}: expected text such as '-created_at' or '+summary_metrics.loss'")
    keys = []
    for part in order.split(",") if order.strip() else ("-created_at",):
        text = part.strip()
        if not text.lstrip("+-"):
            raise UsageError(f"order {order!r}: a key is empty; expected keys such as '-created_at'")
        name = text[1:] if text[0] in "+-" else text
        keys.append(SortKey(parse_key(name, "order"), text[0] == "-"))
    return tuple(keys)


def rank(value: Any) -> Rank:
    """What a JSON value (or MISSING) is ordered by."""
    found = None if value is MISSING else scalar(value)
    if found is None:
        return _MISSING, 0.0, ""
    if isinstance(found, bool):
        return _BOOL, float(found), ""
    if isinstance(found, float):
        return (_NAN, 0.0, "") if math.isnan(found) else (_NUMBER, found, "")
    return (_TEXT, 0.0, found) if isinstance(found, str) else (_OTHER, 0.0, "")


def ordered(
    items: list[_T],
    order: tuple[SortKey, ...],
    ranks: Callable[[_T], tuple[Rank, ...]],
    made: Callable[[_T], tuple[str, str]],
) -> list[_T]:
    """`items` in this order; `ranks` has a rank for each key, `made` the time of creation and the id."""
    found = sorted(items, key=lambda item: made(item)[1])
    found.sort(key=lambda item: made(item)[0], reverse=True)
    for index, key in reversed(list(enumerate(order))):
        found.sort(key=lambda item, at=index: ranks(item)[at][1:], reverse=key.descending)  # type: ignore[misc]
        found.sort(key=lambda item, at=index: ranks(item)[at][0])  # type: ignore[misc]
    return found


def order_sql(order: tuple[SortKey, ...], columns: list[tuple[str, str, str]]) -> str:
    """The same as an ORDER BY list over the rank columns of each key."""
    parts = []
    for key, (kind, number, text) in zip(order, columns, strict=True):
        direction = "DESC" if key.descending else "ASC"
        parts += [kind, f"{number} {direction}", f"{text} {direction}"]
    return ", ".join([*parts, "created_at DESC", "run"])
