"""`art push` and `art pull`."""

from __future__ import annotations

from pathlib import Path

import pytest

from transferring import tree


def test_push_copies_the_project_in_use_and_says_what(art, digits: Path, tmp_path: Path) -> None:
    answer = art("push", tmp_path / "team")
    assert answer.out.startswith("5 versions, 5 runs, ")
    assert answer.out.endswith(" copied; 0 versions, 0 runs were there\n")
    assert answer.err == ""
    assert (
        art("push", tmp_path / "team").out
        == "0 versions, 0 runs, 0 B copied; 5 versions, 5 runs were there\n"
    )


def test_pushed_and_pulled_artifacts_look_the_same(art, digits: Path, tmp_path: Path) -> None:
    art("push", tmp_path / "team", "--all")
    art("--store", tmp_path / "laptop", "pull", tmp_path / "team", "--all")
    for command in (
        ["show", "classifier:v1", "--json"],
        ["show", "images:v0", "--json"],
        ["lineage", "classifier:v1", "--json"],
        ["why", "classifier:v2", "--json"],
        ["impact", "images:v0", "--json"],
        ["ls", "--json"],
        ["run", "ls", "--json"],
        ["show", "other/scores", "--json"],
    ):
        here = art(*command).json
        assert art("--store", tmp_path / "team", *command).json == here, command
        assert art("--store", tmp_path / "laptop", *command).json == here, command
    assert "ok" in art("--store", tmp_path / "laptop", "verify", "--all").out
    history = [{**row, "seq": 0} for row in art("log", "classifier", "--json").json]
    there = [
        {**row, "seq": 0} for row in art("--store", tmp_path / "laptop", "log", "classifier", "--json").json
    ]
    assert there == history


def test_json_has_every_number(art, digits: Path, tmp_path: Path) -> None:
    art("init", tmp_path / "team", "--no-config")
    said = art("push", tmp_path / "team", "classifier:production", "--dry-run", "--json").json
    assert (said["versions"], said["runs"], said["dry_run"]) == (1, 0, True)
    assert said["bytes"] > 0
    done = art("push", tmp_path / "team", "classifier:production", "--json").json
    assert {**done, "dry_run": True} == said
    assert done["target"] == f"file://{tmp_path / 'team'}"


def test_version_that_came_without_its_run_is_not_said_to_have_none(
    art, digits: Path, tmp_path: Path
) -> None:
    for version in ("v0", "v1"):
        art("push", tmp_path / "team", f"classifier:{version}")
    run = art("show", "classifier:v1", "--json").json["run"]
    there = ("--store", tmp_path / "team")
    words = f"the run {run}, which is not in this store"
    assert f"classifier:v1 was made by {words}" in art(*there, "why", "classifier:v1").out
    assert words in art(*there, "show", "classifier:v1").out
    assert art(*there, "why", "classifier:v1", "--json").json["absent_run"] == run
    assert "which is not in this store" in art(*there, "diff", "classifier:v0", ":v1", "--deep").out
    assert art("why", "classifier:v1", "--json").json["absent_run"] is None
    (tmp_path / "loose.txt").write_text("1")
    art("put", "loose.txt", "-t", "x")
    assert "loose:v0 was logged outside of a run by " in art("why", "loose").out
    assert "nobody's run" in art("show", "loose").out


def test_lineage_runs_and_patterns_are_chosen(art, digits: Path, tmp_path: Path) -> None:
    art("push", tmp_path / "a", "classifier:v1", "--with-lineage")
    assert "images:v1" in art("--store", tmp_path / "a", "lineage", "classifier:v1").out
    art("push", tmp_path / "b", "--runs", "train-*")
    assert {row["name"] for row in art("--store", tmp_path / "b", "run", "ls", "--json").json} == {
        "train-0",
        "train-1",
        "train-2",
    }
    art("push", tmp_path / "c", "image*")
    assert [row["collection"] for row in art("--store", tmp_path / "c", "ls", "--json").json] == ["images"]


def test_other_project_and_kept_aliases(art, digits: Path, tmp_path: Path) -> None:
    art("push", tmp_path / "team", "--to", "vision/numbers")
    there = ["--store", tmp_path / "team", "-p", "vision/numbers"]
    assert "production" in art(*there, "show", "classifier:v1").out
    art(*there, "alias", "classifier:v0", "production")
    art("alias", "classifier:v2", "production")
    answer = art("push", tmp_path / "team", "--to", "vision/numbers")
    assert answer.out.startswith(
        "kept  alias classifier:production was moved to v0 in vision/numbers of file://"
    )
    art("push", tmp_path / "team", "--to", "vision/numbers", "--force-aliases")
    assert art(*there, "show", "classifier:production", "--json").json["version"] == "v2"


def test_renumbered_versions_are_told(art, digits: Path, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    art("--store", tmp_path / "team", "put", tmp_path / "x", "-n", "images", "-t", "dataset")
    answer = art("push", tmp_path / "team", "images")
    assert answer.lines[:2] == [
        "renumbered  default/digits/images:v0 is default/digits/images:v1 there",
        "renumbered  default/digits/images:v1 is default/digits/images:v2 there",
    ]


@pytest.mark.parametrize(
    "arguments, status, message",
    [
        (["clasifier"], 1, "did you mean 'classifier'"),
        (["classifier:v9"], 1, "has no v9"),
        (["--runs", "train-7"], 1, "did you mean 'train-"),
        (["-p", "nowhere"], 1, "project 'default/nowhere' is not in"),
        (["--all", "--to", "one"], 2, "lies in 2 projects"),
        (["--to", "a/b/c"], 2, "expected [entity/]project"),
    ],
)
def test_push_mistakes(
    arguments: list[str], status: int, message: str, art, digits: Path, tmp_path: Path
) -> None:
    assert message in art("push", tmp_path / "team", *arguments, status=status).err


@pytest.mark.on_disk
def test_store_that_is_not_there_is_not_pulled_from(art, digits: Path, tmp_path: Path) -> None:
    before = tree(digits)
    assert "there is no store at" in art("pull", tmp_path / "nowhere", status=1).err
    assert "is source and target" in art("push", digits, status=2).err
    assert tree(digits) == before
    assert not (tmp_path / "nowhere").exists()


def test_store_that_a_push_makes_is_for_the_same_entity(art, tmp_path: Path) -> None:
    art("init", tmp_path / "mine", "--entity", "vision", "--no-config")
    (tmp_path / "x").write_text("x")
    art("--store", tmp_path / "mine", "put", tmp_path / "x", "-n", "images", "-t", "dataset")
    art("--store", tmp_path / "mine", "push", tmp_path / "copy")
    assert art("--store", tmp_path / "copy", "ls").rows[0][0] == "images"
