"""`art sync`: send what was written while the store did not answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import common_options, json_option, open_workspace
from .output import counted, printable, say, say_json, size_words
from .progress import progress

if TYPE_CHECKING:
    from ..tracking.syncing import Sent


@click.command()
@json_option
@common_options
def sync(as_json: bool) -> None:
    """Send what waits in the outbox to the store.

    Runs and versions that were logged offline, or while the store did not answer, lie in the outbox of this machine.
    They are sent exactly once, however often this is repeated or interrupted; version numbers are given now. The next
    run on this machine does the same by itself. What a process is still writing is sent when it has ended.

    With --json: transactions, versions, runs (lists of full names), uploaded_bytes, recovered (runs of killed
    processes that were brought home), is_busy (a process is still writing).

    \b
    art sync
    LINEART_MODE=offline python train.py; art sync
    """
    from ..tracking.recovery import recover_project
    from ..tracking.syncing import outbox_of
    from ..tracking.syncing import sync as send

    workspace = open_workspace()
    with progress("sending", outbox_of(workspace).size_bytes) as advance:
        sent = send(workspace, advance)
    recovered = [
        f"{project}/{run}"
        for project in workspace.projects_here()
        for run in recover_project(workspace, project)
    ]
    if as_json:
        say_json(
            {
                "transactions": sent.transactions,
                "versions": sent.versions,
                "runs": sent.runs,
                "uploaded_bytes": sent.uploaded_bytes,
                "recovered": recovered,
                "is_busy": sent.is_busy,
            }
        )
        return
    for line in _told(sent, recovered):
        say(line)


def _told(sent: Sent, recovered: list[str]) -> list[str]:
    lines = [f"sent {printable(name)}" for name in (*sent.versions, *(f"run {run}" for run in sent.runs))]
    lines += [f"brought home run {printable(name)}" for name in recovered if name not in sent.runs]
    if sent.transactions:
        what = counted(sent.transactions, "transaction")
        lines.append(f"{what}, {size_words(sent.uploaded_bytes)} uploaded")
    if sent.is_busy:
        lines.append("a process is still writing to the outbox; its work is sent when it has ended")
    return lines or ["nothing waits"]
