"""A dataset version as Croissant 1.0 (http://mlcommons.org/croissant/1.0), JSON-LD that mlcroissant and others load.

Croissant names a file together with its SHA-256, and our digests are BLAKE3, so a file that is named has to be read.
Ten or more files of one ending in one folder are therefore told of as a set, by a pattern; so are references, whose
bytes lie elsewhere, unless a SHA-256 or MD5 was recorded with them. Sets are contained in the version, which is stood
for by its manifest. Tables have a record set with their columns, if readers of Croissant can read it: they find columns
by their names in the first line of a CSV, divide at commas (in a .tsv at tabs), and do not find the files of a set.
Columns of structures and maps are left out: they have no type there.
"""

from __future__ import annotations

import base64
import glob
import mimetypes
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from ...artifacts.manifest import Entry
from ...storage.masking import mask_address
from .contents import Contents
from .extent import Extent, VersionRecord
from .licenses import texts_of
from .tables import Column, Table, table_format

SET_FILES = 10  # from so many on, files of one kind in one folder are a set
_MANIFEST = "manifest!"  # no path has such an id: _id() escapes the mark
_CROISSANT_TERMS = (
    "citeAs", "column", "equivalentProperty", "extract", "field", "fileObject", "fileProperty", "fileSet", "format",
    "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex",
    "repeated", "replace", "samplingRate", "separator", "source", "subField", "transform",
)  # fmt: skip
_ENCODINGS = {
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "jsonl": "application/jsonlines",
    "parquet": "application/x-parquet",
}
# DuckDB's types; integers and decimals by the start of their names.
_TYPES = {
    "BOOLEAN": "sc:Boolean",
    "FLOAT": "sc:Float",
    "DOUBLE": "sc:Float",
    "DATE": "sc:Date",
    "TIME": "sc:Time",
    "VARCHAR": "sc:Text",
    "UUID": "sc:Text",
    "BLOB": "sc:Text",
    "JSON": "sc:Text",
}
_INTEGERS = {
    f"{sign}{size}" for sign in ("", "U") for size in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
}


def named_files(entries: Iterable[Entry]) -> list[str]:
    """The paths of the files that are named one by one, and whose SHA-256 is needed."""
    return [entry.path for entry in _split(entries)[0] if _recorded(entry) is None]


def croissant_dataset(extent: Extent, version: VersionRecord, contents: Contents) -> dict[str, Any]:
    """The JSON-LD document; `contents` has to have the SHA-256 of the `named_files`."""
    named, sets = _split(contents.entries)
    base = f"art://{version.version_id}"
    distribution = [_file(entry, base, contents) for entry in named]
    if sets:
        distribution.append(_manifest(version, base, contents))
        distribution += [_set(pattern, members) for pattern, members in sets.items()]
    places = {entry.path: {"fileObject": {"@id": _id(entry.path)}} for entry in named}
    tables = [
        table for table in contents.tables if table.path in places and table.has_names and table.is_plain
    ]
    document: dict[str, Any] = {
        "@context": _context(),
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": version.collection,
        "description": version.description or f"{version.short} of {version.project}",
        "url": base,
        "identifier": version.digest and f"blake3:{version.digest}",
        "version": f"{version.number.removeprefix('v')}.0.0",  # of three numbers, as Croissant asks for
        "alternateName": version.version_id,
        "keywords": list(version.tags) or None,
        "dateCreated": version.created_at,
        "datePublished": version.created_at,
        "license": texts_of(version.metadata.get("license")),
        "citeAs": _citation(version.metadata.get("citation")),
        "creator": version.user and {"@type": "sc:Person", "name": version.user},
        "isBasedOn": [f"art://{edge.version_id}" for edge in extent.inputs_of(version.version_id)] or None,
        "distribution": distribution,
        "recordSet": [_record_set(table, places[table.path]) for table in tables] or None,
    }
    return {key: value for key, value in document.items() if value}


def _citation(value: Any) -> str | None:
    found = texts_of(value)
    return "\n".join(found) if isinstance(found, list) else found


def _context() -> dict[str, Any]:
    """What the short names stand for: Croissant has them in every document."""
    return {
        "@language": "en",
        "@vocab": "https://schema.org/",
        "cr": "http://mlcommons.org/croissant/",
        "dct": "http://purl.org/dc/terms/",
        "rai": "http://mlcommons.org/croissant/RAI/",
        "sc": "https://schema.org/",
        "conformsTo": "dct:conformsTo",
        "data": {"@id": "cr:data", "@type": "@json"},
        "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
        "examples": {"@id": "cr:examples", "@type": "@json"},
        **{term: f"cr:{term}" for term in _CROISSANT_TERMS},
    }


