"""The complete graph as JSON for other programs.

The form is networkx's node-link data; ``networkx.node_link_graph(data, edges="edges")`` reads it back::

    {"directed": true, "multigraph": true,
     "graph": {"focus": "acme/vision/digits:v3", "direction": "upstream", "omitted": 0},
     "nodes": [{"id": "acme/vision/digits:v3", "kind": "artifact", "label": "digits:v3",
                "name": "digits", "version": 3, "type": "dataset", "aliases": ["latest"], "tags": [],
                "size_bytes": 1234, "file_count": 2, "deleted": false, "created_at": "2026-10-01T12:00:00Z"},
               {"id": "run:acme/vision/7f3a", "kind": "run", "label": "train-7", "run_id": "7f3a",
                "job_type": "train", "state": "finished", "part": null, "created_at": …}],
     "edges": [{"source": "acme/vision/digits:v3", "target": "run:acme/vision/7f3a", "key": 0,
                "kind": "used", "role": "training-set", "exact": true}]}

``kind`` of an edge is ``used`` (artifact → run), ``produced`` (run → artifact) or ``linked`` (artifact → a link
to it in another collection). ``exact`` is true where the input was declared and false where it is only known that
the run had used it before. A ``part`` numbers the sets of inputs of one run. ``key`` counts parallel edges and
means nothing else.
"""

from __future__ import annotations

import json
from typing import Any

import networkx as nx

__all__ = ["render_json"]


def render_json(graph: nx.MultiDiGraph[str]) -> dict[str, Any]:
    """All of ``graph`` as a dict of JSON types, nodes in order of creation; never grouped, never limited.

    Tuples become lists.

    Raises:
        TypeError: an attribute is of a type that JSON does not have.
    """
    ordered: nx.MultiDiGraph[str] = nx.MultiDiGraph(**graph.graph)
    keys = sorted(graph, key=lambda key: (str(graph.nodes[key].get("created_at") or ""), key))
    for key in keys:
        ordered.add_node(key, **graph.nodes[key])
    position = {key: index for index, key in enumerate(keys)}
    edges = sorted(
        graph.edges(data=True),
        key=lambda edge: (position[edge[0]], position[edge[1]], json.dumps(edge[2], sort_keys=True)),
    )
    for source, target, attributes in edges:
        ordered.add_edge(source, target, **attributes)
    data: dict[str, Any] = json.loads(json.dumps(nx.node_link_data(ordered, edges="edges")))
    return data
