"""`art run`: look at runs. The group, and what lists: `ls` and `history`."""

from __future__ import annotations

import csv
import itertools
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from .completion import complete_runs
from .options import common_options, json_option, open_workspace
from .output import Cell, age, name_cell, note, say_json_list, say_table, value_text
from .run_details import diff, show, tail
from .run_files import get
from .run_names import STATES, find_run, length_words, run_record

if TYPE_CHECKING:
    from ..tracking.api_run import ApiRun
    from ..tracking.api_runs import Runs
    from ..tracking.workspace import Workspace

_SIMPLE = re.compile(r"([^=!<>~]+)(!=|>=|<=|!~|=|>|<|~)(.*)\Z", re.DOTALL)
_OPERATORS = {"=": "$eq", "!=": "$ne", ">": "$gt", ">=": "$gte", "<": "$lt", "<=": "$lte", "~": "$regex"}
_LENGTH = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdwy])\Z")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}
_METRICS = 3  # shown in the table, those that most runs have
_BLANK = "\u00a0"  # does not end a cell: awk and people see one column


@click.group()
@common_options
def run() -> None:
    """Look at runs: list, show, compare, follow, fetch their files.

    RUN is an id, a name that only one run has, or ENTITY/PROJECT/ID.

    \b
    art run ls 'summary.accuracy>0.9' --order -summary.accuracy
    art run show 3f9a1c20
    """


