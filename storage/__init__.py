"""Bytes and order: what lies in a store, and nothing about what it means.

May import: nothing of ours. Start with `backend` (the contract) and `docs/format.md`, then `pack` and `codec`
(the format), `snapshot` (the way in), `objects` and `restore` (the way out), `log` and `commit` (the order) and
`store` (all of it).
`local`, `memory` and `remote` are the backends, `retry`, `counting` and `faults` wrap any of them, and
`testing.BackendSuite` is the test that each of them passes.
"""

from __future__ import annotations

from .backend import Backend, Stat
from .commit import Committer, Fold
from .errors import (
    ArtifactFinalizedError,
    ArtifactNotLoggedError,
    CommError,
    ConflictError,
    Error,
    FormatError,
    IntegrityError,
    InvalidNameError,
    InvalidPathError,
    NotFoundError,
    ReferenceChangedError,
    SourceChangedError,
    StoreError,
    UsageError,
)
from .local import LocalBackend
from .log import Log, LogEntry, Position
from .memory import MemoryBackend
from .objects import Objects
from .restore import Restorer
from .snapshot import Snapshot
from .store import Store, StoreSettings, open_backend
from .transaction import Transaction

__all__ = [
    "ArtifactFinalizedError",
    "ArtifactNotLoggedError",
    "Backend",
    "CommError",
    "Committer",
    "ConflictError",
    "Error",
    "Fold",
    "FormatError",
    "IntegrityError",
    "InvalidNameError",
    "InvalidPathError",
    "LocalBackend",
    "Log",
    "LogEntry",
    "MemoryBackend",
    "NotFoundError",
    "Objects",
    "Position",
    "ReferenceChangedError",
    "Restorer",
    "Snapshot",
    "SourceChangedError",
    "Stat",
    "Store",
    "StoreError",
    "StoreSettings",
    "Transaction",
    "UsageError",
    "open_backend",
]
