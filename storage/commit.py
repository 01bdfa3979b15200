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

from .errors import ConflictError, Error, UsageError
from .log import FOLDER_ENTRIES, Log, Position
from .transaction import MAX_BYTES, Op, Transaction, canonical_json

S = TypeVar("S")
_ATTEMPTS = 1000  # each lost race means that somebody else has won it
_SHARED = 256  # callers whose ops go into one transaction
_SHARED_BYTES = MAX_BYTES // 2  # … and of how many bytes; one caller may have as many
_MAX_PAUSE_S = 0.05
_LEVELS = (
    100  # of lists and dictionaries in an op: what one process can just write, another might just not read
)
_LOOK_AGAIN_S = 0.05  # if the thread that should have woken us was interrupted


class Fold(Protocol[S]):
    """The pure rules of a log: what a transaction does to the state."""

    def apply(self, state: S, transaction: Transaction) -> S:
        """The state after `transaction`; `state` itself is unchanged."""
        ...


@dataclass(slots=True, eq=False)  # two callers with the same wish are still two
class _Request(Generic[S]):
    decide: Callable[[S], Sequence[Op]]
    done: bool = False
    ops: Sequence[Op] = ()
    error: Exception | None = field(default=None)
    woken: threading.Event = field(default_factory=threading.Event)


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
        self._head = (
            state,
            position,
        )  # one value: an interrupt or a fork must not find one without the other
        self._sent: tuple[str, list[tuple[_Request[S], Sequence[Op]]]] = (
            "",
            [],
        )  # the last try: its id, its callers
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
        return self._head[1]

    @property
    def state(self) -> S:
        """What is folded so far."""
        return self._head[0]

    def refresh(self) -> S:
        """The state of now: everything that was committed before this call is in it."""
        self._after_fork()
        try:
            with self._commit_lock:
                self._catch_up()
                return self._head[0]
        finally:
            self._wake(())

    def commit(self, decide: Callable[[S], Sequence[Op]]) -> Sequence[Op]:
        """Append the ops that `decide` returns for the newest state; returns them once they are committed.

        `decide` is pure and may be called again, with a newer state, after a lost race. No ops, no transaction.
        What it raises comes out of here, and nothing is committed.
        """
        self._after_fork()
        request = _Request(decide)
        with self._waiting_lock:
            self._waiting.append(request)
        while not request.done:
            held: list[bool] = []
            batch: list[_Request[S]] = []
            try:
                # Who is served must not queue for the lock behind the next commit, so nobody blocks on it. Taken and
                # noted in one call: an interrupt, which comes between two, leaves no lock that nobody knows of.
                held.extend(map(self._commit_lock.acquire, (False,)))
                if True in held:
                    batch = self._take_up(request)
                    self._commit_for(batch)
            finally:
                if True in held:
                    self._commit_lock.release()
                    self._wake(batch)
            if True not in held:
                request.woken.wait(_LOOK_AGAIN_S)
                request.woken.clear()
        if request.error is not None:
            raise request.error
        return request.ops

    def _take_up(self, request: _Request[S]) -> list[_Request[S]]:
        """The callers whose ops go into the next transaction: those that wait, and `request` in any case."""
        if request.done:
            return []
        with self._waiting_lock:
            batch, self._waiting = self._waiting[:_SHARED], self._waiting[_SHARED:]
            if request not in batch:
                batch.append(request)
            if request in self._waiting:  # not if an interrupted thread had taken it up
                self._waiting.remove(request)
        return batch

    def _commit_for(self, batch: Sequence[_Request[S]]) -> None:
        try:
            if batch:
                self._commit(batch)
        except Exception as error:  # the store failed: every caller of the batch has to know
            for member in batch:
                if not member.done:
                    member.done, member.error = True, error

    def _wake(self, served: Sequence[_Request[S]]) -> None:
        """After the lock was released: those that are served, and one who takes the lock next."""
        for request in served:
            request.woken.set()
        with self._waiting_lock:
            following = self._waiting[:1]
        for request in following:
            request.woken.set()

    def _catch_up(self) -> None:
        for entry in self._log.read_after(self._head[1]):
            state = self._fold.apply(self._head[0], entry.transaction)
            if entry.transaction.id == self._sent[0]:  # ours, by a thread that was interrupted
                self._settle()
            self._head = (state, entry.position)

    def _settle(self) -> None:
        """The last try is in the log: tell its callers."""
        for request, ops in self._sent[1]:
            request.done, request.ops = True, ops

    def _commit(self, batch: Sequence[_Request[S]]) -> None:
        """All of `batch`, in one transaction if it is not too long."""
        left: Sequence[_Request[S]] | None = batch
        while left:
            identity = uuid.uuid4().hex
            for attempt in range(_ATTEMPTS):
                after = self._try_commit(left, identity)
                if after is not None:
                    break
                time.sleep(random.uniform(0, min(_MAX_PAUSE_S, 0.001 * 2 ** min(attempt, 10))))
            else:
                raise ConflictError(
                    f"{self._log.prefix}log: lost {_ATTEMPTS} races for the next number; try again"
                )
            for request in left:
                request.done = request not in after
            left = after

    def _try_commit(self, batch: Sequence[_Request[S]], identity: str) -> Sequence[_Request[S]] | None:
        """Read, decide, create: those that did not fit. None when somebody else has created that number first."""
        with self._log.turn():
            self._catch_up()
            transaction, state, accepted, left = self._decide(batch, identity)
            if not transaction.ops:
                return left
            self._sent = (identity, accepted)
            try:
                position = self._log.append(transaction)
            except ConflictError:
                return None
        self._settle()
        self._head = (state, position)
        if position.seq % FOLDER_ENTRIES == FOLDER_ENTRIES - 1:
            self._seal()
        return left

    def _decide(
        self, batch: Sequence[_Request[S]], identity: str
    ) -> tuple[Transaction, S, list[tuple[_Request[S], Sequence[Op]]], Sequence[_Request[S]]]:
        """Ask each caller in turn, each on the state that the ones before it leave; also who did not fit."""
        (state, position), all_ops, time_now = self._head, list[Op](), self._now()
        size_bytes = 0
        accepted: list[tuple[_Request[S], Sequence[Op]]] = []

        def transaction(ops: Sequence[Op]) -> Transaction:
            return Transaction(position.seq + 1, identity, time_now, self._actor, position.digest, ops)

        for number, request in enumerate(batch):
            if request.done:
                continue
            request.error = None
            try:
                ops = list(request.decide(state))
                if ops:
                    ops_bytes = _check_json(ops)
                    if accepted and size_bytes + ops_bytes > _SHARED_BYTES:
                        return transaction(all_ops), state, accepted, batch[number:]
                    size_bytes += ops_bytes
                    state = self._fold.apply(state, transaction(ops))
            except Exception as error:  # of this caller alone; raised in its thread
                request.error = error
                continue
            all_ops += ops
            accepted.append((request, ops))
        return transaction(all_ops), state, accepted, ()

    def _seal(self) -> None:
        """Segment and checkpoint are advisory: the commit stands whether they can be written or not."""
        try:
            state, position = self._head
            self._log.seal(position.seq // FOLDER_ENTRIES)
            self._on_sealed(state, position)
        except Error:
            return  # the next client that fills a folder writes the next one


def _check_json(ops: Sequence[Op]) -> int:
    """The bytes of some ops.

    Refuses what cannot be written while it is one caller's error, not that of all who share the transaction.
    """
    try:
        if any(_is_deeper(op, _LEVELS) for op in ops):
            raise ValueError(f"more than {_LEVELS} levels")
        size_bytes = len(canonical_json(ops))
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(
            f"{ops[0].get('op')}: {error}; expected JSON values (text, numbers, lists, dictionaries)"
        ) from error
    if size_bytes > _SHARED_BYTES:
        raise UsageError(
            f"{ops[0].get('op')}: {size_bytes} bytes of metadata, expected at most {_SHARED_BYTES};"
            " put them into a file"
        )
    return size_bytes


def _is_deeper(value: object, levels: int) -> bool:
    if isinstance(value, Mapping):
        return levels == 0 or any(_is_deeper(item, levels - 1) for item in value.values())
    if isinstance(value, (list, tuple)):
        return levels == 0 or any(_is_deeper(item, levels - 1) for item in value)
    return False
