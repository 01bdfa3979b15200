"""Where objects lie, as far as this machine knows: a cache over the packs' trailers.

A row is a hint. Before a new version relies on an object found here, the pack is confirmed to exist
(`Objects.confirm`); what is read through a row is verified like everything else. An object may lie in several packs,
each with a row of its own: when one of them is collected, the others go on.

Beside them stand the final lists of the collection's plans that this machine has read: they never change.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .database import Database
from .pack import PackedObject

_SCHEMA = """
CREATE TABLE IF NOT EXISTS packs(id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, size_bytes INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS objects(
    digest BLOB NOT NULL, pack INTEGER NOT NULL, offset INTEGER NOT NULL, stored_bytes INTEGER NOT NULL,
    raw_bytes INTEGER NOT NULL, codec INTEGER NOT NULL, PRIMARY KEY(digest, pack)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS plans(id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS collected(pack BLOB PRIMARY KEY) WITHOUT ROWID;
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
        self._database = Database(folder / "locations.sqlite", _SCHEMA, version=2)

    def find(self, digests: Iterable[bytes], without: Container[bytes] = ()) -> dict[bytes, Location]:
        """The locations that are known, in packs that are not among `without`; unknown digests are absent."""
        found: dict[bytes, Location] = {}
        for digest, at in self._rows(list(digests)):
            if at.pack not in without:
                found.setdefault(digest, at)
        return found

    def places(self, digests: Sequence[bytes], packs: Container[bytes]) -> list[tuple[bytes, Location]]:
        """Every location of `digests` in one of `packs` that is known."""
        return [(digest, at) for digest, at in self._rows(digests) if at.pack in packs]

    def _rows(self, digests: Sequence[bytes]) -> Iterator[tuple[bytes, Location]]:
        for start in range(0, len(digests), _BATCH):
            batch = digests[start : start + _BATCH]
            rows = self._database.query(
                "SELECT o.digest, p.digest, o.offset, o.stored_bytes, o.raw_bytes, o.codec"
                " FROM objects o JOIN packs p ON p.id = o.pack"
                f" WHERE o.digest IN ({','.join('?' * len(batch))}) ORDER BY o.digest, o.pack",
                batch,
            )
            yield from ((row[0], Location(*row[1:])) for row in rows)

    def known_packs(self, packs: Iterable[bytes]) -> set[bytes]:
        """Those of `packs` whose objects are in the cache."""
        return {
            pack
            for pack in set(packs)
            if self._database.query("SELECT 1 FROM packs WHERE digest = ?", (pack,))
        }

    def add(self, pack: bytes, size_bytes: int, objects: Sequence[PackedObject]) -> None:
        """Remember a pack of `size_bytes` and where its objects lie."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO packs(digest, size_bytes) VALUES(?, ?)", (pack, size_bytes)
            )
            number = connection.execute("SELECT id FROM packs WHERE digest = ?", (pack,)).fetchone()[0]
            connection.executemany(
                "INSERT OR IGNORE INTO objects VALUES(?, ?, ?, ?, ?, ?)",
                [(o.digest, number, o.offset, o.stored_bytes, o.raw_bytes, o.codec) for o in objects],
            )

    def forget(self, packs: Collection[bytes]) -> None:
        """Drop packs that are gone from the store."""
        known = self.known_packs(packs)
        if not known:
            return
        with self._database.transaction() as connection:
            connection.execute("CREATE TEMP TABLE IF NOT EXISTS gone(digest BLOB PRIMARY KEY)")
            connection.executemany("INSERT OR IGNORE INTO gone VALUES(?)", [(pack,) for pack in known])
            numbers = "(SELECT id FROM packs WHERE digest IN (SELECT digest FROM gone))"
            connection.execute(f"DELETE FROM objects WHERE pack IN {numbers}")
            connection.execute("DELETE FROM packs WHERE digest IN (SELECT digest FROM gone)")
            connection.execute("DELETE FROM gone")

    def collected(self) -> tuple[set[str], set[bytes]]:
        """The plans whose final lists this machine has read, and the packs in them."""
        plans = {row[0] for row in self._database.query("SELECT id FROM plans")}
        return plans, {row[0] for row in self._database.query("SELECT pack FROM collected")}

    def note_collected(self, plans: Iterable[str], packs: Iterable[bytes]) -> None:
        """Remember final lists. All of `packs` are in them, and no other pack is."""
        with self._database.transaction() as connection:
            connection.executemany("INSERT OR IGNORE INTO collected VALUES(?)", [(pack,) for pack in packs])
            connection.executemany("INSERT OR IGNORE INTO plans VALUES(?)", [(plan,) for plan in plans])

    def close(self) -> None:
        """Close this thread's connection."""
        self._database.close()
