"""Where a version came from and what it touches.

May import: artifacts, storage. Start with `facts` (transactions → rows, pure), then `catalog` (the rows in DuckDB) and
`schema` (the views); `graph` walks the edges, `questions` answers, `render` draws, `exports` writes for other tools.
"""

from __future__ import annotations

from .catalog import Catalog
from .graph import Direction, LineageGraph, nearest_first
from .questions import Impact, RunFacts, VersionDiff, Why, diff_versions, impact, run_facts, whereis, why
from .untracked import untracked_count

__all__ = [
    "Catalog",
    "Direction",
    "Impact",
    "LineageGraph",
    "RunFacts",
    "VersionDiff",
    "Why",
    "diff_versions",
    "impact",
    "nearest_first",
    "run_facts",
    "untracked_count",
    "whereis",
    "why",
]
