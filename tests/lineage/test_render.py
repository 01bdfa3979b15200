"""Lineage graphs as trees, DOT, pictures, Mermaid and JSON."""

from __future__ import annotations

import json
import random
import re
import shutil
import time
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import networkx as nx
import pytest

from lineart.lineage.render import (
    Drawing,
    plan_drawing,
    render_dot,
    render_json,
    render_mermaid,
    render_picture,
    render_tree,
)
from lineart.lineage.render.captions import plain
from lineart.storage.errors import UsageError

PROJECT = "acme/vision"
SVG = "{http://www.w3.org/2000/svg}"
ANSI = re.compile(r"\x1b\[\d+m")
RENDERERS: list[Callable[[nx.MultiDiGraph], str]] = [render_tree, render_dot, render_mermaid]

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz's dot is not installed")

HOSTILE = [
    'quote " inside',
    "back\\slash\\",
    "new\nline\ttab",
    "<b>bold</b> & &amp; <script>",
    "ünï 漢字 🎉",
    "`code` **md** $$x^2$$",
    "#quot; #35; 100%",
    'style:v0"x',
    "classDef a:b#c;",
    "end",
    "{brace}|pipe|[x]",
    "\x1b[31mred\u202e",
    "\\N \\G \\L",
    "--> %% note",
    "\udc80bad",
]


class Lineage:
    """A graph in the making; each node is a minute younger than the one before."""

    def __init__(self, *, direction: str = "both", omitted: int = 0) -> None:
        self.graph: nx.MultiDiGraph = nx.MultiDiGraph(focus=None, direction=direction, omitted=omitted)

    def artifact(self, name: str, *, type: str = "dataset", **attributes: Any) -> str:
        stem, _, version = name.rpartition(":v")
        base = {
            "kind": "artifact",
            "label": name,
            "name": stem,
            "version": int(version),
            "type": type,
            "aliases": (),
            "tags": (),
            "size_bytes": 1_200_000,
            "file_count": 2,
            "deleted": False,
            "created_at": self.now(),
        }
        key = f"{PROJECT}/{name}"
        self.graph.add_node(key, **(base | attributes))
        return key

    def run(
        self, run_id: str, uses: list[str], makes: list[str], *, exact: bool = True, **attributes: Any
    ) -> str:
        base = {
            "kind": "run",
            "label": run_id,
            "run_id": run_id,
            "job_type": None,
            "state": "finished",
            "part": None,
            "created_at": self.now(),
        }
        attributes = base | attributes
        part = attributes["part"]
        key = f"run:{PROJECT}/{run_id}" + (f"#{part}" if part else "")
        self.graph.add_node(key, **attributes)
        for source in uses:
            self.graph.add_edge(source, key, kind="used", role=None, exact=exact)
        for target in makes:
            self.graph.add_edge(key, target, kind="produced", role=None, exact=exact)
        return key

    def now(self) -> str:
        minute = len(self.graph)
        return f"2026-10-{1 + minute // 1440:02}T{minute // 60 % 24:02}:{minute % 60:02}:00Z"


def pipeline() -> nx.MultiDiGraph:
    """A raw set, prepared into two, of which a model is trained and tested; its backbone is deleted."""
    made = Lineage()
    raw = made.artifact("raw:v2", aliases=("latest",))
    train, test = made.artifact("train:v4"), made.artifact("test:v4")
    made.run("prepare-1", [raw], [train, test])
    backbone = made.artifact("backbone:v0", type="model", deleted=True)
    model = made.artifact("model:v7", type="model", aliases=("latest", "production"))
    trained = made.run("train-7", [train, backbone], [model])
    made.graph.edges[train, trained, 0]["role"] = "training"
    report = made.artifact("report:v7", type="report")
    made.run("evaluate-7", [model, test], [report], exact=False, state="failed")
    made.graph.graph["focus"] = report
    return made.graph


