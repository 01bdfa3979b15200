"""What a run has read and nobody has declared is an input in every export that tells of inputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import lineart
import scenario
from lineart.registry.signing import open_envelope
from lineart.tracking.version_signing import sign_provenance
from signing_keys import signer, trusting

from . import test_cyclonedx, test_openlineage

PROJECT = "team/digits"
EXTRA = "a,b\n1,2\n"


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> lineart.Artifact:
    """Made by a run that has read a file beside the version that it used."""
    monkeypatch.setenv("LINEART_PROJECT", PROJECT)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/extra one.csv").write_text(EXTRA)
    scenario.logged("images", {"a.png": "picture"})
    with lineart.init(settings={"observe": ["data/"]}) as run:
        run.use_artifact("images:latest")
        (tmp_path / "data/extra one.csv").read_text()
        return run.log_artifact(scenario.draft("net", {"w": "1"}, "model"))


def test_card_has_it_among_the_inputs(model: lineart.Artifact) -> None:
    text = model.export("model-card")
    row = f"| data/extra one.csv | untracked, 8 bytes, BLAKE3 `{scenario.digest(EXTRA)}` |"
    assert row in text


def test_bill_has_it_without_a_version_and_says_that_it_is_incomplete(model: lineart.Artifact) -> None:
    bom = json.loads(model.export("cyclonedx"))
    test_cyclonedx.check(bom)
    (found,) = [part for part in bom["components"] if part["name"] == "data/extra one.csv"]
    assert found["hashes"] == [{"alg": "BLAKE3", "content": scenario.digest(EXTRA)}]
    assert "version" not in found
    subject = f"art://{model.qualified_name}"
    needs = {part["ref"]: part["dependsOn"] for part in bom["dependencies"]}
    assert found["bom-ref"] in needs[subject]
    assert bom["compositions"] == [{"aggregate": "incomplete", "dependencies": [subject]}]


def test_bill_of_what_was_made_later_has_it_too(model: lineart.Artifact) -> None:
    with lineart.init() as run:
        run.use_artifact(model)
        later = run.log_artifact(scenario.draft("tuned", {"w": "2"}, "model"))
    bom = json.loads(later.export("cyclonedx"))
    test_cyclonedx.check(bom)
    assert "data/extra one.csv" in {part["name"] for part in bom["components"]}
    assert bom["compositions"][0]["dependencies"] == [f"art://{model.qualified_name}"]


def test_events_have_it_as_an_input(model: lineart.Artifact) -> None:
    events = [json.loads(line) for line in model.export("openlineage").splitlines()]
    test_openlineage.check(events)
    inputs: list[dict[str, Any]] = events[-1]["inputs"]
    assert [used["name"] for used in inputs] == ["images", "data/extra one.csv"]
    assert inputs[1]["namespace"] == "file"
    assert inputs[1]["facets"]["lineart_untracked"]["digest"] == f"blake3:{scenario.digest(EXTRA)}"
    assert inputs[1]["inputFacets"]["inputStatistics"]["size"] == 8


def test_address_is_named_by_its_host_and_without_its_secrets(model: lineart.Artifact) -> None:
    workspace = scenario.workspace(PROJECT)
    read = {"uri": "https://ada:hunter2@host/x.csv?sig=abc", "digest": None, "size_bytes": None}
    run = {"run": "r9", "inputs": [read], "omitted": 3}
    workspace.project().commit(
        lambda state: [
            {"op": "run.start", "run": "r9", "config": {}, "capture": {}},
            {"op": "run.inputs", **run},
        ]
    )
    lineart.tracking.log_draft(workspace, scenario.draft("net", {"w": "2"}, "model"), run="r9")
    made = lineart.Api().artifact(f"{PROJECT}/net:v1")
    events = [json.loads(line) for line in made.export("openlineage").splitlines()]
    test_openlineage.check(events)
    (found,) = events[-1]["inputs"]
    assert (found["namespace"], found["name"]) == ("https://host", "x.csv?sig=***")
    bom = json.loads(made.export("cyclonedx"))
    test_cyclonedx.check(bom)
    assert "hunter2" not in json.dumps([bom, events])
    assert "and 3 more files or addresses" in made.export("model-card")


def test_signed_provenance_has_it(model: lineart.Artifact) -> None:
    envelope = sign_provenance(scenario.workspace(PROJECT), "net:v0", signer("ann"))
    statement = open_envelope(envelope, trusting("ann")).statement
    dependencies = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert {
        "name": "data/extra one.csv",
        "digest": {"blake3": scenario.digest(EXTRA)},
        "annotations": {"untracked": True, "sizeBytes": 8},
    } in dependencies
