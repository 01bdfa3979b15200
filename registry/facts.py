"""Where the facts of `vocabulary` come from: the catalog, the version's manifest, and, for references, their places."""

from __future__ import annotations

import datetime
import decimal
import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from ..artifacts.manifest import Entry
from ..artifacts.names import ArtifactName
from ..artifacts.recorded import shown as shown_number
from ..artifacts.references import References
from ..artifacts.version import Version
from ..lineage import Catalog, LineageGraph, RunFacts, run_facts, unobserved_runs, untracked_count
from ..lineage.evaluations import UsedVersion, is_evaluation
from ..storage.errors import CommError, Error, NotFoundError, ReferenceChangedError, UsageError
from .expressions import Fact, Step
from .judging import Found, Missing, NoIncumbent, shown
from .pickles import PICKLED, holds_pickle

_CODE = (
    ".py",
    ".ipynb",
    ".sh",
    ".r",
    ".jl",
    ".scala",
    ".java",
    ".c",
    ".cc",
    ".cpp",
    ".cu",
    ".rs",
    ".go",
    ".sql",
)
_UNKNOWN_RUN = Missing("no run is known to have made it")


@dataclass(frozen=True, slots=True)
class Signed:
    """Who has said something about the version, as far as it is believed."""

    approvers: Mapping[str, str] = field(default_factory=dict)  # name → the id of the approval
    signers: Callable[[], Sequence[str]] = tuple  # names of the trusted keys that signed it, when it is asked


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What facts are looked up in."""

    catalog: Catalog
    resolve: Callable[
        [str, ArtifactName], Version
    ]  # a name in a policy, and the version whose project it is of
    references: References
    now: datetime.datetime


class Subject:
    """A version that is judged, or compared with: what is known of it and of the run that made it."""

    def __init__(
        self, around: Surroundings, version: Version, source: Version, aliases: Sequence[str]
    ) -> None:
        """`source` is what `version` is a link to, else the same."""
        self._around = around
        self._version = version
        self._source = source
        self._aliases = aliases

    @property
    def source(self) -> ArtifactName:
        """Its full name; of a link that of the version it was made from."""
        return self._source.name

    @cached_property
    def run(self) -> RunFacts | None:
        """The run that made it."""
        made = self._around.catalog.rows(
            "SELECT run_id FROM productions WHERE version_id = ? AND is_new ORDER BY position",
            [str(self._source.name)],
        )
        return run_facts(self._around.catalog, made[0][0]) if made else None

    @cached_property
    def author(self) -> str | None:
        """The user who made it."""
        if self.run is not None:
            return self.run.user
        query = "SELECT user_name FROM version_creations WHERE version_id = ?"
        found = self._around.catalog.rows(query, [str(self._source.name)])
        return found[0][0] if found else None

    def look(self, steps: Sequence[Step], arguments: Sequence[Found]) -> Found:
        """The value of a fact about this version."""
        root, rest = steps[0].name, [step.name for step in steps[1:]]
        if root == "run":
            return self._of_run(self.run, rest)
        if root == "config":
            if self.run is None:
                return _UNKNOWN_RUN
            return _found_in(self.run.config, rest, "config of the run")
        if root == "eval":
            return self._evaluated(arguments, rest)
        if root == "git":
            return self._git(rest[0])
        if root == "files":
            return self._files(rest, arguments, is_call=steps[0].arguments is not None)
        return self._of_version(rest)

    def ended(self, steps: Sequence[Step], arguments: Sequence[Found]) -> Found:
        """When the run ended, or the version was made: seconds since then."""
        root = steps[0].name
        if root == "version":
            return self._since(self._source.state.created_at)
        run = self.run if root == "run" else self._evaluation(arguments)
        if run is None:
            return _UNKNOWN_RUN
        if isinstance(run, Missing):
            return run
        if run.finished_at is None:
            return Missing(f"run {run.run_id} has not ended")
        return self._since(run.finished_at)

    def _since(self, time: str) -> float:
        return (self._around.now - datetime.datetime.fromisoformat(time)).total_seconds()

    # Runs

    def _of_run(self, run: RunFacts | None, rest: Sequence[str]) -> Found:
        if run is None:
            return _UNKNOWN_RUN
        if not rest:
            return run.run_id
        special = {"state": run.state, "user": run.user, "name": run.name, "job_type": run.job_type}
        if len(rest) == 1 and rest[0] in special:
            value = special[rest[0]]
            return Missing(f"the run has no {rest[0]}") if value is None else value
        return _found_in(run.summary, rest, f"summary of run {run.run_id}")

    def _evaluated(self, arguments: Sequence[Found], rest: Sequence[str]) -> Found:
        run = self._evaluation(arguments)
        return run if isinstance(run, Missing) else self._of_run(run, rest)

    def _evaluation(self, arguments: Sequence[Found]) -> RunFacts | Missing:
        """The newest finished run that used this version and a dataset."""
        wanted = arguments[0]
        if not isinstance(wanted, str):
            return Missing(f"{wanted!r} names no dataset")
        try:
            dataset = self._around.resolve(wanted, self._source.name)
        except (NotFoundError, UsageError) as error:  # or it is no name at all
            return Missing(str(error))
        mine = [str(self._source.name), *self._source.state.links]
        candidates = self._around.catalog.rows(
            "SELECT run_id FROM runs WHERE state = 'finished'"
            " AND run_id IN (SELECT run_id FROM uses WHERE version_id IN (SELECT unnest(?::VARCHAR[])))"
            " AND run_id IN (SELECT u.run_id FROM uses u JOIN version_creations c USING (version_id)"
            " WHERE c.digest = ?)"
            " ORDER BY finished_at DESC, run_id",
            [mine, dataset.state.digest],
        )
        for (run_id,) in candidates:
            if self._has_evaluated(run_id):
                return run_facts(self._around.catalog, run_id) or Missing(f"run {run_id} was deleted")
        if candidates:
            return Missing(
                f"{candidates[0][0]}, which used it with {dataset.name.short}, made or compared with something else"
            )
        return Missing(f"no finished run used it with {dataset.name.short}")

    def _has_evaluated(self, run_id: str) -> bool:
        """Whether what a run has measured is said of this version, and not of another that it used or made."""
        used = self._around.catalog.rows(
            "SELECT coalesce(c.digest, u.version_id), coalesce(t.type, ''), u.role FROM uses u"
            " LEFT JOIN version_creations c USING (version_id)"
            " LEFT JOIN collections t ON t.project = c.project AND t.collection = c.collection WHERE u.run_id = ?",
            [run_id],
        )
        made = self._around.catalog.rows(
            "SELECT DISTINCT t.type FROM productions p JOIN version_creations c USING (version_id)"
            " JOIN collections t ON t.project = c.project AND t.collection = c.collection WHERE p.run_id = ?",
            [run_id],
        )
        versions = [UsedVersion(*row) for row in used]
        return is_evaluation(self._source.state.digest, "finished", versions, [row[0] for row in made])

    def _git(self, name: str) -> Found:
        if self.run is None:
            return _UNKNOWN_RUN
        git = self.run.capture.get("git")
        if not git:
            return False if name == "clean" else Missing("the run's code was in no git repository")
        if name != "clean":
            value = git.get(name)
            return Missing(f"the repository has no {name}") if value is None else str(value)
        untracked = git.get("untracked") or []
        if git.get("dirty") or any(str(path).lower().endswith(_CODE) for path in untracked):
            return False
        if int(git.get("untracked_count") or 0) > len(untracked):
            return Missing(
                f"{git['untracked_count']} untracked files, of which the run has noted {len(untracked)}"
            )
        return True

    def is_reproducible(self, untracked: Found) -> Found:
        """Whether all that `art reproduce` needs was recorded."""
        if self.run is None:
            return _UNKNOWN_RUN
        clean = self._git("clean")
        if isinstance(clean, Missing) or not clean:
            return clean
        if isinstance(untracked, Missing):
            return untracked
        return bool(self.run.capture.get("command")) and not untracked

    # The version

    def _of_version(self, rest: Sequence[str]) -> Found:
        state, name = self._source.state, rest[0] if rest else None
        if name == "metadata":
            return _found_in(state.metadata, rest[1:], "metadata")
        values: dict[str | None, Found] = {
            None: str(self._version.name),
            "size": state.size_bytes,
            "files": state.file_count,
            "references": state.reference_count,
            "type": self._version.type,
            "description": state.description,
            "tags": list(state.tags),
            "aliases": list(self._aliases),
        }
        return values[name]

    def _files(self, rest: Sequence[str], patterns: Sequence[Found], *, is_call: bool) -> Found:
        entries = [
            entry
            for entry in self._source.manifest.values()
            if entry.kind in ("file", "executable", "reference")
        ]
        if is_call:
            for pattern in patterns:
                if not isinstance(pattern, str):
                    return Missing(f"{shown(pattern)} is no pattern of paths")
            return sum(any(fnmatch.fnmatchcase(entry.path, str(p)) for p in patterns) for entry in entries)
        if not rest:
            return len(entries)
        if rest[0] == "types":
            return sorted({PurePosixPath(entry.path).suffix.lower() for entry in entries})
        return self._pickles(entries)

    def _pickles(self, entries: Sequence[Entry]) -> Found:
        count = 0
        for entry in entries:
            if entry.path.lower().endswith(PICKLED):
                count += 1
                continue
            try:
                with self._source.open(entry.path, references=self._around.references) as file:
                    count += holds_pickle(file)
            except (ReferenceChangedError, NotFoundError, CommError) as error:
                return Missing(str(error))  # of a place outside
        return count


def _found_in(values: Mapping[str, Any], path: Sequence[str], where: str) -> Found:
    """A value by its name, whose parts may be divided by dots: nested, or in a name."""
    value: Any = values
    for depth, key in enumerate(path):
        if not isinstance(value, Mapping):
            return Missing(f"{'.'.join(path)} is not in the {where}")
        whole = ".".join(path[depth:])
        if whole in value:
            value = value[whole]
            break
        if key not in value:
            return Missing(f"{'.'.join(path)} is not in the {where}")
        value = value[key]
    value = shown_number(value)
    if isinstance(value, decimal.Decimal):
        value = float(value)
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, list) and all(isinstance(item, (bool, int, float, str)) for item in value):
        return list(value)
    return Missing(f"{'.'.join(path)} in the {where} is neither number, text nor list of them")


class Facts:
    """The facts of one decision: about the candidate, and about the version in place."""

    def __init__(
        self, around: Surroundings, candidate: Subject, incumbent: Subject | None, signed: Signed
    ) -> None:
        self._around = around
        self._candidate = candidate
        self._source = candidate.source
        self._name = str(candidate.source)
        self._incumbent = incumbent
        self._signed = signed

    def __call__(self, fact: Fact, arguments: Sequence[Found]) -> Found:
        """The value of a fact. Raises: NoIncumbent; CommError, IntegrityError while it is looked up."""
        subject, steps = self._candidate, fact.steps
        for argument in arguments:
            if isinstance(argument, Missing) and steps[0].name != "age":
                return argument
        if steps[0].name == "incumbent":
            if steps[1].name == "exists":
                return self._incumbent is not None
            if self._incumbent is None:
                raise NoIncumbent
            subject, steps = self._incumbent, steps[1:]
        root = steps[0].name
        if root == "age":
            return self._age(steps[0])
        if root == "lineage":
            return self._lineage(steps[1].name, arguments)
        if root == "reproducible":
            return self._candidate.is_reproducible(self._lineage("untracked", ()))
        if root == "approvals":
            return _counted(self._signed.approvers, steps, arguments)
        if root == "signatures":
            return _counted(self._signed.signers(), steps, arguments)
        return subject.look(steps, arguments)

    def _age(self, step: Step) -> Found:
        thing = step.arguments[0] if step.arguments else None
        assert isinstance(thing, Fact)  # `vocabulary.check` has seen to it
        subject, steps = self._candidate, thing.steps
        if steps[0].name == "incumbent":
            if self._incumbent is None:
                raise NoIncumbent
            subject, steps = self._incumbent, steps[1:]
        values = [getattr(argument, "value", None) for argument in steps[0].arguments or ()]
        return subject.ended(steps, [Missing("no name") if value is None else value for value in values])

    # Lineage

    @cached_property
    def _upstream(self) -> list[dict[str, Any]]:
        """The candidate and the versions that it was made from, directly or not."""
        graph = LineageGraph(self._around.catalog).build(self._name, direction="upstream")
        return [{"id": node, **data} for node, data in graph.nodes(data=True) if data["kind"] == "artifact"]

    @cached_property
    def _unknown(self) -> Missing | None:
        """Why nothing can be said of what it was made from: it was put there by hand, or its past is elsewhere."""
        there = [version["id"] for version in self._upstream]
        rows = self._around.catalog.rows(
            "SELECT version_id, c.run_id, c.run_id IN (SELECT run_id FROM run_events) FROM version_creations c"
            " WHERE version_id IN (SELECT unnest(?::VARCHAR[])) ORDER BY version_id",
            [there],
        )
        for version_id, run, is_known in rows:
            if run is None and version_id == self._name:
                return Missing(f"no run made {version_id}: what it comes from is not known")
            if run is not None and not is_known:
                return Missing(f"run {run}, which made {version_id}, is not in this store")
        return None

    def _lineage(self, name: str, arguments: Sequence[Found]) -> Found:
        if name == "tagged" and not isinstance(arguments[0], str):
            return Missing(f"{shown(arguments[0])} is no tag")
        if self._unknown is not None:
            return self._unknown
        others = [version for version in self._upstream if version["id"] != self._name]
        if name == "inputs":
            graph = LineageGraph(self._around.catalog).build(self._name, direction="upstream", depth=1)
            return len([1 for _, data in graph.nodes(data=True) if data["kind"] == "artifact"]) - 1
        if name == "upstream":
            return len(others)
        missing = [version["id"] for version in others if not version["digest"]]
        if name == "missing":
            return len(missing)
        if missing:
            return Missing(f"{missing[0]}, which it comes from, is not in this store")
        if name == "unobserved":
            return len(unobserved_runs(self._around.catalog, self._name, upstream=True))
        if name == "untracked":
            unseen = unobserved_runs(self._around.catalog, self._name, upstream=False)
            if unseen:
                return Missing(f"nobody has observed what run {unseen[0]} read")
            return untracked_count(self._around.catalog, self._name, upstream=True)
        if name == "tagged":
            return sum(arguments[0] in version["tags"] for version in self._upstream)
        if name == "changed":
            return self._changed()
        return sum(bool(version["deleted"]) for version in others)

    def _changed(self) -> Found:
        count = 0
        for version in self._upstream:
            if version["deleted"]:
                continue
            found = self._around.resolve(version["id"], self._source)
            if not found.state.reference_count:
                continue
            for entry in found.manifest.values():
                if entry.kind != "reference":
                    continue
                try:
                    self._around.references.check(entry)
                except (ReferenceChangedError, NotFoundError):
                    count += 1
                except Error as error:
                    return Missing(str(error))
        return count


def _counted(
    known: Mapping[str, str] | Sequence[str], steps: Sequence[Step], wanted: Sequence[Found]
) -> Found:
    """How many have said yes, or how many of those that are asked for."""
    if len(steps) == 1:
        return len(known)
    for name in wanted:
        if not isinstance(name, str):
            return Missing(f"{shown(name)} is no name")
    return sum(name in known for name in dict.fromkeys(map(str, wanted)))
