"""What `Run.save` keeps: files that match a pattern, copied into the run at once, when they change, or at its end."""

from __future__ import annotations

import glob as globbing
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, get_args

from ..artifacts.paths import check_path
from ..storage.errors import Error, NotFoundError, UsageError

Policy = Literal["live", "now", "end"]
_Seen = tuple[int, int, int]


class PathSink(Protocol):
    """Where saved files go."""

    def put_path(self, source: Path, path: str) -> None:
        """Keep a copy of `source` as `path`, in place of an older one. Raises: NotFoundError."""
        ...


@dataclass(slots=True)
class _Watched:
    """A pattern that is looked at again."""

    pattern: str
    base: str
    policy: Policy
    seen: dict[str, _Seen] = field(default_factory=dict)  # source → what it was when it was copied


class SavedFiles:
    """The patterns of one run in one process. Safe in threads: `refresh` is called from the run's background thread."""

    def __init__(self, files: Callable[[], PathSink], folder: Callable[[], str]) -> None:
        """Where the copies go, and the run's own folder, whose files are kept as they are; both may move meanwhile."""
        self.pid = os.getpid()
        self._sink = files
        self._run_folder = folder
        self._watched: list[_Watched] = []
        self._lock = threading.Lock()

    def add(self, pattern: str, base_path: str | os.PathLike[str] | None, policy: Policy) -> list[str]:
        """Keep what matches `pattern`, now or later; the paths in the run of what matches now.

        Raises: UsageError for a pattern that leads out of `base_path`, a URL, or an unknown policy.
        """
        if policy not in get_args(Policy):
            raise UsageError(f"policy {policy!r}: expected 'live', 'now' or 'end'")
        if "://" in pattern:
            raise UsageError(
                f"save {pattern!r}: expected a local path; an artifact's add_reference() records files elsewhere"
            )
        watched = _Watched(os.path.abspath(pattern), self._base(pattern, base_path), policy)
        if not _is_below(watched.pattern, watched.base):
            raise UsageError(f"save {pattern!r}: lies outside of base_path {watched.base!r}")
        with self._lock:
            found = {source: self._path(source, watched) for source in _matches(watched.pattern)}
            if not found:
                later = "" if policy == "now" else "; it is looked at again until the run ends"
                warnings.warn(f"save {pattern!r}: no file matches{later}", UserWarning, stacklevel=3)
            if policy != "end":
                for source, path in found.items():
                    self._copy(source, path, watched)
            if policy != "now":
                self._watched.append(watched)
        return sorted(found.values())

    def refresh(self) -> None:
        """Copy what is saved ``live`` and has changed since. A file that cannot be read now is tried again later."""
        self._look(("live",))

    def finish(self) -> None:
        """The last look, also at what is saved at the end; a file that cannot be kept is warned of."""
        for source, error in self._look(("live", "end")).items():
            warnings.warn(f"save: {source!r} was not kept: {error}", UserWarning, stacklevel=2)

    def _look(self, policies: tuple[Policy, ...]) -> dict[str, Error | OSError]:
        failed: dict[str, Error | OSError] = {}
        with self._lock:
            for watched in self._watched:
                if watched.policy not in policies:
                    continue
                for source in _matches(watched.pattern):
                    try:
                        self._copy(source, self._path(source, watched), watched)
                    except NotFoundError:
                        continue  # removed since it was listed; what was copied before stays
                    except (Error, OSError) as error:
                        failed[source] = error
        return failed

    def _copy(self, source: str, path: str, watched: _Watched) -> None:
        try:
            found = os.stat(source)
        except OSError as error:
            raise NotFoundError(f"file {source!r} cannot be read: {error.strerror}") from error
        seen = found.st_size, found.st_mtime_ns, found.st_ino
        if watched.seen.get(source) == seen or _is_below(source, self._folder):
            return
        self._sink().put_path(Path(source), path)
        watched.seen[source] = seen

    @property
    def _folder(self) -> str:
        return os.path.abspath(self._run_folder())

    def _base(self, pattern: str, base_path: str | os.PathLike[str] | None) -> str:
        if base_path is not None:
            return os.path.abspath(base_path)
        if not os.path.isabs(pattern):
            inside = os.path.abspath(pattern)
            return os.getcwd() if _is_below(inside, os.getcwd()) else os.path.dirname(inside)
        if _is_below(pattern, self._folder):
            return self._folder
        return _literal_folder(pattern)

    def _path(self, source: str, watched: _Watched) -> str:
        if _is_below(source, self._folder):
            return check_path(os.path.relpath(source, self._folder).replace(os.sep, "/"))
        return check_path(os.path.relpath(source, watched.base).replace(os.sep, "/"))


def _literal_folder(pattern: str) -> str:
    """The deepest folder of an absolute pattern before its first wildcard."""
    folder = os.path.dirname(os.path.abspath(pattern))
    while globbing.has_magic(folder):
        folder = os.path.dirname(folder)
    return folder


def _is_below(path: str, folder: str) -> bool:
    return os.path.commonpath([os.path.abspath(path), folder]) == folder


def _matches(pattern: str) -> Iterator[str]:
    """Absolute paths of the files that match, and of all below the folders that do."""
    # What exists under the very name is meant, even if it has brackets in it.
    found = [pattern] if os.path.lexists(pattern) else sorted(globbing.glob(pattern, recursive=True))
    told: set[str] = set()
    for path in found:
        for file in _files_of(path):
            if file not in told:
                told.add(file)
                yield file


def _files_of(path: str) -> Iterator[str]:
    if not os.path.isdir(path):
        if os.path.isfile(path):
            yield path
        return
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            if os.path.isfile(os.path.join(folder, name)):
                yield os.path.join(folder, name)
