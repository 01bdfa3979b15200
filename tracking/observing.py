"""Which files and URLs a run reads: an audit hook of the interpreter, and what it writes down.

`sys.addaudithook` cannot be undone: the hook is installed with the first run that observes, and does nothing while no
run does. What it sees is appended to ``observed.jsonl`` in the folder of the run's writer, one `write(2)` a file, so
that forks and crashes lose nothing; `observed_inputs` reads it at the end of the run.

==================================================  ===================================================================
line                                                meaning
==================================================  ===================================================================
``{"roots": …, "home": …}``                         the first line: what is observed, the working folder
``{"t": ns, "read": path, "size": …, "mtime": …}``  opened for reading, for the first time in this process
``{"t": ns, "read": url, "size": …}``               the same of a URL; a size if it was told
``{"t": ns, "written": path}``                      opened for writing, or the target of a rename
``{"t": ns, "download": folder, "version": name}``  what was downloaded into a folder
``{"pid": …, "more": n}``                           so many opens were not noted by that process
``{"ended": reason}``                               the observation broke off
==================================================  ===================================================================

What native code opens by itself (Arrow, DuckDB, HDF5, OpenCV) raises no event; of that only what is held open or mapped
when `look_at_held` looks is seen.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import orjson

OBSERVED = "observed.jsonl"
MOST_FILES = 100_000  # of one process: about 20 MB of memory
_OURS = __name__.partition(".")[0]
# Who opens files for others: their caller is who reads. And who reads code and no data.
_THROUGH = frozenset({"pathlib", "shutil", "os", "io", "codecs", "gzip", "bz2", "lzma", "fsspec", "zipfile"})
_CODE = frozenset(
    {
        "_frozen_importlib",
        "_frozen_importlib_external",
        "importlib",
        "zipimport",
        "linecache",
        "tokenize",
        "runpy",
    }
)
_OTHER_EVENTS = frozenset({"os.rename", "sqlite3.connect", "urllib.Request", "http.client.send"})
# What every signature for S3 names, in a header or (escaped) in the query, whatever place the request goes to.
_SIGNED_FOR_S3 = re.compile(rb"(/|%2F)s3(/|%2F)aws4_request")
_FSSPEC_READS = frozenset({"_cat", "_cat_file", "_cat_ranges", "_get", "_get_file"})

_LOG_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC

_TICK_NS = 10_000_000  # by which the times of files may be behind the clock

_log = logging.getLogger("lineart")
_observing: tuple[Observer, ...] = ()
_is_installed = False
_wraps_fsspec = False


class Observer:
    """What one run reads below its data roots, in this process and its forks. Used by all threads."""

    def __init__(
        self, roots: Sequence[str], folder: Path, *, path: str, without: Sequence[Path] = ()
    ) -> None:
        """`folder` is that of the run's writer, `path` the run's, `without` folders that are no data.

        Raises: OSError when the file cannot be made.
        """
        self._path = path
        folders = [os.path.abspath(os.path.expanduser(root)) for root in roots if "://" not in root]
        places = [place for given in folders for place in dict.fromkeys((given, os.path.realpath(given)))]
        self._folders = tuple(os.path.join(place, "") for place in places)
        self._files = frozenset(places)
        self._urls = tuple(root.rstrip("/") for root in roots if "://" in root)
        self._log_path = os.path.abspath(folder / OBSERVED)
        hidden = [os.path.join(os.path.realpath(place), "") for place in without]
        self._without = (*hidden, self._log_path)
        self._real: dict[str, str] = {}
        self._known: dict[str, None] = {}
        self._more = 0
        self._head = {"roots": list(roots), "home": os.getcwd()}
        self._file = os.open(self._log_path, _LOG_FLAGS | os.O_CREAT, 0o666)
        found = os.fstat(self._file)
        self._identity = found.st_dev, found.st_ino
        self._since_ns = time.time_ns() - _TICK_NS
        self._write(self._head)

    def start(self) -> None:
        """Begin to observe."""
        global _observing, _is_installed  # noqa: PLW0603 - the hook is one of the process
        if self._urls:
            _wrap_fsspec()
        _observing = (*_observing, self)
        if not _is_installed:
            _is_installed = True
            sys.addaudithook(_hook)

    def stop(self) -> bytes:
        """End, and give all that was written by this process and its forks. A second call gives nothing."""
        self._leave()
        if self._file < 0:
            return b""
        try:
            file = self._descriptor()
        except (
            OSError
        ) as error:  # the folder is gone, and what was seen with it: that is what there is to say
            self._file = -1
            lines = self._head, {"ended": f"{type(error).__name__}: {error}"}
            return b"".join(orjson.dumps(line) + b"\n" for line in lines)
        found = os.pread(file, os.fstat(file).st_size, 0)
        os.close(file)
        self._file = -1
        return found

    # What the hook calls

    def opened(self, path: Any, flags: int) -> None:
        """A file was opened, by Python."""
        if type(path) is not str:
            if isinstance(path, int):
                return
            path = os.fsdecode(path)
        if path in self._known:
            return
        is_plain = path[:1] == "/" and "/.." not in path and "/./" not in path and "//" not in path
        full = path if is_plain else os.path.abspath(path)
        if not full.startswith(self._folders) and full not in self._files:
            folder, _, name = full.rpartition("/")
            real = self._real.get(folder)
            if real is None:
                real = self._look_at_folder(folder)
            if not real:
                return
            full = real + name
        if full not in self._known and not full.startswith(self._without) and not _is_no_reader():
            self._note_open(full, flags)

    def renamed(self, target: Any) -> None:
        """A file has got a name: what the run made, it does not read."""
        full = os.path.abspath(os.fsdecode(target))
        if not full.startswith(self._folders):
            full = self._look_at_folder(os.path.dirname(full)) + os.path.basename(full)
        if full.startswith(self._folders) and full not in self._known and not _is_no_reader():
            self._note(full, {"written": _text(full)})

    def _look_at_folder(self, folder: str) -> str:
        """Where a folder outside of the roots really is, with a slash, if links lead into one of them; else nothing."""
        real = os.path.join(os.path.realpath(folder), "")
        if len(self._real) >= MOST_FILES:
            self._real.clear()
        found = real if real.startswith(self._folders) else ""
        self._real[folder] = found
        return found

    def requested(self, url: str, size: Any = None, *, is_s3: bool = False) -> None:
        """A URL was read; of an S3 service, wherever that is, its s3:// address counts as well."""
        if not self._urls:
            return
        for uri in _uris(url, is_s3=is_s3):
            if any(uri == root or uri.startswith(f"{root}/") for root in self._urls):
                if uri not in self._known and not _is_no_reader():
                    said = {"size": size} if isinstance(size, int) else {}
                    self._note(uri, {"read": _text(uri), **said})
                return

    def downloaded(self, folder: str, version: str) -> None:
        """Lineart has put a version's files into a folder."""
        self._write({"t": time.time_ns(), "download": _text(os.path.abspath(folder)), "version": version})

    def look_at_held(self) -> None:
        """Note files that this process holds open or mapped: native code opens them without a word (Linux)."""
        if not self._folders:
            return
        with contextlib.suppress(OSError):
            for name in os.listdir("/proc/self/fd"):
                with contextlib.suppress(OSError, ValueError):
                    target = os.readlink(f"/proc/self/fd/{name}")
                    if target.startswith(self._folders) and target not in self._known:
                        self._note_held(target, _flags_of(name))
        with contextlib.suppress(OSError), Path("/proc/self/maps").open("rb") as maps:
            for row in maps:
                target = os.fsdecode(row[row.find(b"/") :].rstrip(b"\n")) if b"/" in row else ""
                if target.startswith(self._folders) and target not in self._known and b" r" in row:
                    self._note_held(target, os.O_RDWR if b" rw-s " in row else os.O_RDONLY)

    def _note_held(self, path: str, flags: int) -> None:
        if path.startswith(self._without):
            return
        if flags & os.O_RDWR and os.stat(path).st_mtime_ns >= self._since_ns:
            self._note(
                path, {"written": _text(path)}
            )  # nobody saw how it was opened: it has changed meanwhile
        else:
            self._note_open(path, flags)

    def end(self, reason: str) -> None:
        """Give up, and say so once: the work goes on."""
        self._leave()
        with contextlib.suppress(OSError):
            self._write({"ended": reason})
        _log.warning("run %s: its inputs are no longer observed (%s); going on", self._path, reason)

    def _leave(self) -> None:
        global _observing  # noqa: PLW0603 - the hook is one of the process
        _observing = tuple(observer for observer in _observing if observer is not self)

    def _note_open(self, full: str, flags: int) -> None:
        try:
            found = os.stat(full)
        except OSError:
            found = None  # it is about to be made, or is relative to a folder that we do not know
        makes = (
            flags & os.O_WRONLY or flags & os.O_TRUNC or (flags & os.O_RDWR and not (found and found.st_size))
        )
        if makes:
            self._note(full, {"written": _text(full)})
        elif found is not None and stat.S_ISREG(found.st_mode):
            self._note(full, {"read": _text(full), "size": found.st_size, "mtime": found.st_mtime_ns})

    def _note(self, key: str, line: dict[str, Any]) -> None:
        if len(self._known) >= MOST_FILES:
            self._more += 1
            if self._more & (self._more - 1) == 0:  # 1, 2, 4, …: near enough, and few lines
                self._write({"pid": os.getpid(), "more": self._more})
            return
        self._known[key] = None
        self._write({"t": time.time_ns(), **line})

    def _write(self, line: dict[str, Any]) -> None:
        os.write(self._descriptor(), orjson.dumps(line) + b"\n")

    def _descriptor(self) -> int:
        """Our file, opened again when somebody closed it: a daemon closes all that it has, and the number goes on."""
        try:
            found = os.fstat(self._file)
            if (found.st_dev, found.st_ino) == self._identity:
                return self._file
        except OSError:
            pass  # its number was not used again
        self._file = os.open(self._log_path, _LOG_FLAGS)
        found = os.fstat(self._file)
        self._identity = found.st_dev, found.st_ino
        return self._file


