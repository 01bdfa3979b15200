"""Backend over a local or network-mounted folder: the commit path of most stores, so no fsspec here.

The laws of this module:

- Bytes are written to a file in `<root>/.staging/`, flushed, and only then given their name, by `link(2)` (fails
  when the name is taken: conditional create) or `rename(2)` (replaces). So a visible key is whole, always.
- After the name the folder is flushed, and a folder new to this process is flushed in its parent *whoever* made
  it: its maker may not have come that far when the machine goes down.
- `delete` leaves empty folders behind. Removing them would race with writers that have just flushed them; `list`
  and `folders` do not show a folder without keys instead.
- What is made gets the mode of the store's own folder (`sharing`): a shared folder stays usable by its group.
- Nothing is held between calls (no descriptors, no locks), so threads and forks need no care.
"""

from __future__ import annotations

import builtins
import errno
import os
import stat as stat_modes
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from .backend import STAGING, Buffer, Stat, check_key, check_prefix
from .durable import flush, link, move, temporary_file
from .errors import CommError, ConflictError, Error, InvalidNameError, NotFoundError, StoreError
from .sharing import folder_mode, share_file, share_folder

__all__ = ["LocalBackend"]

_ATTEMPTS = 5  # each repeat means that somebody removed a folder between two of our system calls

_FULL = {errno.ENOSPC, errno.EDQUOT}
_DENIED = {errno.EROFS, errno.EACCES, errno.EPERM}
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}  # of a key that is looked for
# A key below another key, a name too long, .staging on another device: no repetition will help.
_IMPOSSIBLE = {errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EXDEV, errno.EFBIG}


