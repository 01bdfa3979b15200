"""`Chart`: a table and the Vega-Lite spec that draws it, as one value of `log`."""

from __future__ import annotations

import copy
import html
import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ...storage.errors import IntegrityError, UsageError
from ..media.base import FileSink, FileSource, Media
from .vega import DATA_NAME, SCHEMA, Spec, plain_cell

if TYPE_CHECKING:
    from ..media import Table

_FOLDER = "media/chart"
_IMAGES = (".svg", ".png", ".pdf")

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<div id="chart">This page draws with Vega, which your browser loads from cdn.jsdelivr.net; without a network it stays
empty. The data and the spec are in the page's source.</div>
<script src="https://cdn.jsdelivr.net/npm/vega@6"></script>
<script src="https://cdn.jsdelivr.net/npm/vega-lite@6"></script>
<script src="https://cdn.jsdelivr.net/npm/vega-embed@7"></script>
<script>vegaEmbed("#chart", {spec});</script>
</html>
"""


class Chart(Media):
    """A table of data and how to draw it. `plot.line` and its neighbours make one; `run.log({"roc": chart})` keeps it.

    `table` is a `Table`, `spec` a Vega-Lite spec (a dictionary) whose data is ``{"name": "table"}``.

    >>> from lineart.tracking import plot
    >>> chart = plot.line_series([0, 1, 2], [[1.0, 0.5, 0.3]], keys=["loss"], title="Training")
    >>> chart.vega_lite()["data"]["values"][0]
    {'step': 0, 'lineVal': 1.0, 'lineKey': 'loss'}
    """

    kind: ClassVar[str] = "chart"

    def __init__(
        self,
        table: Table,
        spec: Mapping[str, Any],
        *,
        columns: Sequence[str | int] | None = None,
        split_table: bool = False,
    ) -> None:
        """`columns` are those that the drawing needs, all when None; `split_table` asks to list the table by itself.

        A spec without ``data`` gets the table's.

        Raises: UsageError when a column is missing or the spec is not JSON.
        """
        missing = [column for column in columns or () if column not in table.columns]
        if missing:
            raise UsageError(f"chart: the table has no column {missing[0]!r}; it has {list(table.columns)}")
        self.table = table
        self.spec: Spec = {"$schema": SCHEMA, "data": {"name": DATA_NAME}, **_checked_spec(spec)}
        self.columns = None if columns is None else tuple(dict.fromkeys(columns))
        self.split_table = split_table

    @property
    def title(self) -> str:
        """The title that is drawn, or an empty text."""
        title = self.spec.get("title", "")
        text = title.get("text", "") if isinstance(title, Mapping) else title
        return text if isinstance(text, str) else " ".join(map(str, text))

    def vega_lite(self) -> Spec:
        """The spec with the table's rows in it, which any Vega-Lite viewer draws. NaN and infinities become gaps."""
        names = list(self.columns or self.table.columns)
        cells = [map(plain_cell, self.table.get_column(name)) for name in names]
        keys = [str(name) for name in names]
        rows = [dict(zip(keys, row, strict=True)) for row in zip(*cells, strict=True)]
        spec = copy.deepcopy(self.spec)
        if _is_the_table(spec.get("data")):
            # Kept by its name too: a view inside may say which data it means.
            spec["data"] = {"name": DATA_NAME, "values": rows}
        else:
            spec.setdefault("datasets", {})[DATA_NAME] = rows
        return spec

    def save(self, path: str | Path) -> Path:
        """Write the chart to `path`: ``.json`` (the spec with its rows), ``.html``, ``.svg``, ``.png`` or ``.pdf``.

        Images need the package vl-convert-python; with it a page holds all that it needs, without it the page
        loads Vega from a public server when it is opened.
        Raises: UsageError for another ending, or without the package; OSError.
        """
        target = Path(path)
        kind = target.suffix.lower()
        if kind == ".json":
            target.write_text(json.dumps(self.vega_lite(), ensure_ascii=False), encoding="utf-8")
        elif kind == ".html":
            target.write_text(self._page(), encoding="utf-8")
        elif kind in _IMAGES:
            target.write_bytes(self.render(kind[1:]))
        else:
            raise UsageError(
                f"chart {str(target)!r}: expected a name ending in .json, .html, .svg, .png or .pdf"
            )
        return target

    def render(self, form: str = "svg", *, scale: float = 2.0) -> bytes:
        """The drawing as ``svg`` (UTF-8), ``png`` or ``pdf``; `scale` is a PNG's pixels per unit of the spec.

        Raises: UsageError for another form, without the package vl-convert-python, or for a spec it cannot draw.
        """
        if f".{form}" not in _IMAGES:
            raise UsageError(f"chart as {form!r}: expected 'svg', 'png' or 'pdf'")
        converter = _converter()
        if converter is None:
            raise UsageError(
                f"drawing a chart as {form.upper()} needs the package vl-convert-python: "
                'pip install "vl-convert-python"'
            )
        try:
            if form == "svg":
                return str(converter.vegalite_to_svg(self.vega_lite())).encode()
            if form == "png":
                return bytes(converter.vegalite_to_png(self.vega_lite(), scale=scale))
            return bytes(converter.vegalite_to_pdf(self.vega_lite()))
        except ValueError as error:
            reason = " ".join(str(error).strip().splitlines()[:2])
            raise UsageError(f"chart {self.title!r}: its spec cannot be drawn: {reason}") from error

    def _page(self) -> str:
        converter = _converter()
        if converter is not None:
            return str(converter.vegalite_to_html(self.vega_lite(), bundle=True))
        text = json.dumps(self.vega_lite(), ensure_ascii=False).replace("</", "<\\/")
        return _PAGE.format(title=html.escape(self.title or "Chart"), spec=text)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """What a notebook shows; its viewers know Vega-Lite 5, of which these specs are too."""
        spec = {**self.vega_lite(), "$schema": "https://vega.github.io/schema/vega-lite/v5.json"}
        return {"application/vnd.vegalite.v5+json": spec, "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"<Chart {self.title!r}: {len(self.table)} rows of {list(self.table.columns)}>"

    def to_value(self, sink: FileSink) -> dict[str, Any]:
        """Write table and spec; the spec is a file, so that the chart of every step shares one."""
        text = json.dumps(self.spec, ensure_ascii=False, sort_keys=False, separators=(",", ":"))
        return {
            "_type": self.kind,
            "title": self.title,
            "spec": dict(sink.put_bytes(text.encode(), folder=_FOLDER, extension=".vl.json")),
            "table": self.table.to_value(sink),
            "columns": None if self.columns is None else list(self.columns),
            "split_table": self.split_table,
        }

    @classmethod
    def from_value(cls, value: Mapping[str, Any], source: FileSource) -> Self:
        """The chart as it was logged. Raises: NotFoundError, IntegrityError."""
        from ..media import Table

        path = value["spec"]["path"]
        with source.open(path) as file:
            content = file.read()
        try:
            spec = json.loads(content)
        except ValueError as error:
            raise IntegrityError(f'chart spec {path}: not JSON ({error}); run "art verify"') from error
        table = Table.from_value(value["table"], source)
        return cls(table, spec, columns=value.get("columns"), split_table=bool(value.get("split_table")))


def make_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """A table of the charts that compute their data."""
    from ..media import Table

    return Table(columns=list(columns), data=[list(row) for row in rows])


def _checked_spec(spec: Mapping[str, Any]) -> Spec:
    try:
        text = json.dumps(dict(spec), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(f"chart: the spec is not JSON ({error}); expected a Vega-Lite dictionary") from error
    checked: Spec = json.loads(text)
    return checked


def _is_the_table(data: Any) -> bool:
    return isinstance(data, Mapping) and set(data) == {"name"} and data["name"] == DATA_NAME


def _converter() -> Any:
    try:
        return importlib.import_module("vl_convert")
    except ImportError:
        return None
