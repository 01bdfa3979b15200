"""Which files of a folder are its code: what `Run.log_code` keeps."""

from __future__ import annotations

import inspect
import os
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

from ..storage.errors import NotFoundError, UsageError

CodeFilter = Callable[[str], bool] | Callable[[str, str], bool]

_SUFFIXES = (".py", ".ipynb")
# Made by tools from something else, or somebody else's; never a project's own code.
_FOREIGN = {
    ".git", ".hg", ".ipynb_checkpoints", ".mypy_cache", ".nox", ".pytest_cache", ".ruff_cache", ".svn", ".tox", ".venv",
    "__pycache__", "node_modules", "site-packages", "venv",
}  # fmt: skip
_GIT_TIMEOUT_S = 20


def code_files(
    root: str, include: CodeFilter | None = None, exclude: CodeFilter | None = None
) -> Iterator[tuple[str, str]]:
    """Path below `root` and absolute path of each code file, sorted.

    Without `include` these are Python files and notebooks that git does not ignore; with it, what it says of a path, or
    of path and root. Virtual environments and the folders of tools are left out in any case.
    Raises: NotFoundError, UsageError.
    """
    top = os.path.abspath(root)
    if not os.path.isdir(top):
        raise NotFoundError(f"folder {top!r} is not there")
    wanted = _asked(include, top, "include_fn") if include is not None else _is_code
    refused = _asked(exclude, top, "exclude_fn") if exclude is not None else None
    listed = _tracked(top) if include is None else None
    for path in sorted(_walk(top) if listed is None else _own(listed, top)):
        full = os.path.join(top, path)
        if os.path.isfile(full) and wanted(full) and not (refused is not None and refused(full)):
            yield path.replace(os.sep, "/"), full


def _is_code(path: str) -> bool:
    return path.endswith(_SUFFIXES)


def _asked(function: Any, root: str, what: str) -> Callable[[str], bool]:
    if not callable(function):
        raise UsageError(f"{what} {function!r}: expected a function of a path, or of a path and the root")
    try:
        parameters = inspect.signature(function).parameters.values()
        takes_root = sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters) > 1
    except (TypeError, ValueError):  # of a built-in that does not tell
        takes_root = False
    return (lambda path: bool(function(path, root))) if takes_root else (lambda path: bool(function(path)))


def _tracked(root: str) -> list[str] | None:
    """What git knows or would take in below `root`; None where there is no git, or nothing is of its concern."""
    command = ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, timeout=_GIT_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0 or not done.stdout:
        return None
    return [os.fsdecode(path) for path in done.stdout.split(b"\0") if path]


def _own(paths: list[str], root: str) -> Iterator[str]:
    foreign: dict[str, bool] = {"": False}

    def is_foreign(folder: str) -> bool:
        if folder not in foreign:
            above, _, name = folder.rpartition("/")
            foreign[folder] = is_foreign(above) or _is_foreign(os.path.join(root, folder), name)
        return foreign[folder]

    return (path for path in paths if not is_foreign(path.rpartition("/")[0]))


def _walk(root: str) -> Iterator[str]:
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not _is_foreign(os.path.join(folder, name), name)]
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), root)


def _is_foreign(folder: str, name: str) -> bool:
    if name in _FOREIGN:
        return True
    # A virtual environment under any name; a store.
    return any(os.path.exists(os.path.join(folder, mark)) for mark in ("pyvenv.cfg", "lineart.json"))
