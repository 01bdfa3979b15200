r"""Lineage graphs in Graphviz's DOT language, written without Graphviz.

Quoting: identifiers stand in double quotes, where DOT reads ``\"`` as a quote and keeps other backslashes;
doubling them keeps the last one from the closing quote, and ``\N`` in a tooltip from meaning the node's
name. Labels are HTML-like, with the XML characters as entities. Graphviz replaces ``\N`` and its like by
names even there, after it has decoded the entities, so such a backslash is marked up as a text of its own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from . import palette
from .captions import details, edge_words, listed, plain, shorten
from .drawing import DEFAULT_LIMIT, Drawing, Edge, Node, plan_drawing

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["draw_dot", "render_dot"]

_LONGEST_NAME = 40
_MOST_WORDS = 3
_ENTITIES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;", "\\": "&#92;"}
)
_NAME_ESCAPE = re.compile("&#92;([NGETHL])")


def render_dot(graph: nx.MultiDiGraph[str], *, limit: int | None = DEFAULT_LIMIT) -> str:
    """The DOT source of a picture: boxes are artifacts, ellipses runs, dashed arrows run-level.

    Raises:
        UsageError: ``limit`` is below 1.
    """
    return draw_dot(plan_drawing(graph, limit=limit))


def draw_dot(drawing: Drawing, *, dots_per_inch: int | None = None) -> str:
    """The DOT source of ``drawing``; ``dots_per_inch`` matters to bitmaps."""
    resolution = f" dpi={dots_per_inch}" if dots_per_inch else ""
    lines = [
        "digraph lineage {",
        f'  graph [rankdir=LR bgcolor="{palette.GROUND}" pad=0.3 nodesep=0.22 ranksep=0.55{resolution}',
        f'         fontname="Arial" fontsize=10 fontcolor="{palette.QUIET}" labelloc=b labeljust=l',
        f"         label=<{_legend(drawing)}>]",
        f'  node [fontname="Arial" fontsize=12 fontcolor="{palette.INK}" penwidth=1.2 margin="0.16,0.09"]',
        f'  edge [fontname="Arial" fontsize=9 fontcolor="{palette.QUIET}" color="{palette.RUN.line}"',
        "        arrowsize=0.65 penwidth=1.1]",
    ]
    lines += [f"  {_quoted(node.key)} [{_attributes(node)}]" for node in drawing.nodes]
    lines += [f"  {_edge_line(edge)}" for edge in drawing.edges]
    return "\n".join([*lines, "}", ""])


def _attributes(node: Node) -> str:
    tint = palette.tint_of_type(node.type)
    if node.kind == "run":
        shape, style, fill = "ellipse", "filled", palette.RUN.fill
        line = palette.RUN.line if node.is_group else palette.line_of_state(node.states)
    elif node.deleted:
        shape, style = "box", "rounded,filled,dashed"
        fill, line = palette.TOMBSTONE.fill, palette.TOMBSTONE.line
    else:
        shape, style, fill, line = "box", "rounded,filled", tint.fill, tint.line
    words = [f'shape={shape} style="{style}" fillcolor="{fill}"']
    words.append(f'color="{palette.INK}" penwidth=2.6' if node.focus else f'color="{line}"')
    if node.kind == "run":
        words.append('margin="0.06,0.04"')
    if node.is_group:
        words.append("peripheries=2")
    words.append(f"label=<{_label(node)}> tooltip={_quoted(node.key)}")
    return " ".join(words)


def _label(node: Node) -> str:
    name = _text(shorten(node.label, _LONGEST_NAME))
    rows = [f'<font color="{palette.QUIET}"><s>{name}</s></font>' if node.deleted else name]
    if node.aliases:
        aliases = shorten(listed(node.aliases, _MOST_WORDS), _LONGEST_NAME)
        rows.append(f'<font point-size="11"><b>{_text(aliases)}</b></font>')
    small = ["deleted"] if node.deleted else []
    if details(node):
        small.append(details(node))
    if small:
        rows.append(_small(" · ".join(small)))
    return "<br/>".join(rows)


def _edge_line(edge: Edge) -> str:
    words = [] if edge.exact else ["style=dashed"]
    if edge_words(edge):
        words.append(f"label=<{_text(shorten(edge_words(edge), _LONGEST_NAME))}>")
    arrow = f"{_quoted(edge.source)} -> {_quoted(edge.target)}"
    return f"{arrow} [{' '.join(words)}]" if words else arrow


def _legend(drawing: Drawing) -> str:
    """Swatches for what occurs in this drawing, then the notes."""
    types = sorted({node.type for node in drawing.nodes if node.kind == "artifact" and not node.deleted})
    words = [
        f'<font color="{palette.tint_of_type(name).line}">■</font> {_text(name or "artifact")}'
        for name in types
    ]
    if any(node.kind == "run" for node in drawing.nodes):
        words.append(f'<font color="{palette.RUN.line}">●</font> run')
    if any(node.deleted for node in drawing.nodes):
        words.append(f'<font color="{palette.TOMBSTONE.line}">□</font> deleted')
    words.append("── declared")
    if any(not edge.exact for edge in drawing.edges):
        words.append("- - run level: the run had used it before")
    rows = ["&nbsp;&nbsp;&nbsp;".join(words), *map(_text, drawing.notes)]
    return "<br/>" + "".join(f'{row}<br align="left"/>' for row in rows)


def _small(text: str) -> str:
    return f'<font point-size="9.5" color="{palette.QUIET}">{_text(text)}</font>'


def _text(text: str) -> str:
    return _NAME_ESCAPE.sub(r"<font>&#92;</font>\1", text.translate(_ENTITIES))


def _quoted(text: str) -> str:
    # Backslashes are doubled before unprintable characters become escapes, so that no two keys become one.
    return '"' + plain(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'
