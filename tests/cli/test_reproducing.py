"""`art reproduce` and `art run get`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TRAIN = """
import sys, lineart
with lineart.init(project="digits", name="train") as run:
    images = run.use_artifact("images:v0", role="train")
    model = lineart.Artifact("net", "model")
    with model.new_file("w") as file:
        file.write(images.open("labels.csv", "r").read() + MORE)
    run.log_artifact(model)
"""


@pytest.fixture
def net(digits: Path, tmp_path: Path) -> Path:
    """A model made by a script in a folder of its own; a second one that is never the same."""
    folder = tmp_path / "code"
    folder.mkdir()
    for more in ('""', '__import__("uuid").uuid4().hex'):
        (folder / "train.py").write_text(TRAIN.replace("MORE", more))
        subprocess.run([sys.executable, "train.py"], cwd=folder, check=True, capture_output=True)
    return folder


def test_script_is_printed(art, net: Path) -> None:
    out = art("reproduce", "net:v0").out
    assert out.startswith("#!/bin/sh\n# net:v0 of default/digits, made by the run train")
    assert 'art pull "$from" default/digits/images:v0' in out
    assert '"$here/venv/bin/python" train.py' in out
    syntax = subprocess.run(["sh", "-n"], input=out, text=True, check=False)
    assert syntax.returncode == 0


def test_check_says_the_same(art, net: Path, tmp_path: Path) -> None:
    answer = art("reproduce", "net:v0", "--check", "--no-env")
    assert answer.out.startswith("net:v0 comes out the same: blake3 ")
    assert "running python train.py" in answer.err


def test_check_says_what_differs(art, net: Path, tmp_path: Path) -> None:
    answer = art("reproduce", "net:v1", "--check", "--no-env", "--into", "made", status=1)
    assert "net:v1 comes out different" in answer.out
    assert "~ w" in answer.out
    assert "made" in answer.err
    found = art("reproduce", "net:v1", "--check", "--no-env", "--into", "other", "--json", status=1).json
    assert (found["verdict"], [change["path"] for change in found["differences"]]) == ("differs", ["w"])
    assert found["into"] == "other"


def test_what_cannot_be_made_anew_says_why(art, digits: Path, tmp_path: Path) -> None:
    (tmp_path / "loose.txt").write_text("x")
    art("put", "loose.txt", "--name", "loose", "--type", "data")
    answer = art("reproduce", "loose", status=2)
    assert "cannot be made anew: loose:v0 was logged outside of a run" in answer.err
    assert answer.out.rstrip().endswith("exit 2")
    answer = art("reproduce", "loose", "--check", status=2)
    assert "outside of a run" in answer.err
    assert answer.out == ""
    assert art("reproduce", "loose", "--json", status=2).json["obstacles"]


def test_options_of_checking_need_check(art, digits: Path) -> None:
    assert "--check" in art("reproduce", "classifier", "--no-env", status=2).err


def test_files_of_a_run_are_fetched(art, net: Path, tmp_path: Path) -> None:
    run = art("reproduce", "net:v1", "--json").json["run"]
    out = art("run", "get", run, "code/train.py", "--root", "kept").out
    assert (tmp_path / out.strip()).read_text() == (net / "train.py").read_text()
    assert "exists" in art("run", "get", run, "code/train.py", "--root", "kept", status=2).err
    art("run", "get", run, "--root", "all")
    assert (tmp_path / "all/requirements.txt").is_file()
    assert "no.txt" in art("run", "get", run, "no.txt", status=1).err
