"""What a verification has seen, in a database on this machine: packs, their objects, values that were found whole.

It bounds the memory of a verification (a store may have a hundred million objects), and an interrupted one goes on
from it. It is no cache of locations: readers do not look here, and nothing is taken from what they believe.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from .database import Database
from .locations import Location
from .pack import PackedObject

_SCHEMA = """
CREATE TABLE packs(
    id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, size_bytes INTEGER, depth INTEGER NOT NULL DEFAULT -1,
    checked_s REAL NOT NULL DEFAULT 0, listed INTEGER NOT NULL DEFAULT 0, is_broken INTEGER NOT NULL DEFAULT 0);
CREATE TABLE objects(
    digest BLOB NOT NULL, pack INTEGER NOT NULL, offset INTEGER NOT NULL, stored_bytes INTEGER NOT NULL,
    raw_bytes INTEGER NOT NULL, codec INTEGER NOT NULL, PRIMARY KEY(digest, pack)) WITHOUT ROWID;
CREATE INDEX objects_of_packs ON objects(pack);
CREATE TABLE needed(
    digest BLOB NOT NULL, pack INTEGER NOT NULL, is_piece INTEGER NOT NULL, PRIMARY KEY(pack, digest)) WITHOUT ROWID;
CREATE TABLE files(digest BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE whole(name TEXT PRIMARY KEY, checked_s REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE heads(prefix TEXT PRIMARY KEY, seq INTEGER NOT NULL, digest TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sessions(id INTEGER PRIMARY KEY, depth INTEGER NOT NULL, began_s REAL NOT NULL, ended_s REAL);
"""
_BATCH = 500


class Inventory:
    """One store's inventory. Used by one thread."""

    def __init__(self, folder: Path) -> None:
        self._database = Database(folder / "verification.sqlite", _SCHEMA, version=1)

    # Sessions

    def begin(self, depth: int, began_s: float) -> int:
        """Start a verification; forgets what the last one needed and listed."""
        self.forget_listing()
        with self._database.transaction() as connection:
            cursor = connection.execute("INSERT INTO sessions(depth, began_s) VALUES(?, ?)", (depth, began_s))
            return int(cursor.lastrowid or 0)

    def forget_listing(self) -> None:
        """What was listed and needed so far is not true any more."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM needed")
            connection.execute("DELETE FROM files")
            connection.execute("UPDATE packs SET listed = 0")

    def end(self, session: int, ended_s: float) -> None:
        """Note that a verification came to its end."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE sessions SET ended_s = ? WHERE id = ?", (ended_s, session))

    def interrupted_s(self, depth: int) -> float | None:
        """When the first of the verifications began that have not come to their end since the last one that has."""
        rows = self._database.query(
            "SELECT min(began_s) FROM sessions WHERE depth >= ? AND ended_s IS NULL AND id >"
            " (SELECT coalesce(max(id), 0) FROM sessions WHERE depth >= ? AND ended_s IS NOT NULL)",
            (depth, depth),
        )
        found: float | None = rows[0][0]
        return found

    # Packs

    def list_packs(self, packs: Iterable[tuple[bytes, int]]) -> None:
        """Note packs that the store lists, with their size in bytes."""
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT INTO packs(digest, size_bytes, listed) VALUES(?, ?, 1) ON CONFLICT(digest) DO UPDATE SET"
                " listed = 1, depth = CASE WHEN size_bytes IS excluded.size_bytes THEN depth ELSE -1 END,"
                " size_bytes = excluded.size_bytes",
                packs,
            )

    def listed_packs(self) -> Iterator[tuple[bytes, int]]:
        """Digest and size in bytes of every pack that was listed, in the order of their digests."""
        after = b""
        while rows := self._database.query(
            "SELECT digest, size_bytes FROM packs WHERE listed AND digest > ? ORDER BY digest LIMIT ?",
            (after, _BATCH),
        ):
            yield from rows
            after = rows[-1][0]

    def size_of(self, pack: bytes) -> int | None:
        """The size in bytes of a pack that was listed, None for one that was not."""
        rows = self._database.query("SELECT size_bytes FROM packs WHERE listed AND digest = ?", (pack,))
        return int(rows[0][0]) if rows else None

    def is_checked(self, pack: bytes, depth: int, since_s: float) -> bool:
        """Whether a pack was found whole, at `depth` or a greater one, since a time."""
        rows = self._database.query(
            "SELECT 1 FROM packs WHERE digest = ? AND depth >= ? AND checked_s >= ?", (pack, depth, since_s)
        )
        return bool(rows)

    def add_pack(self, pack: bytes, size_bytes: int, objects: Sequence[PackedObject]) -> None:
        """Note the index of a pack in place of what was known of it."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO packs(digest, size_bytes) VALUES(?, ?)", (pack, size_bytes)
            )
            number = connection.execute("SELECT id FROM packs WHERE digest = ?", (pack,)).fetchone()[0]
            connection.execute("UPDATE packs SET is_broken = 0 WHERE id = ?", (number,))
            connection.execute("DELETE FROM objects WHERE pack = ?", (number,))
            connection.executemany(
                "INSERT OR IGNORE INTO objects VALUES(?, ?, ?, ?, ?, ?)",
                [(o.digest, number, o.offset, o.stored_bytes, o.raw_bytes, o.codec) for o in objects],
            )

    def mark_checked(self, pack: bytes, depth: int, checked_s: float) -> None:
        """Note that a pack was found whole."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE packs SET depth = ?, checked_s = ? WHERE digest = ?", (depth, checked_s, pack)
            )

    def drop_pack(self, pack: bytes) -> None:
        """A pack cannot be read: what was known of its objects is kept, for a repair, and not found any more."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE packs SET depth = -1, is_broken = 1 WHERE digest = ?", (pack,))

    def rows_of(self, pack: bytes) -> list[PackedObject]:
        """What is or was known of the objects of a pack, in the order in which they lie."""
        rows = self._database.query(
            "SELECT digest, raw_bytes, offset, stored_bytes, codec FROM objects"
            " WHERE pack = (SELECT id FROM packs WHERE digest = ?) ORDER BY offset",
            (pack,),
        )
        return [PackedObject(*row) for row in rows]

    def drop_objects(self, pack: bytes, digests: Iterable[bytes]) -> None:
        """Forget objects of a pack that are damaged there."""
        number = "(SELECT id FROM packs WHERE digest = ?)"
        with self._database.transaction() as connection:
            connection.executemany(
                f"DELETE FROM objects WHERE digest = ? AND pack = {number}",
                [(digest, pack) for digest in digests],
            )
            connection.execute("UPDATE packs SET depth = -1 WHERE digest = ?", (pack,))

    # Objects

    def places(
        self, digests: Collection[bytes], packs: Collection[bytes] | None = None
    ) -> dict[bytes, Location]:
        """One place of each of `digests` in `packs` (in any pack for None); those that have none are absent."""
        wanted, found = list(digests), dict[bytes, Location]()
        inside = None if packs is None else set(packs)
        for start in range(0, len(wanted), _BATCH):
            batch = wanted[start : start + _BATCH]
            rows = self._database.query(
                "SELECT o.digest, p.digest, o.offset, o.stored_bytes, o.raw_bytes, o.codec"
                " FROM objects o JOIN packs p ON p.id = o.pack"
                f" WHERE NOT p.is_broken AND o.digest IN ({','.join('?' * len(batch))})",
                batch,
            )
            for row in rows:
                if inside is None or row[1] in inside:
                    found.setdefault(row[0], Location(*row[1:]))
        return found

    def need(self, places: Iterable[tuple[bytes, Location]], *, as_pieces: bool) -> None:
        """Note that a version needs objects at these places, for themselves or as pieces of a large one."""
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT INTO needed SELECT ?, id, ? FROM packs WHERE digest = ?"
                " ON CONFLICT(pack, digest) DO UPDATE SET is_piece = min(is_piece, excluded.is_piece)",
                [(digest, as_pieces, at.pack) for digest, at in places],
            )

    def needed_packs(self) -> list[bytes]:
        """The packs in which something lies that a version needs for itself."""
        rows = self._database.query(
            "SELECT p.digest FROM packs p WHERE p.id IN (SELECT pack FROM needed WHERE NOT is_piece)"
            " ORDER BY p.digest"
        )
        return [row[0] for row in rows]

    def needed_of(self, pack: bytes) -> set[bytes]:
        """The objects of a pack that versions need there for themselves."""
        rows = self._database.query(
            "SELECT digest FROM needed WHERE NOT is_piece AND pack = (SELECT id FROM packs WHERE digest = ?)",
            (pack,),
        )
        return {row[0] for row in rows}

    def add_files(self, digests: Iterable[bytes]) -> None:
        """Note digests of files."""
        with self._database.transaction() as connection:
            connection.executemany("INSERT OR IGNORE INTO files VALUES(?)", [(digest,) for digest in digests])

    def file_count(self) -> int:
        """How many different files were noted."""
        return int(self._database.query("SELECT count(*) FROM files")[0][0])

    # Values

    def is_whole(self, name: str, since_s: float) -> bool:
        """Whether `mark_whole` was called for `name` since a time."""
        return bool(
            self._database.query("SELECT 1 FROM whole WHERE name = ? AND checked_s >= ?", (name, since_s))
        )

    def mark_whole(self, name: str, checked_s: float) -> None:
        """Note that something was found whole."""
        with self._database.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO whole VALUES(?, ?)", (name, checked_s))

    # Logs

    def head(self, prefix: str) -> tuple[int, str] | None:
        """Number and digest of the newest transaction of a log that any verification on this machine has seen."""
        rows = self._database.query("SELECT seq, digest FROM heads WHERE prefix = ?", (prefix,))
        return (int(rows[0][0]), str(rows[0][1])) if rows else None

    def note_head(self, prefix: str, seq: int, digest: str) -> None:
        """Note the newest transaction of a log."""
        with self._database.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO heads VALUES(?, ?, ?)", (prefix, seq, digest))

    def close(self) -> None:
        """Close the connection."""
        self._database.close()
