"""Compaction: the journals of a run become one sorted Parquet file with a rollup, or, when small, segments.

The Parquet file is long (a row for each value) and sorted by metric and step, with small row groups, so that one
metric of twenty is one range of it. The rollup has up to 2,048 buckets for each long metric. Both are written before
the marker that names them; a process that is killed in between leaves files that nothing names.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...artifacts.names import ProjectName
from ...storage.errors import ConflictError
from ...storage.store import Store
from ..run_folder import RunFolder
from .block_digests import BlockDigests
from .pieces import Part, Pieces, Tail, collect, run_prefix, write_segment

SMALL_BYTES = 256 * 1024  # parsing as much takes a millisecond or two, less than opening a Parquet file
ROLLUP_BUCKETS = 2048
_ROLLUP_FROM = 4 * ROLLUP_BUCKETS  # values of a metric; fewer are read as they are
_GROUP_ROWS = 16384
_ATTEMPTS = 20
_ROWS = (b'"log":', b'"system":')  # without any of them a journal says nothing that the log does not


def compact(store: Store, project: ProjectName, run: str, folder: RunFolder) -> dict[str, int]:
    """Bring all that the journals hold into the store; up to where, by writer.

    Raises: StoreError, CommError; then nothing has changed for readers.
    """
    for _ in range(_ATTEMPTS):
        pieces = collect(store, project, run, folder)
        done = {tail.writer: tail.end for tail in pieces.tails}
        if pieces.tail_bytes <= SMALL_BYTES:
            for tail in pieces.tails:
                rest = tail.data[tail.stored_end - tail.start :]
                if any(mark in rest for mark in _ROWS):
                    write_segment(store, project, run, tail.writer, tail.stored_end, rest)
                else:
                    done[tail.writer] = tail.stored_end
            return _with_parts(done, pieces)
        try:
            _write_part(store, project, run, pieces)
        except ConflictError:
            continue  # another process compacts this run, too: look at what is left
        done = _with_parts(done, pieces)
        _remove_segments(store, project, run, done)
        return done
    raise ConflictError(f"run {project}/{run}: its history is being compacted by others; try again")


def _with_parts(done: dict[str, int], pieces: Pieces) -> dict[str, int]:
    """Up to where the store has the journals, by writer."""
    for part in pieces.parts:
        for writer, end in part.covers.items():
            done[writer] = max(done.get(writer, 0), end)
    return {writer: end for writer, end in done.items() if end}


def _write_part(store: Store, project: ProjectName, run: str, pieces: Pieces) -> None:
    number = max((part.number for part in pieces.parts), default=-1) + 1
    folder = f"{run_prefix(project, run)}history/"
    name = f"{folder}{number:06}-{secrets.token_hex(4)}"
    staging = store.backend.staging()
    data = staging / f"{os.getpid()}~{secrets.token_hex(8)}.parquet"
    rolled = staging / f"{os.getpid()}~{secrets.token_hex(8)}.parquet"
    try:
        has_rollup, streams = _write_parquet(pieces.tails, data, rolled)
        digests = {f"{name}.parquet": BlockDigests.of_file(data)}
        if has_rollup:
            digests[f"{name}.rollup.parquet"] = BlockDigests.of_file(rolled)
        store.backend.write_file(f"{name}.parquet", data)
        if has_rollup:
            store.backend.write_file(f"{name}.rollup.parquet", rolled)
    finally:
        for path in (data, rolled):
            path.unlink(missing_ok=True)
    part = Part(
        number,
        f"{name}.parquet",
        f"{name}.rollup.parquet" if has_rollup else None,
        {tail.writer: tail.end for tail in pieces.tails},
        streams,
        digests,
    )
    try:
        store.backend.create(f"{folder}{number:06}.json", part.encode())
    except ConflictError:
        if store.backend.read(f"{folder}{number:06}.json") == part.encode():
            return  # our own, whose answer was lost
        store.backend.delete([f"{name}.parquet", f"{name}.rollup.parquet"])
        raise


def _write_parquet(
    tails: Sequence[Tail], data: Path, rolled: Path
) -> tuple[bool, Mapping[str, Mapping[str, Mapping[str, Any]]]]:
    """Write both files; whether there is a rollup, and what each metric has."""
    from .loading import load
    from .query import cursor

    with cursor() as connection:
        load(connection, "loaded", tails)
        # Sorted once: both files are read off it.
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE cells AS SELECT * FROM loaded ORDER BY stream, key, step, row"
        )
        connection.execute(
            f"COPY cells TO '{_quoted(data)}'"
            f" (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {_GROUP_ROWS})"
        )
        counted = connection.execute(
            "SELECT stream, key, count(*), min(step), max(step) FROM cells GROUP BY ALL ORDER BY stream, key"
        ).fetchall()
        streams: dict[str, dict[str, dict[str, Any]]] = {}
        for stream, key, count, low, high in counted:
            streams.setdefault(stream, {})[key] = {"count": count, "min_step": low, "max_step": high}
        long = any(count >= _ROLLUP_FROM for _, _, count, _, _ in counted)
        if long:
            connection.execute(
                f"COPY ({ROLLUP}) TO '{_quoted(rolled)}' (FORMAT parquet, COMPRESSION zstd)",
                [ROLLUP_BUCKETS, _ROLLUP_FROM],
            )
        connection.execute("DROP TABLE cells; DROP TABLE loaded")
    return long, streams


ROLLUP = """
SELECT stream, key, bucket, min(step) AS min_step, max(step) AS max_step, max(time_us) AS time_us, count(*) AS count,
       count(value) FILTER (NOT isnan(value)) AS numbers,
       min(value) FILTER (NOT isnan(value)) AS min, max(value) FILTER (NOT isnan(value)) AS max,
       avg(value) FILTER (NOT isnan(value)) AS mean, arg_max(value, (step, row)) AS last
FROM (SELECT *, (row_number() OVER w - 1) * ?::BIGINT // (count(*) OVER (PARTITION BY stream, key)) AS bucket,
             count(*) OVER (PARTITION BY stream, key) AS total
      FROM cells WINDOW w AS (PARTITION BY stream, key ORDER BY step, row))
WHERE total >= ? GROUP BY stream, key, bucket ORDER BY stream, key, bucket"""


def _remove_segments(store: Store, project: ProjectName, run: str, done: Mapping[str, int]) -> None:
    """Segments that a part covers are not needed. Advisory: who may not delete leaves them."""
    from ...storage.errors import Error

    prefix = f"{run_prefix(project, run)}segments/"
    try:
        covered = []
        for found in store.backend.list(prefix):
            writer, _, span = found.key[len(prefix) :].partition("/")
            if int(span.partition(".")[0].partition("-")[2]) <= done.get(writer, 0):
                covered.append(found.key)
        if covered:
            store.backend.delete(covered)
    except (Error, ValueError):
        return


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
