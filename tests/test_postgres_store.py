"""The main job on a store whose logs lie in PostgreSQL: the same commands, the same answers, a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import builders
import lineart
import s3server
from builders import HANG_S, SPAWN
from lineart.tracking import Workspace, find_settings
from postgres_server import PostgresServer, postgres_or_skip

FLIP = "UPDATE lineart_log SET body = set_byte(body, 70, get_byte(body, 70) # 1)"  # one bit of an entry
ART = str(Path(sys.executable).with_name("art"))


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_or_skip() as running:
        yield running


@pytest.fixture
def database(server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty database, and a folder where the environment names a store that is not there yet."""
    monkeypatch.setenv("LINEART_PROJECT", "digits")
    monkeypatch.chdir(tmp_path)
    return server.new_database()


def art(*arguments: str, code: int = 0) -> str:
    done = subprocess.run([ART, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr + done.stdout
    return done.stdout if code == 0 else done.stderr


def art_json(*arguments: str) -> Any:
    return json.loads(art(*arguments, "--json"))


def test_main_job_from_shell_and_python(database: str, tmp_path: Path) -> None:
    made = art_json("init", "--log", database)
    assert (made["created"], made["log"]) == (True, database)
    data = tmp_path / "data"
    data.mkdir()
    for number in range(30):
        (data / f"{number:03}.txt").write_text(f"row {number}\n" * 50)
    art("put", str(data), "-n", "rows", "-t", "dataset")
    with lineart.init(job_type="train", config={"lr": 0.1}) as run:
        rows = run.use_artifact("rows:latest", role="train")
        for step in range(5):
            run.log({"loss": 1 / (step + 1)})
        run.log_artifact(data / "007.txt", name="model", type="model", derived_from=[rows]).wait()
    art("alias", "model:v0", "production")
    assert art_json("show", "model:production")["version"] == "v0"
    assert "rows:v0" in art("lineage", "model:production")
    events = [event["event"] for event in art_json("log", "model")]
    assert events.count("alias") == 2
    assert events.count("created") == 1
    (found,) = art_json("run", "ls")
    assert (found["id"], found["state"]) == (run.id, "finished")
    history = lineart.Api().run(f"digits/{run.id}").history(pandas=False)
    assert [row["loss"] for row in history] == [1 / (step + 1) for step in range(5)]
    art("get", "rows:v0", "--root", "copy")
    subprocess.run(["diff", "-r", str(data), "copy"], check=True)
    verified = art_json("verify", "--all")
    assert verified["ok"]
    assert verified["transactions"] >= 5
    (data / "007.txt").write_text("changed")
    art("put", str(data), "-n", "rows", "-t", "dataset")
    assert art_json("show", "rows:latest")["version"] == "v1"
    assert "1" in art("sql", "select count(*) from runs")
    assert not list((tmp_path / "store").rglob("log/*"))


def test_bucket_with_its_logs_in_a_database(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a machine notes of a bucket, and what the bucket no longer has, do not come between."""
    with s3server.moto() as bucket:
        url = s3server.use(bucket, monkeypatch, "team/store")
        art("init", url, "--log", database, "--no-config")
        for number in range(3):
            (tmp_path / "a.txt").write_text(f"{number}")
            art("put", "a.txt", "-n", "data", "-t", "dataset")
            assert art("cat", "data:latest/a.txt") == f"{number}"
        with lineart.init() as run:
            run.use_artifact("data:v1")
            run.log({"loss": 1.0})
        assert [found["state"] for found in art_json("run", "ls")] == ["finished"]
        assert len(art_json("log", "data")) == 6
        assert art_json("verify", "--all")["ok"]
        workspace = Workspace.open(find_settings())
        assert not list(workspace.store.backend.list("projects/default/digits/log/"))
        assert workspace.project_names() == [workspace.project_name]
        workspace.close()


def test_status_says_where_the_logs_lie(database: str, tmp_path: Path) -> None:
    art("init", "--log", database)
    (tmp_path / "a.txt").write_text("a")
    art("put", "a.txt", "-n", "data", "-t", "dataset", "-p", "team/one")
    art("put", "a.txt", "-n", "data", "-t", "dataset", "-p", "team/two")
    status = art_json("status")
    assert (status["log"], status["format"], status["projects"], status["versions"]) == (database, 2, 2, 2)
    assert database in art("status")
    workspace = Workspace.open(find_settings())
    assert [str(name) for name in workspace.project_names()] == ["team/one", "team/two"]
    workspace.close()


def test_run_is_found_resumed_and_claimed_once(database: str) -> None:
    art("init", "--log", database)
    with lineart.init(id="first") as run:
        run.log({"a": 1})
    with lineart.init(id="first", resume="must") as run:
        run.log({"a": 2})
    with pytest.raises(lineart.Error):
        lineart.init(id="first", resume="never")
    assert [record["id"] for record in art_json("run", "ls")] == ["first"]
    assert len(list(lineart.Api().run("digits/first").scan_history())) == 2


def test_login_tells_whether_commits_are_possible(
    database: str, server: PostgresServer, tmp_path: Path
) -> None:
    art("init", "--log", database)
    assert lineart.login().entity == "default"
    server.execute("DROP TABLE lineart_log", url=database)
    with pytest.raises(lineart.Error) as caught:
        lineart.login()
    builders.one_line(caught.value, database)


def test_init_with_a_password_or_without_a_server_makes_nothing(database: str, tmp_path: Path) -> None:
    told = art("init", "./store", "--log", database.replace("lineart@", "lineart:secret@"), code=2)
    assert "PGPASSFILE" in told
    assert "secret" not in told
    told = art("init", "./store", "--log", "postgresql://127.0.0.1:1/nothing", code=1)
    assert "does not answer" in told
    assert told.count("\n") == 1
    assert not (tmp_path / "store" / "lineart.json").exists()
    assert not (tmp_path / "lineart.toml").exists()


def log_versions(folder: str, worker: int, count: int, answers: Any) -> None:
    """Log versions in a run of its own, and say which each became."""
    os.environ.update({**builders.environment(Path(folder)), "LINEART_PROJECT": "digits"})
    with lineart.init(id=f"w{worker}") as run:
        for number in range(count):
            artifact = lineart.Artifact("data", "dataset")
            with artifact.new_file("name") as file:
                file.write(f"{worker}.{number}")
            answers.put((run.log_artifact(artifact).wait().version, f"{worker}.{number}"))


def test_processes_log_into_one_collection(database: str, tmp_path: Path) -> None:
    store = builders.environment(tmp_path)["LINEART_STORE"]
    art("--store", store, "init", "--log", database, "--no-config")
    answers = SPAWN.Queue()
    workers = [SPAWN.Process(target=log_versions, args=(str(tmp_path), n, 4, answers)) for n in range(6)]
    for worker in workers:
        worker.start()
    told = dict(answers.get(timeout=HANG_S) for _ in range(24))
    for worker in workers:
        worker.join(HANG_S)
        assert worker.exitcode == 0
    assert set(told) == {f"v{number}" for number in range(24)}
    api = lineart.Api(store=store)
    for version, content in told.items():
        with api.artifact(f"default/digits/data:{version}").open("name", "rb") as stream:
            assert stream.read().decode() == content
    assert "ok" in art("--store", store, "verify", "--all")


@pytest.fixture
def three(database: str, tmp_path: Path) -> str:
    """A store with three versions; the address of its database."""
    art("init", "--log", database)
    for number in range(3):
        (tmp_path / "a.txt").write_text(f"{number}")
        art("put", "a.txt", "-n", "data", "-t", "dataset")
    return database


@pytest.mark.parametrize(
    "statement, numbers",
    [
        (
            f"{FLIP} WHERE {{log}} AND seq = 1",
            [1],
        ),
        (
            f"{FLIP} WHERE {{log}} AND seq = 2",
            [2],
        ),
        ("UPDATE lineart_log SET digest = set_byte(digest, 0, 7) WHERE {log} AND seq = 0", [0]),
        ("DELETE FROM lineart_log WHERE {log} AND seq = 1", [1]),
        ("DELETE FROM lineart_log WHERE {log} AND seq = 2", [2]),  # an earlier verification has seen it
        ("DELETE FROM lineart_log WHERE {log}", [0]),
        (f"{FLIP} WHERE prefix = 'store/' AND seq = 1", [1]),
    ],
)
def test_damaged_row_is_whole(three: str, server: PostgresServer, statement: str, numbers: list[int]) -> None:
    assert art_json("verify", "--all")["transactions"] == 5  # three, and two of the store's own log
    server.execute(statement.format(log="prefix = 'projects/default/digits/'"), url=three)
    done = subprocess.run([ART, "verify", "--all", "--json"], capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    assert done.returncode == 1, done.stderr
    assert [problem["kind"] for problem in found["problems"]] == ["log"] * len(numbers)
    for problem, number in zip(found["problems"], numbers, strict=True):
        assert problem["key"].endswith(f"log {number}")
        assert "transaction" in problem["message"]
    again = subprocess.run([ART, "verify", "--all", "--repair"], capture_output=True, text=True, check=False)
    assert again.returncode == 1, "only the backup of the database has it"
    assert "Traceback" not in again.stderr


def test_hole_is_taken_for_the_end(three: str, server: PostgresServer) -> None:
    """Whoever does not see what lies behind it would end the log there."""
    server.execute(
        "DELETE FROM lineart_log WHERE prefix = 'projects/default/digits/' AND seq = 1",
        url=three,
    )
    assert "transaction 1" in art("put", "a.txt", "-n", "data", "-t", "dataset", code=1)
    assert "missing" in art("ls", code=1)
