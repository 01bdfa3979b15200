"""A run's life: what it uses and produces, its config and summary, and how it ends."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lineart
import scenario
from lineart.storage.errors import (
    ArtifactNotLoggedError,
    InvalidNameError,
    NotFoundError,
    UsageError,
)


def edges(run: lineart.Run) -> list[tuple[Any, ...]]:
    """Kind, version, role, new, exact; in order."""
    return (
        scenario.workspace()
        .catalog()
        .rows(
            "SELECT kind, version_id, role, is_new, exact FROM edges WHERE run_id = ? ORDER BY position",
            [run.path],
        )
    )


@pytest.fixture
def data() -> lineart.Artifact:
    """``team/digits/data:v0``."""
    with lineart.init(project="team/digits", id="prep") as run:
        return run.log_artifact(scenario.draft("data", {"f": "1"}))


# How it begins


def test_run_is_recorded_as_it_was_started() -> None:
    with lineart.init(
        project="team/digits",
        name="first",
        id="r1",
        config={"lr": 0.1},
        tags=["a", "b"],
        notes="hello",
        group="g",
        job_type="train",
    ) as run:
        assert (run.id, run.name, run.project, run.entity, run.path) == (
            "r1",
            "first",
            "digits",
            "team",
            "team/digits/r1",
        )
        found = scenario.facts(run)
        assert (found["state"], found["finished_at"]) == ("running", None)
    found = scenario.facts(run)
    assert (found["name"], found["tags"], found["notes"]) == ("first", ["a", "b"], "hello")
    assert (found["group_name"], found["job_type"]) == ("g", "train")
    assert found["config"] == {"lr": 0.1}
    assert found["capture"]["python"] == ".".join(map(str, sys.version_info[:3]))


def test_run_that_nobody_named_gets_a_name_and_an_id_of_its_own() -> None:
    runs = [lineart.init(project="team/digits") for _ in range(3)]
    runs[-1].finish()
    assert len({run.id for run in runs}) == 3
    assert all(run.name.count("-") == 2 for run in runs)


@pytest.mark.parametrize(
    "bad", [{"id": "a/b"}, {"tags": ["a b"]}, {"project": "a b"}, {"project": "p", "entity": "a/b"}]
)
def test_name_that_is_none_starts_no_run(bad: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"project": "team/digits"} | bad
    with pytest.raises(InvalidNameError):
        lineart.init(**arguments)
    assert not (Path(os.environ["LINEART_STORE"]) / "projects").exists()


def test_config_that_is_not_plain_starts_no_run() -> None:
    with pytest.raises(UsageError, match="config 'model'"):
        lineart.init(project="team/digits", config={"model": object()})


# Using


def test_use_is_recorded_with_its_role(data: lineart.Artifact) -> None:
    with lineart.init(project="team/digits") as run:
        used = run.use_artifact("data:latest", role="train")
        run.use_artifact(data, role="test")
        run.use_artifact("team/digits/data:v0", type="dataset")
    assert used.name == "data:v0"
    assert used.open("f").read() == b"1"
    assert edges(run) == [("used", "team/digits/data:v0", "train", None, None)]


def test_use_twice_is_recorded_once_and_another_role_again(data: lineart.Artifact) -> None:
    with lineart.init(project="team/digits") as run:
        position = scenario.workspace().project()
        position.state()
        before = position.position.seq
        for role in ("train", "train", "test", None, None):
            run.use_artifact("data", role=role)
        position.state()
        assert position.position.seq - before == 3


def test_use_of_what_is_not_there_is_refused_with_what_is_near(data: lineart.Artifact) -> None:
    with lineart.init(project="team/digits") as run:
        with pytest.raises(NotFoundError, match="'dta' does not exist; did you mean 'data'"):
            run.use_artifact("dta:latest")
        with pytest.raises(NotFoundError, match="no alias 'best'"):
            run.use_artifact("data:best")
        with pytest.raises(UsageError, match="has type 'dataset', expected 'model'"):
            run.use_artifact("data", type="model")
        with pytest.raises(ArtifactNotLoggedError, match="is a draft"):
            run.use_artifact(lineart.Artifact("draft", "dataset"))
        with pytest.raises(InvalidNameError):
            run.use_artifact("a:b:c")
    assert edges(run) == []


def test_use_of_a_deleted_version_is_refused(data: lineart.Artifact) -> None:
    data.delete()
    with lineart.init(project="team/digits") as run, pytest.raises(NotFoundError, match="was deleted"):
        run.use_artifact("data:v0")


def test_use_across_projects_is_told_to_both(data: lineart.Artifact) -> None:
    with lineart.init(project="team/letters", id="far") as run:
        run.use_artifact("team/digits/data:v0", role="train")
        run.use_artifact("team/digits/data:v0", role="train")
    home = scenario.workspace()
    for project in (home.project_name, scenario.OTHER):
        rows = home.catalog([project]).rows("SELECT run_id, version_id, role FROM edges WHERE kind = 'used'")
        assert rows == [("team/letters/far", "team/digits/data:v0", "train")]


# Producing


def test_output_is_recorded_with_its_run(data: lineart.Artifact) -> None:
    with lineart.init(project="team/digits", id="train") as run:
        run.use_artifact("data")
        model = run.log_artifact(scenario.draft("model", {"w": "1"}, "model"), aliases=["best"], tags=["ok"])
    assert (model.version, model.aliases, model.tags) == ("v0", ["latest", "best"], ["ok"])
    assert model.logged_by() == "team/digits/train"
    assert edges(run)[-1] == ("produced", "team/digits/model:v0", None, True, False)


@pytest.mark.parametrize("given", ["artifact", "name", "alias"])
def test_declared_input_is_used_too_and_makes_the_edge_exact(data: lineart.Artifact, given: str) -> None:
    source: Any = {"artifact": data, "name": "team/digits/data:v0", "alias": "data:latest"}[given]
    with lineart.init(project="team/digits") as run:
        run.log_artifact(scenario.draft("model", {"w": "1"}, "model"), derived_from=[source])
    assert edges(run) == [
        ("used", "team/digits/data:v0", None, None, None),
        ("produced", "team/digits/model:v0", None, True, True),
    ]
    derived = scenario.workspace().catalog().rows("SELECT output_id, input_id FROM derivations")
    assert derived == [("team/digits/model:v0", "team/digits/data:v0")]


def test_declared_input_that_is_not_there_logs_nothing(data: lineart.Artifact) -> None:
    with lineart.init(project="team/digits") as run:
        draft = scenario.draft("model", {"w": "1"}, "model")
        with pytest.raises(NotFoundError):
            run.log_artifact(draft, derived_from=["nothing:v0"])
        with pytest.raises(ArtifactNotLoggedError):
            run.log_artifact(draft, derived_from=[lineart.Artifact("x", "y")])
        with pytest.raises(
            UsageError, match=r"derived_from 'data:v0': expected a list such as \['data:v0'\]"
        ):
            run.log_artifact(draft, derived_from="data:v0")
        assert draft.state == "draft"
    assert edges(run) == []


def test_content_that_is_there_already_makes_the_run_one_more_producer(data: lineart.Artifact) -> None:
    with lineart.init(project="team/digits") as run:
        again = run.log_artifact(scenario.draft("data", {"f": "1"}), aliases=["checked"])
    assert (again.version, again.aliases) == ("v0", ["latest", "checked"])
    assert again.logged_by() == "team/digits/prep"
    assert edges(run) == [("produced", "team/digits/data:v0", None, False, False)]


def test_path_can_be_logged_as_it_is(tmp_path: Path) -> None:
    tree = scenario.write_tree(tmp_path / "tree", {"a": "1", "d/b": "2"})
    with lineart.init(project="team/digits", id="r") as run:
        folder = run.log_artifact(tree, name="data", type="dataset")
        file = run.log_artifact(str(tree / "a"), type="dataset")
        with pytest.raises(UsageError, match="pass type="):
            run.log_artifact(tree / "a", name="x")
        with pytest.raises(NotFoundError):
            run.log_artifact(tree / "nothing", name="x", type="y")
    assert folder.files() == ["a", "d/b"]
    assert (file.name, file.files()) == ("run-r-a:v0", ["a"])


@pytest.mark.parametrize("what", ["aliases", "tags"])
def test_label_that_is_no_list_is_refused(what: str) -> None:
    labels: dict[str, Any] = {what: "best"}
    with (
        lineart.init(project="team/digits") as run,
        pytest.raises(UsageError, match=rf"{what} 'best': expected a list such as \['best'\]"),
    ):
        run.log_artifact(scenario.draft("data", {"f": "1"}), **labels)
    assert not lineart.Api().artifact_exists("team/digits/data")


def test_other_type_for_a_known_name_is_refused_before_a_byte_is_read(
    data: lineart.Artifact, tmp_path: Path
) -> None:
    draft = scenario.draft("data", {"f": "1"}, "model")
    draft.add_file(scenario.write_tree(tmp_path, {"gone": "x"}) / "gone")
    (tmp_path / "gone").unlink()
    with lineart.init(project="team/digits") as run, pytest.raises(UsageError, match="has type 'dataset'"):
        run.log_artifact(draft)


def test_threads_may_log_with_one_run(data: lineart.Artifact) -> None:
    with lineart.init(project="team/digits") as run:

        def work(number: int) -> None:
            run.use_artifact("data", role=f"r{number}")
            run.log_artifact(scenario.draft(f"out{number}", {"f": str(number)}))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    produced = {version for kind, version, *_ in edges(run) if kind == "produced"}
    assert produced == {f"team/digits/out{number}:v0" for number in range(8)}


# Logging values


def test_values_are_kept_as_the_last_of_each_name() -> None:
    with lineart.init(project="team/digits") as run:
        run.log({"acc": 0.1, "loss": {"train": 1, "test": np.float32(0.5)}})
        run.log({"acc": np.float64(0.9), "a/b": "text"})
    assert scenario.facts(run)["summary"] == {"acc": 0.9, "loss.train": 1, "loss.test": 0.5, "a/b": "text"}


def test_values_given_are_never_changed() -> None:
    given = {"a": {"b": np.array([1, 2])}, "c": [1]}
    with lineart.init(project="team/digits") as run:
        run.log(given)
        run.summary["c"].append(2)
    assert given["c"] == [1]
    assert isinstance(given["a"], dict)
    assert isinstance(given["a"]["b"], np.ndarray)


@pytest.mark.parametrize("wrong", [[1], "text", None, {1: 2}, {"a": 1, 2: 3}, 7])
def test_anything_but_a_dictionary_with_text_keys_is_a_type_error(wrong: Any) -> None:
    with (
        lineart.init(project="team/digits") as run,
        pytest.raises(TypeError, match="dictionary with text keys"),
    ):
        run.log(wrong)
    assert scenario.facts(run)["summary"] == {}


def test_value_without_a_plain_form_keeps_none_of_its_call() -> None:
    with lineart.init(project="team/digits") as run:
        with pytest.raises(UsageError, match=r"metric 'deep.x'"):
            run.log({"acc": 1, "deep": {"x": object()}})
        run.log({"ok": 1})
    assert scenario.facts(run)["summary"] == {"ok": 1}


def test_not_a_number_is_kept() -> None:
    with lineart.init(project="team/digits") as run:
        run.log({"loss": float("nan"), "best": float("-inf")})
        assert repr(run.summary["loss"]) == "nan"
    assert scenario.facts(run)["summary"] == {"loss": {"_float": "nan"}, "best": {"_float": "-inf"}}


def test_config_changed_after_the_start_is_committed_with_the_end() -> None:
    with lineart.init(project="team/digits", config={"lr": 0.1}) as run:
        run.config.depth = 3
        run.config.update({"lr": 0.2}, allow_val_change=True)
        with pytest.raises(UsageError):
            run.config.lr = 0.3
    assert scenario.facts(run)["config"] == {"lr": 0.2, "depth": 3}


def test_flush_commits_a_changed_config_now_and_an_unchanged_one_never() -> None:
    with lineart.init(project="team/digits") as run:
        project = scenario.workspace().project()
        project.state()
        before = project.position.seq
        run.flush()
        run.config.depth = 3
        run.flush()
        run.flush()
        project.state()
        assert project.position.seq - before == 1
        assert scenario.facts(run)["config"] == {"depth": 3}
