"""Other people's libraries: callbacks that log their training, and `wandb` as another name of Lineart.

May import: tracking and below. Each module stands for one library and imports it when it is imported itself; start
with the one of the library at hand, or with `wandb` (scripts that say `import wandb`). `library`, `current`,
`plain_settings` and `model_files` are what they share.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

__all__: list[str] = []  # what it offers is its modules: one that were named here would load its library

_MODULES = ("huggingface", "keras", "lightgbm", "lightning", "sklearn", "wandb", "xgboost")


def __getattr__(name: str) -> ModuleType:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; its modules: {', '.join(_MODULES)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
