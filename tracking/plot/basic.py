"""Charts of a table's columns: line, scatter, bar, histogram, and several lines from plain sequences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ...storage.errors import UsageError
from ..media.optional import comes_from
from .chart import Chart, make_table
from .vega import (
    BLUE,
    HEIGHT,
    WIDTH,
    Kind,
    Spec,
    accessor,
    chosen_in_legend,
    colours,
    encode,
    frame,
    is_number,
    kind_of,
    name_axis,
    plain_cell,
    tooltip,
    zoom,
)

if TYPE_CHECKING:
    import pandas as pd

    from ..media import Table

_SHOW_POINTS = 60  # rows: with more, dots hide the line
_LABEL_BARS = 30  # bars: with more, their values are only under the pointer


def line(
    table: Table | pd.DataFrame,
    x: str,
    y: str,
    stroke: str | None = None,
    title: str = "",
    split_table: bool = False,
) -> Chart:
    """Lines through column `y` over column `x`, one for each value of column `stroke`.

    `table` is a Table or a pandas DataFrame. Points are joined in the order of `x`; NaN makes a gap.
    Raises: UsageError for a missing column, an empty table, or a `y` without numbers.

    >>> from lineart.tracking import plot
    >>> from lineart.tracking.media import Table
    >>> plot.line(Table(columns=["step", "loss"], data=[[0, 1.0], [1, 0.4]]), "step", "loss", title="Loss").title
    'Loss'
    """
    columns = [x, y] if stroke is None else [x, y, stroke]
    table, values = _columns(table, "line", columns, numeric=[y])
    series = None if stroke is None else values[stroke]
    spec = line_spec(columns, kind_of(values[x]), series, _names(values[x]), title, len(values[x]))
    return Chart(table, spec, columns=columns, split_table=split_table)


def line_spec(
    columns: Sequence[str],
    x_kind: Kind,
    series: Sequence[Any] | None,
    names: Sequence[str],
    title: str,
    rows: int,
    titles: tuple[str | None, str | None, str | None] = (None, None, None),
) -> Spec:
    """The spec of `line`: `columns` are x, y and perhaps the series; `titles` replace their names."""
    x, y = columns[0], columns[1]
    x_title, y_title, legend = titles
    kinds: list[tuple[str, Kind]] = [(x, x_kind), (y, "quantitative")]
    dotted = rows <= _SHOW_POINTS
    room: Spec = (
        {"scale": {"zero": False, "nice": False, "padding": 6}} if dotted else {}
    )  # whole dots at the edges
    horizontal = encode(x, x_kind, {"title": x if x_title is None else x_title})
    if x_kind == "nominal":
        horizontal["axis"] = name_axis(names)
    encoding: Spec = {
        "x": horizontal,
        "y": encode(y, "quantitative", {"title": y if y_title is None else y_title, **room}),
    }
    if x_kind == "quantitative":
        horizontal.update(room)
    params = [] if x_kind == "nominal" else [zoom()]
    if len(columns) > 2:
        stroke = columns[2]
        kinds.insert(0, (stroke, "nominal"))
        more = {"title": stroke if legend is None else legend, "scale": colours(len(set(series or ())))}
        encoding["color"] = encode(stroke, "nominal", more)
        parameter, encoding["opacity"] = chosen_in_legend(encoding["color"]["field"])
        params.append(parameter)
    encoding["tooltip"] = tooltip(kinds)
    mark: Spec = {"type": "line", "clip": x_kind != "nominal", "point": dotted}
    if len(columns) < 3:
        mark["color"] = BLUE
    spec = {**frame(title), "width": WIDTH, "height": HEIGHT, "mark": mark, "encoding": encoding}
    return {**spec, "params": params} if params else spec


def scatter(table: Table | pd.DataFrame, x: str, y: str, title: str = "", split_table: bool = False) -> Chart:
    """A dot at (`x`, `y`) for each row of `table`, a Table or a pandas DataFrame.

    Raises: UsageError for a missing column or an empty table.
    """
    table, values = _columns(table, "scatter", [x, y], numeric=[])
    kinds: list[tuple[str, Kind]] = [(name, kind_of(values[name])) for name in (x, y)]
    horizontal = encode(x, kinds[0][1])
    if kinds[0][1] == "nominal":
        horizontal["axis"] = name_axis(_names(values[x]))
    many = len(values[x]) > 500
    spec = {
        **frame(title),
        "width": WIDTH,
        "height": HEIGHT,
        "mark": {
            "type": "point",
            "filled": True,
            "size": 18 if many else 42,
            "opacity": 0.45 if many else 0.7,
            "color": BLUE,
            "clip": True,
        },
        "encoding": {"x": horizontal, "y": encode(y, kinds[1][1]), "tooltip": tooltip(kinds)},
    }
    if "nominal" not in (kinds[0][1], kinds[1][1]):
        spec["params"] = [zoom()]
    return Chart(table, spec, columns=[x, y], split_table=split_table)


def bar(
    table: Table | pd.DataFrame, label: str, value: str, title: str = "", split_table: bool = False
) -> Chart:
    """A horizontal bar of length `value` for each row, named by column `label`, in the order of the table.

    Rows with the same label stand on one another. `table` is a Table or a pandas DataFrame.
    Raises: UsageError for a missing column, an empty table, or values that are not numbers.
    """
    table, values = _columns(table, "bar", [label, value], numeric=[value])
    bars = len(set(_names(values[label])))
    kinds: list[tuple[str, Kind]] = [(label, "nominal"), (value, "quantitative")]
    across = encode(value, "quantitative", {"scale": {"zero": True}, "stack": "zero"})
    encoding = {"y": encode(label, "nominal", {"axis": {"labelLimit": 220}}), "x": across}
    drawn: list[Spec] = [
        {"mark": {"type": "bar", "color": BLUE}, "encoding": {"tooltip": tooltip(kinds)}},
    ]
    if bars == len(values[label]) and bars <= _LABEL_BARS:
        negative = f"{accessor(value)} < 0"
        place = {"align": {"expr": f"{negative} ? 'right' : 'left'"}, "dx": {"expr": f"{negative} ? -4 : 4"}}
        text = {"text": tooltip([(value, "quantitative")])[0]}
        drawn.append({"mark": {"type": "text", "fontSize": 11, **place}, "encoding": text})
        across["stack"] = None
        across["scale"] = {"zero": True, "padding": 40}  # pixels: room for the numbers
    spec = {
        **frame(title),
        "width": WIDTH,
        "height": {"step": 24 if bars <= _LABEL_BARS else 14},
        "encoding": encoding,
        "layer": drawn,
    }
    return Chart(table, spec, columns=[label, value], split_table=split_table)


def histogram(table: Table | pd.DataFrame, value: str, title: str = "", split_table: bool = False) -> Chart:
    """How many rows have a `value` within each of at most 40 equally wide bins; names are counted each by itself.

    The bins are made when it is drawn: the table keeps every value. `table` is a Table or a pandas DataFrame.
    Raises: UsageError for a missing column or an empty table.
    """
    table, values = _columns(table, "histogram", [value], numeric=[])
    kind = kind_of(values[value])
    horizontal = encode(value, kind)
    if kind == "nominal":
        horizontal["axis"] = name_axis(_names(values[value]))
        horizontal["sort"] = "ascending"
    else:
        horizontal["bin"] = {"maxbins": 40}
        horizontal.pop("scale", None)
    if kind == "temporal":  # the bins' edges are no round times
        horizontal["axis"] = {
            "labelAngle": 0,
            "format": "%Y-%m-%d %H:%M",
            "labelOverlap": "greedy",
            "labelSeparation": 12,
        }
    count: Spec = {"aggregate": "count", "type": "quantitative", "title": "Count"}
    spec = {
        **frame(title),
        "width": WIDTH,
        "height": HEIGHT,
        "mark": {"type": "bar", "color": BLUE, "binSpacing": 1},
        "encoding": {
            "x": horizontal,
            "y": count,
            "tooltip": [
                {key: part for key, part in horizontal.items() if key not in ("axis", "sort")},
                count,
            ],
        },
    }
    return Chart(table, spec, columns=[value], split_table=split_table)


def line_series(
    xs: Iterable[Any],
    ys: Iterable[Iterable[Any]],
    keys: Iterable[Any] | None = None,
    title: str = "",
    xname: str = "x",
    split_table: bool = False,
) -> Chart:
    """One line for each sequence in `ys`, over `xs`: one sequence for all of them, or one for each.

    A shared `xs` may be longer than a line; a line longer than its `xs` is refused, not cut.
    The table's columns are ``step``, ``lineKey`` and ``lineVal``.
    Raises: UsageError when counts or lengths do not fit, for empty input, or for values that are not numbers.
    """
    lines = [_sequence(one, f"ys[{at}]") for at, one in enumerate(_sequence(ys, "ys"))]
    if not lines or not any(lines):
        raise UsageError("line_series: ys is empty; expected at least one line with one value")
    starts = _sequence(xs, "xs")
    if not starts:
        raise UsageError("line_series: xs is empty; expected one value for each point")
    own = _iterable(starts[0])
    horizontal = (
        [_sequence(one, f"xs[{at}]") for at, one in enumerate(starts)] if own else [starts] * len(lines)
    )
    names = [f"key_{at}" for at in range(len(lines))] if keys is None else [str(key) for key in keys]
    for what, count in (("xs", len(horizontal)), ("keys", len(names))):
        if count != len(lines):
            raise UsageError(f"line_series: {what} has {count} entries for {len(lines)} lines in ys")
    if len(set(names)) < len(names):
        raise UsageError(f"line_series: keys {names} name a line twice; expected different names")
    rows = []
    for name, places, heights in zip(names, horizontal, lines, strict=True):
        if len(heights) > len(places) or (own and len(heights) != len(places)):
            raise UsageError(f"line_series: line {name!r} has {len(heights)} values for {len(places)} in xs")
        rows += [[place, name, height] for place, height in zip(places, heights, strict=False)]
    table = make_table(["step", "lineKey", "lineVal"], rows)
    return series_chart(table, ["step", "lineVal", "lineKey"], title, xname, split_table=split_table)


def series_chart(
    table: Table | pd.DataFrame, columns: Sequence[str], title: str, xname: str, *, split_table: bool
) -> Chart:
    """Lines of `columns` (x, y, key) of a table in long form."""
    table, values = _columns(table, "line_series", columns, numeric=[columns[1]])
    x = values[columns[0]]
    titles = (xname, "", "")
    spec = line_spec(columns, kind_of(x), values[columns[2]], _names(x), title, len(x), titles)
    return Chart(table, spec, columns=columns, split_table=split_table)


def _columns(
    table: Any, chart: str, columns: Sequence[str], *, numeric: Sequence[str]
) -> tuple[Table, dict[str, list[Any]]]:
    """The table and the values of its `columns`, which exist and hold something."""
    table = table_of(table, chart)
    for column in columns:
        if column not in table.columns:
            raise UsageError(f"plot.{chart}: the table has no column {column!r}; it has {table.columns}")
    if not len(table):
        raise UsageError(f"plot.{chart}: the table is empty; expected at least one row")
    values = {column: [_scalar(cell) for cell in table.get_column(column)] for column in columns}
    for column in numeric:
        wrong = [value for value in values[column] if value is not None and not is_number(value)]
        if wrong:
            found = f"{type(wrong[0]).__name__} {str(wrong[0])[:40]!r}"
            raise UsageError(f"plot.{chart}: column {column!r} holds {found}; expected numbers")
    return table, values


def table_of(value: Any, chart: str) -> Table:
    """`value` as a Table; a pandas DataFrame becomes one. Raises: UsageError."""
    from ..media import Table

    if isinstance(value, Table):
        return value
    if comes_from(value, "pandas") and hasattr(value, "columns"):
        return Table(dataframe=value)
    raise UsageError(f"plot.{chart}: expected a lineart.Table or a DataFrame, not {type(value).__name__}")


def _scalar(value: Any) -> Any:
    """Numpy's scalars as Python's; the rest unchanged."""
    return value.item() if hasattr(value, "item") and getattr(value, "shape", None) == () else value


def _names(values: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(str(plain_cell(value)) for value in values))


def _iterable(value: Any) -> bool:
    return (
        not isinstance(value, (str, bytes))
        and hasattr(value, "__iter__")
        and getattr(value, "shape", None) != ()
    )


def _sequence(value: Any, name: str) -> list[Any]:
    if not _iterable(value):
        raise UsageError(
            f"line_series: {name} is {type(value).__name__} {str(value)[:40]!r}; expected a sequence"
        )
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    return [_scalar(one) for one in value]
