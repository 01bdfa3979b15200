"""Where a version came from and what it touches.

May import: artifacts, storage. Start with `facts` (transactions → rows, pure), then `catalog` (the rows in DuckDB) and
`schema` (the views); `graph` walks the edges, `questions` answers, `render` draws.
"""

from __future__ import annotations

from .catalog import Catalog
from .graph import Direction, LineageGraph, nearest_first
from .questions import Impact, VersionDiff, Why, diff_versions, impact, whereis, why
from .untracked import UntrackedInput, UntrackedInputs, untracked_count, untracked_inputs

__all__ = [
    "Catalog",
    "Direction",
    "Impact",
    "LineageGraph",
    "UntrackedInput",
    "UntrackedInputs",
    "VersionDiff",
    "Why",
    "diff_versions",
    "impact",
    "nearest_first",
    "untracked_count",
    "untracked_inputs",
    "whereis",
    "why",
]
