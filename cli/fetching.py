"""`art get` and `art cat`: files out of the store."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .attached import record_use
from .completion import complete_names
from .options import common_options, json_option, open_workspace
from .output import counted, note, printable, say, say_json, size_words
from .progress import progress

if TYPE_CHECKING:
    from ..artifacts.names import ArtifactName
    from ..artifacts.version import Version
    from ..tracking.workspace import Workspace

_COPY_BYTES = 1 << 20


@click.command()
@click.argument("name", shell_complete=complete_names)
@click.option("--root", type=click.Path(file_okay=False), help="The folder; else artifacts/NAME-vN.")
@click.option("--path-prefix", metavar="P", help="Only what lies at or below this path of the artifact.")
@click.option(
    "--allow-missing-references", is_flag=True, help="Leave out references that changed or are gone."
)
@click.option(
    "--checkout", is_flag=True, help="Remove other files from the folder, if a version has their bytes."
)
@json_option
@common_options
def get(
    name: str,
    root: str | None,
    path_prefix: str | None,
    allow_missing_references: bool,
    checkout: bool,
    as_json: bool,
) -> None:
    """Fetch the files of a version.

    Writes the folder's path. Files that are right already are left alone; every byte is verified before a file gets
    its name. NAME may go on with a path: data:v1/train is the same as data:v1 --path-prefix train. Under "art exec"
    the run is recorded as having used the version.

    With --json: name, root, file_count, size_bytes, written.

    \b
    art get images:v3 --root ./images
    cd "$(art get classifier:production)"
    """
    from ..storage.errors import UsageError
    from .names import split_file

    workspace = open_workspace()
    name, below = split_file(workspace, name)
    prefix = path_prefix or below
    if checkout and (prefix or allow_missing_references):
        raise UsageError(
            "--checkout makes the folder exactly the version: it takes no path and leaves nothing out"
        )
    version = workspace.version(name)
    record_use(workspace, version)
    folder = Path(root) if root else Path("artifacts") / f"{version.collection}-v{version.state.number}"
    entries = version.manifest.under(prefix)
    size_bytes = sum(entry.size_bytes or 0 for entry in entries if entry.digest is not None)
    with progress("fetching", lambda: size_bytes) as advance:
        if checkout:
            written = version.checkout(folder, progress=advance)
        else:
            written = version.download(
                folder,
                path_prefix=prefix,
                allow_missing_references=allow_missing_references,
                progress=advance,
            )
    count = sum(entry.kind != "directory" for entry in entries)
    if as_json:
        facts = {"name": str(version.name), "root": str(folder), "file_count": count}
        say_json({**facts, "size_bytes": size_bytes, "written": written})
        return
    say(str(folder))
    here = count - written
    was = f", {here:,} right already" if here > 0 else ""
    note(
        f"{version.name.short}: {counted(count, 'file')}, {size_words(size_bytes)}; {written:,} written{was}"
    )


@click.command()
@click.argument("names", metavar="NAME/PATH...", nargs=-1, required=True, shell_complete=complete_names)
@common_options
def cat(names: tuple[str, ...]) -> None:
    """Write files of a version to the standard output.

    NAME/PATH is an artifact, its alias or version, and a path in it; only the chunks of that file are fetched, and
    each is verified before it is written. Without a path the artifact's only file is meant.

    \b
    art cat images:latest/labels.csv | head
    art cat team/digits/classifier:v3/model.bin > model.bin
    """
    workspace = open_workspace()
    out = sys.stdout.buffer
    for text in names:
        version, path = _file_in(workspace, text)
        record_use(workspace, version)
        with version.open(path) as stream:
            shutil.copyfileobj(stream, out, _COPY_BYTES)
    out.flush()


def _file_in(workspace: Workspace, text: str) -> tuple[Version, str]:
    """Version and path that `text` means. Raises: UsageError when no path is given and there are several files."""
    from ..storage.errors import UsageError
    from .names import split_file

    name, path = split_file(workspace, text)
    wanted: ArtifactName = workspace.parse(name)
    version = workspace.version(wanted)
    if path:
        return version, path
    files = [entry.path for entry in version.manifest.values() if entry.kind != "directory"]
    if len(files) != 1:
        example = f', for example "{wanted.short}/{printable(files[0])}"' if files else ""
        raise UsageError(f"{version.name.short} has {counted(len(files), 'file')}; name one{example}")
    return version, files[0]
