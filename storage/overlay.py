"""A remote store that may be out of reach: what is written then lies in a folder here, the *outbox*, as in a store.

While the store answers, everything goes to it. From the first answer that does not come (or from the start, offline)
the outbox takes all that is written, and reads see the outbox first, then what the machine has cached. A log goes on in
the outbox behind its newest entry that was known; whoever sends the outbox later commits these transactions anew.

::

    <outbox>/current/…        keys as in a store: packs, logs behind `base`, runs
    <outbox>/base/…           for each log the folded state that the outbox goes on from
    <outbox>/sending/<id>/…   an outbox that is being sent; nobody writes to it any more
    <outbox>/writers.lock     held, shared, by every process that writes offline
    <outbox>/lanes/<id>/…     an outbox of one commit each, `current` and `writers.lock`; see `storage.lanes`
"""

from __future__ import annotations

import builtins
import contextlib
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from .backend import Backend, Buffer, Stat
from .digest import digest_of
from .errors import CommError, NotFoundError, StoreError
from .flock import lock, open_lock
from .local import LocalBackend
from .notes import Note
from .wrapper import BackendWrapper

__all__ = ["Outbox", "OverlayBackend"]

_STALE_S = 3600.0
_LOG = re.compile(r".*/log/")
_Result = TypeVar("_Result")


