"""What counts as out of date, how far it reaches, and asking the places of references."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import builders
import lineart
import scenario
from lineart.artifacts.manifest import Entry
from lineart.lineage import ask_references, find_stale, judged_versions
from lineart.lineage.stale import Cause, versions_with_references
from lineart.storage.errors import CommError, ReferenceChangedError
from lineart.storage.store import Store

HOME = "team/digits"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return builders.memory_store(tmp_path)


@pytest.fixture
def history(store: Store) -> scenario.History:
    """raw → data → model → report, each by a run of its own."""
    history = scenario.History(store)
    history.log("raw")
    for run, source, made in (("a", "raw", "data"), ("b", "data", "model"), ("c", "model", "report")):
        history.run(run)
        history.use(run, f"{source}:v0")
        history.log(made, run=run)
    return history


def stale_in(
    *histories: scenario.History, everything: bool = False
) -> dict[str, tuple[list[str], list[Cause]]]:
    """Of each stale version, without its project: the chain, and the causes."""
    catalog = scenario.catalog(*histories)
    judged = judged_versions(catalog, [str(history.name) for history in histories], everything=everything)
    return {
        found.version.removeprefix(f"{HOME}/"): (
            [name.removeprefix(f"{HOME}/") for name in found.chain],
            list(found.causes),
        )
        for found in find_stale(catalog, judged)
    }


def test_nothing_is_stale_as_long_as_nothing_is_newer(history: scenario.History) -> None:
    assert stale_in(history) == {}


def test_newer_input_reaches_all_that_came_of_the_older(history: scenario.History) -> None:
    history.log("raw")
    cause = [Cause(f"{HOME}/raw:v0", f"{HOME}/raw:v1")]
    assert stale_in(history) == {
        "data:v0": (["data:v0"], cause),
        "model:v0": (["model:v0", "data:v0"], cause),
        "report:v0": (["report:v0", "model:v0", "data:v0"], cause),
    }


def test_made_again_from_the_newest_is_not_stale_any_more(history: scenario.History) -> None:
    history.log("raw")
    history.run("again")
    history.use("again", "raw:v1")
    history.log("data", run="again")
    found = stale_in(history)
    assert sorted(found) == ["model:v0", "report:v0"]
    assert found["model:v0"] == (["model:v0"], [Cause(f"{HOME}/data:v0", f"{HOME}/data:v1")])
    assert "data:v0" in stale_in(history, everything=True)


def test_older_content_logged_again_is_the_newest(history: scenario.History) -> None:
    history.log("raw", "first")
    history.log("raw", "raw 0")  # what v0 has: latest goes back
    assert stale_in(history) == {}


def test_version_does_not_make_itself_stale_by_being_newer_than_what_it_goes_on_from(
    store: Store,
) -> None:
    history = scenario.History(store)
    history.log("raw")
    history.log("ckpt")
    history.run("train")
    history.use("train", "ckpt:v0")
    history.use("train", "raw:v0")
    history.log("ckpt", run="train")
    history.run("evaluate")
    history.use("evaluate", "ckpt:v1")
    history.log("report", run="evaluate")
    assert stale_in(history) == {}
    history.log("raw")
    assert stale_in(history)["ckpt:v1"] == (["ckpt:v1"], [Cause(f"{HOME}/raw:v0", f"{HOME}/raw:v1")])
    assert stale_in(history)["report:v0"][0] == ["report:v0", "ckpt:v1"]


def test_collection_of_that_name_in_another_project_is_an_input_like_others(store: Store) -> None:
    history, other = scenario.History(store), scenario.History(store, scenario.OTHER)
    history.log("raw")
    other.run("r")
    other.use("r", f"{HOME}/raw:v0")
    history.used_by(scenario.OTHER, "r", "raw:v0")
    other.log("raw", run="r")
    history.log("raw")
    assert sorted(stale_in(history, other)) == [f"{scenario.OTHER}/raw:v0"]


def test_older_version_that_is_compared_with_the_newest_makes_nothing_stale(store: Store) -> None:
    history = scenario.History(store)
    history.log("model")
    history.log("model")
    history.run("compare")
    history.use("compare", "model:v0")
    history.use("compare", "model:v1")
    history.log("report", run="compare")
    assert stale_in(history) == {}
    history.log("model")
    assert sorted(stale_in(history)) == ["report:v0"]


def test_same_content_from_the_newest_input_is_not_stale_any_more(history: scenario.History) -> None:
    history.log("raw")
    history.run("again")
    history.use("again", "raw:v1")
    history.log("data", "data 1", run="again")  # what v0 has
    assert stale_in(history) == {}
    history.log("raw")
    assert stale_in(history)["data:v0"] == (["data:v0"], [Cause(f"{HOME}/raw:v0", f"{HOME}/raw:v2")])


def test_same_content_counts_with_all_that_it_was_made_from(store: Store) -> None:
    history = scenario.History(store)
    for name in ("raw", "table"):
        history.log(name)
    for run in ("first", "again"):
        if run == "again":
            history.log("raw")
            history.log("table")
        history.run(run)
        history.use(run, f"raw:v{int(run == 'again')}")
        history.use(run, "table:v0")
        history.log("data", "same", run=run)
    assert sorted(stale_in(history)) == ["data:v0"]
    history.run("declared")
    history.use("declared", "table:v0")
    history.use("declared", "raw:v1")
    history.log("data", "same", run="declared", derived_from=[f"{HOME}/raw:v1"])
    assert stale_in(history) == {}


def test_same_content_logged_from_nothing_says_nothing_of_its_inputs(history: scenario.History) -> None:
    history.log("raw")
    history.run("copy")
    history.log("data", "data 1", run="copy")
    assert "data:v0" in stale_in(history)


def test_same_content_made_of_what_came_of_it_is_as_stale_as_before(history: scenario.History) -> None:
    history.log("raw")
    history.run("back")
    history.use("back", "report:v0")
    history.log("data", "data 1", run="back")
    assert sorted(stale_in(history)) == ["data:v0", "model:v0", "report:v0"]


def test_inputs_that_were_not_declared_do_not_count(store: Store) -> None:
    history = scenario.History(store)
    history.log("train")
    history.log("test")
    history.run("r")
    history.use("r", "train:v0")
    history.use("r", "test:v0")
    history.log("model", run="r", derived_from=[f"{HOME}/train:v0"])
    history.log("test")
    assert stale_in(history) == {}
    history.log("train")
    assert sorted(stale_in(history)) == ["model:v0"]


def test_what_was_used_later_does_not_count(store: Store) -> None:
    history = scenario.History(store)
    history.log("late")
    history.run("r")
    history.log("model", run="r")
    history.use("r", "late:v0")
    history.log("late")
    assert stale_in(history) == {}


def test_input_of_another_project_counts(history: scenario.History, store: Store) -> None:
    other = scenario.History(store, scenario.OTHER)
    other.run("r")
    other.use("r", f"{HOME}/raw:v0")
    history.used_by(scenario.OTHER, "r", "raw:v0")
    other.log("net", run="r")
    history.log("raw")
    assert f"{scenario.OTHER}/net:v0" in stale_in(history, other)


def test_link_is_as_stale_as_its_source_and_not_for_what_its_source_became(tmp_path: Path) -> None:
    with lineart.init(project=HOME) as run:
        data = run.log_artifact(scenario.draft("data", {"x": "1"}))
        model = run.log_artifact(scenario.draft("model", {"w": "1"}, "model"), derived_from=[data])
        model.link("team/model-registry/churn")
        run.log_artifact(scenario.draft("model", {"w": "2"}, "model"), derived_from=[data])
    registered = lineart.Api().artifact("team/model-registry/churn:v0")
    assert registered.stale() is None
    with lineart.init(project=HOME) as run:
        run.log_artifact(scenario.draft("data", {"x": "2"}))
    found = registered.stale()
    assert found is not None
    assert found.chain == ("team/model-registry/churn:v0", f"{HOME}/model:v0")
    assert [found.version for found in lineart.Api().stale(HOME)] == [f"{HOME}/model:v1"]


def test_changed_reference_makes_its_version_and_what_came_of_it_stale(tmp_path: Path) -> None:
    place = tmp_path / "data.csv"
    place.write_text("1")
    with lineart.init(project=HOME) as run:
        data = lineart.Artifact("data", "dataset")
        data.add_reference(f"file://{place}")
        run.log_artifact(data)
        run.log_artifact(scenario.draft("model", {"w": "1"}, "model"), derived_from=[data])
    assert lineart.Api().stale(HOME, references=True) == []
    place.write_text("2")
    assert lineart.Api().stale(HOME) == []
    data_too, model = lineart.Api().stale(HOME, references=True)
    assert (data_too.chain, data_too.causes) == ((f"{HOME}/data:v0",), (Cause(f"{HOME}/data:v0", None),))
    assert model.chain == (f"{HOME}/model:v0", f"{HOME}/data:v0")
    workspace = scenario.workspace()
    names = versions_with_references(workspace.catalog(), [f"{HOME}/model:v0"])
    assert names == [f"{HOME}/data:v0"]


class Places:
    """Answers for references by their path."""

    def __init__(self) -> None:
        self.stuck = threading.Event()

    def check(self, entry: Entry) -> None:
        match entry.path:
            case "changed":
                raise ReferenceChangedError("it changed")
            case "away":
                raise CommError("no answer")
            case "odd":
                raise ValueError("of some file system")
            case "stuck":
                self.stuck.wait(20)
            case _:
                pass


def test_places_that_do_not_answer_are_counted_and_hold_up_nobody(tmp_path: Path) -> None:
    with lineart.init(project=HOME) as run:
        data = lineart.Artifact("data", "dataset")
        for path in ("fine", "changed", "away", "odd", "stuck"):
            data.add_reference(f"file:///nowhere/{path}", path, checksum=False)
        run.log_artifact(data)
    places = Places()
    version = scenario.workspace().version("data:v0")
    report = ask_references([version], places, timeout_s=0.5)  # type: ignore[arg-type]
    places.stuck.set()
    assert (dict(report.changed), report.unanswered) == ({f"{HOME}/data:v0": "it changed"}, 3)
    assert [unasked.reason for unasked in report.unasked] == [
        "no answer",
        "of some file system",
        "no answer within 0.5 s",
    ]
    assert (report.unasked[0].versions, report.unasked[0].place) == (
        (f"{HOME}/data:v0",),
        "file:///nowhere/away",
    )
    assert report.uncompared == 1
