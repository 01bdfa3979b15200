"""A commit that goes ahead of its upload: first into a *lane*, a small outbox on this machine, then into the store.

What is written through a `LaneBackend` lies in the lane, durably, and reads see the lane first, then the store, which
answers as usual. A lane has one commit; its process sends it while the work goes on. A process that was killed has left
the lane, and whoever sends the outbox sends it (`tracking.syncing`).
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from .backend import Backend, Stat
from .errors import NotFoundError
from .overlay import Outbox, OverlayBackend

__all__ = ["LaneBackend"]

Upload = Callable[[str, Path], "Future[int]"]


class LaneBackend(OverlayBackend):
    """Over the backend of a store that answers. See the module.

    `upload` begins to send a pack as soon as it is sealed, from a file that it removes; `ahead` has what it returned.
    """

    def __init__(self, inner: Backend, lane: Outbox, upload: Upload) -> None:
        super().__init__(inner, lane, offline=True, falls_back=False)
        self._upload = upload
        self.ahead: dict[str, Future[int]] = {}

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        with contextlib.suppress(NotFoundError):
            return self._local.read(key, start, length)
        if self.is_of_log(key):
            raise self._unknown(key)
        return self._inner.read(key, start, length)

    def stat(self, key: str) -> Stat:
        with contextlib.suppress(NotFoundError):
            return self._local.stat(key)
        return self._inner.stat(key)

    def write_file(self, key: str, path: Path) -> None:
        super().write_file(key, path)
        if key.startswith("packs/"):
            self.ahead[key] = self._upload(key, linked_copy(self.outbox.current / key, self.staging()))


def linked_copy(path: Path, staging: Path) -> Path:
    """The file at `path` once more, in `staging`, for a backend that takes it away; no byte is copied."""
    copy = staging / secrets.token_hex(8)
    os.link(path, copy)
    return copy
