"""What a run does with artifacts beyond use and log: models, config, paths, steps."""

from __future__ import annotations

from pathlib import Path

import pytest

import lineart
import scenario
from lineart.storage.errors import (
    ArtifactNotLoggedError,
    InvalidNameError,
    NotFoundError,
    UsageError,
)

QUIET = {"console": "off", "system": False}


def start(**fields: object) -> lineart.Run:
    return lineart.init(project="team/digits", settings=QUIET, **fields)  # type: ignore[arg-type]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return scenario.write_tree(tmp_path / "files", {"my model (2).bin": "weights"}) / "my model (2).bin"


# Models


def test_model_is_logged_used_and_linked(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with start(id="r1") as run:
        first = run.log_model(model, aliases=["best"])
        assert (first.name, first.type) == ("run-r1-my-model--2-.bin:v0", "model")
        link = run.link_model(model, "churn", name="named", aliases=["staging"])
        assert link.qualified_name == "team/model-registry/churn:v0"
        assert link.source_name == "named:v0"
    with start(id="r2") as run:
        path = run.use_model("run-r1-my-model--2-.bin:best")
        assert Path(path).read_text() == "weights"
        assert Path(run.use_model("model-registry/churn:staging")).read_text() == "weights"
    assert first.used_by() == ["team/digits/r2"]
    assert link.used_by() == ["team/digits/r2"]


def test_model_of_several_files_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scenario.write_tree(tmp_path / "m", {"a": "1", "b/c": "2"})
    with start() as run:
        run.log_model("m", "net")
        assert scenario.read_tree(Path(run.use_model("net"))) == {"a": "1", "b/c": "2"}


def test_mistakes_with_models_are_told_and_nothing_is_logged(model: Path, tmp_path: Path) -> None:
    with start() as run:
        run.log_artifact(scenario.draft("data", {"f": "1"}))
        with pytest.raises(UsageError, match="data:v0 has type 'dataset', expected one with 'model'"):
            run.use_model("data:latest")
        with pytest.raises(InvalidNameError, match="expected a name alone"):
            run.link_model(model, "team/churn")
        with pytest.raises(NotFoundError):
            run.log_model(tmp_path / "nothing")
        with pytest.raises(NotFoundError, match="'churn'"):
            run.use_model("churn")
    found = lineart.Api().sql("SELECT collection FROM collections").fetchall()
    assert found == [("data",)]


# Paths


def test_uri_is_logged_as_a_reference(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b")
    with start(id="r") as run:
        made = run.log_artifact(f"file://{tmp_path}/rows.csv", type="dataset")
    assert (made.name, made.files()) == ("run-r-rows.csv:v0", ["rows.csv"])
    assert made.get_entry("rows.csv").ref == f"file://{tmp_path}/rows.csv"


def test_current_folder_gets_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(scenario.write_tree(tmp_path / "tree", {"f": "1"}))
    with start(id="r") as run:
        assert run.log_artifact(".", type="dataset").name == "run-r-tree:v0"


def test_type_is_asked_for_by_the_calls_own_name(model: Path) -> None:
    with start(group="g") as run:
        for name in ("log_artifact", "upsert_artifact", "finish_artifact"):
            with pytest.raises(UsageError, match=rf"^{name}\(.*pass type="):
                getattr(run, name)(model)


# Steps and config


def test_step_of_the_history_is_kept() -> None:
    with start() as run:
        assert run.log_artifact(scenario.draft("none", {"f": "0"})).history_step is None
        for number in range(3):
            run.log({"a": number})
        made = run.log_artifact(scenario.draft("data", {"f": "1"}))
    assert made.history_step == 2
    assert lineart.Api().artifact("team/digits/data").history_step == 2
    rows = lineart.Api().sql("SELECT collection, step FROM versions ORDER BY 1").fetchall()
    assert rows == [("data", 2), ("none", None)]


def test_artifact_in_the_config_is_recorded_as_used() -> None:
    with start() as run:
        data = run.log_artifact(scenario.draft("data", {"f": "1"}))
        other = run.log_artifact(scenario.draft("other", {"f": "2"}))
        last = run.log_artifact(scenario.draft("last", {"f": "3"}))
    with start(id="r", config={"data": data, "deep": {"list": [other, 1]}, "depth": 3}) as run:
        run.config.update({"last": last})
        assert run.config["depth"] == 3
    said = {"_type": "artifactVersion", "name": "team/digits/data:v0", "digest": data.digest}
    assert scenario.facts(run)["config"]["data"] == said
    for artifact in (data, other, last):
        assert artifact.used_by() == ["team/digits/r"]


def test_draft_in_the_config_is_refused() -> None:
    draft = scenario.draft("data", {"f": "1"})
    with pytest.raises(ArtifactNotLoggedError, match="artifact 'data' is a draft"):
        start(config={"data": draft})


def test_finished_run_does_nothing_more(model: Path) -> None:
    logged = scenario.logged("data", {"f": "1"})
    run = start(group="g")
    run.finish()
    draft = scenario.draft("data", {"f": "2"})
    for call in (
        lambda: run.link_artifact(logged, "a/b"),
        lambda: run.upsert_artifact(draft),
        lambda: run.finish_artifact(draft),
        lambda: run.log_model(model),
        lambda: run.use_model("data"),
        lambda: run.link_model(model, "m"),
    ):
        with pytest.raises(UsageError, match="is finished; it cannot"):
            call()
