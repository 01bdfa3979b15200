r"""How things are written: aligned columns, sizes, times, JSON.

Tables are the same on a terminal and in a pipe: a header in capitals, columns two or more blanks apart, no blanks
inside a cell but in the last column, ``-`` for what is empty. ``awk '{print $2}'`` and people both read them.
Colours are added by click on terminals only, and never with ``NO_COLOR``.
"""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import click


class Cell(NamedTuple):
    """A text and its colour on a terminal."""

    text: str
    fg: str | None = None
    bold: bool = False
    dim: bool = False

    def painted(self) -> str:
        """The text with its colour; click takes it out again where it is not wanted."""
        if not (self.fg or self.bold or self.dim):
            return self.text
        return click.style(self.text, fg=self.fg, bold=self.bold or None, dim=self.dim or None)


def name_cell(text: str) -> Cell:
    """The name of a version or a collection."""
    return Cell(text, fg="cyan")


def aliases_cell(aliases: Sequence[str]) -> Cell:
    """Aliases, joined without blanks."""
    return Cell(",".join(aliases) or "-", fg="green" if aliases else None)


def printable(text: str) -> str:
    r"""`text` with everything that is not printable written as an escape: names can break no terminal.

    >>> printable("a\x1b[31m\nb")
    'a\\x1b[31m\\nb'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def size_cell(size_bytes: int) -> str:
    """A size in decimal units, without a blank.

    >>> size_cell(0), size_cell(999), size_cell(1234), size_cell(5_242_880), size_cell(999_999)
    ('0B', '999B', '1.2kB', '5.2MB', '1.0MB')
    """
    return size_words(size_bytes).replace(" ", "")


def size_words(size_bytes: int) -> str:
    """A size in decimal units, as in a sentence.

    >>> size_words(1), size_words(1_500_000_000_000)
    ('1 B', '1.5 TB')
    """
    if size_bytes < 1000:
        return f"{size_bytes} B"
    value = float(size_bytes)
    for unit in ("kB", "MB", "GB", "TB", "PB"):
        value /= 1000
        if value < 999.95 or unit == "PB":
            break
    return f"{value:.1f} {unit}"


def counted(count: int, noun: str) -> str:
    """A number and its noun.

    >>> counted(1, "file"), counted(1200, "file")
    ('1 file', '1,200 files')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def parse_time(text: str) -> datetime.datetime:
    """A time of the log."""
    return datetime.datetime.fromisoformat(text)


def when(text: str) -> str:
    """A time of the log on this machine's clock, to the second."""
    return f"{parse_time(text).astimezone():%Y-%m-%d %H:%M:%S}"


def age(text: str, now: datetime.datetime | None = None) -> str:
    """How long ago a time of the log is, in its largest unit.

    >>> noon = datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.UTC)
    >>> age("2026-01-02T11:59:30.000000Z", noon), age("2025-12-30T12:00:00.000000Z", noon)
    ('30s', '3d')
    """
    seconds = int(((now or datetime.datetime.now(datetime.UTC)) - parse_time(text)).total_seconds())
    for unit, length in (("y", 31_536_000), ("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{max(seconds, 0)}s"


def say(text: str = "") -> None:
    """One line of the result."""
    click.echo(text)


def note(text: str) -> None:
    """A hint on stderr, for people only: nothing in a pipe."""
    if sys.stderr.isatty():
        click.echo(click.style(text, dim=True), err=True)


def say_json(value: object) -> None:
    """One JSON document."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def say_json_list(values: Iterable[Mapping[str, Any]]) -> None:
    """A JSON list of objects, one a line, written while they come."""
    start = "["
    for value in values:
        sys.stdout.write(f"{start}\n{json.dumps(value, ensure_ascii=False)}")
        start = ","
    sys.stdout.write("[]\n" if start == "[" else "\n]\n")


def say_table(headers: str, rows: Iterable[Sequence[str | Cell]]) -> None:
    """Aligned columns under `headers` (separated by blanks); one that ends with ``>`` is set flush right."""
    titles = headers.split()
    right = [title.endswith(">") for title in titles]
    table = [[Cell(title.rstrip(">"), dim=True) for title in titles]]
    table += [[cell if isinstance(cell, Cell) else Cell(cell or "-") for cell in row] for row in rows]
    widths = [max(len(row[column].text) for row in table) for column in range(len(titles))]
    for row in table:
        parts = []
        for column, cell in enumerate(row):
            gap = " " * (widths[column] - len(cell.text))
            is_last = column == len(row) - 1
            parts.append(gap + cell.painted() if right[column] else cell.painted() + ("" if is_last else gap))
        click.echo("  ".join(parts))


def say_facts(facts: Iterable[tuple[str, str | Cell]], indent: str = "") -> None:
    """Names and values in two columns; a name that is the same as the one before is left blank."""
    rows = [(name, value if isinstance(value, Cell) else Cell(value)) for name, value in facts]
    width = max((len(name) for name, _ in rows), default=0)
    previous = None
    for name, value in rows:
        shown = "" if name == previous else name
        click.echo(f"{indent}{click.style(shown.ljust(width), dim=True)}  {value.painted()}")
        previous = name


def value_text(value: object) -> str:
    """A JSON value in one line, for people: text without its quotes, numbers with six digits, dates as dates."""
    from ..artifacts.recorded import shown

    value = shown(value)
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping) and "_type" in value:
        return printable(_media_words(value))
    if isinstance(value, list) and value and all(isinstance(v, Mapping) and "_type" in v for v in value):
        return f"{len(value)} × {printable(_media_words(value[0]))}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if value is None or isinstance(value, (int, Mapping, list)):
        return printable(json.dumps(value, ensure_ascii=False, sort_keys=True, default=str))
    return printable(str(value))


def _media_words(value: Mapping[str, Any]) -> str:
    """A logged object in a few words: what it is, how large, its caption or title."""
    kind = str(value["_type"]).removesuffix("-file")
    words = [kind]
    if "width" in value and "height" in value:
        words.append(f"{value['width']}×{value['height']}")
    elif kind == "table":
        words.append(f"{value.get('nrows')} rows × {value.get('ncols')} columns")
    elif kind == "histogram":
        words.append(f"of {sum(value.get('values', ())):,} values in {len(value.get('values', ()))} bins")
    elif kind == "artifactVersion":
        return str(value.get("name"))
    title = value.get("caption") or value.get("title")
    if title:
        words.append(json.dumps(title, ensure_ascii=False))
    if isinstance(value.get("size_bytes"), int):
        words.append(f"({size_words(value['size_bytes'])})")
    return " ".join(words)
