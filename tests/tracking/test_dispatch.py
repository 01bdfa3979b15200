"""Artifacts that are on their way: logged when they are safe here, sent beside the run, whatever happens then."""

from __future__ import annotations

import logging
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import builders
import lineart
import s3server
from lineart.storage.errors import NotFoundError, UsageError, WaitTimeoutError
from lineart.tracking import Workspace, find_settings
from lineart.tracking.dispatch import Dispatch, Pending
from lineart.tracking.syncing import outbox_of, sync

ART = str(Path(sys.executable).with_name("art"))
LINE = s3server.Line()


@pytest.fixture(scope="module")
def server() -> Iterator[s3server.S3Server]:
    with s3server.moto(LINE) as running:
        yield running


@pytest.fixture
def bucket(server: s3server.S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """A bucket with a store that the environment names."""
    url = s3server.use(server, monkeypatch, AWS_MAX_ATTEMPTS="1")
    monkeypatch.chdir(tmp_path)
    subprocess.run([ART, "init", url, "--no-config"], check=True, capture_output=True)
    yield url
    LINE.mend()


def workspace() -> Workspace:
    return Workspace.open(find_settings(project="p", entity="team"))


def artifact(text: str, name: str = "data", **how: Any) -> lineart.Artifact:
    made = lineart.Artifact(name, "dataset", **how)
    with made.new_file(f"{text}.txt") as file:
        file.write(text)
    return made


def started(run_id: str = "one") -> lineart.Run:
    return lineart.init(project="team/p", id=run_id, settings={"system": False, "console": "off"})


def bodies() -> dict[str, str]:
    """What every version of the collection says."""
    return {
        version.name.short: "".join(str(version.open(path).read().decode()) for path in version.manifest)
        for version in workspace().versions("data")
    }


def test_logging_returns_before_the_upload_and_what_needs_it_waits(bucket: str) -> None:
    with started() as run:
        LINE.packs_pass.clear()
        first = run.log_artifact(artifact("one"), aliases=["best"])
        second = run.log_artifact(artifact("two"))
        assert (first.state, first.file_count, first.stored_bytes > 0) == ("pending", 1, True)
        assert repr(first) == "<Artifact data (on its way)>"
        with pytest.raises(WaitTimeoutError) as caught:
            first.wait(0.1)
        builders.one_line(caught.value, "artifact 'data'", "MB sent", "0.1 s")
        assert "data" not in workspace().project().state().collections
        first.tags.append("later")
        LINE.packs_pass.set()
        assert (second.version, first.version, first.state) == ("v1", "v0", "committed")
        assert (sorted(first.aliases), first.tags) == (["best", "latest"], ["later"])
        first.save()
        run.log_artifact(artifact("three", incremental=True))
        assert lineart.Api().artifact("team/p/data:latest").version == "v2"
        assert run.use_artifact("data:latest").files() == ["three.txt", "two.txt"]
    assert bodies() == {"data:v0": "one", "data:v1": "two", "data:v2": "threetwo"}
    made = lineart.Api().artifact("team/p/data:v0")
    assert (made.tags, made.logged_by()) == (["later"], "team/p/one")
    assert outbox_of(workspace()).is_empty()


def test_content_that_is_on_its_way_is_made_twice(bucket: str) -> None:
    with started() as run:
        LINE.packs_pass.clear()
        for text in ("a", "b", "a"):
            made = lineart.Artifact("data", "dataset")
            with made.new_file("x.txt") as file:
                file.write(text)
            run.log_artifact(made)
        LINE.packs_pass.set()
    found = workspace().catalog().rows("SELECT version_id, is_new FROM productions ORDER BY position")
    assert found == [("team/p/data:v0", True), ("team/p/data:v1", True), ("team/p/data:v0", False)]


def test_finish_waits_as_long_as_it_is_told_and_says_what_is_on_its_way(
    bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    run = started()
    LINE.packs_pass.clear()
    made = run.log_artifact(artifact("one"))
    with caplog.at_level(logging.WARNING, "lineart"):
        run.finish(timeout=0.2)
    (told,) = [record.getMessage() for record in caplog.records]
    waited = re.match(r"run team/p/one: after ([\d.]+) s 1 artifact is still", told)
    assert waited is not None, told
    assert 0.2 <= float(waited[1]) < 10
    assert " 1 artifact is still on its way (artifact 'data': 0.0 of 0.0 MB sent); it is kept here" in told
    assert run.state == "finished"
    LINE.packs_pass.set()
    assert made.wait(30).version == "v0"  # for now: it lies in the outbox
    while outbox_of(workspace()).lanes():
        time.sleep(0.01)
    assert workspace().project().state().collections.get("data") is None
    assert sync(workspace()).versions == ["team/p/data:v0"]
    assert lineart.Api().run("team/p/one").state == "finished"
    assert lineart.Api().artifact("team/p/data:v0").logged_by() == "team/p/one"
    assert sync(workspace()).transactions == 0


def test_interrupted_wait_ends_the_run_and_leaves_the_rest_for_later(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = started()
    LINE.packs_pass.clear()
    made = run.log_artifact(artifact("one"))

    def interrupted(self: Dispatch, timeout: float | None = None) -> list[Pending]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Dispatch, "flush", interrupted)
        run.finish()
    assert run.state == "finished"
    LINE.packs_pass.set()
    made.wait(30)
    while outbox_of(workspace()).lanes():
        time.sleep(0.01)
    assert sync(workspace()).versions == ["team/p/data:v0"]
    assert lineart.Api().run("team/p/one").state == "finished"


def test_store_that_goes_away_meanwhile_gets_it_from_the_outbox(bucket: str) -> None:
    with started() as run:
        LINE.packs_pass.clear()
        made = run.log_artifact(artifact("one"))
        LINE.is_down = True
        LINE.packs_pass.set()
        assert made.version == "v0"  # for now: it lies in the outbox
        assert run.offline
        run.log_artifact(artifact("two"))
    LINE.is_down = False
    assert sync(workspace()).versions == ["team/p/data:v0", "team/p/data:v1"]
    assert bodies() == {"data:v0": "one", "data:v1": "two"}
    assert sync(workspace()).transactions == 0
    assert outbox_of(workspace()).is_empty()


def test_what_cannot_be_logged_is_refused_before_anything_waits(bucket: str) -> None:
    with started() as run:
        run.log_artifact(artifact("one"))
        run.use_artifact("data:latest")
        with pytest.raises(UsageError, match="type"):
            run.log_artifact(lineart.Artifact("data", "model"))
        missing = lineart.Artifact("more", "dataset")
        Path("gone").write_text("x")
        missing.add_file("gone")
        Path("gone").unlink()
        with pytest.raises(NotFoundError, match="gone"):
            run.log_artifact(missing)
        assert missing.is_draft()
    assert bodies() == {"data:v0": "one"}
    assert outbox_of(workspace()).lanes() == []


def test_child_of_a_fork_does_not_send_what_its_parent_has_logged(bucket: str) -> None:
    with started() as run:
        LINE.packs_pass.clear()
        made = run.log_artifact(artifact("one"))
        child = os.fork()
        if child == 0:
            try:
                made.wait(1)
            except UsageError as error:
                os._exit(0 if "before it forks" in str(error) else 3)
            os._exit(4)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        LINE.packs_pass.set()
    assert bodies() == {"data:v0": "one"}


def test_relogged_content_is_no_new_version(bucket: str) -> None:
    with started() as run:
        assert [run.log_artifact(artifact("one")).version for _ in range(3)] == ["v0", "v0", "v0"]


_WRITER = """
import sys, lineart
lineart.init(project="team/p", id=sys.argv[1], settings={"system": False, "console": "off"})
print("ready", flush=True)
for number in range(1000):
    made = lineart.Artifact("data", "dataset")
    with made.new_file("file.txt") as file:
        file.write(f"{sys.argv[1]} {number}")
    lineart.log_artifact(made)
    print(f"{sys.argv[1]} {number}", flush=True)
"""


def _killed(chance: random.Random, name: str) -> list[str]:
    """A process that logs until it is killed; what it was told is logged."""
    command = [sys.executable, "-c", _WRITER, name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        said = [writer.stdout.readline() for _ in range(chance.randrange(4))]
        time.sleep(chance.uniform(0, 0.3))
        writer.send_signal(signal.SIGKILL)
        said += writer.stdout.readlines()
    return [line.strip() for line in said]


def _kill_and_send(times: int) -> None:
    chance = random.Random(7)
    said: list[str] = []
    LINE.lost = 0.1
    for number in range(times):
        said += _killed(chance, f"r{number}")
        if chance.random() < 0.3:
            _killed_sync(chance)
    LINE.lost = 0.0
    sync(workspace())
    assert said
    found = list(bodies().values())
    assert len(found) == len(set(found)), "exactly once"
    assert set(said) <= set(found)
    assert sync(workspace()).transactions == 0
    assert outbox_of(workspace()).is_empty()


def _killed_sync(chance: random.Random) -> None:
    sender = subprocess.Popen([ART, "sync"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        sender.wait(chance.uniform(0.3, 1.5))
    except subprocess.TimeoutExpired:
        sender.send_signal(signal.SIGKILL)
        sender.wait()


@pytest.mark.slow
def test_killed_at_any_moment_every_snapshot_is_committed_exactly_once(bucket: str) -> None:
    _kill_and_send(5)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_40_times(bucket: str) -> None:
    _kill_and_send(40)


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_killed_200_times(bucket: str) -> None:
    _kill_and_send(200)
