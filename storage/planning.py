"""Which objects of a pack one read brings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from .locations import Location

_RUN_BYTES = 4 * 1024 * 1024  # up to 32 runs are in memory, and logs shrink to a hundredth
_GAP_BYTES = 64 * 1024  # reading what lies between is cheaper than a second request


@dataclass(frozen=True, slots=True)
class Run:
    """Objects that one read of a pack brings, ordered by offset."""

    pack: bytes
    items: Sequence[tuple[bytes, Location]]

    @property
    def start(self) -> int:
        """Offset of the first byte."""
        return self.items[0][1].offset

    @property
    def length_bytes(self) -> int:
        """From the first object's start to the last one's end."""
        last = self.items[-1][1]
        return last.offset + last.stored_bytes - self.start


def plan_runs(items: Iterable[tuple[bytes, Location]], *, limit_bytes: int = _RUN_BYTES) -> Iterator[Run]:
    """Group objects, in the order given, into runs of neighbours in one pack.

    A run has at most `limit_bytes` (4 MiB) in the pack and twice as much in memory, or one object.

    >>> at = [(bytes([n]) * 32, Location(b"p", 8 + 10 * n, 10, 10, 0)) for n in range(3)]
    >>> [(run.start, run.length_bytes) for run in plan_runs(at)]
    [(8, 30)]
    """
    run: list[tuple[bytes, Location]] = []
    raw_bytes = 0
    for digest, at in items:
        if run:
            last = run[-1][1]
            gap = at.offset - (last.offset + last.stored_bytes)
            length = at.offset + at.stored_bytes - run[0][1].offset
            raw_bytes += at.raw_bytes
            is_full = length > limit_bytes or raw_bytes > 2 * limit_bytes
            if at.pack != last.pack or not 0 <= gap <= _GAP_BYTES or is_full:
                yield Run(run[0][1].pack, run)
                run = []
        if not run:
            raw_bytes = at.raw_bytes
        run.append((digest, at))
    if run:
        yield Run(run[0][1].pack, run)