def sweep(size: int = 150) -> nx.MultiDiGraph:
    """One set, ``size`` runs that each make a version of a model; one version is in production."""
    made = Lineage(direction="downstream")
    data = made.artifact("data:v0")
    for number in range(size):
        aliases = ("production",) if number == 57 else ()
        model = made.artifact(f"model:v{number}", type="model", aliases=aliases)
        made.run(f"lucky-{number}", [data], [model], job_type="train")
    made.graph.graph["focus"] = data
    return made.graph


def chain(length: int) -> nx.MultiDiGraph:
    """Versions of one model, each trained from the one before."""
    made = Lineage(direction="upstream")
    model = made.artifact("model:v0", type="model")
    for number in range(1, length):
        previous, model = model, made.artifact(f"model:v{number}", type="model")
        made.run(f"tune-{number}", [previous], [model])
    made.graph.graph["focus"] = model
    return made.graph


def hostile() -> nx.MultiDiGraph:
    made = Lineage(direction="downstream")
    previous = None
    for number, text in enumerate(HOSTILE):
        key = made.artifact(f"{text}:v{number}", label=text, type=text, aliases=(text,))
        run = made.run(f"{text}{number}", [key], [], label=text, job_type=text, state=text)
        made.graph.edges[key, run, 0]["role"] = text
        if previous:
            made.graph.add_edge(previous, key, kind="produced", role=text, exact=False)
        previous = run
    made.graph.graph["focus"] = f"{PROJECT}/{HOSTILE[0]}:v0"
    return made.graph


def shuffled(graph: nx.MultiDiGraph, seed: int) -> nx.MultiDiGraph:
    """The same graph, its nodes and edges added in another order."""
    order = random.Random(seed)
    other: nx.MultiDiGraph = nx.MultiDiGraph(**graph.graph)
    nodes, edges = list(graph.nodes(data=True)), list(graph.edges(data=True))
    order.shuffle(nodes)
    order.shuffle(edges)
    other.add_nodes_from(nodes)
    other.add_edges_from(edges)
    return other


def labels(drawing: Drawing) -> list[str]:
    return [node.label for node in drawing.nodes]


def folded(graph: nx.MultiDiGraph) -> nx.DiGraph:
    drawing = plan_drawing(graph, limit=None)
    return nx.DiGraph([(edge.source, edge.target) for edge in drawing.edges])


# --- what is drawn --------------------------------------------------------------------------------------


def test_sweep_becomes_one_group_of_runs_and_one_of_versions() -> None:
    drawing = plan_drawing(sweep())
    assert sorted(labels(drawing)) == ["data:v0", "lucky-57", "model ×149", "model:v57", "train ×149"]
    group = next(node for node in drawing.nodes if node.label == "model ×149")
    assert group.versions == "v0–v56, v58–v149"
    assert drawing.notes == ()


def test_focus_aliased_and_deleted_nodes_stay_single() -> None:
    graph = sweep()
    graph.graph["focus"] = f"{PROJECT}/model:v3"
    graph.nodes[f"{PROJECT}/model:v5"]["deleted"] = True
    assert {"model:v3", "model:v5", "model:v57", "model ×147"} <= set(labels(plan_drawing(graph)))


def test_three_siblings_are_not_grouped() -> None:
    assert len(plan_drawing(sweep(3)).nodes) == 7
    assert len(plan_drawing(sweep(4)).nodes) == 3


def test_parts_of_one_run_are_named_and_counted_as_one_run() -> None:
    made = Lineage()
    for part in range(1, 3):
        source = made.artifact(f"in{part}:v0", aliases=("latest",))
        made.run("split", [source], [made.artifact(f"out{part}:v0")], part=part)
    assert {"split #1", "split #2"} <= set(labels(plan_drawing(made.graph)))
    assert "and 1 run further" in plan_drawing(made.graph, limit=2).notes[0]
    made.graph.graph["focus"] = f"run:{PROJECT}/split"
    assert sum(node.focus for node in plan_drawing(made.graph).nodes) == 2
    many = Lineage()
    data = many.artifact("data:v0")
    for part in range(1, 6):
        many.run("split", [data], [many.artifact(f"out:v{part}")], part=part)
    assert "split (5 parts)" in labels(plan_drawing(many.graph))


