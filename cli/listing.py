"""`art ls` and `art files`: collections, versions, files."""

from __future__ import annotations

import fnmatch
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from .completion import complete_collections, complete_names, complete_types
from .options import common_options, json_option, open_workspace
from .output import (
    Cell,
    age,
    aliases_cell,
    name_cell,
    note,
    printable,
    say_json_list,
    say_table,
    size_cell,
)
from .records import collection_record, version_record

if TYPE_CHECKING:
    from ..artifacts.names import ProjectName
    from ..artifacts.state import CollectionState
    from ..artifacts.version import Version
    from ..tracking.workspace import Workspace

_KINDS = {"f": "file", "x": "executable", "l": "symlink", "d": "directory", "r": "reference"}
_LINES = 2000  # written at once: a million lines one by one take four times as long


@click.command()
@click.argument("pattern", required=False, shell_complete=complete_collections)
@click.option("-t", "--type", "kind", shell_complete=complete_types, help="Only artifacts of this type.")
@click.option("-A", "--all-projects", is_flag=True, help="Of every project in the store.")
@click.option("-l", "--long", is_flag=True, help="Add digest, tags and description.")
@json_option
@common_options
def ls(pattern: str | None, kind: str | None, all_projects: bool, long: bool, as_json: bool) -> None:
    """List artifacts, or the versions of one.

    PATTERN is a shell pattern for names ('train-*'), or one name: then its versions are listed, newest first.
    Size and age are those of the newest version.

    With --json, artifacts: name, project, collection, type, description, versions, newest, aliases, size_bytes,
    file_count, created_at; versions: the keys of "art show" up to deleted.

    \b
    art ls
    art ls 'train-*' --type dataset
    art ls classifier
    """
    from ..storage.errors import NotFoundError

    workspace = open_workspace()
    prefix, _, glob = (pattern or "*").rpartition("/")
    if pattern and not any(sign in glob for sign in "*?["):
        _list_versions(workspace, pattern, long, as_json)
        return
    found = [
        (project, collection)
        for project in _projects(workspace, prefix, all_projects)
        for collection in workspace.state(project).collections.values()
        if fnmatch.fnmatchcase(collection.name, glob) and kind in (None, collection.type)
    ]
    found.sort(key=lambda pair: (str(pair[0]), pair[1].name))
    if as_json:
        say_json_list(collection_record(str(project), collection) for project, collection in found)
    elif found:
        _say_collections(found, all_projects, long)
    elif pattern or kind:
        raise NotFoundError(f"no artifact in {prefix or workspace.project_name} matches {pattern or kind!r}")
    else:
        _say_nothing(workspace)


def _projects(workspace: Workspace, prefix: str, all_projects: bool) -> list[ProjectName]:
    from ..artifacts.names import ProjectName

    if all_projects:
        return workspace.project_names()
    return [ProjectName.parse(prefix, workspace.project_name) if prefix else workspace.project_name]


def _say_collections(found: list[tuple[ProjectName, CollectionState]], whole_names: bool, long: bool) -> None:
    rows: list[list[str | Cell]] = []
    for project, collection in found:
        live = collection.live()
        newest = live[-1] if live else None
        others = [f"{alias}=v{to}" for alias, to in sorted(collection.aliases.items()) if alias != "latest"]
        row: list[str | Cell] = [
            name_cell(f"{project}/{collection.name}" if whole_names else collection.name),
            collection.type,
            f"v{newest.number}" if newest else "-",
            aliases_cell(others),
            str(len(live)),
            size_cell(newest.size_bytes) if newest else "-",
            age(newest.created_at) if newest else "-",
        ]
        if long:
            row += [newest.digest[:12] if newest else "-", ",".join(newest.tags) if newest else "-"]
            row.append(printable(collection.description or (newest.description if newest else "")))
        rows.append(row)
    say_table(
        "NAME TYPE NEWEST ALIASES VERSIONS> SIZE> AGE>" + (" DIGEST TAGS DESCRIPTION" if long else ""), rows
    )


