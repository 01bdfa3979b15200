"""Runs whose store is a bucket: journals are shipped while they run, seen from elsewhere, and survive its absence."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import lineart
import s3server
from lineart.tracking import background
from run_reading import folder, history, live, state, values

LINE = s3server.Line()


@pytest.fixture(scope="module")
def server() -> Iterator[s3server.S3Server]:
    with s3server.moto(LINE) as running:
        yield running


@pytest.fixture
def bucket(server: s3server.S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket with a store that the environment names."""
    url = s3server.use(server, monkeypatch)
    subprocess.run(
        [Path(sys.executable).with_name("art"), "init", url, "--no-config"], check=True, capture_output=True
    )
    yield url
    LINE.mend()


def eventually(holds: Callable[[], bool], timeout_s: float = 30.0) -> bool:
    """Whether it becomes true in time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.1)
    return False


def test_run_is_seen_from_another_machine_while_it_runs(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "_FIRST_SHIP_S", 0.2)
    monkeypatch.setattr(background, "TICK_S", 0.1)
    run = lineart.init(project="team/far", id="r", config={"lr": 1})
    for number in range(100):
        run.log({"x": number})
    run.config["late"] = 2
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("HOME", str(tmp_path / "another"))
        assert eventually(lambda: "late" in live(run.path).config)
        assert values(run.path, "x") == list(range(100))
        assert live(run.path).state == "running"
        assert live(run.path).summary["x"] == 99
    run.finish()
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("HOME", str(tmp_path / "another"))
        assert values(run.path, "x") == list(range(100))
        assert state(run.path) == "finished"
    assert folder(run.path).writers() == []


def test_long_history_in_a_bucket_is_read_by_ranges(bucket: str) -> None:
    with lineart.init(project="team/far", id="long") as run:
        for number in range(8000):
            run.log({"x": number, "y": number / 3, "z": "text" * 5})
    assert values(run, "x") == list(range(8000))
    assert sum(history(run).buckets("y", 10).count) == 8000


def test_server_that_is_gone_does_not_stop_the_run_and_all_comes_home(
    bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    run = lineart.init(project="team/far", id="cut")
    run.log({"x": 0})
    LINE.is_down = True
    for number in range(1, 1000):
        run.log({"x": number})
    run.summary["best"] = 7
    run.finish(3)
    assert run.state == "failed"
    assert sum("going on offline" in record.message for record in caplog.records) == 1
    LINE.is_down = False
    assert not folder("team/far/cut").writers()
    with lineart.init(project="team/far"):
        assert eventually(lambda: state("team/far/cut") == "failed")
    assert values(run.path, "x") == list(range(1000))
    assert state(run.path) == "failed"


def test_killed_process_is_shown_as_crashed_and_its_history_comes_home(bucket: str) -> None:
    code = """
import lineart, os, signal
run = lineart.init(project="team/far", id="k")
for number in range(500): run.log({"x": number})
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert values("team/far/k", "x") == list(range(500))
    assert live("team/far/k").state == "crashed"
    with lineart.init(project="team/far", id="k", resume="must") as run:
        assert run.step == 500
        run.log({"x": 500})
    assert values("team/far/k", "x") == list(range(501))
    assert state("team/far/k") == "finished"
