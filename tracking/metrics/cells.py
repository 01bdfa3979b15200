"""From lines to cells: one row for each value of each metric, in columns, as Parquet and DuckDB take them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...artifacts.recorded import shown
from .lines import read_lines
from .pieces import Tail

DEFAULT, SYSTEM = "default", "system"

# Exactly these numbers are kept as they are in the column of doubles; all else has its JSON beside it.
_EXACT = 1 << 53


@dataclass(slots=True)
class Cells:
    """Columns of equal length. `row` numbers the calls of `log`; `value` is NULL for what is no number.

    `text` is the JSON of a value that the double does not say exactly: text, media, whole numbers, true and false.
    """

    stream: list[str] = field(default_factory=list)
    key: list[str] = field(default_factory=list)
    step: list[int] = field(default_factory=list)
    row: list[int] = field(default_factory=list)
    time_us: list[int] = field(default_factory=list)
    value: list[float | None] = field(default_factory=list)
    text: list[str | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.key)

    def columns(self) -> list[list[Any]]:
        """In the order of the fields."""
        return [self.stream, self.key, self.step, self.row, self.time_us, self.value, self.text]


def cells_of(tails: Iterable[Tail], *, keys: Iterable[str] | None = None, stream: str | None = None) -> Cells:
    """The cells of lines that are not compacted; only those of `keys` and `stream` when given.

    Rows are numbered in the order of their times.
    """
    wanted = None if keys is None else set(keys)
    rows = sorted(_rows(tails, stream), key=lambda row: row[1])
    cells = Cells()
    for number, (kind, time_s, step, data) in enumerate(rows):
        time_us = round(time_s * 1e6)
        for key, item in data.items():
            if wanted is not None and key not in wanted:
                continue
            value, text = as_cell(item)
            cells.stream.append(kind)
            cells.key.append(key)
            cells.step.append(step)
            cells.row.append(number)
            cells.time_us.append(time_us)
            cells.value.append(value)
            cells.text.append(text)
    return cells


_Row = tuple[str, float, int, dict[str, Any]]


def _rows(tails: Iterable[Tail], stream: str | None) -> list[_Row]:
    """Stream, time, step and values of every call of `log` and every measurement."""
    rows: list[_Row] = []
    for tail in tails:
        measurement = 0
        before: _Row | None = None
        for line in read_lines(tail.data):
            if "log" in line:
                if stream == SYSTEM:
                    continue
                if line.get("more") and before is not None and before[2] == line["step"]:
                    before[3].update(line["log"])
                    continue
                before = (DEFAULT, line["time"], line["step"], line["log"])
                rows.append(before)
            elif "system" in line:
                if stream != DEFAULT:
                    rows.append((SYSTEM, line["time"], measurement, line["system"]))
                measurement += 1
    return rows


def as_cell(item: Any) -> tuple[float | None, str | None]:
    """The double and the JSON of a value; the second is None when the first says it all."""
    if type(item) is float:
        return item, None
    if item is None:
        return None, "null"
    if type(item) is int:
        return float(item), str(item) if -_EXACT <= item <= _EXACT else json.dumps(item)
    if type(item) is bool:
        return float(item), "true" if item else "false"
    if isinstance(item, Mapping) and len(item) == 1:
        number = shown(item)
        if isinstance(number, float):
            return number, None
        if number is not item and not isinstance(number, dict):
            return _double(number), json.dumps(item)
    return None, json.dumps(item, ensure_ascii=True, separators=(",", ":"))


def _double(number: Any) -> float | None:
    try:
        return float(number)
    except (TypeError, ValueError, OverflowError):
        return None


def of_cell(value: float | None, text: str | None) -> Any:
    """The value that `as_cell` was given, with numbers as numbers."""
    return value if text is None else shown(json.loads(text))
