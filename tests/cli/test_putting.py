from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def files(tmp_path: Path, art) -> Path:
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text("a" * 100)
    (folder / "sub/b.csv").write_text("b")
    return folder


def paths(art, name: str) -> list[str]:
    return [entry["path"] for entry in art("files", name, "--json").json]


def test_folder_becomes_the_root(art, files: Path) -> None:
    answer = art("put", "data", "-t", "dataset")
    assert answer.out.startswith("data:v0  2 files, 101 B; ")
    assert answer.out.endswith(" newly stored\n")
    assert paths(art, "data") == ["a.txt", "sub/b.csv"]


def test_of_several_paths_each_keeps_its_name(art, files: Path, tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("c")
    art("put", "data", "c.txt", "-n", "all", "-t", "dataset")
    assert paths(art, "all") == ["c.txt", "data/a.txt", "data/sub/b.csv"]


def test_same_content_makes_no_version(art, files: Path) -> None:
    art("put", "data", "-t", "dataset")
    assert art("put", "data").out == "data:v0  unchanged: still v0\n"
    assert art("put", "data", "--json").json["is_new"] is False
    (files / "a.txt").write_text("other")
    assert art("put", "data", "-q").out == "data:v1\n"
    (files / "a.txt").write_text("a" * 100)
    assert "latest points to it again" in art("put", "data").out
    assert art("show", "data", "--json").json["version"] == "v0"


def test_labels_and_metadata_are_kept(art, files: Path) -> None:
    options = [
        "-a",
        "good",
        "--tag",
        "raw",
        "-m",
        "classes=10",
        "-m",
        "from=web",
        "--description",
        "Two files",
    ]
    found = art("put", "data", "-t", "dataset", *options, "--json").json
    assert found["aliases"] == ["latest", "good"]
    assert found["tags"] == ["raw"]
    assert found["metadata"] == {"classes": 10, "from": "web"}
    assert found["description"] == "Two files"
    assert found["stored_bytes"] > 0


def test_patterns_choose_files(art, files: Path) -> None:
    art("put", "data", "-n", "i", "-t", "x", "--include", "*.csv")
    art("put", "data", "-n", "e", "-t", "x", "--exclude", "sub")
    assert (paths(art, "i"), paths(art, "e")) == (["sub/b.csv"], ["a.txt"])
    assert "nothing to log" in art("put", "data", "-n", "n", "-t", "x", "--exclude", "*", status=2).err


def test_standard_input_is_a_file(art) -> None:
    content = bytes(range(256)) * 1000
    art("put", "-", "--stdin-name", "all.bin", "-n", "bytes", "-t", "x", input=content)
    assert art("cat", "bytes:latest/all.bin").bytes == content


def test_incremental_keeps_what_was_there(art, files: Path, tmp_path: Path) -> None:
    art("put", "data", "-t", "dataset")
    (tmp_path / "c.txt").write_text("c")
    art("put", "c.txt", "-n", "data", "--incremental")
    assert paths(art, "data") == ["a.txt", "c.txt", "sub/b.csv"]


def test_reference_stays_where_it_is(art, files: Path) -> None:
    answer = art("put", "--reference", f"file://{files}/a.txt", "-n", "ref", "-t", "dataset")
    assert "0 files, 1 reference, 100 B" in answer.out
    assert art("files", "ref", "--json").json[0]["target"] == f"file://{files}/a.txt"


def test_name_may_have_a_project(art, files: Path) -> None:
    art("put", "data", "-n", "team/other/data", "-t", "dataset")
    assert art("ls", "team/other/*", "--json").json[0]["name"] == "team/other/data"


@pytest.mark.parametrize(
    "arguments, status, message",
    [
        (["data"], 2, "artifact 'data' is new: pass its type"),
        (["nope", "-t", "x"], 1, "nope' is not there"),
        (["-t", "x"], 2, "name what to log"),
        (["data", "a", "-t", "x"], 2, "name the artifact with -n"),
        (["data", "-t", "x", "-n", "data:v3"], 2, "gets its own number"),
        (["data", "-t", "x", "-a", "v3"], 2, "alias 'v3'"),
        (["data", "-t", "x", "-m", "novalue"], 2, "expected KEY=VALUE"),
        (["data", "-t", "x", "-n", "a b"], 2, "artifact name 'a b'"),
        pytest.param(["..", "-t", "x", "-n", "x"], 2, "the store ", marks=pytest.mark.on_disk),
    ],
)
def test_mistake_is_named(
    arguments: list[str], status: int, message: str, art, files: Path, monkeypatch
) -> None:
    art("init")
    monkeypatch.chdir(files)
    monkeypatch.chdir(files.parent) if arguments[0] != ".." else None
    assert message in art("put", *arguments, status=status).err


def test_other_type_is_refused(art, files: Path) -> None:
    art("put", "data", "-t", "dataset")
    assert "has type 'dataset', not 'model'" in art("put", "data", "-t", "model", status=2).err


def test_paths_that_differ_in_case_are_refused_when_portable(art, files: Path) -> None:
    (files / "A.txt").write_text("A")
    assert "differ only in upper and lower case" in art("put", "data", "-t", "x", "--portable", status=2).err


def test_mistyped_bucket_makes_no_store(art, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        "there is no store" in art("put", "data", "-t", "x", "--store", "memory://nothing-here", status=1).err
    )
