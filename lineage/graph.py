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

import contextlib
import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ..storage.errors import UsageError
from .catalog import Catalog
from .edges import EdgeReader
from .parts import Part, part_key
from .schema import LOG_TIME, among

if TYPE_CHECKING:
    import networkx as nx

Direction = Literal["upstream", "downstream", "both"]


@dataclass(slots=True)
class _Walk:
    """What was met on the way up or down."""

    versions: dict[str, None]
    parts: dict[tuple[str, int], Part] = field(default_factory=dict)
    links: set[tuple[str, str]] = field(default_factory=set)  # (source, target) of node keys
    omitted: int = 0  # versions behind the depth limit
    unread: int = 0  # runs that were not followed, since there was enough

    def add(self, version: str, part: Part, reached: Iterable[str], *, up: bool) -> None:
        """Take in a part that is adjacent to `version`, and what lies behind it."""
        node = part_key(part)
        self.parts[part.run_id, part.number] = part
        self.links.add((node, version) if up else (version, node))
        for other in reached:
            self.links.add((other, node) if up else (node, other))
            self.versions[other] = None

    def cut(
        self, frontier: Iterable[str], runs: Mapping[str, list[str]], most: int
    ) -> Mapping[str, list[str]]:
        """Of the runs at the frontier those for which there is room; the first of each version."""
        room = max(0, most - len(self.versions))
        kept: dict[str, list[str]] = {}
        for version in frontier:
            there = runs.get(version, [])
            kept[version] = there[:room]
            room -= len(kept[version])
            self.unread += len(there) - len(kept[version])
        return kept


