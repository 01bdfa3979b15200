"""Versions of data and models, with their lineage and the runs that made them, in one folder or bucket.

    import lineart

    with lineart.init(project="digits", config={"depth": 8}) as run:
        data = run.use_artifact("images:latest").download()
        for epoch in range(10):
            run.log({"loss": train(data)})
        run.log_artifact("model.bin", name="classifier", type="model")

Importing this module does nothing else: each name is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .storage.errors import (
        ArtifactFinalizedError,
        ArtifactNotLoggedError,
        CommError,
        Error,
        UsageError,
    )
    from .tracking import plot
    from .tracking.account import login, setup
    from .tracking.alerts import AlertLevel
    from .tracking.api import Api
    from .tracking.artifact import Artifact
    from .tracking.calls import (
        alert,
        define_metric,
        finish,
        finish_artifact,
        link_artifact,
        link_model,
        log,
        log_artifact,
        log_code,
        log_model,
        mark_preempting,
        restore,
        save,
        unwatch,
        upsert_artifact,
        use_artifact,
        use_model,
        watch,
    )
    from .tracking.media import (
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
    from .tracking.run import Run
    from .tracking.run_settings import Settings
    from .tracking.session import init
    from .tracking.values import Config, Summary

    __version__: str
    run: Run | None
    config: Config | None
    summary: Summary | None

# Module → the names that it gives.
_PLACES = {
    "storage.errors": (
        "ArtifactFinalizedError",
        "ArtifactNotLoggedError",
        "CommError",
        "Error",
        "UsageError",
    ),
    "tracking.account": ("login", "setup"),
    "tracking.alerts": ("AlertLevel",),
    "tracking.api": ("Api",),
    "tracking.artifact": ("Artifact",),
    "tracking.calls": (
        "alert",
        "define_metric",
        "finish",
        "finish_artifact",
        "link_artifact",
        "link_model",
        "log",
        "log_artifact",
        "log_code",
        "log_model",
        "mark_preempting",
        "restore",
        "save",
        "unwatch",
        "upsert_artifact",
        "use_artifact",
        "use_model",
        "watch",
    ),
    "tracking.media": (
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
    "tracking.run": ("Run",),
    "tracking.run_settings": ("Settings",),
    "tracking.session": ("init",),
    "tracking.values": ("Config", "Summary"),
}
_HOMES = {name: module for module, names in _PLACES.items() for name in names}
_OF_THE_RUN = ("run", "config", "summary")

__all__ = [
    "AlertLevel",
    "Api",
    "Artifact",
    "ArtifactFinalizedError",
    "ArtifactNotLoggedError",
    "Audio",
    "CommError",
    "Config",
    "Error",
    "Histogram",
    "Html",
    "Image",
    "JoinedTable",
    "Molecule",
    "Object3D",
    "Plotly",
    "Run",
    "Settings",
    "Summary",
    "Table",
    "UsageError",
    "Video",
    "alert",
    "define_metric",
    "finish",
    "finish_artifact",
    "init",
    "link_artifact",
    "link_model",
    "log",
    "log_artifact",
    "log_code",
    "log_model",
    "login",
    "mark_preempting",
    "plot",
    "restore",
    "save",
    "setup",
    "unwatch",
    "upsert_artifact",
    "use_artifact",
    "use_model",
    "watch",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _HOMES:
        found = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    elif name == "plot":
        found = import_module(".tracking.plot", __name__)
    elif name in _OF_THE_RUN:
        from .tracking.session import current_run

        current = current_run()  # another one after the next init: never kept
        if name == "run":  # as the W&B SDK has it: what asks `if run is None` then starts one
            return current if current is not None and current.state == "running" else None
        return None if current is None else getattr(current, name)
    elif name == "__version__":
        from importlib.metadata import version

        found = version("lineart")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*__all__, *_OF_THE_RUN, "__version__"])
