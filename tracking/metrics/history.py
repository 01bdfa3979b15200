"""Reading what a run has logged: compacted parts, segments and journals as one history.

A row of the history is what was logged at one step. Two calls at the same step are one row if they name different
metrics, and two rows if both name the same one: nothing is dropped. Rows are in the order of their steps.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ...artifacts.names import ProjectName
from ...storage.errors import IntegrityError, UsageError
from ...storage.store import Store
from ..run_folder import RunFolder
from .cells import DEFAULT, SYSTEM, Cells, cells_of, of_cell
from .definitions import Aggregate
from .pieces import Pieces, collect

if TYPE_CHECKING:
    import duckdb

Stream = Literal["default", "system"]
_FETCH_ROWS = 50_000
_ROLLUP_DETAIL = 2  # buckets of the rollup for each bucket asked for, at least
ROLLUP_FROM = 500_000  # values of a metric; fewer are bucketed anew in some 50 ms, and exactly evenly


@dataclass(frozen=True, slots=True)
class Buckets:
    """A metric in some buckets of about equally many values, each in the order of the steps.

    `step` is the first step of a bucket, `last_step` its last; `time_s` seconds since the epoch, of its last value.
    `min`, `max`, `mean` leave NaN out (None when a bucket has no number); `last` is the newest number.
    """

    step: list[int]
    last_step: list[int]
    time_s: list[float]
    count: list[int]
    min: list[float | None]
    max: list[float | None]
    mean: list[float | None]
    last: list[float | None]


class RunHistory:
    """The history of one run. Each call reads what is there at that moment.

    `folder` is where processes of the run write on this machine, `start_s` when it began (seconds since the epoch).
    """

    def __init__(
        self,
        store: Store,
        project: ProjectName,
        run: str,
        folder: RunFolder | None = None,
        start_s: float | None = None,
        stored: Mapping[str, int] | None = None,
    ) -> None:
        """`stored` is how much of each writer's journal the log says to be in the store."""
        self._stored = stored or {}
        self._store = store
        self._project = project
        self._run = run
        self._folder = folder
        self._start_s = start_s

    def keys(self, stream: Stream = "default") -> list[str]:
        """The names of all metrics, sorted."""
        return sorted(self._counts(self._pieces(), stream))

    def last_step(self) -> int | None:
        """The greatest step that has a row; None when there is no row."""
        pieces = self._pieces()
        found = [
            metric["max_step"] for part in pieces.parts for metric in part.streams.get(DEFAULT, {}).values()
        ]
        found += cells_of(pieces.tails, stream=DEFAULT).step
        return max(found, default=None)

    def rows(
        self,
        keys: Iterable[str] | None = None,
        min_step: int | None = None,
        max_step: int | None = None,
        stream: Stream = "default",
    ) -> Iterator[dict[str, Any]]:
        """Every row with ``_step``, ``_timestamp`` (s), ``_runtime`` (s) and its values; those that have all of `keys`.

        `min_step` counts in, `max_step` does not, as in the W&B SDK. Reads only the metrics asked for.
        """
        wanted = None if keys is None else _listed(keys)
        pieces = self._pieces()
        start_s = self._start_s
        for step, time_us, values in _merged(self._single_rows(pieces, wanted, min_step, max_step, stream)):
            if wanted is not None and any(key not in values for key in wanted):
                continue
            time_s = time_us / 1e6
            if start_s is None:
                start_s = time_s
            yield {"_step": step, "_timestamp": time_s, "_runtime": round(time_s - start_s, 6), **values}

    def columns(
        self,
        keys: Iterable[str] | None = None,
        samples: int | None = None,
        stream: Stream = "default",
    ) -> dict[str, list[Any]]:
        """What `rows` gives as columns of equal length, None where a row has no value; without `keys` all metrics.

        When a metric has more than `samples` values, its steps are cut into that many ranges of equal length: a row for
        each range with the last step, the mean of the numbers and the last of other values.
        """
        wanted = None if keys is None else _listed(keys)
        pieces = self._pieces()
        counts = self._counts(pieces, stream)
        names = sorted(counts) if wanted is None else wanted
        if samples is not None and max((counts.get(name, 0) for name in names), default=0) > samples:
            return self._bucketed_columns(pieces, names, samples, stream)
        rows = list(self.rows(wanted, stream=stream))
        heads = ["_step", "_timestamp", "_runtime"]
        return {name: [row.get(name) for row in rows] for name in [*heads, *names]}

    def buckets(self, key: str, samples: int, stream: Stream = "default") -> Buckets:
        """One metric in at most `samples` buckets: what a chart draws. Raises: UsageError for `samples` below 1."""
        if samples < 1:
            raise UsageError(f"history samples {samples}: expected 1 or more")
        pieces = self._pieces()
        with self._table(pieces, [key], stream) as connection:
            found = self._from_rollup(connection, pieces, key, samples, stream)
            if found is None:
                found = connection.execute(_BUCKETS, [samples]).fetchall()
        columns: list[list[Any]] = [list(column) for column in zip(*found, strict=True)] or [
            [] for _ in range(8)
        ]
        columns[2] = [time_us / 1e6 for time_us in columns[2]]
        return Buckets(*columns)

    def aggregates(self, keys: Sequence[str]) -> dict[str, Aggregate]:
        """Count, sum, extremes, first and last of metrics over all that was logged, in the order of time."""
        with self._table(self._pieces(), keys, "default") as connection:
            found = connection.execute(_AGGREGATES).fetchall()
        made = {}
        for key, count, total, *ends in found:
            low, high, first, last = (None if end is None else of_cell(end["v"], end["t"]) for end in ends)
            made[key] = Aggregate(count, total or 0.0, low, high, first, last)
        return made

    # Where it comes from

    def _pieces(self) -> Pieces:
        pieces = collect(self._store, self._project, self._run, self._folder)
        for writer, end in self._stored.items():
            if pieces.end_of(writer) < end:
                raise IntegrityError(
                    f"history of run {self._project}/{self._run}: {pieces.end_of(writer)} bytes of writer {writer} are"
                    f' there, expected {end}; run "art verify --all" and restore it from a copy of the store'
                )
        return pieces

    @staticmethod
    def _counts(pieces: Pieces, stream: Stream) -> dict[str, int]:
        counts: dict[str, int] = {}
        for part in pieces.parts:
            for key, facts in part.streams.get(stream, {}).items():
                counts[key] = counts.get(key, 0) + facts["count"]
        for key in cells_of(pieces.tails, stream=stream).key:
            counts[key] = counts.get(key, 0) + 1
        return counts

    def _single_rows(
        self,
        pieces: Pieces,
        keys: Sequence[str] | None,
        min_step: int | None,
        max_step: int | None,
        stream: Stream,
    ) -> Iterator[_Row]:
        """The rows as they were logged, by step and time; measurements by time, numbered anew over all processes."""
        first, last = (None, None) if stream == SYSTEM else (min_step, max_step)
        sources = [_rows_of(cells_of(pieces.tails, keys=keys, stream=stream), first, last)]
        if any(stream in part.streams for part in pieces.parts):
            sources.append(self._part_rows(pieces, keys, first, last, stream))
        if stream == SYSTEM:
            measured = sorted(itertools.chain(*sources), key=lambda row: row[1])
            numbered = ((step, row[1], row[2]) for step, row in enumerate(measured))
            return (row for row in numbered if _is_between(row[0], min_step, max_step))
        return heapq.merge(*sources, key=lambda row: row[:2])

    def _part_rows(
        self,
        pieces: Pieces,
        keys: Sequence[str] | None,
        min_step: int | None,
        max_step: int | None,
        stream: Stream,
    ) -> Iterator[_Row]:
        low = "" if min_step is None else f" AND step >= {int(min_step)}"
        high = "" if max_step is None else f" AND step < {int(max_step)}"
        with self._table(Pieces(pieces.parts), keys, stream) as connection:
            found = connection.execute(
                "SELECT part, row, step, time_us, key, value, text FROM history"
                f" WHERE true{low}{high} ORDER BY step, time_us, part, row"
            )
            identity: tuple[int, int] | None = None
            row: _Row | None = None
            while cells := found.fetchmany(_FETCH_ROWS):
                for part, number, step, time_us, key, value, text in cells:
                    if (part, number) != identity:
                        if row is not None:
                            yield row
                        identity, row = (part, number), (step, time_us, {})
                    if row is not None:
                        row[2][key] = of_cell(value, text)
            if row is not None:
                yield row

    @contextmanager
    def _table(
        self, pieces: Pieces, keys: Sequence[str] | None, stream: Stream
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection with the view `history`: part, row, step, time_us, key, value, text."""
        from .loading import load
        from .parquet_files import open_parquet
        from .query import cursor

        with cursor() as connection:
            wanted = "" if keys is None else f" AND key IN ({', '.join(map(_quoted, keys)) or 'NULL'})"
            selects = []
            parts = [part for part in pieces.parts if stream in part.streams]
            digests = {key: digest for part in parts for key, digest in part.digests.items()}
            paths = open_parquet(connection, self._store, [part.parquet for part in parts], digests)
            for part, path in zip(parts, paths, strict=True):
                selects.append(
                    f"SELECT {part.number} AS part, key, step, row, time_us, value, text"
                    f" FROM read_parquet({_quoted(path)}) WHERE stream = '{stream}'{wanted}"
                )
            load(connection, "tail_cells", pieces.tails, keys=keys, stream=stream)
            selects.append("SELECT 1000000 AS part, key, step, row, time_us, value, text FROM tail_cells")
            steps = (
                "* REPLACE (dense_rank() OVER (ORDER BY time_us) - 1 AS step)" if stream == SYSTEM else "*"
            )
            connection.execute(
                f"CREATE OR REPLACE TEMP VIEW history AS SELECT {steps} FROM ({' UNION ALL '.join(selects)})"
            )
            yield connection

    def _from_rollup(
        self,
        connection: duckdb.DuckDBPyConnection,
        pieces: Pieces,
        key: str,
        samples: int,
        stream: Stream,
    ) -> list[Any] | None:
        """The buckets from the one rollup that has all of the metric, None when it has to be read whole."""
        from .compaction import ROLLUP_BUCKETS
        from .parquet_files import open_parquet

        having = [part for part in pieces.parts if key in part.streams.get(stream, {})]
        if len(having) != 1 or having[0].rollup is None or samples * _ROLLUP_DETAIL > ROLLUP_BUCKETS:
            return None
        if having[0].streams[stream][key]["count"] < ROLLUP_FROM:
            return None
        if connection.execute("SELECT count(*) FROM tail_cells").fetchall() != [(0,)]:
            return None
        (path,) = open_parquet(connection, self._store, [having[0].rollup], having[0].digests)
        return (
            connection.execute(
                _BUCKETS_OF_ROLLUP.format(path=_quoted(path)), [samples, stream, key]
            ).fetchall()
            or None
        )

    def _bucketed_columns(
        self, pieces: Pieces, names: Sequence[str], samples: int, stream: Stream
    ) -> dict[str, list[Any]]:
        with self._table(pieces, names, stream) as connection:
            found = connection.execute(_RANGES, [samples]).fetchall()
        rows: dict[int, dict[str, Any]] = {}
        for bucket, key, step, time_us, mean, text in found:
            row = rows.setdefault(bucket, {"_step": step, "_timestamp": time_us / 1e6})
            row["_step"] = max(row["_step"], step)
            row["_timestamp"] = max(row["_timestamp"], time_us / 1e6)
            row[key] = mean if mean is not None else of_cell(None, text) if text is not None else None
        ordered = [rows[bucket] for bucket in sorted(rows)]
        start_s = (
            self._start_s if self._start_s is not None else (ordered[0]["_timestamp"] if ordered else 0.0)
        )
        for row in ordered:
            row["_runtime"] = round(row["_timestamp"] - start_s, 6)
        return {
            name: [row.get(name) for row in ordered] for name in ["_step", "_timestamp", "_runtime", *names]
        }


_Row = tuple[int, int, dict[str, Any]]  # step, time in µs, values

# As `Aggregate.add`: true, false and NaN are no numbers; whole numbers stay whole.
_AGGREGATES = """
SELECT key, count(*) FILTER (n), sum(value) FILTER (n), arg_min(cell, value) FILTER (n),
       arg_max(cell, value) FILTER (n), arg_min(cell, (time_us, part, row)), arg_max(cell, (time_us, part, row))
FROM (SELECT *, {'v': value, 't': text} AS cell,
             value IS NOT NULL AND NOT isnan(value) AND coalesce(text NOT IN ('true', 'false'), true) AS n FROM history)
GROUP BY key"""

_BUCKETS = """
SELECT min(step), max(step), max(time_us), count(*), min(value) FILTER (NOT isnan(value)),
       max(value) FILTER (NOT isnan(value)), avg(value) FILTER (NOT isnan(value)), arg_max(value, place)
FROM (SELECT *, row_number() OVER w AS place,
             (row_number() OVER w - 1) * least(?::BIGINT, count(*) OVER ()) // count(*) OVER () AS bucket
      FROM history WINDOW w AS (ORDER BY step, time_us, part, row))
GROUP BY bucket ORDER BY bucket"""

_BUCKETS_OF_ROLLUP = """
SELECT min(min_step), max(max_step), max(time_us), sum(count)::BIGINT, min(min), max(max),
       sum(mean * numbers) / nullif(sum(numbers), 0), arg_max(last, place)
FROM (SELECT *, bucket AS place, bucket * ?::BIGINT // (max(bucket) OVER () + 1) AS part
      FROM read_parquet({path}) WHERE stream = ? AND key = ?)
GROUP BY part ORDER BY part"""

_RANGES = """
WITH span AS (SELECT min(step) AS low, max(step) AS high FROM history)
SELECT (step - low)::HUGEINT * ? // (high - low + 1) AS range, key, max(step), max(time_us),
       avg(value) FILTER (NOT isnan(value)), arg_max(text, (step, time_us))
FROM history, span GROUP BY range, key ORDER BY range, key"""


def _rows_of(cells: Cells, min_step: int | None, max_step: int | None) -> Iterator[_Row]:
    rows: dict[int, _Row] = {}
    for key, step, number, time_us, value, text in zip(
        cells.key, cells.step, cells.row, cells.time_us, cells.value, cells.text, strict=True
    ):
        if _is_between(step, min_step, max_step):
            rows.setdefault(number, (step, time_us, {}))[2][key] = of_cell(value, text)
    yield from sorted(rows.values(), key=lambda row: row[:2])


def _is_between(step: int, min_step: int | None, max_step: int | None) -> bool:
    return (min_step is None or step >= min_step) and (max_step is None or step < max_step)


def _merged(rows: Iterator[_Row]) -> Iterator[_Row]:
    """Rows of the same step that name different metrics become one, with the time of the last."""
    held: _Row | None = None
    for step, time_us, values in rows:
        if held is not None and held[0] == step and held[2].keys().isdisjoint(values):
            held = (step, time_us, {**held[2], **values})
            continue
        if held is not None:
            yield held
        held = (step, time_us, values)
    if held is not None:
        yield held


def _listed(keys: Iterable[str]) -> list[str]:
    if isinstance(keys, str):
        raise UsageError(f"history keys {keys!r}: expected a list such as [{keys!r}]")
    return [key for key in dict.fromkeys(keys) if key not in ("_step", "_timestamp", "_runtime")]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