def test_chain_does_not_collapse_onto_itself() -> None:
    assert len(plan_drawing(chain(30), limit=None).nodes) == 59
    assert nx.is_directed_acyclic_graph(folded(chain(30)))


@pytest.mark.parametrize("seed", range(20))
def test_folding_keeps_a_graph_without_cycles(seed: int) -> None:
    draw = random.Random(seed)
    made = Lineage()
    versions = [made.artifact(f"raw:v{number}") for number in range(8)]
    for number in range(120):
        name = f"{draw.choice(['a', 'b'])}:v{number}"
        inputs = draw.sample(versions[-20:], draw.randint(1, 2))
        output = made.artifact(name)
        made.run(f"job-{number}", inputs, [output], job_type=draw.choice(["x", "y"]))
        versions.append(output)
    drawing = plan_drawing(made.graph, limit=None)
    assert nx.is_directed_acyclic_graph(folded(made.graph))
    assert sorted(member for node in drawing.nodes for member in node.members) == sorted(made.graph)
    assert all(len(node.members) in (1, *range(4, 1000)) for node in drawing.nodes)


def test_inputs_of_a_chain_of_runs_stay_beside_their_runs() -> None:
    graph = chain(20)
    made = Lineage()
    made.graph = graph
    for number in range(1, 20):
        data = made.artifact(f"data:v{number}")
        graph.add_edge(data, f"run:{PROJECT}/tune-{number}", kind="used", role=None, exact=True)
    assert not any(node.is_group for node in plan_drawing(graph, limit=None).nodes)


def test_share_says_how_many_of_a_group_an_edge_concerns() -> None:
    made = Lineage()
    data = made.artifact("data:v0")
    models = [made.artifact(f"model:v{number}", type="model") for number in range(10)]
    for number, model in enumerate(models):
        made.run(f"train-{number}", [data], [model])
    made.run("compare", models[:2], [])
    shares = {edge.share for edge in plan_drawing(made.graph).edges}
    assert shares == {"", "8 of 10", "1 of 10"}


def test_graph_with_a_circle_is_drawn() -> None:
    graph = pipeline()
    graph.add_edge(f"{PROJECT}/report:v7", f"run:{PROJECT}/prepare-1", kind="used", role=None, exact=False)
    for focus in (graph.graph["focus"], None):
        graph.graph["focus"] = focus
        for render in RENDERERS:
            assert all(f"{name}" in render(graph) for name in ("raw:v2", "report:v7", "train-7"))


def test_limit_keeps_the_nearest_and_says_what_it_left_out() -> None:
    graph = chain(100)
    graph.graph["omitted"] = 3
    drawing = plan_drawing(graph, limit=5)
    assert labels(drawing) == ["model:v97", "model:v98", "tune-98", "model:v99", "tune-99"]
    assert drawing.notes == (
        "… 97 artifacts and 97 runs further away left out; --limit N shows more",
        "… 3 nodes beyond the depth limit; --depth N shows more",
    )
    for render in (render_tree, render_dot, render_mermaid):
        text = unescape(render(graph, limit=5).replace("#59;", ";"))
        assert all(note in text for note in drawing.notes)
        assert "model:v96" not in text


def test_limit_below_one_is_refused() -> None:
    with pytest.raises(UsageError, match="limit 0: expected at least 1"):
        render_tree(pipeline(), limit=0)


@pytest.mark.parametrize("graph", [pipeline(), sweep(), chain(200), hostile()], ids=len)
def test_output_does_not_depend_on_insertion_order(graph: nx.MultiDiGraph) -> None:
    for seed in range(3):
        other = shuffled(graph, seed)
        for render in RENDERERS:
            assert render(other) == render(graph)
        assert render_json(other) == render_json(graph)


