"""Copying between stores: collections, versions, runs, projects or all, with their history and lineage.

`copy` is `art push` and, with the sides changed, `art pull`. `choice` says what is meant, `copying` does it, `runs` has
the part of runs; what is said in the target's log is decided in `artifacts.transfer`, by the identities of
`artifacts.history`.
"""

from __future__ import annotations

from .choice import Choice
from .copying import Report, copy

__all__ = ["Choice", "Report", "copy"]
