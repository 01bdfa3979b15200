"""Where the history of a run lies: journals on this machine, segments and compacted parts in the store.

Every piece says which bytes of which writer's journal it holds, so the same line is never counted twice:

- a *journal*, ``<run folder>/<writer>/journal.jsonl``, grows while its process runs;
- a *segment*, ``runs/<run>/segments/<writer>/<start>-<end>.jsonl.zst``, has the bytes from `start` to `end` of one;
- a *part*, ``runs/<run>/history/<n>.json`` with its Parquet files, covers journals from their start to an offset. Its
  number is created once, so of two processes that compact the same journals one is too late, and looks again.

Journals are read before the store is listed: what goes from there has come here before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...artifacts.names import ProjectName
from ...storage.bounded import FRAME_LIMIT_BYTES, read_bounded
from ...storage.codec import compress_whole, decompress_whole
from ...storage.errors import CommError, ConflictError, FormatError, IntegrityError, NotFoundError
from ...storage.sealed import check_seal, seal
from ...storage.store import Store, project_prefix
from ..run_folder import RunFolder
from .block_digests import BlockDigests

FORMAT = 1
SEGMENT_KEY = re.compile(r"segments/(?P<writer>[^/]+)/(?P<start>\d{12})-(?P<end>\d{12})\.jsonl\.zst\Z")
PART_KEY = re.compile(r"history/(?P<number>\d{6})\.json\Z")
_LOOKS = 10
MARKER_LIMIT_BYTES = 64 << 20
SEGMENT_LIMIT_BYTES = 1 << 30  # a forged frame cannot fill the memory


@dataclass(frozen=True, slots=True)
class Part:
    """A compacted part of a run's history, as its marker describes it."""

    number: int
    parquet: str  # keys
    rollup: str | None
    covers: Mapping[str, int]  # writer → bytes of its journal, from the start
    streams: Mapping[str, Mapping[str, Mapping[str, Any]]]  # stream → metric → count, min_step, max_step
    digests: Mapping[str, BlockDigests] = field(default_factory=dict)  # by key; none in older markers

    def encode(self) -> bytes:
        """The bytes of the marker."""
        value = {
            "format": FORMAT,
            "parquet": self.parquet,
            "rollup": self.rollup,
            "covers": dict(self.covers),
            "streams": {stream: dict(metrics) for stream, metrics in self.streams.items()},
            "digests": {key: digests.record() for key, digests in self.digests.items()},
        }
        return seal(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())

    @classmethod
    def decode(cls, number: int, data: bytes) -> Part:
        """Raises: IntegrityError; FormatError for one that a newer client has written."""
        try:
            found = json.loads(data)
            if found["format"] > FORMAT:
                raise FormatError(f"history part {number} is of format {found['format']}; upgrade lineart")
            check_seal(data)
            digests = {key: BlockDigests.of_record(d) for key, d in found.get("digests", {}).items()}
            part = cls(number, found["parquet"], found["rollup"], found["covers"], found["streams"], digests)
            _demand_form(part)
            return part
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, IntegrityError) as error:
            raise IntegrityError(
                f"history part {number} is damaged: {str(error)[:200]}; restore it from a copy"
            ) from error


def _demand_form(part: Part) -> None:
    if not all(isinstance(end, int) and end >= 0 for end in part.covers.values()):
        raise ValueError("what it covers is not in bytes")
    facts = [metric for metrics in part.streams.values() for metric in metrics.values()]
    if not all(isinstance(fact[key], int) for fact in facts for key in ("count", "min_step", "max_step")):
        raise ValueError("what it says of its metrics is not in whole numbers")
    if not isinstance(part.parquet, str) or not isinstance(part.rollup, str | None):
        raise ValueError("its files have no names")


@dataclass(slots=True)
class Tail:
    """The lines of one writer that no part covers, from `start` to `end` of its journal."""

    writer: str
    start: int
    end: int
    data: bytes
    stored_end: int  # up to here they lie in the store, as segments


@dataclass(slots=True)
class Pieces:
    """All there is of a run's history."""

    parts: list[Part] = field(default_factory=list)
    tails: list[Tail] = field(default_factory=list)

    @property
    def tail_bytes(self) -> int:
        """How much is not compacted."""
        return sum(len(tail.data) for tail in self.tails)

    def end_of(self, writer: str) -> int:
        """Up to where the journal of a writer is known."""
        ends = [part.covers.get(writer, 0) for part in self.parts]
        return max(ends + [tail.end for tail in self.tails if tail.writer == writer], default=0)


