"""Which version brought a file its present content: the history of a path, of a folder's files, of parts of a file.

Walks back from a version through the older live ones of its collection. A path is found by bisection of each stored
manifest, a folder by the differences of neighbours, so that no manifest but the newest is read as a whole. A file that
was moved is followed. Parts are row groups of Parquet files or the chunks that large files are stored in.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blake3 import blake3

from ..artifacts.manifest import Entry, parse_line, seek_path
from ..artifacts.stored_diff import diff_stored
from ..artifacts.version import Version
from ..storage.digest import parse_hex
from ..storage.errors import IntegrityError, UsageError
from .catalog import Catalog, quoted
from .schema import LOG_TIME

_TAIL_BYTES = 8  # of a Parquet file: the length of its footer, and the mark
_MARK = b"PAR1"
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Stretch:
    """Versions one after the other in which a path has the same content; `entry` is None where it was not there."""

    first: Version
    last: Version
    entry: Entry | None


@dataclass(frozen=True, slots=True)
class Part:
    """Some bytes of a file, and the version that brought them. `rows` for a row group."""

    index: int
    offset: int
    size_bytes: int
    rows: int | None
    origin: Version


@dataclass(frozen=True, slots=True)
class Logged:
    """Who made a version, with which run and commit."""

    run: str | None
    run_name: str | None
    user: str | None
    host: str | None
    time: str | None
    commit: str | None


def path_history(versions: Sequence[Version], path: str) -> list[Stretch]:
    """The contents of `path`, newest first, in `versions` (oldest first, the last one has it).

    Raises: NotFoundError with the nearest paths; IntegrityError, CommError.
    """
    newer = versions[-1]
    found: Entry | None = newer.entry(path)
    stretches = [Stretch(newer, newer, found)]
    for older in reversed(versions[:-1]):
        if older.state.digest == newer.state.digest:
            entry = stretches[-1].entry
        else:
            entry = older.find(path)
            if entry is None and stretches[-1].entry is not None:
                entry = _moved_from(older, newer, path)
                path = path if entry is None else entry.path
        last = stretches[-1]
        if _content(entry) == _content(last.entry):
            stretches[-1] = Stretch(older, last.last, entry)
        else:
            stretches.append(Stretch(older, older, entry))
        newer = older
    while stretches[-1].entry is None:  # before it came
        stretches.pop()
    return stretches


def _content(entry: Entry | None) -> tuple[Any, ...] | None:
    """All of an entry but its path."""
    if entry is None:
        return None
    return (
        entry.kind, entry.digest, entry.size_bytes, entry.target, entry.etag, entry.version_id, entry.checksum
    )  # fmt: skip


def _moved_from(older: Version, newer: Version, path: str) -> Entry | None:
    for change in diff_stored(older, newer).changes:
        if change.after is not None and change.after.path == path:
            return change.before
    return None


def folder_origins(versions: Sequence[Version], prefix: str | None) -> list[tuple[Entry, Version]]:
    """Each entry at or below `prefix` in the last of `versions`, and the version that brought it as it is.

    Raises: NotFoundError, IntegrityError, CommError.
    """
    newest = versions[-1]
    entries = _entries_below(newest, prefix)
    waiting = {entry.path: entry.path for entry in entries}  # path in the version looked at → in the newest
    origins: dict[str, Version] = {}
    newer = newest
    for older in reversed(versions[:-1]):
        if not waiting:
            break
        if older.state.digest != newer.state.digest:
            moved: dict[str, str] = {}
            for change in diff_stored(older, newer).changes:
                if change.after is None or change.after.path not in waiting:
                    continue
                final = waiting.pop(change.after.path)
                if change.what == "moved" and change.before is not None:
                    moved[change.before.path] = final
                else:
                    origins[final] = newer
            waiting |= moved
        newer = older
    origins |= dict.fromkeys(waiting.values(), versions[0])
    return [(entry, origins[entry.path]) for entry in entries]


def _entries_below(version: Version, prefix: str | None) -> list[Entry]:
    """Those at or below a folder, read from its first line on; the whole manifest where there is none to name it."""
    folder = (prefix or "").rstrip("/")
    if not folder:
        return list(version.manifest.values())
    found = []
    with version.open_manifest() as stream:
        seek_path(stream, f"{folder}/")
        while line := stream.readline():
            entry = parse_line(line)
            if not entry.path.startswith(f"{folder}/"):
                break
            found.append(entry)
    return found or version.manifest.under(prefix)


def chunk_origins(history: Sequence[Stretch]) -> list[Part]:
    """The chunks that the newest content of `history` is stored in, and the version that brought each."""
    contents = list(_contents(history))
    parts = [_chunks(stretch) for stretch in contents]
    known = [{digest for digest, _ in chunks} for chunks in parts]
    found, offset = [], 0
    for index, (digest, length) in enumerate(parts[0]):
        oldest = _reach(len(contents), lambda level, digest=digest: digest in known[level])
        found.append(Part(index, offset, length, None, contents[oldest].first))
        offset += length
    return found


def row_group_origins(history: Sequence[Stretch]) -> list[Part]:
    """The row groups of a Parquet file, and the version that brought the bytes of each.

    Only row groups with the same number of rows and bytes are read and compared.
    Raises: UsageError when the newest content is no Parquet file; IntegrityError, CommError.
    """
    files = [_Parquet(stretch) for stretch in _contents(history)]
    if files[0].groups is None:
        entry = history[0].entry
        raise UsageError(
            f"path {entry.path if entry else ''!r} is no Parquet file; --chunks shows parts of any file"
        )
    try:
        found = []
        for index, (rows, offset, length) in enumerate(files[0].groups):
            oldest = _reach(
                len(files),
                lambda level, index=index: level == 0 or files[level].has_group_of(files[0], index),
            )
            found.append(Part(index, offset, length, rows, files[oldest].stretch.first))
        return found
    finally:
        for file in files:
            file.close()


def _contents(history: Sequence[Stretch]) -> Iterator[Stretch]:
    """The stretches in which there is a file, back to where there was none."""
    for stretch in history:
        if stretch.entry is None or stretch.entry.digest is None:
            return
        yield stretch


def _reach(count: int, has: Any) -> int:
    """How far back, without a break, something is there."""
    level = 0
    while level + 1 < count and has(level + 1):
        level += 1
    return level


def _chunks(stretch: Stretch) -> list[tuple[bytes, int]]:
    assert stretch.entry is not None
    assert stretch.entry.digest is not None
    return list(stretch.first.store.objects.pieces(parse_hex(stretch.entry.digest), stretch.first.packs))


class _Parquet:
    """One content of the file: its row groups from the footer, their digests when they are asked for."""

    def __init__(self, stretch: Stretch) -> None:
        assert stretch.entry is not None
        self.stretch = stretch
        self._stream = stretch.first.open(stretch.entry.path)
        self._digests: dict[int, bytes] = {}
        self.groups = self._read_groups(stretch.entry.size_bytes or 0)

    def close(self) -> None:
        self._stream.close()

    def has_group_of(self, other: _Parquet, index: int) -> bool:
        """Whether a row group of `other` is here with the same bytes, wherever it stands."""
        assert other.groups is not None
        rows, _, length = other.groups[index]
        return any(
            (r, n) == (rows, length) and self._digest(at) == other._digest(index)
            for at, (r, _, n) in enumerate(self.groups or ())
        )

    def _digest(self, index: int) -> bytes:
        if index not in self._digests:
            assert self.groups is not None
            _, offset, left = self.groups[index]
            hasher = blake3()  # of bytes that were verified when they were read
            self._stream.seek(offset)
            while left and (data := self._stream.read(min(left, _READ_BYTES))):
                hasher.update(data)
                left -= len(data)
            self._digests[index] = hasher.digest()
        return self._digests[index]

    def _read_groups(self, size_bytes: int) -> list[tuple[int, int, int]] | None:
        """Rows, offset and length of each row group; None for a file that is not Parquet."""
        if size_bytes < 2 * _TAIL_BYTES:
            return None
        self._stream.seek(size_bytes - _TAIL_BYTES)
        tail = self._stream.read(_TAIL_BYTES)
        length = int.from_bytes(tail[:4], "little") + _TAIL_BYTES
        if tail[4:] != _MARK or length > size_bytes:
            return None
        self._stream.seek(size_bytes - length)
        return _groups_of_footer(self._stream.read(length), size_bytes)


def _groups_of_footer(footer: bytes, size_bytes: int) -> list[tuple[int, int, int]] | None:
    """DuckDB reads nothing but the footer: it is given a file of the right length that has no more than that."""
    import duckdb

    with tempfile.TemporaryDirectory(prefix="lineart-blame-") as folder:
        path = Path(folder, "footer.parquet")
        with path.open("wb") as file:
            file.write(_MARK)
            file.seek(size_bytes - len(footer))  # a hole
            file.write(footer)
        query = (
            "SELECT row_group_num_rows,"
            " min(least(coalesce(nullif(dictionary_page_offset, 0), data_page_offset), data_page_offset)),"
            f" sum(total_compressed_size) FROM parquet_metadata({quoted(str(path))})"
            " GROUP BY row_group_id, row_group_num_rows ORDER BY row_group_id"
        )
        try:
            with duckdb.connect(":memory:") as connection:
                rows = connection.execute(query).fetchall()
        except duckdb.Error:
            return None
    groups = [(int(rows), int(offset), int(length)) for rows, offset, length in rows]
    if any(offset < 0 or length < 0 or offset + length > size_bytes for _, offset, length in groups):
        raise IntegrityError("the footer of a Parquet file names bytes behind its end; the file is damaged")
    return groups


def logged_by(catalog: Catalog, versions: Sequence[Version]) -> Mapping[str, Logged]:
    """Who made each of `versions`, by its full name."""
    names = sorted({str(version.name) for version in versions})
    records = catalog.records(
        "SELECT v.version_id, v.run_id, r.name, v.user_name, v.host,"
        f" {LOG_TIME.format('v.created_at')} AS time, r.capture -> 'git' ->> 'commit' AS commit"
        " FROM versions v LEFT JOIN runs r ON r.run_id = v.run_id"
        " WHERE v.version_id IN (SELECT unnest(?::VARCHAR[]))",
        [names],
    )
    return {
        row["version_id"]: Logged(
            row["run_id"], row["name"], row["user_name"], row["host"], row["time"], row["commit"]
        )
        for row in records
    }
