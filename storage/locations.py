"""Where objects lie, as far as this machine knows: a cache over the packs' trailers.

A row is a hint. Before a new version relies on an object found here, the pack is confirmed to exist
(`Objects.confirm`); what is read through a row is verified like everything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .database import Database
from .pack import PackedObject

_SCHEMA = """
CREATE TABLE IF NOT EXISTS packs(id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, size_bytes INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS objects(
    digest BLOB PRIMARY KEY, pack INTEGER NOT NULL, offset INTEGER NOT NULL,
    stored_bytes INTEGER NOT NULL, raw_bytes INTEGER NOT NULL, codec INTEGER NOT NULL) WITHOUT ROWID;
"""
_BATCH = 500  # host parameters in one statement; SQLite's old limit is 999


@dataclass(frozen=True, slots=True)
class Location:
    """Where one object lies and how."""

    pack: bytes
    offset: int
    stored_bytes: int
    raw_bytes: int
    codec: int


class Locations:
    """The location cache of one store, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._database = Database(folder / "locations.sqlite", _SCHEMA, version=1)

    def find(self, digests: Iterable[bytes]) -> dict[bytes, Location]:
        """The locations that are known; unknown digests are absent."""
        wanted, found = list(digests), {}
        for start in range(0, len(wanted), _BATCH):
            batch = wanted[start : start + _BATCH]
            rows = self._database.query(
                "SELECT o.digest, p.digest, o.offset, o.stored_bytes, o.raw_bytes, o.codec"
                " FROM objects o JOIN packs p ON p.id = o.pack"
                f" WHERE o.digest IN ({','.join('?' * len(batch))})",
                batch,
            )
            for row in rows:
                found[row[0]] = Location(*row[1:])
        return found

    def known_packs(self, packs: Iterable[bytes]) -> set[bytes]:
        """Those of `packs` whose objects are in the cache."""
        return {
            pack
            for pack in set(packs)
            if self._database.query("SELECT 1 FROM packs WHERE digest = ?", (pack,))
        }

    def add(self, pack: bytes, size_bytes: int, objects: Sequence[PackedObject]) -> None:
        """Remember a pack of `size_bytes` and where its objects lie; a location known before stays."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO packs(digest, size_bytes) VALUES(?, ?)", (pack, size_bytes)
            )
            number = connection.execute("SELECT id FROM packs WHERE digest = ?", (pack,)).fetchone()[0]
            connection.executemany(
                "INSERT OR IGNORE INTO objects VALUES(?, ?, ?, ?, ?, ?)",
                [(o.digest, number, o.offset, o.stored_bytes, o.raw_bytes, o.codec) for o in objects],
            )

    def forget(self, pack: bytes) -> None:
        """Drop a pack that is gone from the store."""
        with self._database.transaction() as connection:
            number = "(SELECT id FROM packs WHERE digest = ?)"
            connection.execute(f"DELETE FROM objects WHERE pack IN {number}", (pack,))
            connection.execute("DELETE FROM packs WHERE digest = ?", (pack,))

    def close(self) -> None:
        """Close this thread's connection."""
        self._database.close()
