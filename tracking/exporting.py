"""A version or a project in a format of `lineage.exports`: what `Artifact.export` and `art export` call."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from ..artifacts.names import ProjectName
from ..artifacts.references import References
from ..artifacts.version import Version
from ..lineage import Catalog, Direction, LineageGraph
from ..lineage.exports import Extent, Format, RunRecord, Table, find_format, read_contents, read_extent
from ..storage.actor import utc_now
from ..storage.errors import Error, UsageError
from .workspace import Workspace

if TYPE_CHECKING:
    import networkx as nx

_PACKAGES = "requirements.txt"  # of a run's files


def export_version(
    workspace: Workspace,
    version: Version,
    format_name: str,
    *,
    direction: Direction | None = None,
    depth: int | None = None,
    with_tables: bool = False,
) -> str:
    """The text of a version, or of the lineage around it, in the format `format_name` of `lineage.exports.FORMATS`.

    `direction` and `depth` (counted in versions) choose the lineage; by default what the format needs, without a
    limit. `with_tables`: OpenLineage gets the columns of CSV, JSON Lines and Parquet files.
    Raises: UsageError for a format that there is not, or that is for another kind of version; NotFoundError,
    IntegrityError, CommError.
    """
    from ..lineage.exports.formats import demand_kind

    wanted = find_format(format_name)
    demand_kind(wanted, str(version.name), version.type)
    for option, value in (("direction", direction), ("depth", depth)):
        if value is not None and option not in wanted.options:
            raise UsageError(f"format {wanted.name!r} takes no {option}: it decides itself what it tells of")
    if wanted.subject == "version" and version.state.deleted:
        raise UsageError(
            f"format {wanted.name!r} tells of files, and {version.name} was deleted; undelete it first"
        )
    catalog = workspace.catalog()
    try:
        if wanted.options:
            direction = direction or wanted.direction
            graph = LineageGraph(catalog).build(str(version.name), direction=direction, depth=depth)
        else:
            graph = _neighbours(catalog, version, wanted)
        if wanted.subject == "graph":
            return _of_graph(workspace, catalog, graph, wanted, with_tables)
        return _of_version(workspace, catalog, read_extent(catalog, graph), version, wanted)
    finally:
        catalog.close()


def _neighbours(catalog: Catalog, version: Version, wanted: Format) -> nx.MultiDiGraph[str]:
    """What a version was directly made from and, if it matters, used by; of a link that of its source, too."""
    import networkx as nx

    builder, name, source = LineageGraph(catalog), str(version.name), version.state.source
    graph = builder.build(name, direction=wanted.direction, depth=1)
    if source is None:
        return graph
    around = builder.build(source, direction=wanted.direction, depth=1)
    return cast("nx.MultiDiGraph[str]", nx.compose(around, graph))


def export_project(
    workspace: Workspace, project: ProjectName, format_name: str, *, with_tables: bool = False
) -> str:
    """The text of a whole project's lineage. Raises: as `export_version`; UsageError for a format of one version."""
    wanted = find_format(format_name)
    if wanted.subject == "version":
        raise UsageError(f"format {wanted.name!r} describes one version: name it, such as NAME:latest")
    catalog = workspace.catalog()
    try:
        graph = LineageGraph(catalog).of_project(str(project))
        return _of_graph(workspace, catalog, graph, wanted, with_tables)
    finally:
        catalog.close()


def _of_graph(
    workspace: Workspace, catalog: Catalog, graph: nx.MultiDiGraph[str], wanted: Format, with_tables: bool
) -> str:
    from ..lineage import exports, render

    if wanted.name == "mermaid":
        return render.render_mermaid(graph, limit=None)
    if wanted.name == "dot":
        return render.render_dot(graph, limit=None)
    if wanted.name == "json":
        return _json(render.render_json(graph))
    if wanted.name == "graphml":
        return exports.render_graphml(graph)
    extent = read_extent(catalog, graph)
    if wanted.name == "prov":
        return _json(exports.prov_document(extent, exports.this_producer()))
    tables = _tables(workspace, extent) if with_tables else {}
    events = exports.openlineage_events(extent, exports.this_producer(), tables)
    return "".join(f"{json.dumps(event, ensure_ascii=False)}\n" for event in events)


def _of_version(
    workspace: Workspace, catalog: Catalog, extent: Extent, version: Version, wanted: Format
) -> str:
    from ..lineage import exports
    from ..lineage.exports.contents import look_into
    from ..lineage.exports.croissant import named_files
    from ..lineage.exports.extent import with_all_edges

    record = extent.versions[str(version.name)]
    contents = read_contents(version)
    if wanted.name == "croissant":
        hashed = named_files(contents.entries)
        contents = look_into(contents, version, hashed, _references(version))
        return _json(exports.croissant_dataset(extent, record, contents))
    if wanted.name == "cyclonedx":
        bom = exports.cyclonedx_bom(
            extent,
            record,
            contents,
            exports.this_producer(),
            made_at=utc_now(),
            packages=_packages(workspace, extent.maker_of(record.version_id)),
        )
        return _json(bom)
    extent = with_all_edges(catalog, extent)
    return exports.render_model_card(extent, record, contents, _uris(catalog, extent))


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def _references(version: Version) -> References:
    from .artifact_reading import reference_options

    return References(reference_options() if version.state.reference_count else None)


def _uris(catalog: Catalog, extent: Extent) -> dict[str, list[str]]:
    """The first references of each version."""
    found: dict[str, list[str]] = {}
    rows = catalog.rows(
        "SELECT version_id, uri FROM version_references WHERE version_id IN (SELECT unnest(?::VARCHAR[]))"
        " ORDER BY position, path",
        [list(extent.versions)],
    )
    for version_id, uri in rows:
        found.setdefault(version_id, []).append(uri)
    return found


def _tables(workspace: Workspace, extent: Extent) -> dict[str, Sequence[Table]]:
    """The tables of all live versions whose files can be read from here."""
    from ..lineage.exports.contents import look_into

    found: dict[str, Sequence[Table]] = {}
    for record in extent.versions.values():
        if record.digest is not None and not record.deleted:
            version = workspace.version(record.version_id)
            found[record.version_id] = look_into(
                read_contents(version), version, (), _references(version)
            ).tables
    return found


def _packages(workspace: Workspace, run: RunRecord | None) -> list[str]:
    """The installed packages that the run recorded; none when it did not, or its files are gone."""
    from .api_run import ApiRun
    from .run_query import RunReader

    if run is None:
        return []
    reader = RunReader(workspace)
    record = reader.record(
        ProjectName.parse(run.project, workspace.project_name), run.run_id.rpartition("/")[2]
    )
    if record is None:
        return []
    try:
        files = ApiRun(reader, record).files([_PACKAGES])
        if not files:
            return []
        with files[0].open() as stream:
            return bytes(stream.read()).decode("utf-8", "replace").splitlines()
    except Error:
        return []  # lost with the run's files: the bill is made without
