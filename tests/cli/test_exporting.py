"""`art export`."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import networkx as nx
import pytest
import yaml

import lineart
from lineart.lineage.exports import FORMATS


def test_whole_project_without_a_name(art, digits: Path) -> None:
    events = [json.loads(line) for line in art("export", "openlineage").lines]
    assert {event["job"]["name"] for event in events} == {"prepare", "train"}
    assert "art:default/digits/images:v1" in art("export", "prov").json["entity"]
    graph = nx.parse_graphml(art("export", "graphml").out, force_multigraph=True)
    assert {"default/digits/classifier:v2", "default/digits/images:v0"} <= set(graph)
    assert "default/other/scores:v0" not in graph
    assert nx.node_link_graph(art("export", "json").json, edges="edges").number_of_nodes() == len(graph)
    assert art("export", "dot").out.startswith("digraph")
    assert "flowchart" in art("export", "mermaid").out


def test_around_a_version_with_direction_and_depth(art, digits: Path) -> None:
    everything = set(art("export", "prov", "classifier:production").json["entity"])
    up = set(art("export", "prov", "classifier:production", "--upstream").json["entity"])
    assert "art:default/other/scores:v0" in everything - up
    near = art("export", "json", "images:v1", "--downstream", "--depth", "1").json
    assert near["graph"]["omitted"] == 1


def test_version_with_its_files(art, digits: Path, tmp_path: Path) -> None:
    bom = art("export", "cyclonedx", "classifier:production").json
    assert bom["metadata"]["component"]["name"] == "classifier"
    packages = {c["name"] for c in bom["components"] if c["type"] == "library"}
    assert {"duckdb", "click"} <= packages
    croissant = art("export", "croissant", "images").json
    assert {part["name"] for part in croissant["distribution"]} >= {"labels.csv"}
    art("export", "model-card", "classifier", "-o", "README.md")
    front = yaml.safe_load((tmp_path / "README.md").read_text().split("---\n")[1])
    assert front["datasets"] == ["default/digits/images:v1"]
    assert [path.name for path in tmp_path.glob(".README*")] == []


def test_columns_are_looked_up_when_asked(art, digits: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,text\n1,x\n")
    art("put", "t.csv", "-n", "sheet", "-t", "dataset")
    with lineart.init(project="digits", id="reader") as run:
        run.use_artifact("sheet:latest")
    for option, expected in (
        ([], None),
        (["--tables"], [{"name": "id", "type": "BIGINT"}, {"name": "text", "type": "VARCHAR"}]),
    ):
        last = json.loads(art("export", "openlineage", "sheet", *option).lines[-1])
        assert last["inputs"][0]["facets"].get("schema", {}).get("fields") == expected


def test_catalog_as_database_and_as_parquet(art, digits: Path, tmp_path: Path) -> None:
    assert art("export", "catalog", "copy.duckdb").out == ""
    art("export", "catalog", "-o", "copy")
    query = "SELECT count(*) FROM {} WHERE type = 'model'"
    with duckdb.connect("copy.duckdb", read_only=True) as copy:
        assert copy.execute(query.format("versions")).fetchone() == (3,)
    with duckdb.connect() as plain:
        assert plain.execute(query.format("'copy/versions.parquet'")).fetchone() == (3,)
    assert "exists; choose a new" in art("export", "catalog", "copy", status=2).err


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["openlinage"], "expected one of openlineage, prov"),
        (["openlinage"], "did you mean 'openlineage'?"),
        (["nothing"], "or catalog"),
        (["cyclonedx"], "describes one version: name it"),
        (["croissant", "classifier"], "use model-card or cyclonedx"),
        (["model-card", "images"], "use croissant or cyclonedx"),
        (["croissant", "images", "--depth", "1"], "takes no depth"),
        (["cyclonedx", "images", "--downstream"], "takes no direction"),
        (["prov", "--upstream"], "name the version to start from"),
        (["prov", "--tables"], "only openlineage"),
        (["catalog"], "name one new .duckdb file"),
        (["catalog", "a", "-o", "b"], "name one new .duckdb file"),
        (["catalog", "a", "--depth", "1"], "none of the options of lineage"),
        (["prov", "-o", "no/such/file"], "choose another file"),
    ],
)
def test_wrong_call_says_what_to_do(art, digits: Path, arguments: list[str], message: str) -> None:
    answer = art("export", *arguments, status=2)
    assert message in answer.err
    assert answer.out == ""


def test_name_that_is_not_there(art, digits: Path) -> None:
    assert "did you mean 'classifier'?" in art("export", "prov", "clasifier", status=1).err


def test_deleted_version_has_lineage_and_no_files(art, digits: Path) -> None:
    art("rm", "classifier:v0", "--yes")
    assert art("export", "prov", "classifier:v0").json["entity"]["art:default/digits/classifier:v0"]
    art("export", "cyclonedx", "classifier:v0", status=1)


def test_help_names_every_format(art) -> None:
    text = " ".join(art("export", "--help").out.split())
    for name in FORMATS:
        assert name in text, name
