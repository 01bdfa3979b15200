r"""Lineage graphs as Mermaid flowcharts, which GitHub, GitLab and many wikis draw in Markdown.

Text stands in double quotes. Inside them Mermaid reads ``#…;`` as a character entity, backticks as Markdown,
``$$`` as a formula and ``<…>`` as HTML, so all of these are written as entities. One more trap: Mermaid drops
the last ``;`` of what matches ``style.*:\S*#.*;``, meant for style statements but applied to any line, so a
label with such a word is given no bare colon.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from . import palette
from .captions import details, edge_words, listed, shorten
from .drawing import DEFAULT_LIMIT, Drawing, Edge, Node, plan_drawing

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["render_mermaid"]

_LONGEST_NAME = 40
_SPECIAL = re.compile(r"""["'#<>&`$\\;|%{}\[\]]""")
_STYLE_WORD = re.compile("style|classDef")


def render_mermaid(graph: nx.MultiDiGraph[str], *, limit: int | None = DEFAULT_LIMIT) -> str:
    """A ``flowchart LR``: boxes are artifacts, pills runs, dashed arrows run-level.

    Raises:
        UsageError: ``limit`` is below 1.
    """
    drawing = plan_drawing(graph, limit=limit)
    names = {node.key: f"n{index}" for index, node in enumerate(drawing.nodes)}
    classes = {
        name: f"type{index}"
        for index, name in enumerate(sorted({node.type for node in drawing.nodes if node.kind == "artifact"}))
    }
    lines = ["flowchart LR"]
    lines += [_node_line(names[node.key], node, classes) for node in drawing.nodes]
    lines += [f"  {names[edge.source]} {_arrow(edge)} {names[edge.target]}" for edge in drawing.edges]
    lines += _notes(drawing)
    lines += _styles(drawing, names, classes)
    return "\n".join(lines) + "\n"


def _node_line(name: str, node: Node, classes: dict[str, str]) -> str:
    rows = [f"<b>{_text(shorten(node.label, _LONGEST_NAME))}</b>"]
    if node.deleted:
        rows.append("deleted")
    if node.aliases:
        rows.append(f"<b>{_text(shorten(listed(node.aliases, 3), _LONGEST_NAME))}</b>")
    if details(node):
        rows.append(f"<small>{_text(details(node))}</small>")
    text = _guarded("<br/>".join(rows))
    if node.kind == "run":
        return f'  {name}(["{text}"]):::run'
    style = "deleted" if node.deleted else classes[node.type]
    opening, closing = ("[[", "]]") if node.is_group else ("[", "]")
    return f'  {name}{opening}"{text}"{closing}:::{style}'


def _arrow(edge: Edge) -> str:
    arrow = "-->" if edge.exact else "-.->"
    words = edge_words(edge)
    return f'{arrow}|"{_guarded(_text(shorten(words, _LONGEST_NAME)))}"|' if words else arrow


def _notes(drawing: Drawing) -> list[str]:
    rows = [_text(note) for note in drawing.notes]
    if any(not edge.exact for edge in drawing.edges):
        rows.insert(0, "- - run level: the run had used it before")
    return [f'  note["{"<br/>".join(rows)}"]:::note'] if rows else []


def _styles(drawing: Drawing, names: dict[str, str], classes: dict[str, str]) -> list[str]:
    lines = []
    for type_name, name in classes.items():
        tint = palette.tint_of_type(type_name)
        lines.append(_class(name, tint.fill, tint.line))
    lines.append(_class("run", palette.RUN.fill, palette.RUN.line))
    lines.append(
        f"  classDef deleted fill:{palette.TOMBSTONE.fill},stroke:{palette.TOMBSTONE.line},"
        f"color:{palette.QUIET},stroke-dasharray:4 3"
    )
    lines.append(f"  classDef note fill:none,stroke:none,color:{palette.QUIET}")
    lines += [
        f"  style {names[node.key]} stroke:{palette.INK},stroke-width:3px"
        for node in drawing.nodes
        if node.focus
    ]
    return lines


def _class(name: str, fill: str, line: str) -> str:
    return f"  classDef {name} fill:{fill},stroke:{line},color:{palette.INK}"


def _text(text: str) -> str:
    return _SPECIAL.sub(lambda match: f"#{ord(match[0])};", text)


def _guarded(label: str) -> str:
    return label.replace(":", "#58;") if _STYLE_WORD.search(label) else label
