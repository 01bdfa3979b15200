"""What a run has logged outlives its process, however that dies; then it is shown as crashed and can go on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lineart
from lineart.tracking import recovery
from lineart.tracking.run_files import RunFiles
from lineart.tracking.run_log import read_run
from run_reading import folder, history, live, parts, state, values

# Says on its standard output what `log` has returned from.
WRITER = """
import os, sys, lineart
run = lineart.init(project="team/crash", id=sys.argv[1], resume="allow", config={"lr": 0.1})
run.config["late"] = 1
print(run.step, flush=True)
for number in range(run.step, 10**9):
    run.log({"number": number, "square": number * number})
    os.write(1, b"%d\\n" % number)
"""


def start(run: str) -> subprocess.Popen[bytes]:
    """A process that logs until it is killed."""
    return subprocess.Popen([sys.executable, "-c", WRITER, run], stdout=subprocess.PIPE)


def kill(child: subprocess.Popen[bytes]) -> int:
    """Kill it now; the last number that it has logged for certain, -1 if none."""
    child.kill()
    out, _ = child.communicate(timeout=30)
    lines = out[: out.rfind(b"\n") + 1].splitlines()[1:]
    return int(lines[-1]) if lines else -1


def test_kill_loses_nothing_and_the_run_goes_on() -> None:
    child = start("r")
    time.sleep(1.2)
    acknowledged = kill(child)
    assert acknowledged > 100
    assert live("team/crash/r").state == "crashed"
    assert live("team/crash/r").config["late"] == 1
    seen = values("team/crash/r", "number")
    assert seen == list(range(len(seen)))
    assert len(seen) > acknowledged
    with lineart.init(project="team/crash", id="r", resume="must") as run:
        assert run.resumed
        assert run.step == len(seen)
        assert run.config["late"] == 1
        assert run.summary["number"] == len(seen) - 1
        run.log({"number": run.step})
    assert values(run, "number") == list(range(len(seen) + 1))
    assert state("team/crash/r") == "finished"
    assert folder("team/crash/r").writers() == []


@pytest.mark.slow
def test_hundred_kills_at_random_moments_lose_nothing() -> None:
    random.seed(7)
    for attempt in range(100):
        child = start(f"r{attempt}")
        time.sleep(random.uniform(0.05, 0.6))
        acknowledged = kill(child)
        if acknowledged >= 0:
            seen = values(f"team/crash/r{attempt}", "number")
            assert seen == list(range(len(seen)))
            assert len(seen) > acknowledged
            assert live(f"team/crash/r{attempt}").state == "crashed"
    with lineart.init(project="team/crash", id="r0", resume="allow"):
        deadline = time.monotonic() + 60  # what the others left comes home in the background
        while time.monotonic() < deadline and any(
            folder(f"team/crash/r{n}").writers() for n in range(1, 100)
        ):
            time.sleep(0.2)
    lost = [n for n in range(1, 100) if folder(f"team/crash/r{n}").writers()]
    assert lost == []


def test_killed_while_finishing_comes_home_with_the_next_run() -> None:
    code = (
        WRITER.replace("10**9", "20000")
        + "\nprint('end', flush=True)\nrun.finish()\nprint('done', flush=True)"
    )
    for delay in (0.0, 0.01, 0.05, 0.1):
        child = subprocess.Popen([sys.executable, "-c", code, f"e{delay}"], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        for line in child.stdout:
            if line == "end\n":
                break
        time.sleep(delay)
        child.kill()
        child.communicate()
        path = f"team/crash/e{delay}"
        assert values(path, "number") == list(range(20000))
        with lineart.init(project="team/crash", id=f"e{delay}", resume="must"):
            pass
        assert values(path, "number") == list(range(20000))
        assert state(path) == "finished"
        assert folder(path).writers() == []


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])
def test_signal_to_terminate_ends_the_run_as_failed(how: signal.Signals) -> None:
    child = start("t")
    assert child.stdout is not None
    assert child.stdout.readline() == b"0\n"
    time.sleep(0.5)
    child.send_signal(how)
    child.communicate(timeout=30)
    assert child.returncode == 128 + how
    assert state("team/crash/t") == "failed"
    assert folder("team/crash/t").writers() == []


@pytest.mark.parametrize(
    "ending, expected",
    [
        ("sys.exit(3)", ("failed", 3)),
        ("sys.exit(0)", ("finished", 0)),
        ("pass", ("finished", 0)),
        ("raise KeyError('x')", ("failed", 1)),
        ("sys.exit('message')", ("failed", 1)),
    ],
)
def test_script_without_finish_ends_as_its_process(ending: str, expected: tuple[str, int]) -> None:
    code = f"import sys, lineart\nrun = lineart.init(project='team/crash', id='s')\nrun.log({{'a': 1}})\n{ending}\n"
    subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    workspace, _, _ = parts("team/crash/s")
    row = workspace.catalog().rows("SELECT state, exit_code FROM runs")[0]
    assert (row[0], row[1]) == expected
    assert values("team/crash/s", "a") == [1]


@pytest.mark.on_disk
def test_store_that_is_moved_away_and_back_loses_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Path(os.environ["LINEART_STORE"])
    run = lineart.init(project="team/crash", id="v")
    for number in range(100):
        run.log({"number": number})
    store.rename(tmp_path / "elsewhere")
    for number in range(100, 200):
        run.log({"number": number})
    run._background._look()
    run.log({"picture": lineart.Image(np.zeros((2, 2), dtype=np.uint8))}, step=0)
    for number in range(200, 300):
        run.log({"number": number})
    run._background._look()
    run.finish()
    assert run.state == "finished"
    assert sum("has vanished" in record.message for record in caplog.records) == 1
    assert not store.exists()
    (tmp_path / "elsewhere").rename(store)
    assert values("team/crash/v", "number") == list(range(300))
    with lineart.init(project="team/crash") as other:
        deadline = time.monotonic() + 30
        while folder("team/crash/v").writers() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert other.id != "v"
    assert values("team/crash/v", "number") == list(range(300))
    assert history("team/crash/v").last_step() == 299
    workspace, project, name = parts("team/crash/v")
    record = read_run(workspace.project(), name)
    assert record is not None
    (picture,) = values("team/crash/v", "picture")
    assert picture["path"] in RunFiles(workspace.store, project, name, record.files).paths()
    assert state("team/crash/v") == "finished"


def test_full_disk_is_told_once_and_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = lineart.init(project="team/crash", id="f")
    run.log({"number": 0})
    real, full = os.write, [True]

    def write(descriptor: int, data: bytes) -> int:
        if full[0] and descriptor == run._journal_here()._descriptor:
            raise OSError(28, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    for number in range(1, 50):
        run.log({"number": number})
    assert sum("cannot be written" in record.message for record in caplog.records) == 1
    assert run.status()["synced"] is False
    full[0] = False
    for number in range(50, 60):
        run.log({"number": number})
    run.finish()
    assert values(run, "number") == list(range(60))


def test_torn_line_and_a_store_that_vanishes_lose_nothing(tmp_path: Path) -> None:
    code = """
