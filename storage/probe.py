"""Does the store keep the one promise that everything rests on: a conditional create that one caller wins?

Some services that speak S3 ignore the condition header without a word, and a file system that checks and then
writes keeps the promise until two callers meet. Both would lose commits, so a store on them is refused.
"""

from __future__ import annotations

import contextlib
import secrets
import threading

from .backend import Backend
from .errors import ConflictError, Error, NotFoundError, StoreError

__all__ = ["probe_conditional_create"]

_CALLERS = 8
_ROUNDS = 4  # check-then-write may survive one race by luck
_BARRIER_S = 60.0  # all callers are threads of ours: this ends a probe only if the process is starved


def probe_conditional_create(backend: Backend) -> None:
    """Create keys twice in a row and eight at once below ``probe/``, and delete them again.

    A caller told that the key is taken by what turns out to be its own value has won: its first answer was lost.
    Raises: StoreError when not exactly one caller wins, or when the value is not the winner's; CommError.
    """
    folder = f"probe/{secrets.token_hex(8)}"
    races = [f"{folder}/race-{number}" for number in range(_ROUNDS)]
    keys = [f"{folder}/step", *races]
    try:
        _step(backend, keys[0])
        for key in races:
            _race(backend, key)
    except Error:
        with contextlib.suppress(Error):  # why the probe failed says more than why its keys stay behind
            backend.delete(keys)
        raise
    backend.delete(keys)


def _step(backend: Backend, key: str) -> None:
    if not _wins(backend, key, b"first"):
        raise _refusal(backend, f"said that the fresh key {key!r} is taken")
    if _wins(backend, key, b"second"):
        raise _refusal(backend, f"let {key!r} be created twice")
    if (value := backend.read(key)) != b"first":
        raise _refusal(backend, f"replaced the value of {key!r} by {value[:20]!r} although it was taken")


def _race(backend: Backend, key: str) -> None:
    start = threading.Barrier(_CALLERS)
    winners: list[bytes] = []
    failures: list[BaseException] = []

    def create(value: bytes) -> None:
        try:
            start.wait(_BARRIER_S)
            if _wins(backend, key, value):
                winners.append(value)
        except BaseException as error:
            failures.append(error)  # raised again below, in the caller's thread

    threads = [
        threading.Thread(target=create, args=(f"caller {number}".encode(),), name=f"probe-{number}")
        for number in range(_CALLERS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    if len(winners) != 1:
        raise _refusal(backend, f"let {len(winners)} of {_CALLERS} callers create {key!r}")
    if (value := backend.read(key)) != winners[0]:
        raise _refusal(backend, f"holds {value[:20]!r} under {key!r}, created by {winners[0]!r}")


def _wins(backend: Backend, key: str, value: bytes) -> bool:
    """Whether `value` was created, by what the answer says or, after a lost answer, by what is there."""
    try:
        backend.create(key, value)
    except ConflictError:
        try:
            return backend.read(key) == value
        except NotFoundError:
            return False
    return True


def _refusal(backend: Backend, what: str) -> StoreError:
    return StoreError(
        f"{backend.url} {what}: the service ignores conditional create (If-None-Match: *), so commits of several"
        " writers would be lost; use a service that honours it"
    )
