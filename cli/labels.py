"""`art alias`, `art tag` and `art rm`: labels, and deletion."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from .completion import complete_aliases, complete_names, complete_tags
from .options import common_options, json_option, open_workspace
from .output import counted, say, say_json, size_words
from .records import collection_of

if TYPE_CHECKING:
    from ..artifacts.names import ArtifactName
    from ..artifacts.state import ProjectState
    from ..storage.transaction import Op


@click.command()
@click.argument("name", shell_complete=complete_names)
@click.argument("alias", shell_complete=complete_aliases)
@click.option(
    "--expect", metavar="vN|none", help="Only if the alias points there now; else exit 1, change nothing."
)
@click.option("--delete", is_flag=True, help="Remove the alias; a version in NAME is what it must point to.")
@json_option
@common_options
def alias(name: str, alias: str, expect: str | None, delete: bool, as_json: bool) -> None:
    """Point an alias to a version, or remove it.

    NAME without a version means :latest. With --expect two people who move one alias at the same time cannot
    overwrite each other's choice unseen.

    With --json: collection, alias, from, to (versions, or null), changed.

    \b
    art alias classifier:v8 production --expect v7
    art alias classifier staging --delete
    """
    from ..artifacts.decisions import decide_alias, decide_alias_removal, find_collection, find_version

    workspace = open_workspace()
    wanted = workspace.parse(name)
    expected, is_expected = expected_version(expect)
    before: int | None = None
    target = None if delete else find_version(workspace.project(wanted.project).state(), wanted).number

    def decide(state: ProjectState) -> Sequence[Op]:
        nonlocal before
        before = find_collection(state, wanted.collection).aliases.get(alias)
        if not delete:
            return decide_alias(state, wanted, alias, expect=expected, expect_set=is_expected)
        if is_expected:
            _demand(wanted.collection, alias, before, expected)
        elif ":" in name:
            _demand(wanted.collection, alias, before, find_version(state, wanted).number)
        return decide_alias_removal(state, wanted.collection, alias)

    ops = workspace.project(wanted.project).commit(decide)
    if ops and not delete:
        target = next(op["to"] for op in ops if op["op"] == "alias.move")
    if as_json:
        record = {"collection": f"{wanted.project}/{wanted.collection}", "alias": alias}
        say_json({**record, "from": _label(before), "to": _label(target), "changed": bool(ops)})
    else:
        say(_alias_words(f"{wanted.collection}:{alias}", before, target, bool(ops)))


def expected_version(text: str | None) -> tuple[int | None, bool]:
    """The number that --expect names, and whether it was given. Raises: click.UsageError."""
    from ..artifacts.names import parse_version

    if text is None or text == "none":
        return None, text is not None
    number = parse_version(text)
    if number is None:
        raise click.UsageError(f"--expect {text!r}: expected a version such as v7, or none")
    return number, True


def wanted_version(text: str | None, option: str) -> int | None:
    """The number that an option names, None when it was not given. Raises: click.UsageError."""
    from ..artifacts.names import parse_version

    number = None if text is None else parse_version(text)
    if text is not None and number is None:
        raise click.UsageError(f"{option} {text!r}: expected a version such as v7")
    return number


def _demand(collection: str, alias: str, actual: int | None, expected: int | None) -> None:
    from ..storage.errors import ConflictError

    if actual is not None and actual != expected:  # one that is not there gets its own message
        wanted = "nothing" if expected is None else f"v{expected}"
        raise ConflictError(
            f"alias {collection}:{alias} points to v{actual}, expected {wanted}; look again and decide"
        )


def _label(number: int | None) -> str | None:
    return None if number is None else f"v{number}"


def _alias_words(name: str, before: int | None, after: int | None, changed: bool) -> str:
    shown = click.style(name, fg="green", bold=True)
    if not changed:
        return f"{shown} points to v{after} already"
    if after is None:
        return f"{shown} removed; it pointed to v{before}"
    return f"{shown} → v{after}" + (f" (was v{before})" if before is not None else " (new)")


@click.command()
@click.argument("name", shell_complete=complete_names)
@click.argument("tags", metavar="TAG...", nargs=-1, required=True, shell_complete=complete_tags)
@click.option("--remove", is_flag=True, help="Remove the tags instead.")
@json_option
@common_options
def tag(name: str, tags: tuple[str, ...], remove: bool, as_json: bool) -> None:
    """Add tags to a version, or remove them.

    A tag neither moves nor is unique; for a movable name use "art alias".

    With --json: name, tags, changed.

    \b
    art tag images:v3 gold reviewed
    art tag images:v3 reviewed --remove
    """
    from ..artifacts.decisions import decide_revision
    from ..artifacts.names import check_name
    from ..tracking.links import share_revision

    given = {check_name(text, "tag") for text in tags}
    workspace = open_workspace()
    wanted = workspace.version(name).name  # an alias means what it means now

    def decide(state: ProjectState) -> Sequence[Op]:
        return decide_revision(state, wanted, change_tags=lambda now: now - given if remove else now | given)

    ops = workspace.project(wanted.project).commit(decide)
    if ops:
        share_revision(workspace, wanted)
    found = list(workspace.version(wanted).state.tags)
    if as_json:
        say_json({"name": str(wanted), "tags": found, "changed": bool(ops)})
        return
    shown = click.style(wanted.short, fg="cyan", bold=True)
    say(f"{shown}  tags: {', '.join(found) or 'none'}" + ("" if ops else "  (as before)"))


@click.command()
@click.argument("name", shell_complete=complete_names)
@click.option("--delete-aliases", is_flag=True, help="Remove the aliases that point to it, too.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
@common_options
def rm(name: str, delete_aliases: bool, yes: bool, as_json: bool) -> None:
    """Delete a version; its name, digest and lineage stay.

    The version must be named: classifier:v3, or an alias. Its number is never given again, and files that other
    versions need stay in the store. Until "art gc" has collected what nothing else needs, "art undelete" brings it
    back.

    With --json: name, aliases_removed, latest.

    \b
    art rm classifier:v3
    art rm classifier:staging --delete-aliases --yes
    """
    from ..artifacts.decisions import decide_deletion
    from ..storage.errors import UsageError
    from ..tracking.links import delete_version, forget_dead_links

    if ":" not in name:
        raise UsageError(f'"art rm {name}" names no version; say which one, for example {name}:v0')
    workspace = open_workspace()
    version = workspace.version(name)
    wanted = version.name
    forget_dead_links(workspace, version)
    state = workspace.project(wanted.project).state()
    decide_deletion(state, wanted, delete_aliases=delete_aliases)  # what is refused is not asked about
    if not yes:
        _ask(wanted, version.state.file_count, version.state.size_bytes)
    ops = delete_version(workspace, wanted, delete_aliases=delete_aliases)
    removed = [op["alias"] for op in ops if op["op"] == "alias.move" and op["to"] is None]
    latest = collection_of(workspace, version).aliases.get("latest")
    if as_json:
        record: dict[str, Any] = {"name": str(wanted), "aliases_removed": removed, "latest": _label(latest)}
        say_json(record)
        return
    gone = f"; aliases removed: {', '.join(removed)}" if removed else ""
    say(f"{click.style(wanted.short, fg='red', bold=True)} deleted{gone}")


def is_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty()


def _ask(name: ArtifactName, file_count: int, size_bytes: int) -> None:
    from ..storage.errors import UsageError

    if not is_terminal():
        raise UsageError(f"deleting {name.short} needs a yes: pass --yes")
    held = f"{counted(file_count, 'file')}, {size_words(size_bytes)}"
    click.confirm(f"Delete {name.short} ({held})?", abort=True, err=True)
