"""`art lineage`: the graph around a version, as a tree, a picture or data."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from .completion import complete_names
from .options import common_options, json_option, open_workspace
from .output import note, say_json

if TYPE_CHECKING:
    import networkx as nx

    from ..lineage import Direction

_LOOKED_AT = 2_000


@click.command()
@click.argument("name", shell_complete=complete_names)
@click.option("--upstream", is_flag=True, help="Only what it was made from.")
@click.option("--downstream", is_flag=True, help="Only what was made from it.")
@click.option("--depth", type=click.IntRange(min=1), help="At most N versions away.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    help="Draw the N nodes that are nearest; 0: all. With --json, which has all by itself: about N versions.",
)
@click.option("--dot", is_flag=True, help="Write Graphviz's language; needs no Graphviz.")
@click.option("--mermaid", is_flag=True, help="Write Mermaid, which GitHub draws in Markdown.")
@click.option("--svg", metavar="FILE", type=click.Path(dir_okay=False), help="Draw a picture; - is stdout.")
@click.option("--png", metavar="FILE", type=click.Path(dir_okay=False), help="Draw a picture; - is stdout.")
@json_option
@common_options
def lineage(
    name: str,
    upstream: bool,
    downstream: bool,
    depth: int | None,
    limit: int | None,
    dot: bool,
    mermaid: bool,
    svg: str | None,
    png: str | None,
    as_json: bool,
) -> None:
    """Draw what a version was made from and what was made from it.

    Without a format a tree is drawn. Alike siblings are drawn as one ("train ×200"); lineage crosses projects.

    With --json: networkx's node-link data: graph (focus, direction, omitted, unread), nodes (id, kind, label, …),
    edges (source, target, kind, role, exact).

    \b
    art lineage classifier:production
    art lineage classifier:v3 --upstream --dot | dot -Tsvg > lineage.svg
    art lineage images:v1 --downstream --depth 2 --svg impact.svg
    """
    from ..lineage import LineageGraph

    formats = [dot, mermaid, svg is not None, png is not None, as_json]
    if sum(formats) > 1:
        raise click.UsageError("--dot, --mermaid, --svg, --png and --json: choose one")
    workspace = open_workspace()
    version = workspace.version(name, deleted_too=True)
    catalog = workspace.catalog()
    try:
        graph = LineageGraph(catalog).build(
            str(version.name),
            direction=_direction(upstream, downstream),
            depth=depth,
            most=_looked_at(limit, as_json),
        )
    finally:
        catalog.close()
    if as_json:
        from ..lineage.render import render_json

        say_json(render_json(graph))
    elif svg is not None:
        _write_picture(graph, "svg", svg, limit)
    elif png is not None:
        _write_picture(graph, "png", png, limit)
    else:
        click.echo(_text(graph, dot, mermaid, limit), nl=False)


def _direction(upstream: bool, downstream: bool) -> Direction:
    if upstream == downstream:
        return "both"
    return "upstream" if upstream else "downstream"


def _looked_at(limit: int | None, as_json: bool) -> int | None:
    """How many versions are looked at to each side: for a drawing far more than drawn, since alike ones are grouped."""
    if as_json:
        return limit or None
    drawn = _drawn(limit)
    return None if drawn is None else max(_LOOKED_AT, 10 * drawn)


def _drawn(limit: int | None) -> int | None:
    from ..lineage.render import DEFAULT_LIMIT

    return DEFAULT_LIMIT if limit is None else limit or None


def _text(graph: nx.MultiDiGraph[str], dot: bool, mermaid: bool, limit: int | None) -> str:
    from ..lineage.render import render_dot, render_mermaid, render_tree

    if dot or mermaid:
        text = (render_dot if dot else render_mermaid)(graph, limit=_drawn(limit))
    else:
        width = shutil.get_terminal_size((100, 24)).columns
        text = render_tree(graph, color=True, width=width, limit=_drawn(limit))
    return text if text.endswith("\n") else f"{text}\n"


def _write_picture(
    graph: nx.MultiDiGraph[str], kind: Literal["svg", "png"], target: str, limit: int | None
) -> None:
    from ..lineage.render import render_picture

    if target == "-" and kind == "png" and sys.stdout.isatty():
        raise click.UsageError("a picture cannot be shown here: name a file, or send it through a pipe")
    picture = render_picture(graph, kind, limit=_drawn(limit))
    if target == "-":
        sys.stdout.buffer.write(picture)
        sys.stdout.buffer.flush()
        return
    Path(target).write_bytes(picture)
    note(f"{os.path.abspath(target)} written, {len(picture):,} bytes")
