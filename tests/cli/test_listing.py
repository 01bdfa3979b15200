from __future__ import annotations

from pathlib import Path

import pytest

from lineart.tracking import Workspace, find_settings


def test_artifacts_are_listed(art, digits: Path) -> None:
    answer = art("ls")
    assert answer.lines[0].split() == ["NAME", "TYPE", "NEWEST", "ALIASES", "VERSIONS", "SIZE", "AGE"]
    assert [row[:6] for row in answer.rows] == [
        ["classifier", "model", "v2", "production=v1", "3", "3.0MB"],
        ["images", "dataset", "v1", "-", "2", "11.0kB"],
    ]


def test_columns_stand_below_each_other(art, digits: Path) -> None:
    lines = art("ls").lines
    for title in ("TYPE", "NEWEST", "ALIASES"):
        at = lines[0].index(title)
        assert all(line[at - 1] == " " and line[at] != " " for line in lines)


@pytest.mark.parametrize(
    "arguments, names",
    [
        (["cl*"], ["classifier"]),
        (["--type", "dataset"], ["images"]),
        (["-A"], ["default/digits/classifier", "default/digits/images", "default/other/scores"]),
        (["other/*"], ["scores"]),
        (["-p", "other"], ["scores"]),
    ],
)
def test_artifacts_are_chosen(arguments: list[str], names: list[str], art, digits: Path) -> None:
    assert [row[0] for row in art("ls", *arguments).rows] == names


def test_versions_of_one_artifact(art, digits: Path) -> None:
    rows = art("ls", "images").rows
    assert [row[:4] for row in rows] == [["images:v1", "latest", "-", "5"], ["images:v0", "-", "raw", "5"]]
    assert "Digits, 8×8" in art("ls", "images", "--long").out


def test_json_of_listings(art, digits: Path) -> None:
    first = art("ls", "--json").json[0]
    assert first["aliases"] == {"latest": "v2", "production": "v1"}
    assert first["size_bytes"] == 3_000_000
    assert [version["version"] for version in art("ls", "images", "--json").json] == ["v1", "v0"]
    assert art("ls", "-p", "nothing", "--json").json == []


def test_what_is_not_there_is_an_error_and_an_empty_project_is_none(art, digits: Path) -> None:
    assert "did you mean 'images'?" in art("ls", "image", status=1).err
    assert "matches 'zz*'" in art("ls", "zz*", status=1).err
    assert "art show images:v0" in art("ls", "images:v0", status=2).err
    assert art("ls", "-p", "nothing").out == ""


def test_files_are_listed_with_size_and_digest(art, digits: Path) -> None:
    answer = art("files", "images:v0", "train")
    assert [line.split()[0] for line in answer.lines] == ["3.0kB"] * 3
    assert [line.split()[3] for line in answer.lines] == ["train/0.png", "train/1.png", "train/2.png"]
    assert art("files", "images:v0/train", "-b").lines[0].split()[0] == "3000"
    found = art("files", "images:v0", "labels.csv", "--json").json
    assert found[0]["size_bytes"] == 13
    assert len(found[0]["digest"]) == 64


def test_every_kind_of_entry_is_listed(art, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "empty").mkdir(parents=True)
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("run.sh")
    (tmp_path / "there.txt").write_text("x")
    art("put", "data", "-n", "kinds", "-t", "x", "--reference", f"file://{tmp_path}/there.txt")
    kinds = {entry["path"]: entry["kind"] for entry in art("files", "kinds", "--json").json}
    assert kinds == {
        "empty": "directory",
        "link": "symlink",
        "run.sh": "executable",
        "there.txt": "reference",
    }
    out = art("files", "kinds").out
    assert "link -> run.sh" in out
    assert f"there.txt -> file://{tmp_path}/there.txt" in out


def test_prefix_finds_what_the_whole_manifest_has_below_it(art, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for path in ("a/1", "a/2", "a-b/1", "a.b", "ab/1", "b/a/1", "ü/1", "z"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)
    art("put", "data", "-n", "tree", "-t", "x")
    manifest = Workspace.open(find_settings()).version("tree").manifest
    for prefix in ("a", "a/", "a-b", "a.b", "ab", "b", "b/a", "ü", "z", "a/1"):
        found = [entry["path"] for entry in art("files", "tree", prefix, "--json").json]
        assert found == [entry.path for entry in manifest.under(prefix)]
    for prefix in ("c", "a/3", "", "b/a/1/2"):
        if prefix:
            assert "is not in tree:v0" in art("files", "tree", prefix, status=1).err


def test_path_cannot_break_a_line(art, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a\nb\x1b[2J").write_text("x")
    art("put", "data", "-t", "x")
    assert art("files", "data").lines[0].endswith(r"a\nb\x1b[2J")
    assert art("files", "data", "--json").json[0]["path"] == "a\nb\x1b[2J"
