"""`art promote`, `art approve`, `art rollback` and `art protect`: how a version gets to production."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .completion import complete_aliases, complete_names
from .labels import expected_version, wanted_version
from .options import common_options, json_option, open_workspace
from .output import Cell, printable, say, say_json, say_table
from .registry_names import model_target

if TYPE_CHECKING:
    from ..artifacts.names import ArtifactName
    from ..tracking.promoting import Decision

UNDECIDED = 2
_COLORS = {"pass": "green", "fail": "red", "undecided": "yellow"}

alias_option = click.option(
    "--to", "alias", required=True, metavar="ALIAS", help="The alias that is to point to the version."
)
reason_option = click.option(
    "-m", "--reason", default="", metavar="TEXT", help="What stands in the log beside it."
)
expect_option = click.option(
    "--expect", metavar="vN|none", help="Only if the alias points there now; else exit 1, change nothing."
)
dry_option = click.option("--dry-run", is_flag=True, help="Judge, and change nothing.")
explain_option = click.option(
    "--explain", is_flag=True, help="Say of clauses that pass, too, what was found."
)


@click.command()
@click.argument("name", shell_complete=complete_names)
@alias_option
@click.option(
    "--in",
    "target",
    metavar="[[ENTITY/]PROJECT/]MODEL",
    help="Link the version there first, and promote the link; without a path in model-registry.",
)
@click.option(
    "--policy",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The policy, for a model that has none of its own.",
)
@expect_option
@reason_option
@dry_option
@explain_option
@json_option
@common_options
def promote(
    name: str,
    alias: str,
    target: str | None,
    policy: Path | None,
    expect: str | None,
    reason: str,
    dry_run: bool,
    explain: bool,
    as_json: bool,
) -> None:
    """Move an alias to a version, when its policies allow it.

    NAME is a version of any artifact, or of a registered model: what the project in use does not have is looked for
    in model-registry. Each clause is printed with what was found; the decision and, unless --dry-run, also a refusal
    stand in the log: "art registry log". Exit status: 0 promoted, or it points there already; 1 refused, or somebody
    was first; 2 a clause could not be decided, or the command is wrong.

    With --json: name, alias, kind, from, to, verdict (pass, fail, undecided), clauses (a list of clause, verdict,
    values, because), policies (of, digest), approvals, number, recorded.

    \b
    art promote classifier:v8 --in model-registry/churn-model --to staging
    art promote churn-model:v8 --to production --expect v7 -m "beats v7 on golden"
    art promote churn-model:v8 --to production --dry-run --explain
    """
    from ..tracking.promoting import Wish, promote
    from .policies import read_policy_file

    workspace = open_workspace()
    number, is_expected = expected_version(expect)
    wish = Wish(
        alias,
        policy=None if policy is None else read_policy_file(policy),
        reason=reason,
        expect=(number,) if is_expected else None,
        is_tried=dry_run,
    )
    path = None if target is None else model_target(workspace, target)
    made = promote(workspace, workspace.find(name), wish, target=path)
    _answer(made, dry_run=dry_run, explain=explain, as_json=as_json)


@click.command()
@click.argument("name", shell_complete=complete_names)
@click.argument("alias", shell_complete=complete_aliases)
@click.option("--to", "target", metavar="vN", help="The version to go back to, once promoted there.")
@expect_option
@reason_option
@dry_option
@explain_option
@json_option
@common_options
def rollback(
    name: str,
    alias: str,
    target: str | None,
    expect: str | None,
    reason: str,
    dry_run: bool,
    explain: bool,
    as_json: bool,
) -> None:
    """Move an alias back to the version that was in place before.

    Said again, it goes back one further. Every byte of that version is read and checked. Of its policies the
    clauses under "rollback" must hold or, where a policy has none, those under "require" that do not compare with the
    version in place. Exit status as of "art promote".

    With --json: as "art promote".

    \b
    art rollback churn-model production -m "errors since 14:00"
    art rollback churn-model production --to v5
    """
    from ..tracking.promoting import Wish, rollback

    workspace = open_workspace()
    number, is_expected = expected_version(expect)
    wish = Wish(alias, "rollback", reason=reason, expect=(number,) if is_expected else None, is_tried=dry_run)
    made = rollback(workspace, workspace.find(name), wish, to=wanted_version(target, "--to"))
    _answer(made, dry_run=dry_run, explain=explain, as_json=as_json)


@click.command()
@click.argument("name", shell_complete=complete_names)
@alias_option
@click.option("-m", "--comment", default="", metavar="TEXT", help="What stands in the log beside it.")
@click.option("--revoke", is_flag=True, help="Take back your own approval.")
@json_option
@common_options
def approve(name: str, alias: str, comment: str, revoke: bool, as_json: bool) -> None:
    """Approve that an alias moves to a version.

    A policy asks for approvals with "approvals >= 2" or 'approvals.by("ada") >= 1'. The author's own does not count,
    and the promotion uses them up.

    With --json: name, alias, approvals (a list of by, time, comment, id).

    \b
    art approve churn-model:v8 --to production -m "checked on the golden set"
    """
    from ..registry.promotion import approvals_of
    from ..tracking.promoting import approve, author_of, revoke_approvals

    workspace = open_workspace()
    version = workspace.version(workspace.find(name))
    if revoke:
        revoke_approvals(workspace, version.name, alias)
    else:
        approve(workspace, version.name, alias, comment)
    catalog = workspace.catalog([version.project])
    try:
        found = approvals_of(catalog, str(version.project), version.collection, version.state.number, alias)
    finally:
        catalog.close()
    if as_json:
        told = [{"by": a.by, "time": a.time, "comment": a.comment, "id": a.id} for a in found]
        say_json({"name": str(version.name), "alias": alias, "approvals": told})
        return
    who = ", ".join(dict.fromkeys(printable(approval.by) for approval in found)) or "nobody"
    author = None if revoke else author_of(workspace, version)
    if author is not None and any(approval.user == author for approval in found):
        said = f"art: {author} made {version.name.short}: the author's own approval does not count"
        click.echo(printable(said), err=True)
    shown = click.style(version.name.short, fg="cyan", bold=True)
    say(f"{shown}  approved for {alias} by {who}")


@click.command()
@click.argument("name", shell_complete=complete_names)
@click.argument("alias", shell_complete=complete_aliases)
@click.option("--off", is_flag=True, help="Let it move freely again.")
@reason_option
@json_option
@common_options
def protect(name: str, alias: str, off: bool, reason: str, as_json: bool) -> None:
    """Let an alias move by promotion only.

    "art alias", log_artifact(aliases=[…]) and a link cannot move it any more, and readers ignore what moved it
    otherwise.

    With --json: name, alias, protected, changed.

    \b
    art protect churn-model production
    art protect churn-model production --off -m "the team is gone"
    """
    from ..tracking.promoting import protect

    workspace = open_workspace()
    wanted = workspace.find(name)
    changed = protect(workspace, wanted, alias, protected=not off, reason=reason)
    if as_json:
        record = {"name": f"{wanted.project}/{wanted.collection}", "alias": alias}
        say_json({**record, "protected": not off, "changed": changed})
        return
    shown = click.style(f"{wanted.collection}:{alias}", fg="green", bold=True)
    words = "moves freely" if off else "is protected: it moves by promotion only"
    say(f"{shown} {words}" + ("" if changed else ", as before"))


def _answer(made: Decision, *, dry_run: bool, explain: bool, as_json: bool) -> None:
    if as_json:
        say_json(made.record())
    else:
        say_decision(made, dry_run=dry_run, explain=explain)
    status = {"pass": 0, "fail": 1, "undecided": UNDECIDED}[made.verdict]
    click.get_current_context().exit(status)


def say_decision(made: Decision, *, dry_run: bool, explain: bool) -> None:
    """The clauses with what was found, and what became of it."""
    rows = []
    for clause in made.clauses:
        found = clause.values or "-"
        because = f"  ({clause.because})" if clause.because and (explain or clause.verdict != "pass") else ""
        cell = Cell(clause.verdict, fg=_COLORS[clause.verdict])
        text = clause.clause if clause.verdict == "pass" and not explain else f"{clause.clause}  ·  {found}"
        rows.append([cell, Cell(printable(f"{text}{because}"))])
    if rows:
        say_table("VERDICT CLAUSE", rows)
    say(_words(made, dry_run=dry_run))
    if not rows and (explain or made.is_recorded):
        say(f"no policy says anything about {made.alias}: nothing was asked of this version")


def _words(made: Decision, *, dry_run: bool) -> str:
    name = short_name(made.name)
    moved = click.style(f"{name.collection}:{made.alias}", fg="green", bold=True)
    was = f" (was {made.before})" if made.before else " (new)"
    if made.verdict != "pass":
        failed = sum(clause.verdict == made.verdict for clause in made.clauses)
        word = "refused" if made.verdict == "fail" else "undecided"
        stays = f"stays at {made.before}" if made.before else "still points nowhere"
        count = f"{failed} of {len(made.clauses)} clauses {'fail' if made.verdict == 'fail' else 'cannot be decided'}"
        return f"{click.style(word, fg=_COLORS[made.verdict], bold=True)}: {moved} {stays}; {count}"
    if dry_run and made.before != made.after:
        return f"{moved} would go to {made.after}{was}"
    if not made.is_recorded:
        return f"{moved} points to {made.after} already"
    return f"{moved} → {made.after}{was}, promotion {made.number}"


def short_name(full: str) -> ArtifactName:
    """A full name, read."""
    from ..artifacts.history import parse_full

    return parse_full(full)
