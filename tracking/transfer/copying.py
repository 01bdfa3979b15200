"""The copy itself: what order things are done in, and what came of it.

Collections first (packs, then the commit that needs them), those with links after those that they link to; then runs
with their edges, when every version has its number. Each commit decides anew on the target's newest state, so that any
number of copies and writers may be at work; where a copy that was killed has stopped, the next one finds in the target.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ...artifacts.history import Fact, History, Known, external_name, parse_full, split_external
from ...artifacts.names import ProjectName, parse_version
from ...artifacts.project import Project
from ...artifacts.state import ProjectState
from ...artifacts.transfer import CollectionPlan, CopyRules, check_type, plan_collection
from ...artifacts.version import Version
from ...storage.condemned import PacksCondemned
from ...storage.errors import ConflictError, UsageError
from ...storage.pack_copy import Progress
from ...storage.store import project_prefix
from ...storage.transaction import Op, Transaction
from ..recovery import recover_project
from ..run_files import files_version
from ..run_log import RunRecord
from ..workspace import Workspace
from .choice import Choice, Chosen, choose
from .content import ContentCopier
from .runs import (
    Claim,
    copy_history,
    is_live,
    other_run,
    plan_runs,
    read_claim,
    record_of,
    take_claim,
    where_named,
)

_PARALLEL = 8  # claims and histories of runs
_ROUNDS = (
    100  # each one more means that somebody has deleted or collected in the target what was to be used there
)
# Of a version whose content is not there yet: the plan is made to know which are wanted, and not committed.
_UNKNOWN: Mapping[str, Any] = {"packs": [], "meta_packs": []}


@dataclass(slots=True)
class Report:
    """What a copy has done, or would do. Counted are live versions, and packs with what else the copy took along."""

    versions: int = 0
    runs: int = 0
    tombstones: int = 0
    bytes: int = 0
    versions_present: int = 0
    runs_present: int = 0
    bytes_present: int = 0
    transactions: int = 0
    # Versions that have another number in the target: full name in the source → in the target.
    renumbered: dict[str, str] = field(default_factory=dict)
    conflicts: list[str] = field(default_factory=list)  # what the target has otherwise, and keeps
    left_out: list[str] = field(default_factory=list)  # what was not copied, and why


def copy(
    source: Workspace,
    target: Workspace,
    choice: Choice,
    *,
    to: ProjectName | None = None,
    force_aliases: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Copy what is chosen from one store to another, with its history. Safe to stop and to repeat, at any moment.

    Digests are the same, packs are copied as they are; a second copy changes nothing. `to` is the project in the
    target, else it has the same name. Runs that are still going on are left out, and told. With `dry_run` nothing is
    written, and the report says what would be.
    Raises: NotFoundError with the nearest names; UsageError for a collection of another type, a run whose id another
    run has there, a live run that was named; IntegrityError naming a damaged pack; StoreError, CommError.
    """
    copying = _Copying(source, target, to=to, force_aliases=force_aliases, dry_run=dry_run, progress=progress)
    return copying.run(choice)


class _NotReadyError(Exception):
    """The target has changed: content is needed that was there when the packs were copied."""


class _AheadError(Exception):
    """The target's log has grown while a commit was being decided."""


