from __future__ import annotations

import json
import re
from pathlib import Path

import pytest


def test_files_and_how_they_were_made(art, digits: Path) -> None:
    lines = art("diff", "images:v0", "images:v1").lines
    assert lines[:4] == [
        "~ labels.csv  13 B → 19 B",
        "- train/0.png  3.0 kB",
        "> train/moved.png  from train/1.png",
        "+ train/new.png  2.0 kB",
    ]
    assert "  camera  0 → 1" in lines
    assert "  n  5 → 6" in lines
    assert lines[-1] == "1 added, 1 removed, 1 changed, 1 moved, 2 unchanged; 2.0 kB new"


def test_models_differ_in_config_results_and_inputs(art, digits: Path) -> None:
    found = art("diff", "classifier:v0", ":v1", "--json").json
    assert found["config"] == {"lr": [0.1, 0.05]}
    assert found["summary"] == {"accuracy": [0.8, pytest.approx(0.85)]}
    assert found["inputs"] == {"removed": ["default/digits/images:v0"], "added": ["default/digits/images:v1"]}
    assert found["files"][0]["what"] == "changed"
    assert found["after"] == "default/digits/classifier:v1"


def test_less_can_be_asked_for(art, digits: Path) -> None:
    assert art("diff", "images:v0", ":v1", "--stat").lines[0].startswith("1 added")
    assert "config" not in art("diff", "images:v0", ":v1", "--files-only").out
    assert "config" not in art("diff", "images:v0", ":v1", "--files-only", "--json").json


def test_exit_status_tells_only_when_asked(art, digits: Path) -> None:
    art("diff", "images:v0", ":v1")
    art("diff", "images:v0", ":v1", "--exit-code", status=1)
    art("diff", "images:v0", "images:v0", "--exit-code")
    assert art("diff", "images:v0", ":v0").out == "no file differs; 5 files the same\n"


def test_numbers_that_look_the_same_are_told_apart(art, tmp_path: Path) -> None:
    for number in ("0.12345678", "0.12345679"):
        (tmp_path / "a.txt").write_text(number)
        art("put", "a.txt", "-t", "x", "-m", f"n={number}")
    assert "0.12345678 → 0.12345679" in art("diff", "a:v0", "a:v1").out


def test_unknown_version_is_an_error(art, digits: Path) -> None:
    assert "has no v9" in art("diff", "images:v0", ":v9", status=1).err


def test_deep_says_what_changed_in_tables_and_what_may_explain_it(art, digits: Path) -> None:
    out = art("diff", "images:v0", "images:v1", "--deep").out
    assert "table labels.csv: 2 rows → 3 (1 = 33.3% added, 0 = 0.0% removed)" in out
    assert re.search(r"1\. config: camera: 0 → 1", out)
    found = art("diff", "classifier:v0", "classifier:v1", "--deep", "--json").json
    assert found["config"] == {"lr": [0.1, 0.05]}
    change = found["input_changes"][0]
    assert (change["before"], change["after"], change["role"]) == (
        "default/digits/images:v0",
        "default/digits/images:v1",
        "train",
    )
    assert "labels.csv" in [row["path"] for row in change["files"]]
    assert [row["kind"] for row in found["explanations"]][:2] == ["inputs", "config"]
    assert {"tables", "packages", "environment", "code_diff", "left_out"} <= set(found)
    assert "leave out" in art("diff", "images:v0", "images:v1", "--deep", "--stat", status=2).err


def test_json_has_no_word_for_what_is_no_number(art, tmp_path: Path) -> None:
    for rows in ("x\n1.5\nnan\n", "x\n1.5\nnan\n2.5\n"):
        (tmp_path / "t.csv").write_text(rows)
        art("put", "t.csv", "-t", "x")
    out = art("diff", "t:v0", ":v1", "--deep", "--json").out
    assert "NaN" not in out
    assert json.loads(out)["tables"][0]["columns"]["x"][1]["mean"] is None
