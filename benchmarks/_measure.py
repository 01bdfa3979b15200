"""What the benchmarks share: a clock, the physical limits, and lines that put a figure beside its limit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from blake3 import blake3

MIB = 1024 * 1024


def seconds(work: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@contextmanager
def bench_folder(name: str) -> Iterator[Path]:
    """A folder on the disk to be measured (`--folder`, else the temporary folder), removed at the end only.

    On ext4 without a journal, files made soon after as many were deleted cost up to ten times as much.
    """
    given = sys.argv[sys.argv.index("--folder") + 1] if "--folder" in sys.argv else None
    folder = Path(tempfile.mkdtemp(prefix=f"lineart-bench-{name}-", dir=given))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def line(
    what: str, took_s: float, limit: str, limit_s: float, goal: float | None = None, note: str = ""
) -> None:
    """Print a figure, its limit measured in the same run, and their ratio beside the goal."""
    ratio = took_s / limit_s
    wanted = "" if goal is None else f"  (goal ≤ {goal:.1f}x{'' if ratio <= goal else '  MISSED'})"
    print(
        f"{what:<44} {took_s:8.3f} s   {limit:<24} {limit_s:8.3f} s   {ratio:6.2f}x{wanted}  {note}".rstrip(),
        flush=True,
    )


def absolute(what: str, took_s: float, goal_s: float | None = None, note: str = "") -> None:
    """Print a figure that has a goal in seconds instead of a limit."""
    wanted = "" if goal_s is None else f"  (goal ≤ {goal_s} s{'' if took_s <= goal_s else '  MISSED'})"
    print(f"{what:<44} {took_s:8.3f} s{wanted}  {note}".rstrip(), flush=True)


def copy(source: Path, target: Path, *, flush: bool) -> float:
    """Seconds of `cp -r`, with `flush` also of an fsync of every copied file."""

    def work() -> None:
        subprocess.run(["cp", "-r", str(source), str(target)], check=True)
        if flush:
            for file in [target] if target.is_file() else [p for p in target.rglob("*") if p.is_file()]:
                descriptor = os.open(file, os.O_RDONLY)
                os.fsync(descriptor)
                os.close(descriptor)

    return seconds(work)


def hash_file(path: Path) -> float:
    """Seconds of reading and BLAKE3 in one thread."""

    def work() -> None:
        hasher, buffer = blake3(), bytearray(MIB)
        with path.open("rb", buffering=0) as stream:
            while count := stream.readinto(buffer):
                hasher.update(memoryview(buffer)[:count])

    return seconds(work)


def walk_and_stat(folder: Path) -> float:
    """Seconds of looking at every file without reading it."""

    def work() -> None:
        pending = [str(folder)]
        while pending:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    else:
                        entry.stat(follow_symlinks=False)

    return seconds(work)


def tree_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def peak_mib() -> float:
    """The most memory that this process has had, MiB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
