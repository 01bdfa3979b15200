"""Garbage collection, the part about packs: plans, final lists, and what to put into them. Nothing of what packs mean.

The protocol, and why no committed version can lose an object however long anybody sleeps, is in
docs/decisions/0005-collecting-without-a-clock.md. In short:

1. A *plan* names packs that nothing live needs (or little of which is needed). It is created once.
2. `gc.condemn` in every log says so. Who commits after it, sees it, and names none of the plan's packs.
3. So what is named when the logs are read again is all that ever will be. The *final list* is created once: it
   alone is deleted.
4. Who needs a pack of a plan without a final list creates an empty one: then the plan deletes nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Literal

from .backend import Backend
from .bounded import read_bounded
from .digest import is_hex_digest
from .errors import ConflictError, FormatError, IntegrityError, NotFoundError
from .sealed import check_seal, seal
from .transaction import canonical_json

FORMAT = 1
PLANS = "gc/plans/"
DONE = seal(canonical_json({"format": FORMAT}))
LIMIT_BYTES = 64 * 1024 * 1024  # of a plan or final list
_KEY_OF_A_RUN = re.compile(r"projects/[^/]+/[^/]+/runs/[^/]+/(?!run\.json\Z).")
_PLAN_ID = re.compile(r"[A-Za-z0-9\-]{1,128}\Z")
PLAN_KEY = re.compile(r"(?P<id>[A-Za-z0-9\-]+)(?P<kind>\.final|\.done)?\.json\Z")
_PARALLEL_READS = 16

Reason = Literal["dead", "sparse"]


@dataclass(frozen=True, slots=True)
class PlannedPack:
    """A pack in a plan: ``dead`` when nothing needs it, ``sparse`` when what is needed of it is to be copied first."""

    pack: str
    size_bytes: int
    reason: Reason
    live_bytes: int = 0  # of a sparse one, when the plan was made


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A deleted run that has left keys beside its claim: its full name, their bytes."""

    run: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What a collection wants to delete. `time` is for people and for the grace period; nothing else depends on it."""

    id: str
    time: str
    packs: Sequence[PlannedPack]
    runs: Sequence[PlannedRun]

    def encode(self) -> bytes:
        """The stored form."""
        value = {
            "format": FORMAT,
            "id": self.id,
            "time": self.time,
            "packs": [asdict(pack) for pack in self.packs],
            "runs": [asdict(run) for run in self.runs],
        }
        return seal(canonical_json(value))

    @property
    def size_bytes(self) -> int:
        """All that would be deleted, less what would be copied."""
        packs = sum(pack.size_bytes - pack.live_bytes for pack in self.packs)
        return packs + sum(run.size_bytes for run in self.runs)


@dataclass(frozen=True, slots=True)
class Final:
    """What a plan deletes in the end: packs (hexadecimal) and other keys. `cancelled` says by what it became empty."""

    plan: str
    packs: Sequence[str] = ()
    keys: Sequence[str] = ()
    cancelled: str | None = None

    def encode(self) -> bytes:
        """The stored form."""
        value = {
            "format": FORMAT,
            "plan": self.plan,
            "packs": sorted(self.packs),
            "keys": sorted(self.keys),
            "cancelled": self.cancelled,
        }
        return seal(canonical_json(value))


@dataclass(frozen=True, slots=True)
class PlanStatus:
    """How far a plan has come."""

    id: str
    is_final: bool = False
    is_done: bool = False


def check_plan_id(plan: object) -> str:
    """Raises: ValueError for what cannot be the id of a plan: it is a part of keys."""
    if not isinstance(plan, str) or not _PLAN_ID.match(plan):
        raise ValueError(f"plan {str(plan)[:80]!r}: expected letters, digits and hyphens")
    return plan


def plan_key(plan: str) -> str:
    """The key of a plan."""
    return f"{PLANS}{plan}.json"


def final_key(plan: str) -> str:
    """The key of a plan's final list."""
    return f"{PLANS}{plan}.final.json"


def done_key(plan: str) -> str:
    """The key that says that all of a final list was deleted."""
    return f"{PLANS}{plan}.done.json"


def list_plans(backend: Backend) -> list[PlanStatus]:
    """All plans, the oldest first."""
    kinds: dict[str, set[str]] = {}
    for found in backend.list(PLANS):
        if match := PLAN_KEY.match(found.key[len(PLANS) :]):
            kinds.setdefault(match["id"], set()).add(match["kind"] or "")
    return [PlanStatus(plan, ".final" in found, ".done" in found) for plan, found in sorted(kinds.items())]


def read_plan(backend: Backend, plan: str) -> Plan:
    """Raises: NotFoundError, IntegrityError, FormatError, CommError."""
    return decode_plan(read_bounded(backend, plan_key(plan), LIMIT_BYTES), plan)


