"""Runs as OpenLineage events (https://openlineage.io, specification 2-0-2), one JSON object per event.

How our words map: a project is a namespace, a run's job type its job, a collection a dataset, its version and digest
are facets. The id of a run is a UUID that follows from its full name, so that the same run exported twice, or from a
copy of the store, is the same run. Each run has START, and COMPLETE, FAIL or ABORT when it has ended, RUNNING while
it has not; inputs and outputs stand on the last one. What no standard facet has is in facets named ``lineart_…``.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from ..addresses import repository_url
from ..kinds import is_model
from ..untracked import UntrackedInput
from .extent import EdgeRecord, Extent, RunRecord, VersionRecord, metrics_of, text_of
from .producer import Producer
from .tables import Column, Table

_CORE = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/"
_FACETS = "https://openlineage.io/spec/facets/"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "pkg:pypi/lineart")
_ENDS = {"finished": "COMPLETE", "failed": "FAIL", "crashed": "FAIL", "preempted": "ABORT"}


def openlineage_events(
    extent: Extent, producer: Producer, tables: Mapping[str, Sequence[Table]] | None = None
) -> list[dict[str, Any]]:
    """The events of all runs, in the order of their times. `tables`: those of a version's files, by its full name.

    A run that the catalog knows nothing of but its id has none: an event needs a time.
    """
    events: list[dict[str, Any]] = []
    for run in extent.runs.values():
        if run.created_at:
            events += _events(extent, run, producer, tables or {})
    return sorted(events, key=lambda event: event["eventTime"])  # stable: START stays first


def run_uuid(run_id: str) -> str:
    """The UUID of the run ``entity/project/run`` (version 5, RFC 9562).

    >>> run_uuid("team/digits/7f3a") == run_uuid("team/digits/7f3a") != run_uuid("team/letters/7f3a")
    True
    """
    return str(uuid.uuid5(_NAMESPACE, run_id))


def _events(
    extent: Extent, run: RunRecord, producer: Producer, tables: Mapping[str, Sequence[Table]]
) -> list[dict[str, Any]]:
    facets = _Facets(producer)
    inputs = [_dataset(extent, edge, facets, tables) for edge in extent.edges_of(run.run_id, "used")]
    if run.run_id in extent.untracked:
        inputs += [_untracked(read, facets) for read in extent.untracked[run.run_id].listed]
    outputs = [_dataset(extent, edge, facets, tables) for edge in extent.edges_of(run.run_id, "produced")]
    job = {"namespace": namespace_of(run.project), "name": _job_name(run), "facets": _job_facets(run, facets)}
    common = {"producer": producer.uri, "schemaURL": f"{_CORE}RunEvent", "job": job}
    run_id = run_uuid(run.run_id)
    start = {
        "eventType": "START",
        "eventTime": run.created_at,
        "run": {"runId": run_id, "facets": _start_facets(run, facets)},
        **common,
        "inputs": [],
        "outputs": [],
    }
    last = {
        "eventType": _ENDS.get(run.state, "RUNNING"),
        "eventTime": _last_time(extent, run),
        "run": {"runId": run_id, "facets": _end_facets(run, facets)},
        **common,
        "inputs": inputs,
        "outputs": outputs,
    }
    return [start, last]


def namespace_of(project: str) -> str:
    """The namespace of a project's jobs and datasets.

    >>> namespace_of("team/digits")
    'art://team/digits'
    """
    return f"art://{project}"


def _last_time(extent: Extent, run: RunRecord) -> str:
    """Of an ended run its end; of one that runs, or has ended without a word, the last that is known of it."""
    known = [edge.time for edge in extent.edges_of(run.run_id)]
    return run.finished_at or max([run.created_at, *known])


def _job_name(run: RunRecord) -> str:
    """What is done again and again: the job type, else the program, else the run's own name."""
    if run.job_type:
        return run.job_type
    command = run.capture.get("command")
    if isinstance(command, Sequence) and not isinstance(command, str) and command:
        return str(command[0]).replace("\\", "/").rpartition("/")[2] or run.name
    return run.name


