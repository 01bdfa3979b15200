"""Bills of materials, checked with the strict schema that cyclonedx-python-lib carries."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cyclonedx.model.bom import Bom
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

import lineart
import scenario
from lineart.lineage import Direction
from lineart.lineage.exports import Contents, Producer, cyclonedx_bom, read_contents
from lineart.lineage.exports.licenses import _SPDX, bill_entries

from .conftest import LINK, MODEL, PROJECT, extent_of

PRODUCER = Producer("lineart", "1", "pkg:pypi/lineart@1")
AT = "2026-11-21T12:00:00Z"
IMAGES = f"{PROJECT}/images:v0"


def bill(
    name: str,
    *,
    direction: Direction = "upstream",
    depth: int | None = None,
    packages: tuple[str, ...] = (),
    contents: Contents | None = None,
) -> dict[str, Any]:
    extent = extent_of(name, direction, depth)
    found = contents or read_contents(scenario.workspace().version(name))
    return cyclonedx_bom(extent, extent.versions[name], found, PRODUCER, made_at=AT, packages=packages)


def check(bom: dict[str, Any]) -> Any:
    """By the schema, and by another reader, which also checks that what is depended on is there."""
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bom))
    assert fault is None, fault
    made_by_decorator: Any = Bom
    read = made_by_decorator.from_json(bom)
    assert read.validate()
    return read


def properties(component: dict[str, Any]) -> dict[str, str]:
    return {found["name"]: found["value"] for found in component["properties"]}


def test_model_with_files_card_and_inputs(story: None) -> None:
    bom = bill(
        MODEL,
        packages=("numpy==2.4.6", "my-code @ git+https://example.org/c@ab", "-e /w  # own_tool==1.0+x", ""),
    )
    read = check(bom)
    model = bom["metadata"]["component"]
    assert (model["type"], model["version"]) == ("machine-learning-model", "v0")
    assert model["hashes"] == [{"alg": "BLAKE3", "content": scenario.workspace().version(MODEL).state.digest}]
    assert {file["name"] for file in model["components"]} == {"w.bin", "a b.txt"}
    assert model["components"][1]["hashes"][0]["content"] == scenario.digest("weights")
    card = model["modelCard"]
    assert card["modelParameters"]["datasets"] == [{"ref": f"art://{IMAGES}"}]
    assert card["modelParameters"]["task"] == "image-classification"
    metrics = {m["type"]: m["value"] for m in card["quantitativeAnalysis"]["performanceMetrics"]}
    assert metrics == {"accuracy": "0.9", "nested.f1": "0.5"}
    assert properties(model)["lineart:config:lr"] == "0.1"
    libraries = [c for c in bom["components"] if c["type"] == "library"]
    assert [c.get("purl") for c in libraries] == ["pkg:pypi/numpy@2.4.6", None, "pkg:pypi/own-tool@1.0%2Bx"]
    needs = {d["ref"]: d["dependsOn"] for d in bom["dependencies"]}
    assert needs[f"art://{MODEL}"] == [f"art://{IMAGES}", *(c["bom-ref"] for c in libraries)]
    assert read.metadata.component is not None
    assert str(read.metadata.timestamp) == "2026-11-21 12:00:00+00:00"
    assert "compositions" not in bom


def test_dataset_is_data(story: None) -> None:
    bom = bill(IMAGES)
    check(bom)
    data = bom["metadata"]["component"]
    assert (data["type"], data["data"][0]["type"]) == ("data", "dataset")
    assert data["licenses"] == [{"license": {"id": "CC-BY-4.0"}}]
    assert "modelCard" not in data
    assert len(data["components"]) == 16


def test_link_descends_from_its_source(story: None) -> None:
    bom = bill(LINK)
    check(bom)
    link = bom["metadata"]["component"]
    assert [ancestor["name"] for ancestor in link["pedigree"]["ancestors"]] == ["classifier"]
    needs = {d["ref"]: d["dependsOn"] for d in bom["dependencies"]}
    assert needs[f"art://{LINK}"] == [f"art://{MODEL}"]
    assert needs[f"art://{MODEL}"] == [f"art://{IMAGES}"]
    assert properties(link)["lineart:run"] == f"{PROJECT}/train"


def test_commit_and_base_model_stand_in_the_pedigree(story: None) -> None:
    workspace = scenario.workspace(PROJECT)
    git = {"commit": "ab" * 20, "remote": "git@example.org:t/c.git", "dirty": True}
    start: dict[str, Any] = {"op": "run.start", "run": "tune", "config": {}, "capture": {"git": git}}
    use = {
        "op": "edge.use",
        "project": PROJECT,
        "run": "tune",
        "collection": "classifier",
        "version": 0,
        "role": None,
    }
    workspace.project().commit(lambda state: [start, use])
    lineart.tracking.log_draft(workspace, scenario.draft("tuned", {"w": "2"}, "model"), run="tune")
    bom = bill(f"{PROJECT}/tuned:v0")
    check(bom)
    pedigree = bom["metadata"]["component"]["pedigree"]
    assert pedigree["ancestors"][0]["name"] == "classifier"
    assert pedigree["commits"] == [{"uid": "ab" * 20, "url": "ssh://git@example.org/t/c.git"}]
    assert "not committed" in pedigree["notes"]
    shallow = bill(f"{PROJECT}/tuned:v0", depth=1)
    check(shallow)
    assert shallow["compositions"][0]["aggregate"] == "incomplete"


def test_early_checkpoint_has_no_metrics_of_a_later_one(story: None) -> None:
    with lineart.init(project=PROJECT) as run:
        for number, accuracy in enumerate((0.2, 0.95)):
            run.log({"accuracy": accuracy})
            run.log_artifact(scenario.draft("net", {"w": f"{number}"}, "model"))
    early, last = (bill(f"{PROJECT}/net:v{number}")["metadata"]["component"] for number in range(2))
    assert "quantitativeAnalysis" not in early["modelCard"]
    (metric,) = last["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert metric == {"type": "accuracy", "value": "0.95"}


def test_each_of_several_licences_has_an_entry(story: None) -> None:
    licences = ["apache-2.0", "Our own", {"name": "mit", "url": "https://example.org/mit"}, {"x": 1}]
    made = scenario.logged("bare", {"w": "1"}, type="model", metadata={"license": licences})
    bom = bill(made.qualified_name)
    check(bom)
    assert bom["metadata"]["component"]["licenses"] == [
        {"license": {"id": "Apache-2.0"}},
        {"license": {"name": "Our own"}},
        {"license": {"id": "MIT", "url": "https://example.org/mit"}},
    ]


def test_ids_of_licences_are_those_of_spdx(story: None) -> None:
    bom = bill(MODEL)
    bom["metadata"]["component"]["licenses"] = bill_entries(list(_SPDX))
    check(bom)
    assert all("id" in entry["license"] for entry in bill_entries(list(_SPDX)))


def test_references_are_told_by_their_addresses(story: None, tmp_path: Any) -> None:
    (tmp_path / "far.csv").write_text("a\n1\n")
    made = lineart.Artifact("far", "dataset")
    made.add_reference((tmp_path / "far.csv").as_uri())
    made.save()
    bom = bill(made.qualified_name)
    check(bom)
    assert bom["metadata"]["component"]["externalReferences"][-1]["url"].endswith("far.csv")


def test_same_version_has_the_same_serial_number(story: None) -> None:
    assert bill(MODEL) == bill(MODEL)
    assert bill(MODEL)["serialNumber"] != bill(LINK)["serialNumber"]


@pytest.mark.parametrize("type_name", ["", "other"])
def test_schema_refuses_what_is_no_bill(story: None, type_name: str) -> None:
    bom = bill(MODEL)
    bom["metadata"]["component"]["type"] = type_name
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bom)) is not None