def _flags_of(descriptor: str) -> int:
    said = Path(f"/proc/self/fdinfo/{descriptor}").read_text(encoding="ascii")
    return int(said.partition("flags:")[2].split()[0], 8)


def note_download(folder: str, version: str) -> None:
    """Say to all who observe that files of `version` were put into `folder`. Raises nothing."""
    for observer in _observing:
        _guarded(observer, observer.downloaded, folder, version)


def look_at_held(observer: Observer) -> None:
    """As `Observer.look_at_held`, for a chore. Raises nothing."""
    if observer in _observing:
        _guarded(observer, observer.look_at_held)


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if event == "open":
        for observer in _observing:
            try:
                observer.opened(args[0], args[2])
            except (
                Exception
            ) as error:  # whatever it is, it must not come out of the user's open(): told, and over
                observer.end(f"{type(error).__name__}: {error}")
    elif event in _OTHER_EVENTS:
        for observer in _observing:
            _guarded(observer, _take, observer, event, args)


def _take(observer: Observer, event: str, args: tuple[Any, ...]) -> None:
    if event == "os.rename":
        observer.renamed(args[1])
    elif event == "sqlite3.connect":
        _connected(observer, args[0])
    elif event == "urllib.Request":
        if args[3] == "GET":
            observer.requested(args[0])
    elif isinstance(args[1], bytes) and args[1].startswith(b"GET "):
        _sent(observer, args[0], args[1])


