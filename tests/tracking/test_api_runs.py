"""`Api.runs`, `Api.run` and what can be done with a run that is read back."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import lineart
import scenario
from lineart.storage.errors import InvalidNameError, NotFoundError, UsageError


@pytest.fixture
def runs() -> list[str]:
    """Five finished runs and a failed one in ``team/digits``; their ids, oldest first."""
    ids = []
    for number in range(5):
        config = {"lr": number / 10, "model": {"depth": number}, "bad": math.nan}
        with lineart.init(
            project="team/digits",
            id=f"run{number}",
            name=f"name-{number % 2}",
            config=config,
            tags=["even"] if number % 2 == 0 else [],
            job_type="train",
        ) as run:
            for step in range(4):
                run.log({"loss": 1 / (step + 1 + number), "odd": step} if step % 2 else {"loss": 1.0})
        ids.append(run.id)
    with pytest.raises(ZeroDivisionError), lineart.init(project="team/digits", id="bad") as run:
        1 / 0  # noqa: B018
    return [*ids, "bad"]


def test_runs_come_newest_first_and_act_as_a_sequence(runs: list[str]) -> None:
    found = lineart.Api().runs("team/digits")
    assert [run.id for run in found] == list(reversed(runs))
    assert len(found) == 6
    assert found
    assert found[0].id == "bad"
    assert found[-1].id == "run0"
    assert [run.id for run in found[1:3]] == ["run4", "run3"]
    assert [run.id for run in found[::-2]] == ["run0", "run2", "run4"]
    assert found[0] is found.objects[0]
    with pytest.raises(IndexError, match="run 6 of 6"):
        found[6]
    assert found[2] in found
    assert (found.entity, found.project) == ("team", "digits")


def test_query_is_asked_at_first_need_and_once(runs: list[str]) -> None:
    found = lineart.Api().runs("team/digits", {"state": "finished"})
    scenario.History(scenario.workspace().store).run("late")
    scenario.History(scenario.workspace().store).finish("late")
    assert len(found) == 6
    scenario.History(scenario.workspace().store).finish("later")
    assert len(found) == 6


def test_filter_and_order(runs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    api = lineart.Api()
    found = api.runs("team/digits", {"config.model.depth": {"$gte": 2}}, order="+summary_metrics.loss")
    assert [run.id for run in found] == ["run4", "run3", "run2"]
    assert not api.runs("team/digits", {"config.lr": 7})
    assert [run.id for run in api.runs("team/digits", {"tags": "even"}, "config.lr")] == [
        "run0",
        "run2",
        "run4",
    ]
    assert [run.id for run in api.runs("team/digits", order="-config.lr")][-1] == "bad"
    assert api.runs("nobody/nothing").objects == []
    monkeypatch.setenv("LINEART_PROJECT", "team/digits")
    assert len(lineart.Api().runs()) == 6


@pytest.mark.parametrize(
    "call, message",
    [
        ({"filters": {"stats": 1}}, "did you mean 'state'"),
        ({"order": "-metric"}, "order: unknown key 'metric'"),
        ({"per_page": 0}, "per_page 0, expected 1 to"),
        ({"path": "a/b/c"}, "expected .entity/.project"),
    ],
)
def test_wrong_query_is_refused_at_once(runs: list[str], call: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        lineart.Api().runs(**call)


def test_run_is_found_by_each_of_its_names(runs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    api = lineart.Api()
    for path in ("team/digits/run1", "/team/digits/runs/run1"):
        assert api.run(path).id == "run1"
    assert api.run_exists("team/digits/run1")
    assert not api.run_exists("team/digits/run9")
    monkeypatch.setenv("LINEART_PROJECT", "team/digits")
    assert lineart.Api().run("digits/run1").qualified_name == lineart.Api().run("run1").qualified_name
    assert lineart.Api().run("run1").path == ["team", "digits", "run1"]


@pytest.mark.parametrize(
    "path, message",
    [
        ("team/digits/rum1", "run 'rum1' does not exist in team/digits; did you mean 'run"),
        ("team/digits/name-1", "the newest run named so is 'run3'"),
        ("team/digit/run1", "there is no such project; did you mean 'team/digits'"),
    ],
)
def test_run_that_is_not_there_is_refused_with_what_is(runs: list[str], path: str, message: str) -> None:
    with pytest.raises(NotFoundError, match=message):
        lineart.Api().run(path)


@pytest.mark.parametrize("path", ["", "a/b/c/d", "a b", None])
def test_path_that_is_none_is_an_invalid_name(runs: list[str], path: Any) -> None:
    with pytest.raises(InvalidNameError):
        lineart.Api().run(path)


def test_all_that_a_run_says(runs: list[str]) -> None:
    run = lineart.Api().run("team/digits/run3")
    assert (run.name, run.display_name, run.tags) == ("name-1", "name-1", [])
    assert (run.state, run.job_type) == ("finished", "train")
    assert run.config["model"] == {"depth": 3}
    assert math.isnan(run.config["bad"])
    assert run.summary["loss"] == run.summary_metrics["loss"] == 1 / 7
    assert run.metadata["command"]
    assert run.created_at <= (run.finished_at or "") == run.heartbeat_at
    assert run.duration is not None
    assert 0 <= run.duration < 60
    assert run.user
    assert run.host
    assert run.url.endswith("#team/digits/run3")
    assert run.exit_code == 0
    failed = lineart.Api().run("team/digits/bad")
    assert (failed.state, failed.exit_code) == ("failed", 1)
    assert "ZeroDivisionError" in (failed.error or "")


def test_history_is_what_was_logged(runs: list[str]) -> None:
    run = lineart.Api().run("team/digits/run3")
    frame = run.history()
    assert list(frame.columns[:3]) == ["_step", "_timestamp", "_runtime"]
    assert frame["loss"].tolist() == [1.0, 0.2, 1.0, 1 / 7]
    assert frame["odd"].isna().tolist() == [True, False, True, False]
    rows = run.history(keys=["odd", "loss"], pandas=False)
    assert [(row["_step"], row["odd"]) for row in rows] == [(1, 1), (3, 3)]
    assert [row["odd"] for row in run.history(keys=["loss"], x_axis="odd", pandas=False)] == [1, 3]
    assert run.history_keys == ["loss", "odd"]
    assert run.lastHistoryStep == 3
    assert [row["_step"] for row in run.scan_history()] == [0, 1, 2, 3]
    assert list(run.scan_history(keys=["odd", "_step"])) == [{"_step": 1, "odd": 1}, {"_step": 3, "odd": 3}]
    assert [row["_step"] for row in run.scan_history(min_step=1, max_step=3)] == [1, 2]
    assert len(run.history(samples=2, keys=["loss"])) == 2


def test_history_call_that_is_wrong_is_refused(runs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    run = lineart.Api().run("team/digits/run3")
    with pytest.raises(UsageError, match="history samples 0"):
        run.history(samples=0)
    with pytest.raises(UsageError, match=r"keys 'loss': expected a list"):
        run.history(keys="loss")
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(UsageError, match="pandas is not installed"):
        run.history()


def test_change_is_written_when_it_is_said(runs: list[str]) -> None:
    api = lineart.Api()
    run = api.run("team/digits/run0")
    run.config["note"] = {"a": [1, math.inf]}
    run.config["lr"] = 5
    run.tags.append("new")
    run.name, run.notes, run.group = "best", "good", "g"
    run.summary["loss"] = 0.5
    assert api.run("team/digits/run0").name == "name-0"
    run.update()
    for seen in (run, api.run("team/digits/run0"), lineart.Api().runs("team/digits", {"config.lr": 5})[0]):
        assert (seen.name, seen.notes, seen.group, seen.tags) == ("best", "good", "g", ["even", "new"])
        assert seen.config["note"] == {"a": [1, math.inf]}
        assert seen.config["model"] == {"depth": 0}
        assert (seen.config["lr"], seen.summary["loss"], seen.state) == (5, 0.5, "finished")
    run.summary.update({"score": 1})
    assert api.run("team/digits/run0").summary["score"] == 1


def test_update_writes_only_what_changed(runs: list[str]) -> None:
    api = lineart.Api()
    mine, theirs = api.run("team/digits/run0"), api.run("team/digits/run0")
    theirs.config["lr"] = 9
    theirs.update()
    mine.config["seed"] = 1
    mine.update()
    assert {key: api.run("team/digits/run0").config[key] for key in ("lr", "seed")} == {"lr": 9, "seed": 1}
    space = scenario.workspace().project()
    space.state()
    before = space.position
    mine.update()
    space.state()
    assert space.position == before


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda run: run.config.update(x=object()), "config 'x'"),
        (lambda run: setattr(run, "tags", "a"), r"tags 'a': expected a list"),
        (lambda run: run.tags.append("a b"), "tag 'a b'"),
    ],
)
def test_change_that_cannot_be_written_is_refused(runs: list[str], change: Any, message: str) -> None:
    run = lineart.Api().run("team/digits/run0")
    change(run)
    with pytest.raises(UsageError, match=message):
        run.update()


def test_key_that_is_taken_out_is_gone_for_readers_of_both_kinds(runs: list[str]) -> None:
    run = lineart.Api().run("team/digits/run0")
    del run.config["lr"]
    run.update()
    assert "lr" not in lineart.Api().run("team/digits/run0").config
    catalog = scenario.workspace().catalog()
    assert catalog.rows("SELECT key FROM config WHERE run_id = 'team/digits/run0' AND key = 'lr'") == []


def test_deleted_run_is_gone_and_its_artifacts_are_not() -> None:
    with lineart.init(project="team/digits", id="r") as run:
        made = run.log_artifact(scenario.draft("data", {"f": "1"}))
    with lineart.init(project="team/digits", id="s") as run:
        run.use_artifact("data:v0", role="train")
    api = lineart.Api()
    found = api.run("team/digits/r")
    assert [artifact.name for artifact in found.logged_artifacts()] == ["data:v0"]
    assert [artifact.name for artifact in api.run("team/digits/s").used_artifacts()] == ["data:v0"]
    found.delete()
    assert [run.id for run in api.runs("team/digits")] == ["s"]
    assert api.sql("SELECT run FROM runs").fetchall() == [("s",)]
    assert not api.run_exists("team/digits/r")
    with pytest.raises(NotFoundError, match="was deleted"):
        found.load()
    assert made.logged_by() == "team/digits/r"
    api.run("team/digits/s").delete(delete_artifacts=True)
    assert api.artifact_exists("team/digits/data:v0")


def test_run_that_is_running_shows_what_it_has_now() -> None:
    run = lineart.init(project="team/digits", id="r", config={"a": 1})
    run.log({"loss": 3.0})
    run.log({"loss": 2.0})
    run.config["b"] = 2
    api = lineart.Api()
    seen = api.runs("team/digits", {"state": "running", "summary_metrics.loss": {"$lt": 2.5}})
    assert [(found.id, found.config, found.summary["loss"]) for found in seen] == [
        ("r", {"a": 1, "b": 2}, 2.0)
    ]
    assert seen[0].duration is not None
    run.finish()
    assert seen[0].state == "running"
    seen[0].wait_until_finished()
    assert seen[0].state == "finished"


def test_files_of_a_run(tmp_path: Path) -> None:
    with lineart.init(project="team/digits", id="r") as run:
        for name in ("a.txt", "deep/b.txt"):
            path = Path(run.dir, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
    found = lineart.Api().run("team/digits/r")
    assert {"a.txt", "deep/b.txt"} <= {file.name for file in found.files()}
    assert [file.name for file in found.files(pattern="deep/*")] == ["deep/b.txt"]
    (file,) = found.files(names=["a.txt"])
    assert file.size == 5
    with file.open() as stream:
        assert stream.read() == b"a.txt"
    target = found.file("deep/b.txt").download(tmp_path / "out")
    assert Path(target).read_text() == "deep/b.txt"
    with pytest.raises(UsageError, match="exists; pass replace=True"):
        found.file("deep/b.txt").download(tmp_path / "out")
    Path(target).write_text("mine")
    found.file("deep/b.txt").download(tmp_path / "out", exist_ok=True)
    assert Path(target).read_text() == "mine"
    found.file("deep/b.txt").download(tmp_path / "out", replace=True)
    assert Path(target).read_text() == "deep/b.txt"
    with pytest.raises(NotFoundError, match=r"did you mean 'a\.txt'"):
        found.file("b.txt")
    (tmp_path / "taken").write_text("")
    with pytest.raises(UsageError, match="choose another root"):
        found.file("a.txt").download(tmp_path / "taken")


def test_projects_types_and_collections_can_be_asked_more(runs: list[str]) -> None:
    scenario.logged("late", {"f": "1"})
    with lineart.init(project="team/digits") as run:
        run.log_artifact(scenario.draft("data", {"f": "1"}), aliases=["best"])
    api = lineart.Api()
    assert "digits" in [project.name for project in api.projects("team")]
    project = api.project("digits", "team")
    assert project.path == ["team", "digits"]
    assert len(project.runs({"state": "failed"})) == 1
    (kind,) = project.artifact_types()
    assert (kind, kind.name) == ("dataset", "dataset")
    (data,) = kind.collections()
    assert (data.name, data.type, data.aliases) == ("data", "dataset", ["best", "latest"])
    assert [version.name for version in data.artifacts()] == ["data:v0"]
    assert api.artifact_type("dataset", "team/digits").collection("data") == data
    assert api.artifact_collection("dataset", "team/digits/data").qualified_name == "team/digits/data"
    assert api.artifact_collection_exists("team/digits/data")
    assert not api.artifact_collection_exists("team/digits/data", "model")
    assert not api.artifact_collection_exists("team/digits/nothing")
    assert not api.artifact_exists("team/digits/data:v0", type="model")
    for wrong in (
        lambda: api.project("digit", "team"),
        lambda: api.artifact_type("model", "team/digits"),
        lambda: kind.collection("dat"),
        lambda: api.artifact_collection("dataset", "team/digits/dat"),
    ):
        with pytest.raises(NotFoundError):
            wrong()
    with pytest.raises(UsageError, match="expected 'model'"):
        api.artifact_collection("model", "team/digits/data")


@pytest.mark.on_disk
def test_path_means_what_it_names(runs: list[str]) -> None:
    with lineart.init(project="team/digits") as run:
        run.log_artifact(scenario.draft("data", {"f": "1"}))
    api = lineart.Api()
    assert repr(api.from_path("team/digits")) == "<ApiProject team/digits>"
    assert getattr(api.from_path("team/digits/runs/run1"), "id", None) == "run1"
    assert isinstance(api.from_path("team/digits/data:v0"), lineart.Artifact)
    api.sql("SELECT 1")
    api.flush()
    assert len(api.runs("team/digits")) == 7
    assert api.default_entity == "team"
