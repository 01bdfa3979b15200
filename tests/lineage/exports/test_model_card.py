"""Model cards, read by huggingface_hub."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

import lineart
import scenario
from lineart.lineage.exports import Contents

from .conftest import LINK, MODEL, PROJECT

IMAGES, GOLDEN = f"{PROJECT}/images:v0", f"{PROJECT}/golden:v0"


def card(name: str) -> tuple[Any, dict[str, Any]]:
    text = lineart.Api().artifact(name).export("model-card")
    front = yaml.safe_load(text.split("---\n")[1])
    return ModelCard(text), front


def test_front_matter_is_what_the_hub_reads(story: None) -> None:
    read, front = card(MODEL)
    assert (read.data.license, read.data.datasets) == ("apache-2.0", [IMAGES])
    results = {(r.metric_type, r.metric_value, r.dataset_type) for r in read.data.eval_results or ()}
    assert results == {("accuracy", 0.9, GOLDEN), ("nested.f1", 0.5, GOLDEN), ("f1", 0.7, GOLDEN)}
    assert {r.task_type for r in read.data.eval_results or ()} == {"image-classification"}
    assert front["metrics"] == ["accuracy", "nested.f1", "f1"]
    assert "base_model" not in front
    assert front["model-index"][0]["name"] == "classifier"


def test_text_tells_how_it_was_made(story: None) -> None:
    read, _ = card(MODEL)
    for words in (
        "Tells digits apart",
        f"art get {MODEL}",
        f"| {IMAGES} | train |",
        "| layers | [1, 2] |",
        "| w.bin | 7 |",
    ):
        assert words in read.text
    assert read.text.startswith("\n# classifier") or read.text.startswith("# classifier")


def test_link_has_the_story_of_its_source(story: None) -> None:
    read, front = card(LINK)
    assert front["model-index"][0]["name"] == "churn"
    assert {r.metric_type for r in read.data.eval_results or ()} == {"accuracy", "nested.f1", "f1"}
    assert f"Version `{LINK}`" in read.text


def test_base_model_and_hub_names_come_from_the_lineage(story: None) -> None:
    with lineart.init(project=PROJECT) as run:
        run.use_artifact(MODEL, role="base-model")
        made = scenario.draft("tuned", {"w": "2"}, "model", metadata={"tags": ["tiny"], "language": "en"})
        run.log_artifact(made, tags=["gold"])
    read, front = card(made.qualified_name)
    assert (read.data.base_model, front["tags"], front["language"]) == (MODEL, ["tiny", "gold"], "en")
    assert "model-index" not in front


def test_input_on_the_hub_is_called_by_its_name_there(story: None) -> None:
    from lineart.lineage.exports import render_model_card

    from .conftest import extent_of

    extent = extent_of(MODEL, "both", 1)
    uris = {
        IMAGES: ["hf://datasets/ylecun/mnist@ab12/train.parquet", "hf://datasets/ylecun/mnist/test.parquet"]
    }
    front = yaml.safe_load(
        render_model_card(extent, extent.versions[MODEL], Contents(()), uris).split("---\n")[1]
    )
    assert front["datasets"] == ["ylecun/mnist"]


def test_model_that_no_run_made_has_a_card(story: None) -> None:
    made = scenario.logged("bare", {"w|x": "1"}, type="model")
    read, front = card(made.qualified_name)
    assert (front, "w\\|x" in read.text) == ({}, True)


def evaluate(score: float, *used: tuple[str, str | None], made: lineart.Artifact | None = None) -> str:
    """A run that uses versions in roles, logs a number and, when it is given, an artifact: the name of the number."""
    with lineart.init(project=PROJECT) as run:
        for name, role in used:
            run.use_artifact(name, role=role)
        run.log({f"score-{score}": score})
        if made is not None:
            run.log_artifact(made)
    return f"score-{score}"


def test_score_of_one_model_is_not_claimed_by_the_one_it_was_compared_with(story: None) -> None:
    new = scenario.logged("classifier", {"w": "9"}, type="model").qualified_name
    compared = evaluate(0.75, (new, "candidate"), (MODEL, "baseline"), (GOLDEN, "test"))
    of_two = evaluate(0.25, (new, None), (MODEL, None))
    assert compared in card(new)[1]["metrics"]
    assert compared not in card(MODEL)[1]["metrics"]
    assert of_two not in {*card(new)[1]["metrics"], *card(MODEL)[1]["metrics"]}


def test_run_that_made_data_with_a_model_or_failed_is_no_evaluation_of_it(story: None) -> None:
    produced = evaluate(0.125, (MODEL, None), made=scenario.draft("labelled", {"a.csv": "a\n1\n"}))
    run = lineart.init(project=PROJECT)
    run.use_artifact(MODEL)
    run.log({"failed": 1.0})
    run.finish(exit_code=1)
    assert not {produced, "failed"} & set(card(MODEL)[1]["metrics"])


def test_early_checkpoint_does_not_claim_what_the_run_reached_at_its_end(story: None) -> None:
    with lineart.init(project=PROJECT) as run:
        for number, accuracy in enumerate((0.2, 0.6, 0.95)):
            run.log({"accuracy": accuracy})
            run.log_artifact(scenario.draft("net", {"w": f"{number}"}, "model"))
    found = [card(f"{PROJECT}/net:v{number}") for number in range(3)]
    assert [front.get("metrics") for _, front in found] == [None, None, ["accuracy"]]
    assert ["### Metrics" in read.text for read, _ in found] == [False, False, True]


def test_data_that_it_was_only_tested_on_is_not_what_it_was_made_from(story: None) -> None:
    settings = scenario.logged("settings", {"c": "1"}, type="config").qualified_name
    with lineart.init(project=PROJECT) as run:
        run.use_artifact(IMAGES, role="train")
        run.use_artifact(GOLDEN, role="test")
        run.use_artifact(settings)
        made = run.log_artifact(scenario.draft("seen", {"w": "3"}, "model"))
    read, front = card(made.qualified_name)
    assert front["datasets"] == [IMAGES]
    assert f"| {GOLDEN} | test |" in read.text


@pytest.mark.parametrize(
    "written, expected",
    [(["mit", "apache-2.0"], ["mit", "apache-2.0"]), ({"name": "Ours", "x": 1}, "Ours"), ({"x": 1}, None)],
)
def test_licence_is_text_in_a_card(story: None, written: Any, expected: Any) -> None:
    made = scenario.logged("bare", {"w": "1"}, type="model", metadata={"license": written})
    assert card(made.qualified_name)[1].get("license") == expected


def test_evaluation_of_a_model_is_told_from_its_successor(story: None) -> None:
    with lineart.init(project=PROJECT) as run:
        run.use_artifact(MODEL)
        run.log({"successor": 1.0})
        run.log_artifact(scenario.draft("next", {"w": "3"}, "model"))
    _, front = card(MODEL)
    assert "successor" not in front["metrics"]
