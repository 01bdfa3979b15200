"""Many processes on one project of a bucket, over a line that loses answers and fails."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import s3server
from lineart.tracking import Workspace, find_settings
from lineart.tracking.syncing import outbox_of

ART = str(Path(sys.executable).with_name("art"))
_LOCK = threading.Lock()
_CHANCE = random.Random(3)
RATES = {"lost": 0.0, "failed": 0.0}
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


def _bad_line(application: s3server.Application) -> s3server.Application:
    """Does what it is asked and says that it failed, or fails at once, as often as `RATES` says."""

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with _LOCK:
            drawn = _CHANCE.random()
        if drawn < RATES["lost"]:
            list(application(environ, lambda *_: lambda _: None))
        elif drawn >= RATES["lost"] + RATES["failed"]:
            return application(environ, start_response)
        else:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response("500 Internal Error", [("Content-Length", "0")])
        return [b""]

    return serve


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with s3server.moto(_bad_line) as server:
        url = s3server.new_bucket(server) + "/store"
        for name, value in {"LINEART_STORE": url, **server.environment}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        subprocess.run([ART, "init", url, "--no-config"], check=True, capture_output=True)
        yield url
        RATES.update(lost=0.0, failed=0.0)


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
    RATES.update(lost=0.0, failed=0.0)
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


@pytest.mark.parametrize("rates", [(0.0, 0.0), (0.2, 0.1)], ids=["good line", "bad line"])
def test_racing_processes_lose_or_double_nothing(
    bucket: str, tmp_path: Path, rates: tuple[float, float]
) -> None:
    RATES.update(lost=rates[0], failed=rates[1])
    _race(tmp_path, 4, 2)


@pytest.mark.slow
@pytest.mark.parametrize("rates", [(0.0, 0.0), (0.2, 0.1)], ids=["good line", "bad line"])
def test_sixteen_racing_processes_lose_or_double_nothing(
    bucket: str, tmp_path: Path, rates: tuple[float, float]
) -> None:
    RATES.update(lost=rates[0], failed=rates[1])
    _race(tmp_path, 16, 5)