@run.command()
@click.argument("filters", nargs=-1, metavar="[FILTER]…")
@click.option("--filter", "document", metavar="JSON", help="A filter as lineart.Api().runs() takes it.")
@click.option(
    "--order", default="-created_at", metavar="KEYS", help="Keys divided by commas; - for greatest first."
)
@click.option("--columns", metavar="KEYS", help="What to show, divided by commas.")
@click.option("-n", "--limit", type=click.IntRange(min=1), help="At most so many.")
@json_option
@common_options
def ls(
    filters: tuple[str, ...],
    document: str | None,
    order: str,
    columns: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """List the runs of a project, newest first.

    FILTER is KEY=VALUE, or one with != > >= < <= ~ (a regular expression) or !~. Keys: config.…, summary.…, id, name,
    state, tags, group, job_type, user, host, notes, created_at, heartbeat_at, duration. A VALUE that is JSON is that:
    0.1, true, null, "0.1"; else it is text. Times may be "3d" ago, durations "2h". All filters have to hold. The table
    shows the three metrics that most of the runs have.

    With --json: id, name, project, state, created_at, finished_at, heartbeat_at, duration_s, user, host, group,
    job_type, tags, notes, config, summary, exit_code.

    \b
    art run ls config.lr=0.1 state=finished 'summary.acc>0.9'
    art run ls --order -summary.acc,config.lr --columns id,config.lr,summary.acc
    art run ls --filter '{"$or": [{"tags": "baseline"}, {"config.depth": {"$gte": 8}}]}'
    """
    workspace = open_workspace()
    parts = [simple_filter(text) for text in filters] + ([] if document is None else [_parsed(document)])
    keys = ",".join(_with_sign(key) for key in order.split(","))
    runs = _find(workspace, {"$and": parts} if parts else {}, keys)
    shown: Sequence[ApiRun] = runs if limit is None else runs[:limit]
    if as_json:
        say_json_list(run_record(found) for found in shown)
    elif shown:
        _say_columns(shown, columns.split(",")) if columns else _say_table(shown)
        if len(shown) < len(runs):
            note(f"{len(shown):,} of {len(runs):,} runs")
    else:
        note(
            f"no run in {workspace.project_name} matches"
            if parts
            else f"{workspace.project_name} has no runs"
        )


def _find(workspace: Workspace, filters: Mapping[str, Any], order: str) -> Runs:
    from ..tracking.api_runs import Runs
    from ..tracking.run_query import RunReader, parse_query

    node, keys = parse_query(filters, order)
    return Runs(RunReader(workspace), workspace.project_name, node, keys, 1000)


def simple_filter(text: str) -> dict[str, Any]:
    """What ``KEY<operator>VALUE`` means to `Api.runs`. Raises: click.UsageError."""
    match = _SIMPLE.match(text)
    if match is None or not match.group(1).strip():
        raise click.UsageError(
            f"filter {text!r}: expected KEY=VALUE, such as config.lr=0.1 or 'summary.acc>0.9'"
        )
    key, sign, given = match.group(1).strip(), match.group(2), match.group(3).strip()
    key = _key(key)
    if sign in ("~", "!~"):
        test: dict[str, Any] = {"$regex": given}
        return {key: {"$not": test} if sign == "!~" else test}
    return {key: {_OPERATORS[sign]: _value(key, given)}}


def _key(key: str) -> str:
    """People at a prompt mean by name what is shown as such; `Api.runs` means the id, as the W&B SDK does."""
    return {"name": "display_name", "id": "name"}.get(key, key)


def _with_sign(key: str) -> str:
    text = key.strip()
    return text[:1] + _key(text[1:]) if text[:1] in ("+", "-") else _key(text)


def _value(key: str, given: str) -> Any:
    length = _LENGTH.match(given)
    if key == "duration" and length:
        return float(length.group(1)) * _UNIT_S[length.group(2)]
    if key in ("created_at", "heartbeat_at", "createdAt", "heartbeatAt"):
        from .showing import moment

        return moment(given) if length else given
    if not key.startswith(("config", "summary", "duration")):
        return None if given == "null" else given
    try:
        return json.loads(given)
    except ValueError:
        return given


def _parsed(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"--filter is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise click.UsageError(f"--filter {text!r}: expected a JSON object")
    return found


def _say_table(runs: Sequence[ApiRun]) -> None:
    metrics = _common_metrics(runs)
    rows: list[list[str | Cell]] = []
    for found in runs:
        duration = found.duration
        rows.append(
            [
                name_cell(found.id),
                _cell(found.name),
                Cell(found.state, fg=STATES.get(found.state)),
                age(found.created_at),
                "-" if duration is None else length_words(duration),
                _cell(found.user),
                *(_cell(found.summary.get(key)) for key in metrics),
                _cell(found.tags),
            ]
        )
    titles = " ".join(_cell(key).upper() + ">" for key in metrics)
    say_table(f"ID NAME STATE AGE> DURATION> USER {titles} TAGS", rows)


def _say_columns(runs: Sequence[ApiRun], columns: Iterable[str]) -> None:
    from ..tracking.run_keys import MISSING, parse_key, value_at

    titles = [column.strip() for column in columns]
    keys = [parse_key(_key(title), "--columns") for title in titles]
    rows: list[list[str | Cell]] = []
    for found in runs:
        values = [value_at(found.document(), key) for key in keys]
        rows.append(["-" if value is MISSING else _cell(value) for value in values])
    say_table(" ".join(_cell(title).upper() for title in titles), rows)


def _common_metrics(runs: Sequence[ApiRun]) -> list[str]:
    counts: Counter[str] = Counter()
    for found in runs:
        counts.update(
            key
            for key, value in found.summary.items()
            if not key.startswith("_") and isinstance(value, (int, float)) and not isinstance(value, bool)
        )
    return [key for key, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:_METRICS]]


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = ",".join(value)
    return value_text(value).replace(" ", _BLANK) or "-"


@run.command()
@click.argument("name", metavar="RUN", shell_complete=complete_runs)
@click.option("-k", "--keys", metavar="KEYS", help="Only these metrics, and rows that have all of them.")
@click.option(
    "--samples", type=click.IntRange(min=1), help="At most so many rows, drawn together where there are more."
)
@click.option("--system", is_flag=True, help="The measurements of the machine instead.")
@click.option("--csv", "as_csv", is_flag=True, help="Write CSV with a header line.")
@json_option
@common_options
def history(
    name: str, keys: str | None, samples: int | None, system: bool, as_csv: bool, as_json: bool
) -> None:
    """Write the metrics of a run, row by row.

    Times are seconds: _timestamp since 1970, _runtime since the run began.

    With --json: _step, _timestamp, _runtime and the metrics of the row; NaN and the infinities as text.

    \b
    art run history 3f9a1c20 --keys loss,accuracy --samples 100
    art run history 3f9a1c20 --csv > history.csv
    """
    if as_csv and as_json:
        raise click.UsageError("--json and --csv: choose one")
    found = find_run(open_workspace(), name)
    wanted = None if keys is None else [key.strip() for key in keys.split(",") if key.strip()]
    rows, names = _rows(found, wanted, samples, system)
    if as_json:
        say_json_list({key: _json_value(value) for key, value in row.items()} for row in rows)
        return
    if as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(
            ["" if row.get(key) is None else _csv_value(row[key]) for key in names] for row in rows
        )
        return
    say_table(
        " ".join(f"{_cell(key)}>" for key in names),
        ([_history_cell(key, row.get(key)) for key in names] for row in rows),
    )


def _rows(
    found: ApiRun, keys: list[str] | None, samples: int | None, system: bool
) -> tuple[Iterator[dict[str, Any]], list[str]]:
    """Rows, and the names of their columns. Raises: NotFoundError for a metric that was never logged."""
    from ..artifacts.names import nearest
    from ..storage.errors import NotFoundError

    stored = found.open_history()
    stream: Any = "system" if system else "default"
    known = stored.keys(stream)
    for key in keys or ():
        if key not in known:
            raise NotFoundError(f"run {found.qualified_name} has no metric {key!r}{nearest(key, known)}")
    names = ["_step", "_timestamp", "_runtime", *(keys or known)]
    if samples is None:
        return stored.rows(keys, stream=stream), names
    columns = stored.columns(keys, samples, stream=stream)
    rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    return itertools.chain(rows), names


def _history_cell(key: str, value: object) -> str:
    return f"{value:.3f}" if key in ("_timestamp", "_runtime") else _cell(value)


def _json_value(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _json_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_json_value(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _csv_value(value: Any) -> Any:
    return json.dumps(_json_value(value), ensure_ascii=False) if isinstance(value, (dict, list)) else value


run.add_command(show)
run.add_command(diff)
run.add_command(tail)
run.add_command(get)
