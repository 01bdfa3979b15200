"""Libraries that a media type needs and Lineart does not: imported when they are used, named when they are missing."""

from __future__ import annotations

import importlib
from typing import Any

from ...storage.errors import UsageError

_PACKAGES = {"PIL": "pillow", "imageio_ffmpeg": "imageio-ffmpeg"}


def need(module: str, what: str) -> Any:
    """The module, for `what` (a noun that the message names). Raises: UsageError that says what to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] != module.partition(".")[0]:
            raise  # it is there, and something that it needs is not
        package = _PACKAGES.get(module.partition(".")[0], module.partition(".")[0])
        raise UsageError(
            f'{what} needs {package}, which is not installed; pip install "lineart[media]" or pip install {package}'
        ) from error


def comes_from(value: object, *libraries: str) -> bool:
    """Whether a class of `value` was made in one of the libraries; imports none of them.

    >>> from pathlib import Path
    >>> comes_from(Path("x"), "pathlib"), comes_from(Path("x"), "torch")
    (True, False)
    """
    return any(base.__module__.partition(".")[0] in libraries for base in type(value).__mro__)
