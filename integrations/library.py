"""Importing the library that an integration is for."""

from __future__ import annotations

import importlib
from typing import Any


def library(name: str, package: str | None = None) -> Any:
    """The module `name`. Raises: ImportError saying which `package` to install when it is missing."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        top = name.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != top:
            raise  # the library is there; something that it needs is not
        raise ImportError(
            f"this integration needs {top}, which is not installed; pip install {package or top}", name=top
        ) from None
