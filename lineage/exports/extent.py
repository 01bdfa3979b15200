"""What the catalog says of the versions and runs of a lineage graph: the material of the exports."""

from __future__ import annotations

import decimal
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ...artifacts.recorded import for_others, shown
from ...storage.masking import mask_address, mask_text, masked_values, secrets_among
from ..catalog import Catalog
from ..schema import LOG_TIME
from ..untracked import UntrackedInput, UntrackedInputs

if TYPE_CHECKING:
    import networkx as nx

_AMONG = "IN (SELECT unnest(?::VARCHAR[]))"


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """A version; `digest` is None when it lies in a project or store that cannot be read from here.

    Its metadata have no secrets, and their numbers are such as JSON has.
    """

    version_id: str
    type: str
    digest: str | None
    size_bytes: int
    file_count: int
    metadata: Mapping[str, Any]
    description: str
    tags: tuple[str, ...]
    aliases: tuple[str, ...]
    user: str | None
    created_at: str  # RFC 3339 in UTC; empty when unknown
    deleted: bool

    @property
    def project(self) -> str:
        """``entity/project``."""
        return self.version_id.rpartition("/")[0]

    @property
    def collection(self) -> str:
        """The name without version."""
        return self.short.rpartition(":")[0]

    @property
    def number(self) -> str:
        """``vN``."""
        return self.short.rpartition(":")[2]

    @property
    def short(self) -> str:
        """``collection:vN``."""
        return self.version_id.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run; of one that was deleted only its id is known.

    Config, notes and error have no secrets; numbers of the config are such as JSON has, those of the summary as meant.
    """

    run_id: str
    name: str
    job_type: str | None
    state: str
    tags: tuple[str, ...]
    notes: str | None
    config: Mapping[str, Any]
    summary: Mapping[str, Any]
    capture: Mapping[str, Any]
    user: str | None
    host: str | None
    created_at: str
    finished_at: str | None
    error: str | None

    @property
    def project(self) -> str:
        """``entity/project``."""
        return self.run_id.rpartition("/")[0]

    @property
    def git(self) -> Mapping[str, Any]:
        """Commit, branch, remote (without secrets), dirty, as far as they were captured."""
        found = self.capture.get("git")
        if not isinstance(found, Mapping):
            return {}
        remote = found.get("remote")
        return {**found, "remote": mask_address(remote)} if isinstance(remote, str) else found

    @property
    def command(self) -> str | None:
        """The command line, secrets masked."""
        command = self.capture.get("command")
        return " ".join(map(str, command)) if isinstance(command, Sequence) and command else None


@dataclass(frozen=True, slots=True)
class EdgeRecord:
    """A use or a production; one that made nothing new (`is_new` False) logged what lay there already."""

    run_id: str
    kind: str  # used, produced
    version_id: str
    role: str | None
    is_new: bool
    time: str


@dataclass(frozen=True, slots=True)
class Extent:
    """A lineage graph with the facts of its nodes, each in the order of creation."""

    graph: nx.MultiDiGraph[str]
    versions: Mapping[str, VersionRecord]
    runs: Mapping[str, RunRecord]
    edges: tuple[EdgeRecord, ...]
    untracked: Mapping[str, UntrackedInputs] = field(default_factory=dict)  # by run, of those that have some
    superseded: frozenset[str] = (
        frozenset()
    )  # versions after which their run has made another of their collection
    _by_run: Mapping[str, list[EdgeRecord]] = field(init=False, repr=False)
    _makers: Mapping[str, str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        by_run: dict[str, list[EdgeRecord]] = {}
        makers: dict[str, str] = {}
        for edge in self.edges:
            by_run.setdefault(edge.run_id, []).append(edge)
            if edge.kind == "produced" and edge.is_new:
                makers.setdefault(edge.version_id, edge.run_id)
        object.__setattr__(self, "_by_run", by_run)
        object.__setattr__(self, "_makers", makers)

    def edges_of(self, run_id: str, kind: str | None = None) -> list[EdgeRecord]:
        """The uses (``used``) or productions (``produced``) of a run, or both, oldest first."""
        return [edge for edge in self._by_run.get(run_id, ()) if kind in (None, edge.kind)]

    def source_of(self, version_id: str) -> str:
        """The version whose content a link shares, through links of links; of any other version itself."""
        seen = {version_id}
        while (source := self._linked_from(version_id)) is not None and source not in seen:
            seen.add(source)
            version_id = source
        return version_id

    def maker_of(self, version_id: str) -> RunRecord | None:
        """The run that made the version (of a link: its source); None when it was logged outside of one."""
        maker = self._makers.get(self.source_of(version_id))
        return None if maker is None else self.runs.get(maker)

    def untracked_of(self, version_id: str) -> UntrackedInputs:
        """What the run that made the version has read and not declared; none of a link: its source has it."""
        maker = self._makers.get(version_id)
        return self.untracked.get(maker or "", UntrackedInputs(False))

    def metrics_of(self, version_id: str) -> dict[str, float]:
        """What its run has measured, if it is about this version; it is about the last that a run made of a collection.

        The log has a run's summary as it is at the end: of an earlier checkpoint it says nothing.
        """
        run = self.maker_of(version_id)
        if run is None or self.source_of(version_id) in self.superseded:
            return {}
        return metrics_of(run)

    def inputs_of(self, version_id: str) -> list[EdgeRecord]:
        """What the version was made from: the inputs of its run that the graph draws to it, with their roles."""
        graph, source = self.graph, self.source_of(version_id)
        if source not in graph:
            return []
        found = [
            EdgeRecord(run_of(node), "used", used, data.get("role"), True, "")
            for node in graph.predecessors(source)
            if graph.nodes[node]["kind"] == "run"
            for used, _, data in graph.in_edges(node, data=True)
        ]
        return sorted(found, key=lambda edge: (self.versions[edge.version_id].created_at, edge.version_id))

    def links(self) -> Iterator[tuple[str, str]]:
        """(link, source) of each link in the graph, sorted."""
        yield from sorted(
            (link, source)
            for source, link, data in self.graph.edges(data=True)
            if data.get("kind") == "linked"
        )

    def _linked_from(self, version_id: str) -> str | None:
        if version_id not in self.graph:
            return None
        for source, _, data in self.graph.in_edges(version_id, data=True):
            if data.get("kind") == "linked":
                return source
        return None


def read_extent(catalog: Catalog, graph: nx.MultiDiGraph[str]) -> Extent:
    """The facts of all nodes of a graph that `LineageGraph` has built from the same catalog."""
    version_ids = [node for node, data in graph.nodes(data=True) if data["kind"] == "artifact"]
    run_ids = sorted({run_of(node) for node, data in graph.nodes(data=True) if data["kind"] == "run"})
    versions = _versions(catalog, version_ids)
    for node in version_ids:
        versions.setdefault(node, _unknown_version(node, graph.nodes[node]))
    runs = _runs(catalog, run_ids)
    for run_id in run_ids:
        runs.setdefault(run_id, _unknown_run(run_id))
    return Extent(
        graph,
        _by_age(versions),
        dict(sorted(runs.items(), key=lambda item: (item[1].created_at, item[0]))),
        tuple(_edges(catalog, run_ids, version_ids)),
        _untracked(catalog, run_ids),
        _superseded(catalog, run_ids),
    )


def with_all_edges(catalog: Catalog, extent: Extent) -> Extent:
    """The same with all that its runs have used and made, whether the graph leads there or not."""
    runs = list(extent.runs)
    told = f"SELECT DISTINCT version_id FROM edges WHERE run_id {_AMONG} ORDER BY version_id"
    names = [
        *extent.versions,
        *(row[0] for row in catalog.rows(told, [runs]) if row[0] not in extent.versions),
    ]
    versions = _versions(catalog, names)
    for name in names:
        versions.setdefault(name, extent.versions.get(name) or _unknown_version(name, {"type": "unknown"}))
    edges = tuple(_edges(catalog, runs, names))
    return replace(extent, versions=_by_age(versions), edges=edges)


def run_of(node: str) -> str:
    """The run of a node.

    >>> run_of("run:team/digits/7f3a#2")
    'team/digits/7f3a'
    """
    return node.removeprefix("run:").partition("#")[0]


def metrics_of(run: RunRecord) -> dict[str, float]:
    """The finite numbers of a run's summary; of a defined metric (``{"max": …}``) each with its aggregate's name.

    What Lineart counts itself (``_step``, ``_runtime``, …) is left out.
    """
    found: dict[str, float] = {}
    for key, value in sorted(run.summary.items()):
        if key.startswith("_"):
            continue
        parts = {key: value}
        if isinstance(value, Mapping) and not any(part.startswith("_") for part in value):
            parts = {f"{key}.{part}": inner for part, inner in value.items()}
        numbers = {name: _metric(number) for name, number in parts.items()}
        found |= {name: number for name, number in numbers.items() if number is not None}
    return found


def _metric(value: object) -> float | None:
    if isinstance(value, decimal.Decimal):
        value = float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def text_of(value: object) -> str:
    """A JSON value as text: of a text itself.

    >>> text_of("adam"), text_of(0.1), text_of([1, True])
    ('adam', '0.1', '[1, true]')
    """
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _by_age(versions: Mapping[str, VersionRecord]) -> dict[str, VersionRecord]:
    return dict(sorted(versions.items(), key=lambda item: (item[1].created_at, item[0])))


def _versions(catalog: Catalog, wanted: Sequence[str]) -> dict[str, VersionRecord]:
    rows = catalog.records(
        "SELECT version_id, type, digest, size_bytes, file_count, metadata::VARCHAR AS metadata, description, tags,"
        f" aliases, user_name, deleted, {LOG_TIME.format('created_at')} AS created_at FROM versions"
        f" WHERE version_id {_AMONG}",
        [wanted],
    )
    return {
        row["version_id"]: VersionRecord(
            row["version_id"],
            row["type"] or "unknown",
            row["digest"],
            row["size_bytes"] or 0,
            row["file_count"] or 0,
            _open(_object(row["metadata"])),
            row["description"] or "",
            tuple(row["tags"] or ()),
            tuple(row["aliases"] or ()),
            row["user_name"],
            row["created_at"] or "",
            bool(row["deleted"]),
        )
        for row in rows
    }


def _runs(catalog: Catalog, wanted: Sequence[str]) -> dict[str, RunRecord]:
    rows = catalog.records(
        "SELECT run_id, run, name, job_type, state, tags, notes, config::VARCHAR AS config,"
        " summary::VARCHAR AS summary, capture::VARCHAR AS capture, user_name, host, error,"
        f" {LOG_TIME.format('created_at')} AS created_at, {LOG_TIME.format('finished_at')} AS finished_at"
        f" FROM runs WHERE run_id {_AMONG}",
        [wanted],
    )
    return {row["run_id"]: _run(row) for row in rows}


def _run(row: Mapping[str, Any]) -> RunRecord:
    config = for_others(_object(row["config"]))
    secrets = secrets_among(config)  # that may stand in what it said, too
    return RunRecord(
        row["run_id"],
        row["name"] or row["run"],
        row["job_type"],
        row["state"],
        tuple(row["tags"] or ()),
        row["notes"] and mask_text(row["notes"], secrets),
        masked_values(config),
        {key: shown(value) for key, value in _object(row["summary"]).items()},
        _object(row["capture"]),
        row["user_name"],
        row["host"],
        row["created_at"] or "",
        row["finished_at"],
        row["error"] and mask_text(row["error"], secrets),
    )


def _edges(catalog: Catalog, runs: Sequence[str], versions: Sequence[str]) -> Iterator[EdgeRecord]:
    rows = catalog.rows(
        f"SELECT run_id, kind, version_id, role, is_new, {LOG_TIME.format('time')} FROM edges"
        f" WHERE run_id {_AMONG} AND version_id {_AMONG} ORDER BY time, position, run_id, version_id",
        [runs, versions],
    )
    for run_id, kind, version_id, role, is_new, time in rows:
        yield EdgeRecord(run_id, kind, version_id, role, bool(is_new), time)


def _untracked(catalog: Catalog, runs: Sequence[str]) -> dict[str, UntrackedInputs]:
    listed: dict[str, list[UntrackedInput]] = {}
    query = f"SELECT run_id, uri, size_bytes, digest FROM untracked_inputs WHERE run_id {_AMONG} ORDER BY ALL"
    for run_id, uri, size_bytes, digest in catalog.rows(query, [runs]):
        listed.setdefault(run_id, []).append(UntrackedInput(mask_address(uri), size_bytes, digest))
    more = catalog.rows(
        f"SELECT run_id, sum(omitted) FROM run_inputs WHERE uri IS NULL AND run_id {_AMONG} GROUP BY run_id",
        [runs],
    )
    found = {
        run_id: UntrackedInputs(True, tuple(listed.get(run_id, ())), int(count or 0))
        for run_id, count in more
    }
    return {run_id: inputs for run_id, inputs in found.items() if inputs.count}


def _superseded(catalog: Catalog, runs: Sequence[str]) -> frozenset[str]:
    rows = catalog.rows(
        "SELECT version_id FROM (SELECT version_id, row_number() OVER (PARTITION BY run_id,"
        " regexp_replace(version_id, ':v[0-9]+$', '') ORDER BY position DESC) AS place FROM productions"
        f" WHERE is_new AND run_id {_AMONG}) WHERE place > 1",
        [runs],
    )
    return frozenset(row[0] for row in rows)


def _open(values: Mapping[str, Any]) -> Mapping[str, Any]:
    return masked_values(for_others(values))


def _object(text: str | None) -> Mapping[str, Any]:
    value = json.loads(text) if text else {}
    return value if isinstance(value, Mapping) else {}


def _unknown_version(node: str, data: Mapping[str, Any]) -> VersionRecord:
    return VersionRecord(node, str(data["type"]), None, 0, 0, {}, "", (), (), None, "", False)


def _unknown_run(run_id: str) -> RunRecord:
    run = run_id.rpartition("/")[2]
    return RunRecord(run_id, run, None, "unknown", (), None, {}, {}, {}, None, None, "", None, None)
