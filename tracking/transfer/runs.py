"""Copying runs: their claim, history and files, and what is said of them in the log.

A run is known by its *claim*: ``run.json`` of the store in which it began, by its digest; a copy of the claim names it
as `origin`. Two runs that have the same id in two stores are two runs, and the second is refused.

The order makes it safe to stop at any moment: packs and history first, then one transaction with all ops of the run;
what was copied before and has no ops yet is seen by nobody.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...artifacts.history import EXTERNAL, Fact, History, parse_full, split_external
from ...artifacts.names import ProjectName
from ...artifacts.packs import PLACES
from ...artifacts.project import Project
from ...storage.digest import digest_of
from ...storage.errors import ConflictError, IntegrityError, NotFoundError, UsageError
from ...storage.pack_copy import Progress, copy_value
from ...storage.store import Store
from ...storage.transaction import Op, canonical_json
from ..live import live_state
from ..metrics.pieces import Part, run_prefix
from ..run_log import FORMAT, RunRecord
from ..workspace import Workspace

_BATCH_OPS = 1000
_LIMIT_OPS = 30_000  # of one transaction, also if a single run has more


@dataclass(frozen=True, slots=True)
class Claim:
    """Who has a run's id in a store, and since when."""

    origin: str
    time: str


def read_claim(store: Store, project: ProjectName, run: str, history: History) -> Claim | None:
    """The claim of a run, None when the id is free. Raises: IntegrityError, CommError."""
    try:
        data = store.backend.read(f"{run_prefix(project, run)}run.json")
    except NotFoundError:
        # A run from before claims existed is known by its first op.
        first = next((fact for fact in history.by_run.get(run, ()) if fact.op["op"].startswith("run.")), None)
        return None if first is None else Claim(first.origin, first.time)
    try:
        found = json.loads(data)
        return Claim(found.get("origin") or digest_of(data).hex(), found["time"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(
            f"run {project}/{run} of {store.url}: its run.json is damaged ({error!r}); restore it from a copy"
        ) from error


def take_claim(store: Store, project: Project, run: str, claim: Claim) -> bool:
    """Give the id `run` to the run that `claim` names; False when another run has it. Safe to repeat."""
    project.demand_understood()  # reads the log: what is said of the run comes after
    position = project.position
    value: dict[str, Any] = {"format": FORMAT, "run": run, "time": claim.time, "origin": claim.origin}
    value |= {"seq": position.seq, "head": position.digest}
    key = f"{run_prefix(project.name, run)}run.json"
    try:
        store.backend.create(key, canonical_json(value))
    except ConflictError:
        found = read_claim(store, project.name, run, History(project.log))
        return found is not None and found.origin == claim.origin
    return True


def other_run(
    project: ProjectName, run: str, mine: Claim, there: Claim, *, source: str, target: str
) -> UsageError:
    """What to say when the id is taken."""
    return UsageError(
        f"run {project}/{run} of {target}, begun {there.time}, is another run than {run} of {source}, begun"
        f" {mine.time}; copy it into another project with --to"
    )


def record_of(facts: Iterable[Fact], run: str) -> RunRecord:
    """What the log says of a run."""
    record = RunRecord(run)
    for fact in facts:
        if fact.op["op"].startswith("run."):
            record.add(fact.op)
    return record


def is_live(source: Workspace, project: ProjectName, record: RunRecord) -> bool:
    """Whether a process is still writing the run."""
    if record.deleted or not record.open_writers:
        return False
    return live_state(source, project, record.run).state == "running"


@dataclass(slots=True)
class RunPlan:
    """What is to be said next of some runs."""

    ops: list[Op] = field(default_factory=list)
    is_complete: bool = True


def plan_runs(
    runs: Iterable[str],
    project: ProjectName,
    source: History,
    target: History,
    resolve: Callable[[str], str],
    files_places: Callable[[str, str], Mapping[str, Any]],
) -> RunPlan:
    """The ops of `runs` that the target's log lacks, each run's in their order; `project` is theirs in the source.

    `files_places` says of a run and the digest of its files `PLACES` in the target.
    """
    plan = RunPlan()
    for run in runs:
        if len(plan.ops) >= _BATCH_OPS:
            plan.is_complete = False
            return plan
        facts = source.by_run.get(run, [])
        is_deleted = any(fact.op["op"] == "run.delete" for fact in facts)
        for fact in facts:
            kind = fact.op["op"]
            if fact.origin in target.origins:
                continue
            if len(plan.ops) >= _LIMIT_OPS:
                plan.is_complete = False
                return plan
            if kind.startswith("edge."):
                plan.ops.append(_edge(fact, project, source, target, resolve))
            elif kind == "run.delete":
                plan.ops.append(fact.copied())
            elif not is_deleted:
                plan.ops.append(_with_files(fact, files_places))
    return plan


def _with_files(fact: Fact, places: Callable[[str, str], Mapping[str, Any]]) -> Op:
    files = fact.op.get("files")
    if not files:
        return fact.copied()
    kept = {key: value for key, value in files.items() if key not in PLACES}
    return fact.copied(files={**kept, **places(fact.op["run"], files["digest"])})


def _edge(
    fact: Fact, named: ProjectName, source: History, target: History, resolve: Callable[[str], str]
) -> Op:
    """An edge with the names that the versions have in the target; `named` is the run's project in the source."""
    collection, number = fact.op["collection"], fact.op["version"]
    name = resolve(f"{fact.op.get('project', named)}/{collection}:v{number}")
    project, version = where_named(name)
    op = fact.copied(project=project, **version)
    if fact.op["op"] == "edge.use":
        return op
    derived = fact.op["derived_from"]
    op["derived_from"] = None if derived is None else [resolve(source) for source in derived]
    if project.startswith(EXTERNAL):
        return op
    origin = split_external(str(fact.op.get("project", "")))[0] or source.creators.get((collection, number))
    # Of content that lay there before another run is the maker.
    is_made = target.creators.get((version["collection"], version["version"])) == origin
    del op["project"]
    return {**op, "new": fact.op["new"] and is_made}


def where_named(name: str) -> tuple[str, dict[str, Any]]:
    """Project, and collection and version as an op has them, of a full or external name."""
    origin, plain = split_external(name)
    parsed = parse_full(plain)
    project = str(parsed.project) if origin is None else f"{EXTERNAL}{origin}/{parsed.project}"
    return project, {"collection": parsed.collection, "version": int(parsed.reference[1:])}


def copy_history(
    source: Store,
    project: ProjectName,
    target: Store,
    home: ProjectName,
    run: str,
    progress: Progress | None = None,
) -> int:
    """Copy what a run has beside the log: segments and compacted parts; how many bytes. Safe to repeat.

    Raises: UsageError when the run went on in both stores; NotFoundError, StoreError, CommError.
    """
    here, there = run_prefix(project, run), run_prefix(home, run)
    names = {
        stat.key.removeprefix(here)
        for folder in ("segments/", "history/")
        for stat in source.backend.list(f"{here}{folder}")
    }
    if not names:
        return 0
    present = {
        stat.key.removeprefix(there)
        for folder in ("segments/", "history/")
        for stat in target.backend.list(f"{there}{folder}")
    }
    covered: dict[str, int] = {}
    for name in present:
        if _is_marker(name):
            part = Part.decode(_number(name), target.backend.read(f"{there}{name}"))
            for writer, end in part.covers.items():
                covered[writer] = max(covered.get(writer, 0), end)
    copied = 0
    for name in sorted(name for name in names if name.startswith("segments/")):
        if name not in present and _segment_end(name) > covered.get(name.split("/")[1], 0):
            copied += copy_value(
                source.backend, f"{here}{name}", target.backend, f"{there}{name}", progress=progress
            )
    for name in sorted(filter(_is_marker, names)):
        part = Part.decode(_number(name), source.backend.read(f"{here}{name}"))
        moved = replace(
            part, parquet=_moved(part.parquet, here, there), rollup=_moved(part.rollup, here, there)
        )
        for key, new in ((part.parquet, moved.parquet), (part.rollup, moved.rollup)):
            if key and new and new.removeprefix(there) not in present:
                copied += copy_value(source.backend, key, target.backend, new, progress=progress)
        _create_marker(target, f"{there}{name}", moved, home, run, source)
    return copied


def _create_marker(target: Store, key: str, part: Part, home: ProjectName, run: str, source: Store) -> None:
    """The last thing: it makes the files of a part count. Raises: UsageError when another part has the number."""
    try:
        target.backend.create(key, part.encode())
    except ConflictError:
        if target.backend.read(key) != part.encode():
            raise UsageError(
                f"run {home}/{run} went on in {source.url} and in {target.url}: both have a part {part.number} of its"
                " history; copy it into another project with --to"
            ) from None


def _moved(key: str | None, here: str, there: str) -> Any:
    return None if key is None else there + key.removeprefix(here)


def _is_marker(name: str) -> bool:
    return name.startswith("history/") and name.endswith(".json")


def _number(name: str) -> int:
    return int(name.removeprefix("history/").removesuffix(".json"))


def _segment_end(name: str) -> int:
    return int(name.rpartition("/")[2].partition(".")[0].partition("-")[2])
