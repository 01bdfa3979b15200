"""Comparing two stored manifests without reading what they share.

Manifests are cut by content, so two versions of a large one share nearly all chunks. Only lines that touch a chunk
which the other side does not have are read; a path found on one side only is looked up on the other by bisection.
Ten edits among a million entries: 0.1 s instead of 10 s.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..storage.digest import parse_hex
from .diff import ManifestDiff, diff_entries, diff_manifests
from .manifest import Entry, find_entry, parse_line
from .version import Version

_SHARED_ENOUGH = 4  # read selectively when at most one chunk of four differs; else all at once is faster
_BACK_BYTES = 16 * 1024  # longer than nearly every line


def diff_stored(before: Version, after: Version) -> ManifestDiff:
    """What changed between two versions. Raises: IntegrityError, NotFoundError, CommError."""
    if before.state.digest == after.state.digest:
        return ManifestDiff((), after.state.file_count + after.state.reference_count)
    left, right = _pieces(before), _pieces(after)
    shared = {digest for digest, _ in left} & {digest for digest, _ in right}
    if len(shared) * _SHARED_ENOUGH < 3 * max(len(left), len(right)):
        return diff_manifests(before.manifest, after.manifest)
    with before.open_manifest() as old_stream, after.open_manifest() as new_stream:
        old = {entry.path: entry for entry in _unshared(old_stream, left, shared)}
        new = {entry.path: entry for entry in _unshared(new_stream, right, shared)}
        for path in old.keys() - new.keys():
            _add(new, find_entry(new_stream, path))
        for path in new.keys() - old.keys():
            _add(old, find_entry(old_stream, path))
    diff = diff_entries(old, new)
    touched = sum(change.after is not None and change.after.kind in _COUNTED for change in diff.changes)
    total = after.state.file_count + after.state.reference_count
    return replace(diff, unchanged=total - touched)


_COUNTED = ("file", "executable", "reference")


def _add(entries: dict[str, Entry], found: Entry | None) -> None:
    if found is not None:
        entries[found.path] = found


def _pieces(version: Version) -> Sequence[tuple[bytes, int]]:
    return version.store.objects.pieces(parse_hex(version.state.digest), version.packs)


def _unshared(
    stream: io.BufferedReader, pieces: Sequence[tuple[bytes, int]], shared: set[bytes]
) -> Iterator[Entry]:
    """The entries whose lines touch a piece that is not in `shared`, in order, each once."""
    position = done = 0
    for digest, length in pieces:
        end = position + length
        if digest not in shared:
            start = max(done, _line_start(stream, position))
            stream.seek(start)
            while start < end:
                line = stream.readline()
                start += len(line)
                yield parse_line(line)
            done = start
        position = end


def _line_start(stream: io.BufferedReader, position: int) -> int:
    """Where the line that holds the byte at `position` begins."""
    reach = _BACK_BYTES
    while True:
        start = max(0, position - reach)
        stream.seek(start)
        newline = stream.read(position - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        if start == 0:
            return 0
        reach *= 2
