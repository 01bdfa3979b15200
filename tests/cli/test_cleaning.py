"""`art prune`, `art undelete` and `art gc`."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import lineart
from lineart.artifacts.collecting import Collector
from lineart.tracking import Workspace, find_settings


def packs(store: Path) -> list[Path]:
    return sorted((store / "packs").rglob("*.pack"))


@pytest.mark.on_disk
def test_prune_says_why_and_gc_takes_it_away(art, digits: Path) -> None:
    shown = art("prune", "--keep-last", "1", "--collection", "classifier", "--dry-run")
    assert [row[1] for row in shown.rows[:3]] == ["delete", "keep", "keep"]
    assert "alias production" in shown.out
    assert shown.lines[-1] == "1 version would be deleted, 2 kept"
    assert art("show", "classifier:v0", "--json").json["deleted"] is False
    done = art("prune", "--keep-last", "1", "-c", "classifier", "--yes")
    assert done.lines[-1] == "1 version deleted, 2 kept"
    assert "v0 deleted (prune: no rule keeps it)" in art("log", "classifier").out
    assert art("gc").out == "nothing to delete\n"
    assert art("gc", "--json").json["young_bytes"] > 0
    before = packs(digits)
    plan = art("gc", "--grace", "0s", "--dry-run", "--json").json
    assert plan["dry_run"] is True
    assert packs(digits) == before
    (found,) = art("gc", "--grace", "0s", "--json").json["plans"]
    assert found["state"] == "deleted"
    assert len(packs(digits)) == len(before) - len(found["packs"])
    assert found["bytes"] == plan["plans"][0]["bytes"] > 0
    assert art("gc", "--grace", "0s").out == "nothing to delete: all that is in the store is needed\n"
    assert "ok" in art("verify", "--all").out
    assert "was collected" in art("undelete", "classifier:v0", status=1).err


def test_prune_in_json_names_what_it_keeps(art, digits: Path) -> None:
    found = art("prune", "--keep-used", "--dry-run", "--json", "--all-projects").json
    assert found["dry_run"] is True
    kept = {record["name"]: record["reason"] for record in found["kept"]}
    assert kept["default/digits/classifier:v1"] == "alias production"
    assert kept["default/digits/images:v1"] == "used"
    assert {record["name"] for record in found["deleted"]} == {
        "default/digits/classifier:v0",
        "default/digits/classifier:v2",
        "default/other/scores:v0",
    }
    assert set(found["deleted"][0]) == {"name", "aliases", "bytes", "reason"}


def test_prune_keeps_the_best_by_the_metric_of_its_run(art, digits: Path) -> None:
    for order, best in (("", 2), (":max", 2), (":min", 0)):
        found = art("prune", "-t", "model", "--keep-best", f"accuracy{order}", "--dry-run", "--json").json
        assert [record["name"][-1] for record in found["kept"]] == sorted({"1", f"{best}"})


def test_prune_without_rule_or_yes_is_refused(art, digits: Path) -> None:
    assert "--keep-last 3" in art("prune", status=2).err
    assert "--yes" in art("prune", "--keep-last", "1", status=2).err
    assert "METRIC" in art("prune", "--keep-best", "acc:", status=2).err
    assert "expected a number and a unit" in art("prune", "--younger-than", "soon", status=2).err
    assert art("prune", "--keep-last", "9").lines[-1] == "0 versions deleted, 5 kept"


def test_version_that_has_outlived_its_time_goes(art, digits: Path, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    with lineart.init(project="digits") as run:
        short = lineart.Artifact("short", "data")
        short.add_file(str(tmp_path / "f"))
        short.ttl_s = 1
        run.log_artifact(short)
    time.sleep(1.1)
    found = art("prune", "--expired", "--yes", "--json").json
    assert [record["name"] for record in found["deleted"]] == ["default/digits/short:v0"]
    assert "time to live" in found["deleted"][0]["reason"]


def test_undelete_brings_back_what_rm_took(art, digits: Path) -> None:
    content = art("cat", "classifier:v2/model.bin").bytes
    art("rm", "classifier:v2", "--yes")
    assert "art undelete classifier:v2" in art("cat", "classifier:v2/model.bin", status=1).err
    assert art("undelete", "classifier:v2").out == "classifier:v2 is back\n"
    assert art("cat", "classifier:v2/model.bin").bytes == content
    assert art("undelete", "classifier:v2").out == "classifier:v2 is not deleted\n"
    assert art("undelete", "classifier:v2", "--json").json == {
        "name": "default/digits/classifier:v2",
        "restored": False,
        "aliases": [],
    }
    assert "which one" in art("undelete", "classifier", status=2).err
    assert "restored" in [event["event"] for event in art("log", "classifier", "--json").json]
    query = "select deleted from versions where version_id = 'default/digits/classifier:v2'"
    assert art("sql", query, "--json").json == [{"deleted": False}]


def test_plan_of_an_undeleted_version_is_cancelled(art, digits: Path) -> None:
    art("rm", "classifier:v2", "--yes")
    collector = Collector(Workspace.open(find_settings()).store)
    (plan,) = collector.make_plans(grace_s=0)
    collector.publish(plan)
    (waiting,) = art("gc", "--json").json["plans"]
    assert waiting["state"] == "waiting"
    assert waiting["due"] > waiting["time"]
    assert "wait for their grace to end" in art("gc").lines[-1]
    art("undelete", "classifier:v2")
    assert art("gc", "--json").json["plans"][0]["state"] == "cancelled"
    assert art("cat", "classifier:v2/model.bin").bytes


def test_du_tells_what_can_be_collected(art, digits: Path) -> None:
    assert art("du", "--json").json["unneeded_bytes"] == 0
    art("rm", "classifier:v2", "--yes")
    unneeded = art("du", "--json").json["unneeded_bytes"]
    assert unneeded > 3_000_000
    assert '"art gc" collects it' in art("du").out
    (found,) = art("gc", "--grace", "0s", "--compact-below", "0", "--json").json["plans"]
    assert found["bytes"] == unneeded
    assert art("du", "--json").json["unneeded_bytes"] == 0


@pytest.mark.parametrize("value", ["200", "-1"])
def test_share_beyond_a_hundred_percent_is_refused(art, digits: Path, value: str) -> None:
    assert "0<=x<=100" in art("gc", "--compact-below", value, status=2).err
