"""Why a version is as it is, what it touches, where a file occurs, what differs between two."""

from __future__ import annotations

from pathlib import Path

import pytest

import builders
import lineart
import scenario
from lineart.artifacts import Version
from lineart.lineage import Catalog, diff_versions, impact, whereis, why
from lineart.lineage.questions import changed_keys
from lineart.storage.store import Store
from lineart.tracking import log_draft

DIGITS = "team/digits"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return builders.memory_store(tmp_path)


@pytest.fixture
def real() -> Catalog:
    """Data, a model from it, and a second model from other data with another config, all with real files."""
    with lineart.init(project=DIGITS, id="prep") as run:
        run.log_artifact(scenario.draft("data", {"x.csv": "1", "same": "s"}))
        run.log_artifact(scenario.draft("data", {"x.csv": "2", "same": "s"}))
    for number in (0, 1):
        with lineart.init(
            project=DIGITS,
            id=f"train{number}",
            job_type="train",
            config={"lr": 0.1 * (number + 1), "seed": 1},
        ) as run:
            run.use_artifact(f"data:v{number}", role="train")
            run.log({"acc": 0.5 + number / 10})
            model = scenario.draft("model", {"w": f"weights {number}"}, "model", metadata={"size": number})
            run.log_artifact(model, aliases=["best"], derived_from=[f"data:v{number}"])
    return scenario.workspace().catalog()


def version(name: str) -> Version:
    return scenario.workspace().version(name)


# Why


def test_why_names_run_inputs_roles_and_who(real: Catalog) -> None:
    answer = why(real, f"{DIGITS}/model:v1")
    assert answer.run is not None
    assert (answer.run.run_id, answer.run.job_type, answer.run.state) == (
        f"{DIGITS}/train1",
        "train",
        "finished",
    )
    assert (answer.run.config, answer.run.summary) == ({"lr": 0.2, "seed": 1}, {"acc": 0.6})
    assert answer.run.capture["command"]
    assert (answer.exact, answer.inputs) == (True, [(f"{DIGITS}/data:v1", "train")])
    assert answer.logged_by == f"{answer.run.user}@{answer.run.host}"
    assert answer.reproduced_by == []


def test_why_of_a_run_level_output_is_not_exact(store: Store) -> None:
    history = scenario.History(store)
    history.run("r")
    history.log("data")
    history.use("r", "data:v0")
    history.log("model", run="r")
    answer = why(scenario.catalog(history), f"{DIGITS}/model:v0")
    assert (answer.exact, answer.inputs) == (False, [(f"{DIGITS}/data:v0", None)])


def test_why_tells_who_made_it_from_who_made_it_again(store: Store) -> None:
    history = scenario.History(store)
    history.log("newer")
    for run in ("first", "again", "third"):
        history.run(run)
        if run == "again":
            history.use(run, "newer:v0")
        derived = [f"{DIGITS}/newer:v0"] if run == "again" else None
        history.log("model", "same", run=run, derived_from=derived)
    answer = why(scenario.catalog(history), f"{DIGITS}/model:v0")
    assert answer.run is not None
    assert (answer.run.run_id, answer.inputs, answer.exact) == (f"{DIGITS}/first", [], False)
    assert answer.reproduced_by == [f"{DIGITS}/again", f"{DIGITS}/third"]


def test_why_of_a_version_logged_outside_of_a_run(store: Store) -> None:
    history = scenario.History(store)
    history.log("data")
    answer = why(scenario.catalog(history), f"{DIGITS}/data:v0")
    assert (answer.run, answer.inputs, answer.reproduced_by) == (None, [], [])
    assert answer.logged_by is not None


def test_why_of_a_deleted_version_is_still_known(store: Store) -> None:
    history = scenario.History(store)
    history.run("r", config={"lr": 1})
    history.log("model", run="r")
    history.delete("model:v0")
    answer = why(scenario.catalog(history), f"{DIGITS}/model:v0")
    assert answer.run is not None
    assert answer.run.config == {"lr": 1}


def test_why_of_a_failed_run_has_its_error(store: Store) -> None:
    history = scenario.History(store)
    history.run("r")
    history.log("model", run="r")
    history.commit(
        {
            "op": "run.finish",
            "run": "r",
            "state": "failed",
            "exit_code": 1,
            "summary": {"x": 1},
            "error": "Traceback …",
        }
    )
    answer = why(scenario.catalog(history), f"{DIGITS}/model:v0")
    assert answer.run is not None
    assert (answer.run.state, answer.run.error, answer.run.summary) == ("failed", "Traceback …", {"x": 1})


# Impact