@pytest.mark.parametrize("graph", [sweep(150), chain(150)], ids=["sweep", "chain"])
def test_large_graph_stays_small(graph: nx.MultiDiGraph) -> None:
    assert len(graph) >= 299
    assert len(plan_drawing(graph).nodes) <= 60
    assert len(render_tree(graph).splitlines()) < 90


def test_chain_of_10000_levels_takes_seconds() -> None:
    graph = chain(10_000)
    started = time.perf_counter()
    for render in RENDERERS:
        assert "further away left out" in render(graph)
    everything = render_tree(graph, limit=None)
    assert time.perf_counter() - started < 30
    assert "model:v0" in everything
    assert max(map(len, everything.splitlines())) <= 100


def test_graph_without_nodes_or_focus() -> None:
    empty: nx.MultiDiGraph = nx.MultiDiGraph()
    for render in RENDERERS:
        assert render(empty)
    alone = Lineage()
    alone.graph.graph["focus"] = alone.artifact("data:v0")
    assert render_tree(alone.graph).count("nothing recorded") == 2


# --- the tree -------------------------------------------------------------------------------------------


def test_tree_of_a_pipeline() -> None:
    assert (
        render_tree(pipeline(), width=90)
        == """\
■ report:v7  report · 1.2 MB

upstream: made from
└╌╌ ● evaluate-7  failed
    ├╌╌ ■ test:v4  dataset · 1.2 MB
    │   └── ● prepare-1
    │       └── ■ raw:v2 [latest]  dataset · 1.2 MB
    └╌╌ ■ model:v7 [latest, production]  model · 1.2 MB
        └── ● train-7
            ├── □ backbone:v0 deleted  model · 1.2 MB
            └── ■ train:v4  dataset · 1.2 MB  as training
                └── ● prepare-1 ↑ shown above

downstream: used for
└── nothing recorded

■ artifact  ● run  ── declared  ╌╌ run level: the run had used it before
"""
    )


def test_tree_shows_every_node_once_in_full() -> None:
    graph = pipeline()
    lines = [line for line in render_tree(graph).splitlines() if "shown above" not in line]
    for _, attributes in graph.nodes(data=True):
        assert sum(re.search(rf"[■□●] {attributes['label']}\b", line) is not None for line in lines) == 1


def test_tree_shows_what_is_neither_upstream_nor_downstream() -> None:
    graph = pipeline()
    graph.graph["focus"] = f"{PROJECT}/model:v7"
    related = render_tree(graph).partition("related\n")[2]
    assert related.startswith("■ test:v4")


def test_tree_colour_adds_only_colour() -> None:
    for graph in (pipeline(), sweep(), hostile()):
        bare, coloured = render_tree(graph, color=False), render_tree(graph, color=True)
        assert "\x1b" not in bare
        assert ANSI.sub("", coloured) == bare
        assert coloured.count("\x1b[0m") * 2 == coloured.count("\x1b[")


@pytest.mark.parametrize("width", [1, 40, 60, 72, 200])
def test_tree_keeps_the_width_of_the_terminal(width: int) -> None:
    from rich.cells import cell_len

    for graph in (pipeline(), hostile(), chain(60)):
        lines = render_tree(graph, width=width).splitlines()
        assert max(map(cell_len, lines)) <= max(width, 40)


@pytest.mark.parametrize("width", [40, 60, 100])
def test_tree_continues_deep_branches_further_down(width: int) -> None:
    text = render_tree(chain(20), width=width, limit=None)
    left_off, taken_up = re.findall(r"see (\(\d+\))", text), re.findall(r"^\(\d+\)", text, re.M)
    assert left_off == taken_up
    assert taken_up
    assert all(f"model:v{number} " in text for number in range(20))


# --- DOT and pictures -----------------------------------------------------------------------------------


