"""What lies in a run's folder is stored when it ends; what cannot be is told and keeps nothing else from it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import lineart
from lineart.tracking import run_files
from lineart.tracking.run_files import publish_files
from run_reading import folder, parts, state


def test_files_that_cannot_be_stored_are_told_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    with lineart.init(project="team/p", id="r", settings={"console": "off"}) as run:
        place = Path(run.dir)
        for name in ("good.txt", "a b\n.txt", "epoch:3", "back\\slash", "\u00e9.txt", "e\u0301.txt"):
            (place / name).write_text(name, encoding="utf-8")
        (place / "deep").mkdir()
        (place / "deep" / "good.txt").write_text("deep", encoding="utf-8")
        (place / "link").symlink_to("good.txt")
        (place / "nowhere").symlink_to("/nonexistent")
        (place / "folder").symlink_to("deep")
        os.mkfifo(place / "pipe")
        with open(os.fsencode(place) + b"/\xff.txt", "wb") as file:
            file.write(b"x")
        here = Path.cwd()
        os.chdir(place)  # a socket's path has to be short
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("socket")
        os.chdir(here)
    found = {file.name for file in lineart.Api().run("team/p/r").files()}
    assert {"good.txt", "a b\n.txt", "epoch:3", "deep/good.txt", "link"} <= found
    assert len({"\u00e9.txt", "e\u0301.txt"} & found) == 1
    assert not {"back\\slash", "nowhere", "folder", "pipe", "socket"} & found
    assert "files of a run that cannot be stored" in caplog.text
    assert "and 4 more" in caplog.text
    assert state("team/p/r") == "finished"
    assert folder("team/p/r").writers() == []


def test_file_and_folder_of_one_name_from_two_processes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lineart.init(project="team/p", id="r").finish()
    (tmp_path / "a").mkdir()
    (tmp_path / "b" / "x").mkdir(parents=True)
    (tmp_path / "a" / "x").write_text("file", encoding="utf-8")
    (tmp_path / "b" / "x" / "y").write_text("in a folder", encoding="utf-8")
    record = publish_files(parts("team/p/r")[0].store, {tmp_path / "a": "", tmp_path / "b": ""})
    assert record is not None
    assert record["file_count"] == 1
    assert "'x/y' (there is 'x', too)" in caplog.text


def test_file_that_is_written_at_the_end_is_stored_as_it_is_then() -> None:
    with lineart.init(project="team/p", id="r", settings={"console": "off"}) as run:
        code = "import sys; out = open(sys.argv[1], 'ab', buffering=0)\nwhile True: out.write(b'more ')"
        writer = subprocess.Popen([sys.executable, "-c", code, str(Path(run.dir) / "log.txt")])
        while not (Path(run.dir) / "log.txt").exists():
            assert writer.poll() is None
        run.finish()
        writer.kill()
        writer.wait()
    assert state("team/p/r") == "finished"
    (found,) = (file for file in lineart.Api().run("team/p/r").files() if file.name == "log.txt")
    assert found.size > 0


def test_file_that_goes_while_it_is_stored_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lineart.init(project="team/p", id="r").finish()
    place = tmp_path / "files"
    place.mkdir()
    for name in ("a", "b"):
        (place / name).write_text(name, encoding="utf-8")
    real = run_files.publish

    def late(*args: Any, **more: Any) -> Any:
        (place / "a").unlink(missing_ok=True)
        return real(*args, **more)

    monkeypatch.setattr(run_files, "publish", late)
    record = publish_files(parts("team/p/r")[0].store, {place: ""})
    assert record is not None
    assert record["file_count"] == 1
    assert "'a' (removed meanwhile)" in caplog.text
