"""`art prune`, `art undelete` and `art gc`: what is to be kept, what comes back, and what goes for good."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from .completion import complete_collections, complete_names, complete_types
from .labels import is_terminal
from .options import Length, common_options, json_option, open_workspace
from .output import (
    Cell,
    counted,
    name_cell,
    note,
    printable,
    say,
    say_json,
    say_table,
    size_cell,
    size_words,
    when,
)

if TYPE_CHECKING:
    from ..artifacts.collecting import Outcome
    from ..artifacts.names import ArtifactName
    from ..artifacts.retention import Best, Verdict

_STATES = {"planned": "yellow", "waiting": "yellow", "deleted": "red", "cancelled": "green"}
_REASONS = {"dead": "nothing needs them", "sparse": "mostly dead; the rest is copied first"}


@click.command()
@click.option(
    "--grace", type=Length(), default="7d", show_default=True, help="How long a plan waits: 12h, 7d, 0s."
)
@click.option(
    "--compact-below",
    type=click.IntRange(0, 100),
    default=30,
    show_default=True,
    metavar="PERCENT",
    help="Copy the rest of packs of which less is needed; 0 leaves them.",
)
@click.option("--dry-run", is_flag=True, help="Only tell what would be done.")
@json_option
@common_options
def gc(grace: float, compact_below: int, dry_run: bool, as_json: bool) -> None:
    """Delete from the store what no version and no run needs.

    Two steps, days apart: what is dead now goes into a plan, and a plan whose grace is over is looked at again and
    deleted. So call it from time to time; "art undelete" works until then. It may run at any moment, also twice at
    once, beside runs that log: nothing that is committed can lose its content, whatever the grace. With --grace 0s
    everything is deleted at once.

    With --json: dry_run, plans (a list of plan, state: planned, waiting, deleted or cancelled, time, due, bytes,
    copied_bytes, spared: the packs that are needed after all, packs: a list of pack, bytes, reason: dead or sparse,
    live_bytes, runs: a list of run, bytes), young_bytes (of packs that nothing needs yet and that are too young),
    unfinished_uploads (in a bucket: begun a day ago or earlier, never ended, dropped; null: not allowed to look).

    \b
    art gc --dry-run
    art gc
    art gc --grace 0s
    """
    from ..artifacts.collecting import Collector

    workspace = open_workspace()
    collector = Collector(workspace.store)
    outcomes = collector.collect(grace_s=grace, share=compact_below / 100, dry_run=dry_run)
    if as_json:
        plans = [_outcome_record(outcome) for outcome in outcomes]
        unfinished = None if collector.unfinished_error else collector.unfinished_uploads
        say_json(
            {
                "dry_run": dry_run,
                "plans": plans,
                "young_bytes": collector.young_bytes,
                "unfinished_uploads": unfinished,
            }
        )
    else:
        _say_outcomes(outcomes, collector.young_bytes, dry_run=dry_run)
        if collector.unfinished_uploads:
            note(
                f"{counted(collector.unfinished_uploads, 'unfinished upload')} of a day ago or earlier dropped"
            )
        if collector.unfinished_error:
            note(f"unfinished uploads were not looked for: {collector.unfinished_error}")


def _outcome_record(outcome: Outcome) -> dict[str, Any]:
    return {
        "plan": outcome.plan,
        "state": outcome.state,
        "time": outcome.time,
        "due": outcome.due,
        "bytes": outcome.size_bytes,
        "copied_bytes": outcome.copied_bytes,
        "spared": list(outcome.spared),
        "packs": [
            {
                "pack": pack.pack,
                "bytes": pack.size_bytes,
                "reason": pack.reason,
                "live_bytes": pack.live_bytes,
            }
            for pack in outcome.packs
        ],
        "runs": [{"run": run.run, "bytes": run.size_bytes} for run in outcome.runs],
    }


def _say_outcomes(outcomes: Sequence[Outcome], young_bytes: int, *, dry_run: bool) -> None:
    if young_bytes:
        note(
            f"{size_words(young_bytes)} that nothing needs are left: so young, somebody may be about to commit them"
        )
    if not outcomes:
        say("nothing to delete" if young_bytes else "nothing to delete: all that is in the store is needed")
        return
    say_table("PLAN STATE DUE WHAT COUNT> BYTES> WHY", _rows(outcomes))
    say()
    gone = sum(outcome.size_bytes for outcome in outcomes if outcome.state == "deleted")
    left = sum(outcome.size_bytes for outcome in outcomes if outcome.state in ("planned", "waiting"))
    copied = sum(outcome.copied_bytes for outcome in outcomes)
    spared = sum(len(outcome.spared) for outcome in outcomes)
    words = [f"{'would delete' if dry_run else 'deleted'} {size_words(gone)}"] if gone or not left else []
    if left:
        words.append(f"{size_words(left)} {'would wait' if dry_run else 'wait'} for their grace to end")
    if copied:
        words.append(f"{size_words(copied)} copied")
    if spared:
        words.append(f"{counted(spared, 'pack')} needed after all")
    say("; ".join(words))
    if dry_run:
        note("nothing was changed")


def _rows(outcomes: Sequence[Outcome]) -> Iterator[list[str | Cell]]:
    for outcome in outcomes:
        state = Cell(outcome.state, fg=_STATES[outcome.state])
        due = when(outcome.due).replace(" ", "T") if outcome.due and outcome.state != "deleted" else "-"
        head: list[str | Cell] = [outcome.plan, state, due]
        for reason, why in _REASONS.items():
            packs = [pack for pack in outcome.packs if pack.reason == reason]
            if packs:
                size = sum(pack.size_bytes - pack.live_bytes for pack in packs)
                yield [*head, "packs", str(len(packs)), size_cell(size), why]
        if outcome.runs:
            size = sum(run.size_bytes for run in outcome.runs)
            yield [*head, "runs", str(len(outcome.runs)), size_cell(size), "deleted; their histories"]
        if not outcome.packs and not outcome.runs:
            yield [*head, "-", "0", size_cell(0), "all of it is needed after all"]


@click.command()
@click.option(
    "--keep-last", type=click.IntRange(min=1), metavar="N", help="Keep the newest N versions of each."
)
@click.option("--keep-aliased", is_flag=True, help="Keep what an alias points to, :latest too.")
@click.option("--keep-used", is_flag=True, help="Keep what a run has used, or something was made from.")
@click.option(
    "--keep-best",
    "best",
    multiple=True,
    metavar="METRIC[:min|:max]",
    help="Keep the best by a metric of the version or its run; may be repeated.",
)
@click.option("--younger-than", type=Length(), metavar="AGE", help="Keep what is younger: 12h, 30d, 1y.")
@click.option("--expired", is_flag=True, help="Delete only what has outlived its time to live.")
@click.option("--delete-aliases", is_flag=True, help="Aliases keep nothing: remove them with the versions.")
@click.option("-t", "--type", "kind", shell_complete=complete_types, help="Only artifacts of this type.")
@click.option(
    "-c",
    "--collection",
    metavar="PATTERN",
    shell_complete=complete_collections,
    help="Only artifacts of such names: 'train-*'.",
)
@click.option("-A", "--all-projects", is_flag=True, help="Of every project in the store.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be deleted, and why the rest is kept.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
@common_options
def prune(
    keep_last: int | None,
    keep_aliased: bool,
    keep_used: bool,
    best: tuple[str, ...],
    younger_than: float | None,
    expired: bool,
    delete_aliases: bool,
    kind: str | None,
    collection: str | None,
    all_projects: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Delete the versions that no rule keeps.

    A version stays when one of the rules given keeps it. Whatever the rules, a version stays that an alias other than
    latest points to, or that is linked elsewhere; and a version whose time to live is over goes. Its name, digest and
    lineage stay; "art undelete" brings it back until "art gc" has collected its content.

    With --json: dry_run, deleted, kept (lists of name, aliases, bytes, reason).

    \b
    art prune --keep-last 3 --keep-used --dry-run
    art prune --type model --keep-best accuracy --younger-than 30d --yes
    """
    from ..artifacts.retention import Rules
    from ..tracking.pruning import judge, prune

    rules = Rules(
        last=keep_last,
        aliased=keep_aliased,
        used=keep_used,
        best=[_best(text) for text in best],
        younger_than_s=younger_than,
        expired=expired,
        delete_aliases=delete_aliases,
    )
    rules.check()
    workspace = open_workspace()
    projects = workspace.project_names() if all_projects else [workspace.project_name]
    now = datetime.datetime.now(datetime.UTC)
    verdicts = {
        project: judge(workspace, project, rules, type=kind, pattern=collection, now=now)
        for project in projects
    }
    together = {name: verdict for found in verdicts.values() for name, verdict in found.items()}
    doomed = [name for name, verdict in together.items() if not verdict.keep]
    if not dry_run and doomed:
        if not yes:
            _ask(len(doomed))
        done = {
            name for project, found in verdicts.items() for name in prune(workspace, project, found, rules)
        }
        doomed = [name for name in doomed if name in done]
    _tell(together, doomed, dry_run=dry_run, as_json=as_json)


