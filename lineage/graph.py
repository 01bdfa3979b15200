"""The lineage graph: from the catalog's edges to a networkx graph without cycles.

A run is drawn as one node as long as all its outputs have the same inputs. An output's inputs are those declared
for it (`derived_from`, *exact*), else all that its run had used before it was logged (*run-level*). Outputs with
different inputs get a node each (`part`), so that reachability in the graph means what it says.

Why cycles cannot arise: an edge leads from a version to a part of a run that used it, and from there to a version
that the log created later; and from a version to the links that were made from it later. A run that logs content
which exists already has not made it: that is a fact in the catalog (`is_new` false), but no edge of the graph. The same
holds for a version that is linked to where its content lies already.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from .catalog import Catalog
from .schema import LOG_TIME

if TYPE_CHECKING:
    import networkx as nx

Direction = Literal["upstream", "downstream", "both"]
_SQL_LEVELS = 32  # then all edges are loaded at once: a chain of 10,000 versions is not 10,000 queries


@dataclass(frozen=True, slots=True)
class Use:
    """A run's use of a version."""

    version_id: str
    role: str | None
    position: int


@dataclass(frozen=True, slots=True)
class Part:
    """Some outputs of a run that have the same inputs."""

    run_id: str
    number: int
    inputs: tuple[Use, ...]
    outputs: tuple[str, ...]
    exact: bool


def parts_of(
    run_id: str,
    uses: Sequence[Use],
    productions: Sequence[tuple[str, int, bool]],
    derivations: Sequence[tuple[str, str]],
) -> list[Part]:
    """Group a run's outputs by what they were made from. Pure.

    `productions` are (version, position, exact) of the outputs that were new, `derivations` (output, input).

    >>> uses = [Use("data", None, 1), Use("test", None, 3)]
    >>> [(p.outputs, [u.version_id for u in p.inputs]) for p in parts_of("r", uses, [("model", 2, False)], [])]
    [(('model',), ['data']), ((), ['data', 'test'])]
    """
    by_version = {use.version_id: use for use in uses}
    declared: dict[str, list[str]] = {}
    for output, source in derivations:
        declared.setdefault(output, []).append(source)
    groups: dict[tuple[frozenset[str], bool], list[str]] = {}
    for output, position, exact in sorted(productions, key=lambda row: row[1]):
        if exact:
            inputs = frozenset(declared.get(output, ()))
        else:
            inputs = frozenset(use.version_id for use in uses if use.position < position)
        groups.setdefault((inputs - {output}, exact), []).append(output)
    everything = frozenset(by_version)
    if not everything <= frozenset().union(*(inputs for inputs, _ in groups)):
        groups.setdefault((everything, False), [])  # used, and nothing was logged from it: an evaluation
    return [
        Part(
            run_id,
            number,
            tuple(
                sorted(
                    (by_version.get(v) or Use(v, None, 0) for v in inputs),
                    key=lambda u: (u.position, u.version_id),
                )
            ),
            tuple(outputs),
            exact,
        )
        for number, ((inputs, exact), outputs) in enumerate(groups.items(), 1)
    ] or [Part(run_id, 1, (), (), False)]


