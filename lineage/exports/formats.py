"""The formats by name, and what each can be made of."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

from ...storage.errors import UsageError
from ..graph import Direction
from ..kinds import is_dataset, is_model


@dataclass(frozen=True, slots=True)
class Format:
    """One way of writing lineage or a version down."""

    name: str
    title: str
    subject: Literal["graph", "version"]  # a graph: of a version or of a whole project
    direction: Direction = "both"  # of the graph around a version, unless another one is asked for
    kind: Literal["any", "dataset", "model"] = "any"  # what the version has to be
    options: tuple[str, ...] = ("direction", "depth")  # what of the graph around a version can be chosen


FORMATS: dict[str, Format] = {
    found.name: found
    for found in (
        Format("openlineage", "OpenLineage run events, one JSON object a line", "graph"),
        Format("prov", "W3C PROV as JSON", "graph"),
        Format("cyclonedx", "CycloneDX bill of materials", "version", "upstream", options=("depth",)),
        Format("croissant", "Croissant description of a dataset", "version", "upstream", "dataset", ()),
        Format("model-card", "Hugging Face model card", "version", "both", "model", ()),
        Format("mermaid", "Mermaid flowchart", "graph"),
        Format("dot", "Graphviz's language", "graph"),
        Format("graphml", "GraphML", "graph"),
        Format("json", "networkx's node-link data", "graph"),
    )
}


def find_format(name: str) -> Format:
    """The format called `name`. Raises: UsageError that lists them."""
    if name in FORMATS:
        return FORMATS[name]
    close = difflib.get_close_matches(name, FORMATS, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise UsageError(f"format {name!r}: expected one of {', '.join(FORMATS)}{hint}")


def demand_kind(wanted: Format, version_id: str, type_name: str) -> None:
    """Refuse a model where a dataset is described, and the other way round; a type that says neither is taken.

    Raises: UsageError that names what to use instead.
    """
    instead = None
    if wanted.kind == "dataset" and is_model(type_name):
        instead = "model-card or cyclonedx"
    elif wanted.kind == "model" and is_dataset(type_name):
        instead = "croissant or cyclonedx"
    if instead is not None:
        raise UsageError(
            f"format {wanted.name!r} describes a {wanted.kind}; {version_id} is of the type {type_name!r}:"
            f" use {instead}"
        )
