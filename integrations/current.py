"""Which run an integration logs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..storage.errors import Error
from ..tracking.session import current_run

if TYPE_CHECKING:
    from ..tracking.run import Run


def running() -> Run | None:
    """The current run, None when there is none or it has ended."""
    run = current_run()
    return run if run is not None and run.state == "running" else None


def run_or_current(run: Run | None, what: str) -> Run:
    """`run`, or the current one. Raises: Error naming `what` when there is none."""
    found = run if run is not None else running()
    if found is None:
        raise Error(f"{what}: there is no run; call lineart.init() first, or pass run=")
    return found
