"""What a run logs step by step: the journal of each process, its compaction, and reading it back.

Start with `journal` (what `log` writes), then `recorder` (what a call means), `pieces` (where the history of a run
lies), `compaction` and `history`.
"""

from __future__ import annotations

from .definitions import Definition, Definitions
from .history import Buckets, RunHistory
from .journal import Journal
from .recorder import Recorder

__all__ = ["Buckets", "Definition", "Definitions", "Journal", "Recorder", "RunHistory"]
