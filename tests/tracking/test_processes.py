"""Several processes in one run: forks, spawned children, ranks, two scripts."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from typing import Any

import pytest

import lineart
from run_reading import folder, history, live, parts, state, values


def _log_some(run: lineart.Run, worker: int) -> None:
    for number in range(50):
        run.log({f"worker{worker}": number}, step=number)
    run.finish()  # a child's: the run goes on


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_log_into_the_parents_run(method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    run = lineart.init(project="team/many", id="r")
    run.log({"loss": 1.0})
    children = [context.Process(target=_log_some, args=(run, worker)) for worker in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0, 0]
    assert live(run).state == "running"
    run.log({"loss": 0.5})
    run.finish()
    for worker in range(3):
        assert values(run, f"worker{worker}") == list(range(50))
    assert values(run, "loss") == [1.0, 0.5]
    assert state(run.path) == "finished"
    assert folder(run.path).writers() == []
    workspace = parts(run.path)[0]
    summary = workspace.catalog().rows("SELECT summary::VARCHAR FROM runs")[0][0]
    assert '"worker2":49' in summary.replace(" ", "")


def _log_and_die(run: lineart.Run) -> None:
    run.log({"child": 1})
    os._exit(9)


def test_child_that_dies_without_a_word_loses_nothing() -> None:
    with lineart.init(project="team/many") as run:
        child = multiprocessing.get_context("fork").Process(target=_log_and_die, args=(run,))
        child.start()
        child.join(30)
        assert child.exitcode == 9
    assert values(run, "child") == [1]


def _log_by_module(number: int) -> int:
    assert lineart.run is not None
    lineart.log({"pool": number}, step=number)
    return number


def test_pool_of_forks_logs_by_the_module() -> None:
    with lineart.init(project="team/many") as run, multiprocessing.get_context("fork").Pool(3) as pool:
        assert pool.map(_log_by_module, range(20)) == list(range(20))
    assert values(run, "pool") == list(range(20))


def test_child_that_outlives_the_parent_is_brought_home() -> None:
    code = """
import os, sys, time, lineart
run = lineart.init(project="team/many", id="p")
if os.fork() == 0:
    time.sleep(1.0)
    run.log({"late": 7})
    os._exit(0)
run.finish()
os._exit(0)
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, timeout=60)
    import time

    deadline = time.monotonic() + 20
    while not values("team/many/p", "late") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert values("team/many/p", "late") == [7]
    time.sleep(0.3)
    with lineart.init(project="team/many"):
        deadline = time.monotonic() + 20
        while folder("team/many/p").writers() and time.monotonic() < deadline:
            time.sleep(0.05)
    assert values("team/many/p", "late") == [7]
    assert folder("team/many/p").writers() == []
    assert state("team/many/p") == "finished"


RANK = """
import os, lineart
rank = int(os.environ["RANK"])
with lineart.init(project="team/many", id="job", resume="allow", config={f"rank{rank}": rank}) as run:
    for step in range(100):
        run.log({f"loss/rank{rank}": step + rank, "shared": rank}, step=step)
"""


def test_ranks_write_one_run() -> None:
    ranks = [
        subprocess.Popen([sys.executable, "-c", RANK], env={**os.environ, "RANK": str(rank)})
        for rank in range(4)
    ]
    assert [rank.wait(120) for rank in ranks] == [0, 0, 0, 0]
    for rank in range(4):
        assert values("team/many/job", f"loss/rank{rank}") == [step + rank for step in range(100)]
    assert sorted(values("team/many/job", "shared")) == sorted(rank for rank in range(4) for _ in range(100))
    assert state("team/many/job") == "finished"
    assert folder("team/many/job").writers() == []
    workspace = parts("team/many/job")[0]
    keys = workspace.catalog().rows("SELECT key FROM config WHERE run_id = 'team/many/job' ORDER BY key")
    assert [key for (key,) in keys] == [f"rank{rank}" for rank in range(4)]


def test_run_is_failed_when_one_of_its_ranks_fails() -> None:
    code = RANK.replace("for step", "if rank == 1: raise SystemExit(5)\n    for step")
    ranks = [
        subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "RANK": str(rank)})
        for rank in range(2)
    ]
    codes = [rank.wait(120) for rank in ranks]
    assert codes == [0, 5]
    assert state("team/many/job") in (
        "failed",
        "finished",
    )  # finished only if rank 1 was over before rank 0 began


def test_threads_log_into_one_run() -> None:
    def work(worker: int) -> None:
        for number in range(200):
            run.log({f"thread{worker}": number})

    with lineart.init(project="team/many") as run:
        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert run.step == 1600
    for worker in range(8):
        assert values(run, f"thread{worker}") == list(range(200))
    assert [row["_step"] for row in history(run).rows()] == list(range(1600))


def test_run_in_another_process_is_attached_by_its_pickle() -> None:
    with lineart.init(project="team/many", config={"a": 1}) as run:
        data = pickle.dumps(run)
        code = f"import pickle; run = pickle.loads({data!r}); assert run.config.a == 1; run.log({{'x': 5}})"
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
        assert values(run, "x") == [5]
    assert values(run, "x") == [5]


def test_environment_attaches_a_process_to_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    with lineart.init(project="team/many", id="outer") as run:
        code = (
            "import lineart\nwith lineart.init(project='many', config={'inner': 1}, tags=['t']) as run:\n"
            "    assert run.path == 'team/many/outer'\n    run.log({'acc': 0.5})\n"
        )
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            timeout=60,
            env={**os.environ, "LINEART_ATTACH": run.path},
        )
        assert live(run).state == "running"
        assert live(run).tags == ("t",)
    workspace = parts(run.path)[0]
    row = workspace.catalog().rows("SELECT state, tags, config ->> 'inner', summary ->> 'acc' FROM runs")
    assert row == [("finished", ["t"], "1", "0.5")]