class Outbox:
    """The folder of one store's address on this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.current = folder / "current"
        self.sending = folder / "sending"
        self._lanes = folder / "lanes"
        self._held: int | None = None

    @classmethod
    def of(cls, url: str, data: Path) -> Outbox:
        """Of the store at `url`, in the user's data folder."""
        return cls(data / "outbox" / digest_of(url.encode()).hex()[:32])

    def base(self, prefix: str) -> Note:
        """The folded state that a log in the outbox goes on from."""
        return Note(self.current / "base" / digest_of(prefix.encode()).hex()[:40])

    def hold(self) -> None:
        """Say that this process writes to the outbox, until it ends. Raises: StoreError."""
        if self._held is not None:
            return
        descriptor = open_lock(self.folder / "writers.lock")
        lock(descriptor, shared=True)
        self._held = descriptor

    def release(self) -> None:
        """This process writes no more."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether no process writes to the outbox; none begins to meanwhile."""
        descriptor = open_lock(self.folder / "writers.lock")
        try:
            yield lock(descriptor, wait=False)
        finally:
            os.close(descriptor)

    def parts(self) -> list[Path]:
        """The folders whose content is to be sent, oldest first; without the one that is still written to."""
        try:
            return sorted(path for path in self.sending.iterdir() if path.is_dir())
        except OSError:
            return []

    def begin_lane(self) -> Outbox:
        """A new lane, held by this process. Raises: StoreError."""
        name = f"{time.time_ns():020}-{secrets.token_hex(4)}"
        made = Outbox(self._lanes / f".{name}")  # nobody touches it until it is held
        made.hold()
        lane = Outbox(self._lanes / name)
        try:
            made.folder.rename(lane.folder)
        except OSError as error:
            made.remove()
            raise StoreError(f"outbox {lane.folder}: {error.strerror or error}; make room for it") from error
        lane._held, made._held = made._held, None
        return lane

    def lanes(self) -> list[Outbox]:
        """All lanes, oldest first, also those that are held."""
        try:
            folders = sorted(self._lanes.iterdir(), key=lambda path: path.name)
        except OSError:
            return []
        for folder in folders:
            with contextlib.suppress(OSError):  # gone by itself
                if folder.name.startswith(".") and time.time() - folder.stat().st_mtime > _STALE_S:
                    shutil.rmtree(folder)  # its process was killed before it was a lane
        return [Outbox(folder) for folder in folders if not folder.name.startswith(".")]

    def has_work(self) -> bool:
        """Whether something was committed in `current`."""
        return any(self.current.rglob("*.json"))

    def remove(self) -> None:
        """Drop the folder and all that is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.release()

    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self.parts() and not self.has_work() and not any(lane.has_work() for lane in self.lanes())

    def size_bytes(self) -> int:
        """Bytes of all that waits."""
        total = 0
        for folder, _, names in os.walk(self.folder):
            for name in names:
                with contextlib.suppress(OSError):
                    total += os.stat(os.path.join(folder, name)).st_size
        return total


class OverlayBackend(BackendWrapper):
    """A remote backend with an outbox over it; see the module.

    `falls_back` says what happens when the store does not answer a write: go on offline, or raise.
    """

    def __init__(self, inner: Backend, outbox: Outbox, *, offline: bool, falls_back: bool) -> None:
        super().__init__(inner)
        self.outbox = outbox
        self.is_offline = False
        self.falls_back = falls_back
        self.on_offline: list[Callable[[CommError | None], object]] = []
        self._local = LocalBackend(outbox.current)
        self._lock = threading.RLock()
        if offline:
            self.go_offline(None)

    def go_offline(self, error: CommError | None) -> None:
        """From now on nothing is asked of the store. Raises: StoreError when the outbox cannot be made."""
        with self._lock:
            if not self.is_offline:
                self.outbox.hold()
                for tell in self.on_offline:
                    tell(error)
                self.is_offline = True

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        if self.is_offline:
            with contextlib.suppress(NotFoundError):
                return self._local.read(key, start, length)
            raise self._unknown(key)
        return self._or_offline(
            lambda: self._inner.read(key, start, length), lambda: self.read(key, start, length)
        )

    def write(self, key: str, data: Buffer) -> None:
        self._or_offline(lambda: self._inner.write(key, data), lambda: self._here().write(key, data))

    def write_file(self, key: str, path: Path) -> None:
        self._or_offline(
            lambda: self._inner.write_file(key, path), lambda: self._here().write_file(key, path)
        )

    def create(self, key: str, data: Buffer) -> None:
        self._or_offline(lambda: self._inner.create(key, data), lambda: self._here().create(key, data))

    def stat(self, key: str) -> Stat:
        if self.is_offline:
            with contextlib.suppress(NotFoundError):
                return self._local.stat(key)
            if key.startswith("packs/"):
                return Stat(key, 0, 0.0)  # known from before; whoever sends the outbox looks
            raise self._unknown(key)
        return self._or_offline(lambda: self._inner.stat(key), lambda: self.stat(key))

    def list(self, prefix: str, start_after: str = "") -> Iterator[Stat]:
        if self.is_offline:
            return self._local.list(prefix, start_after)
        return self._inner.list(prefix, start_after)

    def folders(self, prefix: str) -> builtins.list[str]:
        if self.is_offline:
            return self._local.folders(prefix)
        return self._or_offline(lambda: self._inner.folders(prefix), lambda: self._local.folders(prefix))

    def delete(self, keys: Iterable[str]) -> None:
        doomed = list(keys)
        self._or_offline(lambda: self._inner.delete(doomed), lambda: self._local.delete(doomed))

    def staging(self) -> Path:
        return self._local.staging() if self.is_offline or self.falls_back else self._inner.staging()

    def local_path(self, key: str) -> Path | None:
        return None

    def _here(self) -> LocalBackend:
        """The outbox, to be written to."""
        self.outbox.hold()
        return self._local

    def _or_offline(self, there: Callable[[], _Result], here: Callable[[], _Result]) -> _Result:
        if not self.is_offline:
            try:
                return there()
            except CommError as error:
                if not self.falls_back:
                    raise
                self.go_offline(error)
        return here()

    @staticmethod
    def is_of_log(key: str) -> bool:
        """Whether a key belongs to a log, which goes on here behind its base."""
        return _LOG.match(key) is not None

    def _unknown(self, key: str) -> NotFoundError | CommError:
        if self.is_of_log(
            key
        ):  # behind the newest entry that is known there is none, as far as this machine can tell
            return NotFoundError(f"key {key!r} is not in the outbox")
        return CommError(
            f"{self.url}: offline, and {key!r} is not on this machine; read it while the store answers"
        )
