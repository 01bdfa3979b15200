"""An open store with a project in use: what runs, the `Api` and the command line share."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..artifacts.decisions import LATEST, find_collection, find_version
from ..artifacts.names import ArtifactName, ProjectName, nearest, parse_version
from ..artifacts.project import Project
from ..artifacts.state import CollectionState, ProjectState
from ..artifacts.version import Version
from ..lineage import Catalog
from ..storage.actor import utc_now
from ..storage.errors import NotFoundError
from ..storage.notes import Notes
from ..storage.store import Machine, Store, StoreSettings, open_backend, project_prefix
from .run_folder import live_roots
from .settings import DEFAULT_ENTITY, DEFAULT_REGISTRY, StoreChoice, find_signing

if TYPE_CHECKING:  # signatures are for those who trust some keys only
    from ..registry.audit import Audit
    from ..registry.signing import TrustedKeys
    from .trust import AuditedLog


class Workspace:
    """A store, the project in use, and the projects looked at so far. Shared by threads."""

    def __init__(self, store: Store, project: ProjectName, data: Path | None = None) -> None:
        """`data` is the user's folder for what must not get lost (default: the folder of the store's cache)."""
        self.store = store
        self.project_name = project
        self.data = data if data is not None else store.cache
        self._projects: dict[ProjectName, Project] = {}
        self._audited: dict[ProjectName, AuditedLog] = {}

    @classmethod
    def open(
        cls, settings: StoreChoice, *, create: bool = False, offline: bool = False, falls_back: bool = False
    ) -> Workspace:
        """Open the store that `settings` name; nobody's choice (`~/.lineart`) and `create` make it when missing.

        Of a remote store, `offline` asks nothing and writes to the outbox; `falls_back` does so if it does not answer.
        Raises: NotFoundError when there is no store; FormatError, StoreError, CommError.
        """
        machine = Machine(
            settings.cache, settings.cache_bytes, settings.data, offline=offline, falls_back=falls_back
        )
        try:
            store = Store.open(
                settings.store,
                cache=settings.cache,
                storage_options=settings.storage_options,
                machine=machine,
                trusts=lambda notes: _knows_project(notes, settings),
            )
        except NotFoundError:
            # A folder that a user has named is made at first use, too: zero set-up. A bucket is not: it is shared,
            # and a mistyped name must not become a second store.
            is_local = open_backend(settings.store, settings.storage_options).local_path("packs") is not None
            if not (create and is_local):
                raise
            store = Store.create(
                settings.store,
                cache=settings.cache,
                entity=settings.entity or DEFAULT_ENTITY,
                created=utc_now(),
            )
        name = ProjectName(settings.entity or store.settings.entity, settings.project)
        return cls(store, name, settings.data)

    @cached_property
    def url(self) -> str:
        """Where the store is."""
        return self.store.url

    def project(self, name: ProjectName | None = None) -> Project:
        """A project by name, or the one in use; it need not exist yet."""
        wanted = name or self.project_name
        return self._projects.setdefault(wanted, Project(self.store, wanted))

    def project_names(self) -> list[ProjectName]:
        """Every project that has a log."""
        return [ProjectName(entity, project) for entity, project in self.store.projects()]

    def projects_here(self) -> list[ProjectName]:
        """Projects of which processes on this machine have left something, or are writing it."""
        found = set()
        for root in live_roots(self.store, self.data):
            for folder in root.glob("*/*"):
                found.add(ProjectName(folder.parent.name, folder.name))
        return sorted(found, key=str)

    def parse(self, name: str) -> ArtifactName:
        """Read an artifact name with the project in use as default. Raises: InvalidNameError."""
        return ArtifactName.parse(name, self.project_name)

    def find(self, text: str) -> ArtifactName:
        """Read a name of something that is there: in the project in use or, without a path, else in `model-registry`.

        Raises: InvalidNameError.
        """
        wanted = self.parse(text)
        return (None if "/" in text else self._registered(wanted)) or wanted

    def _registered(self, wanted: ArtifactName) -> ArtifactName | None:
        """The registered model of that name, when the project has nothing of that name."""
        if wanted.collection in self.project(wanted.project).state().collections:
            return None
        registry = ProjectName(self.project_name.entity, DEFAULT_REGISTRY)
        is_there = wanted.collection in self.project(registry).state().collections
        return replace(wanted, project=registry) if is_there else None

    def version(self, name: ArtifactName | str, *, deleted_too: bool = False) -> Version:
        """The version that a name means now, text as `find` reads it. Raises: NotFoundError with the nearest names."""
        wanted = self.parse(name) if isinstance(name, str) else name
        try:
            return self._version(wanted, deleted_too=deleted_too)
        except NotFoundError:  # only then the registry is asked: most names are those of the project
            registered = self._registered(wanted) if isinstance(name, str) and "/" not in name else None
            if registered is None:
                raise
        return self._version(registered, deleted_too=deleted_too)

    def _version(self, wanted: ArtifactName, *, deleted_too: bool) -> Version:
        state = self._state(wanted)
        found = find_version(state, self._believed(wanted, state), deleted_too=deleted_too)
        kind = state.collections[wanted.collection].type
        return Version(self.store, wanted.project, wanted.collection, kind, found)

    def _believed(self, name: ArtifactName, state: ProjectState) -> ArtifactName:
        """An alias as those read it who trust some keys only (`trust`); any other name as it is."""
        collection = state.collections.get(name.collection)
        is_alias = parse_version(name.reference) is None and name.reference != LATEST
        if collection is None or not is_alias or not self.trusted:
            return name
        number = self.believed(name, collection)
        stated = collection.aliases.get(name.reference)
        return name if number == stated else replace(name, reference=f"v{number}")

    def believed(self, name: ArtifactName, collection: CollectionState) -> int | None:
        """Where the alias that `name` refers to points for those who trust these keys; None: nowhere.

        Raises: NotFoundError when no trusted key has promoted a version.
        """
        stated = collection.aliases.get(name.reference)
        log = self._audited_log(name.project)
        return stated if log is None else log.target(name, stated)

    def audit(self, project: ProjectName) -> Audit | None:
        """What those believe of a project's log who trust some keys; None without any. Raises: IntegrityError."""
        log = self._audited_log(project)
        return None if log is None else log.refresh()

    def state(self, project: ProjectName) -> ProjectState:
        """What a project's log says, for readers: with trusted keys aliases point where one of them stands for it.

        What is committed is decided upon the log itself: `project`. Raises: IntegrityError, CommError.
        """
        log, state = self._audited_log(project), self.project(project).state()
        return state if log is None else log.corrected(state)

    def _disbelieved(self, project: ProjectName) -> Collection[int]:
        """The positions of what moved an alias, and no trusted key stands for."""
        log = self._audited_log(project)
        return () if log is None else log.refresh().ignored

    def _audited_log(self, project: ProjectName) -> AuditedLog | None:
        if not self.trusted:
            return None
        from .trust import AuditedLog

        if project not in self._audited:
            self._audited[project] = AuditedLog(self.store, project, self.trusted)
        return self._audited[project]

    @cached_property
    def trusted(self) -> TrustedKeys | None:
        """The keys that the settings trust, None when they name none. Raises: NotFoundError, UsageError."""
        choice = find_signing()
        if not choice.trusted:
            return None
        from .keys import read_trusted

        return read_trusted(choice)

    def versions(self, collection: str, project: ProjectName | None = None) -> list[Version]:
        """The live versions of a collection, oldest first. Raises: NotFoundError."""
        name = project or self.project_name
        found = find_collection(self.project(name).state(), collection)
        return [Version(self.store, name, collection, found.type, version) for version in found.live()]

    def catalog(self, projects: Iterable[ProjectName] | None = None) -> Catalog:
        """The catalog of the given projects, or of all in the store: lineage crosses projects."""
        wanted = self.project_names() if projects is None else projects
        return Catalog(self.store, wanted, self._disbelieved if self.trusted else None)

    def _state(self, name: ArtifactName) -> ProjectState:
        state = self.project(name.project).state()
        if name.collection not in state.collections and not state.collections:
            known = [str(project) for project in self.project_names()]
            if str(name.project) not in known:
                raise NotFoundError(
                    f"artifact {name.short!r}: project {str(name.project)!r} is empty"
                    f"{nearest(str(name.project), known)}"
                )
        return state

    def close(self) -> None:
        """Close the store."""
        self.store.close()


def _knows_project(notes: Notes, settings: StoreChoice) -> bool:
    """Whether the state of the project in use is noted: reading on from there shows that the store is the same."""
    noted = notes.settings.read()
    if noted is None:
        return False
    entity = settings.entity or StoreSettings.decode(noted, settings.store).entity
    return notes.of_log(project_prefix(entity, settings.project)).read() is not None