def _best(text: str) -> Best:
    """Raises: click.UsageError."""
    from ..artifacts.retention import Best

    metric, colon, order = text.rpartition(":")
    if colon and order == "min":
        return Best(metric, "min")
    if colon and order == "max":
        return Best(metric, "max")
    if not text or (colon and not order):
        raise click.UsageError(f"--keep-best {text!r}: expected METRIC, METRIC:min or METRIC:max")
    return Best(text, "max")


def _ask(count: int) -> None:
    from ..storage.errors import UsageError

    if not is_terminal():
        raise UsageError(
            f"deleting {counted(count, 'version')} needs a yes: pass --yes, or look with --dry-run"
        )
    click.confirm(f"Delete {counted(count, 'version')}?", abort=True, err=True)


def _tell(
    verdicts: dict[ArtifactName, Verdict], doomed: list[ArtifactName], *, dry_run: bool, as_json: bool
) -> None:
    gone = set(doomed)
    if as_json:
        records = {name: _verdict_record(name, verdict) for name, verdict in verdicts.items()}
        deleted = [record for name, record in records.items() if name in gone]
        kept = [record for name, record in records.items() if name not in gone]
        say_json({"dry_run": dry_run, "deleted": deleted, "kept": kept})
        return
    rows: list[list[str | Cell]] = []
    for name, verdict in verdicts.items():
        what = Cell("delete", fg="red") if name in gone else Cell("keep", fg="green")
        if name in gone or dry_run:
            size = size_cell(verdict.version.size_bytes)
            rows.append([name_cell(str(name)), what, size, printable(verdict.reason)])
    if rows:
        say_table("NAME WHAT SIZE> WHY", rows)
        say()
    left = len(verdicts) - len(gone)
    say(f"{counted(len(gone), 'version')} {'would be ' if dry_run else ''}deleted, {left} kept")
    if gone and not dry_run:
        note('"art undelete" brings them back until "art gc" has collected their content')


