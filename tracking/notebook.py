"""How a run shows itself in a notebook."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .run import Run

_COLOURS = {"running": "#1a7f37", "finished": "#0969da"}
_ROWS = 20


def run_as_html(run: Run) -> str:
    """A small table: name, state, where it lies, and its newest values."""
    state = html.escape(run.state)
    colour = _COLOURS.get(run.state, "#cf222e")
    rows = "".join(
        f"<tr><td>{html.escape(str(key))}</td><td>{html.escape(_short(value))}</td></tr>"
        for key, value in list(run.summary.items())[:_ROWS]
    )
    more = f"<p>… and {len(run.summary) - _ROWS} more</p>" if len(run.summary) > _ROWS else ""
    return (
        f"<div><b>{html.escape(run.name)}</b> <code>{html.escape(run.path)}</code>"
        f' <span style="color:{colour}">{state}</span>'
        f"<br><small>{html.escape(run.url)}</small>"
        f"<table>{rows}</table>{more}</div>"
    )


def _short(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    import sys

    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and hasattr(shell, "kernel")
