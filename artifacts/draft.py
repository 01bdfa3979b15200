"""A draft: an artifact that is being put together. Nothing is read or stored before it is logged."""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..storage.errors import InvalidPathError, NotFoundError, UsageError
from ..storage.reading import source_error
from ..storage.restore import TEMPORARY_PREFIX
from .manifest import Entry
from .paths import check_link, check_path

Patterns = str | Iterable[str] | None


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file on disk that becomes an entry when the draft is logged."""

    source: str  # absolute


Item = Entry | LocalFile


class Draft:
    """Paths and what stands under them: local files to be read, or finished entries. Used by one thread."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._items: dict[str, Item] = {entry.path: entry for entry in entries}

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, path: object) -> bool:
        return path in self._items

    def items(self) -> Iterator[tuple[str, Item]]:
        """Path and item, in the order added."""
        return iter(self._items.items())

    def get(self, path: str) -> Item | None:
        """What stands under `path`."""
        return self._items.get(path)

    def put(self, path: str, item: Item) -> None:
        """Place `item` under `path`, replacing what was there. Raises: InvalidPathError."""
        self._items[check_path(path)] = item

    def remove(self, path: str) -> int:
        """Remove the entry, or the folder with all below it; how many entries went. Raises: NotFoundError."""
        if self._items.pop(path, None) is not None:
            return 1
        folder = path.rstrip("/") + "/"
        below = [key for key in self._items if key.startswith(folder)]
        if not below:
            raise NotFoundError(f"path {path!r} is not in the artifact")
        for key in below:
            del self._items[key]
        return len(below)


def local_file(path: str | os.PathLike[str]) -> LocalFile:
    """The regular file at `path`. Raises: NotFoundError, UsageError for anything that is not a readable file."""
    source = os.path.abspath(os.fspath(path))
    try:
        mode = os.stat(source).st_mode
    except OSError as error:
        raise source_error(source, error) from error
    if not stat.S_ISREG(mode):
        kind = (
            "a folder; use add_dir" if stat.S_ISDIR(mode) else f"not a regular file ({stat.filemode(mode)})"
        )
        raise UsageError(f"file {source!r}: is {kind}")
    return LocalFile(source)


def walk(
    folder: str | os.PathLike[str], *, prefix: str = "", include: Patterns = None, exclude: Patterns = None
) -> Iterator[tuple[str, Item]]:
    """Path and item of everything under `folder`, with `prefix` before each path.

    `include` and `exclude` are shell patterns, matched against the path below `folder` and against the bare name; an
    excluded folder is not entered. Symbolic links that stay inside are kept as links; links to files outside are
    read; links to folders outside, sockets, pipes and devices are refused.
    Raises: NotFoundError, UsageError, InvalidPathError.
    """
    root = os.path.abspath(os.fspath(folder))
    if not os.path.isdir(root):
        raise NotFoundError(
            f"folder {root!r} is not there" if not os.path.lexists(root) else f"{root!r} is not a folder"
        )
    included, excluded = _patterns(include), _patterns(exclude)
    if prefix:
        check_path(prefix.rstrip("/"))
        prefix = prefix.rstrip("/") + "/"
    pending = [("", root)]
    while pending:
        below, current = pending.pop()
        if below:
            check_path(prefix + below[:-1])  # too deep, or not UTF-8: told before the system cannot follow
        empty = True
        for entry in _scan(current):
            path = below + entry.name
            if entry.name.startswith(TEMPORARY_PREFIX):
                continue  # what a killed download has left
            if excluded and _matches(excluded, path, entry.name):
                continue
            empty = False
            if entry.is_dir(follow_symlinks=False):
                pending.append((f"{path}/", entry.path))
            elif not included or _matches(included, path, entry.name):
                yield prefix + path, _item(prefix + path, path, entry)
        if empty and below and not included:
            yield prefix + below[:-1], Entry(check_path(prefix + below[:-1]), "directory")


def _item(full: str, path: str, entry: os.DirEntry[str]) -> Item:
    if entry.is_symlink():
        target = os.readlink(entry.path)
        try:
            return Entry(full, "symlink", target=check_link(path, target))
        except InvalidPathError:
            return local_file(entry.path)  # outside: its content counts
    if entry.is_file(follow_symlinks=False):
        return LocalFile(entry.path)
    return local_file(entry.path)  # a socket, pipe or device: raises


def _scan(folder: str) -> Sequence[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        shown = folder if len(folder) < 500 else f"{folder[:100]}…{folder[-100:]}"
        raise UsageError(
            f"folder {shown!r}: {error.strerror}; make it readable or exclude it; nothing was logged"
        ) from error


def _patterns(given: Patterns) -> list[str]:
    return [given] if isinstance(given, str) else list(given or ())


def _matches(patterns: Sequence[str], path: str, name: str) -> bool:
    return any(
        fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(name, pattern) for pattern in patterns
    )
