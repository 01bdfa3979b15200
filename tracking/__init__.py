"""Runs, and what they use and produce: the layer that people write their scripts against.

May import: registry, lineage, artifacts, storage. Start with `session` (what `lineart.init` does), then `run` and
`artifact`; `settings` finds the store, `workspace` opens it, `publishing` logs a draft, `api` reads back.
"""

from __future__ import annotations

from .api import Api
from .artifact import Artifact
from .publishing import log_draft
from .run import Run
from .run_settings import Settings
from .session import (
    alert,
    current_run,
    default_workspace,
    define_metric,
    finish,
    init,
    log,
    log_artifact,
    mark_preempting,
    unwatch,
    use_artifact,
    watch,
)
from .settings import StoreChoice, find_settings
from .values import Config, Summary
from .workspace import Workspace

__all__ = [
    "Api",
    "Artifact",
    "Config",
    "Run",
    "Settings",
    "StoreChoice",
    "Summary",
    "Workspace",
    "current_run",
    "default_workspace",
    "find_settings",
    "finish",
    "init",
    "log",
    "log_artifact",
    "log_draft",
    "use_artifact",
]
