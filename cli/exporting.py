"""`art export`: lineage, a version or the catalog, in the formats of other tools."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .completion import complete_names
from .options import common_options, open_workspace
from .output import note
from .written import write_whole

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from ..lineage import Direction

_CATALOG = "catalog"


def _complete_formats(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    from click.shell_completion import CompletionItem

    from ..lineage.exports.formats import FORMATS

    titles = {name: found.title for name, found in FORMATS.items()}
    titles[_CATALOG] = "the catalog's tables, as DuckDB or Parquet"
    return [CompletionItem(name, help=title) for name, title in titles.items() if name.startswith(incomplete)]


@click.command()
@click.argument("format_name", metavar="FORMAT", shell_complete=_complete_formats)
@click.argument("name", required=False, shell_complete=complete_names)
@click.option("-o", "--output", metavar="FILE", type=click.Path(), help="Write to FILE; - is stdout.")
@click.option("--upstream", is_flag=True, help="Only what it was made from.")
@click.option("--downstream", is_flag=True, help="Only what was made from it.")
@click.option("--depth", type=click.IntRange(min=1), help="At most N versions away.")
@click.option(
    "--tables",
    is_flag=True,
    help="With openlineage: look up the columns of CSV, JSON Lines and Parquet files.",
)
@common_options
def export(
    format_name: str,
    name: str | None,
    output: str | None,
    upstream: bool,
    downstream: bool,
    depth: int | None,
    tables: bool,
) -> None:
    """Write lineage, a version or the catalog in a format of other tools.

    Lineage, of NAME or without one of the project in use: openlineage (run events, one JSON object a line), prov (W3C
    PROV-JSON), graphml, mermaid, dot, json (networkx's node-link data).

    A version: cyclonedx (bill of materials, with all that it was made from), croissant (of a dataset; its files are
    read), model-card (Hugging Face's README.md).

    The catalog: catalog with the name of a new .duckdb file, or of a new folder for Parquet files, in place of NAME.

    \b
    art export openlineage > events.ndjson
    art export cyclonedx classifier:production -o bom.json
    art export croissant images:v3
    art export catalog catalog.duckdb
    """
    if format_name == _CATALOG:
        if upstream or downstream or depth or tables:
            raise click.UsageError(
                "catalog: it is written as a whole; it takes none of the options of lineage"
            )
        _export_catalog(name, output)
        return
    text = _text(format_name, name, _direction(upstream, downstream), depth, tables)
    if output in (None, "-"):
        click.echo(text, nl=False)
        return
    target = Path(output or "")
    write_whole(target, text.encode())
    note(f"{os.path.abspath(target)} written, {len(text.encode()):,} bytes")


def _text(
    format_name: str, name: str | None, direction: Direction | None, depth: int | None, tables: bool
) -> str:
    from ..lineage.exports.formats import FORMATS, find_format
    from ..storage.errors import UsageError
    from ..tracking.exporting import export_project, export_version

    if format_name not in FORMATS:
        try:
            find_format(format_name)
        except UsageError as error:
            raise UsageError(f"{error}; or {_CATALOG}") from error
    if tables and format_name != "openlineage":
        raise click.UsageError("--tables: only openlineage tells of columns on demand; croissant always does")
    workspace = open_workspace()
    if name is None:
        if direction is not None or depth is not None:
            raise click.UsageError("--upstream, --downstream and --depth: name the version to start from")
        return export_project(workspace, workspace.project_name, format_name, with_tables=tables)
    version = workspace.version(name, deleted_too=FORMATS[format_name].subject == "graph")
    return export_version(
        workspace, version, format_name, direction=direction, depth=depth, with_tables=tables
    )


def _direction(upstream: bool, downstream: bool) -> Direction | None:
    if upstream == downstream:
        return "both" if upstream else None
    return "upstream" if upstream else "downstream"


def _export_catalog(name: str | None, output: str | None) -> None:
    target = name if output is None else output
    if target is None or (name is not None and output is not None):
        raise click.UsageError("catalog: name one new .duckdb file, or one new folder for Parquet files")
    catalog = open_workspace().catalog()
    try:
        catalog.export(Path(target))
    finally:
        catalog.close()
    note(f"{os.path.abspath(target)} written")
