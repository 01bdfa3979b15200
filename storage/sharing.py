"""Who may use what a store in a shared folder is made of: whoever may use the folder.

What is made inside a local store gets the mode of the store's own folder, whatever the umask of the process says: its
permissions and its setgid bit for folders, the same without new execution for files. An administrator makes the folder
once (``chgrp team store; chmod 2770 store``), and all that anybody puts there stays usable by the group, and by nobody
else. Where the mode cannot be set (it is somebody else's, or the file system has none) things stay as they are.
"""

from __future__ import annotations

import os
from pathlib import Path

from .backend import LIVE, STAGING

__all__ = ["folder_mode", "make_shared", "share_file", "share_folder", "store_root"]

_FOLDER = 0o2777  # not the sticky bit, which would keep others from replacing what they may write
_FILE = 0o666


def folder_mode(root: str | Path) -> int | None:
    """The mode of folders in the store at `root`; None when there is none yet."""
    try:
        return os.stat(root).st_mode & _FOLDER
    except OSError:
        return None


def store_root(path: str | Path) -> Path | None:
    """The store's folder above something in `.live` or `.staging`; None for a path that lies elsewhere."""
    for parent in Path(path).parents:
        if parent.name in (LIVE, STAGING):
            return parent.parent
    return None


def share_folder(path: str | Path, mode: int | None) -> None:
    """Give a folder that this process has made the mode of the store's folders."""
    if mode is not None:
        try:
            if os.stat(path).st_mode & _FOLDER != mode:
                os.chmod(path, mode)
        except OSError:
            return  # another user's, or a file system without modes: it stays as the umask has made it


def share_file(file: int | str | Path, mode: int | None) -> None:
    """Give a file (its path or descriptor) the mode that goes with that of the store's folders."""
    if mode is not None:
        try:
            found = os.stat(file).st_mode & 0o777
            wanted = mode & _FILE | found & 0o111 & mode  # what may be executed stays so
            if found != wanted:
                os.chmod(file, wanted)
        except OSError:
            return  # as above


def make_shared(folder: Path) -> None:
    """Make a folder and those above it, shared if it lies in a local store. Raises: OSError."""
    root = store_root(folder / "x")
    if root is None:
        folder.mkdir(parents=True, exist_ok=True)
        return
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        if folder == root:
            break
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        if path != root:
            share_folder(path, folder_mode(root))