class LocalBackend:
    """Keys are files below `root`, which is made at the first write. See `Backend` for the contract."""

    def __init__(self, root: Path) -> None:
        self._root = os.path.abspath(root)  # a later chdir must not move the store
        self._staging = f"{self._root}/{STAGING}"
        self._made: set[str] = set()  # folders known to exist and to be flushed in their parents

    @property
    def url(self) -> str:
        return f"file://{self._root}"

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        path = self._path(key)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                # The file behind an open descriptor never changes: `write` replaces the name, not the bytes.
                size = _file_status(os.fstat(descriptor)).st_size
                begin = max(0, size + start) if start < 0 else start
                end = size if length is None else min(size, begin + length)
                return _read_range(descriptor, begin, end)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._reading_error(key, error) from error

    def write(self, key: str, data: Buffer) -> None:
        self._publish(key, data, os.replace)

    def create(self, key: str, data: Buffer) -> None:
        try:
            self._publish(key, data, link)
        except FileExistsError as error:
            if os.path.isdir(self._path(key)):
                raise StoreError(f"key {key!r} in {self.url} is a folder; choose another key") from error
            raise ConflictError(
                f"key {key!r} exists already in {self.url}; read it and decide again"
            ) from error

    def write_file(self, key: str, path: Path) -> None:
        target = self._path(key)
        folder = os.path.dirname(target)
        try:
            share_file(path, folder_mode(self._root))
            flush(path)
            for attempt in range(_ATTEMPTS):
                self._make_folder(folder)
                try:
                    move(os.fspath(path), target)
                    flush(folder)
                    return
                except FileNotFoundError:
                    self._made.clear()
                    if attempt + 1 == _ATTEMPTS or not os.path.exists(path):
                        raise
        except FileNotFoundError as error:
            raise NotFoundError(
                f"file {path} for key {key!r} is not there; write it to staging() first"
            ) from error
        except OSError as error:
            raise self._writing_error(key, error) from error

    def stat(self, key: str) -> Stat:
        try:
            found = _file_status(os.stat(self._path(key)))
        except OSError as error:
            raise self._reading_error(key, error) from error
        return Stat(key=key, size_bytes=found.st_size, modified_s=found.st_mtime)

    def list(self, prefix: str, start_after: str = "") -> Iterator[Stat]:
        return self._walk(check_prefix(prefix), start_after)

    def folders(self, prefix: str) -> builtins.list[str]:
        check_prefix(prefix)
        names = sorted(name[:-1] for name in self._names(prefix, start_after="") if name.endswith("/"))
        return [name for name in names if next(self._walk(f"{prefix}{name}/", ""), None) is not None]

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            try:
                os.unlink(self._path(key))
            except OSError as error:
                # EPERM is how macOS says "is a folder", EISDIR is how Linux does: in both the key is not there.
                if error.errno not in _MISSING and not os.path.isdir(self._path(key)):
                    raise self._writing_error(key, error) from error

    def staging(self) -> Path:
        try:
            if not os.path.isdir(self._staging):
                self._made.clear()  # asked for rarely, so it pays to look rather than to remember
            self._make_folder(self._staging)
        except OSError as error:
            raise self._writing_error(STAGING, error) from error
        return Path(self._staging)

    def local_path(self, key: str) -> Path | None:
        return Path(self._path(key))

    def close(self) -> None:
        """Nothing is open."""

    def _path(self, key: str) -> str:
        return f"{self._root}/{check_key(key)}"

    def _publish(self, key: str, data: Buffer, give_name: Callable[[str, str], None]) -> None:
        """Write `data` to a temporary file and give it its name. Raises: FileExistsError as `give_name` does."""
        target = self._path(key)
        folder = os.path.dirname(target)
        try:
            for attempt in range(_ATTEMPTS):
                try:
                    self._make_folder(self._staging)
                    self._make_folder(folder)
                    with temporary_file(self._staging, data) as temporary:
                        share_file(temporary, folder_mode(self._root))
                        give_name(temporary, target)
                    flush(folder)
                    return
                except FileNotFoundError:
                    self._made.clear()
                    if attempt + 1 == _ATTEMPTS:
                        raise
        except FileExistsError:
            raise
        except OSError as error:
            raise self._writing_error(key, error) from error

    def _make_folder(self, folder: str) -> None:
        """Make `folder` and those above it, durably; free of system calls when this object did it before."""
        if folder in self._made:
            return
        inside = len(folder) > len(self._root)
        if inside or not os.path.isdir(folder):
            parent = os.path.dirname(folder)
            self._make_folder(parent)
            try:
                os.mkdir(folder)
                if inside:
                    share_folder(folder, folder_mode(self._root))
            except FileExistsError:
                if not os.path.isdir(folder):
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder) from None
            flush(parent)
        self._made.add(folder)

    def _names(self, prefix: str, start_after: str) -> builtins.list[str]:
        """Names directly under `prefix` that can lead to keys above `start_after`, folders with `/`, sorted.

        The slash takes part in the order: `a.b` sorts before `a/c`, since `.` is less than `/`.
        """
        rest = start_after[len(prefix) :] if start_after.startswith(prefix) else ""
        if prefix < start_after and not start_after.startswith(prefix):
            return []  # every key here sorts before it
        names = []
        try:
            with os.scandir(f"{self._root}/{prefix}") as entries:
                for entry in entries:
                    # The cheap test first: of a log folder's 1,000 names all but a few end here.
                    if entry.name > rest or rest.startswith(entry.name):
                        name = f"{entry.name}/" if entry.is_dir() else entry.name
                        if name > rest or (name.endswith("/") and rest.startswith(name)):
                            names.append(name)
        except OSError as error:
            if error.errno not in _MISSING:
                raise self._reading_error(prefix, error) from error
        return sorted(name for name in names if _is_key(prefix + name.rstrip("/")))

    def _walk(self, prefix: str, start_after: str) -> Iterator[Stat]:
        pending = [prefix + name for name in reversed(self._names(prefix, start_after))]
        while pending:
            key = pending.pop()
            if key.endswith("/"):
                pending.extend(key + name for name in reversed(self._names(key, start_after)))
            else:
                try:
                    found = self.stat(key)
                except NotFoundError:
                    continue  # deleted since the folder was read
                yield found

    def _reading_error(self, key: str, error: OSError) -> Error:
        if error.errno in _MISSING:
            return NotFoundError(f"key {key!r} is not in {self.url}; check the name and the store")
        if error.errno in _DENIED or error.errno in _IMPOSSIBLE:
            return StoreError(f"{self.url} refuses to read {key!r}: {error.strerror}; check its permissions")
        return CommError(f"{self.url} did not read {key!r}: {error.strerror or error}; try again")

    def _writing_error(self, key: str, error: OSError) -> Error:
        if error.errno in _FULL:
            return StoreError(f"{self.url} is full: free space there and repeat {key!r}; nothing was changed")
        if error.errno in _NO_LINKS and error.filename2 is not None:
            return StoreError(
                f"{self.url} refuses to link {key!r}: {error.strerror}; a store needs a file system with"
                " hard links and permission to write"
            )
        if error.errno in _DENIED:
            return StoreError(
                f"{self.url} refuses to write {key!r}: {error.strerror}; check mount and permissions"
            )
        if error.errno in _IMPOSSIBLE:
            return StoreError(f"{self.url} cannot hold {key!r}: {error.strerror}; is part of the key a file?")
        return CommError(f"{self.url} did not write {key!r}: {error.strerror or error}; try again")


def _is_key(key: str) -> bool:
    """False for what other programs leave in a folder, and for our own temporary names (they contain `~`)."""
    try:
        check_key(key)
    except InvalidNameError:
        return False
    return not key.rpartition("/")[2].startswith(".nfs0")  # what NFS makes of a file deleted while open


def _file_status(status: os.stat_result) -> os.stat_result:
    """The status of a file. Raises: IsADirectoryError, which `open` and an empty read leave to be noticed."""
    if stat_modes.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return status


def _read_range(descriptor: int, begin: int, end: int) -> bytes:
    pieces = []
    while begin < end:
        piece = os.pread(descriptor, end - begin, begin)  # Linux reads at most 2 GiB - 4 KiB at a time
        if not piece:
            break
        pieces.append(piece)
        begin += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