def run_prefix(project: ProjectName, run: str) -> str:
    """The key prefix of what a run has in the store beside the log."""
    return f"{project_prefix(project.entity, project.project)}runs/{run}/"


def collect(store: Store, project: ProjectName, run: str, folder: RunFolder | None) -> Pieces:
    """Find every piece. Raises: IntegrityError for a damaged part or segment; CommError."""
    for _ in range(_LOOKS):
        found = _collect(store, project, run, folder)
        if found is not None:
            return found
    raise CommError(f"history of run {project}/{run}: it is being compacted over and over; try again")


def _collect(store: Store, project: ProjectName, run: str, folder: RunFolder | None) -> Pieces | None:
    """None when a segment went away meanwhile: then a part covers it that was not there before."""
    journals = _journals(folder)
    prefix = run_prefix(project, run)
    parts: list[Part] = []
    segments: dict[str, list[tuple[int, int, str]]] = {}
    # Segments first: what goes from there has come to the parts before.
    keys = [*store.backend.list(f"{prefix}segments/"), *store.backend.list(f"{prefix}history/")]
    for found in keys:
        name = found.key[len(prefix) :]
        if match := PART_KEY.match(name):
            data = store.backend.read(found.key, 0, MARKER_LIMIT_BYTES)
            part = Part.decode(int(match["number"]), data)
            for key in (part.parquet, part.rollup or part.parquet):
                if not key.startswith(f"{prefix}history/"):
                    raise IntegrityError(
                        f"{found.key} names {key!r}, which is not of its run; restore it from a copy"
                    )
            parts.append(part)
        elif match := SEGMENT_KEY.match(name):
            segments.setdefault(match["writer"], []).append(
                (int(match["start"]), int(match["end"]), found.key)
            )
    covered: dict[str, int] = {}
    for part in parts:
        for writer, end in part.covers.items():
            covered[writer] = max(covered.get(writer, 0), end)
    tails = []
    for writer in sorted({*segments, *journals}):
        try:
            tail = _tail(
                store, writer, covered.get(writer, 0), segments.get(writer, []), journals.get(writer, b"")
            )
        except NotFoundError:
            return None
        if tail.data:
            tails.append(tail)
    return Pieces(parts, tails)


def _journals(folder: RunFolder | None) -> dict[str, bytes]:
    found = {}
    for writer in folder.writers() if folder is not None else ():
        try:
            data = folder.journal(writer).read_bytes() if folder is not None else b""
        except FileNotFoundError:
            continue  # compacted and removed since the folder was listed
        found[writer] = data[: data.rfind(b"\n") + 1]
    return found


def _tail(
    store: Store, writer: str, start: int, segments: list[tuple[int, int, str]], journal: bytes
) -> Tail:
    pieces, at = [], start
    if len(journal) >= max([start, *(end for _, end, _ in segments)]):  # all is here: nothing is fetched
        stored = start
        for begin, end, _ in sorted(segments):
            if begin <= stored < end:
                stored = end
        return Tail(writer, start, len(journal), journal[start:], stored)
    for begin, end, key in sorted(segments):
        if end <= at:
            continue
        if begin > at:
            raise IntegrityError(
                f"history of {store.url}: {key} starts at {begin}, expected {at}; a segment is missing"
            )
        data = decompress_whole(read_bounded(store.backend, key, FRAME_LIMIT_BYTES), SEGMENT_LIMIT_BYTES)
        pieces.append(data[at - begin :])
        at = end
    stored = at
    if len(journal) > at:
        pieces.append(journal[at:])
        at = len(journal)
    return Tail(writer, start, at, b"".join(pieces), stored)


def write_segment(store: Store, project: ProjectName, run: str, writer: str, start: int, data: bytes) -> None:
    """Put `data`, whole lines of a journal from `start`, into the store. Safe to repeat."""
    key = f"{run_prefix(project, run)}segments/{writer}/{start:012}-{start + len(data):012}.jsonl.zst"
    try:
        store.backend.create(key, compress_whole(data))
    except ConflictError:
        return  # by an earlier try: the bytes of a journal do not change
