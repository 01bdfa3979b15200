"""The collector: finds what nothing needs, plans, waits, looks again, deletes. See `storage.gc` for the protocol.

Every step may be repeated, by this collector after it was killed or by another one beside it.
"""

from __future__ import annotations

import datetime
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ..storage.actor import log_time
from ..storage.condemned import PacksCondemned
from ..storage.digest import parse_hex
from ..storage.errors import ConflictError, FormatError, StoreError
from ..storage.gc import (
    DONE,
    Final,
    Plan,
    PlannedPack,
    PlannedRun,
    closure,
    create_final,
    dead_packs,
    done_key,
    list_plans,
    plan_key,
    read_final,
    read_plan,
    sparse_packs,
)
from ..storage.log import Position
from ..storage.pack import pack_key
from ..storage.store import Store, project_prefix
from ..storage.store_log import StoreState
from ..storage.transaction import Op
from .compaction import copy_needed, needed_bytes
from .marking import Holder, ProjectMarks
from .names import ProjectName
from .packs import read_pack_list
from .project import Project
from .state import ProjectState

GRACE_S = 7 * 24 * 3600.0
_YOUNG_S = 24 * 3600.0  # a pack younger than that may belong to a commit that is being prepared: politeness
SPARSE_SHARE = 0.3
_PARALLEL_LISTS = 16
_DELETED_AT_ONCE = 1000
_IN_A_PLAN = 100_000  # packs, and runs: some 20 MB
_COPIES = 5  # each repeat means that another collector has planned what was just copied