def _verdict_record(name: ArtifactName, verdict: Verdict) -> dict[str, Any]:
    return {
        "name": str(name),
        "aliases": list(verdict.aliases),
        "bytes": verdict.version.size_bytes,
        "reason": verdict.reason,
    }


@click.command()
@click.argument("name", shell_complete=complete_names)
@json_option
@common_options
def undelete(name: str, as_json: bool) -> None:
    """Bring a deleted version back, as long as its content is there.

    The version must be named: classifier:v3. Content stays until "art gc" decides to collect it, after the grace of
    its plan; then it is too late, and this says so. Aliases that were removed with the version do not come back.

    With --json: name, restored (false: it was not deleted), aliases.

    \b
    art undelete classifier:v3
    """
    from ..artifacts.names import parse_version
    from ..storage.errors import UsageError
    from ..tracking.links import restore_version
    from .records import collection_of

    workspace = open_workspace()
    wanted = workspace.parse(name)
    if parse_version(wanted.reference) is None:
        raise UsageError(
            f'"art undelete {name}": an alias names no deleted version; say which one, such as {wanted.collection}:v3'
        )
    restored = restore_version(workspace, wanted)
    version = workspace.version(wanted)
    aliases = list(collection_of(workspace, version).aliases_of(version.state.number))
    if as_json:
        say_json({"name": str(version.name), "restored": restored, "aliases": aliases})
        return
    shown = click.style(version.name.short, fg="green", bold=True)
    say(f"{shown} is back" if restored else f"{shown} is not deleted")
