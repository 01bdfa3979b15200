"""Lineage graphs as a tree for the terminal.

The focus stands first; below it, a section for what it was made from and one for what was made from it. A
node is expanded where it is first met and later only named. Nothing recurses, and indentation leaves room for
the node: a branch that goes deeper is continued further down under a number.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .captions import details, listed, shorten
from .drawing import DEFAULT_LIMIT, Drawing, Edge, Node, plan_drawing

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["render_tree"]

_NARROWEST = 40
_ROOM = 48
"""Columns kept for a node beside its branch, on terminals that have them."""

_ARTIFACT, _TOMBSTONE, _RUN = "■", "□", "●"
_LEGEND = f"{_ARTIFACT} artifact  {_RUN} run  ── declared  ╌╌ run level: the run had used it before"

_BOLD, _DIM, _RED, _GREEN, _YELLOW, _CYAN, _PLAIN = "1", "2", "31", "32", "33", "36", ""

_Side = Literal["upstream", "downstream"]
_Segment = tuple[str, str]
"""A text and its ANSI style."""


def render_tree(
    graph: nx.MultiDiGraph[str], *, color: bool = False, width: int = 100, limit: int | None = DEFAULT_LIMIT
) -> str:
    """Lines of at most ``width`` columns (40 or more), coloured with ANSI sequences if ``color``.

    Raises:
        UsageError: ``limit`` is below 1.
    """
    return _Tree(plan_drawing(graph, limit=limit), color=color, width=max(width, _NARROWEST)).text()


@dataclass(frozen=True, slots=True)
class _Branch:
    """A row still to be written: a node as reached over ``edge``, or a note when ``node`` is None."""

    node: Node | None
    edge: Edge | None
    indent: str
    last: bool
    note: str = ""


class _Tree:
    def __init__(self, drawing: Drawing, *, color: bool, width: int) -> None:
        self.drawing = drawing
        self.color = color
        self.width = width
        self.deepest = max(width - _ROOM, width // 3)
        self.lines: list[str] = []
        self.shown: set[str] = set()
        self.continued = 0
        self.nodes = {node.key: node for node in drawing.nodes}
        self.edges: dict[_Side, dict[str, list[Edge]]] = {"upstream": {}, "downstream": {}}
        for edge in drawing.edges:
            self.edges["upstream"].setdefault(edge.target, []).append(edge)
            self.edges["downstream"].setdefault(edge.source, []).append(edge)

    def text(self) -> str:
        focus = [node for node in self.drawing.nodes if node.focus]
        for node in focus:
            self._write([(f"{_symbol(node)} ", _tint(node)), *_caption(node, self.width - 2, strong=True)])
            self.shown.add(node.key)
        if focus:
            if self.drawing.direction != "downstream":
                self._section("upstream: made from", focus, "upstream")
            if self.drawing.direction != "upstream":
                self._section("downstream: used for", focus, "downstream")
        self._rest(titled=bool(focus))
        self._blank_line()
        self._write([(_LEGEND, _DIM)])
        for note in self.drawing.notes:
            self._write([(note, _YELLOW)])
        return "\n".join(self.lines) + "\n"

    def _section(self, title: str, starts: Iterable[Node], side: _Side) -> None:
        self._blank_line()
        first = len(self.lines)
        self._write([(title, _BOLD)])
        for start in starts:
            self._grow(start, side)
        if len(self.lines) == first + 1:
            self._write([("└── nothing recorded", _DIM)])

    def _rest(self, *, titled: bool) -> None:
        """What no section reached, from its roots downwards; all of the graph when it has no focus."""
        if titled and len(self.shown) < len(self.nodes):
            self._blank_line()
            self._write([("related", _BOLD)])
        # A circle has no root: whatever is left after the roots starts a tree itself.
        roots = [node for node in self.drawing.nodes if not self.edges["upstream"].get(node.key)]
        for node in [*roots, *self.drawing.nodes]:
            if node.key not in self.shown:
                self.shown.add(node.key)
                self._write([(f"{_symbol(node)} ", _tint(node)), *_caption(node, self.width - 2)])
                self._grow(node, "downstream")

    def _grow(self, start: Node, side: _Side) -> None:
        """Everything below ``start``, depth first, then the branches that were too deep, one by one."""
        postponed: deque[tuple[int, Node]] = deque([(0, start)])
        while postponed:
            number, node = postponed.popleft()
            if number:
                self._blank_line()
                self._write(
                    [(f"({number}) ", _YELLOW), (f"{_symbol(node)} ", _tint(node)), (node.label, _DIM)]
                )
            stack = self._branches(node, side, "")
            while stack:
                branch = stack.pop()
                if branch.node is None or branch.node.key in self.shown:
                    self._write_branch(branch)
                    continue
                self.shown.add(branch.node.key)
                indent = branch.indent + ("    " if branch.last else "│   ")
                below = self._branches(branch.node, side, indent)
                if below and len(indent) > self.deepest:
                    self.continued += 1
                    postponed.append((self.continued, branch.node))
                    self._write_branch(branch, [(f" ↓ see ({self.continued})", _YELLOW)])
                else:
                    self._write_branch(branch, [])
                    stack += below

    def _branches(self, node: Node, side: _Side, indent: str) -> list[_Branch]:
        """The branches of ``node`` as a stack, so the first to be written is the last."""
        found: list[tuple[Node | None, Edge | None, str]] = []
        for edge in self.edges[side].get(node.key, []):
            other = edge.source if side == "upstream" else edge.target
            found.append((self.nodes[other], edge, ""))
        # What ends here first, so that it stands close to its parent and not below a long branch.
        found.sort(key=lambda item: item[0] is not None and item[0].key in self.edges[side])
        hidden = node.hidden_sources if side == "upstream" else node.hidden_targets
        if hidden:
            found.append((None, None, f"… {hidden:,} left out"))
        last = len(found) - 1
        branches = [
            _Branch(other, edge, indent, index == last, note)
            for index, (other, edge, note) in enumerate(found)
        ]
        return branches[::-1]

    def _write_branch(self, branch: _Branch, marks: list[_Segment] | None = None) -> None:
        """``marks`` is None for a node that was shown before."""
        dash = "──" if branch.edge is None or branch.edge.exact else "╌╌"
        start = f"{branch.indent}{'└' if branch.last else '├'}{dash} "
        segments: list[_Segment] = [(start, _DIM)]
        node = branch.node
        if node is None:
            segments.append((branch.note, _YELLOW))
        else:
            segments.append((f"{_symbol(node)} ", _tint(node)))
            room = self.width - len(start) - 2
            roles = _roles(branch.edge)
            if marks is None:
                segments += [(shorten(node.label, max(room - 14, 6)), _DIM), (" ↑ shown above", _DIM)]
                segments += roles
            else:
                segments += _caption(node, room, marks=marks, roles=roles)
        self._write(segments)

    def _blank_line(self) -> None:
        if self.lines and self.lines[-1]:
            self.lines.append("")

    def _write(self, segments: list[_Segment]) -> None:
        fitting = _fit(segments, self.width)
        if not self.color:
            self.lines.append("".join(text for text, _ in fitting).rstrip())
            return
        painted = (f"\x1b[{style}m{text}\x1b[0m" if style else text for text, style in fitting)
        self.lines.append("".join(painted))


def _caption(
    node: Node,
    room: int,
    *,
    strong: bool = False,
    marks: Iterable[_Segment] = (),
    roles: Iterable[_Segment] = (),
) -> list[_Segment]:
    after: list[_Segment] = [(" deleted", _RED)] if node.deleted else []
    after += marks
    room -= sum(len(text) for text, _ in after)
    segments: list[_Segment] = [(shorten(node.label, max(room, 6)), _BOLD if strong else _PLAIN), *after]
    if node.aliases:
        segments.append((f" [{', '.join(node.aliases)}]", _GREEN))
    small = details(node)
    if small:
        segments.append((f"  {small}", _RED if node.states else _DIM))
    return [*segments, *roles]


def _roles(edge: Edge | None) -> list[_Segment]:
    segments: list[_Segment] = []
    if edge and edge.kind == "linked":
        segments.append(("  linked", _CYAN))
    if edge and edge.roles:
        segments.append((f"  as {listed(edge.roles, 3)}", _CYAN))
    if edge and edge.share:
        segments.append((f"  ({edge.share})", _DIM))
    return segments


def _symbol(node: Node) -> str:
    if node.kind == "run":
        return _RUN
    return _TOMBSTONE if node.deleted else _ARTIFACT


def _tint(node: Node) -> str:
    if node.deleted:
        return _DIM
    return _YELLOW if node.kind == "run" else _CYAN


def _fit(segments: list[_Segment], width: int) -> list[_Segment]:
    """Cut to ``width`` terminal columns, with "…" at the cut."""
    from rich.cells import cell_len, set_cell_size

    if sum(cell_len(text) for text, _ in segments) <= width:
        return segments
    fitting: list[_Segment] = []
    room = width - 1
    for text, style in segments:
        taken = cell_len(text)
        if taken > room:
            return [*fitting, (set_cell_size(text, room), style), ("…", style)]
        fitting.append((text, style))
        room -= taken
    return fitting
