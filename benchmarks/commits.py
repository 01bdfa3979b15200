"""Commits a second: one process, and sixteen racing in one collection; beside what the disk allows.

    python benchmarks/commits.py [--folder DIR] [--seconds 5]

The limit is what one process reaches with the bare system calls of a commit: write, fsync, link, fsync of the folder.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from pathlib import Path

from _measure import bench_folder

from lineart.artifacts import ArtifactName, Content, LogRequest, Project, ProjectName
from lineart.artifacts.decisions import decide_log
from lineart.storage import Store

NAME = ProjectName("bench", "commits")


def commit_for(folder: Path, seconds: float, worker: int, done: multiprocessing.Queue[list[int]]) -> None:
    """Log versions into one collection for some seconds; puts the numbers that were acknowledged."""
    project = Project(Store.open(str(folder / "store"), cache=folder / "cache"), NAME)
    numbers: list[int] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        digest = f"{worker:032x}{len(numbers):032x}"
        content = Content(digest, 1, 1, 0, (), (), None)
        ops = project.commit(lambda state, c=content: decide_log(state, LogRequest("model", "model", c)))
        numbers += [op["version"] for op in ops if op["op"] == "version.create"]
    done.put(numbers)


def rate(folder: Path, processes: int, seconds: float) -> float:
    """Commits a second of all processes; raises if a number was given twice or left out."""
    done: multiprocessing.Queue[list[int]] = multiprocessing.Queue()
    workers = [
        multiprocessing.Process(target=commit_for, args=(folder, seconds, processes * 100 + index, done))
        for index in range(processes)
    ]
    start = time.perf_counter()
    for worker in workers:
        worker.start()
    numbers = sorted(number for _ in workers for number in done.get())
    took = time.perf_counter() - start
    for worker in workers:
        worker.join()
    if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise SystemExit(
            f"numbers are not distinct and gap-free: {len(numbers)} from {numbers[0]} to {numbers[-1]}"
        )
    return len(numbers) / took


def bare_rate(folder: Path, seconds: float) -> float:
    """What the disk allows one process."""
    place = folder / "bare"
    place.mkdir()
    count, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        temporary = place / "temporary"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT, 0o644)
        os.write(descriptor, b"x" * 700)
        os.fsync(descriptor)
        os.close(descriptor)
        os.link(temporary, place / f"{count:012}")
        os.unlink(temporary)
        directory = os.open(place, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
        count += 1
    return count / seconds


def main() -> None:
    """Print the three rates."""
    seconds = float(sys.argv[sys.argv.index("--seconds") + 1]) if "--seconds" in sys.argv else 5.0
    with bench_folder("commits") as folder:
        Store.create(str(folder / "store"), cache=folder / "cache", entity="bench", created="now")
        limit = bare_rate(folder, seconds)
        print(f"{'bare system calls, one process':<44} {limit:8.0f} /s")
        for processes in (1, 16):
            found = rate(folder, processes, seconds)
            name = f"commits, {processes} process{'es' if processes > 1 else ''}"
            print(f"{name:<44} {found:8.0f} /s   {found / limit:6.2f}x of the limit", flush=True)
        project = Project(Store.open(str(folder / "store"), cache=folder / "cache"), NAME)
        state = project.state()
        last = ArtifactName(NAME, "model", "latest")
        count = state.collections["model"].next_version
        print(f"{count} versions, numbers distinct and gap-free; {last.short} is the last")


if __name__ == "__main__":
    main()
