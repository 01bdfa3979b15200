"""`art du`: what takes up space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from .options import common_options, find_given_settings, json_option, open_workspace
from .output import (
    Cell,
    counted,
    name_cell,
    printable,
    say,
    say_facts,
    say_json,
    say_table,
    size_cell,
    size_words,
)

if TYPE_CHECKING:
    from ..artifacts.names import ProjectName
    from ..artifacts.version import Version
    from ..tracking.workspace import Workspace


@click.command()
@click.option("-A", "--all-projects", is_flag=True, help="The artifacts of every project in the store.")
@click.option("-b", "--bytes", "exact", is_flag=True, help="Sizes in bytes.")
@json_option
@common_options
@click.pass_context
def du(ctx: click.Context, all_projects: bool, exact: bool, as_json: bool) -> None:
    """Measure what takes up space.

    LOGICAL is what the live versions would take up as plain folders. STORED is the size of the packs that they
    need; what versions or artifacts share counts once in the totals, so the column may add up to more. Packs that
    nothing needs are what deleted versions and interrupted work have left; "art gc" collects them.

    With --json: artifacts (a list of name, type, versions, logical_bytes, stored_bytes), logical_bytes,
    stored_bytes (of those artifacts together), run_files_bytes (what only runs need), store_bytes,
    unneeded_bytes (both of all projects), packs, cache_bytes, outbox (a list of name, versions, logical_bytes of what
    waits to be sent to a remote store), outbox_bytes.

    \b
    art du
    art du --all-projects --bytes | sort -k5 -n
    """
    from ..tracking.outbox_part import waiting
    from ..tracking.syncing import outbox_of
    from .setup import folder_bytes, pack_sizes

    workspace = open_workspace()
    outbox = outbox_of(workspace)
    sizes = pack_sizes(workspace.store)
    shown = workspace.project_names() if all_projects else [workspace.project_name]
    runs = _packs_of_runs(workspace)
    mine: set[str] = set()
    rows: list[dict[str, Any]] = []
    for project in sorted({*workspace.project_names(), *shown}, key=str):
        found, packs = _measure(workspace, project, sizes)
        if project in shown:
            mine |= packs
            rows += found
    facts: dict[str, Any] = {
        "artifacts": rows,
        "logical_bytes": sum(row["logical_bytes"] for row in rows),
        "stored_bytes": sum(sizes.get(pack, 0) for pack in mine),
        "run_files_bytes": _bytes_of_runs(runs, shown, mine, sizes),
        "store_bytes": sum(sizes.values()),
        "unneeded_bytes": _unneeded_bytes(workspace, sizes),
        "packs": len(sizes),
        "cache_bytes": folder_bytes(find_given_settings(ctx).cache),
        "outbox": [
            {
                "name": f"{found.project}/{found.collection}",
                "versions": found.versions,
                "logical_bytes": found.logical_bytes,
            }
            for found in waiting(outbox)
        ],
        "outbox_bytes": outbox.size_bytes(),
    }
    if as_json:
        say_json(facts)
    else:
        _say_usage(facts, f"{workspace.project_name}/", exact=exact, all_projects=all_projects)


def _measure(
    workspace: Workspace, project: ProjectName, sizes: Mapping[str, int]
) -> tuple[list[dict[str, Any]], set[str]]:
    """A row for each artifact of a project, and the packs that all of them need."""
    from ..storage.gc import closure

    rows, together = [], set[str]()
    collections = workspace.project(project).state().collections
    replaced = workspace.store.facts.state().replaced
    for name in sorted(collections):
        versions = workspace.versions(name, project)
        packs = closure((pack.hex() for version in versions for pack in version.packs), replaced)
        together |= packs
        rows.append(
            {
                "name": f"{project}/{name}",
                "type": collections[name].type,
                "versions": len(versions),
                "logical_bytes": sum(map(_logical, versions)),
                "stored_bytes": sum(sizes.get(pack, 0) for pack in packs),
            }
        )
    return rows, together


def _packs_of_runs(workspace: Workspace) -> dict[str, set[str]]:
    """The packs that the files of runs need, by project."""
    found: dict[str, set[str]] = {}
    catalog = workspace.catalog()
    query = "SELECT r.project, packs, meta_packs FROM run_files f JOIN runs r USING (run_id)"
    for project, packs, meta_packs in catalog.rows(query):
        found.setdefault(project, set()).update(packs, meta_packs)
    catalog.close()
    return found


def _unneeded_bytes(workspace: Workspace, sizes: Mapping[str, int]) -> int | None:
    """What "art gc" would plan to delete of packs, None when the logs have what this client does not understand."""
    from ..artifacts.collecting import Collector
    from ..storage.errors import FormatError

    try:
        live = Collector(workspace.store).survey().live
    except FormatError:
        return None
    return sum(size for pack, size in sizes.items() if pack not in live)


def _bytes_of_runs(
    runs: Mapping[str, set[str]], shown: list[ProjectName], mine: set[str], sizes: Mapping[str, int]
) -> int:
    """The size of the packs that runs of these projects need and artifacts do not."""
    packs = {pack for project in shown for pack in runs.get(str(project), ())}
    return sum(sizes.get(pack, 0) for pack in packs - mine)


def _logical(version: Version) -> int:
    """Bytes of the version's files; those of references lie elsewhere."""
    if not version.state.reference_count:
        return version.state.size_bytes
    return sum(entry.size_bytes or 0 for entry in version.manifest.values() if entry.digest is not None)


def _say_usage(facts: dict[str, Any], home: str, *, exact: bool, all_projects: bool) -> None:
    size = str if exact else size_cell
    rows: list[list[str | Cell]] = [
        [
            name_cell(row["name"] if all_projects else row["name"].removeprefix(home)),
            row["type"],
            str(row["versions"]),
            size(row["logical_bytes"]),
            size(row["stored_bytes"]),
        ]
        for row in sorted(facts["artifacts"], key=lambda row: -row["logical_bytes"])
    ]
    if rows:
        say_table("NAME TYPE VERSIONS> LOGICAL> STORED>", rows)
        say()
    logical, stored = facts["logical_bytes"], facts["stored_bytes"]
    words = str if exact else size_words
    times = f", {logical / stored:.1f} times less" if stored and logical > 1.05 * stored else ""
    where = "all projects" if all_projects else home.rstrip("/")
    lines: list[tuple[str, str | Cell]] = [
        (where, f"{words(logical)} logical, {words(stored)} stored{times}"),
        ("files of runs", words(facts["run_files_bytes"])),
        ("whole store", f"{words(facts['store_bytes'])} in {counted(facts['packs'], 'pack')}"),
    ]
    if facts["unneeded_bytes"]:
        lines.append(("no longer needed", f'{words(facts["unneeded_bytes"])}; "art gc" collects it'))
    lines.append(("cache here", words(facts["cache_bytes"])))
    if facts["outbox"]:
        count = counted(sum(row["versions"] for row in facts["outbox"]), "version")
        lines.append(("waits here", f'{words(facts["outbox_bytes"])} with {count}; "art sync" sends it'))
        lines += [
            (
                "",
                Cell(
                    f"{printable(row['name'])}  {counted(row['versions'], 'version')}, {words(row['logical_bytes'])}"
                ),
            )
            for row in facts["outbox"]
        ]
    say_facts(lines)
