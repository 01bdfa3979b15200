"""The words in a drawing: safe text, sizes, version ranges, and the secondary line under a name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .drawing import Edge, Node

__all__ = ["details", "edge_words", "group_label", "listed", "plain", "shorten", "version_ranges"]

_MOST_RANGES = 3


def plain(text: str) -> str:
    r"""``text`` with everything that is not printable written as a Python escape.

    A name with a newline, a terminal escape sequence, a lone surrogate or a right-to-left override can then
    neither break a line nor disguise itself, in any notation.

    >>> plain("a\x1b[31mb\nc")
    'a\\x1b[31mb\\nc'
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def shorten(text: str, most: int) -> str:
    """At most ``most`` characters: the middle gives way, since versions and numbers stand at the end.

    >>> shorten("customer-churn-classifier:v12", 17)
    'customer…fier:v12'
    """
    if len(text) <= most:
        return text
    tail = (most - 1) // 2
    return f"{text[: most - 1 - tail]}…{text[len(text) - tail :]}"


def listed(words: Sequence[str], most: int) -> str:
    """Words with commas, at most ``most`` of them, then how many more there are.

    >>> listed(["latest", "production", "champion"], 2)
    'latest, production, +1'
    """
    shown = list(words[:most])
    if len(words) > most:
        shown.append(f"+{len(words) - most}")
    return ", ".join(shown)


def version_ranges(versions: Sequence[int]) -> str:
    """Runs of consecutive version numbers in an ascending sequence.

    >>> version_ranges([0, 1, 2, 4, 7, 8])
    'v0–v2, v4, v7–v8'
    """
    ranges: list[tuple[int, int]] = []
    for version in versions:
        if ranges and version == ranges[-1][1] + 1:
            ranges[-1] = ranges[-1][0], version
        else:
            ranges.append((version, version))
    words = [f"v{low}" if low == high else f"v{low}–v{high}" for low, high in ranges]
    if len(words) > _MOST_RANGES:
        words = [*words[: _MOST_RANGES - 1], "…", words[-1]]
    return ", ".join(words)


def group_label(stem: str, count: int, *, parts: int | None = None) -> str:
    """The name of a group of ``count`` versions or runs, which may have come in more parts.

    >>> group_label("train", 200), group_label("train", 20, parts=40), group_label("train", 1, parts=5)
    ('train ×200', 'train ×20 (40 parts)', 'train (5 parts)')
    """
    label = stem if count == 1 else f"{stem} ×{count}"
    return label if parts is None or parts == count else f"{label} ({parts} parts)"


def details(node: Node) -> str:
    """What stands small beside or under the name: versions, type and size, or job type and unusual states."""
    if node.kind == "artifact":
        named = node.is_group and node.label.startswith(f"{node.type} ×")
        words = [node.versions, "" if named else node.type, _size(node.size_bytes)]
    else:
        words = [node.type] if node.type and not node.label.startswith(node.type) else []
        words += [f"{count} {state}" if node.is_group else state for state, count in node.states]
    return " · ".join(word for word in words if word)


def edge_words(edge: Edge) -> str:
    """The roles of an edge, or that it is a link, and the share of a group: ``"training · 3 of 200"``."""
    what = "linked" if edge.kind == "linked" else listed(edge.roles, 3)
    return " · ".join(words for words in (what, edge.share) if words)


def _size(size_bytes: int) -> str:
    from rich.filesize import decimal

    return decimal(size_bytes).replace(".0 ", " ") if size_bytes else ""
