"""The code that runs: the script's file, the code of ``python -c``, or the executed cells of a notebook."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any


def is_notebook() -> bool:
    """Whether this process is the kernel of a notebook (Jupyter, Colab, VS Code), not a terminal."""
    shell = _shell()
    return shell is not None and hasattr(shell, "kernel")


def main_code(
    main_module: ModuleType | None, argv: Sequence[str], *, notebook: str | None = None
) -> list[tuple[str, bytes | Path]]:
    """Name and content (or file) of what runs as `main_module`; empty when there is none to be had.

    In IPython and Jupyter it is a notebook of the cells executed up to now, named after the path `notebook` where the
    front end told it. `argv` is the interpreter's whole command (`sys.orig_argv`), which holds the code of ``-c``.
    """
    shell = _shell()
    if shell is not None:
        found = getattr(shell, "user_ns", {}).get("__vsc_ipynb_file__") or notebook or "notebook.ipynb"
        return [(f"{PurePath(str(found)).stem}.ipynb", executed_cells(shell))]
    file = getattr(main_module, "__file__", None)
    if not file:
        code = _code_of_command(argv)
        return [] if code is None else [("command.py", code.encode("utf-8", "backslashreplace"))]
    path = Path(file)
    if path.is_file():
        return [(path.name, path.resolve())]
    source = _source_in_archive(main_module)
    return [] if source is None else [(path.name, source.encode())]


def started_module(main_module: ModuleType | None, argv: Sequence[str]) -> str | None:
    """The name behind ``-m`` if that is how `main_module` was started; `argv` is `sys.argv`, whose first is its file.

    >>> started_module(ModuleType("__main__"), ["train.py"]) is None
    True
    """
    spec = getattr(main_module, "__spec__", None)
    if spec is None or not argv or argv[0] != getattr(main_module, "__file__", None):
        return None
    name: str = spec.name
    return name.removesuffix(".__main__")


def executed_cells(shell: Any) -> bytes:
    """The inputs of this session of IPython, in the order of their execution, as a notebook of format 4.5."""
    history = getattr(shell, "history_manager", None)
    inputs: Sequence[str] = getattr(history, "input_hist_raw", None) or getattr(shell, "user_ns", {}).get(
        "In", []
    )
    cells = [
        {
            "cell_type": "code",
            "execution_count": number,
            "id": f"cell-{number}",
            "metadata": {},
            "outputs": [],
            "source": source.splitlines(keepends=True),
        }
        for number, source in enumerate(list(inputs))
        if number > 0 and source  # the first is a place holder: cells are counted from 1
    ]
    book = {
        "cells": cells,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python", "version": ".".join(map(str, sys.version_info[:3]))},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(book, indent=1).encode()


def _shell() -> Any:
    """The running IPython, without importing it."""
    ask = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return None if ask is None else ask()


def _code_of_command(argv: Sequence[str]) -> str | None:
    """What follows the interpreter's ``-c``, which ends its options."""
    for index, argument in enumerate(argv[1:-1], start=1):
        if argument == "-c" or (argument[:1] == "-" and argument[1:2] not in "-XW" and argument[-1:] == "c"):
            return argv[index + 1]
        if not argument.startswith("-") and argv[index - 1] not in ("-X", "-W"):
            return None
    return None


def _source_in_archive(module: ModuleType | None) -> str | None:
    read = getattr(getattr(module, "__loader__", None), "get_source", None)
    try:
        source = None if read is None else read("__main__")
    except (ImportError, OSError):
        return None
    return source if isinstance(source, str) else None