import lineart, os, resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = sys.argv[1]
run = lineart.init(project="team/crash", id="r", store=store, settings={"console": "off"})
def log(first, last):
    for number in range(first, last):
        run.log({"number": number, "text": "y" * 100})
log(0, 100)
size = os.stat(run._journal_now.path).st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 40, resource.RLIM_INFINITY))  # the disk is full within a line
log(100, 110)
os.rename(store, store + ".away")
resource.setrlimit(resource.RLIMIT_FSIZE, (50, resource.RLIM_INFINITY))  # and so is the refuge's, at first
try:
    run._rescue()
except OSError as error:
    print(error, file=sys.stderr)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
run._rescue()
log(110, 120)
os.rename(store + ".away", store)
run.finish()
"""
    store = tmp_path / "store"
    done = subprocess.run(
        [sys.executable, "-c", code, str(store)], capture_output=True, text=True, check=True
    )
    assert "File too large" in done.stderr
    found = lineart.Api(store=str(store)).run("team/crash/r")
    assert [row["number"] for row in found.scan_history()] == list(range(120))


def test_finder_that_is_late_does_not_undo_what_came_after(monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
import lineart, os
run = lineart.init(project="team/crash", id="r", config={"c": 0})
run.config.update({"c": 1}, allow_val_change=True)
run.log({"x": 1})
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    real = recovery.compact

    def late(*args: Any) -> Any:
        found = real(*args)
        monkeypatch.setattr(recovery, "compact", real)
        with lineart.init(project="team/crash", id="r", resume="must") as again:  # it recovers the run first
            again.config.update({"c": 2}, allow_val_change=True)
            again.log({"x": 2})
        return found

    monkeypatch.setattr(recovery, "compact", late)
    while not recovery.recover_run(*parts("team/crash/r")):
        time.sleep(0.01)  # a program that it was just starting when it was killed still has its lock
    assert state("team/crash/r") == "finished"
    found = lineart.Api().run("team/crash/r")
    assert (found.config["c"], found.summary["x"]) == (2, 2)
    assert values("team/crash/r", "x") == [1, 2]


def test_run_that_cannot_be_recovered_keeps_no_other_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import lineart, os; lineart.init(project='team/crash', id='{}').log({{'x': 1}}); os.kill(os.getpid(), 9)"
    for run in ("a", "b"):
        subprocess.run([sys.executable, "-c", code.format(run)], check=False)
    workspace, project, _ = parts("team/crash/a")
    real = recovery.recover_run

    def fails(workspace: Any, project: Any, run: str) -> bool:
        if run == "a":
            raise RuntimeError("poison")
        return real(workspace, project, run)

    monkeypatch.setattr(recovery, "recover_run", fails)
    assert recovery.recover_project(workspace, project) == ["b"]
    assert values("team/crash/a", "x") == [1]
