"""Parts of Vega-Lite specs that the charts share: the frame, encodings of a column, colours, what can be inlined.

A spec never holds the data: it names it, ``{"name": "table"}``, so that the same chart of another step is the same
spec. Column names come from users; `field_name` and `accessor` are the only ways in which one enters a spec.
"""

from __future__ import annotations

import datetime
import decimal
import json
import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

Kind = Literal["quantitative", "temporal", "nominal"]
Spec = dict[str, Any]

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
DATA_NAME = "table"
WIDTH, HEIGHT = 480, 300  # pixels of the plotting area
GREY = "#8a8f98"
BLUE = "#4c78a8"

_CONFIG: Spec = {
    "axis": {"labelFontSize": 12, "titleFontSize": 13, "titleFontWeight": "normal", "gridColor": "#e6e8eb"},
    "legend": {"labelFontSize": 12, "titleFontSize": 12, "labelLimit": 260, "symbolLimit": 40},
    "title": {"fontSize": 15, "anchor": "start", "subtitleFontSize": 12, "subtitleColor": "#5f6570"},
    "header": {"labelFontSize": 12, "titleFontSize": 13},
    "view": {"stroke": "#d5d8dc"},
}


def frame(title: str, subtitle: str = "") -> Spec:
    """What every spec starts with. A caller adds sizes, `mark` or `layer`, and `encoding`."""
    spec: Spec = {"$schema": SCHEMA, "background": "white", "data": {"name": DATA_NAME}, "config": _CONFIG}
    if title or subtitle:
        spec["title"] = {"text": title, **({"subtitle": subtitle} if subtitle else {})}
    return spec


def field_name(column: str) -> str:
    """`column` as a ``field``: there, ``.``, ``[`` and quotes would reach into nested values.

    >>> field_name("val.loss[0]")
    'val\\\\.loss\\\\[0\\\\]'
    """
    column = str(column)  # a table's column may be called by a whole number
    for special in "\\.[]'\"":
        column = column.replace(special, "\\" + special)
    return column


def accessor(column: str) -> str:
    """`column` of the current row in an expression.

    >>> accessor("it's")
    'datum["it\\'s"]'
    """
    return f"datum[{json.dumps(str(column))}]"


def kind_of(values: Iterable[Any]) -> Kind:
    """How a column is drawn: on a number line, on a time line, or as names (also when it holds nothing)."""
    kinds: set[Kind] = set()
    for value in values:
        if value is None:
            continue
        if isinstance(value, datetime.date):
            kinds.add("temporal")
        elif is_number(value):
            kinds.add("quantitative")
        else:
            return "nominal"
    return kinds.pop() if len(kinds) == 1 else "nominal"


def is_number(value: Any) -> bool:
    """Whether `value` is a real number; booleans, also numpy's, are names."""
    if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):
        return False
    return isinstance(value, (numbers.Real, decimal.Decimal))


def encode(column: str, kind: Kind, more: Mapping[str, Any] | None = None) -> Spec:
    """The encoding of `column`; `more` adds to it and wins. Names keep the order of the table."""
    channel: Spec = {"field": field_name(column), "type": kind, "title": str(column)}
    if kind == "nominal":
        channel["sort"] = None
    elif kind == "quantitative":
        channel["scale"] = {"zero": False}
    channel.update(more or {})
    if isinstance(channel["title"], str):
        channel["title"] = readable(channel["title"])
    return channel


def readable(title: str) -> str:
    """`title` with a sign that looks like a backslash in place of each.

    Vega-Lite writes the titles of axes and tooltips into expressions and escapes their quotes only; a chart with an
    axis called ``\\alpha`` would not be drawn.
    """
    return str(title).replace("\\", "\N{SET MINUS}")


def tooltip(columns: Sequence[tuple[str, Kind]], number_format: str = ".4~g") -> list[Spec]:
    """What is shown of a mark under the pointer."""
    return [
        {
            "field": field_name(column),
            "type": kind,
            "title": readable(column),
            **({"format": number_format} if kind == "quantitative" else {}),
        }
        for column, kind in columns
    ]


def colours(count: int) -> Spec:
    """A scale with colours that are told apart for up to 10 names, and for up to 20 with paler twins."""
    return {"scheme": "tableau10" if count <= 10 else "tableau20"}


def name_axis(names: Sequence[str]) -> Spec:
    """The axis under a row of names: upright labels while they fit, slanted ones after that."""
    crowded = max(map(len, names), default=0) * len(names) > 60
    return {"labelAngle": -45 if crowded else 0, "labelLimit": 160}


def zoom() -> Spec:
    """A parameter: drag and wheel move both axes."""
    return {"name": "zoom", "select": "interval", "bind": "scales"}


def chosen_in_legend(field: str) -> tuple[Spec, Spec]:
    """A parameter, and the opacity that makes what was not clicked in the legend pale."""
    parameter = {"name": "chosen", "select": {"type": "point", "fields": [field]}, "bind": "legend"}
    opacity = {"condition": {"param": "chosen", "value": 1}, "value": 0.15}
    return parameter, opacity


def plain_cell(value: Any) -> Any:
    """`value` as JSON, for drawing: NaN and ±inf are gaps (None), and so is what has no place on an axis."""
    if value is None or isinstance(value, (bool, str, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime.date):  # also datetime, its subclass
        return None if type(value).__name__ == "NaTType" else value.isoformat()
    if (
        hasattr(value, "item") and getattr(value, "shape", None) == ()
    ):  # a numpy scalar, a tensor of one number
        return plain_cell(value.item())
    if isinstance(value, (numbers.Real, decimal.Decimal)):
        return plain_cell(float(value))
    if isinstance(value, Mapping):
        return {str(key): plain_cell(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_cell(inner) for inner in value]
    return None