def _connected(observer: Observer, database: Any) -> None:
    """A database of SQLite: native code opens it, for reading and writing unless its URI says other."""
    if not isinstance(database, str | bytes | os.PathLike):
        return  # SQLite will refuse it
    path, flags = os.fsdecode(database), os.O_RDWR
    if path.startswith("file:") and not os.path.exists(path):
        address = urlsplit(path)
        asked = parse_qs(address.query)
        path = unquote(address.path)
        if "memory" in asked.get("mode", ()):
            return
        if "ro" in asked.get("mode", ()) or "immutable" in asked:
            flags = os.O_RDONLY
    if path not in ("", ":memory:"):
        observer.opened(path, flags)


def _sent(observer: Observer, connection: Any, head: bytes) -> None:
    """A request with this head; through a proxy that tunnels, to who is behind it."""
    target = head[4 : head.find(b" ", 4)].decode("latin-1")
    scheme = "https" if connection.default_port == 443 else "http"
    host, port = connection.host, connection.port
    if tunnelled := getattr(connection, "_tunnel_host", None):
        host, port = tunnelled, getattr(connection, "_tunnel_port", None) or connection.default_port
    shown = "" if port == connection.default_port else f":{port}"
    url = target if "://" in target else f"{scheme}://{host}{shown}{target}"
    observer.requested(url, is_s3=_SIGNED_FOR_S3.search(head) is not None)


