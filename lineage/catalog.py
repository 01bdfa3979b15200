"""The catalog: DuckDB tables in memory, projected from the logs of some projects. Thrown away after use.

It is loaded from the newest Parquet checkpoint of each project plus the log's tail; a reader that met a long tail
leaves a checkpoint for the next one. Nobody else writes it, nobody locks it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from ..artifacts.names import ProjectName
from ..storage.digest import digest_of, is_hex_digest
from ..storage.errors import Error, IntegrityError, UsageError
from ..storage.log import Position
from ..storage.sealed import check_seal, seal
from ..storage.store import Store, project_prefix
from ..storage.transaction import canonical_json
from .facts import SCHEMA_VERSION, TABLES, Facts
from .schema import PUBLIC, VIEWS, base_tables

if TYPE_CHECKING:
    import duckdb

# Where a version may be named that was left in another store: ``~<origin>/entity/project/collection:vN``.
_NAMED = (
    ("uses", "version_id"),
    ("productions", "version_id"),
    ("derivations", "input_id"),
    ("derivations", "output_id"),
    ("version_links", "source_id"),
)

MARKER_LIMIT_BYTES = 1 << 20
CHECKPOINT_TAIL = 2000  # transactions; reading as many takes about 0.1 s from a local disk


class Catalog:
    """The facts of the given projects of a store, as SQL. Used by one thread."""

    def __init__(
        self,
        store: Store,
        projects: Iterable[ProjectName],
        disbelieved: Callable[[ProjectName], Collection[int]] | None = None,
    ) -> None:
        """`disbelieved` gives the positions of what moved an alias in a project and is not to be believed."""
        import duckdb

        self.store = store
        self.projects = sorted(set(projects), key=str)
        self._connection = duckdb.connect(":memory:", config={"threads": os.cpu_count() or 1})
        self._connection.execute("SET TimeZone = 'UTC'")  # what now() and TIMESTAMPTZ are compared with
        self._connection.execute(base_tables())
        self._positions: dict[ProjectName, Position] = {}
        self._disbelieved = disbelieved
        self.derived: dict[str, Any] = {}  # what others have worked out of the tables; gone when they change
        for project in self.projects:
            self._load(project)
        self._name_arrived()
        self._note_disbelieved()
        self._connection.execute(VIEWS)

    def refresh(self, projects: Iterable[ProjectName] = ()) -> None:
        """Take in what was committed since the last call, and those of `projects` that are new."""
        self.derived.clear()
        for project in self.projects:
            self._read_tail(project)
        new = sorted(set(projects) - set(self.projects), key=str)
        for project in new:
            self._load(project)
        self.projects = sorted([*self.projects, *new], key=str)
        self._name_arrived()
        self._note_disbelieved()

    def sql(
        self, query: str, parameters: Sequence[object] | Mapping[str, object] | None = None
    ) -> duckdb.DuckDBPyRelation:
        """A DuckDB relation for a query over the documented tables. Raises: UsageError with DuckDB's reason."""
        import duckdb

        try:
            relation: duckdb.DuckDBPyRelation | None = self._connection.sql(query, params=parameters)
            if relation is None:  # no statement at all
                return self._connection.sql("SELECT 'ok' AS result")
            # At once: what fails while it runs fails here, and a refresh does not change the answer.
            return relation.materialize()
        except duckdb.Error as error:
            raise UsageError(f"sql: {' '.join(str(error).split())}") from error

    def rows(
        self, query: str, parameters: Sequence[object] | Mapping[str, object] = ()
    ) -> list[tuple[Any, ...]]:
        """All rows of a query of our own."""
        with _own_query():
            return self._connection.execute(query, parameters).fetchall()

    def records(self, query: str, parameters: Sequence[object] = ()) -> list[dict[str, Any]]:
        """All rows of a query of our own, by column name."""
        with _own_query():
            cursor = self._connection.execute(query, parameters)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def export(self, target: Path) -> None:
        """Write a copy of the documented tables: a `.duckdb` file, or a folder with a Parquet file for each.

        Raises: UsageError when it exists or cannot be written.
        """
        import duckdb

        if target.exists():
            raise UsageError(f"{target} exists; choose a new file or folder")
        # Beside it first: what is broken off leaves no copy that looks whole.
        unfinished = target.with_name(f".{target.name}~{uuid.uuid4().hex}")
        try:
            if target.suffix == ".duckdb":
                self._export_database(unfinished)
            else:
                self._export_parquet(unfinished)
            unfinished.rename(target)
        except (duckdb.Error, OSError) as error:
            said = " ".join(str(error).split())
            raise UsageError(f"export to {target}: {said}; choose another place") from error
        finally:
            _remove(unfinished)

    def _export_database(self, path: Path) -> None:
        self._connection.execute(f"ATTACH {quoted(str(path))} AS copy")
        try:
            for table in PUBLIC:
                self._connection.execute(f"CREATE TABLE copy.{table} AS FROM memory.{table}")
        finally:
            self._connection.execute("DETACH copy")

    def _export_parquet(self, folder: Path) -> None:
        folder.mkdir()
        for table in PUBLIC:
            path = quoted(str(folder / f"{table}.parquet"))
            self._connection.execute(f"COPY (FROM {table}) TO {path} (FORMAT parquet, COMPRESSION zstd)")

    def close(self) -> None:
        """Free the memory."""
        self._connection.close()

    def _load(self, project: ProjectName) -> None:
        self._positions[project] = self._load_checkpoint(project)
        read = self._read_tail(project)
        self.store.log(project_prefix(project.entity, project.project)).demand_no_hole(
            self._positions[project]
        )
        if read >= CHECKPOINT_TAIL:
            import duckdb

            try:
                self._write_checkpoint(project)
            except (Error, OSError, duckdb.Error):
                return  # advisory: a read-only store or a full disk is answered all the same

    def _name_arrived(self) -> None:
        """Call versions that were left in another store, and have been copied since, by their names here."""
        if not self.rows("SELECT 1 FROM version_origins LIMIT 1"):
            return
        for table, column in _NAMED:
            self._connection.execute(
                f"UPDATE {table} SET {column} = o.version_id FROM version_origins o"
                f" WHERE starts_with({table}.{column}, '~')"
                f" AND o.origin = substr(split_part({table}.{column}, '/', 1), 2)"
            )

    def _note_disbelieved(self) -> None:
        if self._disbelieved is None:
            return
        with_promotions = (
            "SELECT project FROM alias_protections UNION SELECT project FROM promotion_decisions"
        )
        self._connection.execute("DELETE FROM disbelieved_moves")
        for (project,) in self.rows(with_promotions):
            positions = sorted(self._disbelieved(ProjectName(*project.split("/", 1))))
            given = "SELECT ?, unnest(?::BIGINT[])"
            self._connection.execute(f"INSERT INTO disbelieved_moves {given}", [project, positions])

    def _read_tail(self, project: ProjectName) -> int:
        log = self.store.log(project_prefix(project.entity, project.project))
        entries = list(log.read_after(self._positions[project]))
        if not entries:
            return 0
        facts = Facts()
        facts.add(str(project), (entry.transaction for entry in entries))
        insert_facts(self._connection, facts)
        self._positions[project] = entries[-1].position
        return len(entries)

    # Checkpoints

    def _load_checkpoint(self, project: ProjectName) -> Position:
        prefix = project_prefix(project.entity, project.project)
        folder, log = f"{prefix}checkpoints/", self.store.log(prefix)
        for name in reversed(self.store.backend.folders(folder)):
            try:
                data = self.store.backend.read(f"{folder}{name}/catalog.json", 0, MARKER_LIMIT_BYTES)
                marker = decode_marker(data, int(name))
                if marker.is_current and log.holds(marker.position):
                    self._insert_parquet(f"{folder}{name}/catalog/", marker)
                    return marker.position
            except (Error, ValueError):
                continue  # advisory: the log from its start says the same
        return Position()

    def _insert_parquet(self, folder: str, marker: Marker) -> None:
        import duckdb

        self._connection.execute("BEGIN")
        try:
            for table in TABLES:
                data = self.store.backend.local_path(f"{folder}{table}.parquet")
                if data is not None:
                    marker.check(table, digest_of_file(data))
                    self._copy_in(table, data)
                    continue
                with tempfile.TemporaryDirectory() as temporary:
                    path = Path(temporary, "table.parquet")
                    content = self.store.backend.read(f"{folder}{table}.parquet")
                    marker.check(table, digest_of(content).hex())
                    path.write_bytes(content)
                    self._copy_in(table, path)
        except duckdb.Error as error:
            self._connection.execute("ROLLBACK")
            raise IntegrityError(f"checkpoint {folder}: {error}") from error
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def _copy_in(self, table: str, path: Path) -> None:
        columns = ", ".join(TABLES[table])
        self._connection.execute(
            f"INSERT INTO {table} SELECT {columns} FROM read_parquet({quoted(str(path))})"
        )

    def _write_checkpoint(self, project: ProjectName) -> None:
        """Parquet first, the marker last: a half-written checkpoint has none and is ignored."""
        position = self._positions[project]
        folder = f"{project_prefix(project.entity, project.project)}checkpoints/{position.seq:012}/"
        staging = self.store.backend.staging()
        digests = {}
        for table in TABLES:
            path = staging / f"{os.getpid()}~{project.project}-{position.seq}-{table}.parquet"
            query = f"SELECT * FROM {table} WHERE project = {quoted(str(project))} ORDER BY position"
            self._connection.execute(
                f"COPY ({query}) TO {quoted(str(path))} (FORMAT parquet, COMPRESSION zstd)"
            )
            digests[table] = digest_of_file(path)
            self.store.backend.write_file(f"{folder}catalog/{table}.parquet", path)
        marker = Marker(SCHEMA_VERSION, position, digests)
        self.store.backend.write(f"{folder}catalog.json", marker.encode())


