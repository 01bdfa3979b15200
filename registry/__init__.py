"""Registered models and the rules by which a version is promoted.

May import: lineage, artifacts, storage. So far promotion is the move of an alias (`artifacts.decisions`);
protected aliases, policies, approvals and signatures are to live here.
"""

from __future__ import annotations

__all__: list[str] = []
