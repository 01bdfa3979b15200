"""Asking for runs: 1,000 of one project, filtered by a config value and ordered by a metric, as a whole process.

    python benchmarks/runs_query.py [--folder DIR] [--runs 1000]

Import, opening, query and the printing of the names are all in the figure. It is taken twice: with 1,000 runs, which
are read from the log itself, and with four times as many, for which the catalog is loaded from its checkpoint.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

from _measure import absolute, bench_folder, seconds

from lineart.artifacts import Project, ProjectName
from lineart.storage import Store

NAME = ProjectName("bench", "runs")
QUERY = """
import lineart
deep = {"config.model.depth": {"$gte": 6}}
for run in lineart.Api().runs("bench/runs", filters=deep, order="-summary_metrics.accuracy"):
    print(run.name, run.summary["accuracy"])
"""
COUNT_ALL = 'import lineart; print(len(lineart.Api().runs("bench/runs")))'


def ops_of(number: int, source: random.Random) -> list[list[dict[str, Any]]]:
    """What one run commits: its start, for every second one an update, its end."""
    run = f"{number:08x}"
    capture = {
        "command": ["train.py", *(f"--option-{index}={source.random()}" for index in range(10))],
        "folder": "/home/ada/projects/digits",
        "git": {"commit": f"{source.getrandbits(160):040x}", "branch": "main", "dirty": False},
        "python": "3.11.9",
        "host": "box",
        "gpus": ["NVIDIA A100-SXM4-80GB"] * 8,
    }
    config = {
        "lr": source.random(),
        "model": {"depth": source.randrange(1, 12), "width": 2 ** source.randrange(4, 9), "name": "resnet"},
        **{f"option_{index}": source.random() for index in range(10)},
    }
    summary = {"accuracy": source.random(), "loss": source.random(), "epoch": 40}
    summary |= {f"metric_{index}": source.random() for index in range(10)}
    start = {
        "op": "run.start",
        "run": run,
        "writer": "w",
        "name": f"sunny-river-{number}",
        "job_type": "train",
    }
    start |= {"group": f"g{number % 7}", "tags": ["baseline", f"t{number % 5}"], "notes": None}
    update = {"op": "run.update", "run": run, "config": {"seed": number}}
    finish = {"op": "run.finish", "run": run, "writer": "w", "state": "finished", "exit_code": 0}
    return [
        [start | {"config": config, "capture": capture}],
        *([[update]] if number % 2 else []),
        [finish | {"summary": summary, "error": None}],
    ]


def fill(folder: Path, first: int, last: int) -> None:
    """Runs number `first` to `last` - 1, one after the other: commits that wait for each other would share one."""
    url, cache = str(folder / "store"), folder / "cache"
    store = (
        Store.open(url, cache=cache)
        if first
        else Store.create(url, cache=cache, entity="bench", created="now")
    )
    project = Project(store, NAME)
    for number in range(first, last):
        for ops in ops_of(number, random.Random(number)):
            project.commit(lambda state, ops=ops: ops)  # type: ignore[misc]
    print(f"{last} runs, {project.position.seq + 1} transactions")


def whole_process(folder: Path, code: str, repeat: int = 7) -> float:
    """The middle of some runs of a process, after one to warm up."""
    environment = {
        **os.environ,
        "LINEART_STORE": str(folder / "store"),
        "LINEART_CACHE": str(folder / "cache"),
    }

    def once() -> None:
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, env=environment)

    once()
    return sorted(seconds(once) for _ in range(repeat))[repeat // 2]


def main() -> None:
    """Print the figures."""
    runs = int(sys.argv[sys.argv.index("--runs") + 1]) if "--runs" in sys.argv else 1000
    with bench_folder("runs-query") as folder:
        absolute("bare Python", whole_process(folder, "pass"))
        absolute("import lineart, and its Api", whole_process(folder, "import lineart; lineart.Api"))
        for first, last, goal in ((0, runs, 0.3), (runs, 4 * runs, None)):
            fill(folder, first, last)
            absolute(f"{last} runs, filtered and ordered", whole_process(folder, QUERY), goal)
            absolute(f"{last} runs, counted", whole_process(folder, COUNT_ALL), goal)


if __name__ == "__main__":
    main()