@dataclass(frozen=True, slots=True)
class Survey:
    """What the logs say at one moment: who needs which packs, and what is left of deleted runs."""

    holders: Sequence[tuple[Holder, frozenset[str]]]  # with all packs that they need, successors included
    gone: frozenset[str]  # packs that something needed that was deleted since
    deleted_runs: Sequence[tuple[str, str]]  # project, run

    @property
    def live(self) -> set[str]:
        """The packs that something needs."""
        return {pack for _, packs in self.holders for pack in packs}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one plan."""

    plan: str
    time: str
    state: str  # "planned", "waiting", "deleted", "cancelled"
    packs: Sequence[PlannedPack] = ()
    runs: Sequence[PlannedRun] = ()
    size_bytes: int = 0
    due: str | None = None  # when its grace is over
    spared: Sequence[str] = ()  # packs that were planned and are needed after all
    copied_bytes: int = 0


class Collector:
    """Collects one store. Several may work at once, on one machine or on many."""

    def __init__(self, store: Store, *, now_s: Callable[[], float] = time.time) -> None:
        self.store = store
        self.young_bytes = (
            0  # of packs that nothing needs, but too young for a plan, when the last one was made
        )
        self.unfinished_uploads = 0  # that were dropped, all begun more than a day ago
        self.unfinished_error: StoreError | None = None  # why they could not be looked for
        self._now_s = now_s
        self._lists: dict[str, list[str]] = {}  # objects with lists of packs, each read once
        self._projects: dict[ProjectName, Project] = {}

    def collect(
        self, *, grace_s: float = GRACE_S, share: float = SPARSE_SHARE, dry_run: bool = False
    ) -> list[Outcome]:
        """Do what is due: finish plans whose grace is over, then plan what is dead now; without grace finish that, too.

        With `dry_run` nothing is written, and what would be is told.
        Raises: FormatError when a newer client has written what this one does not know; IntegrityError for a damaged
        log; StoreError, CommError.
        """
        outcomes = [
            self._continue(status.id, status.is_final, grace_s, dry_run)
            for status in list_plans(self.store.backend)
            if not status.is_done
        ]
        left = [self._read(found.plan) for found in outcomes if dry_run or found.state == "waiting"]
        for plan in self.make_plans(left, grace_s=grace_s, share=share):
            if not dry_run:
                self.publish(plan)
            if dry_run or grace_s > 0:
                outcomes.append(self._told(plan, "planned", grace_s))
            else:
                outcomes.append(self.finish(plan))
        if not dry_run:
            self._drop_unfinished()
        return outcomes

    def _drop_unfinished(self) -> None:
        """Whatever the grace, only what is a day old: who is still sending would begin anew."""
        try:
            self.unfinished_uploads = self.store.drop_unfinished(self._now_s() - _YOUNG_S)
        except StoreError as error:  # rights that a collector can do without; it is told
            self.unfinished_error = error

    def _continue(self, plan_id: str, is_final: bool, grace_s: float, dry_run: bool) -> Outcome:
        plan = self._read(plan_id)
        if is_final or self._now_s() >= _seconds(plan.time) + grace_s:
            return self._told(plan, "deleted", grace_s) if dry_run else self.finish(plan)
        return self._told(plan, "waiting", grace_s)

    def _told(self, plan: Plan, state: str, grace_s: float) -> Outcome:
        due = log_time(_seconds(plan.time) + grace_s)
        return Outcome(plan.id, plan.time, state, plan.packs, plan.runs, plan.size_bytes, due)

    def _read(self, plan_id: str) -> Plan:
        return read_plan(self.store.backend, plan_id)

    # Marking

    def projects(self, state: StoreState | None = None) -> list[ProjectName]:
        """Every project that has a log or may begin one: those of the store's log, and those of older clients."""
        state = self.store.facts.state() if state is None else state
        known = {tuple(name.split("/")) for name in state.projects}
        return [ProjectName(*name) for name in sorted({*known, *self.store.projects()})]

    def survey(self) -> Survey:
        """Read all logs. Raises: FormatError, IntegrityError, NotFoundError, CommError."""
        facts = self.store.facts.state()
        self._demand_understood("the store's own log", facts.newer)
        for registry in self.store.backend.folders("registries/"):
            self._demand_understood(f"registries/{registry}", "a log of its own")
        holders: list[tuple[Holder, frozenset[str]]] = []
        gone: set[str] = set()
        runs: list[tuple[str, str]] = []
        for name in self.projects(facts):
            marks = ProjectMarks(str(name))
            log = self.store.log(project_prefix(name.entity, name.project))
            marks.add(entry.transaction for entry in log.read_after(Position()))
            self._demand_understood(f"project {name}", marks.newer)
            for holder in marks.live():
                packs = closure(self._packs_of(holder), facts.replaced)
                holders.append((holder, frozenset(packs)))
            for holder in marks.dead():
                gone |= closure((*holder.packs, *holder.meta_packs), facts.replaced)
            runs += [(str(name), run) for run in sorted(marks.deleted_runs)]
        return Survey(holders, frozenset(gone), runs)

    def _demand_understood(self, what: str, newer: str | None) -> None:
        if newer is not None:
            raise FormatError(
                f"{what} has {newer}, which this version does not know, so it cannot tell what is needed;"
                " upgrade lineart to collect"
            )

    def _packs_of(self, holder: Holder) -> list[str]:
        packs = [*holder.packs, *holder.meta_packs]
        if holder.packs_object is not None:
            if holder.packs_object not in self._lists:
                found = read_pack_list(self.store, holder.packs_object, holder.meta_packs)
                self._lists[holder.packs_object] = found
            packs += self._lists[holder.packs_object]
        return packs

    # Planning

    def make_plans(
        self, waiting: Sequence[Plan] = (), *, grace_s: float = GRACE_S, share: float = SPARSE_SHARE
    ) -> list[Plan]:
        """Plans for what is dead now and in no plan of `waiting`; nothing is written.

        What an undelete has freed from an earlier plan goes into a plan with the time of that one: its grace has run.
        """
        young_s = self._now_s() - min(grace_s, _YOUNG_S)
        sizes: dict[str, int] = {}
        young: dict[str, int] = {}
        for stat in self.store.backend.list("packs/"):  # before the logs: what is committed meanwhile is live
            name = stat.key.rpartition("/")[2].removesuffix(".pack")
            is_old = grace_s <= 0 or stat.modified_s <= young_s
            (sizes if is_old else young)[name] = stat.size_bytes
        survey = self.survey()
        live = survey.live
        self.young_bytes = sum(size for pack, size in young.items() if pack not in live)
        planned = {pack.pack for plan in waiting for pack in plan.packs}
        packs = dead_packs(sizes, live, planned)
        if share > 0:
            packs += sparse_packs(sizes, self._live_bytes(survey), planned, share=share)
        planned_runs = {run.run for plan in waiting for run in plan.runs}
        runs = [run for run in self._leavings(survey.deleted_runs) if run.run not in planned_runs]
        return self._divided(packs, runs)

    def _divided(self, packs: Sequence[PlannedPack], runs: Sequence[PlannedRun]) -> list[Plan]:
        since = self._cancelled_times({pack.pack for pack in packs})
        by_time: dict[str, list[PlannedPack]] = {}
        for pack in packs:
            by_time.setdefault(since.get(pack.pack, ""), []).append(pack)
        if runs:
            by_time.setdefault("", [])
        now = log_time(self._now_s())
        plans = []
        for moment, chosen in sorted(by_time.items()):
            its_runs = runs if not moment else ()
            for start in range(
                0, max(len(chosen), len(its_runs)), _IN_A_PLAN
            ):  # readers refuse very long ones
                part = slice(start, start + _IN_A_PLAN)
                plans.append(Plan(_new_id(self._now_s()), moment or now, chosen[part], its_runs[part]))
        return plans

    def _cancelled_times(self, packs: set[str]) -> dict[str, str]:
        """When the packs were first planned, of those whose plan was cancelled."""
        found: dict[str, str] = {}
        if packs:
            for status in list_plans(self.store.backend):
                final = read_final(self.store.backend, status.id) if status.is_final else None
                if final is not None and final.cancelled is not None:
                    plan = self._read(status.id)
                    for pack in packs & {item.pack for item in plan.packs}:
                        found[pack] = min(found.get(pack, plan.time), plan.time)
        return found

    def _live_bytes(self, survey: Survey) -> dict[str, int]:
        """Of the packs that something live and something deleted has needed: how many bytes are needed still."""
        candidates = survey.gone & survey.live
        holders = [(holder, packs) for holder, packs in survey.holders if packs & candidates]
        return needed_bytes(self.store, holders, candidates) if candidates else {}

    def _leavings(self, runs: Sequence[tuple[str, str]]) -> list[PlannedRun]:
        """What deleted runs have in the store beside their claims."""
        found = []
        with ThreadPoolExecutor(_PARALLEL_LISTS, "lineart-runs") as pool:
            for (project, run), keys in zip(
                runs, pool.map(lambda item: self._run_keys(*item), runs), strict=True
            ):
                if keys:
                    found.append(PlannedRun(f"{project}/{run}", sum(keys.values())))
        return found

    def _run_keys(self, project: str, run: str) -> dict[str, int]:
        prefix = f"projects/{project}/runs/{run}/"
        found = {stat.key: stat.size_bytes for stat in self.store.backend.list(prefix)}
        found.pop(f"{prefix}run.json", None)  # the claim stays: nobody may take the id again
        return found

    def publish(self, plan: Plan) -> None:
        """Write a plan, and tell every log. Raises: FormatError, StoreError, CommError."""
        try:
            self.store.backend.create(plan_key(plan.id), plan.encode())
        except ConflictError:
            if self.store.backend.read(plan_key(plan.id)) != plan.encode():
                raise
        self.condemn(plan.id)

    def condemn(self, plan_id: str) -> None:
        """See that every log has the op that condemns what is in a plan. Safe to repeat.

        The store's log first: a project that is not in it yet takes the plan over when it is entered.
        """
        facts = self.store.facts.condemn(plan_id)

        def decide(state: ProjectState) -> list[Op]:
            return [] if plan_id in state.plans else [{"op": "gc.condemn", "plan": plan_id}]

        for name in self.projects(facts):
            self._projects.setdefault(name, Project(self.store, name)).commit(decide)

    # Finishing

    def finish(self, plan: Plan) -> Outcome:
        """Decide for good what a plan deletes, and delete it. Safe to repeat; several on one plan delete the same.

        Raises: as `collect`.
        """
        copied = 0
        final = read_final(self.store.backend, plan.id)
        if final is None:
            self.condemn(plan.id)
            final, copied = self._decide(plan)
            final = create_final(self.store.backend, final)
        self.delete(final)
        deleted = set(final.packs)
        packs = [pack for pack in plan.packs if pack.pack in deleted]
        runs = plan.runs if final.keys else ()
        return Outcome(
            plan=plan.id,
            time=plan.time,
            state="deleted" if final.cancelled is None else "cancelled",
            packs=packs,
            runs=runs,
            size_bytes=sum(pack.size_bytes for pack in packs) + sum(run.size_bytes for run in runs),
            spared=[pack.pack for pack in plan.packs if pack.pack not in deleted],
            copied_bytes=copied,
        )

    def _decide(self, plan: Plan) -> tuple[Final, int]:
        """What can be deleted now that every log has the condemnation; sparse packs are copied first."""
        survey = self.survey()
        live = survey.live
        doomed = {pack.pack for pack in plan.packs if pack.pack not in live}
        sparse = {pack.pack for pack in plan.packs if pack.reason == "sparse"} & live
        copied = self._compact(sparse, survey) if sparse else {}
        deleted = set(survey.deleted_runs)
        runs = [tuple(run.run.rsplit("/", 1)) for run in plan.runs]
        keys = [
            key for project, run in runs if (project, run) in deleted for key in self._run_keys(project, run)
        ]
        return Final(plan.id, sorted(doomed | copied.keys()), sorted(keys)), sum(copied.values())

    def _compact(self, sparse: set[str], survey: Survey) -> Mapping[str, int]:
        """Copy what is needed of `sparse`; those of which all of that lies elsewhere now, with the bytes copied."""
        condemned = self.store.objects.condemned
        for _ in range(_COPIES):
            condemned.check(self.store.facts.state().plans)
            holders = [(holder, packs) for holder, packs in survey.holders if packs & sparse]
            copied = copy_needed(self.store, holders, sparse)
            try:
                self.store.facts.replace({pack: found.packs for pack, found in copied.items()}, condemned)
            except PacksCondemned:
                continue
            return {pack: found.new_bytes for pack, found in copied.items()}
        return {}

    def delete(self, final: Final) -> None:
        """Delete a final list, and note that it is done."""
        keys = [*map(pack_key, map(parse_hex, final.packs)), *final.keys]
        for start in range(0, len(keys), _DELETED_AT_ONCE):
            self.store.backend.delete(keys[start : start + _DELETED_AT_ONCE])
        self.store.objects.condemned.check([final.plan])
        try:
            self.store.backend.create(done_key(final.plan), DONE)
        except ConflictError:
            return  # another collector was as fast


def _new_id(now_s: float) -> str:
    """Of plans the later one has the greater id, as far as clocks go: people read it."""
    moment = datetime.datetime.fromtimestamp(now_s, datetime.UTC)
    return f"{moment:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"


def _seconds(text: str) -> float:
    return datetime.datetime.fromisoformat(text).timestamp()
