"""Commits a second: one process, sixteen racing in one collection, sixteen in as many projects; local and PostgreSQL.

    python benchmarks/commits.py [--folder DIR] [--seconds 5]

The limit is what one process reaches with the bare system calls of a local commit: write, fsync, link, fsync of the
folder. PostgreSQL is a real server, started for this run on the same disk with its default settings (it flushes each
commit); without one its lines are left out. After each race the log is read anew: every number that a process was told
is there, with that process's content, and no other.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from _measure import bench_folder

from lineart.artifacts import Content, LogRequest, Project, ProjectName
from lineart.artifacts.decisions import decide_log
from lineart.storage import Store

PROCESSES = 16
Given = dict[int, str]  # version: digest of the content that became it


def commit_for(
    folder: Path, name: ProjectName, seconds: float, worker: int, done: multiprocessing.Queue[Given]
) -> None:
    """Log versions into one collection for some seconds; puts the numbers that were acknowledged."""
    project = Project(Store.open(str(folder / "store"), cache=folder / "cache"), name)
    given: Given = {}
    count, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        digest = f"{worker:032x}{count:032x}"
        content = Content(digest, 1, 1, 0, (), (), None)
        ops = project.commit(lambda state, c=content: decide_log(state, LogRequest("model", "model", c)))
        given |= {op["version"]: digest for op in ops if op["op"] == "version.create"}
        count += 1
    done.put(given)


def rate(folder: Path, race: str, processes: int, projects: int, seconds: float) -> tuple[float, str]:
    """Commits a second of all processes, and how many each has made; raises unless the log says what they were told."""
    done: multiprocessing.Queue[Given] = multiprocessing.Queue()
    names = [ProjectName("bench", f"{race}-{index % projects}") for index in range(processes)]
    workers = [
        multiprocessing.Process(target=commit_for, args=(folder, name, seconds, index, done))
        for index, name in enumerate(names)
    ]
    start = time.perf_counter()
    for worker in workers:
        worker.start()
    given = [done.get() for _ in workers]
    took = time.perf_counter() - start
    for worker in workers:
        worker.join()
    store = Store.open(str(folder / "store"), cache=folder / "cache")
    found: list[tuple[int, str]] = []
    for name in dict.fromkeys(names):
        versions = Project(store, name).state().collections["model"].versions
        if sorted(versions) != list(range(len(versions))):
            raise SystemExit(f"{name}: numbers are not gap-free")
        found += [(number, versions[number].digest) for number in versions]
    store.close()
    if sorted(found) != sorted(item for numbers in given for item in numbers.items()):
        raise SystemExit(f"{race}: the log does not say what the processes were told")
    counts = sorted(map(len, given))
    return len(found) / took, f"{counts[0]} to {counts[-1]} each"


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


@contextlib.contextmanager
def places(folder: Path) -> Iterator[dict[str, Path]]:
    """A folder with a store for each kind of log that there is here."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    import postgres_server

    with contextlib.ExitStack() as stack:
        found = {"local": folder / "local"}
        Store.create(
            str(found["local"] / "store"),
            cache=folder / "cache",
            entity="bench",
            created="2026-01-02T03:04:05.000006Z",
        )
        folder.chmod(0o711)  # the server's user has to go through
        try:
            server = stack.enter_context(postgres_server.postgres(folder))
        except (postgres_server.NoPostgres, ImportError) as error:
            print(f"without PostgreSQL: {error}")
        else:
            found["PostgreSQL"] = folder / "postgres"
            Store.create(
                str(found["PostgreSQL"] / "store"),
                cache=folder / "cache",
                entity="bench",
                created="2026-01-02T03:04:05.000006Z",
                log=server.new_database(),
            )
        yield found


def main() -> None:
    """Print the limit and the rates."""
    seconds = float(sys.argv[sys.argv.index("--seconds") + 1]) if "--seconds" in sys.argv else 5.0
    with bench_folder("commits") as folder, places(folder) as found:
        limit = bare_rate(folder, seconds)
        print(f"{'bare system calls, one process':<44} {limit:8.0f} /s")
        for race, processes, projects in (
            ("one", 1, 1),
            ("shared", PROCESSES, 1),
            ("own", PROCESSES, PROCESSES),
        ):
            where = {
                "one": "one process",
                "shared": "16 processes, one collection",
                "own": "16 processes, 16 projects",
            }
            for kind, place in found.items():
                made, counts = rate(place, race, processes, projects, seconds)
                name = f"{where[race]}, {kind}"
                print(f"{name:<44} {made:8.0f} /s   {made / limit:6.2f}x of the limit; {counts}", flush=True)
        print("each number was given once, none is missing, and each has the content of who was told")


if __name__ == "__main__":
    main()
