"""The modules of the alias: made when they are imported, each name looked up when it is first used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, DistributionFinder, PathDistribution
from pathlib import Path
from types import ModuleType
from typing import Any

from .names import LIVE, MODULES, OUR_MODULES

SHIM = Path(__file__).resolve().parents[1] / "shim"


class AliasModule(ModuleType):
    """A module whose names are found in the table, then in the modules of ours that it stands for."""

    def __getattr__(self, name: str) -> Any:
        if f"{self.__name__}.{name}" in MODULES:
            return importlib.import_module(f"{self.__name__}.{name}")
        target = MODULES[self.__name__].get(name)
        found = _load(target) if target is not None else self._of_ours(name)
        if not (self.__name__ == "wandb" and name in LIVE):  # those are another thing after the next init
            setattr(self, name, found)
        return found

    def _of_ours(self, name: str) -> Any:
        for place in () if name.startswith("_") else OUR_MODULES.get(self.__name__, ()):
            module = importlib.import_module(place)
            if name in module.__all__ or (self.__name__ == "wandb" and name in LIVE):
                return getattr(module, name)
        raise AttributeError(
            f"lineart has no {self.__name__}.{name}; docs/moving-from-wandb.md lists what is different"
        )

    def __dir__(self) -> Iterable[str]:
        names = {*super().__dir__(), *MODULES[self.__name__]}
        names |= {name.removeprefix(f"{self.__name__}.").partition(".")[0] for name in _below(self.__name__)}
        for place in OUR_MODULES.get(self.__name__, ()):
            names.update(importlib.import_module(place).__all__)
        return sorted(names | set(LIVE if self.__name__ == "wandb" else ()))


def _below(parent: str) -> list[str]:
    return [name for name in MODULES if name.startswith(f"{parent}.")]


def _load(target: str) -> Any:
    """The object at ``module:name``; a module where no name is given."""
    place, _, name = target.partition(":")
    module = importlib.import_module(place)
    return getattr(module, name) if name else module


class AliasFinder(MetaPathFinder, Loader):
    """Finds `wandb` and what lies below it, and says that the distribution `wandb` is installed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The alias for a name of the table, None for any other."""
        if fullname not in MODULES:
            return None
        return ModuleSpec(fullname, self, origin="lineart", is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """An empty one."""
        return AliasModule(spec.name, "Lineart under the names of the W&B SDK.")

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to run: names are looked up when they are used."""

    def find_distributions(
        self,
        context: DistributionFinder.Context = DistributionFinder.Context(),  # noqa: B008 - it is immutable
    ) -> Iterable[Distribution]:
        """The metadata that libraries ask for the version."""
        if context.name is None or context.name.lower() == "wandb":
            yield from map(PathDistribution, SHIM.glob("wandb-*.dist-info"))


def is_installed() -> bool:
    """Whether `import wandb` means Lineart in this process."""
    return any(isinstance(finder, AliasFinder) for finder in sys.meta_path)


def install() -> ModuleType:
    """Let `import wandb` mean Lineart in this process from now on, and return that module.

    A `wandb` that was imported before is put aside: modules that hold it already keep it.
    """
    from .calls import add_names_to_runs

    if not is_installed():
        _forget()
        sys.meta_path.insert(0, AliasFinder())
        importlib.invalidate_caches()
        add_names_to_runs()
    return importlib.import_module("wandb")


def uninstall() -> None:
    """Undo `install`: the next `import wandb` finds what is installed, if anything."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, AliasFinder)]
    _forget()


def _forget() -> None:
    for name in [name for name in sys.modules if name == "wandb" or name.startswith("wandb.")]:
        del sys.modules[name]
