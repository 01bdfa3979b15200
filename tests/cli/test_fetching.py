from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ART = Path(sys.executable).with_name("art")


def test_get_writes_the_files_and_says_where(art, digits: Path, tmp_path: Path) -> None:
    assert art("get", "images:v0").out == "artifacts/images-v0\n"
    assert (tmp_path / "artifacts/images-v0/labels.csv").read_text() == "0,zero\n1,one\n"
    found = art("get", "images:v0", "--json").json
    assert (found["file_count"], found["written"], found["root"]) == (5, 0, "artifacts/images-v0")


@pytest.mark.parametrize(
    "arguments", [["images:v0", "--path-prefix", "train"], ["images:v0/train"], ["digits/images:v0/train"]]
)
def test_get_part(arguments: list[str], art, digits: Path, tmp_path: Path) -> None:
    art("get", *arguments, "--root", "out")
    assert sorted(path.name for path in (tmp_path / "out").rglob("*") if path.is_file()) == [
        "0.png",
        "1.png",
        "2.png",
    ]


def test_checkout_removes_what_a_version_has(art, digits: Path, tmp_path: Path) -> None:
    art("get", "images:v0", "--root", "out")
    art("get", "images:v1", "--root", "out", "--checkout")
    assert not (tmp_path / "out/train/0.png").exists()
    (tmp_path / "out/mine.txt").write_text("mine")
    assert "would be lost" in art("get", "images:v0", "--root", "out", "--checkout", status=2).err
    assert (tmp_path / "out/mine.txt").exists()
    assert "takes no path" in art("get", "images:v0/train", "--checkout", status=2).err


def test_changed_reference_is_refused_or_left_out(art, tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("one")
    art("put", "--reference", f"file://{tmp_path}/r.txt", "-n", "ref", "-t", "x")
    (tmp_path / "r.txt").write_text("other")
    assert "changed since it was logged" in art("get", "ref", status=1).err
    art("get", "ref", "--allow-missing-references")


def test_get_of_what_is_not_there(art, digits: Path) -> None:
    assert "did you mean 'train/" in art("get", "images:v0/train/0.pgn", status=1).err


def test_cat_is_exact_in_a_pipe(digits: Path, art) -> None:
    out = subprocess.run([ART, "cat", "classifier:v2/model.bin"], stdout=subprocess.PIPE, check=True).stdout
    art("get", "classifier:v2", "--root", "out")
    assert out == Path("out/model.bin").read_bytes()
    assert len(out) == 3_000_000


@pytest.mark.parametrize(
    "name",
    [
        "images:v1/labels.csv",
        "images/labels.csv",
        "digits/images/labels.csv",
        "default/digits/images:v1/labels.csv",
    ],
)
def test_cat_understands_names_with_paths(name: str, digits: Path, art) -> None:
    assert art("cat", name).out == "0,zero\n1,one\n2,two\n"


def test_cat_of_several_and_of_the_only_file(digits: Path, art) -> None:
    assert len(art("cat", "classifier:v0", "classifier:v1/model.bin").bytes) == 10_000


@pytest.mark.parametrize(
    "name, status, message",
    [
        ("images", 2, "images:v1 has 5 files; name one"),
        ("images:v0/lables.csv", 1, "did you mean 'labels.csv'?"),
        ("imagse/labels.csv", 1, "imagse"),
        ("images:nope/labels.csv", 1, "no alias 'nope'"),
    ],
)
def test_cat_of_what_is_not_there(name: str, status: int, message: str, digits: Path, art) -> None:
    answer = art("cat", name, status=status)
    assert message in answer.err
    assert answer.out == ""
