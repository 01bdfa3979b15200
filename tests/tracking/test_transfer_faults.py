"""Copies that are killed, that lose answers, that race: whatever happens, the next one makes it whole."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import builders
import lineart
import s3server
from lineart.storage.counting import CountingBackend
from lineart.storage.faults import Fault, FaultyBackend, RandomFaults
from lineart.storage.local import LocalBackend
from lineart.storage.retry import RetryingBackend
from lineart.storage.store import Store
from lineart.tracking import Workspace, find_settings
from lineart.tracking.links import link_version
from lineart.tracking.transfer import Choice, copy
from transferring import opened, picture, tree

ART = str(Path(sys.executable).with_name("art"))
ALL = Choice(everything=True)
WRITES = ("write", "write_file", "create", "delete")


class Killed(BaseException):
    """Stands for the end of the process at one call: nothing of ours may catch it."""


def log_versions(count: int, *, project: str = "team/digits", seed: str = "", size: int = 500) -> None:
    """A run with a history that logs data, and one that trains on each of its versions."""
    for number in range(count):
        with lineart.init(project=project, job_type="prepare") as run:
            made = lineart.Artifact("data", "dataset")
            with made.new_file("x.bin", "xb") as file:
                file.write(builders.noise(size, hash((seed, number)) & 0xFFFF))
            run.log_artifact(made)
            run.log({"rows": number})
        with lineart.init(project=project, job_type="train") as run:
            used = run.use_artifact("data:latest")
            made = lineart.Artifact("model", "model")
            with made.new_file("w.txt") as file:
                file.write(f"{seed} {number}")
            run.log_artifact(made, derived_from=[used])


@pytest.fixture
def laptop() -> Workspace:
    """Two versions each of data and models, one deleted, one linked into another project."""
    log_versions(2)
    home = opened(os.environ["LINEART_STORE"])
    link_version(home, home.parse("model:v1"), "team/registry/best", ["staging"])
    lineart.Api().artifact("team/digits/data:v0").delete(delete_aliases=True)
    return home


def whole(home: Workspace) -> bool:
    """Whether every byte of every version that a store shows is there."""
    return not any(
        error
        for project in home.project_names()
        for name in home.project(project).state().collections
        for version in home.versions(name, project)
        for error in version.verify_stored()
    )


def on(backend: Any, home: Workspace) -> Workspace:
    return Workspace(Store.on(backend, cache=home.store.cache), home.project_name, home.data)


@pytest.mark.slow
def test_push_is_whole_after_a_kill_at_any_call_that_writes(laptop: Workspace, tmp_path: Path) -> None:
    expected, folder, step = picture(laptop), tmp_path, 0
    for step in itertools.count():
        folder = tmp_path / f"target-{step}"
        opened(folder).close()
        calls = itertools.count()

        def kill(method: str, key: str, calls: Any = calls, step: int = step) -> None:
            if method.partition(".")[0] in WRITES and next(calls) == step:
                raise Killed

        backend = FaultyBackend(LocalBackend(folder), on_step=kill)
        try:
            copy(laptop, on(backend, laptop), ALL)
        except Killed:
            pass  # as a process is that is no more: what it has left is looked at below
        else:
            break
        target = opened(folder)
        assert whole(target), step
        copy(laptop, target, ALL)
        if step % 4 == 0:
            assert picture(target) == expected, step
        before = tree(folder)
        assert copy(laptop, target, ALL).transactions == 0
        assert tree(folder) == before, step
    assert step > 30
    assert picture(opened(folder)) == expected


@pytest.mark.parametrize("seed", range(6))
def test_push_is_exact_over_a_line_that_loses_requests_and_answers(
    seed: int, laptop: Workspace, tmp_path: Path
) -> None:
    opened(tmp_path / "target").close()
    plan = RandomFaults(seed, {Fault.BEFORE: 0.1, Fault.AFTER: 0.15, Fault.TORN: 0.1}, repeat=3)
    faulty = FaultyBackend(LocalBackend(tmp_path / "target"), plan)
    copy(laptop, on(RetryingBackend(faulty, sleep=lambda seconds: None), laptop), ALL)
    target = opened(tmp_path / "target")
    assert picture(target) == picture(laptop)
    assert copy(laptop, target, ALL).transactions == 0


@pytest.mark.slow
def test_killed_command_goes_on_where_it_was(tmp_path: Path) -> None:
    log_versions(6, size=400_000)
    laptop = opened(os.environ["LINEART_STORE"])
    source, killed = random.Random(5), 0
    for number in range(8):
        target = tmp_path / "target" if number % 2 else tmp_path / f"target-{number}"
        opened(target).close()
        last = len(tree(target)) + source.randrange(1, 12)
        process = subprocess.Popen(
            [ART, "push", str(target), "--all"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while process.poll() is None and len(tree(target)) < last:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        home = opened(target)
        assert whole(home)
        done = subprocess.run([ART, "push", str(target), "--all"], capture_output=True, text=True, check=True)
        assert "versions" in done.stdout
        assert picture(home) == picture(laptop)
        log_versions(1, seed=str(number))
    assert killed >= 3
    copy(laptop, opened(tmp_path / "target"), ALL)
    assert picture(opened(tmp_path / "target")) == picture(laptop)


def test_repeat_after_a_kill_copies_no_pack_twice(laptop: Workspace, tmp_path: Path) -> None:
    opened(tmp_path / "target").close()
    calls = itertools.count()

    def kill(method: str, key: str) -> None:
        if method == "create" and "/log/" in key and next(calls) == 1:
            raise Killed

    with pytest.raises(Killed):
        copy(laptop, on(FaultyBackend(LocalBackend(tmp_path / "target"), on_step=kill), laptop), ALL)
    before = {key for key in tree(tmp_path / "target") if key.startswith("packs/")}
    counting = CountingBackend(LocalBackend(tmp_path / "target"))
    report = copy(laptop, on(counting, laptop), ALL)
    after = {key for key in tree(tmp_path / "target") if key.startswith("packs/")}
    assert before
    history = sum("/segments/" in key for key in tree(tmp_path / "target"))
    assert counting.calls["write_file"] == len(after - before) + history
    assert report.bytes_present > 0


# Races


@pytest.fixture(scope="module")
def server() -> Iterator[s3server.S3Server]:
    with s3server.moto() as running:
        yield running


@pytest.mark.slow
def test_two_laptops_push_into_one_bucket_while_the_team_works(
    server: s3server.S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = s3server.new_bucket(server) + "/team"
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    Store.create(
        url, cache=find_settings(store=url).cache, entity="team", created="2026-01-02T03:04:05.000006Z"
    )
    for name in ("ann", "ben"):
        monkeypatch.setenv("LINEART_STORE", str(tmp_path / name))
        log_versions(8, seed=name)
    pushes = [
        subprocess.Popen(
            [ART, "--store", str(tmp_path / name), "push", url, "--all"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("ann", "ben")
    ]
    monkeypatch.setenv("LINEART_STORE", url)
    log_versions(3, seed="team")
    for push in pushes:
        out, err = push.communicate(timeout=builders.HANG_S)
        assert push.returncode == 0, err
        assert out.startswith(("renumbered", "16 versions", "15 versions")), out
    team = opened(url)
    digests = {
        (name, version.state.digest)
        for folder in ("ann", "ben")
        for name in ("data", "model")
        for version in opened(tmp_path / folder).versions(name)
    }
    for name in ("data", "model"):
        found = team.versions(name)
        assert [version.state.number for version in found] == list(range(19))
        assert {(name, version.state.digest) for version in found} >= {d for d in digests if d[0] == name}
    edges = team.catalog().rows("SELECT count(*), count(DISTINCT (run_id, version_id, kind)) FROM edges")
    assert edges == [(19 * 3, 19 * 3)]
    for folder in ("ann", "ben"):
        home = opened(tmp_path / folder)
        assert copy(home, team, ALL).transactions == 0
        assert copy(team, home, ALL).versions == 22


def test_pushes_of_one_store_at_the_same_time_are_one(laptop: Workspace, tmp_path: Path) -> None:
    opened(tmp_path / "target").close()
    failures: list[BaseException] = []

    def push() -> None:
        try:
            copy(opened(os.environ["LINEART_STORE"]), opened(tmp_path / "target"), ALL)
        except BaseException as error:  # shown by the test
            failures.append(error)

    threads = [threading.Thread(target=push) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert picture(opened(tmp_path / "target")) == picture(laptop)