class LineageGraph:
    """Walks the lineage in a catalog. One use: it remembers the runs it has met."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._parts: dict[str, list[Part]] = {}
        self._producers: dict[str, list[str]] = {}
        self._users: dict[str, list[str]] = {}
        self._sources: dict[str, list[str]] = {}
        self._linked: dict[str, list[str]] = {}
        self._complete = False

    def build(
        self, version_id: str, *, direction: Direction = "both", depth: int | None = None
    ) -> nx.MultiDiGraph[str]:
        """The graph around a version (keys, attributes: `docs/lineage.md`).

        `depth` counts versions: 1 is what it was directly made from (or what was directly made from it).
        """
        edges: dict[tuple[str, int], Part] = {}
        versions: dict[str, None] = {version_id: None}
        links: set[tuple[str, str]] = set()
        omitted = 0
        if direction in ("upstream", "both"):
            omitted += self._walk(version_id, depth, edges, versions, links, up=True)
        if direction in ("downstream", "both"):
            omitted += self._walk(version_id, depth, edges, versions, links, up=False)
        return self._graph(version_id, direction, edges, versions, links, omitted)

    def runs_around(self, version_id: str, direction: Literal["upstream", "downstream"]) -> set[str]:
        """The full ids of all runs on the way up or down from a version."""
        parts: dict[tuple[str, int], Part] = {}
        self._walk(version_id, None, parts, {version_id: None}, set(), up=direction == "upstream")
        return {part.run_id for part in parts.values()}

    def makers(self, version_id: str) -> set[str]:
        """The full ids of the runs that made a version, of a link those that made its source."""
        found, level = {version_id}, 0
        while sources := {source for v in found for source in self._links([v], level, up=True).get(v, ())}:
            found, level = sources, level + 1
        return {run for runs in self._producing(sorted(found), 0).values() for run in runs}

    def _walk(
        self,
        start: str,
        depth: int | None,
        parts: dict[tuple[str, int], Part],
        versions: dict[str, None],
        links: set[tuple[str, str]],
        *,
        up: bool,
    ) -> int:
        """Breadth first from `start`; fills the maps and returns how many versions lie behind the depth limit."""
        seen, frontier, level = {start}, [start], 0
        while frontier:
            level += 1
            runs = self._producing(frontier, level) if up else self._using(frontier, level)
            self._load_parts([run for version in frontier for run in runs.get(version, ())])
            linked = self._links(frontier, level, up=up)
            following: dict[str, None] = {}
            for version in frontier:
                for other in linked.get(version, ()):
                    if depth is None or level <= depth:
                        links.add((other, version) if up else (version, other))
                        versions[other] = None
                    if other not in seen:
                        following[other] = None
                for part in self._adjacent(version, runs.get(version, ()), up=up):
                    reached = [use.version_id for use in part.inputs] if up else list(part.outputs)
                    if depth is not None and level > depth:
                        following.update(dict.fromkeys(v for v in reached if v not in seen))
                        continue
                    node = part_key(part)
                    parts[part.run_id, part.number] = part
                    links.add((node, version) if up else (version, node))
                    for other in reached:
                        links.add((other, node) if up else (node, other))
                        versions[other] = None
                        if other not in seen:
                            following[other] = None
            if depth is not None and level > depth:
                return len(following)
            seen.update(following)
            frontier = list(following)
        return 0

    def _adjacent(self, version: str, runs: Iterable[str], *, up: bool) -> list[Part]:
        found = []
        for run in runs:
            found += [
                part
                for part in self._parts[run]
                if (version in part.outputs if up else any(use.version_id == version for use in part.inputs))
            ]
        return found

    # Reading the catalog

    def _producing(self, versions: Sequence[str], level: int) -> dict[str, list[str]]:
        self._load_all_if_deep(level)
        if self._complete:
            return self._producers
        rows = self._catalog.rows(
            "SELECT version_id, run_id FROM productions WHERE is_new AND version_id IN (SELECT unnest(?::VARCHAR[]))",
            [versions],
        )
        return _grouped(rows)

    def _using(self, versions: Sequence[str], level: int) -> dict[str, list[str]]:
        self._load_all_if_deep(level)
        if self._complete:
            return self._users
        rows = self._catalog.rows(
            "SELECT DISTINCT version_id, run_id FROM uses"
            " WHERE version_id IN (SELECT unnest(?::VARCHAR[])) ORDER BY ALL",
            [versions],
        )
        return _grouped(rows)

    def _links(self, versions: Sequence[str], level: int, *, up: bool) -> dict[str, list[str]]:
        """The sources of links, or the links that sources have."""
        self._load_all_if_deep(level)
        if self._complete:
            return self._sources if up else self._linked
        here, there = ("link_id", "source_id") if up else ("source_id", "link_id")
        rows = self._catalog.rows(
            f"SELECT {here}, {there} FROM links WHERE is_new AND {here} IN (SELECT unnest(?::VARCHAR[])) ORDER BY ALL",
            [versions],
        )
        return _grouped(rows)

    def _load_all_if_deep(self, level: int) -> None:
        if level <= _SQL_LEVELS or self._complete:
            return
        self._producers = _grouped(
            self._catalog.rows("SELECT version_id, run_id FROM productions WHERE is_new")
        )
        self._users = _grouped(
            self._catalog.rows("SELECT DISTINCT version_id, run_id FROM uses ORDER BY ALL")
        )
        pairs = self._catalog.rows("SELECT link_id, source_id FROM links WHERE is_new ORDER BY ALL")
        self._sources = _grouped(pairs)
        self._linked = _grouped((source, link) for link, source in pairs)
        self._load_parts([row[0] for row in self._catalog.rows("SELECT DISTINCT run_id FROM run_events")])
        self._complete = True

    def _load_parts(self, runs: Iterable[str]) -> None:
        wanted = sorted({run for run in runs if run not in self._parts})
        if not wanted:
            return
        only = "run_id IN (SELECT unnest(?::VARCHAR[]))"
        uses: dict[str, list[Use]] = {run: [] for run in wanted}
        for run, version, role, position in self._catalog.rows(
            f"SELECT run_id, version_id, role, position FROM edges WHERE kind = 'used' AND {only}", [wanted]
        ):
            uses[run].append(Use(version, role, position))
        productions: dict[str, list[tuple[str, int, bool]]] = {}
        for run, version, position, exact in self._catalog.rows(
            f"SELECT run_id, version_id, position, exact FROM productions WHERE is_new AND {only}", [wanted]
        ):
            productions.setdefault(run, []).append((version, position, exact))
        derivations: dict[str, list[tuple[str, str]]] = {}
        for run, output, source in self._catalog.rows(
            # Of the production that made the output: what a later logging of the same content declared is no origin.
            "SELECT d.run_id, d.output_id, d.input_id FROM derivations d JOIN productions p"
            " ON p.run_id = d.run_id AND p.version_id = d.output_id AND p.position = d.position"
            f" WHERE p.is_new AND d.{only}",
            [wanted],
        ):
            derivations.setdefault(run, []).append((output, source))
        for run in wanted:
            self._parts[run] = parts_of(run, uses[run], productions.get(run, []), derivations.get(run, []))

    # The networkx graph

    def _graph(
        self,
        focus: str,
        direction: Direction,
        parts: dict[tuple[str, int], Part],
        versions: dict[str, None],
        links: set[tuple[str, str]],
        omitted: int,
    ) -> nx.MultiDiGraph[str]:
        import networkx as nx

        graph: nx.MultiDiGraph[str] = nx.MultiDiGraph(focus=focus, direction=direction, omitted=omitted)
        home = focus.rpartition("/")[0]
        self._add_versions(graph, list(versions), home)
        self._add_runs(graph, list(parts.values()))
        for part in parts.values():
            node = part_key(part)
            for use in part.inputs:
                if (use.version_id, node) in links:
                    graph.add_edge(
                        use.version_id, node, kind="used", role=use.role, exact=part.exact or not part.outputs
                    )
            for output in part.outputs:
                if (node, output) in links:
                    graph.add_edge(node, output, kind="produced", role=None, exact=part.exact)
        for source, target in sorted(links):
            if source in versions and target in versions:
                graph.add_edge(source, target, kind="linked", role=None, exact=True)
        return graph

    def _add_versions(self, graph: nx.MultiDiGraph[str], versions: Sequence[str], home: str) -> None:
        found = {
            record["version_id"]: record
            for record in self._catalog.records(
                "SELECT version_id, project, collection, version, type, digest, aliases, tags, size_bytes, file_count,"
                f" deleted, {LOG_TIME.format('created_at')} AS created_at FROM versions"
                " WHERE version_id IN (SELECT unnest(?::VARCHAR[]))",
                [versions],
            )
        }
        for version_id in versions:
            graph.add_node(version_id, **_version_attributes(version_id, found.get(version_id), home))

    def _add_runs(self, graph: nx.MultiDiGraph[str], parts: Sequence[Part]) -> None:
        found = {
            record["run_id"]: record
            for record in self._catalog.records(
                f"SELECT run_id, run, name, job_type, state, {LOG_TIME.format('created_at')} AS created_at FROM runs"
                " WHERE run_id IN (SELECT unnest(?::VARCHAR[]))",
                [sorted({part.run_id for part in parts})],
            )
        }
        for part in parts:
            record = found.get(part.run_id, {})
            run = part.run_id.rpartition("/")[2]
            split = len(self._parts[part.run_id]) > 1
            graph.add_node(
                part_key(part),
                kind="run",
                label=record.get("name") or run,
                run_id=run,
                job_type=record.get("job_type"),
                state=record.get("state") or "unknown",
                part=part.number if split else None,
                created_at=record.get("created_at") or "",
            )


def nearest_first(graph: nx.MultiDiGraph[str], start: str, *, upstream: bool) -> list[str]:
    """The nodes that lead to `start` (or that it leads to) by distance, those of one distance by creation time."""
    import networkx as nx

    layers = nx.bfs_layers(graph.reverse(copy=False) if upstream else graph, [start])
    return [
        node
        for layer in list(layers)[1:]
        for node in sorted(layer, key=lambda node: (graph.nodes[node]["created_at"], node))
    ]


def part_key(part: Part) -> str:
    """The node key of a part: ``run:entity/project/id``, with ``#2`` for a second part."""
    return f"run:{part.run_id}" if part.number == 1 else f"run:{part.run_id}#{part.number}"


def _version_attributes(version_id: str, record: dict[str, Any] | None, home: str) -> dict[str, Any]:
    project, _, short = version_id.rpartition("/")
    label = short if project == home else f"{project.rpartition('/')[2]}/{short}"
    name, _, number = short.rpartition(":v")
    if record is None:  # of a project whose log cannot be read from here: what the edge says is all there is
        record = {"type": "unknown", "deleted": False, "created_at": ""}
    return {
        "kind": "artifact",
        "label": label,
        "name": name,
        "version": int(number),
        "type": record["type"],
        "digest": record.get("digest"),
        "aliases": tuple(record.get("aliases") or ()),
        "tags": tuple(record.get("tags") or ()),
        "size_bytes": record.get("size_bytes") or 0,
        "file_count": record.get("file_count") or 0,
        "deleted": record["deleted"],
        "created_at": record["created_at"],
    }


def _grouped(rows: Iterable[tuple[Any, ...]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for key, value in rows:
        groups.setdefault(key, []).append(value)
    return groups