@dataclass(frozen=True, slots=True)
class Marker:
    """`catalog.json`: says that the Parquet files of a checkpoint are complete, and what their bytes hash to."""

    schema: int
    position: Position
    digests: Mapping[str, str]  # table → BLAKE3 of its file

    @property
    def is_current(self) -> bool:
        """Whether this version of Lineart has the same tables."""
        return self.schema == SCHEMA_VERSION and set(self.digests) == set(TABLES)

    def encode(self) -> bytes:
        """The bytes of the marker."""
        value = {
            "schema": self.schema,
            "seq": self.position.seq,
            "head": self.position.digest,
            "tables": dict(self.digests),
        }
        return seal(canonical_json(value))

    def check(self, table: str, digest: str) -> None:
        """Raises: IntegrityError when `digest` is not that of the file of `table`."""
        if self.digests.get(table) != digest:
            raise IntegrityError(f"{table}.parquet: it hashes to {digest[:12]}, expected another digest")


def decode_marker(data: bytes, seq: int) -> Marker:
    """The marker of the checkpoint after transaction `seq`. Raises: IntegrityError."""
    try:
        check_seal(data)
        found = json.loads(data)
        digests = dict.fromkeys(found["tables"], "") | (
            dict(found["tables"]) if isinstance(found["tables"], dict) else {}
        )
        if found["seq"] != seq or not is_hex_digest(found["head"]) or not isinstance(found["schema"], int):
            raise ValueError(f"it is not that of transaction {seq}")
        return Marker(found["schema"], Position(seq, found["head"]), digests)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, IntegrityError) as error:
        raise IntegrityError(f"catalog.json: {str(error)[:200]}") from error


