"""Lineage questions about a registered model, which is a link: they go through to what it shows."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import pytest

CHURN = "default/model-registry/churn:v0"


@pytest.fixture
def churn(art, digits: Path) -> None:
    art("link", "classifier:v1", "model-registry/churn", "--alias", "staging")


def test_why_of_a_link_tells_of_its_source(art, churn: None) -> None:
    out = art("why", "model-registry/churn:staging").out
    assert out.startswith("churn:v0 is a link to default/digits/classifier:v1\n")
    assert "was made by the run train-1" in out
    found = art("why", "model-registry/churn", "--json").json
    assert (found["name"], found["source"]) == (CHURN, "default/digits/classifier:v1")
    assert found["inputs"] == [{"name": "default/digits/images:v1", "role": "train"}]
    assert art("why", "classifier:v1", "--json").json["source"] is None


def test_lineage_of_a_link_reaches_the_data(art, churn: None) -> None:
    graph = nx.node_link_graph(art("lineage", "model-registry/churn:staging", "--json").json, edges="edges")
    assert nx.has_path(graph, "default/digits/images:v1", CHURN)
    out = art("lineage", "model-registry/churn").out
    assert "classifier:v1" in out
    assert "images:v1" in out


def test_impact_of_data_names_the_registered_model(art, churn: None) -> None:
    found = art("impact", "images:v1", "--json").json
    assert CHURN in [version["name"] for version in found["versions"]]
    assert "churn:staging" in found["aliases"]


def test_impact_of_a_link_is_what_came_of_it(art, churn: None, tmp_path: Path) -> None:
    import lineart

    with lineart.init(project="digits", job_type="serve") as run:
        run.use_artifact("default/model-registry/churn:staging")
        (tmp_path / "served.txt").write_text("1")
        run.log_artifact(str(tmp_path / "served.txt"), name="served", type="result")
    found = art("impact", "model-registry/churn:staging", "--json").json
    assert [version["name"] for version in found["versions"]] == ["default/digits/served:v0"]
    everything = art("impact", "classifier:v1", "--json").json
    assert {"default/digits/served:v0", CHURN} <= {version["name"] for version in everything["versions"]}


def test_diff_of_links_compares_how_their_sources_were_made(art, churn: None) -> None:
    art("link", "classifier:v2", "model-registry/churn")
    found = art("diff", "model-registry/churn:v0", "model-registry/churn:v1", "--json").json
    assert found["config"] == {"lr": [0.05, 0.1 / 3]}
