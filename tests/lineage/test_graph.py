"""The graph says what a model of the same history says, and never runs in a circle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import networkx as nx
import pytest

import builders
import scenario
from lineart.lineage import Catalog, Direction, LineageGraph
from lineart.storage.store import Store


def build(
    found: Catalog, version: str, direction: Direction = "both", depth: int | None = None
) -> nx.MultiDiGraph[str]:
    """The graph around ``name:vN`` of the home project, or around a full name."""
    full = version if "/" in version else f"{scenario.HOME}/{version}"
    return LineageGraph(found).build(full, direction=direction, depth=depth)


def short(nodes: Iterator[str] | set[str]) -> set[str]:
    return {node.rpartition("/")[2] for node in nodes}


def artifacts(drawn: nx.MultiDiGraph[str]) -> set[str]:
    return short({node for node, data in drawn.nodes(data=True) if data["kind"] == "artifact"})


def runs(drawn: nx.MultiDiGraph[str]) -> set[str]:
    return short({node for node, data in drawn.nodes(data=True) if data["kind"] == "run"})


def upstream(found: Catalog, version: str) -> set[str]:
    return artifacts(build(found, version, "upstream")) - {version}


def downstream(found: Catalog, version: str) -> set[str]:
    return artifacts(build(found, version, "downstream")) - {version}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return builders.memory_store(tmp_path)


@pytest.fixture
def history(store: Store) -> scenario.History:
    return scenario.History(store)


# Exact and run-level


def test_run_level_inputs_are_all_that_was_used_before(history: scenario.History) -> None:
    history.run("prep")
    for name in ("a", "b", "c"):
        history.log(name, run="prep")
    history.run("r")
    history.use("r", "a:v0", "train")
    history.use("r", "b:v0")
    history.log("out", run="r")
    history.use("r", "c:v0")  # too late to have gone into it
    found = scenario.catalog(history)
    assert upstream(found, "out:v0") == {"a:v0", "b:v0"}
    edges = build(found, "out:v0", "upstream").in_edges("run:team/digits/r", data=True)
    assert {(a, d["kind"], d["role"], d["exact"]) for a, _, d in edges} == {
        ("team/digits/a:v0", "used", "train", False),
        ("team/digits/b:v0", "used", None, False),
    }
    assert downstream(found, "c:v0") == set()
    assert runs(build(found, "c:v0", "downstream")) == {"r#2"}  # used, and nothing came of it


def test_exact_inputs_are_those_declared_and_no_others(history: scenario.History) -> None:
    history.run("r")
    for name in ("a", "b"):
        history.log(name)
        history.use("r", f"{name}:v0")
    history.log("one", run="r", derived_from=["team/digits/a:v0"])
    history.log("two", run="r", derived_from=["team/digits/b:v0"])
    history.log("none", run="r", derived_from=[])
    history.log("all", run="r")
    found = scenario.catalog(history)
    assert upstream(found, "one:v0") == {"a:v0"}
    assert upstream(found, "two:v0") == {"b:v0"}
    assert upstream(found, "none:v0") == set()
    assert upstream(found, "all:v0") == {"a:v0", "b:v0"}
    assert downstream(found, "a:v0") == {"one:v0", "all:v0"}


def test_outputs_with_the_same_inputs_share_a_node_and_others_are_parts(history: scenario.History) -> None:
    history.run("r")
    history.log("early", run="r")
    history.log("data")
    history.use("r", "data:v0")
    history.log("x", run="r")
    history.log("y", run="r")
    found = scenario.catalog(history)
    drawn = build(found, "data:v0", "downstream")
    assert runs(drawn) == {"r#2"}
    assert artifacts(drawn) == {"data:v0", "x:v0", "y:v0"}
    assert drawn.nodes["run:team/digits/r#2"]["part"] == 2
    assert drawn.nodes["run:team/digits/r#2"]["run_id"] == "r"
    assert runs(build(found, "early:v0")) == {"r"}


def test_run_of_one_part_has_no_part_number(history: scenario.History) -> None:
    history.run("r", job_type="prep")
    history.log("data", run="r")
    history.finish("r", "failed")
    node = build(scenario.catalog(history), "data:v0").nodes["run:team/digits/r"]
    assert (node["part"], node["label"], node["job_type"], node["state"]) == (
        None,
        "name-of-r",
        "prep",
        "failed",
    )


def test_evaluation_without_outputs_is_drawn(history: scenario.History) -> None:
    history.log("model")
    history.run("judge")
    history.use("judge", "model:v0", "judged")
    drawn = build(scenario.catalog(history), "model:v0")
    assert runs(drawn) == {"judge"}
    assert [data["role"] for *_, data in drawn.edges(data=True)] == ["judged"]


# Shapes


def test_shared_ancestor_stands_once(history: scenario.History) -> None:
    history.log("data")
    for run in ("left", "right"):
        history.run(run)
        history.use(run, "data:v0")
        history.log(run, run=run)
    history.run("join")
    history.use("join", "left:v0")
    history.use("join", "right:v0")
    history.log("model", run="join")
    drawn = build(scenario.catalog(history), "model:v0", "upstream")
    assert artifacts(drawn) == {"data:v0", "left:v0", "right:v0", "model:v0"}
    assert runs(drawn) == {"left", "right", "join"}
    assert drawn.number_of_edges() == 7


def test_run_that_uses_its_own_output_does_not_run_in_a_circle(history: scenario.History) -> None:
    history.run("r")
    history.log("model", run="r")
    history.use("r", "model:v0")
    history.log("model", run="r")
    found = scenario.catalog(history)
    drawn = build(found, "model:v1")
    assert nx.is_directed_acyclic_graph(drawn)
    assert upstream(found, "model:v1") == {"model:v0"}
    assert upstream(found, "model:v0") == set()
    assert runs(drawn) == {"r", "r#2"}


def test_long_run_that_uses_a_later_product_of_its_own_output(history: scenario.History) -> None:
    history.run("long")
    history.log("teacher", run="long")
    history.run("other")
    history.use("other", "teacher:v0")
    history.log("student", run="other")
    history.use("long", "student:v0")
    history.log("teacher", run="long")
    found = scenario.catalog(history)
    assert nx.is_directed_acyclic_graph(build(found, "student:v0"))
    assert upstream(found, "student:v0") == {"teacher:v0"}
    assert upstream(found, "teacher:v1") == {"student:v0", "teacher:v0"}
    assert downstream(found, "teacher:v0") == {"student:v0", "teacher:v1"}


def test_revert_by_a_run_that_used_newer_versions_makes_no_circle(history: scenario.History) -> None:
    history.run("first")
    history.log("model", "old", run="first")
    history.run("second")
    history.use("second", "model:v0")
    history.log("model", "new", run="second")
    history.run("revert")
    history.use("revert", "model:v1")
    assert history.log("model", "old", run="revert") == "team/digits/model:v0"
    found = scenario.catalog(history)
    drawn = build(found, "model:v0")
    assert nx.is_directed_acyclic_graph(drawn)
    assert upstream(found, "model:v0") == set()
    assert downstream(found, "model:v0") == {"model:v1"}
    assert runs(drawn) == {"first", "second", "revert"}


def test_inputs_declared_for_content_that_was_there_already_are_no_origin(history: scenario.History) -> None:
    history.run("r")
    history.log("a", "old", run="r", derived_from=[])
    history.use("r", "a:v0")
    history.log("b", run="r", derived_from=["team/digits/a:v0"])
    history.use("r", "b:v0")
    history.log(
        "a", "old", run="r", derived_from=["team/digits/b:v0"]
    )  # back to v0, whatever it came from now
    found = scenario.catalog(history)
    assert nx.is_directed_acyclic_graph(build(found, "a:v0"))
    assert upstream(found, "a:v0") == set()
    assert downstream(found, "a:v0") == {"b:v0"}


def test_deleted_ancestor_stays_as_a_tombstone(history: scenario.History) -> None:
    history.log("data", "bytes")
    history.run("r")
    history.use("r", "data:v0")
    history.log("model", run="r")
    history.delete("data:v0")
    drawn = build(scenario.catalog(history), "model:v0")
    node = drawn.nodes["team/digits/data:v0"]
    assert (node["deleted"], node["digest"], node["aliases"]) == (True, scenario.digest("bytes"), ())
    assert nx.has_path(drawn, "team/digits/data:v0", "team/digits/model:v0")


def test_version_logged_outside_of_a_run_stands_alone(history: scenario.History) -> None:
    history.log("data", tags=["x"], aliases=["best"])
    drawn = build(scenario.catalog(history), "data:v0")
    assert list(drawn) == ["team/digits/data:v0"]
    node = drawn.nodes["team/digits/data:v0"]
    assert (node["label"], node["name"], node["version"], node["type"]) == ("data:v0", "data", 0, "dataset")
    assert (node["aliases"], node["tags"], node["deleted"]) == (("latest", "best"), ("x",), False)


def test_times_are_written_as_in_the_log(history: scenario.History) -> None:
    history.project._now = lambda: "2026-01-02T03:04:05.000006Z"
    history.run("r")
    history.log("data", run="r")
    drawn = build(scenario.catalog(history), "data:v0")
    assert {data["created_at"] for _, data in drawn.nodes(data=True)} == {"2026-01-02T03:04:05.000006Z"}


# Depth


@pytest.mark.parametrize(
    "depth, steps, omitted", [(0, [5], 1), (1, [4, 5], 1), (4, [1, 2, 3, 4, 5], 1), (9, range(6), 0)]
)
def test_depth_counts_versions_and_says_what_it_leaves_out(
    history: scenario.History, depth: int, steps: list[int], omitted: int
) -> None:
    scenario.chain(history, 6)
    drawn = build(scenario.catalog(history), "step:v5", "upstream", depth)
    assert artifacts(drawn) == {f"step:v{number}" for number in steps}
    assert drawn.graph["omitted"] == omitted
    assert (drawn.graph["focus"], drawn.graph["direction"]) == ("team/digits/step:v5", "upstream")


def test_depth_counts_in_both_directions(history: scenario.History) -> None:
    scenario.chain(history, 7)
    drawn = build(scenario.catalog(history), "step:v3", "both", 1)
    assert artifacts(drawn) == {"step:v2", "step:v3", "step:v4"}
    assert drawn.graph["omitted"] == 2


def test_omitted_counts_each_version_behind_the_limit_once(history: scenario.History) -> None:
    for name in ("a", "b", "c"):
        history.log(name)
    for run in ("left", "right"):
        history.run(run)
        for name in ("a", "b", "c"):
            history.use(run, f"{name}:v0")
        history.log(run, run=run)
    history.run("join")
    history.use("join", "left:v0")
    history.use("join", "right:v0")
    history.log("out", run="join")
    assert build(scenario.catalog(history), "out:v0", "upstream", 1).graph["omitted"] == 3


# Across projects


@pytest.fixture
def across(store: Store) -> tuple[scenario.History, scenario.History]:
    """Data of one project, used by a run of another that makes a model there."""
    home, other = scenario.History(store), scenario.History(store, scenario.OTHER)
    home.run("prep")
    home.log("data", run="prep")
    other.run("train")
    other.use("train", "team/digits/data:v0", "train")
    home.used_by(scenario.OTHER, "train", "data:v0", "train")
    other.log("model", run="train")
    return home, other


def test_use_across_projects_is_seen_whole_when_both_are_read(
    across: tuple[scenario.History, scenario.History],
) -> None:
    found = scenario.catalog(*across)
    for version in ("team/digits/data:v0", "team/letters/model:v0"):
        drawn = build(found, version)
        assert artifacts(drawn) == {"data:v0", "model:v0"}
        assert runs(drawn) == {"prep", "train"}
        assert drawn.number_of_edges() == 3  # the use is told by both logs and drawn once
    assert build(found, "team/digits/data:v0").nodes["team/letters/model:v0"]["label"] == "letters/model:v0"


def test_use_across_projects_is_seen_from_the_producer_alone(
    across: tuple[scenario.History, scenario.History],
) -> None:
    drawn = build(scenario.catalog(across[0]), "team/digits/data:v0")
    assert runs(drawn) == {"prep", "train"}
    assert drawn.nodes["run:team/letters/train"]["state"] == "unknown"


def test_use_across_projects_is_seen_from_the_consumer_alone(
    across: tuple[scenario.History, scenario.History],
) -> None:
    drawn = build(scenario.catalog(across[1]), "team/letters/model:v0")
    assert artifacts(drawn) == {"data:v0", "model:v0"}
    assert drawn.nodes["team/digits/data:v0"]["type"] == "unknown"
