"""`art impact` and `art why`: what came of a version, and what it came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from .completion import complete_names
from .options import common_options, json_option, open_workspace
from .output import (
    Cell,
    age,
    aliases_cell,
    counted,
    printable,
    say,
    say_facts,
    say_json,
    say_table,
    value_text,
    when,
)
from .showing import input_words
from .untracked import found_in, untracked_facts, untracked_record

if TYPE_CHECKING:
    from ..artifacts.version import Version
    from ..lineage import Impact, Why
    from ..lineage.questions import RunFacts


@click.command()
@click.argument("name", shell_complete=complete_names)
@json_option
@common_options
def impact(name: str, as_json: bool) -> None:
    """List what would be touched if a version were bad.

    All that was made from it, directly or not, in any project, nearest first; and the aliases by which people get
    something that is touched.

    With --json: name, versions (a list of name, type, aliases, deleted, created_at), runs (a list of run, name,
    job_type, state), aliases (NAME:ALIAS).

    \b
    art impact images:v2
    art impact images:v2 --json | jq -r '.aliases[]'
    """
    from ..lineage import impact as find_impact

    workspace = open_workspace()
    version = workspace.version(name, deleted_too=True)
    catalog = workspace.catalog()
    try:
        found = find_impact(catalog, str(version.name))
    finally:
        catalog.close()
    if as_json:
        say_json(_impact_record(found))
    else:
        _say_impact(found, version)


def _impact_record(found: Impact) -> dict[str, Any]:
    return {
        "name": found.version_id,
        "versions": [
            {
                "name": version["id"],
                "type": version["type"],
                "aliases": list(version["aliases"]),
                "deleted": version["deleted"],
                "created_at": version["created_at"],
            }
            for version in found.versions
        ],
        "runs": _runs(found),
        "aliases": found.aliases,
    }


def _runs(found: Impact) -> list[dict[str, Any]]:
    """The runs; one whose outputs have different inputs is several nodes of the graph and one run here."""
    runs: dict[str, dict[str, Any]] = {}
    for run in found.runs:
        run_id = run["id"].removeprefix("run:").partition("#")[0]
        runs[run_id] = {key: run[key] for key in ("job_type", "state")} | {
            "run": run_id,
            "name": run["label"],
        }
    return [{key: run[key] for key in ("run", "name", "job_type", "state")} for run in runs.values()]


def _say_impact(found: Impact, version: Version) -> None:
    home = f"{version.project}/"
    runs = _runs(found)
    title = click.style(version.name.short, fg="cyan", bold=True)
    if not runs:
        say(f"{title} was used by no run; nothing was made from it")
    else:
        made = counted(len(found.versions), "version")
        say(f"{title} was used, directly or not, by {counted(len(runs), 'run')}; {made} came of it")
    if found.aliases:
        say(f"people get it as {click.style(', '.join(found.aliases), fg='green')}")
    if found.versions:
        say()
        say_table(
            "VERSION TYPE ALIASES AGE>",
            (
                [
                    Cell(v["id"].removeprefix(home), fg=None if v["deleted"] else "cyan", dim=v["deleted"]),
                    v["type"],
                    Cell("deleted", fg="red") if v["deleted"] else aliases_cell(v["aliases"]),
                    age(v["created_at"]) if v["created_at"] else "-",
                ]
                for v in found.versions
            ),
        )
    if runs:
        say()
        say_table(
            "RUN NAME JOB STATE",
            (
                [
                    r["run"].removeprefix(home),
                    printable(r["name"]),
                    printable(r["job_type"] or "-"),
                    r["state"],
                ]
                for r in runs
            ),
        )


@click.command()
@click.argument("name", shell_complete=complete_names)
@json_option
@common_options
def why(name: str, as_json: bool) -> None:
    """Tell which data, code and config made a version.

    Where the run was observed (the setting "observe"), files and URLs that it read and did not declare are listed as
    untracked, with the version that has the same file, if there is one. Of a link, such as a registered model, it is
    told what made the version that it shows.

    With --json: name, source (of a link: the version that it shows, else null), logged_by, exact, inputs (a list of
    name, role), untracked (a list of uri, size_bytes, digest, found_in; null when nobody observed), untracked_omitted,
    reproduced_by (runs), and run (run, name, job_type, state, config, summary, capture, user, host, created_at, error;
    null when it was logged outside of one, or by one that is not in this store: absent_run is its id then).

    \b
    art why classifier:production
    art why classifier:v3 --json | jq .run.config
    """
    from ..lineage import why as find_reasons

    workspace = open_workspace()
    version = workspace.version(name, deleted_too=True)
    catalog = workspace.catalog()
    try:
        found = find_reasons(catalog, str(version.name))
    finally:
        catalog.close()
    known = found_in(workspace, found.untracked)
    if as_json:
        say_json(_why_record(found, known))
    else:
        _say_why(found, version, known)


def _why_record(found: Why, known: Mapping[str, str]) -> dict[str, Any]:
    run = found.run
    return {
        "name": found.version_id,
        "source": found.source,
        "logged_by": found.logged_by,
        "exact": found.exact,
        "inputs": [{"name": source, "role": role} for source, role in found.inputs],
        **untracked_record(found.untracked, known),
        "reproduced_by": found.reproduced_by,
        "absent_run": found.absent_run,
        "run": run
        and {
            "run": run.run_id,
            "name": run.name,
            "job_type": run.job_type,
            "state": run.state,
            "config": dict(run.config),
            "summary": dict(run.summary),
            "capture": dict(run.capture),
            "user": run.user,
            "host": run.host,
            "created_at": run.created_at,
            "error": run.error,
        },
    }


def _say_why(found: Why, version: Version, known: Mapping[str, str]) -> None:
    title = click.style(version.name.short, fg="cyan", bold=True)
    run = found.run
    if found.source is not None:
        shown = click.style(found.source.removeprefix(f"{version.project}/"), fg="cyan", bold=True)
        say(f"{title} is a link to {shown}")
        title = shown
    if run is None:
        by = "" if found.absent_run else f" by {found.logged_by}"
        say(f"{title} {found.unknown}{by}; nothing is known of its inputs")
        return
    job = f"{printable(run.job_type)}, " if run.job_type else ""
    name = click.style(printable(run.name), fg="yellow")
    say(f"{title} was made by the run {name} ({job}{run.state}), {run.run_id.rpartition('/')[2]}")
    facts: list[tuple[str, str | Cell]] = [("when", f"{when(run.created_at)} by {found.logged_by}")]
    for source, role in found.inputs:
        facts.append(
            ("input", Cell(input_words({"name": source, "role": role}, str(version.project)), fg="cyan"))
        )
    if not found.inputs:
        facts.append(("input", "none recorded"))
    elif not found.exact:
        facts.append(("input", Cell("(not declared for it: all that the run had used before)", dim=True)))
    facts += untracked_facts(found.untracked, known, f"{version.project}/")
    facts += [("config", f"{printable(key)} = {value_text(value)}") for key, value in run.config.items()]
    facts += [("result", f"{printable(key)} = {value_text(value)}") for key, value in run.summary.items()]
    facts += _code_facts(run)
    facts += [("made again by", run_id.removeprefix(f"{version.project}/")) for run_id in found.reproduced_by]
    say_facts(facts, indent="  ")


def _code_facts(run: RunFacts) -> list[tuple[str, str | Cell]]:
    capture = run.capture
    facts: list[tuple[str, str | Cell]] = []
    git = capture.get("git") or {}
    if git.get("commit"):
        changed = ", with uncommitted changes" if git.get("dirty") else ""
        remote = f" of {git['remote']}" if git.get("remote") else ""
        facts.append(("code", printable(f"{git['commit'][:12]} ({git.get('branch')}){remote}{changed}")))
    if capture.get("command"):
        facts.append(("command", printable(" ".join(map(str, capture["command"])))))
    if capture.get("folder"):
        facts.append(("folder", printable(str(capture["folder"]))))
    if capture.get("python"):
        facts.append(
            ("python", printable(f"{capture['python']}, {capture.get('platform')}, on {capture.get('host')}"))
        )
    if run.error:
        facts.append(("error", Cell(printable(run.error.strip().splitlines()[-1]), fg="red")))
    return facts
