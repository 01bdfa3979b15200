"""What is to be copied: names and patterns, and all that comes along with them."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ...artifacts.history import History, parse_full, split_external
from ...artifacts.names import ArtifactName, ProjectName, check_name, nearest, parse_version
from ...storage.errors import InvalidNameError, NotFoundError
from ..workspace import Workspace

_WILD = frozenset("*?[")

Histories = Callable[[ProjectName], History]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What to copy. Names without a project mean the one in use at the source; ``*``, ``?`` and ``[…]`` are patterns.

    `names` are ``[[entity/]project/]name`` for a collection with all its versions and aliases, with ``:vN`` or
    ``:alias`` for one version. `runs` are ``[[entity/]project/]run``, by id or name: with a run come the versions that
    it made. `projects` come whole, and with `everything` all of them. With `with_lineage` the runs that made the
    versions come, too, and what those used, and so on.
    """

    names: Sequence[str] = ()
    runs: Sequence[str] = ()
    projects: Sequence[str] = ()
    everything: bool = False
    with_lineage: bool = False


@dataclass(slots=True)
class Chosen:
    """What a `Choice` means in a store."""

    # Of each collection the numbers of the versions, None: all of it, and what will be said of it later.
    collections: dict[ProjectName, dict[str, set[int] | None]] = field(default_factory=dict)
    runs: dict[ProjectName, dict[str, None]] = field(default_factory=dict)
    named_runs: set[tuple[ProjectName, str]] = field(
        default_factory=set
    )  # those that were asked for one by one

    def projects(self) -> list[ProjectName]:
        """All that something was chosen of, sorted."""
        return sorted({*self.collections, *self.runs}, key=str)

    def add_collection(self, project: ProjectName, name: str) -> None:
        """Choose a collection as a whole."""
        self.collections.setdefault(project, {})[name] = None

    def add_version(self, project: ProjectName, name: str, number: int) -> bool:
        """Choose a version; whether it was not chosen before."""
        numbers = self.collections.setdefault(project, {}).setdefault(name, set())
        if numbers is None or number in numbers:
            return False
        numbers.add(number)
        return True

    def add_run(self, project: ProjectName, run: str) -> bool:
        """Choose a run; whether it was not chosen before."""
        runs = self.runs.setdefault(project, {})
        is_new = run not in runs
        runs[run] = None
        return is_new


def choose(choice: Choice, source: Workspace, histories: Histories) -> Chosen:
    """Look up what is meant. Raises: NotFoundError with the nearest names; InvalidNameError."""
    return _Chooser(choice, source, histories).run()