def test_impact_lists_what_is_below_nearest_first_with_its_aliases(store: Store) -> None:
    history, other = scenario.History(store), scenario.History(store, scenario.OTHER)
    history.run("prep")
    history.log("raw", run="prep", aliases=["gold"])
    history.run("clean")
    history.use("clean", "raw:v0")
    history.log("data", run="clean")
    other.run("train")
    other.use("train", f"{DIGITS}/data:v0")
    history.used_by(scenario.OTHER, "train", "data:v0")
    other.log("model", run="train", aliases=["production"])
    history.run("judge")
    history.use("judge", "raw:v0")
    answer = impact(scenario.catalog(history, other), f"{DIGITS}/raw:v0")
    assert [row["id"] for row in answer.versions] == [f"{DIGITS}/data:v0", "team/letters/model:v0"]
    assert {row["run_id"] for row in answer.runs} == {"clean", "judge", "train"}
    assert answer.aliases == ["raw:latest", "raw:gold", "data:latest", "model:latest", "model:production"]


def test_impact_of_what_nobody_used_is_itself(store: Store) -> None:
    history = scenario.History(store)
    history.run("r")
    history.log("data", run="r")
    answer = impact(scenario.catalog(history), f"{DIGITS}/data:v0")
    assert (answer.versions, answer.runs, answer.aliases) == ([], [], ["data:latest"])


def test_impact_of_a_deleted_version_is_still_known(store: Store) -> None:
    history = scenario.History(store)
    history.log("data")
    history.run("r")
    history.use("r", "data:v0")
    history.log("model", run="r")
    history.delete("data:v0")
    answer = impact(scenario.catalog(history), f"{DIGITS}/data:v0")
    assert [row["id"] for row in answer.versions] == [f"{DIGITS}/model:v0"]
    assert answer.aliases == ["model:latest"]


# Where


def test_whereis_finds_every_version_and_every_path_of_the_bytes(real: Catalog) -> None:
    with lineart.init(project=DIGITS) as run:
        run.log_artifact(scenario.draft("copies", {"a/1": "s", "b": "s", "c": "other"}))
    workspace = scenario.workspace()
    versions = [*workspace.versions("data"), *workspace.versions("model"), *workspace.versions("copies")]
    digest = version("data:v0").manifest["same"].digest
    assert digest is not None
    found = [(found.name.short, paths) for found, paths in whereis(workspace.store, versions, digest)]
    assert found == [("data:v0", ["same"]), ("data:v1", ["same"]), ("copies:v0", ["a/1", "b"])]


def test_whereis_is_not_fooled_by_a_digest_in_a_name(real: Catalog) -> None:
    digest = version("data:v0").manifest["same"].digest
    assert digest is not None
    liar = scenario.logged("liar", {digest: "another"}, metadata={"digest": digest})
    workspace = scenario.workspace("default/uncategorized")
    assert not list(whereis(workspace.store, [workspace.version(liar.qualified_name)], digest))


def test_whereis_of_bytes_that_are_nowhere_is_nothing(real: Catalog) -> None:
    workspace = scenario.workspace()
    assert not list(whereis(workspace.store, workspace.versions("data"), scenario.digest("nowhere")))


# Differences


def test_diff_says_what_differs_and_in_how_it_was_made(real: Catalog) -> None:
    answer = diff_versions(real, version("model:v0"), version("model:v1"))
    assert [(change.what, change.path) for change in answer.files.changes] == [("changed", "w")]
    assert answer.metadata == {"size": (0, 1)}
    assert answer.config == {"lr": (0.1, 0.2)}
    assert answer.summary == {"acc": (0.5, 0.6)}
    assert answer.code == {}
    assert answer.inputs == ([f"{DIGITS}/data:v0"], [f"{DIGITS}/data:v1"])


def test_diff_of_a_version_with_itself_is_nothing(real: Catalog) -> None:
    answer = diff_versions(real, version("model:v0"), version("model:v0"))
    assert not answer.files.changes
    assert (answer.metadata, answer.config, answer.summary, answer.code) == ({}, {}, {}, {})
    assert answer.inputs == ([], [])


def test_diff_tells_other_code(real: Catalog) -> None:
    home = scenario.workspace()
    ops = [
        {"op": "run.start", "run": f"git{number}", "config": {}, "capture": {"git": git, "command": ["t.py"]}}
        for number, git in enumerate([{"commit": "aa", "dirty": False}, {"commit": "bb", "dirty": True}])
    ]
    home.project().commit(lambda state: ops)
    for number in (0, 1):
        made = scenario.draft("net", {"w": str(number)})
        log_draft(home, made, run=f"git{number}")
    answer = diff_versions(home.catalog(), version("net:v0"), version("net:v1"))
    assert answer.code == {"commit": ("aa", "bb"), "dirty": (False, True)}


def test_diff_of_a_version_made_outside_of_a_run(real: Catalog) -> None:
    loose = scenario.draft("model", {"w": "loose"}, "model")
    log_draft(scenario.workspace(), loose)
    answer = diff_versions(scenario.workspace().catalog(), version("model:v0"), version(loose.name))
    assert answer.config == {"lr": (0.1, None), "seed": (1, None)}


def test_keys_that_are_missing_on_a_side_have_none_there() -> None:
    assert changed_keys({"a": 1, "b": [1], "c": 0}, {"b": [2], "c": 0, "d": {}}) == {
        "a": (1, None),
        "b": ([1], [2]),
        "d": (None, {}),
    }
