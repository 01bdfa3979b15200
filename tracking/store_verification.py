"""Verifying a whole store, a project, or some versions: logs, packs, checkpoints, runs (`artifacts.verification`)."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ..artifacts.log_check import LogCheck, check_log
from ..artifacts.names import ProjectName
from ..artifacts.needs import Need
from ..artifacts.verification import Depth, Findings, Verifier
from ..artifacts.version import Version
from ..lineage.catalog_check import CATALOG_KEY, check_catalog
from ..storage.backend import Stat
from ..storage.inventory import Inventory
from ..storage.pack_check import uncached
from ..storage.problem import Problem
from ..storage.store import SETTINGS_KEY, Store, project_prefix
from .run_verification import RunsInLog, check_run

_PACK = re.compile(r"packs/([0-9a-f]{2})/(\1[0-9a-f]{62})\.pack\Z")
_PROJECT = re.compile(r"(projects/[^/]+/[^/]+/)(.+)\Z")
_RUN = re.compile(r"(runs/[^/]+/).+\Z")
_OF_A_LOG = re.compile(r"log/\d{6,}(/\d{12}\.json|\.jsonl\.zst)\Z|checkpoints/\d{12}/state\.json\.zst\Z")
_OTHER_LOG = re.compile(r"(store/|registries/[^/]+/)(log/.+)\Z")
_OTHERS = ("probe/", "gc/", "sessions/", "store/", "registries/")
_BATCH = 5000


@dataclass(slots=True)
class StoreCheck:
    """A verification that has come to its end."""

    depth: Depth
    findings: Findings = field(default_factory=Findings)
    logs: dict[str, LogCheck] = field(default_factory=dict)  # by prefix
    runs: dict[str, RunsInLog] = field(default_factory=dict)
    needs: list[Need] = field(default_factory=list)


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
    inventory = Inventory(store.cache / "stores" / store.settings.store)
    store = Store(
        uncached(store.backend), store.settings, store.cache, store.blocks
    )  # nothing from its cache
    began_s = time.time()
    if resume and since_s is None:
        since_s = inventory.interrupted_s(depth)
    session = inventory.begin(depth, began_s)
    found = StoreCheck(depth)
    try:
        if scope.everything:
            _list(store, inventory, found)
        for project in () if scope.everything else scope.projects:
            prefix = project_prefix(project.entity, project.project)
            _check_project(store, prefix, uncached(store.backend).list(prefix), inventory, found)
        found.needs += [_need(version) for version in scope.versions]
        verifier = Verifier(store, depth, inventory, found.findings, since_s=since_s, progress=progress)
        verifier.verify(found.needs, everything=scope.everything)
        inventory.end(session, time.time())
    finally:
        inventory.close()
    return found


def _need(version: Version) -> Need:
    state = version.state
    return Need(
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
    backend = uncached(store.backend)
    for prefix, stats in itertools.groupby(backend.list(""), lambda stat: _part(stat.key)):
        if prefix == "packs/":
            _list_packs(stats, inventory, found)
        elif _PROJECT.match(f"{prefix}x"):
            _check_project(store, prefix, stats, inventory, found)
        else:
            others = [stat.key for stat in stats]
            logs = sorted({match[1] for key in others if (match := _OTHER_LOG.match(key))})
            for log in logs:
                _note_log(check_log(backend, log, None, inventory), found)
            found.findings.unknown += [
                key for key in others if key != SETTINGS_KEY and not key.startswith(_OTHERS)
            ]


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
    log = check_log(uncached(store.backend), prefix, str(project), inventory, runs.add)
    _note_log(log, found)
    found.runs[prefix] = runs
    found.needs += log.needs.live()
    checkpoints: list[str] = []
    left = dict(runs.runs)
    for group, values in itertools.groupby(stats, lambda stat: _run_of(prefix, stat.key)):
        if group:
            facts = left.pop(group.split("/")[-2], None)
            _note(check_run(store, group, list(values), facts, every_byte=found.depth == Depth.BYTES), found)
            continue
        for stat in values:
            key = stat.key[len(prefix) :]
            if CATALOG_KEY.match(key):
                checkpoints.append(key)
            elif not _OF_A_LOG.match(key):
                found.findings.unknown.append(stat.key)
    for run, facts in left.items():
        _note(check_run(store, f"{prefix}runs/{run}/", [], facts, every_byte=False), found)
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