class _Chooser:
    def __init__(self, choice: Choice, source: Workspace, histories: Histories) -> None:
        self.choice = choice
        self.source = source
        self.histories = histories
        self.chosen = Chosen()
        self.known = source.project_names()

    def run(self) -> Chosen:
        whole = self.known if self.choice.everything else []
        for project in [*whole, *(p for text in self.choice.projects for p in self._projects(text))]:
            for name in self.histories(project).state.collections:
                self.chosen.add_collection(project, name)
            for run in self.histories(project).by_run:
                self.chosen.add_run(project, run)
        for text in self.choice.names:
            self._name(text)
        for text in self.choice.runs:
            self._run(text)
        if self.choice.with_lineage:
            self._lineage()
        return self.chosen

    def _projects(self, text: str) -> list[ProjectName]:
        """The projects that ``[entity/]project`` means."""
        default = self.source.project_name
        parts = text.split("/") if text else [default.project]
        if len(parts) > 2:
            raise InvalidNameError(f"project {text!r}: expected [entity/]project")
        pattern = "/".join(parts if len(parts) == 2 else [default.entity, *parts])
        if not _WILD & set(pattern):
            ProjectName.parse(pattern, default)
        found = [project for project in self.known if fnmatch.fnmatchcase(str(project), pattern)]
        if not found:
            hint = nearest(pattern, map(str, self.known))
            raise NotFoundError(f"project {pattern!r} is not in {self.source.url}{hint}")
        return found

    def _name(self, text: str) -> None:
        path, colon, reference = text.partition(":")
        head, _, name = path.rpartition("/")
        if not _WILD & set(name):
            check_name(name, "artifact name")
        projects = self._projects(head)
        matches = [
            (project, found)
            for project in projects
            for found in self.histories(project).state.collections
            if fnmatch.fnmatchcase(found, name)
        ]
        if not matches:
            names = {found for project in projects for found in self.histories(project).state.collections}
            where = str(projects[0]) if len(projects) == 1 else self.source.url
            raise NotFoundError(f"artifact {name!r} does not exist in {where}{nearest(name, names)}")
        for project, found in matches:
            if not colon:
                self.chosen.add_collection(project, found)
                continue
            version = self.source.version(ArtifactName(project, found, check_name(reference, "alias")))
            self.chosen.add_version(project, found, version.state.number)

    def _run(self, text: str) -> None:
        head, _, wanted = text.rpartition("/")
        projects = self._projects(head)
        labels = [
            (project, run, label)
            for project in projects
            for run, facts in self.histories(project).by_run.items()
            for label in {run, *(str(f.op["name"]) for f in facts if f.op.get("name"))}
        ]
        matches = [(project, run) for project, run, label in labels if fnmatch.fnmatchcase(label, wanted)]
        if not matches:
            where = str(projects[0]) if len(projects) == 1 else self.source.url
            hint = nearest(wanted, {label for _, _, label in labels})
            raise NotFoundError(f"run {wanted!r} does not exist in {where}{hint}")
        for project, run in matches:
            self.chosen.add_run(project, run)
            if not _WILD & set(wanted):
                self.chosen.named_runs.add((project, run))
            for fact in self.histories(project).by_run[run]:
                if fact.op["op"] == "edge.produce" and "project" not in fact.op:
                    self.chosen.add_version(project, fact.op["collection"], fact.op["version"])

    # What comes along

    def _lineage(self) -> None:
        """Follow every chosen version to the runs that made it, and those to what they used."""
        pending = [version for project in self.chosen.projects() for version in self._versions(project)]
        for project, runs in list(self.chosen.runs.items()):
            for run in runs:
                pending += self._inputs(project, run)
        seen: set[tuple[ProjectName, str, int]] = set()
        while pending:
            version = pending.pop()
            if version in seen:
                continue
            seen.add(version)
            project, name, number = version
            history = self.histories(project)
            state = history.state.collections.get(name)
            if project not in self.known or state is None or number not in state.versions:
                continue
            self.chosen.add_version(project, name, number)
            pending += self._named([state.versions[number].source or ""])
            for run in self._producers(project).get((name, number), ()):
                if self.chosen.add_run(project, run):
                    pending += self._inputs(project, run)

    def _versions(self, project: ProjectName) -> Iterable[tuple[ProjectName, str, int]]:
        for name, numbers in self.chosen.collections.get(project, {}).items():
            every = self.histories(project).state.collections[name].versions
            for number in every if numbers is None else numbers:
                yield project, name, number

    def _inputs(self, project: ProjectName, run: str) -> list[tuple[ProjectName, str, int]]:
        names: list[str] = []
        for fact in self.histories(project).by_run.get(run, ()):
            op = fact.op
            if op["op"] == "edge.use":
                names.append(f"{op['project']}/{op['collection']}:v{op['version']}")
            elif op["op"] == "edge.produce":
                names += op["derived_from"] or ()
        return self._named(names)

    def _named(self, names: Iterable[str]) -> list[tuple[ProjectName, str, int]]:
        """Those of the full `names` that this store has."""
        found = []
        for name in names:
            if name and split_external(name)[0] is None:
                parsed = parse_full(name)
                found.append((parsed.project, parsed.collection, parse_version(parsed.reference) or 0))
        return found

    def _producers(self, project: ProjectName) -> dict[tuple[str, int], list[str]]:
        found: dict[tuple[str, int], list[str]] = {}
        for run, facts in self.histories(project).by_run.items():
            for fact in facts:
                if fact.op["op"] == "edge.produce" and "project" not in fact.op:
                    found.setdefault((fact.op["collection"], fact.op["version"]), []).append(run)
        return found
