"""The command `art`: arguments in, text or JSON out, an exit status.

May import: all other folders, and is imported by none. Start with `main` (the table of commands, errors, exit
statuses) and `options` (what commands share); each other module holds a few related commands and is loaded when one
of them is called. `output` knows how things are written, `progress` when a bar is shown.
"""

from __future__ import annotations

__all__: list[str] = []
