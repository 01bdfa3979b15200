"""What it costs to log: calls of `log` beside a plain append of the same lines, many runs at once, an empty run.

    python benchmarks/runs.py [--folder DIR] [--calls 100000]

The plain append is `json.dumps` and a flushed write of one line a call, in the same process and to the same disk.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

from _measure import absolute, bench_folder, line, seconds

import lineart
from lineart.artifacts import ProjectName
from lineart.tracking import Workspace, find_settings
from lineart.tracking.metrics import RunHistory

METRICS = ("loss", "accuracy", "lr", "grad_norm", "epoch")
PROCESSES, RUNS, STEPS = 8, 100, 1000


def rows(count: int) -> list[dict[str, float]]:
    """Rows of five scalars."""
    source = random.Random(0)
    return [
        {name: source.random() for name in METRICS[:4]} | {"epoch": number // 100} for number in range(count)
    ]


def append_plainly(path: Path, logged: list[dict[str, float]], calls: int) -> float:
    """Seconds of appending as many JSON lines."""
    start = time.perf_counter()
    with path.open("a", encoding="utf-8") as file:
        for number in range(calls):
            file.write(json.dumps(logged[number % 1000]) + "\n")
            file.flush()
    return time.perf_counter() - start


def calls_of_log(folder: Path, calls: int) -> None:
    """One run with many calls."""
    logged = rows(1000)
    plain = append_plainly(folder / "plain.jsonl", logged, calls)
    run = lineart.init(project="bench/log", store=str(folder / "store"))
    run.log(logged[0])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    for number in range(calls):
        run.log(logged[number % 1000])
    loop = time.perf_counter() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    finished = seconds(run.finish)
    each = f"{loop / calls * 1e6:.1f} µs a call (goal ≤ 12), {plain / calls * 1e6:.1f} plain, grown {grown:.1f} MiB"
    line(f"{calls:,} calls of log", loop, "json lines, appended", plain, 2.5, each)
    line("the same until finished", loop + finished, "the loop", loop, 3.0)
    workspace = Workspace.open(find_settings(store=str(folder / "store"), project="bench/log"))
    history = RunHistory(workspace.store, ProjectName("bench", "log"), run.id)
    absolute("one metric back, 1,000 buckets", seconds(lambda: history.buckets("loss", 1000)), 0.1)
    assert sum(history.buckets("loss", 1000).count) == calls + 1


def some_runs(store: str, numbers: list[int]) -> None:
    """A process with its share of the runs."""
    logged = rows(STEPS)
    for number in numbers:
        with lineart.init(project="bench/many", store=store, config={"number": number}) as run:
            for row in logged:
                run.log(row)


def many_runs(folder: Path) -> None:
    """Eight processes, a hundred runs, a thousand steps each."""
    store = str(folder / "many")
    Workspace.open(find_settings(store=store, project="bench/many"), create=True)
    shares = [list(range(worker, RUNS, PROCESSES)) for worker in range(PROCESSES)]

    def work() -> None:
        context = multiprocessing.get_context("spawn")
        workers = [context.Process(target=some_runs, args=(store, share)) for share in shares]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert [worker.exitcode for worker in workers] == [0] * PROCESSES

    absolute(f"{PROCESSES} processes, {RUNS} runs, {STEPS:,} steps each", seconds(work), 4.0)
    runs = lineart.Api(store=store).runs("bench/many")
    assert len(runs) == RUNS
    assert all(sum(1 for _ in run.scan_history()) == STEPS for run in runs)


def empty_run(folder: Path) -> None:
    """A whole process that imports, starts a run and finishes it."""
    code = "import lineart; lineart.init(project='bench/empty').finish()"
    environment = {**os.environ, "LINEART_STORE": str(folder / "empty")}

    def once() -> None:
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)

    once()
    absolute("import, init, finish of an empty run", sorted(seconds(once) for _ in range(9))[4], 0.25)


def main() -> None:
    """Print the figures."""
    calls = int(sys.argv[sys.argv.index("--calls") + 1]) if "--calls" in sys.argv else 100_000
    with bench_folder("runs") as folder:
        calls_of_log(folder, calls)
        many_runs(folder)
        empty_run(folder)


if __name__ == "__main__":
    main()
