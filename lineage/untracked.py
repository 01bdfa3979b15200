"""Stand-in until observed inputs are here."""

from __future__ import annotations

from .catalog import Catalog


def untracked_count(catalog: Catalog, version_id: str, *, upstream: bool) -> int:
    """None known."""
    return 0
