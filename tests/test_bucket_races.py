"""Many processes on one project of a bucket, over a line that loses answers and fails."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import s3server
from lineart.tracking import Workspace, find_settings
from lineart.tracking.syncing import outbox_of

ART = str(Path(sys.executable).with_name("art"))
LINE = s3server.Line()
_WORK = """
import lineart, sys
with lineart.init(project="team/race", settings={"system": False, "console": "off"}) as run:
    for number in range(int(sys.argv[2])):
        made = lineart.Artifact("model", "model")
        with made.new_file("w.txt") as file:
            file.write(f"{sys.argv[1]} {number}")
        run.log_artifact(made)
        print(f"{sys.argv[1]} {number}", flush=True)
"""


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    LINE.mend(seed=3)
    with s3server.moto(LINE) as server:
        url = s3server.use(server, monkeypatch)
        monkeypatch.chdir(tmp_path)
        subprocess.run([ART, "init", url, "--no-config"], check=True, capture_output=True)
        yield url


def _race(tmp_path: Path, processes: int, versions: int) -> None:
    """Each on a machine of its own. What they were told is logged is there once, with numbers without holes."""
    said: list[str] = []
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", _WORK, str(worker), str(versions)],
            env={**os.environ, "HOME": str(tmp_path / f"machine-{worker}")},
            stdout=subprocess.PIPE,
            text=True,
        )
        for worker in range(processes)
    ]
    for worker in workers:
        said += worker.communicate(timeout=280)[0].splitlines()
        assert worker.returncode == 0
    LINE.mend()
    for worker_number in range(processes):  # those that gave up on the line have an outbox
        home = {**os.environ, "HOME": str(tmp_path / f"machine-{worker_number}")}
        subprocess.run([ART, "sync"], check=True, capture_output=True, env=home)
    store = Workspace.open(find_settings(project="race", entity="team"))
    found = store.versions("model")
    assert [version.state.number for version in found] == list(range(processes * versions))
    bodies = [version.open("w.txt").read().decode() for version in found]
    assert sorted(bodies) == sorted(said)
    assert len(said) == processes * versions
    assert outbox_of(store).is_empty()
    assert len(store.catalog().rows("SELECT DISTINCT run_id FROM edges")) == processes


@pytest.mark.slow
@pytest.mark.parametrize("rates", [(0.0, 0.0), (0.2, 0.1)], ids=["good line", "bad line"])
def test_racing_processes_lose_or_double_nothing(
    bucket: str, tmp_path: Path, rates: tuple[float, float]
) -> None:
    LINE.lost, LINE.failed = rates
    _race(tmp_path, 4, 2)


@pytest.mark.slow
@pytest.mark.parametrize("rates", [(0.0, 0.0), (0.2, 0.1)], ids=["good line", "bad line"])
def test_sixteen_racing_processes_lose_or_double_nothing(
    bucket: str, tmp_path: Path, rates: tuple[float, float]
) -> None:
    LINE.lost, LINE.failed = rates
    _race(tmp_path, 16, 5)
