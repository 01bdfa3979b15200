"""`art diff --deep`: what two versions differ in beside their files, and what of it may explain the difference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from .difference import change_cell, change_records
from .output import Cell, counted, printable, say, say_facts, say_table

if TYPE_CHECKING:
    from ..lineage.data_summary import ColumnFacts, TableChange
    from ..lineage.deep_diff import DeepDiff

_SHOWN_LINES = 200  # of code; --json has all


def deep_record(found: DeepDiff) -> dict[str, Any]:
    """The keys that ``--deep`` adds to the JSON of `art diff`."""
    return {
        "tables": [asdict(table) for table in found.tables],
        "input_changes": [
            {
                "before": diff.before,
                "after": diff.after,
                "role": diff.role,
                "files": None if diff.files is None else change_records(diff.files),
            }
            for diff in found.inputs
        ],
        "packages": found.packages,
        "environment": found.environment,
        "code_diff": asdict(found.code),
        "explanations": [asdict(explanation) for explanation in found.explanations],
        "left_out": list(found.left_out),
    }


def say_deep(found: DeepDiff, home: str) -> None:
    """Everything but the files and what `art diff` says anyway."""
    for table in found.tables:
        _say_table_change(table)
    if found.inputs:
        from ..lineage.deep_diff import input_words

        _title("inputs, compared")
        for diff in found.inputs:
            say(f"  {printable(input_words(diff)).replace(home + '/', '')}")
    for title, values in (("packages", found.packages), ("environment", found.environment)):
        if values:
            _title(title)
            say_facts([(printable(key), change_cell(*pair)) for key, pair in values.items()], indent="  ")
    _say_code(found)
    if found.explanations:
        _title("what may explain the difference")
        for number, explanation in enumerate(found.explanations, 1):
            kind = click.style(explanation.kind, fg="yellow")
            say(f"  {number}. {kind}: {printable(explanation.text).replace(home + '/', '')}")
    for text in found.left_out:
        click.echo(f"art: left out: {printable(text)}", err=True)


def _title(text: str) -> None:
    say(click.style(text, bold=True))


def _say_table_change(table: TableChange) -> None:
    before, after = table.rows
    words = f"{counted(before, 'row')} → {after:,}"
    if table.rows_added is not None and table.rows_removed is not None:
        words += f" ({_share(table.rows_added, after)} added, {_share(table.rows_removed, before)} removed)"
    _title(f"table {printable(table.path)}: {words}")
    for sign, columns in (("+", table.columns_added), ("-", table.columns_removed)):
        for name, kind in columns.items():
            say(click.style(f"  {sign} {printable(name)} {kind}", fg="green" if sign == "+" else "red"))
    for name, pair in table.columns_retyped.items():
        say(click.style(f"  ~ {printable(name)} {pair[0]} → {pair[1]}", fg="yellow"))
    if table.columns:
        say_table(
            "COLUMN NULLS DISTINCT MIN MAX MEAN",
            (list(_column(name, *pair)) for name, pair in table.columns.items()),
        )


def _share(part: int, whole: int) -> str:
    return f"{part:,}" if not whole else f"{part:,} = {part / whole:.1%}"


def _column(name: str, before: ColumnFacts, after: ColumnFacts) -> Iterator[str | Cell]:
    yield Cell(f"  {_narrow(name)}", fg="cyan")
    for key in ("nulls", "distinct", "min", "max", "mean"):
        old, new = (_narrow(_shown(getattr(facts, key))) for facts in (before, after))
        yield old if old == new else Cell(f"{old}→{new}", fg="yellow")


def _shown(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _narrow(text: str) -> str:
    """A value in a cell: short, without blanks."""
    text = printable(text).replace(" ", "\u00a0")
    return text if len(text) <= 24 else f"{text[:23]}…"


def _say_code(found: DeepDiff) -> None:
    code = found.code
    parts = (("code", code.commits), ("code that was saved", code.saved), ("not committed", code.uncommitted))
    for title, text in parts:
        if not text:
            continue
        _title(title)
        lines = text.splitlines()
        for line in lines[:_SHOWN_LINES]:
            colour = {"+": "green", "-": "red"}.get(line[:1])
            say(click.style(f"  {printable(line.expandtabs())}", fg=colour))
        if len(lines) > _SHOWN_LINES:
            say(f"  … {counted(len(lines) - _SHOWN_LINES, 'more line')}; --json has them")
    for text in code.notes:
        click.echo(f"art: code: {printable(text)}", err=True)
