"""The store's own log, ``store/log/``: which projects there are, which plans, which packs took the place of others.

A project is entered here before its first transaction, and that transaction takes over all plans that stand here.
So a plan that is entered later finds the project, and one that was entered before is known to all its writers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rpds import HashTrieMap

from .actor import this_actor, utc_now
from .commit import Committer
from .condemned import Condemned
from .digest import is_hex_digest
from .errors import FormatError, IntegrityError
from .gc import check_plan_id
from .log import Log, Position
from .transaction import FORMAT, Op, Transaction

PREFIX = "store/"
_PROJECT = re.compile(r"[^/]+/[^/]+\Z")


def _no_projects() -> HashTrieMap[str, None]:
    return HashTrieMap()


def _no_packs() -> HashTrieMap[str, tuple[str, ...]]:
    return HashTrieMap()


@dataclass(frozen=True, slots=True)
class StoreState:
    """What the log says; `newer` names what a newer client wrote that this one does not understand."""

    projects: HashTrieMap[str, None] = field(default_factory=_no_projects)  # "entity/project"
    plans: tuple[str, ...] = ()
    replaced: HashTrieMap[str, tuple[str, ...]] = field(default_factory=_no_packs)  # pack → its successors
    newer: str | None = None


class StoreFold:
    """The fold as the committer wants it."""

    def apply(self, state: StoreState, transaction: Transaction) -> StoreState:
        """The state after `transaction`. Raises: IntegrityError for a malformed op."""
        if transaction.format > FORMAT:
            return replace(state, newer=f"format {transaction.format} in transaction {transaction.seq}")
        for op in transaction.ops:
            try:
                state = _apply_op(state, op, transaction)
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                raise IntegrityError(
                    f"transaction {transaction.seq} of the store: op {str(op)[:200]} is malformed ({error!r})"
                ) from error
        return state


def _apply_op(state: StoreState, op: Op, transaction: Transaction) -> StoreState:
    match op["op"]:
        case "store.create":  # the first of a log that lies in a database
            return state
        case "project.create":
            if not _PROJECT.match(op["project"]):
                raise ValueError(f"project {op['project'][:80]!r}: expected entity/project")
            return replace(state, projects=state.projects.insert(op["project"], None))
        case "gc.condemn":
            plan = check_plan_id(op["plan"])
            return state if plan in state.plans else replace(state, plans=(*state.plans, plan))
        case "packs.replace":
            replaced = state.replaced
            for old, new in op["packs"].items():
                if not all(map(is_hex_digest, (old, *new))):
                    raise ValueError(f"packs {str((old, *new))[:80]}: expected digests")
                replaced = replaced.insert(old, tuple(sorted({*replaced.get(old, ()), *new})))
            return replace(state, replaced=replaced)
        case name:
            return replace(state, newer=f"op {name!r} in transaction {transaction.seq} of its own log")


class StoreLog:
    """The log and its folded state. Shared by threads; usable after `fork`."""

    def __init__(self, log: Log, *, now: Callable[[], str] = utc_now) -> None:
        self._log = log
        self._now = now
        self._committer: Committer[StoreState] | None = None

    def state(self) -> StoreState:
        """The newest state. Raises: CommError, IntegrityError."""
        return self._open().refresh()

    def register(self, project: str) -> StoreState:
        """Enter ``entity/project``; a state in which it stands. Raises: FormatError, StoreError, CommError."""

        def decide(state: StoreState) -> Sequence[Op]:
            self._check(state)
            return [] if project in state.projects else [{"op": "project.create", "project": project}]

        self._open().commit(decide)
        return self.state()

    def condemn(self, plan: str) -> StoreState:
        """Enter a plan; a state in which it stands. Raises: FormatError, StoreError, CommError."""

        def decide(state: StoreState) -> Sequence[Op]:
            self._check(state)
            return [] if plan in state.plans else [{"op": "gc.condemn", "plan": plan}]

        self._open().commit(decide)
        return self.state()

    def replace(self, packs: Mapping[str, Iterable[str]], condemned: Condemned) -> None:
        """Enter that what is needed of some packs lies in others, too.

        Raises: PacksCondemned when one of the others is being collected: copy again; FormatError, StoreError,
        CommError.
        """
        named = {bytes.fromhex(pack) for successors in packs.values() for pack in successors}

        def decide(state: StoreState) -> Sequence[Op]:
            self._check(state)
            if condemned.unchecked(state.plans):
                raise _UncheckedPlans(state.plans)
            condemned.demand_free(named)
            added = {
                old: sorted(new)
                for old, successors in packs.items()
                if (new := set(successors) - {old} - set(state.replaced.get(old, ())))
            }
            return [{"op": "packs.replace", "packs": added}] if added else []

        while True:
            try:
                self._open().commit(decide)
                return
            except _UncheckedPlans as found:
                condemned.check(found.plans)

    def successors(self, pack: bytes) -> list[bytes]:
        """The packs that hold what was needed of a pack that was compacted; none for one that was not."""
        return [bytes.fromhex(found) for found in self.state().replaced.get(pack.hex(), ())]

    def _check(self, state: StoreState) -> None:
        if state.newer is not None:
            raise FormatError(
                f"the store has {state.newer}, written by a newer lineart; upgrade to write here"
            )

    def _open(self) -> Committer[StoreState]:
        if self._committer is None:
            state, position = StoreState(), Position()
            for entry in self._log.read_after(position):
                state, position = StoreFold().apply(state, entry.transaction), entry.position
            self._log.demand_no_hole(position)
            self._committer = Committer(
                self._log,
                StoreFold(),
                state,
                position,
                actor=this_actor(),
                now=self._now,
                on_sealed=lambda state, position: None,
            )
        return self._committer


class _UncheckedPlans(Exception):
    """Told to the loop of `replace` alone."""

    def __init__(self, plans: Sequence[str]) -> None:
        super().__init__()
        self.plans = plans
