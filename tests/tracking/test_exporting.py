"""`Artifact.export`, and exports of whole projects."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

import lineart
import scenario
from lineart.artifacts import ProjectName
from lineart.lineage.exports import FORMATS, this_producer
from lineart.storage.errors import ArtifactNotLoggedError, UsageError
from lineart.tracking.exporting import export_project, export_version

DIGITS = "team/digits"


@pytest.fixture
def model() -> lineart.Artifact:
    with lineart.init(project=DIGITS, id="prep") as run:
        run.log_artifact(scenario.draft("data", {"x.csv": "a,b\n1,2\n"}))
    with lineart.init(project=DIGITS, id="train") as run:
        run.use_artifact("data:latest")
        return run.log_artifact(scenario.draft("model", {"w": "1"}, "model"))


@pytest.mark.parametrize("format_name", sorted(FORMATS))
def test_every_format_gives_a_text(model: lineart.Artifact, format_name: str) -> None:
    wanted = FORMATS[format_name]
    subject = lineart.Api().artifact(f"{DIGITS}/data:latest") if wanted.kind == "dataset" else model
    text = subject.export(format_name)
    assert subject.collection in text
    assert text.endswith("\n")


def test_direction_and_depth_are_those_of_lineage(model: lineart.Artifact) -> None:
    data = lineart.Api().artifact(f"{DIGITS}/data:latest")
    assert model.qualified_name not in data.export("json", direction="upstream")
    assert model.qualified_name in data.export("json", "downstream", depth=1)


def test_draft_and_unknown_format_are_refused(model: lineart.Artifact) -> None:
    with pytest.raises(ArtifactNotLoggedError):
        scenario.draft("new", {}).export("prov")
    with pytest.raises(UsageError, match="expected one of"):
        model.export("csv")


@pytest.mark.parametrize("format_name", ["prov", "json"])
def test_direction_that_there_is_not_is_refused(model: lineart.Artifact, format_name: str) -> None:
    with pytest.raises(UsageError, match=r"direction 'up': expected upstream, downstream or both"):
        model.export(format_name, direction=cast(Any, "up"))


def test_deleted_version_tells_no_files(model: lineart.Artifact) -> None:
    model.delete(delete_aliases=True)
    assert model.qualified_name in model.export("prov")
    with pytest.raises(UsageError, match="undelete it first"):
        model.export("cyclonedx")


def test_project_has_its_runs_and_what_they_used_elsewhere(model: lineart.Artifact) -> None:
    with lineart.init(project="team/other", id="serve") as run:
        run.use_artifact(model.qualified_name)
    workspace = scenario.workspace()
    graph = json.loads(export_project(workspace, ProjectName("team", "other"), "json"))
    assert {node["id"] for node in graph["nodes"]} == {model.qualified_name, "run:team/other/serve"}
    assert graph["graph"]["focus"] is None


def test_project_of_parts_and_links_is_the_graph_of_its_versions(model: lineart.Artifact) -> None:
    with lineart.init(project=DIGITS, id="two") as run:
        used = run.use_artifact("data:latest")
        run.log_artifact(scenario.draft("one", {"a": "1"}), derived_from=[used])
        run.log_artifact(scenario.draft("two", {"a": "2"}), derived_from=[])
    model.link("team/registry/best")
    workspace = scenario.workspace()
    whole = json.loads(export_project(workspace, ProjectName("team", "digits"), "json"))
    around = json.loads(export_version(workspace, workspace.version("data:v0"), "json"))
    assert {node["id"] for node in around["nodes"]} < {node["id"] for node in whole["nodes"]}
    assert {(e["source"], e["target"], e["kind"], e["exact"]) for e in around["edges"]} < {
        (e["source"], e["target"], e["kind"], e["exact"]) for e in whole["edges"]
    }
    assert "team/registry/best:v0" in {node["id"] for node in whole["nodes"]}
    assert sum(node["id"].startswith("run:team/digits/two") for node in whole["nodes"]) == 2


def test_empty_project_is_an_empty_export() -> None:
    workspace = scenario.workspace()
    empty = ProjectName("team", "nothing")
    assert export_project(workspace, empty, "openlineage") == ""
    for format_name in ("prov", "graphml", "json", "dot", "mermaid"):
        assert export_project(workspace, empty, format_name)


def test_producer_is_the_installed_package() -> None:
    found = this_producer()
    assert found.name == "lineart"
    assert found.version in found.uri or found.uri.startswith("https://")
