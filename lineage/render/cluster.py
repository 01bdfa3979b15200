"""Which nodes of a lineage graph are alike enough to be drawn as one.

Two nodes are siblings when they have the same stem (the collection of a version, the job type of a run), lie
on the same level, and have the same neighbours on both sides, where a neighbour counts by its stem and level.
Two rules keep the picture honest:

- The focus, aliased versions and tombstones stay single, and count as themselves when they are neighbours:
  the run that made ``production`` stands beside the group of those that did not.
- A level is the longest path from a root, and every edge leads to a higher one. Groups lie within a level, so
  folding a graph without cycles gives a graph without cycles, and a chain of versions never collapses onto
  itself. Neighbours count by their level, too: the inputs of a chain of nightly runs stay apart, each beside
  its run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import networkx as nx

__all__ = ["SMALLEST_GROUP", "cluster", "collection_of", "focus_keys", "stem_of"]

SMALLEST_GROUP = 4
"""Three siblings are still read at a glance, and a group hides their names."""

_RUN_NUMBER = re.compile(r"[-_. #]*\d+$")


def cluster(graph: nx.MultiDiGraph[str], *, by_type: bool = False) -> tuple[tuple[str, ...], ...]:
    """Partition the nodes of ``graph`` into groups of siblings, most of them groups of one.

    With ``by_type`` the stem of a version is its type and not its collection, and of the aliases ``latest``, which each
    collection has, keeps none single: an overview of what is too large to be read otherwise. Members are ordered by
    creation time and key, groups by their first member.
    """
    focus = focus_keys(graph)
    levels = _levels(graph)
    single = {key for key in graph if key in focus or _stays_single(graph.nodes[key], by_type=by_type)}
    names = {
        key: (key,)
        if key in single or key not in levels
        else _name(graph.nodes[key], key, levels[key], by_type)
        for key in graph
    }
    groups: dict[object, list[str]] = {}
    for key in _in_order(graph):
        groups.setdefault(_signature(graph, key, names), []).append(key)
    cells: list[tuple[str, ...]] = []
    for members in groups.values():
        if len(members) >= SMALLEST_GROUP:
            cells.append(tuple(members))
        else:
            cells.extend((member,) for member in members)
    return tuple(sorted(cells, key=lambda cell: _age(graph, cell[0])))


def focus_keys(graph: nx.MultiDiGraph[str]) -> frozenset[str]:
    """The nodes in focus: one, or every part of a run that was asked for as a whole, or none."""
    focus = graph.graph.get("focus")
    if focus is None:
        return frozenset()
    if focus in graph:
        return frozenset((focus,))
    return frozenset(key for key in graph if key.startswith(f"{focus}#"))


def collection_of(key: str) -> str:
    """``"entity/project/name"`` of the artifact node ``"entity/project/name:v3"``."""
    return key.rpartition(":")[0] or key


def stem_of(key: str, attributes: dict[str, Any], *, by_type: bool = False) -> str:
    """What siblings have in common: a version's collection (or type), a run's job type or unnumbered name."""
    if attributes.get("kind") == "artifact":
        return str(attributes.get("type")) if by_type else collection_of(key)
    name = str(attributes.get("label") or key)
    return str(attributes.get("job_type") or _RUN_NUMBER.sub("", name) or name)


def _in_order(graph: nx.MultiDiGraph[str]) -> list[str]:
    return sorted(graph, key=lambda key: _age(graph, key))


def _age(graph: nx.MultiDiGraph[str], key: str) -> tuple[str, str]:
    return str(graph.nodes[key].get("created_at") or ""), key


def _levels(graph: nx.MultiDiGraph[str]) -> dict[str, int]:
    levels: dict[str, int] = {}
    try:
        for level, keys in enumerate(nx.topological_generations(graph)):
            levels.update(dict.fromkeys(keys, level))
    except nx.NetworkXUnfeasible:
        # A run that logs its own input again closes a circle. What lies on or behind it has no level; it is
        # drawn all the same, only not grouped.
        pass
    return levels


def _stays_single(attributes: dict[str, Any], *, by_type: bool) -> bool:
    aliases = attributes.get("aliases") or ()
    return any(alias != "latest" or not by_type for alias in aliases) or bool(attributes.get("deleted"))


def _name(attributes: dict[str, Any], key: str, level: int, by_type: bool) -> tuple[object, ...]:
    """What a node counts as when it is a neighbour: its like. One that stays single counts as itself alone."""
    return attributes.get("kind"), stem_of(key, attributes, by_type=by_type), level


def _signature(graph: nx.MultiDiGraph[str], key: str, names: dict[str, tuple[object, ...]]) -> object:
    if names[key] == (key,):
        return key
    incoming = frozenset((names[source], *how) for source, how in _links(graph, key, incoming=True))
    outgoing = frozenset((names[target], *how) for target, how in _links(graph, key, incoming=False))
    return names[key], incoming, outgoing


def _links(
    graph: nx.MultiDiGraph[str], key: str, *, incoming: bool
) -> Iterator[tuple[str, tuple[str, bool]]]:
    edges = graph.in_edges(key, data=True) if incoming else graph.out_edges(key, data=True)
    for source, target, attributes in edges:
        role = "linked" if attributes.get("kind") == "linked" else str(attributes.get("role") or "")
        how = (role, bool(attributes.get("exact")))
        yield (source if incoming else target), how
