"""Making a version anew: how, as a value and as a shell script, and doing it in an empty folder.

Start with `plan` (what a reproduction is), then `recorded` (it is read from what the run has recorded), `script` (it is
written as shell lines) and `doing` (it is done, and the digests are compared).
"""

from __future__ import annotations

from .doing import Outcome, reproduce
from .plan import Code, Environment, Input, Reproduction, SavedCode, Step
from .recorded import find_reproduction

__all__ = [
    "Code",
    "Environment",
    "Input",
    "Outcome",
    "Reproduction",
    "SavedCode",
    "Step",
    "find_reproduction",
    "reproduce",
]
