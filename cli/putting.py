"""`art put`: files into the store."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .attached import attached_id
from .completion import complete_aliases, complete_collections, complete_tags, complete_types
from .options import common_options, json_option, open_workspace
from .output import counted, say, say_json, size_words
from .progress import progress
from .records import collection_of, version_record

if TYPE_CHECKING:
    from ..artifacts.version import Version
    from ..tracking.artifact import Artifact
    from ..tracking.workspace import Workspace

_COPY_BYTES = 1 << 20


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, type=click.Path())
@click.option("-n", "--name", shell_complete=complete_collections, help="The artifact; else PATH's stem.")
@click.option("-t", "--type", "kind", shell_complete=complete_types, help="Its type; needed the first time.")
@click.option("-a", "--alias", "aliases", multiple=True, shell_complete=complete_aliases, help="An alias.")
@click.option("--tag", "tags", multiple=True, shell_complete=complete_tags, help="A tag.")
@click.option("-m", "--metadata", multiple=True, metavar="KEY=VALUE", help="Metadata; VALUE is JSON or text.")
@click.option("--description", help="What it is, in a sentence.")
@click.option("--include", multiple=True, metavar="PATTERN", help="Only such files of a folder.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Not such files or folders.")
@click.option(
    "--reference", "references", multiple=True, metavar="URI", help="Files that stay where they are."
)
@click.option("--portable", is_flag=True, help="Refuse paths that differ only in upper and lower case.")
@click.option("--incremental", is_flag=True, help="Start from the newest version instead of from nothing.")
@click.option("--stdin-name", default="stdin", show_default=True, help='The path for the PATH "-".')
@click.option("-q", "--quiet", is_flag=True, help="Write the name of the version, nothing else.")
@json_option
@common_options
def put(
    paths: tuple[str, ...],
    name: str | None,
    kind: str | None,
    aliases: tuple[str, ...],
    tags: tuple[str, ...],
    metadata: tuple[str, ...],
    description: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    references: tuple[str, ...],
    portable: bool,
    incremental: bool,
    stdin_name: str,
    quiet: bool,
    as_json: bool,
) -> None:
    """Log files and folders as a version of an artifact.

    A single folder becomes the root of the artifact; of several paths each keeps its own name. The PATH - is the
    standard input. Content that the artifact has already makes no new version. A local store is made when missing.
    Under "art exec" the run is recorded as the producer.

    With --json: the keys of "art show" up to deleted, is_new, stored_bytes.

    \b
    art put ./images -n images -t dataset -a raw -m classes=10
    art put model.bin -n classifier -t model -a staging
    python predict.py | art put - --stdin-name scores.csv -n scores -t result
    """
    from ..storage.errors import UsageError
    from ..tracking.artifact import Artifact
    from ..tracking.publishing import log_draft

    if not paths and not references:
        raise click.UsageError("name what to log: a PATH, - for the standard input, or --reference URI")
    workspace = open_workspace(create=True)
    wanted = workspace.parse(name or _derived_name(paths))
    if name and ":" in name:
        raise UsageError(f"name {name!r}: a new version gets its own number; pass aliases with --alias")
    present = workspace.project(wanted.project).state().collections.get(wanted.collection)
    if kind is None and present is None:
        raise UsageError(f"artifact {wanted.collection!r} is new: pass its type, for example -t dataset")
    artifact = Artifact(
        wanted.collection,
        kind or (present.type if present else ""),
        description,
        dict(map(parse_pair, metadata)),
        incremental,
    )
    artifact.portable = portable
    _add_paths(artifact, paths, include, exclude, stdin_name)
    for uri in references:
        artifact.add_reference(uri)
    _refuse_mistakes(artifact, workspace)
    latest = present.aliases.get("latest") if present else None
    with progress("storing", lambda: _draft_bytes(artifact)) as advance:
        is_new = log_draft(
            workspace,
            artifact,
            project=wanted.project,
            aliases=aliases,
            tags=tags,
            run=attached_id(wanted.project),
            progress=advance,
        )
    version = workspace.version(artifact.qualified_name)
    if as_json:
        record = version_record(version, collection_of(workspace, version))
        say_json({**record, "is_new": is_new, "stored_bytes": artifact.stored_bytes})
    elif quiet:
        say(artifact.name)
    else:
        say(_put_words(version, is_new, latest, artifact.stored_bytes))


def parse_pair(text: str) -> tuple[str, Any]:
    """Key and value of ``KEY=VALUE``; the value is JSON, else text. Raises: click.UsageError.

    >>> parse_pair("classes=10"), parse_pair("source=web"), parse_pair("note=a=b")
    (('classes', 10), ('source', 'web'), ('note', 'a=b'))
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise click.UsageError(f"metadata {text!r}: expected KEY=VALUE")
    try:
        return key, json.loads(value, parse_constant=str)
    except ValueError:
        return key, value


