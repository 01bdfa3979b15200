"""`Api`: reading back what is in a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..artifacts.names import ProjectName, check_name, nearest
from ..lineage import Catalog
from ..storage.errors import InvalidNameError, NotFoundError, UsageError
from . import session
from .api_collections import ApiProject, ArtifactCollection, ArtifactType, collection_of, collections_of
from .api_run import ApiRun
from .api_runs import Runs
from .registries import Registry, find_registries, registry_name
from .run_query import RunReader, parse_query
from .settings import find_settings
from .workspace import Workspace

if TYPE_CHECKING:  # `artifact` takes a third of the time of loading all: for those who ask for one
    import duckdb

    from ..lineage import Stale
    from .artifact import Artifact

_MOST_PAGE = 100_000


class Api:
    """A reader of one store.

    >>> import lineart
    >>> with lineart.init(project="docs") as run:
    ...     _ = run.log_artifact(lineart.Artifact("empty", type="dataset"))
    >>> lineart.Api().artifact("docs/empty:latest").version
    'v0'
    """

    def __init__(self, store: str | None = None) -> None:
        """What the current run has logged and is still on its way is waited for.

        Raises: NotFoundError when there is no store at `store` (default: as for `lineart.init`).
        """
        run = session.current_run()
        if run is not None:
            run._flush()
        self._workspace = Workspace.open(find_settings(store=store))
        self._catalog: Catalog | None = None
        self._reader = RunReader(self._workspace)

    # Runs

    def runs(
        self,
        path: str | None = None,
        filters: Mapping[str, Any] | None = None,
        order: str | None = "-created_at",
        per_page: int = 50,
        include_sweeps: bool = True,
        lazy: bool = True,
    ) -> Runs:
        """The runs of a project (``entity/project``, ``project``; default: the one in use) that `filters` find.

        `filters` is a dictionary in the manner of MongoDB over ``config.…``, ``summary_metrics.…``, ``tags``,
        ``state``, ``name`` (the id), ``display_name``, ``group``, ``job_type``, ``created_at``, ``heartbeat_at``,
        ``duration`` (seconds), ``user``, ``host``, ``sweep``, ``notes``; see `run_filters`. `order` names keys, divided
        by commas, with ``-`` for the greatest first; what is missing comes last. The store is read when the first run
        is looked at. `include_sweeps` and `lazy` have no effect; they are there for scripts that say them.
        Raises: UsageError naming what is wrong in `filters` or `order`; InvalidNameError.
        """
        if isinstance(per_page, bool) or not isinstance(per_page, int) or not 1 <= per_page <= _MOST_PAGE:
            raise UsageError(f"runs: per_page {per_page!r}, expected 1 to {_MOST_PAGE:,}")
        node, keys = parse_query(filters, order)
        return Runs(self._reader, self._project_name(path), node, keys, per_page)

    def run(self, path: str) -> ApiRun:
        """One run: ``entity/project/id``, ``project/id`` or ``id``. Raises: NotFoundError with the nearest ids."""
        project, run = self._run_name(path)
        found = self._reader.record(project, run)
        if found is None:
            raise NotFoundError(f"run {run!r} does not exist in {project}{self._near(project, run)}")
        return ApiRun(self._reader, found)

    def run_exists(self, path: str) -> bool:
        """Whether there is such a run. Raises: InvalidNameError."""
        project, run = self._run_name(path)
        return self._reader.record(project, run) is not None

    def _run_name(self, path: str) -> tuple[ProjectName, str]:
        parts = path.strip("/").split("/") if isinstance(path, str) else []
        if len(parts) == 4 and parts[2] == "runs":  # as in addresses
            del parts[2]
        if not 1 <= len(parts) <= 3:
            raise InvalidNameError(f"run {path!r}: expected [[entity/]project/]id")
        project = self._project_name("/".join(parts[:-1]) or None)
        return project, check_name(parts[-1], "run id")

    def _near(self, project: ProjectName, run: str) -> str:
        ids = self._reader.ids(project)
        if not ids:
            known = [str(name) for name in self._workspace.project_names()]
            return (
                "" if str(project) in known else f"; there is no such project{nearest(str(project), known)}"
            )
        named = [found for found, name in ids if name == run]
        return (
            f"; the newest run named so is {named[-1]!r}"
            if named
            else nearest(run, [found for found, _ in ids])
        )

    # Projects

    @property
    def default_entity(self) -> str:
        """The entity of names that have none."""
        return self._workspace.project_name.entity

    def projects(self, entity: str | None = None) -> list[ApiProject]:
        """The projects of an entity (default: of all), sorted."""
        names = sorted(self._workspace.project_names(), key=str)
        return [ApiProject(self, name) for name in names if entity in (None, name.entity)]

    def project(self, name: str, entity: str | None = None) -> ApiProject:
        """One project. Raises: NotFoundError with the nearest names; InvalidNameError."""
        wanted = self._project_name(name if entity is None else f"{entity}/{name}")
        known = self._workspace.project_names()
        if wanted not in known:
            raise NotFoundError(
                f"project {str(wanted)!r} does not exist{nearest(str(wanted), map(str, known))}"
            )
        return ApiProject(self, wanted)

    def from_path(self, path: str) -> ApiProject | ApiRun | Artifact:
        """What a path means: ``entity/project``, ``entity/project/run``, or an artifact: ``…/name:alias``.

        Raises: NotFoundError, InvalidNameError.
        """
        if ":" in path:
            return self.artifact(path)
        return self.run(path) if len(path.strip("/").split("/")) > 2 else self.project(path.strip("/"))

    def _project_name(self, path: str | None) -> ProjectName:
        default = self._workspace.project_name
        return default if path is None else ProjectName.parse(path.strip("/"), default)

    # Artifacts

    def artifact(self, name: str, type: str | None = None) -> Artifact:
        """One version. Raises: NotFoundError with the nearest names; UsageError when its type is not `type`."""
        from .artifact import Artifact

        artifact = Artifact.of(self._workspace, self._workspace.version(name))
        if type is not None and artifact.type != type:
            raise UsageError(f"artifact {artifact.name} has type {artifact.type!r}, expected {type!r}")
        return artifact

    def artifacts(self, type_name: str, name: str) -> list[Artifact]:
        """The live versions of a collection, newest first. Raises: NotFoundError, UsageError as `artifact` does."""
        return self.artifact_collection(type_name, name).artifacts()

    def artifact_exists(self, name: str, type: str | None = None) -> bool:
        """Whether a name means a live version (of this type)."""
        try:
            version = self._workspace.version(name)
        except NotFoundError:
            return False
        return type in (None, version.type)

    def artifact_types(self, project: str | None = None) -> list[ArtifactType]:
        """The types of a project's collections, sorted: texts with `collections()`."""
        name = self._project_name(project)
        types = sorted({collection.type for collection in collections_of(self._workspace, name)})
        return [ArtifactType(self._workspace, name, found) for found in types]

    def artifact_type(self, type_name: str, project: str | None = None) -> ArtifactType:
        """One type of a project. Raises: NotFoundError with the nearest names."""
        known = {str(found): found for found in self.artifact_types(project)}
        if type_name not in known:
            where = self._project_name(project)
            raise NotFoundError(
                f"project {where} has no artifact of type {type_name!r}{nearest(type_name, known)}"
            )
        return known[type_name]

    def artifact_collections(
        self, type_name: str | None = None, project: str | None = None
    ) -> list[ArtifactCollection]:
        """A project's collections (of one type), sorted: texts with `type`, `aliases`, `artifacts()`."""
        return collections_of(self._workspace, self._project_name(project), type_name)

    def artifact_collection(self, type_name: str, name: str) -> ArtifactCollection:
        """One collection. Raises: NotFoundError with the nearest names; UsageError when it has another type."""
        found = collection_of(self._workspace, name)
        if found.type != type_name:
            raise UsageError(f"artifact {found.name!r} has type {found.type!r}, expected {type_name!r}")
        return found

    def artifact_collection_exists(self, name: str, type: str | None = None) -> bool:
        """Whether there is a collection of this name (and type)."""
        try:
            found = collection_of(self._workspace, name)
        except NotFoundError:
            return False
        return type in (None, found.type)

    # Registries

    def registry(self, name: str | None = None) -> Registry:
        """A registry, ``[entity/]name`` (default: `model-registry`), if only a new one. Raises: InvalidNameError."""
        return Registry(self._workspace, registry_name(self._workspace, name))

    def registries(self) -> list[Registry]:
        """All registries of the store, by name."""
        return find_registries(self._workspace)

    # The catalog

    def stale(
        self,
        project: str | None = None,
        *,
        everything: bool = False,
        references: bool = False,
        timeout: float = 60.0,
    ) -> list[Stale]:
        """The versions of a project that were made from inputs which are out of date, directly or further upstream.

        Judged are those with an alias (``latest`` is one), with `everything` all live ones. `references` also asks the
        places of references whether they changed, for at most `timeout` seconds; those that do not answer are logged.
        Raises: InvalidNameError, CommError.
        """
        from .staleness import stale_versions, warn_of_unasked

        report = stale_versions(
            self._workspace,
            projects=[self._project_name(project)],
            everything=everything,
            with_references=references,
            timeout_s=timeout,
        )
        warn_of_unasked(report)
        return list(report.stale)

    def sql(
        self, query: str, parameters: Sequence[object] | Mapping[str, object] | None = None
    ) -> duckdb.DuckDBPyRelation:
        """A DuckDB relation over the catalog (tables: docs/catalog.md); `.df()`, `.fetchall()`. Raises: UsageError."""
        if self._catalog is None:
            self._catalog = self._workspace.catalog()
        else:
            self._catalog.refresh(self._workspace.project_names())
        return self._catalog.sql(query, parameters)

    def flush(self) -> None:
        """Forget what was read so far; the store is asked again in any case, this frees the memory."""
        self._reader = RunReader(self._workspace)
        if self._catalog is not None:
            self._catalog.close()
            self._catalog = None
