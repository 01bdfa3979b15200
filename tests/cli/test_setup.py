from __future__ import annotations

import tomllib
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LINEART_STORE")


def test_store_of_init_is_used_by_the_next_command(art, tmp_path: Path) -> None:
    answer = art("init", "./store", "--project", "team/digits")
    assert answer.lines[0] == f"made the store file://{tmp_path}/store"
    assert tomllib.loads((tmp_path / "lineart.toml").read_text()) == {
        "store": "./store",
        "project": "team/digits",
    }
    (tmp_path / "a.txt").write_text("a")
    art("put", "a.txt", "-t", "dataset")
    assert art("status", "--json").json["project"] == "digits"
    assert art("status", "--json").json["versions"] == 1


def test_init_again_changes_nothing(art, tmp_path: Path) -> None:
    made = art("init", "store", "--json").json
    before = (tmp_path / "store/lineart.json").read_bytes()
    again = art("init", "./store", "--json").json
    assert (made["created"], made["settings_written"]) == (True, True)
    assert (again["created"], again["settings_written"]) == (False, False)
    assert (tmp_path / "store/lineart.json").read_bytes() == before


def test_other_settings_are_never_overwritten(art, tmp_path: Path) -> None:
    art("init", "store")
    before = (tmp_path / "lineart.toml").read_text()
    assert "not 'elsewhere'" in art("init", "elsewhere", status=2).err
    assert not (tmp_path / "elsewhere").exists()
    art("init", "elsewhere", "--no-config")
    assert (tmp_path / "lineart.toml").read_text() == before


def test_damaged_settings_are_named(art, tmp_path: Path) -> None:
    (tmp_path / "lineart.toml").write_text("store = ")
    assert "lineart.toml" in art("init", "store", status=2).err


def test_environment_is_not_contradicted_by_a_file(
    art, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINEART_STORE", str(tmp_path / "first"))
    answer = art("init", "second")
    assert not (tmp_path / "lineart.toml").exists()
    assert "names another store" in answer.out
    art("init", "second", "--here")
    assert (tmp_path / "lineart.toml").exists()


def test_default_store_needs_no_file(art, tmp_path: Path) -> None:
    answer = art("init", "--json").json
    assert answer["store"] == f"file://{tmp_path}/home/.lineart"
    assert answer["settings_file"] is None


def test_init_that_cannot_write_says_why(art) -> None:
    assert art("init", "/proc/store", status=1).err.startswith("art: file:///proc/store ")


def test_status_counts_what_the_store_holds(art, digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINEART_STORE", str(digits))
    found = art("status", "--json").json
    assert {key: found[key] for key in ("projects", "collections", "versions", "runs", "format")} == {
        "projects": 2,
        "collections": 3,
        "versions": 6,
        "runs": 6,
        "format": 1,
    }
    assert found["chosen_by"] == "LINEART_STORE"
    assert found["pack_bytes"] == sum(path.stat().st_size for path in digits.rglob("*.pack"))
    shown = art("status").out
    assert "2 projects, 3 artifacts, 6 versions, 6 runs" in shown


def test_status_without_a_store_fails(art) -> None:
    assert "(the default store)" in art("status", status=1).err
