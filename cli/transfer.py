"""`art push` and `art pull`: copying between stores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .completion import complete_names, complete_projects
from .options import common_options, find_given_settings, json_option, open_workspace
from .output import Cell, counted, printable, say, say_json, size_words
from .progress import progress

if TYPE_CHECKING:
    from ..tracking.transfer import Report
    from ..tracking.workspace import Workspace

_F = TypeVar("_F", bound=Callable[..., Any])
_SHOWN = 10


def _what(command: _F) -> _F:
    """The arguments and options of both commands."""
    for add in (
        click.option("--dry-run", is_flag=True, help="Only say what would be copied."),
        click.option(
            "--force-aliases", is_flag=True, help="Move aliases, too, that were set otherwise in the target."
        ),
        click.option(
            "--to",
            metavar="[ENTITY/]PROJECT",
            shell_complete=complete_projects,
            help="The project in the target; without it, the one of the same name.",
        ),
        click.option(
            "--with-lineage",
            is_flag=True,
            help="Also the runs that made the versions, what those used, and so on.",
        ),
        click.option("--all", "everything", is_flag=True, help="Every project of the store."),
        click.option(
            "--runs",
            metavar="PATTERN",
            multiple=True,
            help="Runs by id or name, with the versions that they made; may be repeated.",
        ),
        click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_names),
        click.argument("other", metavar="STORE"),
    ):
        command = add(command)
    return command


@click.command()
@_what
@json_option
@common_options
def push(other: str, as_json: bool, **choice: Any) -> int:
    """Copy from the store in use to STORE, with history and lineage.

    NAME is an artifact with all its versions and aliases, or one version as in data:v3; * and ? are patterns. Without
    NAME, --runs and --all the project in use is copied as a whole. Packs are copied as they are, those that are there
    already are not; digests stay the same, and versions keep their numbers where nobody else has taken them. It may be
    stopped and repeated at any time: a second push changes nothing. What was changed in STORE, too, stays as it is
    there and is told. Runs that are still going on are left out.

    With --json: the keys source, target, dry_run, versions, runs, tombstones, bytes, versions_present, runs_present,
    bytes_present, transactions, renumbered (name in the source: name in the target), conflicts, left_out.

    \b
    art push s3://team-bucket/lineart
    art push s3://team-bucket/lineart classifier:production --with-lineage
    art push /mnt/backup --all
    """
    workspace = open_workspace()
    create_as = None if choice["dry_run"] else workspace.store.settings.entity
    return _copy(workspace, _other(other, create_as=create_as), as_json, **choice)


@click.command()
@_what
@json_option
@common_options
def pull(other: str, as_json: bool, **choice: Any) -> int:
    """Copy from STORE to the store in use, with history and lineage.

    The same as "art push" with the sides changed. NAME is an artifact with all its versions and aliases, or one version
    as in data:v3; * and ? are patterns. Without NAME, --runs and --all the project in use is copied as a whole.

    With --json: the keys source, target, dry_run, versions, runs, tombstones, bytes, versions_present, runs_present,
    bytes_present, transactions, renumbered (name in the source: name in the target), conflicts, left_out.

    \b
    art pull s3://team-bucket/lineart classifier:production --with-lineage
    art pull s3://team-bucket/lineart -p vision/digits
    """
    workspace = open_workspace(create=not choice["dry_run"])
    return _copy(_other(other), workspace, as_json, **choice)


def _other(url: str, *, create_as: str | None = None) -> Workspace:
    """The store that is not the one in use; a local one is made when it is missing, for the entity `create_as`."""
    from ..storage.errors import NotFoundError
    from ..tracking.settings import find_settings
    from ..tracking.workspace import Workspace

    ctx = click.get_current_context()
    given = find_given_settings(ctx)
    settings = find_settings(store=url, project=given.project, entity=given.entity)
    try:
        workspace = Workspace.open(settings)
    except NotFoundError:
        if create_as is None:
            raise
        workspace = Workspace.open(replace(settings, entity=settings.entity or create_as), create=True)
    ctx.call_on_close(workspace.close)
    return workspace


def _copy(
    source: Workspace,
    target: Workspace,
    as_json: bool,
    *,
    names: tuple[str, ...],
    runs: tuple[str, ...],
    everything: bool,
    with_lineage: bool,
    to: str | None,
    force_aliases: bool,
    dry_run: bool,
) -> int:
    from ..artifacts.names import ProjectName
    from ..tracking.transfer import Choice, copy

    whole = () if names or runs or everything else (str(source.project_name),)
    with progress("copying", lambda: None) as advance:
        report = copy(
            source,
            target,
            Choice(names=names, runs=runs, projects=whole, everything=everything, with_lineage=with_lineage),
            to=None if to is None else ProjectName.parse(to, source.project_name),
            force_aliases=force_aliases,
            dry_run=dry_run,
            progress=advance,
        )
    if as_json:
        say_json({"source": source.url, "target": target.url, "dry_run": dry_run, **asdict(report)})
    else:
        _say_report(report, dry_run=dry_run)
    return 0


def _say_report(report: Report, *, dry_run: bool) -> None:
    for before, after in list(report.renumbered.items())[:_SHOWN]:
        say(f"{Cell('renumbered', fg='cyan').painted()}  {before} is {after} there")
    if len(report.renumbered) > _SHOWN:
        say(f"            and {len(report.renumbered) - _SHOWN} more; --json lists them")
    for text in report.conflicts:
        say(f"{Cell('kept', fg='yellow').painted()}  {printable(text)}")
    for text in report.left_out:
        say(f"{Cell('left out', fg='yellow').painted()}  {printable(text)}")
    copied = [counted(report.versions, "version"), counted(report.runs, "run"), size_words(report.bytes)]
    if report.tombstones:
        copied.insert(1, f"{counted(report.tombstones, 'deleted version')} (name and digest)")
    present = [counted(report.versions_present, "version"), counted(report.runs_present, "run")]
    if report.bytes_present:
        present.append(size_words(report.bytes_present))
    verb = "would be copied" if dry_run else "copied"
    say(f"{', '.join(copied)} {verb}; {', '.join(present)} were there")
