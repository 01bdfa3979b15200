"""`art lineage`, `art impact`, `art why`, `art whereis`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import networkx as nx
import pytest

ART = Path(sys.executable).with_name("art")
needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz")


def test_tree_is_the_default(art, digits: Path) -> None:
    out = art("lineage", "classifier:production").out
    assert "■ classifier:v1 [production]" in out
    assert "images:v1" in out
    assert "other/scores:v0" in out


def test_directions_and_depth(art, digits: Path) -> None:
    up = art("lineage", "classifier:v1", "--upstream").out
    down = art("lineage", "images:v0", "--downstream", "--depth", "1").out
    assert "downstream" not in up
    assert "upstream" not in down
    assert "classifier:v0" in down


def test_json_is_the_whole_graph(art, digits: Path) -> None:
    data = art("lineage", "images:v1", "--json").json
    graph = nx.node_link_graph(data, edges="edges")
    assert graph.graph["focus"] == "default/digits/images:v1"
    assert nx.has_path(graph, "default/digits/images:v1", "default/other/scores:v0")


def test_notations_go_to_stdout(art, digits: Path) -> None:
    assert art("lineage", "classifier", "--dot").out.startswith("digraph")
    assert "flowchart" in art("lineage", "classifier", "--mermaid").out
    assert "choose one" in art("lineage", "classifier", "--dot", "--json", status=2).err


@needs_dot
def test_dot_draws_what_comes_through_a_pipe(digits: Path, art) -> None:
    source = subprocess.run([ART, "lineage", "classifier:v1", "--dot"], stdout=subprocess.PIPE, check=True)
    drawn = subprocess.run(["dot", "-Tsvg"], input=source.stdout, stdout=subprocess.PIPE, check=True)
    assert b"<svg" in drawn.stdout


@needs_dot
def test_pictures_go_to_a_file_or_stdout(art, digits: Path, tmp_path: Path) -> None:
    art("lineage", "classifier", "--svg", "l.svg")
    art("lineage", "classifier", "--png", "l.png")
    assert "<svg" in (tmp_path / "l.svg").read_text()
    assert (tmp_path / "l.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in art("lineage", "classifier", "--svg", "-").bytes
    assert "No such file" in art("lineage", "classifier", "--svg", "no/where.svg", status=1).err


def test_lineage_of_nothing(art, digits: Path) -> None:
    assert "did you mean 'classifier'?" in art("lineage", "clasifier", status=1).err
    assert "--depth" in art("lineage", "classifier", "--depth", "0", status=2).err


def test_impact_reaches_other_projects(art, digits: Path) -> None:
    found = art("impact", "images:v1", "--json").json
    assert [version["name"] for version in found["versions"]][-1] == "default/other/scores:v0"
    assert "classifier:production" in found["aliases"]
    assert {run["job_type"] for run in found["runs"]} == {"train", "serve"}
    out = art("impact", "images:v1").out
    assert "by 3 runs; 3 versions came of it" in out
    assert "default/other/scores:v0" in out
    assert "nothing was made from it" in art("impact", "classifier:v2").out


def test_why_names_run_inputs_and_config(art, digits: Path) -> None:
    out = art("why", "classifier:v0").out
    assert "was made by the run train-0 (train, finished)" in out
    assert "images:v0 as train" in out
    assert "all that the run had used before" in out
    assert "lr = 0.1" in out
    assert "all that the run" not in art("why", "classifier:production").out
    found = art("why", "classifier:production", "--json").json
    assert found["run"]["config"] == {"lr": 0.05, "depth": 3}
    assert found["exact"] is True


def test_untracked_inputs_are_listed_with_the_version_that_has_the_file(
    art, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINEART_PROJECT", "digits")
    (tmp_path / "data").mkdir()
    for name in ("raw", "new"):
        (tmp_path / "data" / f"{name}.csv").write_text(name)
    art("put", "data/raw.csv", "-t", "dataset", "--name", "raw")
    script = """
import lineart
with lineart.init(project="digits", id="seen", settings={"observe": ["data"], "console": "off"}) as run:
    text = [open(f"data/{name}.csv").read() for name in ("raw", "new")]
    model = lineart.Artifact("model", type="model")
    with model.new_file("w") as file:
        file.write(text[0])
    run.log_artifact(model)
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)
    said = "raw.csv  3 B  blake3 "
    for command in (["why", "digits/model"], ["run", "show", "digits/seen"]):
        out = art(*command).out
        assert "untracked  data/new.csv  3 B  blake3" in out
        assert said in out
        assert "(the same file is in raw:v0)" in out
        found = art(*command, "--json").json
        assert [one["uri"] for one in found["untracked"]] == ["data/new.csv", "data/raw.csv"]
        assert [one["found_in"] for one in found["untracked"]] == [None, "default/digits/raw:v0"]
        assert found["untracked_omitted"] == 0
    assert art("why", "raw", "--json").json["untracked"] is None


def test_why_of_what_no_run_made(art, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    art("put", "a.txt", "-t", "x")
    assert "was logged outside of a run by" in art("why", "a").out
    assert art("why", "a", "--json").json["run"] is None
    assert "has no v1" in art("why", "a:v1", status=1).err


def test_file_is_found_by_its_content(art, digits: Path, tmp_path: Path) -> None:
    art("get", "images:v1", "--root", "out")
    (tmp_path / "renamed.bin").write_bytes((tmp_path / "out/train/moved.png").read_bytes())
    assert art("whereis", "renamed.bin").rows == [
        ["images:v1", "latest", "train/moved.png"],
        ["images:v0", "-", "train/1.png"],
    ]
    assert [found["name"] for found in json.loads(art("whereis", "renamed.bin", "--json").out)] == [
        "default/digits/images:v1",
        "default/digits/images:v0",
    ]


def test_file_of_another_project_is_found_when_asked(art, digits: Path, tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("1\n")
    answer = art("whereis", "s.txt", status=1)
    assert answer.out == ""
    assert "is in no version of default/digits" in answer.err
    assert art("whereis", "s.txt", "--json", status=1).json == []
    assert art("whereis", "s.txt", "-A").rows == [["default/other/scores:v0", "latest", "scores.txt"]]


def test_file_that_is_not_there(art, digits: Path) -> None:
    assert "does not exist" in art("whereis", "nope.txt", status=2).err