def decode_plan(data: bytes, plan: str) -> Plan:
    """The plan in the bytes that are stored under its id. Raises: IntegrityError, FormatError."""
    found = _decoded(data, f"plan {plan}")
    try:
        _demand_text(found["id"], found["time"], *(run["run"] for run in found["runs"]))
        if found["id"] != plan:
            raise ValueError(f"it is plan {found['id'][:80]!r}")
        packs = tuple(PlannedPack(**_known(PlannedPack, fields)) for fields in found["packs"])
        runs = tuple(PlannedRun(**_known(PlannedRun, fields)) for fields in found["runs"])
        _demand_digests(pack.pack for pack in packs)
        return Plan(found["id"], found["time"], packs, runs)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise IntegrityError(f"plan {plan} is damaged ({error!r}); restore it from a copy") from error


def read_final(backend: Backend, plan: str) -> Final | None:
    """The final list of a plan, None as long as there is none. Raises: IntegrityError, FormatError, CommError."""
    try:
        data = read_bounded(backend, final_key(plan), LIMIT_BYTES)
    except NotFoundError:
        return None
    return decode_final(data, plan)


def decode_final(data: bytes, plan: str) -> Final:
    """The final list in the bytes that are stored for a plan. Raises: IntegrityError, FormatError."""
    found = _decoded(data, f"final list of plan {plan}")
    try:
        _demand_digests(found["packs"])
        _demand_text(*found["keys"])
        if not all(map(_KEY_OF_A_RUN.match, found["keys"])):
            raise ValueError("a key is none that a run leaves")
        if found["plan"] != plan:
            raise ValueError(f"it is that of plan {str(found['plan'])[:80]!r}")
        return Final(found["plan"], tuple(found["packs"]), tuple(found["keys"]), found["cancelled"])
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(
            f"final list of plan {plan} is damaged ({error!r}); restore it from a copy"
        ) from error


def create_final(backend: Backend, final: Final) -> Final:
    """Create the final list of a plan, once; the one that is there afterwards, ours or another's."""
    try:
        backend.create(final_key(final.plan), final.encode())
    except ConflictError:
        found = read_final(backend, final.plan)
        if found is None:
            raise
        return found
    return final


def read_condemned(backend: Backend, plans: Sequence[str]) -> dict[str, tuple[frozenset[bytes], bool]]:
    """The packs that each plan condemns, and whether that is final.

    Raises: NotFoundError, IntegrityError, FormatError, CommError.
    """

    def read(plan: str) -> tuple[frozenset[bytes], bool]:
        final = read_final(backend, plan)
        if final is not None:
            return frozenset(map(bytes.fromhex, final.packs)), True
        return frozenset(bytes.fromhex(pack.pack) for pack in read_plan(backend, plan).packs), False

    if len(plans) < 2:
        return {plan: read(plan) for plan in plans}
    with ThreadPoolExecutor(_PARALLEL_READS, "lineart-plans") as pool:
        return dict(zip(plans, pool.map(read, plans), strict=True))


def closure(packs: Iterable[str], replaced: Mapping[str, Sequence[str]]) -> set[str]:
    """`packs` and all that have taken the place of one of them.

    >>> sorted(closure(["a"], {"a": ["b"], "b": ["c", "d"]}))
    ['a', 'b', 'c', 'd']
    """
    found: set[str] = set()
    pending = list(packs)
    while pending:
        pack = pending.pop()
        if pack not in found:
            found.add(pack)
            pending += replaced.get(pack, ())
    return found


def dead_packs(
    sizes: Mapping[str, int], live: Collection[str], planned: Collection[str]
) -> list[PlannedPack]:
    """The packs of the store that nothing needs and no open plan names, sorted."""
    return [
        PlannedPack(pack, size, "dead")
        for pack, size in sorted(sizes.items())
        if pack not in live and pack not in planned
    ]


def sparse_packs(
    sizes: Mapping[str, int], live_bytes: Mapping[str, int], planned: Collection[str], *, share: float
) -> list[PlannedPack]:
    """Of the packs in `live_bytes` those of which less than `share` (0 to 1) is needed, sorted."""
    return [
        PlannedPack(pack, sizes[pack], "sparse", needed)
        for pack, needed in sorted(live_bytes.items())
        if pack in sizes and pack not in planned and needed < share * sizes[pack]
    ]


def _decoded(data: bytes, what: str) -> dict[str, Any]:
    try:
        check_seal(data)
        found = json.loads(data)
        number = found["format"]
    except (ValueError, KeyError, TypeError, RecursionError, IntegrityError) as error:
        raise IntegrityError(f"{what} is damaged ({error!r}); restore it from a copy") from error
    if number != FORMAT:
        raise FormatError(f"{what} has format {number}; this version reads {FORMAT}; upgrade lineart")
    return dict(found)


def _known(kind: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: fields[name] for name in kind.__slots__ if name in fields}


def _demand_text(*values: object) -> None:
    for value in values:
        if not isinstance(value, str):
            raise ValueError(f"{str(value)[:80]!r} is no text")


def _demand_digests(packs: Iterable[str]) -> None:
    for pack in packs:
        if not is_hex_digest(pack):
            raise ValueError(f"{pack!r} is no digest")
