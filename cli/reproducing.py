"""`art reproduce`: how a version was made, as a script; and making it again to see whether the same comes out."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .completion import complete_names
from .difference import change_records, say_files
from .options import common_options, json_option, open_workspace
from .output import printable, say, say_json

if TYPE_CHECKING:
    from ..tracking.reproduction import Outcome, Reproduction

_STATUS = {"same": 0, "differs": 1, "impossible": 2}


@click.command()
@click.argument("name", shell_complete=complete_names)
@click.option("--check", is_flag=True, help="Do it, and compare the digest of what comes out.")
@click.option(
    "--into",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="With --check: the new or empty folder; else one that is removed if the same comes out.",
)
@click.option("--no-env", is_flag=True, help="With --check: use this Python; make no virtual environment.")
@json_option
@common_options
def reproduce(name: str, check: bool, into: Path | None, no_env: bool, as_json: bool) -> int:
    """Print how to make a version anew, or do it and compare.

    Prints a shell script: the code (the commit and what was not committed, or the code that the run has saved), the
    inputs in a store of their own, Python with the packages of then, and the command. With --check all that is done in
    an empty folder; what the command logs goes into the store there. Only run code of those you trust.

    The exit status is 0 when the script is printed or the same came out, 1 when something else came out, 2 when it
    cannot be done.

    With --json: version, digest, store, run, project, code, inputs, environment, folder, command, obstacles, notes,
    steps (a list of kind, title, lines); with --check also verdict (same, differs, impossible), reasons, made (digest),
    differences (as the files of art diff), into.

    \b
    art reproduce classifier:production > again.sh
    art reproduce classifier:v3 --check --no-env
    """
    from ..tracking.reproduction import find_reproduction

    if (into is not None or no_env) and not check:
        raise click.UsageError("--into and --no-env say how to check; add --check")
    workspace = open_workspace()
    found = find_reproduction(workspace, workspace.version(name, deleted_too=True))
    if check:
        return _check(workspace, found, into, use_present=no_env, as_json=as_json)
    if as_json:
        say_json(_record(found))
    else:
        click.echo(found.script, nl=False)
        for reason in found.obstacles:
            click.echo(f"art: {found.short} cannot be made anew: {printable(reason)}", err=True)
    return 2 if found.obstacles else 0


def _check(
    workspace: Any, found: Reproduction, into: Path | None, *, use_present: bool, as_json: bool
) -> int:
    from ..tracking.reproduction import reproduce as make_anew

    folder = Path(tempfile.mkdtemp(prefix="lineart-reproduce-")) if into is None else into
    outcome = make_anew(
        found,
        workspace,
        folder,
        environ=os.environ,
        use_present=use_present,
        say=lambda line: click.echo(printable(line), err=True),
    )
    if into is None and (outcome.verdict == "same" or not any(folder.iterdir())):
        shutil.rmtree(folder, ignore_errors=True)
    kept = str(folder) if folder.exists() else None
    if as_json:
        changes = [] if outcome.differences is None else change_records(outcome.differences)
        made = {"verdict": outcome.verdict, "reasons": list(outcome.reasons), "made": outcome.made}
        say_json({**_record(found), **made, "differences": changes, "into": kept})
    else:
        _say_outcome(found, outcome, kept)
    return _STATUS[outcome.verdict]


def _say_outcome(found: Reproduction, outcome: Outcome, kept: str | None) -> None:
    title = click.style(found.short, fg="cyan", bold=True)
    if outcome.verdict == "impossible":
        for reason in outcome.reasons:
            click.echo(f"art: {found.short} cannot be made anew: {printable(reason)}", err=True)
    elif outcome.verdict == "same":
        say(f"{title} comes out the same: blake3 {found.digest}")
    else:
        say(f"{title} comes out different: blake3 {outcome.made}, recorded was {found.digest}")
        if outcome.differences is not None:
            say_files(outcome.differences)
        for remark in found.notes:
            say(f"note: {printable(remark)}")
    if kept is not None and outcome.verdict != "same":
        click.echo(f"art: what was made lies in {kept}", err=True)


def _record(found: Reproduction) -> dict[str, Any]:
    keys = ("version", "digest", "store", "run", "project", "folder")
    return {
        **{key: getattr(found, key) for key in keys},
        "code": asdict(found.code),
        "inputs": [asdict(item) for item in found.inputs],
        "environment": asdict(found.environment),
        "command": list(found.command),
        "obstacles": list(found.obstacles),
        "notes": list(found.notes),
        "steps": [asdict(step) for step in found.steps],
    }
