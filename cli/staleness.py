"""`art stale`: what was made from something that is not the newest any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .completion import complete_names
from .options import Length, common_options, json_option, open_workspace
from .output import Cell, aliases_cell, counted, printable, say, say_json, say_table

if TYPE_CHECKING:
    from ..lineage.stale import Stale
    from ..tracking.staleness import StaleReport


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_names)
@click.option(
    "--all", "everything", is_flag=True, help="Judge every live version, not only those with an alias."
)
@click.option("-A", "--all-projects", is_flag=True, help="Judge those of every project in the store.")
@click.option("--references", is_flag=True, help="Ask the places of references whether they changed.")
@click.option(
    "--timeout",
    type=Length(),
    default="60s",
    show_default=True,
    help="How long to ask; then the rest is left.",
)
@json_option
@common_options
def stale(
    names: tuple[str, ...],
    everything: bool,
    all_projects: bool,
    references: bool,
    timeout: float,
    as_json: bool,
) -> int:
    """List versions made from inputs that are out of date.

    An input is out of date when "latest" of its artifact is another version now, or (with --references) when a file
    that it refers to is not what it was. What was made from a stale version is stale, too: VIA says through which.
    Without NAME the versions with an alias are judged, "latest" among them.

    The exit status is 1 when something is stale, else 0: also when there are references that could not be asked; they
    are told on the standard error, and by --json.

    With --json: judged (how many), stale (a list of name, aliases, chain: from it to what was made from the causes,
    causes: a list of input, newest, kind: newer or reference), changed_references (version: what changed), unanswered
    (how many), unasked (a list of versions, place, reason), uncompared (how many have nothing recorded to compare).

    \b
    art stale
    art stale classifier:production --references
    """
    from ..storage.errors import UsageError
    from ..tracking.staleness import stale_versions

    if names and (everything or all_projects):
        raise UsageError("--all and --all-projects choose versions; leave them out where you name some")
    workspace = open_workspace()
    report = stale_versions(
        workspace,
        names,
        projects=workspace.project_names() if all_projects else (),
        everything=everything,
        with_references=references,
        timeout_s=timeout,
    )
    if as_json:
        say_json(_record(report))
    else:
        _say(report, "" if all_projects else f"{workspace.project_name}/")
    return 1 if report.stale else 0


def _record(report: StaleReport) -> dict[str, Any]:
    return {
        "judged": report.judged,
        "stale": [
            {
                "name": found.version,
                "aliases": list(found.aliases),
                "chain": list(found.chain),
                "causes": [
                    {"input": cause.input, "newest": cause.newest, "kind": cause.kind}
                    for cause in found.causes
                ],
            }
            for found in report.stale
        ],
        "changed_references": dict(report.changed_references),
        "unanswered": len(report.unasked),
        "unasked": [
            {"versions": list(unasked.versions), "place": unasked.place, "reason": unasked.reason}
            for unasked in report.unasked
        ],
        "uncompared": report.uncompared,
    }


def _say(report: StaleReport, home: str) -> None:
    if report.stale:
        say_table(
            "VERSION ALIASES VIA BECAUSE",
            (
                [
                    Cell(found.version.removeprefix(home), fg="cyan"),
                    aliases_cell(found.aliases),
                    ",".join(name.removeprefix(home) for name in found.chain[1:]),
                    Cell(_because(found, home), fg="yellow"),
                ]
                for found in report.stale
            ),
        )
    else:
        what = "nothing else" if report.unasked else "nothing"
        say(f"{what} is stale; {counted(report.judged, 'version')} judged")
    for version, what in report.changed_references.items():
        click.echo(f"art: {version.removeprefix(home)}: {printable(what)}", err=True)
    _say_unasked(report, home)


def _say_unasked(report: StaleReport, home: str) -> None:
    from ..tracking.staleness import SHOWN

    for unasked in report.unasked[:SHOWN]:
        first, more = unasked.versions[0].removeprefix(home), len(unasked.versions) - 1
        who = f"{first} and {more} more" if more else first
        said = f"{who}: reference {unasked.place} could not be asked: {unasked.reason}"
        click.echo(f"art: {printable(said)}", err=True)
    if len(report.unasked) > SHOWN:
        left = len(report.unasked) - SHOWN
        click.echo(f"art: {counted(left, 'more reference')} could not be asked; --json has them", err=True)
    if report.uncompared:
        said = (
            f"{counted(report.uncompared, 'reference')} cannot be compared: logged without size and checksum"
        )
        click.echo(f"art: {said}", err=True)


def _because(found: Stale, home: str) -> str:
    words = []
    for cause in found.causes:
        name = cause.input.removeprefix(home)
        if cause.newest is None:
            words.append(f"references of {name} changed")
        else:
            words.append(f"{name} → {cause.newest.rpartition(':')[2]}")
    return ", ".join(words)
