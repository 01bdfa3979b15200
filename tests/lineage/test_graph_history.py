"""Of any history the graph says what a plain model of it says, and it never runs in a circle."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import networkx as nx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import builders
import scenario
from lineart.lineage import Catalog, LineageGraph, edges
from lineart.storage.store import Store


@dataclass
class Model:
    """What must be true of a history, remembered the plain way."""

    uses: dict[str, list[str]] = field(default_factory=dict)  # run → versions so far
    parents: dict[str, set[str]] = field(default_factory=dict)  # version → what it was made from

    def ancestors(self, version: str) -> set[str]:
        found, todo = set[str](), [version]
        while todo:
            for parent in self.parents[todo.pop()] - found:
                found.add(parent)
                todo.append(parent)
        return found


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["use", "use", "log", "log", "exact", "delete"]),
        st.integers(0, 3),  # which run
        st.integers(0, 10**6),  # which version, or content
        st.booleans(),  # of the other project
    ),
    max_size=40,
)


def play(steps: list[tuple[str, int, int, bool]], store: Store) -> tuple[Catalog, Model]:
    """Four runs that live all the time, two in each project; any of them uses and logs at any moment."""
    logs = [scenario.History(store), scenario.History(store, scenario.OTHER)]
    model = Model()
    for number in range(4):
        logs[number % 2].run(f"r{number}")
        model.uses[f"r{number}"] = []
    versions: list[str] = []
    deleted: set[str] = set()
    for what, number, choice, far in steps:
        run, log = f"r{number}", logs[number % 2]
        live = [version for version in versions if version not in deleted]
        if what in ("use", "delete") and live:
            version = live[choice % len(live)]
            owner = logs[0] if version.startswith(str(scenario.HOME)) else logs[1]
            if what == "delete":
                if choice % 3 == 0:
                    owner.delete(version)
                    deleted.add(version)
                continue
            log.use(run, version)
            if owner is not log:
                owner.used_by(log.name, run, version)
            model.uses[run].append(version)
        elif what in ("log", "exact"):
            declared = live[:: 1 + choice % 3] if what == "exact" else None
            for source in declared or ():
                log.use(run, source)
                model.uses[run].append(source)
            content = f"c{choice % 5}" if choice % 2 else None  # often content that is there already
            known = len(versions)
            version = log.log("far" if far else "near", content, run=run, derived_from=declared)
            if version not in versions:
                versions.append(version)
                model.parents[version] = set(model.uses[run] if declared is None else declared)
            assert len(versions) - known in (0, 1)
    return scenario.catalog(*logs), model


@given(STEPS, st.sampled_from([0, 1, 2, 32]))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_reachability_is_that_of_the_history_and_never_a_circle(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int, bool]], sql_levels: int
) -> None:
    found, model = play(steps, builders.memory_store(tmp_path_factory.mktemp("store")))
    whole: nx.MultiDiGraph[str] = nx.MultiDiGraph()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edges, "_LEVELS", sql_levels)  # level by level, or all edges at once
        for version in model.parents:
            up, down = (
                LineageGraph(found).build(version, direction=way) for way in ("upstream", "downstream")
            )  # type: ignore[arg-type]
            above = {node for node in nx.ancestors(up, version) if not node.startswith("run:")}
            below = {node for node in nx.descendants(down, version) if not node.startswith("run:")}
            assert above == model.ancestors(version)
            assert below == {other for other in model.parents if version in model.ancestors(other)}
            whole.update(LineageGraph(found).build(version))
    found.close()
    assert nx.is_directed_acyclic_graph(whole)
    for source, target in whole.edges():
        kinds = whole.nodes[source]["kind"], whole.nodes[target]["kind"]
        assert sorted(kinds) == ["artifact", "run"]


def test_chain_of_five_thousand_is_walked_to_its_end(tmp_path: Path) -> None:
    history = scenario.History(builders.memory_store(tmp_path))
    scenario.chain(history, 5000)
    found = scenario.catalog(history)
    drawn = LineageGraph(found).build("team/digits/step:v4999", direction="upstream")
    assert drawn.number_of_nodes() == 2 * 5000
    assert drawn.number_of_edges() == 2 * 5000 - 1
    assert nx.is_directed_acyclic_graph(drawn)
    assert (
        LineageGraph(found).build("team/digits/step:v0", direction="downstream").number_of_nodes()
        == 2 * 5000 - 1
    )


def test_deep_walk_goes_through_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = scenario.History(builders.memory_store(tmp_path))
    scenario.chain(history, 20)
    link = {"op": "version.create", "collection": "linked", "version": 0, "digest": "d" * 64, "size_bytes": 0}
    link |= {
        "file_count": 0,
        "reference_count": 0,
        "references": [],
        "metadata": {},
        "description": "",
        "tags": [],
    }
    link |= {"run": None, "packs": [], "meta_packs": [], "ttl_s": None, "source": "team/digits/step:v19"}
    made = {"op": "collection.create", "collection": "linked", "type": "dataset", "description": ""}
    history.commit(made, link)
    history.run("last")
    history.use("last", "linked:v0")
    history.log("end", run="last")
    found = scenario.catalog(history)

    def nodes(version: str, way: Literal["upstream", "downstream"]) -> set[str]:
        return set(LineageGraph(found).build(f"team/digits/{version}", direction=way))

    level_by_level = [nodes("end:v0", "upstream"), nodes("step:v0", "downstream")]
    assert len(level_by_level[0]) == 2 * 20 + 1 + 2
    for levels in (0, 1, 2, 5):
        monkeypatch.setattr(edges, "_LEVELS", levels)
        assert [nodes("end:v0", "upstream"), nodes("step:v0", "downstream")] == level_by_level


def test_walk_that_has_enough_says_how_many_runs_it_left(tmp_path: Path) -> None:
    history = scenario.History(builders.memory_store(tmp_path))
    history.run("prep")
    history.log("data", run="prep")
    for number in range(10):
        history.run(f"r{number}")
        history.use(f"r{number}", "data:v0")
        history.log(f"out{number}", run=f"r{number}")
    found = scenario.catalog(history)
    for most, runs in ((1, 0), (4, 3), (100, 10)):
        drawn = LineageGraph(found).build("team/digits/data:v0", direction="downstream", most=most)
        assert sum(node.startswith("run:") for node in drawn) == runs
        assert drawn.graph["unread"] == 10 - runs


def test_looking_ahead_is_not_kept_beyond_a_refresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edges, "_LEVELS", 0)
    history = scenario.History(builders.memory_store(tmp_path))
    scenario.chain(history, 3)
    found = scenario.catalog(history)
    assert len(LineageGraph(found).build("team/digits/step:v0", direction="downstream")) == 5
    history.run("more")
    history.use("more", "step:v2")
    history.log("more", run="more")
    found.refresh()
    assert len(LineageGraph(found).build("team/digits/step:v0", direction="downstream")) == 7