def _guarded(observer: Observer, what: Callable[..., None], *given: Any) -> None:
    try:
        what(*given)
    except Exception as error:  # observation must never break the work that it watches: told, and over
        observer.end(f"{type(error).__name__}: {error}")


def _is_no_reader() -> bool:
    """Whether Lineart itself opens the file (to store it, or for a download), or the import system."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        top = name.partition(".")[0]
        if name != __name__:  # else our wrapper around fsspec
            if top == _OURS or top in _CODE:
                return True
            if top not in _THROUGH:
                return False
        frame = frame.f_back
    return False


def _uris(url: str, *, is_s3: bool = False) -> list[str]:
    """A URL without user, query and fragment, which may have secrets in them; of S3 the s3:// address, too.

    Of an S3 service at another place than AWS (`is_s3`) the bucket may stand in the path or before the host.

    >>> _uris("https://raw.s3.eu-west-1.amazonaws.com/a.csv?X-Amz-Signature=0f")
    ['https://raw.s3.eu-west-1.amazonaws.com/a.csv', 's3://raw/a.csv']
    """
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    uris = [f"{parts.scheme}://{host}{parts.path}"]
    if host.endswith(".amazonaws.com"):
        bucket, dot, rest = host.partition(".s3")
        if dot and rest[:1] in ".-":
            uris.append(f"s3://{bucket}{parts.path}")
        elif host.startswith(("s3.", "s3-")):
            uris.append(f"s3:/{parts.path}")
    elif is_s3:
        uris += [f"s3:/{parts.path}", f"s3://{host.partition('.')[0]}{parts.path}"]
    return uris


def _text(path: str) -> str:
    """A path as JSON can hold it: bytes that are no UTF-8 are escaped as Python shows them."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _wrap_fsspec() -> None:
    """See what is read through fsspec: `open` of a file system, and the calls that a client makes in its loop."""
    global _wraps_fsspec  # noqa: PLW0603 - once a process
    if _wraps_fsspec:
        return
    _wraps_fsspec = True
    from fsspec import asyn, spec

    plain_open, plain_sync = spec.AbstractFileSystem.open, asyn.sync

    def opened(self: Any, path: Any, mode: str = "rb", *given: Any, **named: Any) -> Any:
        stream = plain_open(self, path, mode, *given, **named)
        if _observing and "r" in mode:
            _tell(self, path, getattr(stream, "size", None))
        return stream

    def synced(loop: Any, func: Any, *given: Any, **named: Any) -> Any:
        if _observing and getattr(func, "__name__", "") in _FSSPEC_READS and given:
            _tell(getattr(func, "__self__", None), given[0], None)
        return plain_sync(loop, func, *given, **named)

    spec.AbstractFileSystem.open = opened
    asyn.sync = synced


def _tell(system: Any, paths: Any, size: Any) -> None:
    for observer in _observing:
        _guarded(observer, _requested, observer, system, paths, size)


def _requested(observer: Observer, system: Any, paths: Any, size: Any) -> None:
    protocol = system.protocol if isinstance(system.protocol, str) else system.protocol[0]
    if protocol in ("file", "local", "memory", "art"):
        return
    for path in [paths] if isinstance(paths, str) else paths:
        observer.requested(str(path) if "://" in str(path) else f"{protocol}://{path}", size)
