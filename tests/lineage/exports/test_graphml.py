"""GraphML that networkx reads again."""

from __future__ import annotations

import json
from typing import Any

import networkx as nx

from lineart.lineage.exports import render_graphml

from .conftest import MODEL, PROJECT, project_extent


def test_graph_is_read_back_as_it_was(story: None) -> None:
    graph = project_extent().graph
    read: Any = nx.parse_graphml(render_graphml(graph), force_multigraph=True)
    assert set(read) == set(graph)
    assert sorted((s, t, d["kind"]) for s, t, d in read.edges(data=True)) == sorted(
        (s, t, d["kind"]) for s, t, d in graph.edges(data=True)
    )
    node = read.nodes[MODEL]
    assert json.loads(node["aliases"]) == ["latest", "production"]
    assert (node["version"], node["deleted"], node["kind"]) == (0, False, "artifact")
    assert "part" not in read.nodes[f"run:{PROJECT}/prep"] or read.nodes[f"run:{PROJECT}/prep"]["part"]
    roles = {d.get("role") for _, _, d in read.in_edges(f"run:{PROJECT}/judge", data=True)}
    assert roles == {None, "test"}


def test_text_that_xml_cannot_hold_is_escaped() -> None:
    graph: nx.MultiDiGraph[str] = nx.MultiDiGraph(focus=None)
    graph.add_node("a\x00\ufffe", label="<&\x1b\ud800>", kind="run", created_at="")
    read = nx.parse_graphml(render_graphml(graph))
    assert read.nodes["a\\u0000\\ufffe"]["label"] == "<&\\u001b\\ud800>"


def test_same_graph_is_the_same_text(story: None) -> None:
    graph = project_extent().graph
    other: nx.MultiDiGraph[str] = nx.MultiDiGraph()
    other.graph.update(graph.graph)
    other.add_nodes_from(reversed(list(graph.nodes(data=True))))
    other.add_edges_from(reversed(list(graph.edges(data=True))))
    assert render_graphml(graph) == render_graphml(other)