class _Facets:
    """Makes facets, each with its producer and the schema that it keeps to."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer.uri

    def standard(self, name: str, schema_version: str, /, **values: Any) -> dict[str, Any]:
        return self._made(f"{_FACETS}{schema_version}/{name}.json#/$defs/{name}", values)

    def own(self, base: str, /, **values: Any) -> dict[str, Any]:
        """One of ours: the core allows any key beside those of its base facets."""
        return self._made(f"{_CORE}{base}", values)

    def _made(self, schema: str, values: Mapping[str, Any]) -> dict[str, Any]:
        present = {key: value for key, value in values.items() if value is not None}
        return {"_producer": self._producer, "_schemaURL": schema, **present}


def _job_facets(run: RunRecord, facets: _Facets) -> dict[str, Any]:
    found = {
        "jobType": facets.standard(
            "JobTypeJobFacet", "2-0-4", processingType="BATCH", integration="LINEART", jobType=run.job_type
        )
    }
    if run.git.get("remote"):
        found["sourceCodeLocation"] = facets.standard(
            "SourceCodeLocationJobFacet",
            "1-1-0",
            type="git",
            url=repository_url(str(run.git["remote"])),
            repoUrl=str(run.git["remote"]),
            version=run.git.get("commit"),
            branch=run.git.get("branch"),
        )
    return found


def _start_facets(run: RunRecord, facets: _Facets) -> dict[str, Any]:
    found = {
        "lineart_run": facets.own(
            "RunFacet",
            id=run.run_id,
            name=run.name,
            user=run.user,
            host=run.host,
            notes=run.notes,
            command=run.command,
            python=run.capture.get("python"),
            git=dict(run.git) or None,
        )
    }
    if run.config:
        parameters = [{"key": key, "value": text_of(value)} for key, value in sorted(run.config.items())]
        found["executionParameters"] = facets.standard(
            "ExecutionParametersRunFacet", "1-0-0", parameters=parameters
        )
    if run.tags:
        tags = [{"key": tag, "value": "true", "source": "USER"} for tag in run.tags]
        found["tags"] = facets.standard("TagsRunFacet", "1-0-0", tags=tags)
    return found


def _end_facets(run: RunRecord, facets: _Facets) -> dict[str, Any]:
    found = {
        "lineart_result": facets.own(
            "RunFacet", id=run.run_id, state=run.state, metrics=metrics_of(run) or None
        )
    }
    if run.error:
        found["errorMessage"] = facets.standard(
            "ErrorMessageRunFacet",
            "1-0-1",
            message=run.error.strip().rpartition("\n")[2],
            programmingLanguage="PYTHON",
            stackTrace=run.error,
        )
    return found


def _dataset(
    extent: Extent, edge: EdgeRecord, facets: _Facets, tables: Mapping[str, Sequence[Table]]
) -> dict[str, Any]:
    version = extent.versions[edge.version_id]
    found: dict[str, Any] = {
        "namespace": namespace_of(version.project),
        "name": version.collection,
        "facets": _dataset_facets(extent, version, facets, tables.get(edge.version_id, ())),
    }
    known = version.digest is not None
    counts = {"size": version.size_bytes, "fileCount": version.file_count} if known else {}
    if edge.kind == "used":
        inner = {"lineart_use": facets.own("InputDatasetFacet", role=edge.role)} if edge.role else {}
        if counts:
            inner["inputStatistics"] = facets.standard("InputStatisticsInputDatasetFacet", "1-0-0", **counts)
        found["inputFacets"] = inner
    else:
        inner = {"lineart_production": facets.own("OutputDatasetFacet", isNew=edge.is_new)}
        if counts:
            inner["outputStatistics"] = facets.standard(
                "OutputStatisticsOutputDatasetFacet", "1-0-2", **counts
            )
        found["outputFacets"] = inner
    return found


def _untracked(read: UntrackedInput, facets: _Facets) -> dict[str, Any]:
    """A file or address that a run has read, and that is in no version; named as OpenLineage names files."""
    scheme, is_url, rest = read.uri.partition("://")
    host, _, path = rest.partition("/")
    inner = {}
    if read.size_bytes is not None:
        inner["inputStatistics"] = facets.standard(
            "InputStatisticsInputDatasetFacet", "1-0-0", size=read.size_bytes, fileCount=1
        )
    digest = read.digest and f"blake3:{read.digest}"
    return {
        "namespace": f"{scheme}://{host}" if is_url else "file",
        "name": (path or "/") if is_url else read.uri,
        "facets": {"lineart_untracked": facets.own("DatasetFacet", uri=read.uri, digest=digest)},
        "inputFacets": inner,
    }


def _dataset_facets(
    extent: Extent, version: VersionRecord, facets: _Facets, tables: Sequence[Table]
) -> dict[str, Any]:
    found = {
        "version": facets.standard("DatasetVersionDatasetFacet", "1-0-1", datasetVersion=version.number),
        "datasetType": facets.standard(
            "DatasetTypeDatasetFacet",
            "1-0-1",
            datasetType="MODEL" if is_model(version.type) else "FILE",
            subType=version.type,
        ),
        "lineart_version": facets.own(
            "DatasetFacet",
            id=version.version_id,
            digest=version.digest and f"blake3:{version.digest}",
            aliases=list(version.aliases),
            deleted=version.deleted,
            metadata=dict(version.metadata) or None,
        ),
    }
    if version.description:
        found["documentation"] = facets.standard(
            "DocumentationDatasetFacet", "1-1-0", description=version.description
        )
    if version.tags:
        tags = [{"key": tag, "value": "true", "source": "USER"} for tag in version.tags]
        found["tags"] = facets.standard("TagsDatasetFacet", "1-0-0", tags=tags)
    if tables:
        found["schema"] = facets.standard("SchemaDatasetFacet", "1-2-0", fields=_fields(tables))
    source = extent.source_of(version.version_id)
    if source != version.version_id:
        origin = extent.versions[source]
        identifier = {"namespace": namespace_of(origin.project), "name": origin.collection, "type": "LINK"}
        found["symlinks"] = facets.standard("SymlinksDatasetFacet", "1-0-1", identifiers=[identifier])
    return found


def _fields(tables: Sequence[Table]) -> list[dict[str, Any]]:
    """The columns of the only table; of several each table is a structure named by its path."""
    if len(tables) == 1:
        return [_field(column) for column in tables[0].columns]
    return [
        {"name": table.path, "type": "struct", "fields": [_field(column) for column in table.columns]}
        for table in tables
    ]


def _field(column: Column) -> dict[str, Any]:
    return {"name": column.name, "type": column.type}
