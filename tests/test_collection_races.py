"""Processes that log, delete and collect the same content in one store at once, some of them killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

import builders
import s3server
from builders import HANG_S, SPAWN
from lineart.artifacts.names import ProjectName
from lineart.storage.errors import ConflictError, NotFoundError, UsageError
from lineart.storage.store import Store
from lineart.tracking import Api, Artifact, Workspace, find_settings, init
from lineart.tracking.links import restore_version

ART = str(Path(sys.executable).with_name("art"))
POOL = [builders.noise(2000 + 500 * number, number) for number in range(12)]  # what everybody logs
LARGE = builders.noise(3_000_000, 99)


def contents_of(seed: int) -> dict[str, bytes]:
    """What a version with this seed in its metadata holds."""
    source = random.Random(seed)
    found = {f"{number}": content for number, content in enumerate(source.sample(POOL, source.randint(1, 5)))}
    return {**found, "large": LARGE} if seed % 9 == 0 else found


def write_and_delete(environment: dict[str, str], worker: int, seconds: float, answer: Connection) -> None:
    """Log contents of the pool, delete some versions and bring some back; at the end tell how much was done."""
    os.environ.update(environment)
    source = random.Random(worker)
    counts = {"logged": 0, "deleted": 0, "restored": 0}
    end_s = time.monotonic() + seconds
    with init(project="race") as run:
        (Path(run.dir) / "note.txt").write_bytes(POOL[worker])
        workspace = run._workspace
        while time.monotonic() < end_s:
            seed = source.randrange(40)
            artifact = Artifact(f"data-{seed % 3}", "dataset", metadata={"seed": seed})
            for path, content in contents_of(seed).items():
                with artifact.new_file(path, "wb") as file:
                    file.write(content)
            run.log_artifact(artifact)
            counts["logged"] += 1
            project = workspace.project()
            collection = (
                project.state().collections[f"data-{source.randrange(3)}"] if counts["logged"] > 9 else None
            )
            if collection is not None:
                numbers = [version.number for version in collection.live()]
                gone = sorted(set(collection.versions) - set(numbers))
                try:
                    if numbers and source.random() < 0.8:
                        name = f"{collection.name}:v{source.choice(numbers)}"
                        Api().artifact(f"race/{name}").delete(delete_aliases=True)
                        counts["deleted"] += 1
                    elif gone:
                        restore_version(workspace, workspace.parse(f"{collection.name}:v{gone[-1]}"))
                        counts["restored"] += 1
                except (NotFoundError, UsageError, ConflictError):
                    pass  # another worker was first, or it is collected: that is what is played here
    answer.send(counts)
    answer.close()


def collect_until(end_s: float, environment: dict[str, str], *, kill: bool) -> tuple[int, int]:
    """Two collectors at a time without grace, some killed at a random moment; how many ended well, and were killed."""
    source = random.Random(1)
    done = killed = 0
    while time.monotonic() < end_s:
        pair = [
            subprocess.Popen(
                [ART, "gc", "--grace", "0s", "--compact-below", "60"],
                env={**os.environ, **environment},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for _ in range(2)
        ]
        if kill and source.random() < 0.5:
            time.sleep(source.uniform(0.3, 1.5))
            pair[0].kill()
        for process in pair:
            output, _ = process.communicate(timeout=HANG_S)
            assert process.returncode in (0, -signal.SIGKILL), output
            done += process.returncode == 0
            killed += process.returncode == -signal.SIGKILL
    return done, killed


def check(environment: dict[str, str], folder: Path) -> int:
    """Every live version has the bytes that its metadata promise, on a machine that knows nothing; how many."""
    settings = find_settings(project="race")
    store = Store.open(settings.store, cache=folder / "cold", storage_options=settings.storage_options)
    workspace = Workspace(store, ProjectName("default", "race"))
    count = 0
    for name in workspace.project().state().collections:
        for version in workspace.versions(name):
            count += 1
            promised = contents_of(version.state.metadata["seed"])
            assert version.manifest.keys() == promised.keys()
            for path, content in promised.items():
                with version.open(path) as stream:
                    assert stream.read() == content
            assert list(version.verify_stored()) == []
    store.close()
    verified = subprocess.run(
        [ART, "-p", "race", "verify", "--all"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert verified.returncode == 0, verified.stdout + verified.stderr
    return count


def race(environment: dict[str, str], folder: Path, *, writers: int, seconds: float, kill: bool) -> None:
    subprocess.run(
        [ART, "init", environment["LINEART_STORE"], "--no-config"],
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
    )
    ends, processes = [], []
    for worker in range(writers):
        here, there = SPAWN.Pipe(duplex=False)
        process = SPAWN.Process(target=write_and_delete, args=(environment, worker, seconds, there))
        process.start()
        there.close()
        ends.append(here)
        processes.append(process)
    try:
        done, killed = collect_until(time.monotonic() + seconds + 2, environment, kill=kill)
        counts = []
        for process, end in zip(processes, ends, strict=True):
            assert end.poll(HANG_S), "a writer hangs"
            counts.append(end.recv())
            process.join(HANG_S)
            assert process.exitcode == 0
    finally:
        for process in processes:
            process.kill()
            process.join()
    total = {key: sum(count[key] for count in counts) for key in counts[0]}
    print(total, f"{done} collections, {killed} killed")
    assert total["logged"] > 10
    assert total["deleted"] > 2
    assert done > 2
    assert check(environment, folder) > 0
    for _ in range(2):
        subprocess.run(
            [ART, "gc", "--grace", "0s"], env={**os.environ, **environment}, check=True, capture_output=True
        )
    check(environment, folder)


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in builders.environment(tmp_path).items():
        monkeypatch.setenv(name, value)


def test_racing_writers_and_collectors_lose_a_byte(tmp_path: Path) -> None:
    race(dict(builders.environment(tmp_path)), tmp_path, writers=4, seconds=6, kill=True)


@pytest.mark.slow
def test_long_race_of_writers_and_collectors_loses_a_byte(tmp_path: Path) -> None:
    race(dict(builders.environment(tmp_path)), tmp_path, writers=4, seconds=60, kill=True)


@pytest.mark.slow
def test_racing_writers_and_collectors_on_a_bucket_lose_a_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3server.moto() as server:
        url = s3server.new_bucket(server) + "/store"
        environment = {
            **builders.environment(tmp_path),
            "LINEART_STORE": url,
            **server.environment,
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        race(environment, tmp_path, writers=2, seconds=8, kill=False)
