"""Lineage graphs as text, pictures and data.

Every renderer takes the ``networkx.MultiDiGraph`` that :mod:`lineart.lineage` returns and gives back a value;
nothing here opens a store, prints or reads the environment. The one side effect is that
:func:`render_picture` runs Graphviz's ``dot``.

Where to start: :mod:`.cluster` folds alike siblings ("train ×200"), :mod:`.drawing` turns the graph into the
few nodes and edges that are drawn and knows what was left out, :mod:`.captions` words them. ``tree``, ``dot``
and ``mermaid`` each write one notation of a drawing, ``picture`` runs ``dot``, and ``node_link`` is the
complete graph for other programs.

The same graph gives the same output, whatever the order in which its nodes were added.
May import: ``storage.errors``, networkx; rich and graphviz inside functions only.
"""

from __future__ import annotations

from .dot import render_dot
from .drawing import DEFAULT_LIMIT, Drawing, Edge, Node, plan_drawing
from .mermaid import render_mermaid
from .node_link import render_json
from .picture import render_picture
from .tree import render_tree

__all__ = [
    "DEFAULT_LIMIT",
    "Drawing",
    "Edge",
    "Node",
    "plan_drawing",
    "render_dot",
    "render_json",
    "render_mermaid",
    "render_picture",
    "render_tree",
]
