"""The proxy of the benchmarks, for tests of what comes between a client and its bucket."""

from __future__ import annotations

import importlib.util
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Any

_FILE = Path(__file__).resolve().parents[1] / "benchmarks" / "proxy.py"
_NAME = "lineart_benchmarks_proxy"


def running_proxy(upstream: str) -> AbstractContextManager[Any]:
    """A proxy before `upstream`, in a process of its own."""
    return _module().running_proxy(upstream)  # type: ignore[no-any-return]


def _module() -> ModuleType:
    if _NAME not in sys.modules:
        spec = importlib.util.spec_from_file_location(_NAME, _FILE)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[_NAME] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[_NAME])
    return sys.modules[_NAME]
