"""Charts from specs of your own, and W&B's built-in ones by their names."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...storage.errors import UsageError
from .basic import bar, histogram, line, scatter, series_chart, table_of
from .chart import Chart
from .classification import matrix_spec
from .vega import DATA_NAME, Spec, field_name

if TYPE_CHECKING:
    import pandas as pd

    from ..media import Table

_PRESET = re.compile(r"(?:wandb/)?([a-z_-]+)(?:/v\d+)?")
_PLACE = re.compile(r"\$\{(field|string):([^}]+)\}")
_SHOWN = ("title", "text", "description", "name", "value")  # keys whose text is read, not looked up

_FIELDS: Mapping[str, tuple[str, ...]] = {
    "line": ("x", "y"),
    "scatter": ("x", "y"),
    "bar": ("label", "value"),
    "histogram": ("value",),
    "lineseries": ("step", "lineKey", "lineVal"),
    "confusion_matrix": ("Actual", "Predicted", "nPredictions"),
    "area-under-curve": ("x", "y", "class"),
}


def plot_table(
    vega_spec_name: str | Mapping[str, Any],
    data_table: Table | pd.DataFrame,
    fields: Mapping[str, Any],
    string_fields: Mapping[str, Any] | None = None,
    split_table: bool = False,
) -> Chart:
    """A chart of `data_table` by a Vega-Lite spec: a dictionary, its JSON text, or the name of a built-in one.

    In a spec ``${field:x}`` stands for the column ``fields["x"]`` and ``${string:title}`` for
    ``string_fields["title"]``. Names: ``line``, ``scatter``, ``bar``, ``histogram``, ``lineseries``,
    ``confusion_matrix`` and ``area-under-curve``, also as ``wandb/line/v0``. A preset kept on a W&B server cannot be
    looked up: give its spec.
    Raises: UsageError for an unknown name, a missing column or text, or a spec of Vega instead of Vega-Lite.

    >>> from lineart.tracking import plot
    >>> from lineart.tracking.media import Table
    >>> spec = {"mark": "bar", "encoding": {"x": {"field": "${field:size}", "type": "quantitative"}}}
    >>> plot.plot_table(spec, Table(columns=["mm"], data=[[3.0]]), {"size": "mm"}).spec["encoding"]["x"]["field"]
    'mm'
    """
    table = table_of(data_table, "plot_table")
    strings = dict(string_fields or {})
    if isinstance(vega_spec_name, str) and not vega_spec_name.lstrip().startswith("{"):
        match = _PRESET.fullmatch(vega_spec_name)
        if match is None or match[1] not in _FIELDS:
            raise UsageError(
                f"plot_table: no chart is called {vega_spec_name!r}; expected one of {sorted(_FIELDS)}, "
                "or the Vega-Lite spec itself"
            )
        return _preset(match[1], table, fields, strings, split_table)
    spec = _loaded(vega_spec_name)
    columns = list(table.columns)
    for name, column in fields.items():
        if f"${{field:{name}}}" in json.dumps(spec) and column not in columns:
            raise UsageError(f"plot_table: field {name!r} is column {column!r}, but the table has {columns}")
    filled = _filled(spec, dict(fields), strings, key="")
    if set(filled.get("data") or ()) == {"name"}:  # whatever it is called where it comes from
        filled["data"] = {"name": DATA_NAME}
    return Chart(table, filled, split_table=split_table)


def _preset(
    name: str, table: Any, fields: Mapping[str, Any], strings: Mapping[str, Any], split: bool
) -> Chart:
    missing = [field for field in _FIELDS[name] if field not in fields]
    if missing:
        raise UsageError(f"plot_table: {name} needs fields[{missing[0]!r}]; got {sorted(fields)}")
    columns = [fields[field] for field in _FIELDS[name]]
    absent = [column for column in columns if column not in table.columns]
    if absent:
        raise UsageError(f"plot_table: the table has no column {absent[0]!r}; it has {list(table.columns)}")
    title = str(strings.get("title") or "")
    if name == "line":
        return line(table, columns[0], columns[1], fields.get("stroke"), title, split)
    if name == "scatter":
        return scatter(table, columns[0], columns[1], title, split)
    if name == "bar":
        return bar(table, columns[0], columns[1], title, split)
    if name == "histogram":
        return histogram(table, columns[0], title, split)
    if name == "lineseries":
        order = [columns[0], columns[2], columns[1]]
        return series_chart(table, order, title, str(strings.get("xname") or "x"), split_table=split)
    if name == "confusion_matrix":
        both = [*_values(table, columns[0]), *_values(table, columns[1])]
        spec = matrix_spec(columns, list(dict.fromkeys(map(str, both))), title)
    else:
        chart = line(table, columns[0], columns[1], columns[2], title, split)
        spec = chart.spec
        for axis in "xy":
            spec["encoding"][axis]["title"] = strings.get(f"{axis}-axis-title") or fields[axis]
    return Chart(table, spec, columns=columns, split_table=split)


def _values(table: Any, column: str) -> Sequence[Any]:
    values: list[Any] = table.get_column(column)
    return values


def _loaded(spec: str | Mapping[str, Any]) -> Spec:
    try:
        loaded = json.loads(spec) if isinstance(spec, str) else json.loads(json.dumps(dict(spec)))
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"plot_table: the spec is not JSON ({error}); expected a Vega-Lite dictionary"
        ) from error
    if "/schema/vega/" in str(loaded.get("$schema", "")) or "marks" in loaded:
        raise UsageError("plot_table: the spec is Vega; expected Vega-Lite, with mark and encoding")
    result: Spec = loaded
    return result


def _filled(part: Any, fields: Mapping[str, Any], strings: Mapping[str, Any], *, key: str) -> Any:
    """`part` with its places filled in; as a whole value under a key that looks up, a column is escaped."""
    if isinstance(part, dict):
        return {name: _filled(inner, fields, strings, key=name) for name, inner in part.items()}
    if isinstance(part, list):
        return [_filled(inner, fields, strings, key=key) for inner in part]
    if not isinstance(part, str):
        return part

    def fill(match: re.Match[str]) -> str:
        kind, name = match[1], match[2]
        known = fields if kind == "field" else strings
        if name not in known:
            where = "fields" if kind == "field" else "string_fields"
            raise UsageError(
                f"plot_table: the spec asks for {match[0]}, but {where} has only {sorted(known)}"
            )
        whole = kind == "field" and match[0] == part and key not in _SHOWN
        return field_name(str(known[name])) if whole else str(known[name])

    return _PLACE.sub(fill, part)
