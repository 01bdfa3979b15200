"""A link of the chain from bytes to a decision, as a verification has found it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """What was looked at, whether it holds, and what was found: one line each.

    `ok` is None when it could not be looked at, since a step before it failed.
    """

    name: str  # bytes, manifest, version, log, signature; policy and promotion may follow
    ok: bool | None
    detail: str
