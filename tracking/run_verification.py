"""Verifying what runs have in the store beside the log: claims, segments, parts with their Parquet files."""

from __future__ import annotations

import re
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..storage.backend import Stat
from ..storage.bounded import FRAME_LIMIT_BYTES, read_bounded
from ..storage.codec import decompress_whole
from ..storage.errors import Error, IntegrityError, NotFoundError
from ..storage.log import Position
from ..storage.problem import Problem
from ..storage.store import Store
from ..storage.transaction import Transaction
from .metrics.parquet_files import check_parquet
from .metrics.pieces import MARKER_LIMIT_BYTES, PART_KEY, SEGMENT_KEY, SEGMENT_LIMIT_BYTES, Part
from .run_log import CLAIM_LIMIT_BYTES, decode_claim
from .run_records import merge_history

_HEARTBEAT = re.compile(r"heartbeat/[^/]+\.json\Z")
_PARQUET = re.compile(r"history/\d{6}-[0-9a-f]{8}(\.rollup)?\.parquet\Z")


@dataclass(slots=True)
class RunFacts:
    """What the log says of one run."""

    before: Position  # the log stood here when the run first came into it
    started_at: str
    history: dict[str, int] = field(
        default_factory=dict
    )  # writer → bytes of its journal that are in the store
    is_claimed: bool = False  # by a client that knew claims
    deleted: bool = False  # a collector may be removing what it has left, or have removed it


class RunsInLog:
    """The runs of one project, gathered from its transactions."""

    def __init__(self) -> None:
        self.runs: dict[str, RunFacts] = {}

    def add(self, transaction: Transaction, before: Position) -> None:
        """Take in a transaction and the position before it."""
        for op in transaction.ops:
            if not op["op"].startswith("run.") or not isinstance(op.get("run"), str):
                continue
            facts = self.runs.setdefault(op["run"], RunFacts(before, transaction.time))
            facts.is_claimed = facts.is_claimed or bool(op.get("writer"))
            facts.deleted = facts.deleted or op["op"] == "run.delete"
            merge_history(facts.history, op.get("history"))


def check_run(
    store: Store,
    prefix: str,
    values: Sequence[Stat],
    facts: RunFacts | None,
    collected: Collection[str],
    *,
    every_byte: bool,
) -> Iterator[Problem | str]:
    """Problems of what lies below `prefix` (``projects/…/runs/<run>/``), and the keys that are nobody's.

    `collected` are the keys in final lists of the collection. Raises: CommError, StoreError.
    """
    names = {stat.key[len(prefix) :]: stat for stat in values if stat.key not in collected}
    is_whole = facts is None or not facts.deleted
    yield from _check_claim(store, prefix, names, facts)
    covered: dict[str, int] = {}
    damaged_parts = 0
    for name in names:
        if match := PART_KEY.match(name):
            part = yield from _check_part(
                store, prefix, name, int(match["number"]), names, every_byte, is_whole=is_whole
            )
            if part is None:
                damaged_parts += 1
            else:
                for writer, end in part.covers.items():
                    covered[writer] = max(covered.get(writer, 0), end)
        elif not (
            name == "run.json" or SEGMENT_KEY.match(name) or _HEARTBEAT.match(name) or _PARQUET.match(name)
        ):
            yield f"{prefix}{name}"
    yield from _check_segments(store, prefix, names, covered, every_byte, is_whole=is_whole)
    if facts is None or facts.deleted or damaged_parts:  # what a damaged part covers cannot be told
        return
    for writer, end in facts.history.items():
        if covered.get(writer, 0) < end:
            error = IntegrityError(
                f"{prefix}: of the history of writer {writer} {covered.get(writer, 0)} bytes are there, expected"
                f" {end}; a segment or part is missing; restore it from a copy"
            )
            yield Problem("run", prefix, error)


def _check_claim(
    store: Store, prefix: str, names: Mapping[str, Stat], facts: RunFacts | None
) -> Iterator[Problem]:
    key = f"{prefix}run.json"
    try:
        if "run.json" not in names:
            if facts is not None and facts.is_claimed:
                raise NotFoundError(f"{key} is missing: another run could take the id")
            return  # of a run that was begun by a client that knew no claims, or was never begun
        decode_claim(store.backend.read(key, 0, CLAIM_LIMIT_BYTES))
    except (IntegrityError, NotFoundError) as error:
        yield Problem("run", key, type(error)(f"{key}: {error}"), is_advisory=facts is not None)


def _check_part(
    store: Store,
    prefix: str,
    name: str,
    number: int,
    names: Mapping[str, Stat],
    every_byte: bool,
    *,
    is_whole: bool,
) -> Generator[Problem, None, Part | None]:
    key = f"{prefix}{name}"
    try:
        part = Part.decode(number, store.backend.read(key, 0, MARKER_LIMIT_BYTES))
    except (IntegrityError, NotFoundError) as error:
        yield Problem("run", key, IntegrityError(f"{key}: {error}"))
        return None
    for file in (part.parquet, part.rollup):
        if file is None:
            continue
        digests = part.digests.get(file)
        stat = names.get(file[len(prefix) :]) if file.startswith(prefix) else None
        if stat is None and not is_whole:
            continue
        try:
            if stat is None:
                raise NotFoundError(f"{file} is missing; restore it from a copy")
            if digests is not None and stat.size_bytes != digests.size_bytes:
                raise IntegrityError(
                    f"{file} has {stat.size_bytes} bytes, expected {digests.size_bytes}; restore it from a copy"
                )
            if digests is not None and every_byte:
                check_parquet(store, file, digests)
        except (IntegrityError, NotFoundError) as error:
            yield Problem("run", file, error)
    return part


def _check_segments(
    store: Store,
    prefix: str,
    names: Mapping[str, Stat],
    covered: dict[str, int],
    every_byte: bool,
    *,
    is_whole: bool,
) -> Iterator[Problem]:
    """Adds to `covered` what follows on the parts without a gap."""
    spans: dict[str, list[tuple[int, int, str]]] = {}
    for name in names:
        if match := SEGMENT_KEY.match(name):
            spans.setdefault(match["writer"], []).append((int(match["start"]), int(match["end"]), name))
    for writer, found in spans.items():
        at = covered.get(writer, 0)
        for start, end, name in sorted(found):
            key = f"{prefix}{name}"
            if start > at and is_whole:
                error: Error = IntegrityError(f"{key} starts at {start}, expected {at}; a segment is missing")
                yield Problem("run", prefix, error)
            at = max(at, end)
            if not every_byte:
                continue
            try:
                data = decompress_whole(
                    read_bounded(store.backend, key, FRAME_LIMIT_BYTES), SEGMENT_LIMIT_BYTES
                )
                if len(data) != end - start or not data.endswith(b"\n"):
                    raise IntegrityError(f"it has {len(data)} bytes, expected {end - start}")
            except NotFoundError:
                continue  # compacted meanwhile
            except IntegrityError as problem:
                yield Problem("run", key, IntegrityError(f"segment {key}: {problem}; restore it from a copy"))
        covered[writer] = at
