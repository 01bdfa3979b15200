"""`art alias`, `art tag`, `art rm`."""

from __future__ import annotations

from pathlib import Path

import pytest


def aliases(art) -> dict[str, str]:
    return art("ls", "clas*", "--json").json[0]["aliases"]


def test_alias_is_moved(art, digits: Path) -> None:
    assert art("alias", "classifier:v2", "production").out == "classifier:production → v2 (was v1)\n"
    assert art("alias", "classifier:v2", "production").out == "classifier:production points to v2 already\n"
    assert art("alias", "classifier:v0", "first").out == "classifier:first → v0 (new)\n"
    found = art("alias", "classifier", "staging", "--json").json
    assert found == {
        "collection": "default/digits/classifier",
        "alias": "staging",
        "from": None,
        "to": "v2",
        "changed": True,
    }
    assert aliases(art) == {"first": "v0", "latest": "v2", "production": "v2", "staging": "v2"}


@pytest.mark.parametrize("expect, status", [("v1", 0), ("v0", 1), ("none", 1)])
def test_alias_moves_only_from_where_it_is_expected(expect: str, status: int, art, digits: Path) -> None:
    answer = art("alias", "classifier:v2", "production", "--expect", expect, status=status)
    if status:
        assert "points to v1, expected" in answer.err
    assert aliases(art)["production"] == ("v1" if status else "v2")


def test_alias_is_removed_only_where_it_is_expected(art, digits: Path) -> None:
    assert "expected v0" in art("alias", "classifier:v0", "production", "--delete", status=1).err
    assert (
        "expected v2" in art("alias", "classifier", "production", "--delete", "--expect", "v2", status=1).err
    )
    assert (
        art("alias", "classifier", "production", "--delete").out
        == "classifier:production removed; it pointed to v1\n"
    )
    assert "production" not in aliases(art)
    assert "no alias 'production'" in art("alias", "classifier", "production", "--delete", status=1).err


@pytest.mark.parametrize(
    "arguments, status, message",
    [
        (["classifier:v9", "x"], 1, "has no v9"),
        (["classifier:v1", "v7"], 2, "alias 'v7'"),
        (["classifier:v1", "a b"], 2, "alias 'a b'"),
        (["classifier", "latest", "--delete"], 2, "cannot be removed"),
        (["classifier:v1", "x", "--expect", "7"], 2, "expected a version such as v7"),
    ],
)
def test_alias_mistakes(arguments: list[str], status: int, message: str, art, digits: Path) -> None:
    assert message in art("alias", *arguments, status=status).err


def test_tags_are_added_and_removed(art, digits: Path) -> None:
    assert art("tag", "images:v0", "gold", "checked").out == "images:v0  tags: checked, gold, raw\n"
    assert art("tag", "images:v0", "gold", "--remove", "--json").json == {
        "name": "default/digits/images:v0",
        "tags": ["checked", "raw"],
        "changed": True,
    }
    assert "(as before)" in art("tag", "images:v0", "raw").out
    assert "tag 'a b'" in art("tag", "images:v0", "a b", status=2).err
    assert "has no v5" in art("tag", "images:v5", "x", status=1).err


def test_version_is_deleted_after_a_yes(art, digits: Path) -> None:
    assert "pass --yes" in art("rm", "classifier:v0", status=2).err
    assert art("rm", "classifier:v0", "--yes").out == "classifier:v0 deleted\n"
    assert "was deleted" in art("rm", "classifier:v0", "--yes", status=1).err
    assert "was deleted" in art("get", "classifier:v0", status=1).err


def test_aliases_go_with_it_only_when_asked(art, digits: Path) -> None:
    assert "has aliases production" in art("rm", "classifier:production", "-y", status=2).err
    found = art("rm", "classifier:production", "-y", "--delete-aliases", "--json").json
    assert found == {
        "name": "default/digits/classifier:v1",
        "aliases_removed": ["production"],
        "latest": "v2",
    }
    assert art("rm", "classifier:v2", "-y", "--json").json["latest"] == "v0"


def test_deletion_names_a_version(art, digits: Path) -> None:
    assert "names no version" in art("rm", "classifier", "--yes", status=2).err


@pytest.mark.parametrize("reply, gone", [("y\n", True), ("n\n", False)])
def test_terminal_is_asked(
    reply: str, gone: bool, art, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lineart.cli.labels.is_terminal", lambda: True)
    answer = art("rm", "classifier:v0", input=reply, status=0 if gone else 130)
    assert "Delete classifier:v0 (1 file, 5.0 kB)?" in answer.err
    assert art("show", "classifier:v0", "--json").json["deleted"] is gone
