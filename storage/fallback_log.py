"""The logs of a bucket's store in a database, on a machine with an outbox: two servers, either of which may be away.

Packs and transactions go offline together. A transaction that came into the database while its packs lie in an outbox
would name what nobody can read; so from the moment when either does not answer, both go to the outbox, and `art sync`
commits the transactions anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TypeVar

from .errors import CommError
from .log import Log, LogEntry, Logs, Position, Tail
from .overlay import OverlayBackend
from .transaction import Transaction

_Result = TypeVar("_Result")


class FallbackLogs:
    """The logs `there`, in a database, until `overlay` is offline; then those `here`, in the outbox."""

    def __init__(self, there: Logs, here: Logs, overlay: OverlayBackend) -> None:
        self._there = there
        self._here = here
        self._overlay = overlay

    def log(self, prefix: str) -> FallbackLog:
        return FallbackLog(self._there.log(prefix), self._here.log(prefix), self._overlay)

    def projects(self) -> list[tuple[str, str]]:
        return or_offline(self._overlay, self._there.projects, self._here.projects)

    def demand_writable(self) -> None:
        or_offline(self._overlay, self._there.demand_writable, self._here.demand_writable)

    def close(self) -> None:
        self._there.close()


class FallbackLog:
    """One of them."""

    def __init__(self, there: Log, here: Log, overlay: OverlayBackend) -> None:
        self._there = there
        self._here = here
        self._overlay = overlay
        self.prefix = there.prefix

    def read_after(self, position: Position) -> Iterator[LogEntry]:
        if not self._overlay.is_offline:
            try:
                for entry in self._there.read_after(position):
                    yield entry
                    position = entry.position
                return
            except CommError as error:
                _go_offline(self._overlay, error)
        yield from self._here.read_after(position)

    def read_first_folder(self) -> Tail | None:
        """Asked of a store that answers; who asks decides what a CommError means."""
        return self._there.read_first_folder()

    def continue_from(self, position: Position, modified_s: float) -> Tail | None:
        """As above."""
        return self._there.continue_from(position, modified_s)

    def demand_no_hole(self, head: Position) -> None:
        or_offline(
            self._overlay,
            lambda: self._there.demand_no_hole(head),
            lambda: self._here.demand_no_hole(head),
        )

    def append(self, transaction: Transaction) -> Position:
        """If the answer is lost, it is in the outbox too, with the same id, by which `art sync` finds it in the log."""
        return or_offline(
            self._overlay,
            lambda: self._there.append(transaction),
            lambda: self._here.append(transaction),
        )

    def turn(self) -> AbstractContextManager[None]:
        return self._there.turn()

    def seal(self, folder: int) -> None:
        or_offline(self._overlay, lambda: self._there.seal(folder), lambda: self._here.seal(folder))

    def reaches(self, seq: int) -> bool:
        return or_offline(self._overlay, lambda: self._there.reaches(seq), lambda: self._here.reaches(seq))

    def holds(self, position: Position) -> bool:
        return or_offline(
            self._overlay, lambda: self._there.holds(position), lambda: self._here.holds(position)
        )


def or_offline(overlay: OverlayBackend, there: Callable[[], _Result], here: Callable[[], _Result]) -> _Result:
    """What `there` says; if it does not answer, or the store is offline already, what `here` says."""
    if not overlay.is_offline:
        try:
            return there()
        except CommError as error:
            _go_offline(overlay, error)
    return here()


def _go_offline(overlay: OverlayBackend, error: CommError) -> None:
    """Raises: `error` when this process is not to go on without the store."""
    if not overlay.falls_back:
        raise error
    overlay.go_offline(error)
