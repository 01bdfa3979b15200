"""Verifying a whole store, a project, or some versions: logs, packs, checkpoints, runs (`artifacts.verification`)."""

from __future__ import annotations

import contextlib
import itertools
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ..artifacts.log_check import LogCheck, check_log
from ..artifacts.marking import Holder
from ..artifacts.names import ProjectName
from ..artifacts.verification import Depth, Findings, Verifier
from ..artifacts.version import Version
from ..lineage.catalog_check import CATALOG_KEY, check_catalog
from ..storage.backend import Stat
from ..storage.errors import CommError, IntegrityError
from ..storage.gc import PLANS, final_key
from ..storage.gc_check import PlanCheck, check_named, check_plans
from ..storage.inventory import Inventory
from ..storage.log import Position
from ..storage.pack_check import uncached
from ..storage.problem import Problem
from ..storage.store import SETTINGS_KEY, Store, project_prefix
from ..storage.store_log import PREFIX, StoreFold, StoreState
from ..storage.transaction import Transaction
from .run_verification import RunsInLog, check_run

_PACK = re.compile(r"packs/([0-9a-f]{2})/(\1[0-9a-f]{62})\.pack\Z")
_PROJECT = re.compile(r"(projects/[^/]+/[^/]+/)(.+)\Z")
_RUN = re.compile(r"(runs/[^/]+/).+\Z")
_OF_A_LOG = re.compile(r"log/\d{6,}(/\d{12}\.json|\.jsonl\.zst)\Z|checkpoints/\d{12}/state\.json\.zst\Z")
_OTHER_LOG = re.compile(r"(store/|registries/[^/]+/)(log/.+)\Z")
_OTHERS = ("probe/", "sessions/", "store/", "registries/")
_BATCH = 5000
_LOOKS = 5  # each repeat means that a collection has become final meanwhile


@dataclass(slots=True)
class StoreCheck:
    """A verification that has come to its end."""

    depth: Depth
    findings: Findings = field(default_factory=Findings)
    logs: dict[str, LogCheck] = field(default_factory=dict)  # by prefix
    runs: dict[str, RunsInLog] = field(default_factory=dict)
    needs: list[Holder] = field(default_factory=list)
    plans: PlanCheck = field(default_factory=PlanCheck)
    facts: StoreState = field(default_factory=StoreState)
    plan_times: dict[str, str] = field(default_factory=dict)  # when the store's log got them
    named_plans: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Scope:
    """What is to be verified: `versions`, else `projects`; with `everything` all projects and what nobody needs."""

    versions: Sequence[Version] = ()
    projects: Sequence[ProjectName] = ()
    everything: bool = False


def verify_store(
    store: Store,
    scope: Scope,
    depth: Depth,
    *,
    resume: bool = False,
    since_s: float | None = None,
    progress: Callable[[int], None] = lambda count: None,
) -> StoreCheck:
    """Verify; with `resume` what an interrupted verification found whole is not read again.

    `since_s` (seconds since the epoch): nor what any verification found whole since then.
    Raises: CommError, StoreError when the store does not answer.
    """
    if store.is_offline:
        raise CommError(f"store {store.url} is offline; verify it when it answers")
    inventory = Inventory(store.cache / "stores" / store.settings.store)
    began_s = time.time()
    if resume and since_s is None:
        since_s = inventory.interrupted_s(depth)
    session = inventory.begin(depth, began_s)
    try:
        with directly(store) as direct:
            found = _look(direct, scope, inventory, StoreCheck(depth), since_s, progress)
            for _ in range(_LOOKS):
                if not found.findings.problems or not _was_collected(direct, found):
                    break  # else what is missing may just have been deleted, or copied to other packs
                inventory.forget_listing()
                since_s = min(began_s, began_s if since_s is None else since_s)
                found = _look(direct, scope, inventory, StoreCheck(depth), since_s, progress)
        inventory.end(session, time.time())
    finally:
        inventory.close()
    return found


@contextlib.contextmanager
def directly(store: Store) -> Iterator[Store]:
    """The same store without caches and outbox. It is closed at the end, but for its backend."""
    direct = Store(uncached(store.backend), store.settings, store.cache, store.blocks)
    try:
        yield direct
    finally:
        direct.stat_cache.close()
        direct.objects.close()
        direct.logs.close()


def _look(
    store: Store,
    scope: Scope,
    inventory: Inventory,
    found: StoreCheck,
    since_s: float | None,
    progress: Callable[[int], None],
) -> StoreCheck:
    if scope.everything:
        _list(store, inventory, found)
    else:
        _check_plans(store, (stat.key for stat in store.backend.list(PLANS)), found)
    if PREFIX not in found.logs:
        _check_store_log(store, inventory, found)
    for project in _left(store, found) if scope.everything else scope.projects:
        prefix = project_prefix(project.entity, project.project)
        _check_project(store, prefix, store.backend.list(prefix), inventory, found)
    check_named(store.backend, found.plans, found.named_plans)
    found.findings.problems += found.plans.problems
    found.findings.undecided += found.plans.undecided
    found.findings.unknown += found.plans.unknown
    found.needs += [_need(version) for version in scope.versions]
    verifier = Verifier(
        store,
        found.depth,
        inventory,
        found.findings,
        replaced=found.facts.replaced,
        collected=found.plans.collected_packs,
        since_s=since_s,
        progress=progress,
    )
    verifier.verify(found.needs, everything=scope.everything)
    return found