def _list_versions(workspace: Workspace, pattern: str, long: bool, as_json: bool) -> None:
    from ..artifacts.decisions import find_collection
    from ..storage.errors import UsageError

    if ":" in pattern:
        raise UsageError(f'{pattern!r} is one version; see it with "art show {pattern}"')
    name = workspace.parse(pattern)
    collection = find_collection(workspace.state(name.project), name.collection)
    versions = list(reversed(workspace.versions(name.collection, name.project)))
    if as_json:
        say_json_list(version_record(version, collection) for version in versions)
        return
    rows: list[list[str | Cell]] = []
    for version in versions:
        state = version.state
        row: list[str | Cell] = [
            name_cell(version.name.short),
            aliases_cell(collection.aliases_of(state.number)),
            ",".join(state.tags),
            f"{state.file_count + state.reference_count:,}",
            size_cell(state.size_bytes),
            age(state.created_at),
            state.run or "-",
        ]
        rows.append([*row, state.digest[:12], printable(state.description)] if long else row)
    say_table("VERSION ALIASES TAGS FILES> SIZE> AGE> RUN" + (" DIGEST DESCRIPTION" if long else ""), rows)


def _say_nothing(workspace: Workspace) -> None:
    others = [str(name) for name in workspace.project_names() if name != workspace.project_name]
    if others:
        shown = ", ".join(others[:5]) + (" …" if len(others) > 5 else "")
        note(f"project {workspace.project_name} is empty; -p chooses another: {shown}")
    else:
        note(f'project {workspace.project_name} is empty; "art put PATH -n data -t dataset" logs something')


@click.command()
@click.argument("name", shell_complete=complete_names)
@click.argument("prefix", required=False)
@click.option("-b", "--bytes", "exact", is_flag=True, help="Sizes in bytes.")
@json_option
@common_options
def files(name: str, prefix: str | None, exact: bool, as_json: bool) -> None:
    """List the files of a version.

    With PREFIX only what lies at or below that path. Unprintable characters in a path are shown as escapes; the JSON
    has the path itself.

    With --json: path, kind (file, executable, symlink, directory, reference), size_bytes, digest, target.

    \b
    art files images:v3 train
    art files images --bytes | sort -n | tail
    """
    from .names import split_file

    workspace = open_workspace()
    name, below = split_file(workspace, name)
    version = workspace.version(name)
    rows = _rows_below(version, prefix or below)
    if as_json:
        say_json_list(map(_file_record, rows))
        return
    lines: list[str] = []
    for row in rows:
        lines.append(_file_line(row, str if exact else size_cell))
        if len(lines) == _LINES:
            sys.stdout.write("".join(lines))
            lines.clear()
    sys.stdout.write("".join(lines))


def _rows_below(version: Version, prefix: str | None) -> Iterator[list[Any]]:
    """The lines of a manifest (docs/format.md) at or below a path, while it is read.

    Raises: NotFoundError with the nearest paths when there are none.
    """
    from ..artifacts.manifest import read_rows, seek_path

    folder = (prefix or "").rstrip("/")
    with version.open_manifest() as stream:
        if not folder:
            for rows in read_rows(stream):
                yield from rows
            return
        seek_path(stream, f"{folder}/")
        found = False
        for row in itertools.chain.from_iterable(read_rows(stream)):
            if not row[0].startswith(f"{folder}/"):
                break
            found = True
            yield row
    if not found:
        yield json.loads(version.entry(folder).line())


def _file_record(row: list[Any]) -> dict[str, Any]:
    path, letter, *rest = row
    record = {"path": path, "kind": _KINDS[letter], "size_bytes": None, "digest": None, "target": None}
    if letter in "fx":
        record["digest"], record["size_bytes"] = rest
    elif letter == "r":
        record["target"], record["size_bytes"] = rest[:2]
    elif letter == "l":
        record["target"] = rest[0]
    return record


def _file_line(row: list[Any], size: Callable[[int], str]) -> str:
    letter = row[1]
    if letter in "fx":
        return f"{size(row[3]):>8}  {row[2][:12]}  {_KINDS[letter]:<10}  {printable(row[0])}\n"
    target = f" -> {printable(row[2])}" if letter in "rl" else ""
    shown = size(row[3]) if letter == "r" and row[3] is not None else "-"
    return f"{shown:>8}  {'-':<12}  {_KINDS[letter]:<10}  {printable(row[0])}{target}\n"
