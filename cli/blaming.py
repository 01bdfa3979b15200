"""`art blame`: which version and run brought a file, or a part of it, as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from .completion import complete_names
from .options import common_options, json_option, open_workspace
from .output import Cell, age, counted, printable, say, say_json, say_table, size_cell

if TYPE_CHECKING:
    from ..artifacts.manifest import Entry
    from ..artifacts.version import Version
    from ..lineage.blame import Logged, Part, Stretch
    from ..tracking.workspace import Workspace

_NOBODY = "-"


@click.command()
@click.argument("name", metavar="NAME[/PATH]", shell_complete=complete_names)
@click.option("--row-groups", is_flag=True, help="Of a Parquet file: where each row group came from.")
@click.option(
    "--chunks", is_flag=True, help="Of a large file: where each chunk that it is stored in came from."
)
@json_option
@common_options
def blame(name: str, row_groups: bool, chunks: bool, as_json: bool) -> None:
    """Show which version and run brought a file its content.

    Of a file its history: the content that it has, and those that it had before, also under another path. Of a folder,
    or without PATH, the version that brought each file. Versions that were deleted are passed over. Of a registered
    model the history is that of the artifact it was linked from.

    With --json for a file: path, history (newest first, a list of first, last: versions, path, digest, size_bytes, run,
    run_name, user, host, time, commit; digest is null where the file was not there), parts (with --row-groups and
    --chunks, a list of index, offset, size_bytes, rows, version, run, user, time, commit). For a folder: a list of
    path, digest, size_bytes, version, run, run_name, user, host, time, commit.

    \b
    art blame images/labels.csv
    art blame images:v7/train
    art blame events/2026.parquet --row-groups
    """
    from ..artifacts.history import parse_full
    from ..lineage import blame as lineage_blame
    from ..storage.errors import UsageError
    from .names import split_file

    if row_groups and chunks:
        raise UsageError("--row-groups and --chunks: choose one")
    workspace = open_workspace()
    name, path = split_file(workspace, name)
    version = workspace.version(name)
    while version.state.source is not None:
        version = workspace.version(parse_full(version.state.source))
    versions = _up_to(workspace, version)
    entry = None if path is None else versions[-1].find(path.rstrip("/"))
    if entry is None or entry.kind == "directory":
        if row_groups or chunks:
            raise UsageError(f"{name!r} is no file; --row-groups and --chunks are about the parts of one")
        _say_folder(workspace, lineage_blame.folder_origins(versions, path), as_json)
        return
    history = lineage_blame.path_history(versions, entry.path)
    parts = None
    if row_groups or chunks:
        parts = (lineage_blame.row_group_origins if row_groups else lineage_blame.chunk_origins)(history)
    _say_file(workspace, entry.path, history, parts, as_json)


def _up_to(workspace: Workspace, version: Version) -> list[Version]:
    """The live versions of its collection, oldest first, up to `version`."""
    every = workspace.versions(version.collection, version.project)
    return [other for other in every if other.state.number <= version.state.number]


def _logged(workspace: Workspace, versions: Sequence[Version]) -> Mapping[str, Logged]:
    from ..lineage.blame import logged_by

    catalog = workspace.catalog()
    try:
        return logged_by(catalog, versions)
    finally:
        catalog.close()


def _facts(logged: Logged | None) -> dict[str, Any]:
    keys = ("run", "run_name", "user", "host", "time", "commit")
    return {key: None if logged is None else getattr(logged, key) for key in keys}


def _cells(logged: Logged | None) -> Iterator[str | Cell]:
    """Run, user, age and commit of a table."""
    if logged is None:
        yield from (_NOBODY,) * 4
        return
    yield Cell(
        printable(logged.run_name or _NOBODY).replace(" ", "\u00a0"), fg="yellow" if logged.run_name else None
    )
    yield printable(logged.user or _NOBODY)
    yield age(logged.time) if logged.time else _NOBODY
    yield (logged.commit or _NOBODY)[:12]


def _say_folder(workspace: Workspace, found: Sequence[tuple[Entry, Version]], as_json: bool) -> None:
    logged = _logged(workspace, [origin for _, origin in found])
    if as_json:
        say_json(
            [
                {"path": entry.path, "digest": entry.digest, "size_bytes": entry.size_bytes}
                | {"version": str(origin.name), **_facts(logged.get(str(origin.name)))}
                for entry, origin in found
            ]
        )
        return
    say_table(
        "VERSION RUN USER AGE> COMMIT PATH",
        (
            [_version_cell(origin), *_cells(logged.get(str(origin.name))), printable(entry.path)]
            for entry, origin in found
        ),
    )


def _say_file(
    workspace: Workspace, path: str, history: Sequence[Stretch], parts: Sequence[Part] | None, as_json: bool
) -> None:
    versions = [stretch.first for stretch in history] + [part.origin for part in parts or ()]
    logged = _logged(workspace, versions)
    if as_json:
        record: dict[str, Any] = {
            "path": path,
            "history": [
                {
                    "first": str(stretch.first.name),
                    "last": str(stretch.last.name),
                    "path": stretch.entry.path if stretch.entry else None,
                    "digest": stretch.entry.digest if stretch.entry else None,
                    "size_bytes": stretch.entry.size_bytes if stretch.entry else None,
                    **_facts(logged.get(str(stretch.first.name))),
                }
                for stretch in history
            ],
        }
        if parts is not None:
            record["parts"] = [_part_record(part, logged) for part in parts]
        say_json(record)
    elif parts is not None:
        _say_parts(parts, logged)
    else:
        _say_history(path, history, logged)


def _part_record(part: Part, logged: Mapping[str, Logged]) -> dict[str, Any]:
    facts = _facts(logged.get(str(part.origin.name)))
    return {
        "index": part.index,
        "offset": part.offset,
        "size_bytes": part.size_bytes,
        "rows": part.rows,
        "version": str(part.origin.name),
        **{key: facts[key] for key in ("run", "user", "time", "commit")},
    }


def _say_history(path: str, history: Sequence[Stretch], logged: Mapping[str, Logged]) -> None:
    rows = []
    for stretch in history:
        entry = stretch.entry
        first, last = f"v{stretch.first.state.number}", f"v{stretch.last.state.number}"
        what = printable(entry.path) if entry else Cell("(not there)", dim=True)
        rows.append(
            [
                Cell(first if first == last else f"{first}..{last}", fg="cyan"),
                (entry.digest or entry.kind)[:12] if entry else _NOBODY,
                size_cell(entry.size_bytes or 0) if entry else _NOBODY,
                *_cells(logged.get(str(stretch.first.name))),
                what,
            ]
        )
    say_table("VERSIONS BLAKE3 SIZE> RUN USER AGE> COMMIT PATH", rows)
    brought = history[0].first
    contents = len({stretch.entry.digest for stretch in history if stretch.entry is not None})
    shown = click.style(brought.name.short, fg="cyan", bold=True)
    say(f"{shown} brought {printable(path)} as it is; {counted(contents, 'content')} in all")


def _say_parts(parts: Sequence[Part], logged: Mapping[str, Logged]) -> None:
    say_table(
        "PART> ROWS> OFFSET> SIZE> VERSION RUN USER AGE> COMMIT",
        (
            [
                str(part.index),
                _NOBODY if part.rows is None else f"{part.rows}",
                str(part.offset),
                size_cell(part.size_bytes),
                _version_cell(part.origin),
                *_cells(logged.get(str(part.origin.name))),
            ]
            for part in parts
        ),
    )


def _version_cell(version: Version) -> Cell:
    return Cell(version.name.short, fg="cyan")
