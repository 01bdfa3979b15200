"""`art sql`: the catalog, asked directly."""

from __future__ import annotations

import csv
import datetime
import json
import math
import shutil
import sys
from typing import TYPE_CHECKING, Any

import click

from .options import common_options, open_workspace
from .output import printable, say, say_json_list

if TYPE_CHECKING:
    import duckdb

_SHOWN_ROWS = 40


@click.command()
@click.argument("query")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON list of objects, one a line.")
@click.option("--csv", "as_csv", is_flag=True, help="Write CSV with a header line.")
@common_options
def sql(query: str, as_json: bool, as_csv: bool) -> None:
    """Ask the catalog anything in SQL.

    The SQL is DuckDB's. Views: collections, versions, aliases, alias_history, tags, runs, config, summary, edges,
    derivations, version_references, attestations. On a terminal the answer is a box of at most 40 rows; in a pipe it
    is all rows, separated by tabs under a header line. Times are UTC. What a query changes is gone when the command
    ends.

    With --json: the columns of the query.

    \b
    art sql "SELECT collection, count(*) AS versions FROM versions GROUP BY ALL"
    art sql "SELECT version_id FROM tags WHERE tag = 'gold'" --csv
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv: choose one")
    import duckdb

    from ..storage.errors import UsageError

    catalog = open_workspace().catalog()
    try:
        _say_relation(_in_utc(catalog.sql(query)), as_json=as_json, as_csv=as_csv)
    except duckdb.Error as error:  # found only while the rows are made: a cast, a file that is missing
        raise UsageError(f"sql: {' '.join(str(error).split())}") from error
    finally:
        catalog.close()


def _say_relation(relation: duckdb.DuckDBPyRelation, *, as_json: bool, as_csv: bool) -> None:
    if as_json:
        _say_objects(relation)
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(relation.columns)
        for row in relation.fetchall():
            writer.writerow(["" if value is None else _text(value) for value in row])
    elif sys.stdout.isatty():
        width = shutil.get_terminal_size((100, 24)).columns
        relation.show(max_width=width, max_rows=_SHOWN_ROWS)
    else:
        say("\t".join(relation.columns))
        for row in relation.fetchall():
            sys.stdout.write("\t".join("" if v is None else printable(_text(v)) for v in row) + "\n")


def _in_utc(relation: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Times with a zone as times of UTC: DuckDB would need another package to hand them to Python."""
    columns = []
    for name, kind in zip(relation.columns, relation.types, strict=True):
        quoted = '"' + name.replace('"', '""') + '"'
        if str(kind) == "TIMESTAMP WITH TIME ZONE":
            columns.append(f"timezone('UTC', {quoted}) AS {quoted}")
        elif "TIME ZONE" in str(kind):  # inside a list or a structure
            columns.append(f"{quoted}::VARCHAR AS {quoted}")
        else:
            columns.append(quoted)
    return relation.project(", ".join(columns))


def _say_objects(relation: duckdb.DuckDBPyRelation) -> None:
    is_json = [str(kind) == "JSON" for kind in relation.types]
    say_json_list(
        {
            name: _value(value, parse)
            for name, value, parse in zip(relation.columns, row, is_json, strict=True)
        }
        for row in relation.fetchall()
    )


def _value(value: Any, parse: bool) -> Any:
    """A value as JSON data."""
    if parse and isinstance(value, str):
        return json.loads(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no NaN
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dict):
        return {str(key): _value(item, False) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_value(item, False) for item in value]
    return _text(value)


def _text(value: Any) -> str:
    if isinstance(value, datetime.datetime):
        return value.isoformat() + ("Z" if value.tzinfo is None else "")
    if isinstance(value, (list, dict)):
        return json.dumps(_value(value, False), ensure_ascii=False)
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
