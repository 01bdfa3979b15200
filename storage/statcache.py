"""What a local file's digest was when its size, times, inode and device were these: unchanged files are not read.

A row is trusted only if all five facts agree and the file had not been modified within 2 s before it was read:
within a clock tick a file can change again without a change of its times (the "racy" entries of git's index).
A file that is replaced by one with an older mtime (`cp -p`) has another inode or ctime.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .database import Database

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files(
    path BLOB PRIMARY KEY, size_bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL, device INTEGER NOT NULL, digest BLOB NOT NULL, seen_ns INTEGER NOT NULL) WITHOUT ROWID;
"""
RACY_NS = 2_000_000_000
_BEYOND = 1 << 63
_BATCH = 500
_Row = tuple[int, int, int, int, int, bytes, int]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The five facts that stand for a file's content, and its mode."""

    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int
    mode: int

    @classmethod
    def of(cls, found: os.stat_result) -> Fingerprint:
        """From `os.stat` or `os.fstat`."""
        return cls(
            found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev, found.st_mode
        )

    def same_content(self, other: Fingerprint) -> bool:
        """Whether the five facts agree; the mode is not content."""
        return (
            self.mtime_ns == other.mtime_ns
            and self.size_bytes == other.size_bytes
            and self.ctime_ns == other.ctime_ns
            and self.inode == other.inode
            and self.device == other.device
        )


class KnownFiles:
    """Rows of the stat cache, to be compared with what the files are now."""

    def __init__(self, rows: dict[bytes, _Row]) -> None:
        self._rows = rows

    def digest(self, path: str, now: Fingerprint) -> bytes | None:
        """The digest of the file at `path` if the cache can vouch for it, else None."""
        row = self._rows.get(os.fsencode(path))
        if row is None:
            return None
        size_bytes, mtime_ns, ctime_ns, inode, device, digest, seen_ns = row
        if (
            mtime_ns == now.mtime_ns
            and size_bytes == now.size_bytes
            and ctime_ns == now.ctime_ns
            and inode == now.inode
            and device == now.device
            and mtime_ns + RACY_NS <= seen_ns
        ):
            return digest
        return None


class StatCache:
    """Digests of local files, for all stores of a machine's user; paths are absolute."""

    def __init__(self, folder: Path) -> None:
        self._database = Database(folder / "files.sqlite", _SCHEMA, version=1)

    def lookup(self, paths: Sequence[str]) -> KnownFiles:
        """What is known about the files at `paths`."""
        rows: dict[bytes, _Row] = {}
        encoded = [os.fsencode(path) for path in paths]
        for start in range(0, len(encoded), _BATCH):
            batch = encoded[start : start + _BATCH]
            found = self._database.query(
                "SELECT path, size_bytes, mtime_ns, ctime_ns, inode, device, digest, seen_ns FROM files"
                f" WHERE path IN ({','.join('?' * len(batch))})",
                batch,
            )
            rows.update((row[0], row[1:]) for row in found)
        return KnownFiles(rows)

    def remember(self, files: Iterable[tuple[str, Fingerprint, bytes]], *, seen_ns: int) -> None:
        """Note the digests of files that were read or written at `seen_ns` (since the epoch) or later."""
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO files VALUES(?, ?, ?, ?, ?, ?, ?, ?)", _rows(files, seen_ns)
            )

    def close(self) -> None:
        """Close this thread's connection."""
        self._database.close()


def _rows(
    files: Iterable[tuple[str, Fingerprint, bytes]], seen_ns: int
) -> Iterator[tuple[bytes, int, int, int, int, int, bytes, int]]:
    for path, f, digest in files:
        facts = (f.size_bytes, f.mtime_ns, f.ctime_ns, f.inode, f.device)
        # What SQLite's integers cannot hold (a time after 2262, an inode of 64 bits) is read every time.
        if all(-_BEYOND <= fact < _BEYOND for fact in facts):
            yield os.fsencode(path), *facts, digest, seen_ns
