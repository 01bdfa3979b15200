"""Lineage, runs and versions in the languages of other tools.

One module per format; each is a pure function from an `Extent` (what the catalog says of a graph's versions and runs)
and, where files are told of, their `Contents`, to a text or JSON data. Nothing here prints or opens a store.

Where to start: `formats` lists what there is and which question each answers, `extent` reads the catalog, `contents`
and `tables` look into a version's files; then `openlineage`, `prov`, `cyclonedx`, `croissant`, `graphml` and
`model_card`. Trees, DOT, Mermaid and JSON are drawn by `lineage.render`.
"""

from __future__ import annotations

from .contents import Contents, read_contents
from .croissant import croissant_dataset
from .cyclonedx import cyclonedx_bom
from .extent import Extent, RunRecord, VersionRecord, read_extent
from .formats import FORMATS, Format, find_format
from .graphml import render_graphml
from .model_card import render_model_card
from .openlineage import openlineage_events
from .producer import Producer, this_producer
from .prov import prov_document
from .tables import Column, Table, read_tables

__all__ = [
    "FORMATS",
    "Column",
    "Contents",
    "Extent",
    "Format",
    "Producer",
    "RunRecord",
    "Table",
    "VersionRecord",
    "croissant_dataset",
    "cyclonedx_bom",
    "find_format",
    "openlineage_events",
    "prov_document",
    "read_contents",
    "read_extent",
    "read_tables",
    "render_graphml",
    "render_model_card",
    "this_producer",
]