def test_dot_tells_exact_from_run_level_and_marks_nodes() -> None:
    lines = {line.split(" [")[0].strip(): line for line in render_dot(pipeline()).splitlines()}
    model, trained = f'"{PROJECT}/model:v7"', f'"run:{PROJECT}/train-7"'
    assert "dashed" in lines[f'{model} -> "run:{PROJECT}/evaluate-7"']
    assert "dashed" not in lines[f"{trained} -> {model}"]
    assert "label=<training>" in lines[f'"{PROJECT}/train:v4" -> {trained}']
    assert "<b>latest, production</b>" in lines[model]
    assert re.search("dashed.*deleted", lines[f'"{PROJECT}/backbone:v0"'])
    assert "penwidth=2.6" in lines[f'"{PROJECT}/report:v7"']
    assert "shape=ellipse" in lines[trained]
    assert "peripheries=2" in render_dot(sweep())
    assert "peripheries" not in render_dot(pipeline())


def test_dot_strings_and_labels_are_closed() -> None:
    for line in render_dot(hostile()).splitlines():
        outside = re.sub(r'"(?:[^"\\]|\\.)*"', "", line)
        assert '"' not in re.sub(r"<.*>", "", outside)
        assert outside.count("<") == outside.replace(" -> ", "").count(">")


@needs_dot
def test_picture_shows_hostile_names_as_they_are() -> None:
    drawn = ElementTree.fromstring(render_picture(hostile(), "svg"))
    nodes = [group for group in drawn.iter(f"{SVG}g") if group.get("class") == "node"]
    assert len(nodes) == 2 * len(HOSTILE)
    for group, expected in zip(nodes, (text for text in HOSTILE for _ in range(2)), strict=True):
        texts = [text.text or "" for text in group.iter(f"{SVG}text")]
        assert "".join(texts).replace("\xa0", " ").startswith(plain(expected))


@needs_dot
@pytest.mark.parametrize("graph", [pipeline(), sweep(), chain(200)], ids=["pipeline", "sweep", "chain"])
def test_picture_draws_every_node_and_edge_of_the_drawing(graph: nx.MultiDiGraph) -> None:
    drawing = plan_drawing(graph)
    drawn = ElementTree.fromstring(render_picture(graph, "svg"))
    classes = [group.get("class") for group in drawn.iter(f"{SVG}g")]
    assert classes.count("node") == len(drawing.nodes)
    assert classes.count("edge") == len(drawing.edges)


@needs_dot
def test_png_is_a_png() -> None:
    assert render_picture(pipeline(), "png").startswith(b"\x89PNG\r\n")


def test_missing_dot_program_is_one_line_that_helps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"install Graphviz .*--dot and --mermaid work without") as caught:
        render_picture(pipeline(), "svg")
    assert "\n" not in str(caught.value)
    assert render_dot(pipeline())
    assert render_mermaid(pipeline())


def test_failing_dot_program_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "dot"
    broken.write_text('#!/bin/sh\necho "no fonts\nat all" >&2\nexit 3\n')
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(UsageError, match="could not draw the png picture: no fonts at all; --dot"):
        render_picture(pipeline(), "png")


def test_unknown_picture_format_is_refused() -> None:
    with pytest.raises(UsageError, match="'gif': expected 'svg' or 'png'"):
        render_picture(pipeline(), "gif")  # type: ignore[arg-type]


# --- Mermaid --------------------------------------------------------------------------------------------

MERMAID_LINE = re.compile(
    r"flowchart LR"
    r'|  (n\d+|note)(\[|\[\[|\(\[)"[^"]+"(\]|\]\]|\]\)):::\w+'
    r'|  n\d+ (-->|-\.->)(\|"[^"|]+"\|)? n\d+'
    r"|  classDef \w+ [\w:#,. -]+"
    r"|  style n\d+ [\w:#,. -]+"
)


@pytest.mark.parametrize("graph", [pipeline(), sweep(), hostile()], ids=["pipeline", "sweep", "hostile"])
def test_mermaid_lines_are_statements_and_classes_exist(graph: nx.MultiDiGraph) -> None:
    text = render_mermaid(graph)
    lines = text.splitlines()
    assert [line for line in lines if not MERMAID_LINE.fullmatch(line)] == []
    drawing = plan_drawing(graph)
    assert sum("-->" in line or "-.->" in line for line in lines) == len(drawing.edges)
    assert set(re.findall(r":::(\w+)", text)) <= set(re.findall(r"classDef (\w+)", text))
    # What Mermaid would take for a style statement and rob of its last semicolon.
    assert not any(re.search(r"(style|classDef).*:\S*#.*;", line) for line in lines)


