"""Work done while a store did not answer: nothing stops, nothing is lost, and all of it is sent exactly once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lineart
import s3server
from lineart.storage.errors import CommError, UsageError
from lineart.tracking import Workspace, find_settings, syncing
from lineart.tracking.syncing import outbox_of, sync
from run_reading import state, values

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
    """The store that the environment names."""
    return Workspace.open(find_settings(project="p", entity="team"))


def artifact(name: str, text: str, type: str = "dataset") -> lineart.Artifact:
    """A draft with one file."""
    made = lineart.Artifact(name, type)
    with made.new_file("file.txt") as file:
        file.write(text)
    return made


def train(run_id: str, text: str, **more: Any) -> lineart.Run:
    """A run that makes a model of the newest data."""
    with lineart.init(project="team/p", id=run_id, config={"lr": 0.1}, **more) as run:
        data = run.use_artifact("data:latest", role="train")
        for number in range(20):
            run.log({"x": number})
        model = artifact("model", text, "model")
        run.log_artifact(model, aliases=["candidate"], derived_from=[data])
    return run


def body(name: str) -> str:
    """The text of a version's file."""
    return str(lineart.Api().artifact(f"team/p/{name}").open("file.txt").read().decode())


def test_offline_runs_use_what_each_other_have_logged_and_are_sent_as_one_history(bucket: str) -> None:
    with lineart.init(project="team/p", id="before") as run:
        run.log_artifact(artifact("data", "zero"))
    lineart.Api().artifact("team/p/data:latest")  # so this machine knows of it
    LINE.is_down = True
    with lineart.init(project="team/p", id="prepare", mode="offline") as run:
        assert run.offline
        assert run.use_artifact("data:latest").version == "v0"  # as it was known
        made = run.log_artifact(artifact("data", "one"), tags=["new"])
        assert made.version == "v1"  # for now
        run.config["data"] = made
    train("train", "a model", mode="offline")
    LINE.is_down = False
    with lineart.init(project="team/p", id="meanwhile", settings={"console": "off"}, store=bucket) as run:
        pass  # its thread may send the outbox, too
    other = subprocess.run([ART, "sync", "--json"], check=True, capture_output=True, text=True)
    assert json.loads(other.stdout)["is_busy"] is False
    assert [body(f"data:v{number}") for number in (0, 1)] == ["zero", "one"]
    model = lineart.Api().artifact("team/p/model:candidate")
    assert [version.name for version in model.upstream()] == ["data:v1", "data:v0"]
    assert model.logged_by() == "team/p/train"
    found = lineart.Api().run("team/p/prepare")
    assert (found.state, found.config["data"]["name"]) == ("finished", "team/p/data:v1")
    assert values("team/p/train", "x") == list(range(20))
    assert [version.name for version in lineart.Api().run("team/p/train").used_artifacts()] == ["data:v1"]
    before = workspace().project().state()
    assert sync(workspace()).transactions == 0
    assert workspace().project().state() == before
    assert not outbox_of(workspace()).parts()


def test_numbers_are_given_when_it_is_sent(bucket: str) -> None:
    with lineart.init(project="team/p", id="before") as run:
        run.log_artifact(artifact("data", "zero"))
    with lineart.init(project="team/p", id="away", mode="offline") as run:
        run.log_artifact(artifact("data", "mine"), aliases=["chosen"])
        run.log_artifact(artifact("data", "also theirs"))
    train("away-too", "model", mode="offline")
    environment = {**os.environ, "LINEART_DATA": str(Path.cwd() / "of-another-machine")}
    code = """
import lineart
with lineart.init(project="team/p", id="theirs") as run:
    for text in ("theirs", "also theirs"):
        made = lineart.Artifact("data", "dataset")
        with made.new_file("file.txt") as file:
            file.write(text)
        run.log_artifact(made)
"""
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    sent = sync(workspace())
    assert sent.versions == ["team/p/data:v3", "team/p/model:v0"]
    assert [body(f"data:v{n}") for n in range(4)] == ["zero", "theirs", "also theirs", "mine"]
    assert body("data:chosen") == "mine"
    assert body("data:latest") == "also theirs"  # logged last on that machine
    model = lineart.Api().artifact("team/p/model:latest")
    assert [version.name for version in model.upstream()] == ["data:v2"]


