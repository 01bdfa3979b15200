"""Committing to a log: read the tail, fold it, decide, create the next transaction if absent, else decide again.

Several threads of one process share a commit: whoever gets the lock decides for all that wait (group commit).
The rules of what may be committed are not here; they come in as the fold and as each caller's decision.
"""

from __future__ import annotations

import os
import random
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from .errors import ConflictError, Error
from .log import FOLDER_ENTRIES, Log, Position
from .transaction import Op, Transaction

S = TypeVar("S")
_ATTEMPTS = 1000  # each lost race means that somebody else has won it
_SHARED = 256  # callers whose ops go into one transaction
_MAX_PAUSE_S = 0.05


class Fold(Protocol[S]):
    """The pure rules of a log: what a transaction does to the state."""

    def apply(self, state: S, transaction: Transaction) -> S:
        """The state after `transaction`; `state` itself is unchanged."""
        ...


@dataclass(slots=True)
class _Request(Generic[S]):
    decide: Callable[[S], Sequence[Op]]
    done: bool = False
    ops: Sequence[Op] = ()
    error: Exception | None = field(default=None)


class Committer(Generic[S]):
    """Holds the folded state of one log, keeps it up to date and appends to the log. Shared by threads.

    `on_sealed(state, position)` is called after this client has committed the last entry of a folder.
    """

    def __init__(
        self,
        log: Log,
        fold: Fold[S],
        state: S,
        position: Position,
        *,
        actor: Mapping[str, str],
        now: Callable[[], str],
        on_sealed: Callable[[S, Position], None],
    ) -> None:
        self._log = log
        self._fold = fold
        self._state = state
        self._position = position
        self._actor = dict(actor)
        self._now = now
        self._on_sealed = on_sealed
        self._start_locks()

    def _start_locks(self) -> None:
        self._pid = os.getpid()
        self._waiting: list[_Request[S]] = []
        self._waiting_lock = threading.Lock()
        self._commit_lock = threading.Lock()

    def _after_fork(self) -> None:
        """A lock that another thread held while the process was forked would never be free in the child."""
        if self._pid != os.getpid():
            self._start_locks()

    @property
    def position(self) -> Position:
        """How far the state is folded."""
        return self._position

    def refresh(self) -> S:
        """The state of now: everything that was committed before this call is in it."""
        self._after_fork()
        with self._commit_lock:
            self._catch_up()
            return self._state

    def commit(self, decide: Callable[[S], Sequence[Op]]) -> Sequence[Op]:
        """Append the ops that `decide` returns for the newest state; returns them once they are committed.

        `decide` is pure and may be called again, with a newer state, after a lost race. No ops, no transaction.
        What it raises comes out of here, and nothing is committed.
        """
        self._after_fork()
        request = _Request(decide)
        with self._waiting_lock:
            self._waiting.append(request)
        with self._commit_lock:
            if not request.done:
                with self._waiting_lock:
                    batch, self._waiting = self._waiting[:_SHARED], self._waiting[_SHARED:]
                if request not in batch:
                    batch.append(request)
                    with self._waiting_lock:
                        self._waiting.remove(request)
                try:
                    self._commit(batch)
                except Exception as error:  # the store failed: every caller of the batch has to know
                    for member in batch:
                        if not member.done:
                            member.done, member.error = True, error
        if request.error is not None:
            raise request.error
        return request.ops

    def _catch_up(self) -> None:
        for entry in self._log.read_after(self._position):
            self._state = self._fold.apply(self._state, entry.transaction)
            self._position = entry.position

    def _commit(self, batch: Sequence[_Request[S]]) -> None:
        identity = uuid.uuid4().hex
        for attempt in range(_ATTEMPTS):
            if self._try_commit(batch, identity):
                break
            time.sleep(random.uniform(0, min(_MAX_PAUSE_S, 0.001 * 2 ** min(attempt, 10))))
        else:
            raise ConflictError(
                f"{self._log.prefix}log: lost {_ATTEMPTS} races for the next number; try again"
            )
        for request in batch:
            request.done = True

    def _try_commit(self, batch: Sequence[_Request[S]], identity: str) -> bool:
        """Read, decide, create; False when somebody else has created that number first."""
        with self._log.turn():
            self._catch_up()
            transaction, state, accepted = self._decide(batch, identity)
            if not transaction.ops:
                return True
            try:
                self._position = self._log.append(transaction)
            except ConflictError:
                return False
        self._state = state
        for request, ops in accepted:
            request.done, request.ops = True, ops
        if self._position.seq % FOLDER_ENTRIES == FOLDER_ENTRIES - 1:
            self._seal()
        return True

    def _decide(
        self, batch: Sequence[_Request[S]], identity: str
    ) -> tuple[Transaction, S, list[tuple[_Request[S], Sequence[Op]]]]:
        """Ask each caller in turn, each on the state that the ones before it leave."""
        state, all_ops, time_now = self._state, list[Op](), self._now()
        accepted: list[tuple[_Request[S], Sequence[Op]]] = []

        def transaction(ops: Sequence[Op]) -> Transaction:
            return Transaction(
                self._position.seq + 1, identity, time_now, self._actor, self._position.digest, ops
            )

        for request in batch:
            request.error = None
            try:
                ops = list(request.decide(state))
                if ops:
                    state = self._fold.apply(state, transaction(ops))
            except Exception as error:  # of this caller alone; raised in its thread
                request.error = error
                continue
            all_ops += ops
            accepted.append((request, ops))
        return transaction(all_ops), state, accepted

    def _seal(self) -> None:
        """Segment and checkpoint are advisory: the commit stands whether they can be written or not."""
        try:
            self._log.seal(self._position.seq // FOLDER_ENTRIES)
            self._on_sealed(self._state, self._position)
        except Error:
            return  # the next client that fills a folder writes the next one