def test_mermaid_texts_decode_to_the_names() -> None:
    text = re.sub(r"#(\d+);", lambda match: chr(int(match[1])), render_mermaid(hostile()))
    for name in HOSTILE:
        assert text.count(f"<b>{plain(name)}</b>") >= 3


def test_mermaid_tells_exact_from_run_level() -> None:
    text = render_mermaid(pipeline())
    assert text.count(" --> ") + text.count(" -->|") == 6
    assert text.count(" -.-> ") == 3
    assert "deleted" in text
    assert "stroke-width:3px" in text


# --- JSON -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("graph", [pipeline(), sweep(200), hostile()], ids=["pipeline", "sweep", "hostile"])
def test_json_is_complete_and_reads_back(graph: nx.MultiDiGraph) -> None:
    data = render_json(graph)
    assert json.loads(json.dumps(data)) == data
    back = nx.node_link_graph(data, edges="edges")
    assert isinstance(back, nx.MultiDiGraph)
    assert back.graph == graph.graph

    def listed(attributes: dict[str, Any]) -> dict[str, Any]:
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in attributes.items()
        }

    assert dict(back.nodes(data=True)) == {key: listed(values) for key, values in graph.nodes(data=True)}
    assert sorted(back.edges(keys=True)) == sorted(graph.edges(keys=True))
    assert all(back.edges[edge] == graph.edges[edge] for edge in graph.edges(keys=True))


def test_parallel_edges_are_one_in_a_drawing_and_all_in_json() -> None:
    graph = pipeline()
    source, target = f"{PROJECT}/model:v7", f"run:{PROJECT}/evaluate-7"
    graph.add_edge(source, target, kind="used", role="candidate", exact=True)
    graph.add_edge(source, target, kind="used", role="baseline", exact=False)
    (edge,) = (edge for edge in plan_drawing(graph).edges if edge.source == source)
    assert edge.exact
    assert edge.roles == ("baseline", "candidate")
    assert len(render_json(graph)["edges"]) == graph.number_of_edges()
    assert render_json(shuffled(graph, 1)) == render_json(graph)


def wide() -> nx.MultiDiGraph:
    """One dataset, from which 40 runs have made a model in a collection of its own each; one is in production."""
    made = Lineage()
    data = made.artifact("data:v0", aliases=("latest",))
    for number in range(40):
        aliases = ("latest", "production") if number == 7 else ("latest",)
        model = made.artifact(f"model-{number}:v0", type="model", aliases=aliases)
        made.run(f"train-{number}", [data], [model], job_type="train")
    made.graph.graph["focus"] = data
    return made.graph


def test_what_is_far_too_large_is_grouped_by_type_and_what_has_an_alias_stays_single() -> None:
    drawing = plan_drawing(wide(), limit=10)
    assert set(labels(drawing)) == {"data:v0", "train ×39", "train-7", "model ×39", "model-7:v0"}
    (group,) = [node for node in drawing.nodes if node.label == "model ×39"]
    assert group.versions == "in 39 collections"
    assert "model ×39  in 39 collections · 46.8 MB" in render_tree(wide(), limit=10)
    assert drawing.notes == ()
    assert len(plan_drawing(wide(), limit=30).nodes) == 30  # near enough to be drawn by their names
    assert len(plan_drawing(wide(), limit=None).nodes) == 81


def test_runs_that_were_not_followed_are_told() -> None:
    graph = pipeline()
    graph.graph["unread"] = 1234
    assert plan_drawing(graph).notes == (
        "… 1,234 runs not followed, and what lies behind; --limit 0 shows all",
    )