class LineageGraph:
    """Walks the lineage in a catalog. One use: it remembers the runs it has met."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._edges = EdgeReader(catalog)

    def build(
        self,
        version_id: str,
        *,
        direction: Direction = "both",
        depth: int | None = None,
        most: int | None = None,
    ) -> nx.MultiDiGraph[str]:
        """The graph around a version (keys, attributes: `docs/lineage.md`).

        `depth` counts versions: 1 is what it was directly made from (or what was directly made from it). With `most`,
        the walk in each direction takes in no further runs once it has as many versions; runs are whole: a few more
        may come. Raises: UsageError for another direction.
        """
        ways = {"both": (True, False), "upstream": (True,), "downstream": (False,)}.get(direction)
        if ways is None:
            raise UsageError(f"direction {direction!r}: expected upstream, downstream or both")
        with _collector_paused():
            walks = [self._walk(version_id, depth, most, up=up) for up in ways]
            return self._graph(version_id, direction, walks)

    def of_project(self, project: str) -> nx.MultiDiGraph[str]:
        """The graph of all versions and runs of ``entity/project``, and of what its runs used or made elsewhere.

        Attributes as of `build`; it has no focus.
        """
        of_it = "WHERE project = ? GROUP BY ALL ORDER BY min(position)"
        runs = [row[0] for row in self._catalog.rows(f"SELECT run_id FROM run_events {of_it}", [project])]
        rows = self._catalog.rows(f"SELECT version_id FROM version_creations {of_it}", [project])
        walk = _Walk({row[0]: None for row in rows})
        self._edges.load(runs)
        for part in (part for run in runs for part in self._edges.parts(run)):
            walk.parts[part.run_id, part.number] = part
            walk.links |= {(use.version_id, part_key(part)) for use in part.inputs}
            walk.links |= {(part_key(part), output) for output in part.outputs}
            walk.versions |= dict.fromkeys([*(use.version_id for use in part.inputs), *part.outputs])
        for link, source in self._catalog.rows(
            "SELECT DISTINCT link_id, source_id FROM version_links WHERE is_new ORDER BY ALL"
        ):
            if link in walk.versions or source in walk.versions:
                walk.links.add((source, link))
                walk.versions |= {source: None, link: None}
        graph = self._graph(f"{project}/", "both", [walk])
        graph.graph["focus"] = None
        return graph

    def runs_around(self, version_id: str, direction: Literal["upstream", "downstream"]) -> set[str]:
        """The full ids of all runs on the way up or down from a version."""
        walk = self._walk(version_id, None, None, up=direction == "upstream")
        return {run for run, _ in walk.parts}

    def makers(self, version_id: str) -> set[str]:
        """The full ids of the runs that made a version, of a link those that made its source."""
        found = [version_id]
        while sources := [s for of in self._edges.links(found, up=True).values() for s in of]:
            found = sources
        return {run for runs in self._edges.runs(found, 0, up=True).values() for run in runs}

    def _walk(self, start: str, depth: int | None, most: int | None, *, up: bool) -> _Walk:
        """Breadth first from `start`."""
        walk = _Walk({start: None})
        seen, frontier, level = {start}, [start], 0
        while frontier:
            level += 1
            runs = self._edges.runs(frontier, level, up=up)
            if most is not None:
                runs = walk.cut(frontier, runs, most)
            self._edges.load(run for version in frontier for run in runs.get(version, ()))
            linked = self._edges.links(frontier, up=up)
            following: dict[str, None] = {}
            is_beyond = depth is not None and level > depth
            for version in frontier:
                for other in linked.get(version, ()):
                    if not is_beyond:
                        walk.links.add((other, version) if up else (version, other))
                        walk.versions[other] = None
                    if other not in seen:
                        following[other] = None
                for part in self._adjacent(version, runs.get(version, ()), up=up):
                    reached = [use.version_id for use in part.inputs] if up else part.outputs
                    if not is_beyond:
                        walk.add(version, part, reached, up=up)
                    for other in reached:
                        if other not in seen:
                            following[other] = None
            if is_beyond:
                walk.omitted = len(following)
                return walk
            seen.update(following)
            frontier = list(following)
        return walk

    def _adjacent(self, version: str, runs: Iterable[str], *, up: bool) -> list[Part]:
        found = []
        for run in runs:
            parts = self._edges.parts(run)
            if up:
                found += [part for part in parts if version in part.outputs]
            else:
                found += [part for part in parts if any(use.version_id == version for use in part.inputs)]
        return found

    # The networkx graph

    def _graph(self, focus: str, direction: Direction, walks: Sequence[_Walk]) -> nx.MultiDiGraph[str]:
        import networkx as nx

        graph: nx.MultiDiGraph[str] = nx.MultiDiGraph(
            focus=focus,
            direction=direction,
            omitted=sum(walk.omitted for walk in walks),
            unread=sum(walk.unread for walk in walks),
        )
        home = focus.rpartition("/")[0]
        versions = {version: None for walk in walks for version in walk.versions}
        parts = {key: part for walk in walks for key, part in walk.parts.items()}
        links = {link for walk in walks for link in walk.links}
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
        for source, target in sorted(link for link in links if link[0] in versions and link[1] in versions):
            graph.add_edge(source, target, kind="linked", role=None, exact=True)
        return graph

    def _add_versions(self, graph: nx.MultiDiGraph[str], versions: Sequence[str], home: str) -> None:
        columns = (
            "version_id, project, collection, version, type, digest, aliases, tags, size_bytes, file_count, deleted,"
            f" {LOG_TIME.format('created_at')} AS created_at"
        )
        records = self._catalog.records(among("versions", columns), [versions])
        found = {record["version_id"]: record for record in records}
        for version_id in versions:
            graph.add_node(version_id, **_version_attributes(version_id, found.get(version_id), home))

    def _add_runs(self, graph: nx.MultiDiGraph[str], parts: Sequence[Part]) -> None:
        columns = f"run_id, run, name, job_type, state, {LOG_TIME.format('created_at')} AS created_at"
        runs = sorted({part.run_id for part in parts})
        found = {record["run_id"]: record for record in self._catalog.records(among("runs", columns), [runs])}
        for part in parts:
            record = found.get(part.run_id, {})
            run = part.run_id.rpartition("/")[2]
            split = len(self._edges.parts(part.run_id)) > 1
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


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """A large graph is many small objects and no garbage: looking for some takes a quarter of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def nearest_first(graph: nx.MultiDiGraph[str], start: str, *, upstream: bool) -> list[str]:
    """The nodes that lead to `start` (or that it leads to) by distance, those of one distance by creation time."""
    import networkx as nx

    layers = nx.bfs_layers(graph.reverse(copy=False) if upstream else graph, [start])
    return [
        node
        for layer in list(layers)[1:]
        for node in sorted(layer, key=lambda node: (graph.nodes[node]["created_at"], node))
    ]


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