def _left(store: Store, found: StoreCheck) -> list[ProjectName]:
    """Projects without a key: of those whose transactions are rows of a database, and those that are lost whole."""
    known = (tuple(name.split("/")) for name in found.facts.projects)
    names = [ProjectName(*name) for name in sorted({*known, *store.projects()})]
    return [name for name in names if project_prefix(name.entity, name.project) not in found.logs]


def _was_collected(store: Store, found: StoreCheck) -> bool:
    """Whether a collection has become final since the plans were read."""
    finals = {stat.key for stat in store.backend.list(PLANS) if stat.key.endswith(".final.json")}
    return not finals <= {final_key(plan) for plan in found.plans.finals}


def _need(version: Version) -> Holder:
    state = version.state
    return Holder(
        "version",
        str(version.name),
        state.digest,
        state.packs,
        state.meta_packs,
        state.packs_object,
        state.index,
    )


def _list(store: Store, inventory: Inventory, found: StoreCheck) -> None:
    """Go through all keys of a store: packs into the inventory, projects and logs are checked."""
    for prefix, stats in itertools.groupby(store.backend.list(""), lambda stat: _part(stat.key)):
        if prefix == "packs/":
            _list_packs(stats, inventory, found)
        elif _PROJECT.match(f"{prefix}x"):
            _check_project(store, prefix, stats, inventory, found)
        elif prefix == "gc/":  # the first of all: what a collector deletes is known before it is missed
            _check_plans(store, (stat.key for stat in stats), found)
        elif prefix == PREFIX:
            found.findings.unknown += [stat.key for stat in stats if not _OTHER_LOG.match(stat.key)]
            _check_store_log(store, inventory, found)
        else:
            others = [stat.key for stat in stats]
            logs = sorted({match[1] for key in others if (match := _OTHER_LOG.match(key))})
            for log in logs:
                _note_log(check_log(store, log, None, inventory), found)
            found.findings.unknown += [
                key for key in others if key != SETTINGS_KEY and not key.startswith(_OTHERS)
            ]


def _check_plans(store: Store, keys: Iterable[str], found: StoreCheck) -> None:
    found.plans = check_plans(store.backend, keys)


def _check_store_log(store: Store, inventory: Inventory, found: StoreCheck) -> None:
    fold = StoreFold()
    malformed: list[IntegrityError] = []

    def observe(transaction: Transaction, before: Position) -> None:
        for op in transaction.ops:
            if op["op"] == "gc.condemn" and isinstance(op.get("plan"), str):
                found.plan_times.setdefault(op["plan"], transaction.time)
        try:
            found.facts = fold.apply(found.facts, transaction)
        except IntegrityError as error:
            malformed.append(error)

    log = check_log(store, PREFIX, None, inventory, observe)
    for error in malformed:
        log.problem("log", f"{PREFIX}log", error)
    log.newer = log.newer or found.facts.newer
    _note_log(log, found)
    found.named_plans.update(found.facts.plans)


def _part(key: str) -> str:
    match = _PROJECT.match(key)
    return match[1] if match else key.partition("/")[0] + "/"


def _list_packs(stats: Iterable[Stat], inventory: Inventory, found: StoreCheck) -> None:
    def packs() -> Iterator[tuple[bytes, int]]:
        for stat in stats:
            match = _PACK.match(stat.key)
            if match:
                yield bytes.fromhex(match[2]), stat.size_bytes
            else:
                found.findings.unknown.append(stat.key)

    listed = packs()
    while batch := list(itertools.islice(listed, _BATCH)):
        inventory.list_packs(batch)


def _note_log(log: LogCheck, found: StoreCheck) -> None:
    found.logs[log.prefix] = log
    found.findings.transactions += log.transactions
    found.findings.problems += log.problems
    if log.newer is not None:
        found.findings.undecided.append(
            f"{log.prefix}log has {log.newer}, written by a newer lineart; upgrade"
        )


def _check_project(
    store: Store, prefix: str, stats: Iterable[Stat], inventory: Inventory, found: StoreCheck
) -> None:
    _, entity, name, _ = prefix.split("/")
    project, runs = ProjectName(entity, name), RunsInLog()
    log = check_log(store, prefix, str(project), inventory, runs.add)
    _note_log(log, found)
    found.runs[prefix] = runs
    found.needs += log.marks.live()
    found.named_plans.update(plan for plan in log.marks.plans if isinstance(plan, str))
    collected = found.plans.collected_keys
    checkpoints: list[str] = []
    left = dict(runs.runs)
    for group, values in itertools.groupby(stats, lambda stat: _run_of(prefix, stat.key)):
        if group:
            facts = left.pop(group.split("/")[-2], None)
            every_byte = found.depth == Depth.BYTES
            _note(check_run(store, group, list(values), facts, collected, every_byte=every_byte), found)
            continue
        for stat in values:
            key = stat.key[len(prefix) :]
            if CATALOG_KEY.match(key):
                checkpoints.append(key)
            elif not _OF_A_LOG.match(key):
                found.findings.unknown.append(stat.key)
    for run, facts in left.items():
        _note(check_run(store, f"{prefix}runs/{run}/", [], facts, collected, every_byte=False), found)
    if not log.bad:
        _note(check_catalog(store, project, checkpoints), found)


def _run_of(prefix: str, key: str) -> str:
    match = _RUN.match(key[len(prefix) :])
    return prefix + match[1] if match else ""


def _note(told: Iterable[Problem | str], found: StoreCheck) -> None:
    for one in told:
        if isinstance(one, Problem):
            found.findings.problems.append(one)
        else:
            found.findings.unknown.append(one)
