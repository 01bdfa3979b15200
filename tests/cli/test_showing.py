"""`art show` and `art log`."""

from __future__ import annotations

import datetime
from pathlib import Path

import click
import pytest

from lineart.cli.showing import moment


def test_show_tells_all_about_a_version(art, digits: Path) -> None:
    out = art("show", "images:v0").out
    for part in (
        "images:v0  dataset  default/digits",
        "5 files",
        "raw",
        "Digits, 8×8",
        "n = 5",
        "prepare, finished",
    ):
        assert part in out
    assert "train-0" in out
    found = art("show", "classifier:production", "--json").json
    assert found["name"] == "default/digits/classifier:v1"
    assert found["made_from"] == [{"name": "default/digits/images:v1", "role": "train"}]
    assert found["made_from_exact"] is True
    assert found["made_by"]["name"] == "train-1"
    assert [use["job_type"] for use in found["used_by"]] == ["serve"]


def test_show_of_a_version_without_a_run(art, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    art("put", "a.txt", "-t", "x")
    assert "logged outside of one" in art("show", "a").out
    assert art("show", "a", "--json").json["made_by"] is None


def test_deleted_version_is_shown(art, digits: Path) -> None:
    art("rm", "classifier:v0", "--yes")
    assert "deleted" in art("show", "classifier:v0").lines[0]
    assert art("show", "classifier:v0", "--json").json["deleted"] is True


def test_alias_of_an_earlier_time(art, digits: Path) -> None:
    first = art("show", "classifier:v1", "--json").json["created_at"]
    between = datetime.datetime.now(datetime.UTC).isoformat()
    art("alias", "classifier:v2", "production")
    assert art("show", "classifier:production", "--json").json["version"] == "v2"
    assert art("show", "classifier:production", "--at", between, "--json").json["version"] == "v1"
    assert art("show", "classifier:production", "--at", first, "--json").json["version"] == "v1"
    tomorrow = f"{datetime.datetime.now().astimezone().date() + datetime.timedelta(days=1)}"
    assert art("show", "classifier:production", "--at", tomorrow, "--json").json["version"] == "v2"
    assert "pointed to nothing at" in art("show", "classifier:production", "--at", "2020-01-01", status=1).err
    assert "no alias 'nope'" in art("show", "classifier:nope", "--at", "1h", status=1).err
    assert "expected a date" in art("show", "classifier", "--at", "yesterday", status=2).err


def test_version_did_not_exist_before_it_was_made(art, digits: Path) -> None:
    assert "at 2020-01-01" in art("show", "classifier:v1", "--at", "2020-01-01", status=1).err
    assert art("show", "classifier:v1", "--at", "0s", "--json").json["version"] == "v1"


def test_moments() -> None:
    assert moment("2026-01-31T12:00:00+00:00") == datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC)
    end = moment("2026-01-31")
    assert (end.day, end.hour, end.minute) == (31, 23, 59)
    before = datetime.datetime.now(datetime.UTC)
    assert moment("2d") >= before - datetime.timedelta(days=2)
    assert moment("2d") < before - datetime.timedelta(days=1)
    with pytest.raises(click.UsageError):
        moment("soon")


def test_log_tells_the_history_newest_first(art, digits: Path) -> None:
    art("alias", "classifier:v2", "production")
    art("tag", "classifier:v0", "old")
    art("rm", "classifier:v0", "--yes")
    events = art("log", "classifier", "--json").json
    assert [(e["event"], e["version"], e["alias"]) for e in events[:3]] == [
        ("deleted", "v0", None),
        ("revised", "v0", None),
        ("alias", "v2", "production"),
    ]
    assert events[1]["details"] == {"tags": ["old"]}
    assert events[2]["from_version"] == "v1"
    assert events[-1]["event"] == "created"
    assert events[-1]["details"]["size_bytes"] == 5000
    assert [event["seq"] for event in events] == sorted((event["seq"] for event in events), reverse=True)
    assert events[0]["user"]
    shown = art("log", "classifier").out
    assert "v0 deleted" in shown
    assert "production → v2 (was v1)" in shown
    assert len(art("log", "classifier", "--limit", "2").rows) == 2


def test_log_of_one_version(art, digits: Path) -> None:
    events = art("log", "classifier:v1", "--json").json
    assert {e["version"] for e in events} == {"v1", "v2"}  # v2: latest moved away from v1
    assert all("v1" in (e["version"], e["from_version"]) for e in events)


def test_log_of_nothing(art, digits: Path) -> None:
    assert "did you mean 'classifier'?" in art("log", "clasifier", status=1).err
