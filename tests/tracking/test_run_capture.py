"""What a run records by itself, seen from the store; each part can be switched off, none breaks the run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import lineart
from lineart.tracking.run_files import RunFiles
from lineart.tracking.run_log import read_run
from run_reading import folder, history, parts

SCRIPT = """
import sys, time
import lineart
settings = eval(sys.argv[1])
with lineart.init(project="team/cap", id="r", settings=settings) as run:
    print("hello", "world")
    print("oops", file=sys.stderr)
    for part in range(5):
        print(f"\\r{part * 25}%", end="", file=sys.stderr)
    print(file=sys.stderr)
    run.log({"a": 1})
    time.sleep(float(sys.argv[2]))
"""


def git(place: Path, *arguments: str) -> None:
    """Run git with nothing of this machine's configuration."""
    who = ["-c", "user.name=ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *who, *arguments], cwd=place, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a script that logs, and a change that is not committed."""
    place = tmp_path / "repository"
    place.mkdir()
    (place / "train.py").write_text(SCRIPT, encoding="utf-8")
    (place / "data.txt").write_text("one\n", encoding="utf-8")
    git(place, "init")
    git(place, "add", ".")
    git(place, "commit", "-m", "first")
    (place / "data.txt").write_text("two\n", encoding="utf-8")
    return place


def run_script(
    place: Path, settings: dict[str, Any], seconds: float = 0.0
) -> tuple[dict[str, Any], dict[str, str]]:
    """Captured facts and text files of a run of the script."""
    environment = {**os.environ, "MY_API_KEY": "do-not-show", "MY_FLAG": "shown"}
    command = [sys.executable, "train.py", repr(settings), str(seconds), "--password", "do-not-show"]
    done = subprocess.run(command, cwd=place, check=True, capture_output=True, text=True, env=environment)
    assert "hello world" in done.stdout
    workspace, project, run = parts("team/cap/r")
    record = read_run(workspace.project(), run)
    assert record is not None
    files = RunFiles(workspace.store, project, run, record.files)
    texts = {path: files.open(path).read().decode() for path in files.paths()}
    assert "do-not-show" not in json.dumps(record.capture) + json.dumps(texts)
    return record.capture, texts


def test_everything_is_recorded(repository: Path) -> None:
    facts, files = run_script(repository, {"system_interval_s": 0.2}, 1.0)
    assert facts["command"][0].endswith("train.py")
    assert facts["git"]["branch"] == "main"
    assert facts["git"]["dirty"] is True
    assert facts["python"] == ".".join(map(str, sys.version_info[:3]))
    assert "+two" in files["diff.patch"]
    assert "numpy==" in files["requirements.txt"]
    assert files["code/train.py"] == SCRIPT
    assert files["output.log"].splitlines() == ["hello world", "oops", "100%"]
    assert (
        json.loads(files["environment.json"])["MY_FLAG"] == "shown"
        or "MY_FLAG" not in files["environment.json"]
    )
    measured = list(history("team/cap/r").rows(stream="system"))
    assert len(measured) >= 2
    assert 0 <= measured[0]["system/memory"] <= 100
    subprocess.run(["git", "stash"], cwd=repository, check=True, capture_output=True)
    subprocess.run(
        ["git", "apply", "-"],
        cwd=repository,
        input=files["diff.patch"].encode(),
        check=True,
        capture_output=True,
    )
    assert (repository / "data.txt").read_text(encoding="utf-8") == "two\n"


@pytest.mark.parametrize(
    "setting, gone",
    [
        ("git", "diff.patch"),
        ("packages", "requirements.txt"),
        ("save_code", "code/train.py"),
        ("environment", "environment.json"),
        ("console", "output.log"),
    ],
)
def test_each_part_can_be_switched_off(repository: Path, setting: str, gone: str) -> None:
    everything = {"diff.patch", "requirements.txt", "code/train.py", "environment.json", "output.log"}
    facts, files = run_script(repository, {setting: "off" if setting == "console" else False})
    assert set(files) == everything - {gone}
    assert ("git" in facts) is (setting != "git")


def test_machine_and_host_can_be_switched_off(repository: Path) -> None:
    facts, _ = run_script(repository, {"system": False, "host": False, "system_interval_s": 0.1}, 0.5)
    assert list(history("team/cap/r").rows(stream="system")) == []
    assert not facts.get("host")


def test_capture_that_fails_breaks_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no such sensor")

    monkeypatch.setattr("lineart.tracking.run_capture.gather", broken)
    monkeypatch.setattr("lineart.tracking.capture.system.SystemSampler.sample", broken)
    with lineart.init(project="team/cap", settings={"system_interval_s": 0.05}) as run:
        time.sleep(0.4)
        run.log({"a": 1})
    assert run.state == "finished"
    assert sum("no such sensor" in record.message for record in caplog.records) <= 2


def test_run_folder_is_saved_with_the_run() -> None:
    with lineart.init(project="team/cap") as run:
        Path(run.dir, "deep").mkdir()
        Path(run.dir, "deep", "note.txt").write_text("mine", encoding="utf-8")
    workspace, project, name = parts(run.path)
    record = read_run(workspace.project(), name)
    assert record is not None
    files = RunFiles(workspace.store, project, name, record.files, folder(run.path))
    assert files.open("deep/note.txt").read() == b"mine"
    assert files.local_path("deep/note.txt").read_text(encoding="utf-8") == "mine"
    with pytest.raises(lineart.Error, match=r"deep/nope.txt.*deep/note.txt"):
        files.open("deep/nope.txt")


def test_folder_of_the_users_choice_holds_the_files(tmp_path: Path) -> None:
    with lineart.init(project="team/cap", dir=tmp_path / "mine") as run:
        assert Path(run.dir).is_relative_to(tmp_path / "mine")
        Path(run.dir, "a.txt").write_text("a", encoding="utf-8")
    workspace, project, name = parts(run.path)
    record = read_run(workspace.project(), name)
    assert record is not None
    assert "a.txt" in RunFiles(workspace.store, project, name, record.files).paths()
