"""Versions of data and models, with their lineage, in one folder or bucket.

    import lineart

    with lineart.init(project="digits", config={"depth": 8}) as run:
        data = run.use_artifact("images:latest").download()
        ...
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
    from .tracking import (
        Api,
        Artifact,
        Config,
        Run,
        Settings,
        Summary,
        finish,
        init,
        log,
        log_artifact,
        use_artifact,
    )

    __version__: str
    run: Run | None
    config: Config | None
    summary: Summary | None

_ERRORS = ("ArtifactFinalizedError", "ArtifactNotLoggedError", "CommError", "Error", "UsageError")
_TRACKING = (
    "Api",
    "Artifact",
    "Config",
    "Run",
    "Settings",
    "Summary",
    "finish",
    "init",
    "log",
    "log_artifact",
    "use_artifact",
)
_OF_THE_RUN = ("run", "config", "summary")

__all__ = [
    "Api",
    "Artifact",
    "ArtifactFinalizedError",
    "ArtifactNotLoggedError",
    "CommError",
    "Config",
    "Error",
    "Run",
    "Settings",
    "Summary",
    "UsageError",
    "finish",
    "init",
    "log",
    "log_artifact",
    "use_artifact",
]


def __getattr__(name: str) -> Any:
    if name in _ERRORS:
        from .storage import errors

        found = getattr(errors, name)
    elif name in _TRACKING:
        from . import tracking

        found = getattr(tracking, name)
    elif name in _OF_THE_RUN:
        from .tracking import current_run

        current = current_run()  # another one after the next init: never kept
        return current if name == "run" or current is None else getattr(current, name)
    elif name == "__version__":
        from importlib.metadata import version

        found = version("lineart")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*__all__, *_OF_THE_RUN, "__version__"])
