"""`art whereis`: the versions that contain a file on disk."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from .options import common_options, json_option, open_workspace
from .output import aliases_cell, name_cell, printable, say_json_list, say_table

if TYPE_CHECKING:
    from ..artifacts.names import ProjectName
    from ..artifacts.version import Version
    from ..tracking.workspace import Workspace


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("-A", "--all-projects", is_flag=True, help="Search every project in the store.")
@json_option
@common_options
def whereis(file: str, all_projects: bool, as_json: bool) -> int:
    """Find the versions that contain a file on disk.

    The file is found by its content, whatever its name was. The exit status is 1 when no version contains it.

    With --json: name, path, aliases.

    \b
    art whereis model.bin
    art whereis labels.csv --all-projects
    """
    from ..lineage import whereis as find_versions
    from ..storage.errors import UsageError
    from ..storage.restore import digest_of_file
    from ..storage.statcache import Fingerprint

    workspace = open_workspace()
    digest = digest_of_file(file, Fingerprint.of(os.stat(file)))
    if digest is None:
        raise UsageError(f"file {file!r}: is not a regular file")
    projects = workspace.project_names() if all_projects else [workspace.project_name]
    versions = [version for project in projects for version in live_versions(workspace, project)]
    found = [
        {"name": str(version.name), "path": path, "aliases": _aliases(workspace, version)}
        for version, paths in find_versions(workspace.store, versions, digest.hex())
        for path in paths
    ]
    if as_json:
        say_json_list(found)
    elif found:
        home = "" if all_projects else f"{workspace.project_name}/"
        say_table(
            "VERSION ALIASES PATH",
            (
                [
                    name_cell(str(f["name"]).removeprefix(home)),
                    aliases_cell(f["aliases"]),
                    printable(str(f["path"])),
                ]
                for f in found
            ),
        )
    else:
        where = (
            "this store"
            if all_projects
            else f"{workspace.project_name} (--all-projects searches the others, too)"
        )
        click.echo(f"art: {file} (blake3 {digest.hex()[:12]}) is in no version of {where}", err=True)
    return 0 if found else 1


def live_versions(workspace: Workspace, project: ProjectName) -> list[Version]:
    """The live versions of a project, newest first in each collection."""
    names = sorted(workspace.project(project).state().collections)
    return [version for name in names for version in reversed(workspace.versions(name, project))]


def _aliases(workspace: Workspace, version: Version) -> list[str]:
    from .records import collection_of

    return list(collection_of(workspace, version).aliases_of(version.state.number))
