"""A bucket with its logs in a database: whichever of the two is away, what is made goes to the outbox whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lineart
import s3server
from lineart.tracking import Workspace, find_settings
from postgres_server import PostgresServer, postgres_or_skip

ART = str(Path(sys.executable).with_name("art"))
LINE = s3server.Line()


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresServer]:
    """A server of its own, and a store in a bucket that the environment names, with its logs there."""
    with postgres_or_skip() as server, s3server.moto(LINE) as bucket:
        url = s3server.use(bucket, monkeypatch, AWS_MAX_ATTEMPTS="1")
        monkeypatch.chdir(tmp_path)
        art("init", url, "--no-config", "--log", server.url)
        with lineart.init(project="team/p", id="before") as run:
            run.log_artifact(artifact("data", "zero"))
        lineart.Api().artifact("team/p/data:latest")  # so this machine knows of it
        try:
            yield server
        finally:
            LINE.mend()


def art(*arguments: str) -> str:
    done = subprocess.run([ART, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def artifact(name: str, text: str) -> lineart.Artifact:
    """A draft with one file."""
    made = lineart.Artifact(name, "dataset")
    with made.new_file("file.txt") as file:
        file.write(text)
    return made


def committed(server: PostgresServer) -> int:
    """The transactions of all projects in the database."""
    count: int = server.execute("SELECT count(*) FROM lineart_log WHERE prefix LIKE 'projects/%'")[0][0]
    return count


def check_all_is_there(*texts: str) -> None:
    """Sent once, in order, and readable by another machine."""
    assert json.loads(art("sync", "--json"))["is_busy"] is False
    assert json.loads(art("sync", "--json"))["transactions"] == 0
    os.environ["LINEART_CACHE"] = str(Path("other-machine").absolute())
    try:
        api = lineart.Api()
        for number, text in enumerate(texts):
            with api.artifact(f"team/p/data:v{number}").open("file.txt") as stream:
                assert stream.read().decode() == text
        assert api.artifact("team/p/data:latest").version == f"v{len(texts) - 1}"
        assert json.loads(art("verify", "-p", "team/p", "--json"))["ok"]
        assert {run.state for run in api.runs("team/p")} == {"finished"}
    finally:
        del os.environ["LINEART_CACHE"]


def test_offline_run_needs_the_database(database: PostgresServer) -> None:
    LINE.is_down = True
    database.stop()
    with lineart.init(project="team/p", id="offline", mode="offline") as run:
        assert run.use_artifact("data:latest").version == "v0"
        assert run.log_artifact(artifact("data", "one")).version == "v1"
        run.log({"x": 1})
    LINE.is_down = False
    database.start()
    check_all_is_there("zero", "one")
    assert len(list(lineart.Api().run("team/p/offline").scan_history())) == 1


@pytest.mark.slow
def test_bucket_that_goes_away_leaves_versions_without_bytes(database: PostgresServer) -> None:
    with lineart.init(project="team/p", id="caught") as run:
        run.log_artifact(artifact("data", "one")).wait()
        before = committed(database)
        LINE.is_down = True
        run.log_artifact(artifact("data", "two")).wait()
        assert run.offline
        run.log({"x": 1})
    assert committed(database) == before
    LINE.is_down = False
    check_all_is_there("zero", "one", "two")


@pytest.mark.slow
def test_database_that_goes_away_stops_a_run(database: PostgresServer) -> None:
    with lineart.init(project="team/p", id="caught") as run:
        run.log_artifact(artifact("data", "one")).wait()
        before = committed(database)
        database.stop()
        run.log_artifact(artifact("data", "two")).wait()
        assert run.offline
        run.log({"x": 1})
    database.start()
    assert committed(database) == before
    check_all_is_there("zero", "one", "two")


def test_database_that_is_away_is_needed_at_the_start(database: PostgresServer) -> None:
    database.stop()
    with lineart.init(project="team/p", id="late") as run:
        run.log_artifact(artifact("data", "one"))
    database.start()
    check_all_is_there("zero", "one")
    assert Workspace.open(find_settings()).project_names()
