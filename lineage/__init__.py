"""Where a version came from and what it touches.

May import: artifacts, storage. Start with `facts` (transactions → rows, pure), then `catalog` (the rows in DuckDB) and
`schema` (the views); `graph` walks the edges, `questions` answers, `render` draws, `exports` writes for other tools.
"""

from __future__ import annotations

from .catalog import Catalog
from .graph import Direction, LineageGraph, nearest_first
from .questions import Impact, RunFacts, VersionDiff, Why, diff_versions, impact, run_facts, whereis, why
from .stale import Cause, Stale, ask_references, find_stale, judged_versions
from .untracked import UntrackedInput, UntrackedInputs, unobserved_runs, untracked_count, untracked_inputs

__all__ = [
    "Catalog",
    "Cause",
    "Direction",
    "Impact",
    "LineageGraph",
    "RunFacts",
    "Stale",
    "UntrackedInput",
    "UntrackedInputs",
    "VersionDiff",
    "Why",
    "ask_references",
    "diff_versions",
    "find_stale",
    "impact",
    "judged_versions",
    "nearest_first",
    "run_facts",
    "unobserved_runs",
    "untracked_count",
    "untracked_inputs",
    "whereis",
    "why",
]