def _split(entries: Iterable[Entry]) -> tuple[list[Entry], dict[str, list[Entry]]]:
    """Files that are named one by one, and sets of files by their patterns."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.kind in ("file", "executable", "reference"):
            groups.setdefault(_pattern(entry.path), []).append(entry)
    named: list[Entry] = []
    sets: dict[str, list[Entry]] = {}
    for pattern, members in groups.items():
        for entry in members:
            is_elsewhere = entry.kind == "reference" and _recorded(entry) is None
            is_table = table_format(entry.path) is not None
            if is_elsewhere or (len(members) >= SET_FILES and not is_table):
                sets.setdefault(pattern, []).append(entry)
            else:
                named.append(entry)
    return named, sets


def _pattern(path: str) -> str:
    """The files of one ending in one folder."""
    folder, slash, name = path.rpartition("/")
    stem, dot, ending = name.rpartition(".")
    return f"{glob.escape(folder)}{slash}*{f'.{glob.escape(ending)}' if dot and stem else ''}"


def _recorded(entry: Entry) -> tuple[str, str] | None:
    """A reference's checksum of a kind that Croissant knows, in hexadecimal digits; object stores give it in base64."""
    kind, _, value = (entry.checksum or "").partition(":")
    digits = {"sha256": 64, "md5": 32}.get(kind)
    if digits is None or entry.kind != "reference":
        return None
    try:
        text = value if len(value) == digits else base64.b64decode(value, validate=True).hex()
    except ValueError:  # the checksum of checksums of an upload in parts
        return None
    return (kind, text) if len(text) == digits else None


def _id(path: str) -> str:
    """The path as a relative reference, for a JSON-LD id is one."""
    return quote(path)


def _set_id(pattern: str) -> str:
    return f"{_id(pattern)}!set"


def _file(entry: Entry, base: str, contents: Contents) -> dict[str, Any]:
    url = mask_address(entry.target or "") if entry.kind == "reference" else f"{base}/{quote(entry.path)}"
    kind, checksum = _recorded(entry) or ("sha256", contents.sha256[entry.path])
    found = {
        "@type": "cr:FileObject",
        "@id": _id(entry.path),
        "name": entry.path,
        "contentUrl": url,
        "contentSize": None if entry.size_bytes is None else f"{entry.size_bytes} B",
        "encodingFormat": _encoding(entry.path),
        kind: checksum,
    }
    return {key: value for key, value in found.items() if value is not None}


def _manifest(version: VersionRecord, base: str, contents: Contents) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": _MANIFEST,
        "name": version.short,
        "description": "The version as a whole, stood for by its manifest: one line of JSON per file.",
        "contentUrl": base,
        "contentSize": f"{contents.manifest_bytes} B",
        "encodingFormat": "application/jsonlines",
        "sha256": contents.manifest_sha256,
    }


def _set(pattern: str, members: Sequence[Entry]) -> dict[str, Any]:
    sizes = [entry.size_bytes for entry in members if entry.size_bytes is not None]
    size = f", {sum(sizes)} bytes" if len(sizes) == len(members) else ""
    return {
        "@type": "cr:FileSet",
        "@id": _set_id(pattern),
        "name": pattern,
        "description": f"{len(members)} files{size}",
        "containedIn": {"@id": _MANIFEST},
        "encodingFormat": _encoding(members[0].path),
        "includes": pattern,
    }


def _encoding(path: str) -> str:
    found = table_format(path)
    if found is not None:
        return _ENCODINGS[found]
    return mimetypes.guess_type(path, strict=False)[0] or "application/octet-stream"


def _record_set(table: Table, place: Mapping[str, Any]) -> dict[str, Any]:
    name = f"{_id(table.path)}!rows"
    fields = [_field(name, column, place) for column in table.columns]
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": table.path,
        "field": [field for field in fields if field is not None],
    }


def _field(record_set: str, column: Column, place: Mapping[str, Any]) -> dict[str, Any] | None:
    type_name = column.type.removesuffix("[]")
    data_type = _data_type(type_name)
    if data_type is None:
        return None
    found: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{record_set}/{quote(column.name, safe='')}",
        "name": column.name,
        "dataType": data_type,
        "source": {**place, "extract": {"column": column.name}},
    }
    if type_name != column.type:
        found["repeated"] = True
    return found


def _data_type(type_name: str) -> str | None:
    if type_name in _INTEGERS:
        return "sc:Integer"
    if type_name.startswith("DECIMAL"):
        return "sc:Float"
    if type_name.startswith("TIMESTAMP"):
        return "sc:DateTime"
    if type_name.startswith("ENUM"):
        return "sc:Text"
    return _TYPES.get(type_name)