@contextlib.contextmanager
def _own_query() -> Iterator[None]:
    """What fails in a query of our own fails for what a forged log has put into a table."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        said = " ".join(str(error).split())[:300]
        raise IntegrityError(
            f"catalog: the log has a value that none of our clients writes ({said})"
        ) from error


def insert_facts(connection: duckdb.DuckDBPyConnection, facts: Facts) -> None:
    """Put rows into the base tables. Raises: IntegrityError for values that no client of ours writes."""
    import duckdb

    for table, columns in facts.columns.items():
        cells = list(columns.values())
        if cells[0]:
            values = ", ".join(f"unnest(?::{kind}[])" for kind in TABLES[table].values())
            try:
                connection.execute(f"INSERT INTO {table} SELECT {values}", cells)
            except (duckdb.Error, OverflowError, UnicodeEncodeError) as error:
                raise IntegrityError(
                    f"the log has a value that is none for the table {table} ({str(error).splitlines()[0][:200]})"
                ) from error


def digest_of_file(path: Path) -> str:
    """The BLAKE3 of a file in hexadecimal digits. Raises: IntegrityError when it cannot be read."""
    try:
        return blake3().update_mmap(path).hexdigest()
    except OSError as error:
        raise IntegrityError(f"{path.name}: {error.strerror or error}") from error


def _remove(path: Path) -> None:
    """Take away what was left unfinished, if anything was."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    path.with_name(f"{path.name}.wal").unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def quoted(text: str) -> str:
    """`text` as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"