def _derived_name(paths: Sequence[str]) -> str:
    """The name for what lies at the only path. Raises: UsageError when it cannot be one."""
    from ..artifacts.names import check_name
    from ..storage.errors import InvalidNameError, UsageError

    if len(paths) != 1 or paths[0] == "-":
        raise UsageError("name the artifact with -n NAME")
    path = Path(paths[0]).resolve()
    stem = path.name if path.is_dir() else path.stem
    try:
        return check_name(stem, "artifact name")
    except InvalidNameError as error:
        raise UsageError(f"{error}; pass one with -n NAME") from error


def _add_paths(
    artifact: Artifact, paths: Sequence[str], include: Sequence[str], exclude: Sequence[str], stdin_name: str
) -> None:
    for path in paths:
        if path == "-":
            with artifact.new_file(stdin_name, "xb") as target:
                shutil.copyfileobj(sys.stdin.buffer, target, _COPY_BYTES)
        elif os.path.isdir(path):
            below = None if len(paths) == 1 else Path(path).resolve().name
            artifact.add_dir(path, below, include=include or None, exclude=exclude or None)
        else:
            artifact.add_file(path)


def _refuse_mistakes(artifact: Artifact, workspace: Workspace) -> None:
    """Raises: UsageError for a draft without entries, and for one that holds the store itself."""
    from ..artifacts.draft import LocalFile
    from ..storage.errors import UsageError

    if not len(artifact.draft):
        raise UsageError("nothing to log: no file is there that the patterns let through")
    root = workspace.store.backend.local_path("packs")
    if root is None:
        return
    store = f"{root.parent}{os.sep}"
    for _, item in artifact.draft.items():  # noqa: PERF102  # a Draft is no dictionary: it has no values()
        if isinstance(item, LocalFile) and item.source.startswith(store):
            raise UsageError(
                f"the store {store} lies in what is to be logged; pass --exclude {Path(store).name}"
            )


def _draft_bytes(artifact: Artifact) -> int | None:
    """How much there is to be read, None when a file has gone meanwhile: that is for the reader to report."""
    from ..artifacts.draft import LocalFile

    try:
        items = [item for _, item in artifact.draft.items()]
        return sum(os.stat(item.source).st_size for item in items if isinstance(item, LocalFile))
    except OSError:
        return None


def _put_words(version: Version, is_new: bool, latest: int | None, stored_bytes: int) -> str:
    state = version.state
    name = click.style(version.name.short, fg="cyan", bold=True)
    if not is_new and state.number == latest:
        return f"{name}  unchanged: still v{latest}"
    if not is_new:
        return f"{name}  has this content already; latest points to it again"
    words = [counted(state.file_count, "file"), size_words(state.size_bytes)]
    if state.reference_count:
        words.insert(1, counted(state.reference_count, "reference"))
    return f"{name}  {', '.join(words)}; {size_words(stored_bytes)} newly stored"
