"""The files of one version, with what an export has to read of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import IO

from ...artifacts.manifest import Entry
from ...artifacts.references import References
from ...artifacts.version import Version
from .tables import Opener, Table, read_tables

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Contents:
    """Entries of a version, and of some of its files the SHA-256 and the columns."""

    entries: tuple[Entry, ...]
    manifest_bytes: int = 0
    manifest_sha256: str = ""
    sha256: Mapping[str, str] = field(default_factory=dict)  # by path
    tables: tuple[Table, ...] = ()


def read_contents(version: Version) -> Contents:
    """The entries of a version's manifest, no file's bytes. Raises: IntegrityError, NotFoundError, CommError."""
    data = version.manifest.encode()
    return Contents(tuple(version.manifest.values()), len(data), hashlib.sha256(data).hexdigest())


def look_into(
    contents: Contents, version: Version, hashed: Iterable[str], references: References
) -> Contents:
    """The same with the tables described, and the SHA-256 of the paths in `hashed`, whose bytes are read for it.

    Raises: IntegrityError, NotFoundError, CommError, ReferenceChangedError.
    """

    def opened(path: str) -> IO[bytes]:
        return version.open(path, references=references)

    return replace(
        contents,
        sha256=_hashes(opened, contents.entries, hashed),
        tables=tuple(read_tables(contents.entries, opened)),
    )


def _hashes(opened: Opener, entries: Sequence[Entry], paths: Iterable[str]) -> dict[str, str]:
    by_path = {entry.path: entry for entry in entries}
    found: dict[str, str] = {}
    known: dict[str, str] = {}  # files with the same bytes are read once
    for path in paths:
        digest = by_path[path].digest
        if digest is not None and digest in known:
            found[path] = known[digest]
            continue
        hasher = hashlib.sha256()
        with opened(path) as stream:
            while block := stream.read(_BLOCK):
                hasher.update(block)
        found[path] = hasher.hexdigest()
        if digest is not None:
            known[digest] = found[path]
    return found
