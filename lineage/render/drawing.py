"""A drawing: the nodes and edges of a lineage graph that are shown, and the count of those that are not.

All notations (tree, DOT, Mermaid) write the same drawing. Nodes are ordered by creation time and key.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from ...storage.errors import UsageError
from .captions import group_label, plain, version_ranges
from .cluster import cluster, collection_of, focus_keys, stem_of

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["DEFAULT_LIMIT", "Drawing", "Edge", "Node", "plan_drawing"]

_OVERVIEW = 3
"""So many times more groups than may be drawn: then those of one type are drawn as one, whatever their collection."""

DEFAULT_LIMIT = 60
"""Nodes drawn unless asked otherwise: a tree of two screens, a picture whose names can be read on a page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One artifact version or run, or a group of them. Its texts hold printable characters only."""

    key: str
    kind: Literal["artifact", "run"]
    label: str
    members: tuple[str, ...]
    """Keys of the graph's nodes that this one stands for; more than one for a group."""
    type: str
    """The artifact's type, the run's job type, or ``""``."""
    versions: str = ""
    """``"v0–v199"`` for a group of versions, ``"in 3 collections"`` for one of several; else ``""``."""
    aliases: tuple[str, ...] = ()
    size_bytes: int = 0
    deleted: bool = False
    states: tuple[tuple[str, int], ...] = ()
    """States of the runs and how many are in each, other than ``finished``."""
    focus: bool = False
    hidden_sources: int = 0
    """Neighbours on the input side that the limit left out."""
    hidden_targets: int = 0

    @property
    def is_group(self) -> bool:
        return len(self.members) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """``source`` was used by ``target``, produced it, or is linked as it; for groups, each between their members."""

    source: str
    target: str
    kind: Literal["used", "produced", "linked"]
    roles: tuple[str, ...]
    exact: bool
    """Whether every connected pair of members has a declared edge, not one inferred from the run."""
    share: str = ""
    """``"3 of 200"`` when only some members of a group have this edge, else ``""``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """What is drawn, with the counts of what is not."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    direction: str
    hidden_artifacts: int = 0
    hidden_runs: int = 0
    omitted: int = 0
    """Nodes that a depth limit had cut off before."""
    unread: int = 0
    """Runs that were not followed, since there were enough nodes."""

    @property
    def notes(self) -> tuple[str, ...]:
        """One line for each reason for which something is missing."""
        lines = []
        parts = [
            _counted(count, noun)
            for count, noun in ((self.hidden_artifacts, "artifact"), (self.hidden_runs, "run"))
            if count
        ]
        if parts:
            lines.append(f"… {' and '.join(parts)} further away left out; --limit N shows more")
        if self.omitted:
            lines.append(f"… {_counted(self.omitted, 'node')} beyond the depth limit; --depth N shows more")
        if self.unread:
            lines.append(
                f"… {_counted(self.unread, 'run')} not followed, and what lies behind; --limit 0 shows all"
            )
        return tuple(lines)


