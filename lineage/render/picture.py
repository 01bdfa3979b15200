"""Pictures of lineage graphs, laid out by Graphviz's ``dot``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ...storage.errors import UsageError
from .dot import draw_dot
from .drawing import DEFAULT_LIMIT, plan_drawing

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["render_picture"]

_WITHOUT = "--dot and --mermaid work without it"


def render_picture(
    graph: nx.MultiDiGraph[str], format: Literal["svg", "png"], *, limit: int | None = DEFAULT_LIMIT
) -> bytes:
    """The bytes of an SVG or PNG file.

    Raises:
        UsageError: the format is another one, ``limit`` is below 1, or Graphviz is missing or cannot draw.
    """
    if format not in ("svg", "png"):
        raise UsageError(f"picture format {format!r}: expected 'svg' or 'png'")
    # Twice the usual resolution: text in a PNG stays sharp on a dense screen. SVG has no resolution.
    source = draw_dot(plan_drawing(graph, limit=limit), dots_per_inch=144 if format == "png" else None)
    try:
        import graphviz
    except ImportError as error:
        raise UsageError(
            f'{format} pictures need the Python package graphviz: run "pip install graphviz"; {_WITHOUT}'
        ) from error
    try:
        picture: bytes = graphviz.Source(source).pipe(format=format, quiet=True)
    except graphviz.ExecutableNotFound as error:
        raise UsageError(
            f"{format} pictures need the program dot, which is not on PATH: install Graphviz "
            f"(apt install graphviz, brew install graphviz, or https://graphviz.org/download); {_WITHOUT}"
        ) from error
    except graphviz.CalledProcessError as error:
        stderr = error.stderr or b""
        said = stderr.decode("utf-8", "replace") if isinstance(stderr, bytes) else str(stderr)
        reason = " ".join(said.split()) or f"exit status {error.returncode}"
        raise UsageError(f"dot could not draw the {format} picture: {reason}; {_WITHOUT}") from error
    return picture
