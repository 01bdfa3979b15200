"""Verifying the catalog's checkpoints: their tables against tables that are built from the log's first transaction."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..artifacts.names import ProjectName
from ..storage.errors import Error, IntegrityError
from ..storage.log import LogEntry, Position
from ..storage.problem import Problem
from ..storage.store import Store, project_prefix
from .catalog import MARKER_LIMIT_BYTES, Marker, decode_marker, digest_of_file, insert_facts, quoted
from .facts import TABLES, Facts
from .schema import base_tables

if TYPE_CHECKING:
    import duckdb

CATALOG_KEY = re.compile(r"checkpoints/(\d{12})/catalog(\.json|/[a-z_]+\.parquet)\Z")
_BATCH = 2000


def check_catalog(store: Store, project: ProjectName, keys: Sequence[str]) -> Iterator[Problem]:
    """Problems of the catalog's checkpoints among `keys`, which begin below the project's prefix.

    Raises: CommError, StoreError. A checkpoint that is damaged is no danger: readers compare, and read the log instead.
    """
    prefix = project_prefix(project.entity, project.project)
    wanted: dict[int, Marker] = {}
    for seq in sorted({int(match[1]) for key in keys if (match := CATALOG_KEY.match(key))}):
        key = f"{prefix}checkpoints/{seq:012}/catalog.json"
        if key[len(prefix) :] not in keys:
            continue  # never finished, or removed before its files were: nobody reads it
        try:
            marker = decode_marker(store.backend.read(key, 0, MARKER_LIMIT_BYTES), seq)
        except Error as error:
            yield Problem("catalog", key, error, is_advisory=True)
            continue
        if marker.is_current:
            wanted[seq] = marker
    if wanted:
        yield from _compare(store, project, wanted)


def _compare(store: Store, project: ProjectName, wanted: dict[int, Marker]) -> Iterator[Problem]:
    import duckdb

    prefix = project_prefix(project.entity, project.project)
    connection = duckdb.connect(":memory:")
    try:
        connection.execute(base_tables())
        batch: list[LogEntry] = []
        entries = store.log(prefix).read_after(Position())
        for seq, marker in wanted.items():
            key = f"{prefix}checkpoints/{seq:012}/catalog.json"
            try:
                for entry in entries:
                    batch.append(entry)
                    if len(batch) >= _BATCH or entry.position.seq == seq:
                        _take_in(connection, project, batch)
                        batch = []
                    if entry.position.seq == seq:
                        break
                else:
                    return  # the log ends before, or is damaged, which is told where the log is read
            except Error:
                return
            if entry.position != marker.position:
                error: Error = IntegrityError(f"checkpoint {key}: it names another transaction than the log")
                yield Problem("catalog", key, error, is_advisory=True)
                continue
            try:
                for table in TABLES:
                    _compare_table(
                        connection, store, f"{prefix}checkpoints/{seq:012}/catalog/", table, marker
                    )
            except (IntegrityError, duckdb.Error) as problem:
                said = " ".join(str(problem).split())
                yield Problem("catalog", key, IntegrityError(f"checkpoint {key}: {said}"), is_advisory=True)
    finally:
        connection.close()


def _take_in(
    connection: duckdb.DuckDBPyConnection, project: ProjectName, entries: Sequence[LogEntry]
) -> None:
    facts = Facts()
    facts.add(str(project), (entry.transaction for entry in entries))
    insert_facts(connection, facts)


def _compare_table(
    connection: duckdb.DuckDBPyConnection, store: Store, folder: str, table: str, marker: Marker
) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        path = store.backend.local_path(f"{folder}{table}.parquet")
        if path is None:
            path = Path(temporary, "table.parquet")
            path.write_bytes(store.backend.read(f"{folder}{table}.parquet"))
        marker.check(table, digest_of_file(path))
        columns = ", ".join(TABLES[table])
        stored = f"SELECT {columns} FROM read_parquet({quoted(str(path))})"
        built = f"SELECT {columns} FROM {table}"
        for one, other in ((stored, built), (built, stored)):
            ((count,),) = connection.execute(f"SELECT count(*) FROM ({one} EXCEPT ALL {other})").fetchall()
            if count:
                raise IntegrityError(f"table {table} says something else than the log")