def plan_drawing(graph: nx.MultiDiGraph[str], *, limit: int | None = DEFAULT_LIMIT) -> Drawing:
    """Group siblings, then keep the ``limit`` nodes nearest to the focus (all when it is None).

    Without a focus, the centre is the aliased versions, else the newest node. At equal distance aliased nodes
    come first, then newer ones.

    Raises:
        UsageError: ``limit`` is below 1.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"limit {limit}: expected at least 1 node, or None for all")
    cells = cluster(graph)
    if limit is not None and len(cells) > _OVERVIEW * limit:
        cells = cluster(graph, by_type=True)
    focus = focus_keys(graph)
    nodes = [_node(graph, members, focus) for members in cells]
    cell_of = {member: node.key for node in nodes for member in node.members}
    edges = _edges(graph, nodes, cell_of)
    kept = set(_nearest_first(graph, nodes, cell_of)[:limit])
    hidden = _hidden_neighbours(edges, kept)
    left_out = [member for node in nodes if node.key not in kept for member in node.members]
    runs = {_run_id(graph, key) for key in left_out if graph.nodes[key].get("kind") == "run"}
    return Drawing(
        nodes=tuple(
            replace(node, hidden_sources=hidden[node.key, "in"], hidden_targets=hidden[node.key, "out"])
            for node in nodes
            if node.key in kept
        ),
        edges=tuple(edge for edge in edges if edge.source in kept and edge.target in kept),
        direction=str(graph.graph.get("direction") or "both"),
        hidden_artifacts=sum(graph.nodes[key].get("kind") == "artifact" for key in left_out),
        hidden_runs=len(runs),
        omitted=int(graph.graph.get("omitted") or 0),
        unread=int(graph.graph.get("unread") or 0),
    )


def _node(graph: nx.MultiDiGraph[str], members: tuple[str, ...], focus: frozenset[str]) -> Node:
    lead = members[0]
    first: dict[str, Any] = graph.nodes[lead]
    grouped = len(members) > 1
    key = f"group:{lead}" if grouped else lead
    label = plain(str(first.get("label") or members[0]))
    if first.get("kind") == "artifact":
        kind, collections = plain(str(first.get("type") or "")), {collection_of(member) for member in members}
        versions = version_ranges(_versions(graph, members)) if grouped else ""
        if grouped:
            label = group_label(collection_of(label), len(members))
        if len(collections) > 1:
            label, versions = group_label(kind, len(members)), f"in {len(collections):,} collections"
        return Node(
            key=key,
            kind="artifact",
            label=label,
            members=members,
            type=kind,
            versions=versions,
            aliases=() if grouped else tuple(plain(alias) for alias in first.get("aliases") or ()),
            size_bytes=sum(int(graph.nodes[member].get("size_bytes") or 0) for member in members),
            deleted=bool(first.get("deleted")),
            focus=members[0] in focus,
        )
    runs = {_run_id(graph, member): graph.nodes[member].get("state") for member in members}
    states = Counter(plain(str(state)) for state in runs.values() if state and state != "finished")
    part = first.get("part")
    if grouped:
        label = group_label(plain(stem_of(members[0], first)), len(runs), parts=len(members))
    elif part is not None:
        label = f"{label} #{part}"
    return Node(
        key=key,
        kind="run",
        label=label,
        members=members,
        type=plain(str(first.get("job_type") or "")),
        states=tuple(sorted(states.items())),
        focus=members[0] in focus,
    )


def _versions(graph: nx.MultiDiGraph[str], members: Iterable[str]) -> list[int]:
    return sorted(int(graph.nodes[member].get("version") or 0) for member in members)


def _run_id(graph: nx.MultiDiGraph[str], key: str) -> str:
    """Parts of one run share its project and id; the id alone may occur in two projects."""
    return key.rpartition("#")[0] if graph.nodes[key].get("part") is not None else key


@dataclass(slots=True)
class _Bundle:
    """The edges of the graph that become one edge of the drawing."""

    kind: Literal["used", "produced", "linked"]
    roles: set[str] = field(default_factory=set)
    exact_pairs: dict[tuple[str, str], bool] = field(default_factory=dict)


def _edges(graph: nx.MultiDiGraph[str], nodes: Sequence[Node], cell_of: dict[str, str]) -> list[Edge]:
    bundles: dict[tuple[str, str], _Bundle] = {}
    for source, target, attributes in graph.edges(data=True):
        ends = cell_of[source], cell_of[target]
        bundle = bundles.get(ends)
        if bundle is None:
            bundle = bundles[ends] = _Bundle(_kind(attributes.get("kind")))
        if attributes.get("role"):
            bundle.roles.add(plain(str(attributes["role"])))
        # A declared edge beside an inferred one between the same two nodes says more, so it wins.
        pair = source, target
        bundle.exact_pairs[pair] = bundle.exact_pairs.get(pair, False) or bool(attributes.get("exact"))
    position = {node.key: index for index, node in enumerate(nodes)}
    sizes = {node.key: len(node.members) for node in nodes}
    return [
        Edge(
            source=source,
            target=target,
            kind=bundle.kind,
            roles=tuple(sorted(bundle.roles)),
            exact=all(bundle.exact_pairs.values()),
            share=_share(bundle, sizes[source], sizes[target]),
        )
        for (source, target), bundle in sorted(
            bundles.items(), key=lambda item: (position[item[0][0]], position[item[0][1]])
        )
    ]


def _kind(given: object) -> Literal["used", "produced", "linked"]:
    return "produced" if given == "produced" else "linked" if given == "linked" else "used"


def _share(bundle: _Bundle, source_size: int, target_size: int) -> str:
    sources = len({source for source, _ in bundle.exact_pairs})
    targets = len({target for _, target in bundle.exact_pairs})
    counts = ((sources, source_size), (targets, target_size))
    return " → ".join(f"{count} of {size}" for count, size in counts if count < size)


def _nearest_first(graph: nx.MultiDiGraph[str], nodes: Sequence[Node], cell_of: dict[str, str]) -> list[str]:
    """Distances are those of the graph: a group is a shortcut between members that are far apart."""
    centre = [node for node in nodes if node.focus] or [node for node in nodes if node.aliases] or nodes[-1:]
    queue = deque(member for node in centre for member in node.members)
    reached = dict.fromkeys(queue, 0)
    distance: dict[str, int] = {}
    while queue:
        key = queue.popleft()
        distance.setdefault(cell_of[key], reached[key])
        for neighbour in (*graph.predecessors(key), *graph.successors(key)):
            if neighbour not in reached:
                reached[neighbour] = reached[key] + 1
                queue.append(neighbour)
    ranked = sorted(
        enumerate(nodes),
        key=lambda item: (distance.get(item[1].key, len(graph)), not item[1].aliases, -item[0]),
    )
    return [node.key for _, node in ranked]


def _hidden_neighbours(edges: Iterable[Edge], kept: set[str]) -> Counter[tuple[str, str]]:
    hidden: Counter[tuple[str, str]] = Counter()
    for edge in edges:
        if edge.source not in kept:
            hidden[edge.target, "in"] += 1
        if edge.target not in kept:
            hidden[edge.source, "out"] += 1
    return hidden


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
