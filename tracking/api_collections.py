"""Types, collections and projects, read back. Types and collections are text (their names) that can be asked more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..artifacts.decisions import find_collection
from ..artifacts.names import ArtifactName, ProjectName, nearest, parse_version
from ..artifacts.protection import decide_description
from ..artifacts.state import CollectionState
from ..storage.errors import NotFoundError, UsageError
from .workspace import Workspace

if TYPE_CHECKING:
    from .api import Api
    from .api_runs import Runs
    from .artifact import Artifact
    from .promoting import Decision


class ArtifactType(str):
    """The name of a type of a project, with its collections."""

    _workspace: Workspace
    _project: ProjectName

    def __new__(cls, workspace: Workspace, project: ProjectName, name: str) -> ArtifactType:
        made = super().__new__(cls, name)
        made._workspace, made._project = workspace, project
        return made

    @property
    def name(self) -> str:
        """The type's name."""
        return str(self)

    def collections(self) -> list[ArtifactCollection]:
        """The project's collections of this type, sorted by name."""
        return collections_of(self._workspace, self._project, self.name)

    def collection(self, name: str) -> ArtifactCollection:
        """One of them. Raises: NotFoundError with the nearest names."""
        found = {collection.name: collection for collection in self.collections()}
        if name not in found:
            raise NotFoundError(f"project {self._project} has no {self.name} {name!r}{nearest(name, found)}")
        return found[name]


class ArtifactCollection(str):
    """The name of a collection, with its versions; what it says is of when it was asked for."""

    _workspace: Workspace
    _project: ProjectName
    _state: CollectionState
    _description: str | None  # what `save` is to say; None: nothing
    _tags: list[str] | None

    def __new__(
        cls, workspace: Workspace, project: ProjectName, state: CollectionState
    ) -> ArtifactCollection:
        made = super().__new__(cls, state.name)
        made._workspace, made._project, made._state = workspace, project, state
        made._description = made._tags = None
        return made

    @property
    def name(self) -> str:
        """The collection's name."""
        return str(self)

    @property
    def type(self) -> str:
        """The type of its versions."""
        return self._state.type

    @property
    def description(self) -> str:
        """What was said about it. Set it, and call `save`."""
        return self._state.description if self._description is None else self._description

    @description.setter
    def description(self, text: str) -> None:
        self._description = text

    @property
    def tags(self) -> list[str]:
        """Its own tags, sorted; not those of its versions. Change the list, or set it, and call `save`."""
        if self._tags is None:
            self._tags = list(self._state.tags)
        return self._tags

    @tags.setter
    def tags(self, tags: Sequence[str]) -> None:
        if isinstance(tags, str):
            raise UsageError(f"tags {tags!r}: expected a list such as [{tags!r}]")
        self._tags = list(tags)

    def save(self) -> None:
        """Store description and tags. Raises: InvalidNameError for a tag; CommError."""
        said, tags = self._description, self._tags
        self._workspace.project(self._project).commit(
            lambda state: decide_description(state, self.name, description=said, tags=tags)
        )
        self._state = find_collection(self._workspace.state(self._project), self.name)
        self._description = self._tags = None

    @property
    def created_at(self) -> str:
        """When it was made, RFC 3339 in UTC."""
        return self._state.created_at

    @property
    def aliases(self) -> list[str]:
        """The aliases that point to one of its versions, sorted."""
        return sorted(self._state.aliases)

    @property
    def qualified_name(self) -> str:
        """``entity/project/name``."""
        return f"{self._project}/{self}"

    @property
    def protected_aliases(self) -> list[str]:
        """The aliases that move by promotion only, sorted."""
        return sorted(self._state.protected)

    @property
    def policy(self) -> str | None:
        """Its policy file, None without one."""
        return None if self._state.policy is None else self._state.policy.text

    def protect(self, alias: str, reason: str = "") -> None:
        """From now on `alias` moves by promotion only. Raises: UsageError for ``latest``; InvalidNameError."""
        self._set_protection(alias, True, reason)

    def unprotect(self, alias: str, reason: str = "") -> None:
        """Let `alias` move freely again."""
        self._set_protection(alias, False, reason)

    def _set_protection(self, alias: str, protected: bool, reason: str) -> None:
        from .promoting import protect

        name = ArtifactName(self._project, self.name)
        protect(self._workspace, name, alias, protected=protected, reason=reason)
        self._state = find_collection(self._workspace.state(self._project), self.name)

    def rollback(
        self, alias: str, to: str | None = None, reason: str = "", dry_run: bool = False
    ) -> Decision:
        """Move a protected alias back to the version that was in place before, or to `to`, such as ``v7``.

        Its bytes are read and checked, and the clauses of its policies for rollbacks; false when one of them fails.
        Raises: NotFoundError, ConflictError, IntegrityError, CommError; UsageError for a `to` that is no version.
        """
        from .promoting import Wish, rollback

        number = None if to is None else parse_version(to)
        if to is not None and number is None:
            raise UsageError(f"rollback to {to!r}: expected a version such as v7")
        name = ArtifactName(self._project, self.name)
        wish = Wish(alias, "rollback", reason=reason, is_tried=dry_run)
        return rollback(self._workspace, name, wish, to=number)

    def artifacts(self) -> list[Artifact]:
        """Its live versions, newest first."""
        from .artifact import Artifact

        versions = self._workspace.versions(self.name, self._project)
        return [Artifact.of(self._workspace, version) for version in reversed(versions)]

    versions = artifacts


class ApiProject:
    """One project of a store."""

    def __init__(self, api: Api, name: ProjectName) -> None:
        self._api = api
        self._name = name

    @property
    def name(self) -> str:
        """The project's name."""
        return self._name.project

    @property
    def entity(self) -> str:
        """The entity's name."""
        return self._name.entity

    @property
    def path(self) -> list[str]:
        """Entity and name."""
        return [self.entity, self.name]

    def runs(self, filters: Mapping[str, Any] | None = None, order: str = "-created_at") -> Runs:
        """Its runs; see `Api.runs`."""
        return self._api.runs(str(self._name), filters, order)

    def artifact_types(self) -> list[ArtifactType]:
        """The types of its collections, sorted."""
        return self._api.artifact_types(str(self._name))

    def artifact_collections(self, type_name: str | None = None) -> list[ArtifactCollection]:
        """Its collections (of one type), sorted."""
        return self._api.artifact_collections(type_name, str(self._name))

    def __repr__(self) -> str:
        return f"<ApiProject {self._name}>"


def collections_of(
    workspace: Workspace, project: ProjectName, type_name: str | None = None
) -> list[ArtifactCollection]:
    """A project's collections (of one type), sorted."""
    found = workspace.state(project).collections.values()
    chosen = sorted((c for c in found if type_name in (None, c.type)), key=lambda c: c.name)
    return [ArtifactCollection(workspace, project, collection) for collection in chosen]


def collection_of(workspace: Workspace, name: str) -> ArtifactCollection:
    """One collection by name. Raises: NotFoundError with the nearest names."""
    wanted = workspace.parse(name)
    state = find_collection(workspace.state(wanted.project), wanted.collection)
    return ArtifactCollection(workspace, wanted.project, state)
