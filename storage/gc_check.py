"""Checking what the collection of garbage has in a store: plans, final lists, and what says that they are done."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from .backend import Backend
from .bounded import read_bounded
from .errors import ConflictError, Error, FormatError, IntegrityError, NotFoundError
from .gc import (
    DONE,
    LIMIT_BYTES,
    PLAN_KEY,
    PLANS,
    Final,
    Plan,
    PlannedPack,
    create_final,
    decode_final,
    decode_plan,
    done_key,
    final_key,
    plan_key,
    read_final,
)
from .problem import Problem
from .sealed import check_seal

_PARALLEL_READS = 8


@dataclass(slots=True)
class PlanCheck:
    """What is there. Plans by id; a damaged one is None."""

    plans: dict[str, Plan | None] = field(default_factory=dict)
    finals: dict[str, Final | None] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def collected_packs(self) -> set[str]:
        """Packs that final lists name."""
        return {pack for final in self.finals.values() if final is not None for pack in final.packs}

    @property
    def collected_keys(self) -> set[str]:
        """Keys of deleted runs that are gone, or are going."""
        return {key for final in self.finals.values() if final is not None for key in final.keys}


def check_plans(backend: Backend, keys: Iterable[str]) -> PlanCheck:
    """Read everything among `keys`, which begin with ``gc/``. Raises: CommError, StoreError."""
    found = PlanCheck()
    known = []
    for key in keys:
        match = PLAN_KEY.match(key.removeprefix(PLANS)) if key.startswith(PLANS) else None
        if match is None:
            found.unknown.append(key)
        else:
            known.append((key, match["id"], match["kind"] or ""))

    def read(item: tuple[str, str, str]) -> Plan | Final | Error | None:
        key, plan, kind = item
        try:
            return _decoded(read_bounded(backend, key, LIMIT_BYTES), plan, kind)
        except (IntegrityError, FormatError, NotFoundError) as error:
            return error

    with ThreadPoolExecutor(_PARALLEL_READS, "lineart-plans") as pool:
        for (key, plan, kind), value in zip(known, pool.map(read, known), strict=True):
            if kind == ".done":
                found.done.add(plan)
            elif kind == ".final":
                found.finals[plan] = value if isinstance(value, Final) else None
            else:
                found.plans[plan] = value if isinstance(value, Plan) else None
            if isinstance(value, FormatError):
                found.undecided.append(str(value))
            elif isinstance(value, Error):
                found.problems.append(Problem("plan", key, value, is_advisory=kind == ".done"))
    for plan in sorted(found.done - found.finals.keys()):
        error = NotFoundError(f"final list of plan {plan} is missing, and the plan is done; {_RESTORE}")
        found.problems.append(Problem("plan", final_key(plan), error))
    return found


_RESTORE = 'restore it from a copy: "art verify --all --repair-from STORE"'


def _decoded(data: bytes, plan: str, kind: str) -> Plan | Final | None:
    if kind == ".final":
        return decode_final(data, plan)
    if not kind:
        return decode_plan(data, plan)
    try:
        check_seal(data)
    except IntegrityError as error:
        raise IntegrityError(f"{done_key(plan)}: {error}") from error
    if not data.startswith(b'{"format":1'):
        raise IntegrityError(f"{done_key(plan)}: it is not what a collector writes")
    return None


def check_named(backend: Backend, found: PlanCheck, named: Collection[str]) -> None:
    """Add to `found` the plans that logs name and that are not there: who wants to commit has to read them."""
    for plan in sorted(set(named) - found.plans.keys()):
        try:
            backend.stat(plan_key(plan))  # it may have been made since the keys were listed
        except NotFoundError:
            error = NotFoundError(f"plan {plan} is missing, and logs name it; {_RESTORE}")
            found.problems.append(Problem("plan", plan_key(plan), error))


def repair_plan(backend: Backend, key: str, copies: Iterable[Backend], *, times: Mapping[str, str]) -> str:
    """Put a damaged or missing value of a plan back, or what does no harm; how, ``""`` when that is not possible.

    `copies` are copies of this very store; `times` says when plans were entered in the log. Raises: CommError,
    StoreError.
    """
    match = PLAN_KEY.match(key.removeprefix(PLANS))
    if match is None:
        return ""
    plan, kind = match["id"], match["kind"] or ""
    for copy in copies:
        try:
            data = read_bounded(copy, key, LIMIT_BYTES)
            _decoded(data, plan, kind)
        except Error:
            continue  # it is damaged there, too, or was never there
        if kind != ".done" or data == DONE:
            backend.write(key, data)
            return "put back from a copy"
    if kind == ".done":
        backend.delete([key])
        return "removed; the next collection makes it again"
    if kind == ".final":
        return ""  # what has been deleted, or may be at any time by who has read it, nobody else knows
    try:
        final = read_final(backend, plan) or create_final(
            backend, Final(plan, cancelled="the plan was damaged")
        )
    except (Error, ConflictError):
        return ""  # the final list first
    packs = [PlannedPack(pack, 0, "dead") for pack in final.packs]
    backend.write(key, Plan(plan, times.get(plan, ""), packs, ()).encode())
    return "made again from its final list" if final.cancelled is None else "cancelled; it deletes nothing"
