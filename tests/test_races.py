"""Processes that log into one collection at once, and that are killed at any moment."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

import builders
from builders import HANG_S, SPAWN
from lineart.artifacts.names import ProjectName
from lineart.storage.store import Store
from lineart.tracking import Api, Artifact, init
from lineart.tracking.workspace import Workspace

LARGE = 3_000_000  # cut into chunks


def content_of(worker: int, number: int) -> bytes:
    """What a worker logs in its turn: each time something else, now and then a large file, now and then a known one."""
    if number % 7 == 3:
        return b"the same from all"
    return builders.noise(LARGE if number % 5 == 4 else 1000, worker * 1000 + number)


def log_one(worker: int, number: int, run: object) -> str:
    artifact = Artifact("data", "dataset")
    with artifact.new_file("file", "xb") as file:
        file.write(content_of(worker, number))
    with artifact.new_file("name") as file:
        file.write(f"{worker}.{number}" if number % 7 != 3 else "all")
    run.log_artifact(artifact)  # type: ignore[attr-defined]
    return artifact.version


def log_versions(folder: str, worker: int, count: int, acknowledge: Connection, start: Barrier) -> None:
    """Log `count` versions and say after each which it became."""
    os.environ.update(builders.environment(Path(folder)))
    start.wait(HANG_S)
    with init(project="team/race") as run:
        for number in range(count):
            acknowledge.send((worker, number, log_one(worker, number, run)))
    acknowledge.close()


@contextlib.contextmanager
def workers(
    folder: Path, count: int, versions: int, first: int = 0
) -> Iterator[tuple[list[BaseProcess], list[Connection]]]:
    """Processes that have started together, and where they acknowledge."""
    start = SPAWN.Barrier(count + 1)
    processes, ends = [], []
    for worker in range(first, first + count):
        here, there = SPAWN.Pipe(duplex=False)
        process = SPAWN.Process(target=log_versions, args=(str(folder), worker, versions, there, start))
        process.start()
        there.close()
        processes.append(process)
        ends.append(here)
    start.wait(HANG_S)
    try:
        yield processes, ends
    finally:
        for process in processes:
            process.kill()
            process.join()


def gather(ends: list[Connection]) -> list[tuple[int, int, str]]:
    """Everything that was acknowledged until all pipes are closed."""
    found, ends = [], list(ends)
    while ends:
        ready = wait(ends, HANG_S)
        assert ready, "the workers hang"
        for end in ready:
            assert isinstance(end, Connection)
            try:
                found.append(end.recv())
            except (EOFError, OSError):  # killed in the middle of a message
                ends.remove(end)
    return found


def check(folder: Path, acknowledged: list[tuple[int, int, str]]) -> int:
    """Everything acknowledged is there byte for byte, and nothing that is there is broken; the number of versions."""
    for name, value in builders.environment(folder).items():
        os.environ[name] = value  # put back by the test's fixture
    api = Api()
    artifacts = api.artifacts("dataset", "team/race/data")
    assert sorted(int(artifact.version[1:]) for artifact in artifacts) == list(range(len(artifacts)))
    content = {}
    for artifact in artifacts:
        with artifact.open("file") as file, artifact.open("name") as name:
            content[artifact.version] = (file.read(), name.read())
    assert len(set(content.values())) == len(content)
    for worker, number, version in acknowledged:
        file, name = content[version]
        assert file == content_of(worker, number)
        assert name == (b"all" if number % 7 == 3 else f"{worker}.{number}".encode())
    empty = Store.open(str(folder / "store"), cache=folder / "empty")  # a machine that knows nothing
    for version in Workspace(empty, ProjectName("team", "race")).versions("data"):
        assert list(version.verify_stored()) == []
    return len(artifacts)


@pytest.fixture(autouse=True)
def _restore_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in builders.environment(tmp_path).items():
        monkeypatch.setenv(name, value)


def test_racing_processes_lose_a_version_or_double_a_number(tmp_path: Path) -> None:
    with workers(tmp_path, 16, 6) as (processes, ends):
        acknowledged = gather(ends)
        for process in processes:
            process.join(HANG_S)
            assert process.exitcode == 0
    assert len(acknowledged) == 16 * 6
    new = [version for _, number, version in acknowledged if number % 7 != 3]
    assert len(set(new)) == len(new) == 16 * 5
    assert len({version for _, number, version in acknowledged if number % 7 == 3}) == 1
    assert check(tmp_path, acknowledged) == 16 * 5 + 1
    api = Api()
    assert api.sql("SELECT count(*) FROM runs WHERE state = 'finished'").fetchall() == [(16,)]
    assert api.sql("SELECT count(*) FROM edges WHERE kind = 'produced'").fetchall() == [(96,)]


def kill_at_random(folder: Path, source: random.Random, rounds: int, count: int) -> None:
    acknowledged: list[tuple[int, int, str]] = []
    killed = 0
    for number in range(rounds):
        with workers(folder, count, 400, first=number * count) as (processes, ends):
            deaths = {process: time.monotonic() + source.uniform(0.05, 0.9) for process in processes}
            for process, death_s in sorted(deaths.items(), key=lambda item: item[1]):
                time.sleep(max(0.0, death_s - time.monotonic()))
                process.kill()
            for process in processes:
                process.join()
                killed += process.exitcode == -signal.SIGKILL
            acknowledged += gather(ends)
    assert killed == rounds * count
    assert len(acknowledged) > rounds
    before = check(folder, acknowledged)
    with init(project="team/race") as run:
        assert log_one(999, 0, run) == f"v{before}"
    assert check(folder, [*acknowledged, (999, 0, f"v{before}")]) == before + 1


def test_killed_processes_leave_a_half_version_or_lose_one(tmp_path: Path) -> None:
    kill_at_random(tmp_path, random.Random(7), rounds=3, count=4)


@pytest.mark.slow
def test_many_killed_processes_leave_a_half_version_or_lose_one(tmp_path: Path) -> None:
    kill_at_random(tmp_path, random.Random(), rounds=20, count=8)
