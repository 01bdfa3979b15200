"""The colours of pictures: dark text on soft fills, one hue for each artifact type."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

__all__ = ["GROUND", "INK", "QUIET", "RUN", "TOMBSTONE", "Tint", "line_of_state", "tint_of_type"]

INK = "#1f2328"
QUIET = "#59636e"
GROUND = "#ffffff"


@dataclass(frozen=True, slots=True)
class Tint:
    """A soft ``fill`` and the ``line`` of the same hue."""

    fill: str
    line: str


RUN = Tint("#f6f8fa", "#818b98")
TOMBSTONE = Tint("#f3f4f6", "#9aa4af")

_BLUE = Tint("#e1effe", "#4a8fdb")
_VIOLET = Tint("#eee5fc", "#8a63d2")
_GREEN = Tint("#e0f5e6", "#3d9a5f")
_SLATE = Tint("#e9edf2", "#6b7a8c")
_OTHERS = (
    Tint("#dbf4f1", "#2c9a8e"),
    Tint("#fce6ef", "#c9588c"),
    Tint("#fff1d1", "#c08a1a"),
    Tint("#fde7df", "#d2694a"),
    Tint("#f0f4d3", "#87961f"),
)
_KNOWN = {
    "dataset": _BLUE,
    "data": _BLUE,
    "model": _VIOLET,
    "checkpoint": _VIOLET,
    "evaluation": _GREEN,
    "report": _GREEN,
    "result": _GREEN,
    "results": _GREEN,
    "code": _SLATE,
}


def tint_of_type(name: str) -> Tint:
    """The tint of an artifact type. An unknown type takes one by checksum: the same in every picture."""
    known = _KNOWN.get(name.lower())
    return known or _OTHERS[zlib.crc32(name.encode("utf-8", "replace")) % len(_OTHERS)]


def line_of_state(states: tuple[tuple[str, int], ...]) -> str:
    """The outline of a run: red when one failed or crashed, amber when one is running."""
    names = {state for state, _ in states}
    if names & {"failed", "crashed"}:
        return "#d1453b"
    return "#c08a1a" if "running" in names else RUN.line
