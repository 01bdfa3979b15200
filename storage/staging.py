"""A temporary folder for backends whose values are not local files."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import weakref
from pathlib import Path

__all__ = ["TemporaryStaging"]


class TemporaryStaging:
    """A folder that is made when first asked for, one per process, and removed by `close`.

    One per process, so that a parent that closes does not pull the folder away from under its child, nor a
    child that exits from under its parent; `tempfile.TemporaryDirectory` does the latter.
    """

    def __init__(self) -> None:
        self._folders: dict[int, Path] = {}

    def path(self) -> Path:
        """The folder, made when missing. Raises: OSError."""
        process = os.getpid()
        found = self._folders.get(process)
        if found is None:
            made = Path(tempfile.mkdtemp(prefix="lineart-staging-"))
            found = self._folders.setdefault(process, made)  # atomic: of two threads one has its way
            if found is made:
                weakref.finalize(self, _remove, made, process)
            else:
                made.rmdir()
        found.mkdir(exist_ok=True)
        return found

    def close(self) -> None:
        process = os.getpid()
        found = self._folders.pop(process, None)
        if found is not None:
            _remove(found, process)


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:
        with contextlib.suppress(FileNotFoundError):  # closed already, or swept by the system's own cleaning
            shutil.rmtree(folder)
