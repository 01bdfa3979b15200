"""`art demo` shows what it says: a promoted model, an unchanged log without a version, one changed file stored."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECK = ("--check", "--no-env", "--into", "empty", "--json")
ART = str(Path(sys.executable).with_name("art"))


def art(folder: Path, *arguments: str) -> str:
    done = subprocess.run([ART, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_demo_promotes_stores_nothing_twice_and_leaves_a_store_to_look_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LINEART_STORE")
    shown = art(tmp_path, "demo")
    assert "production: nothing -> v0" in shown
    assert "production: v0 -> v1" in shown
    assert "still digits:v0: no new version, 0 bytes stored" in shown
    assert "1 of 1797 files differs; stored 74 bytes of data" in shown
    assert re.search(r"upstream: made from\n.*train\n.*digits:v0", shown)

    place = tmp_path / "lineart-demo"
    assert json.loads(art(place, "show", "classifier:production", "--json"))["version"] == "v1"
    assert "digits:v0" in art(place, "lineage", "classifier:production")
    assert "ok" in art(place, "verify", "--all")
    changed = art(place, "sql", "select size_bytes from versions where collection = 'digits'", "--json")
    assert len(json.loads(changed)) == 2
    assert (place / "lineage.dot").read_text().startswith("digraph")
    assert (place / "lineage.svg").exists() == (shutil.which("dot") is not None)


@pytest.mark.slow
def test_model_of_the_demo_comes_out_the_same_in_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LINEART_STORE")
    art(tmp_path, "demo", "shown")
    again = art(tmp_path, "reproduce", "digits/classifier:production", "--store", "shown/store", *CHECK)
    found = json.loads(again)
    assert (found["verdict"], found["made"]) == ("same", found["digest"])
    assert [(item["name"], item["aliases"]) for item in found["inputs"]] == [
        ("default/digits/digits:v0", ["latest"])
    ]
    assert found["command"] == ["python", "train.py", "all-images", "--strength", "0.05"]
    assert (tmp_path / "empty/work/train.py").is_file()


@pytest.mark.slow
def test_second_demo_takes_a_new_folder_and_a_full_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lineart-demo").mkdir()
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("mine")
    done = subprocess.run([ART, "demo", "full"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "is not empty" in done.stderr
    assert [path.name for path in full.iterdir()] == ["mine.txt"]
    made = json.loads(art(tmp_path, "demo", "--json"))
    assert (made["folder"], made["production"], made["dataset"]) == (
        "lineart-demo-2",
        "classifier:v1",
        "digits:v1",
    )
