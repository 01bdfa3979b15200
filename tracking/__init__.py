"""Runs, and what they use and produce: the layer that people write their scripts against.

May import: registry, lineage, artifacts, storage. Start with `session` (what `lineart.init` does) and `run`; then
`metrics` (what `log` writes, and reading it), `media` and `plot` (values with files), `capture` (what a run records by
itself), `run_artifacts` and `artifact`, `api` (reading back). `settings` finds the store, `workspace` opens it.

Names are loaded when they are first used: a script that only logs does not load what reads.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import plot
    from .alerts import AlertLevel
    from .api import Api
    from .api_run import ApiRun
    from .api_runs import Runs
    from .artifact import Artifact
    from .calls import (
        finish,
        log,
        log_artifact,
        use_artifact,
    )
    from .media import (
        Audio,
        Histogram,
        Html,
        Image,
        JoinedTable,
        Molecule,
        Object3D,
        Plotly,
        Table,
        Video,
    )
    from .publishing import log_draft
    from .run import Run
    from .run_settings import Settings
    from .session import current_run, default_workspace, init
    from .settings import StoreChoice, find_settings
    from .values import Config, Summary
    from .workspace import Workspace

_PLACES = {
    "alerts": ("AlertLevel",),
    "api": ("Api",),
    "api_run": ("ApiRun",),
    "api_runs": ("Runs",),
    "artifact": ("Artifact",),
    "calls": (
        "finish",
        "log",
        "log_artifact",
        "use_artifact",
    ),
    "media": (
        "Audio",
        "Histogram",
        "Html",
        "Image",
        "JoinedTable",
        "Molecule",
        "Object3D",
        "Plotly",
        "Table",
        "Video",
    ),
    "publishing": ("log_draft",),
    "run": ("Run",),
    "run_settings": ("Settings",),
    "session": ("current_run", "default_workspace", "init"),
    "settings": ("StoreChoice", "find_settings"),
    "values": ("Config", "Summary"),
    "workspace": ("Workspace",),
}
_HOMES = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "AlertLevel",
    "Api",
    "ApiRun",
    "Artifact",
    "Audio",
    "Config",
    "Histogram",
    "Html",
    "Image",
    "JoinedTable",
    "Molecule",
    "Object3D",
    "Plotly",
    "Run",
    "Runs",
    "Settings",
    "StoreChoice",
    "Summary",
    "Table",
    "Video",
    "Workspace",
    "current_run",
    "default_workspace",
    "find_settings",
    "finish",
    "init",
    "log",
    "log_artifact",
    "log_draft",
    "plot",
    "use_artifact",
]


def __getattr__(name: str) -> Any:
    if name == "plot":
        return importlib.import_module(".plot", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = found
    return found
