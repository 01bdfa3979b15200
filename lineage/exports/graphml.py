"""Lineage graphs as GraphML, which Gephi, yEd, Cytoscape and networkx read (http://graphml.graphdrawing.org).

GraphML knows texts, numbers and booleans: lists become JSON texts, what is None is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import networkx as nx

# What XML 1.0 cannot hold in any form: control characters, surrogates, the two last of the plane.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def render_graphml(graph: nx.MultiDiGraph[str]) -> str:
    """All of ``graph``; ``networkx.parse_graphml(text)`` reads it back with these attributes."""
    import networkx as nx

    flat: nx.MultiDiGraph[str] = nx.MultiDiGraph()
    flat.graph.update(_flat(graph.graph))
    for node in sorted(graph, key=lambda node: (str(graph.nodes[node].get("created_at") or ""), node)):
        flat.add_node(xml_text(node), **_flat(graph.nodes[node]))
    edges = sorted(
        graph.edges(data=True), key=lambda edge: (edge[0], edge[1], json.dumps(edge[2], sort_keys=True))
    )
    for source, target, data in edges:
        flat.add_edge(xml_text(source), xml_text(target), **_flat(data))
    return "\n".join(nx.generate_graphml(flat)) + "\n"


def _flat(attributes: Mapping[str, Any]) -> dict[str, str | int | float | bool]:
    found: dict[str, str | int | float | bool] = {}
    for key, value in attributes.items():
        if isinstance(value, str):
            found[key] = xml_text(value)
        elif isinstance(value, (bool, int, float)):
            found[key] = value
        elif value is not None:
            found[key] = xml_text(json.dumps(value, ensure_ascii=False))
    return found


def xml_text(text: str) -> str:
    """`text` with escapes (``\\u0007``) for what XML cannot hold.

    >>> xml_text("a\\x07b")
    'a\\\\u0007b'
    """
    return _NOT_XML.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