class _Copying:
    def __init__(
        self,
        source: Workspace,
        target: Workspace,
        *,
        to: ProjectName | None,
        force_aliases: bool,
        dry_run: bool,
        progress: Progress | None,
    ) -> None:
        self.source = source
        self.target = target
        self.to = to
        self.force_aliases = force_aliases
        self.dry_run = dry_run
        self.progress = progress
        self.report = Report()
        self.content = ContentCopier(source.store, target.store, progress, dry_run=dry_run)
        self.moved: dict[ProjectName, ProjectName] = {}
        self.taken: set[tuple[ProjectName, str]] = (
            set()
        )  # ids of the source's that other runs have in the target
        self._here: dict[ProjectName, History] = {}
        self._there: dict[ProjectName, History] = {}
        self._claims: dict[tuple[ProjectName, str], Claim | None] = {}
        # Where the content of versions lies in the target, by project, collection and number; of files of runs by
        # project, run and digest.
        self._places: dict[tuple[ProjectName, str, int | str], Mapping[str, Any]] = {}

    def run(self, choice: Choice) -> Report:
        self.source.store.objects.look_at_plans()
        chosen = choose(choice, self.source, self._history)
        if self._recover(chosen):
            chosen = choose(choice, self.source, self._history)
        self._place(choice, chosen)
        for project, runs in chosen.runs.items():
            chosen.runs[project] = dict.fromkeys(self._without_live(project, runs, chosen))
        self._check(chosen)
        for project in dict.fromkeys(project for project, _ in self._ordered(chosen)):
            self._copy_settings(project)
        for project, name in self._ordered(chosen):
            self._count(project, name, *self._copy_collection(project, name, chosen))
        for project, name in self._ordered(chosen):
            if any(f.op["op"] == "version.link" for f in self._history(project).by_collection[name]):
                # Links that have been copied after their sources.
                self._copy_collection(project, name, chosen)
        for project in chosen.projects():
            self._copy_runs(project, list(chosen.runs.get(project, ())))
        for project in list(self._here):
            self._mirror_uses(project)
        self.report.bytes += self.content.copier.copied_bytes + self.content.imagined_bytes
        self.report.bytes_present = self.content.copier.present_bytes
        return self.report

    # The two sides

    def _history(self, project: ProjectName) -> History:
        if project not in self._here:
            self.source.project(project).demand_understood()
            log = self.source.store.log(project_prefix(project.entity, project.project))
            self._here[project] = History(log).refresh()
        return self._here[project]

    def _home(self, project: ProjectName) -> ProjectName:
        """The project of the target that one of the source is copied to."""
        return self.moved.get(project, project)

    def _there_now(self, home: ProjectName) -> History:
        """What the target said when it was last looked at."""
        if home not in self._there:
            log = self.target.store.log(project_prefix(home.entity, home.project))
            self._there[home] = History(log).refresh()
        return self._there[home]

    def _fresh(self, home: ProjectName) -> History:
        """What the target says; a dry run goes on from what it has thought up."""
        found = self._there_now(home)
        return found if self.dry_run else found.refresh()

    def resolve(self, name: str) -> str:
        """The name that a version of the source has in the target; an external one if it is not there."""
        origin, plain = split_external(name)
        parsed = parse_full(plain)
        if origin is None:
            where = parsed.collection, parse_version(parsed.reference) or 0
            origin = self._history(parsed.project).creators.get(where, "unknown")
        home = self._home(parsed.project)
        place = self._there_now(home).places.get(origin)
        return external_name(origin, plain) if place is None else f"{home}/{place[0]}:v{place[1]}"

    def _commit(self, home: ProjectName, decide: Callable[[History], Sequence[Op]]) -> None:
        """Append what `decide` says of the newest state, in one transaction or none."""
        if self.dry_run:
            there = self._there_now(home)
            ops = decide(there)
            if ops:
                there.take(Transaction(0, f"dry-{self.report.transactions}", "", {}, "", list(ops)))
        else:
            ops = self._append(self.target.project(home), decide)
            self._fresh(home)
        self.report.transactions += bool(ops)

    def _append(self, project: Project, decide: Callable[[History], Sequence[Op]]) -> Sequence[Op]:
        """Commit on our own fold of the log, which knows the origins; it must not be ahead of the committer's."""

        def decide_together(state: ProjectState) -> Sequence[Op]:
            there = self._fresh(project.name)
            if there.position != project.position:
                raise _AheadError
            return decide(there)

        while True:
            try:
                return project.commit(decide_together)
            except _AheadError:
                continue  # somebody else has committed in between

    # Before anything is written

    def _recover(self, chosen: Chosen) -> bool:
        """Bring home what dead runs have left on this machine; whether there was something."""
        if self.dry_run:
            return False
        touched = [project for project in chosen.runs if recover_project(self.source, project)]
        for project in touched:
            self._here.pop(project, None)
        return bool(touched)

    def _place(self, choice: Choice, chosen: Chosen) -> None:
        if self.to is None:
            if self.source.store.settings.store == self.target.store.settings.store and (
                self.source.url == self.target.url
            ):
                raise UsageError(
                    f"{self.source.url} is source and target; choose another store, or a project with --to"
                )
            return
        direct = Choice(
            names=choice.names, runs=choice.runs, projects=choice.projects, everything=choice.everything
        )
        projects = choose(direct, self.source, self._history).projects()
        if len(projects) != 1:
            names = ", ".join(map(str, projects))
            raise UsageError(
                f"--to {self.to}: what is copied lies in {len(projects)} projects ({names}); copy one by one"
            )
        self.moved[projects[0]] = self.to

    def _without_live(self, project: ProjectName, runs: Iterable[str], chosen: Chosen) -> Iterable[str]:
        """Those of `runs` that have ended. Raises: UsageError for a live one that was asked for."""
        for run in runs:
            if not is_live(self.source, project, self._record(project, run)):
                yield run
            elif (project, run) in chosen.named_runs:
                raise UsageError(f"run {project}/{run} is still running; copy it when it has ended")
            else:
                self.report.left_out.append(
                    f"run {project}/{run} is still running; copy again when it has ended"
                )

    def _record(self, project: ProjectName, run: str) -> RunRecord:
        return record_of(self._history(project).by_run.get(run, ()), run)

    def _check(self, chosen: Chosen) -> None:
        """Refuse before anything is copied. Raises: UsageError."""
        for project, collections in chosen.collections.items():
            home = self._home(project)
            self.target.project(home).demand_understood()
            for name in collections:
                check_type(self._rules(project, name, chosen), self._history(project), self._there_now(home))
        for project, runs in chosen.runs.items():
            home = self._home(project)
            new = [run for run in runs if self._new_facts(project, run)]
            for run, mine, there in self._claim_pairs(project, new):
                if there is not None and mine is not None and there.origin != mine.origin:
                    raise other_run(home, run, mine, there, source=self.source.url, target=self.target.url)

    def _new_facts(self, project: ProjectName, run: str) -> list[Fact]:
        known = self._there_now(self._home(project)).origins
        facts = self._history(project).by_run.get(run, ())
        if any(fact.op["op"] == "run.delete" for fact in facts):
            facts = [f for f in facts if f.op["op"] == "run.delete" or f.op["op"].startswith("edge.")]
        return [fact for fact in facts if fact.origin not in known]

    def _claim_pairs(
        self, project: ProjectName, runs: Iterable[str]
    ) -> list[tuple[str, Claim | None, Claim | None]]:
        """Of each run its claim in the source and who has its id in the target."""
        home, here = self._home(project), self._history(project)
        there = self._there_now(home)

        def look(run: str) -> tuple[str, Claim | None, Claim | None]:
            if (project, run) not in self._claims:
                self._claims[project, run] = read_claim(self.source.store, project, run, here)
            return run, self._claims[project, run], read_claim(self.target.store, home, run, there)

        with ThreadPoolExecutor(_PARALLEL, "lineart-claims") as pool:
            return list(pool.map(look, runs))

    def _ordered(self, chosen: Chosen) -> list[tuple[ProjectName, str]]:
        """All collections, those with links last: by then their sources have numbers."""
        found = []
        for project in chosen.projects():
            for name in sorted(chosen.collections.get(project, ())):
                versions = self._history(project).state.collections[name].versions.values()
                found.append((any(v.source is not None for v in versions), project, name))
        return [
            (project, name)
            for _, project, name in sorted(found, key=lambda row: (row[0], str(row[1]), row[2]))
        ]

    # Collections

    def _rules(self, project: ProjectName, name: str, chosen: Chosen) -> CopyRules:
        numbers = chosen.collections[project][name]
        return CopyRules(
            collection=name,
            numbers=None if numbers is None else frozenset(numbers),
            where=f"{self._home(project)} of {self.target.url}",
            resolve=self.resolve,
            run=lambda run: None if (project, run) in self.taken else run,
            project=lambda text: str(self._home(ProjectName.parse(text, project))),
            places=lambda number: self._places.get((project, name, number), _UNKNOWN),
            force_aliases=self.force_aliases,
        )

    def _copy_collection(
        self, project: ProjectName, name: str, chosen: Chosen
    ) -> tuple[CollectionPlan, set[int]]:
        """Copy what is missing of a collection; the last plan, and the numbers of all versions that were made."""
        rules, here, home = self._rules(project, name, chosen), self._history(project), self._home(project)
        ready: set[int] = set()
        made: set[int] = set()
        for _ in range(_ROUNDS):
            plan = plan_collection(rules, here, self._fresh(home))
            if not plan.ops:
                break
            self._bring_content(project, name, [n for n in plan.created if n not in ready])
            ready |= plan.created.keys()
            self._reserve_runs(project, name, [*plan.created, *plan.deleted])
            try:
                done = self._commit_collection(home, rules, here, ready)
            except _NotReadyError:
                continue
            except PacksCondemned:  # since they were copied
                ready.clear()
                continue
            made |= done.created.keys()
            self.report.tombstones += len(done.deleted)
            plan = done
            if done.is_complete:
                break
        else:
            raise ConflictError(f"artifact {home}/{name} of {self.target.url} keeps changing; copy again")
        return plan, made

    def _commit_collection(
        self, home: ProjectName, rules: CopyRules, here: History, ready: set[int]
    ) -> CollectionPlan:
        last = CollectionPlan()

        def decide(there: Known) -> Sequence[Op]:
            nonlocal last
            last = plan_collection(rules, here, there)
            if not last.created.keys() <= ready:
                raise _NotReadyError
            return last.ops

        self._commit(home, decide)
        return last

    def _bring_content(self, project: ProjectName, name: str, numbers: Sequence[int]) -> None:
        collection = self._history(project).state.collections[name]
        versions = [
            Version(self.source.store, project, name, collection.type, collection.versions[number])
            for number in numbers
        ]
        self._check_plans(project)
        for number, places in zip(numbers, self.content.bring(versions), strict=True):
            self._places[project, name, number] = places

    def _check_plans(self, project: ProjectName) -> None:
        """Know what the target is collecting, before packs are copied there under their names."""
        if not self.dry_run:
            self.target.project(self._home(project)).check_plans()

    def _reserve_runs(self, project: ProjectName, name: str, numbers: Iterable[int]) -> None:
        """Keep the ids of the runs that made versions for them, whether they are copied or not."""
        versions = self._history(project).state.collections[name].versions
        runs = {run for number in numbers if (run := versions[number].run) is not None}
        self._claim(project, sorted(runs))

    def _count(self, project: ProjectName, name: str, plan: CollectionPlan, made: set[int]) -> None:
        live = {v.number for v in self._history(project).state.collections[name].live()}
        self.report.versions += len(made)
        self.report.versions_present += len((plan.numbers.keys() & live) - made)
        home = self._home(project)
        for number, place in plan.numbers.items():
            if number != place:
                self.report.renumbered[f"{project}/{name}:v{number}"] = f"{home}/{name}:v{place}"
        self.report.conflicts += [text for text in plan.conflicts if text not in self.report.conflicts]

    # Runs

    def _claim(self, project: ProjectName, runs: Iterable[str]) -> None:
        """Take the ids of `runs` in the target; of those that other runs have there, note that."""
        home = self.target.project(self._home(project))

        def take(pair: tuple[str, Claim | None, Claim | None]) -> tuple[str, bool]:
            run, mine, there = pair
            if there is not None:
                return run, mine is None or mine.origin == there.origin
            return run, self.dry_run or mine is None or take_claim(self.target.store, home, run, mine)

        with ThreadPoolExecutor(_PARALLEL, "lineart-claims") as pool:
            for run, is_ours in pool.map(take, self._claim_pairs(project, runs)):
                if not is_ours:
                    self.taken.add((project, run))

    def _copy_runs(self, project: ProjectName, runs: Sequence[str]) -> None:
        new = [run for run in runs if self._new_facts(project, run)]
        self.report.runs_present += len(runs) - len(new)
        if not new:
            return
        here, home = self._history(project), self._home(project)
        self._claim(project, new)
        for run in new:
            if (project, run) in self.taken:  # since it was looked at
                ((_, mine, there),) = self._claim_pairs(project, [run])
                if mine is not None and there is not None:
                    raise other_run(home, run, mine, there, source=self.source.url, target=self.target.url)
        is_complete = False

        def decide(there: History) -> Sequence[Op]:
            nonlocal is_complete
            plan = plan_runs(new, project, here, there, self.resolve, self._files_places(project))
            is_complete = plan.is_complete
            return plan.ops

        for _ in range(_ROUNDS):
            self._bring_files(project, new)
            try:
                while not is_complete:
                    self._commit(home, decide)
                break
            except PacksCondemned:  # since they were copied
                is_complete = False
        else:
            raise ConflictError(f"project {home} of {self.target.url} is being collected; copy again")
        self.report.runs += len(new)

    def _files_places(self, project: ProjectName) -> Callable[[str, str], Mapping[str, Any]]:
        return lambda run, digest: self._places[project, run, digest]

    def _bring_files(self, project: ProjectName, runs: Iterable[str]) -> None:
        """Copy the files and the history of runs; of deleted ones nothing."""
        records = [record for run in runs if not (record := self._record(project, run)).deleted]
        versions = [
            (record.run, files_version(self.source.store, project, record.run, files))
            for record in records
            for files in record.files
        ]
        self._check_plans(project)
        found = self.content.bring([version for _, version in versions])
        for (run, version), places in zip(versions, found, strict=True):
            self._places[project, run, version.state.digest] = places
        if self.dry_run:
            return
        source, target, home = self.source.store, self.target.store, self._home(project)
        with ThreadPoolExecutor(_PARALLEL, "lineart-runs") as pool:
            done = pool.map(
                lambda record: copy_history(source, project, target, home, record.run, self.progress), records
            )
            self.report.bytes += sum(done)

    def _copy_settings(self, project: ProjectName) -> None:
        """Say of the target's registry what is said of the source's, unless the target has its own word on it."""
        here, home = self._history(project), self._home(project)

        def decide(there: History) -> Sequence[Op]:
            new = [fact for fact in here.settings if fact.origin not in there.origins]
            if new and any(fact.origin not in here.origins for fact in there.settings):
                said = f"registry {home}: its settings were changed in {self.target.url}, too; they stay"
                if said not in self.report.conflicts:
                    self.report.conflicts.append(said)
                return []
            return [fact.copied() for fact in new]

        if here.settings:
            self._commit(home, decide)

    def _mirror_uses(self, project: ProjectName) -> None:
        """Say in the logs of versions which runs of other projects have used them."""
        here, home = self._history(project), self._home(project)

        def decide(there: History) -> Sequence[Op]:
            ops: list[Op] = []
            for fact in here.mirrored:
                runs = ProjectName.parse(fact.op["project"], project)
                where = here.creators.get((fact.op["collection"], fact.op["version"]), "")
                place = there.places.get(where)
                if fact.origin in there.origins or place is None or self._home(runs) == home:
                    continue
                mine, known = self._history(runs).by_run, self._there_now(self._home(runs)).origins
                if any(f.origin in known for f in mine.get(fact.op["run"], ())):
                    _, version = where_named(f"{home}/{place[0]}:v{place[1]}")
                    ops.append(fact.copied(project=str(self._home(runs)), **version))
            return ops

        if here.mirrored:
            self._commit(home, decide)
