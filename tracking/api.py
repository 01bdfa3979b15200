"""`Api`: reading back what is in a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..artifacts.decisions import find_collection
from ..artifacts.names import ProjectName
from ..artifacts.state import CollectionState
from ..lineage import Catalog
from ..storage.errors import NotFoundError, UsageError
from .artifact import Artifact
from .settings import find_settings
from .workspace import Workspace

if TYPE_CHECKING:
    import duckdb


class Api:
    """A reader of one store.

    >>> import lineart
    >>> with lineart.init(project="docs") as run:
    ...     _ = run.log_artifact(lineart.Artifact("empty", type="dataset"))
    >>> lineart.Api().artifact("docs/empty:latest").version
    'v0'
    """

    def __init__(self, store: str | None = None) -> None:
        """Raises: NotFoundError when there is no store at `store` (default: as for `lineart.init`)."""
        self._workspace = Workspace.open(find_settings(store=store))
        self._catalog: Catalog | None = None

    def artifact(self, name: str, type: str | None = None) -> Artifact:
        """One version. Raises: NotFoundError with the nearest names; UsageError when its type is not `type`."""
        artifact = Artifact.of(self._workspace, self._workspace.version(name))
        if type is not None and artifact.type != type:
            raise UsageError(f"artifact {artifact.name} has type {artifact.type!r}, expected {type!r}")
        return artifact

    def artifacts(self, type_name: str, name: str) -> list[Artifact]:
        """The live versions of a collection, newest first. Raises: NotFoundError, UsageError as `artifact` does."""
        wanted = self._workspace.parse(name)
        found = find_collection(self._workspace.project(wanted.project).state(), wanted.collection)
        if found.type != type_name:
            raise UsageError(
                f"artifact {wanted.collection!r} has type {found.type!r}, expected {type_name!r}"
            )
        versions = self._workspace.versions(wanted.collection, wanted.project)
        return [Artifact.of(self._workspace, version) for version in reversed(versions)]

    def artifact_exists(self, name: str) -> bool:
        """Whether a name means a live version."""
        try:
            self._workspace.version(name)
        except NotFoundError:
            return False
        return True

    def artifact_types(self, project: str | None = None) -> list[str]:
        """The types of a project's collections, sorted."""
        return sorted({collection.type for collection in self._collections(project).values()})

    def artifact_collections(self, type_name: str | None = None, project: str | None = None) -> list[str]:
        """The names of a project's collections (of one type), sorted."""
        found = self._collections(project).values()
        return sorted(collection.name for collection in found if type_name in (None, collection.type))

    def sql(
        self, query: str, parameters: Sequence[object] | Mapping[str, object] | None = None
    ) -> duckdb.DuckDBPyRelation:
        """A DuckDB relation over the catalog (tables: docs/catalog.md); `.df()`, `.fetchall()`. Raises: UsageError."""
        if self._catalog is None:
            self._catalog = self._workspace.catalog()
        else:
            self._catalog.refresh(self._workspace.project_names())
        return self._catalog.sql(query, parameters)

    def _collections(self, project: str | None) -> Mapping[str, CollectionState]:
        default = self._workspace.project_name
        name = default if project is None else ProjectName.parse(project, default)
        return dict(self._workspace.project(name).state().collections.items())