def test_store_that_goes_in_the_middle_of_a_run_is_told_once_and_all_of_it_is_sent(
    bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    with lineart.init(project="team/p", id="before") as run:
        run.log_artifact(artifact("data", "zero"))
    run = lineart.init(project="team/p", id="cut")
    run.log({"x": 0})
    run.log_artifact(artifact("early", "1")).wait()
    LINE.is_down = True
    data = run.use_artifact("data:latest")
    for number in range(1, 500):
        run.log({"x": number})
    assert run.log_artifact(artifact("late", "2"), derived_from=[data]).version == "v0"
    run.finish()
    assert (run.state, run.offline) == ("finished", True)
    assert sum("does not answer" in record.message for record in caplog.records) == 1
    with pytest.raises(CommError):
        sync(workspace())
    LINE.is_down = False
    assert sync(workspace()).versions == ["team/p/late:v0"]
    assert state("team/p/cut") == "finished"
    assert values("team/p/cut", "x") == list(range(500))
    late = lineart.Api().artifact("team/p/late:v0")
    assert [version.name for version in late.upstream()] == ["data:v0"]
    assert len(lineart.Api().runs("team/p")) == 2


def test_run_that_goes_on_has_what_waits_in_the_outbox(bucket: str) -> None:
    with lineart.init(project="team/p", id="r", mode="offline") as run:
        run.log({"x": 0})
    with lineart.init(project="team/p", id="r", resume="must") as run:
        assert run.step == 1
        run.log({"x": 1})
    assert values("team/p/r", "x") == [0, 1]


@pytest.mark.slow
def test_next_run_sends_by_itself(bucket: str) -> None:
    with lineart.init(project="team/p", id="away", mode="offline") as run:
        run.log_artifact(artifact("data", "mine"))
    with lineart.init(project="team/p", id="next"):
        give_up = time.monotonic() + 30
        while not lineart.Api().runs("team/p", {"name": run.name}) and time.monotonic() < give_up:
            time.sleep(0.1)
    assert body("data:latest") == "mine"


def test_killed_offline_run_is_sent_as_crashed(bucket: str) -> None:
    code = """
import lineart, os, signal
run = lineart.init(project="team/p", id="k", mode="offline")
for number in range(100):
    run.log({"x": number})
run.log_artifact("file.txt", name="data", type="dataset")
os.kill(os.getpid(), signal.SIGKILL)
"""
    Path("file.txt").write_text("mine")
    subprocess.run([sys.executable, "-c", code], check=False)
    told = json.loads(subprocess.run([ART, "sync", "--json"], check=True, capture_output=True).stdout)
    assert (told["runs"], told["recovered"]) == (["team/p/k"], ["team/p/k"])
    assert state("team/p/k") == "crashed"
    assert values("team/p/k", "x") == list(range(100))
    assert body("data:v0") == "mine"


@pytest.mark.slow
def test_send_that_is_killed_or_loses_answers_sends_once(bucket: str) -> None:
    chance = random.Random(5)
    with lineart.init(project="team/p", id="before") as run:
        run.log_artifact(artifact("data", "zero"))
    for number in range(6):
        with lineart.init(project="team/p", id=f"r{number}", mode="offline") as run:
            run.log_artifact(artifact("data", f"number {number}"), aliases=[f"a{number}"])
            run.log({"x": number})
    LINE.lost = 0.2
    for _ in range(40):
        sender = subprocess.Popen([ART, "sync"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            if sender.wait(chance.uniform(0.3, 2.5)) == 0:
                break
        except subprocess.TimeoutExpired:
            sender.send_signal(signal.SIGKILL)
            sender.wait()
    LINE.lost = 0.0
    sync(workspace())
    assert [body(f"data:v{number + 1}") for number in range(6)] == [f"number {n}" for n in range(6)]
    assert [body(f"data:a{number}") for number in range(6)] == [f"number {n}" for n in range(6)]
    assert sorted(run.id for run in lineart.Api().runs("team/p")) == ["before", *(f"r{n}" for n in range(6))]
    for number in range(6):
        assert values(f"team/p/r{number}", "x") == [number]
        produced = [v.name for v in lineart.Api().run(f"team/p/r{number}").logged_artifacts()]
        assert produced == [f"data:v{number + 1}"]
    events = (
        workspace()
        .catalog()
        .rows("SELECT event, run, count(*) FROM run_events GROUP BY ALL HAVING count(*) > 1")
    )
    assert events == []


def test_outbox_that_is_written_to_is_sent_afterwards(bucket: str) -> None:
    run = lineart.init(project="team/p", id="going", mode="offline")
    run.log_artifact(artifact("data", "mine"))
    assert sync(workspace()).is_busy
    run.finish()
    assert sync(workspace()).versions == ["team/p/data:v0"]


def test_collection_of_another_type_is_told_and_stays_in_the_outbox(bucket: str) -> None:
    with lineart.init(project="team/p", id="away", mode="offline") as run:
        run.log_artifact(artifact("data", "mine"))
    environment = {**os.environ, "LINEART_DATA": str(Path.cwd() / "of-another-machine")}
    Path("file.txt").write_text("theirs")
    put = [ART, "put", "-p", "team/p", "file.txt", "-n", "data", "-t", "model"]
    subprocess.run(put, check=True, env=environment, capture_output=True)
    for _ in range(2):
        with pytest.raises(UsageError, match="made offline with type 'dataset' and has type 'model' now"):
            sync(workspace())
    assert outbox_of(workspace()).parts()


def test_commands_do_not_go_offline(bucket: str) -> None:
    Path("file.txt").write_text("x")
    LINE.is_down = True
    done = subprocess.run(
        [ART, "put", "file.txt", "-n", "data", "-t", "dataset"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "cannot be reached" in done.stderr
    assert syncing.outbox_of(Workspace.open(find_settings(), offline=True)).parts() == []


def test_what_waits_is_measured_by_artifact(bucket: str) -> None:
    with lineart.init(project="team/p", id="away", mode="offline") as run:
        for number in range(3):
            run.log_artifact(artifact("data", f"number {number}"))
        run.log_artifact(artifact("model", "m", "model"))
    told = subprocess.run([ART, "du", "--json"], check=True, capture_output=True, text=True)
    facts = json.loads(told.stdout)
    assert facts["outbox"] == [
        {"name": "team/p/data", "versions": 3, "logical_bytes": 24},
        {"name": "team/p/model", "versions": 1, "logical_bytes": 1},
    ]
    assert facts["outbox_bytes"] > 25
    shown = subprocess.run([ART, "du"], check=True, capture_output=True, text=True).stdout
    assert "team/p/data  3 versions, 24 B" in shown
    sync(workspace())
    told = subprocess.run([ART, "du", "--json"], check=True, capture_output=True, text=True)
    assert json.loads(told.stdout)["outbox"] == []
