"""Where an artifact's version comes from, what it touches, and where it is linked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from ..artifacts.version import Version
from ..lineage import LineageGraph, nearest_first
from .artifact_identity import ArtifactIdentity
from .links import link_version, live_links, unlink_version

if TYPE_CHECKING:
    import networkx as nx

    from ..lineage import Stale
    from .artifact import Artifact
    from .reproduction import Reproduction
    from .workspace import Workspace


class ArtifactLineage(ArtifactIdentity):
    """The part of `Artifact` that is about other versions and runs."""

    def bind(self, workspace: Workspace, version: Version) -> None:
        """See `Artifact.bind`."""
        raise NotImplementedError

    def lineage(
        self, direction: Literal["upstream", "downstream", "both"] = "both", depth: int | None = None
    ) -> nx.MultiDiGraph[str]:
        """The graph of runs and versions around this one; `depth` counts versions."""
        catalog = self._home().catalog()
        try:
            return LineageGraph(catalog).build(self.qualified_name, direction=direction, depth=depth)
        finally:
            catalog.close()

    def upstream(self, depth: int | None = None) -> list[Artifact]:
        """The versions that this one was made from, nearest first; of a link its source is the nearest."""
        return self._related("upstream", depth)

    def downstream(self, depth: int | None = None) -> list[Artifact]:
        """The versions that were made from this one, its links among them, nearest first."""
        return self._related("downstream", depth)

    def _related(self, direction: Literal["upstream", "downstream"], depth: int | None) -> list[Artifact]:
        graph = self.lineage(direction, depth)
        order = nearest_first(graph, self.qualified_name, upstream=direction == "upstream")
        workspace = self._home()
        return [
            self._handle(workspace.version(workspace.parse(node), deleted_too=True))
            for node in order
            if graph.nodes[node]["kind"] == "artifact"
            and graph.nodes[node]["digest"]  # else left in another store
        ]

    def logged_by(self) -> str | None:
        """The run that made this version, as ``entity/project/run``; None if it was logged outside of one.

        Of a link: the run that made its source.
        """
        version = self._logged()
        if version.state.source is not None:
            version = self._home().version(self._source(), deleted_too=True)
        return None if version.state.run is None else f"{version.project}/{version.state.run}"

    def used_by(self) -> list[str]:
        """The runs that used this version, as ``entity/project/run``, in the order of their use."""
        catalog = self._home().catalog()
        try:
            query = "SELECT run_id FROM edges WHERE kind = 'used' AND version_id = ? ORDER BY time, position"
            return [row[0] for row in catalog.rows(query, [self.qualified_name])]
        finally:
            catalog.close()

    def export(
        self,
        format: str,
        direction: Literal["upstream", "downstream", "both"] | None = None,
        depth: int | None = None,
    ) -> str:
        """This version, or the lineage around it, in a format of other tools (docs/interchange.md).

        ``openlineage``, ``prov``, ``graphml``, ``mermaid``, ``dot``, ``json``: lineage, in `direction` and up to
        `depth` versions away; ``cyclonedx``, ``croissant``, ``model-card``: the version with its files.
        Raises: UsageError for another format, or one that is for another kind of version; IntegrityError, CommError.
        """
        from .exporting import export_version

        return export_version(self._home(), self._logged(), format, direction=direction, depth=depth)

    def stale(self, *, references: bool = False, timeout: float = 60.0) -> Stale | None:
        """Why this version is stale, None if all that it was made from is the newest still.

        With `references` the places of references are asked, too, for at most `timeout` seconds.
        Raises: ArtifactNotLoggedError, CommError.
        """
        from .staleness import stale_versions, warn_of_unasked

        self._logged()
        found = stale_versions(
            self._home(), [self.qualified_name], with_references=references, timeout_s=timeout
        )
        warn_of_unasked(found)
        return found.stale[0] if found.stale else None

    def reproduction(self) -> Reproduction:
        """How to make this version anew: code, inputs, environment, command; `script` writes it for a shell.

        Raises: ArtifactNotLoggedError, IntegrityError, CommError.
        """
        from .reproduction import find_reproduction

        return find_reproduction(self._home(), self._logged())

    # Links

    def link(self, target_path: str, aliases: Sequence[str] | None = None) -> Artifact:
        """Make a version of another collection, ``[[entity/]project/]name``, that shares this one's content; that link.

        The collection is made when it is missing. Linking the same version again only moves `aliases`.
        Raises: ArtifactNotLoggedError; UsageError for a collection of another type or its own; InvalidNameError.
        """
        return self._handle(link_version(self._home(), self._logged().name, target_path, aliases or ()))

    def unlink(self) -> None:
        """Delete this link with its aliases; its source stays. Raises: UsageError when it is no link."""
        workspace, name = self._home(), self._logged().name
        unlink_version(workspace, name)
        self.bind(workspace, workspace.version(name, deleted_too=True))

    @property
    def linked_artifacts(self) -> list[Artifact]:
        """The links to this version (of a link: to its source) that were not deleted, oldest first."""
        workspace = self._home()
        source = workspace.version(self._source(), deleted_too=True)
        return [self._handle(link) for link in live_links(workspace, source)]

    @property
    def source_artifact(self) -> Artifact:
        """The version that this link was made from; itself when it is no link."""
        return self._handle(self._home().version(self._source(), deleted_too=True))
