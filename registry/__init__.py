"""Registered models: the rules by which a version is promoted, and the proof that they were kept.

May import: lineage, artifacts, storage. What may be committed is decided in `artifacts.protection`; here is what it is
decided by. Start with `policy` (the file), `expressions` (its clauses) and `vocabulary` (what they may ask for);
`facts` looks the values up, `judging` comes to a verdict, `promotion` puts them together. `audit` reads a log for what
should not be in it; `signing` has keys and signed statements.
"""

from __future__ import annotations

from .audit import Audit, Finding
from .expressions import parse
from .judging import judge
from .policy import Policy, read_policy
from .vocabulary import WORDS

__all__ = ["WORDS", "Audit", "Finding", "Policy", "judge", "parse", "read_policy"]
