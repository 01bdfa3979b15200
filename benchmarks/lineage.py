"""Lineage at scale: a store with 1,000,000 versions and 2,000,000 edges, and what its questions cost in one process.

    python benchmarks/lineage.py [--folder DIR] [--versions 1000000] [--keep STORE | --store STORE] [--pictures DIR]

The store is written with the real encoders: transactions in the log, a segment of each full folder, the catalog's
checkpoint; `Workspace.catalog()` reads it as any other. It has files of no version: this is about lineage only.
`--keep` leaves it there, `--store` measures one that was left. `--pictures` draws the demo, a project with 300 nodes
and this store.

Its shape: datasets → features → models → reports, each from two or three of the stage before; a state that is carried
from night to night (the longest chain); one dataset that a tenth of all versions come from (the hub); models that are
linked into a registry.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _measure import absolute, bench_folder, peak_mib, seconds

from lineart.artifacts.names import ProjectName
from lineart.lineage import Catalog, LineageGraph, impact, why
from lineart.lineage.catalog import insert_facts
from lineart.lineage.facts import Facts
from lineart.lineage.render import render_dot, render_json, render_mermaid, render_picture, render_tree
from lineart.storage.log import FOLDER_ENTRIES, Position
from lineart.storage.store import Store, project_prefix
from lineart.storage.transaction import Op, Transaction

HOME, REGISTRY = ProjectName("bench", "vision"), ProjectName("bench", "model-registry")
ACTOR = {"user": "ada", "host": "box"}
OPS = 1000  # of one transaction
BATCH = 100  # transactions whose facts go into the catalog at once
SHALLOW_S, DEEP_S = 0.3, 2.0


def when(number: int) -> str:
    """A time that grows."""
    day, second = divmod(number, 86_400)
    return time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime(1_700_000_000 + day * 86_400 + second))


@dataclass
class History:
    """The ops of a project, run by run."""

    versions: int
    random: random.Random = field(default_factory=lambda: random.Random(7))
    made: int = 0
    edges: int = 0
    runs: int = 0
    known: dict[str, int] = field(default_factory=dict)  # collection → its next number
    stages: dict[str, list[tuple[str, int]]] = field(default_factory=dict)

    def run(self, job: str, used: list[tuple[str, int]], outputs: list[tuple[str, str]]) -> Iterator[Op]:
        """One run that uses versions and makes one version of each of `outputs`, (collection, type)."""
        self.runs += 1
        run = f"{self.runs * 2_654_435_761 % 2**32:08x}"  # as unordered as real ones
        yield {"op": "run.start", "run": run, "writer": "w", "name": f"{job}-{self.runs}", "job_type": job}
        for collection, version in used:
            edge = {"run": run, "project": str(HOME), "collection": collection, "version": version}
            yield {"op": "edge.use", **edge, "role": None}
        for collection, kind in outputs:
            number = self.known.get(collection)
            if number is None:
                number = 0
                create = {"collection": collection, "type": kind, "description": ""}
                yield {"op": "collection.create", **create}
            self.known[collection] = number + 1
            self.made += 1
            yield from version_ops(collection, number, run, self.made)
            yield {
                "op": "edge.produce",
                "run": run,
                "collection": collection,
                "version": number,
                "new": True,
                "derived_from": None,
            }
            self.stages.setdefault(kind, []).append((collection, number))
        self.edges += len(used) + len(outputs)
        yield {
            "op": "run.finish",
            "run": run,
            "writer": "w",
            "state": "finished",
            "exit_code": 0,
            "error": None,
        }

    def some(self, kind: str, count: int, *, near: int) -> list[tuple[str, int]]:
        """Different versions of a type, among the `near` newest."""
        known = self.stages[kind]
        first = max(0, len(known) - near)
        return [known[at] for at in self.random.sample(range(first, len(known)), count)]

    def ops(self) -> Iterator[Op]:
        """All of it: as many uses as versions, so that there are twice as many edges."""
        size, pick = self.versions, self.random
        names = {kind: max(3, size // per) for kind, per in (("dataset", 20_000), ("features", 8_000))}
        names |= {kind: max(3, size // per) for kind, per in (("model", 4_000), ("report", 5_000))}

        def named(kind: str) -> tuple[str, str]:
            return f"{kind}-{pick.randrange(names[kind])}", kind

        yield from self.run("ingest", [], [("hub", "hub")])
        for _ in range(max(3, size // 250)):
            yield from self.run("ingest", [], [named("dataset") for _ in range(4)])
        nights, hub_runs = max(10, size // 80), size // 10
        for night in range(nights):
            before = [("state", night - 1)] if night else []
            used = [*before, *self.some("dataset", 1, near=size)]
            yield from self.run("nightly", used, [("state", "state")])
        for _ in range(max(5, size // 200)):
            yield from self.run("extract", self.some("dataset", 2, near=size), [named("features")])
        for _ in range(hub_runs):
            used = [("hub", 0), *self.some("features", 1, near=2_000)]
            yield from self.run("finetune", used, [named("model"), named("report")])
        while self.made < size:
            job = pick.random()
            if job < 0.25:
                used, outputs = self.some("dataset", 2, near=size), [named("features"), named("features")]
            elif job < 0.7:
                used, outputs = self.some("features", 2, near=5_000), [named("model"), named("report")]
            else:
                used, outputs = self.some("model", 2, near=5_000), [named("report")]
            yield from self.run("work", used, outputs[: size - self.made])
        while self.edges < 2 * size:
            used = self.some("model", min(3, 2 * size - self.edges), near=size)
            yield from self.run("evaluate", used, [])


def version_ops(collection: str, number: int, run: str | None, made: int, **more: Any) -> Iterator[Op]:
    """A version, and the alias that follows it."""
    yield {
        "op": "version.create",
        "collection": collection,
        "version": number,
        "digest": f"{made:064x}",
        "size_bytes": 1 << 20,
        "file_count": 3,
        "reference_count": 0,
        "references": [],
        "metadata": {},
        "description": "",
        "tags": [],
        "run": run,
        "packs": [],
        "meta_packs": [],
        "ttl_s": None,
        **more,
    }
    before = number - 1 if number else None
    yield {"op": "alias.move", "collection": collection, "alias": "latest", "from": before, "to": number}


def registry_ops(models: list[tuple[str, int]]) -> Iterator[Op]:
    """Links to some models, in a project of their own."""
    yield {"op": "collection.create", "collection": "classifier", "type": "model", "description": ""}
    for number, (collection, version) in enumerate(models):
        yield from version_ops("classifier", number, None, number, source=f"{HOME}/{collection}:v{version}")


def write_project(store: Store, project: ProjectName, ops: Iterator[Op]) -> int:
    """The log with its segments, and the catalog's checkpoint; how many transactions."""
    log = store.log(project_prefix(project.entity, project.project))
    catalog = Catalog(store, [project])
    position, facts, batch = Position(), Facts(), list[Op]()

    def commit() -> None:
        nonlocal position, facts, batch
        seq = position.seq + 1
        made = Transaction(seq, f"{seq:032x}", when(seq * 60), ACTOR, position.digest, tuple(batch))
        position, batch = log.append(made), []
        facts.add(str(project), [made])
        if seq % BATCH == BATCH - 1:
            insert_facts(catalog._connection, facts)
            facts = Facts()
        if seq % FOLDER_ENTRIES == FOLDER_ENTRIES - 1:
            log.seal(seq // FOLDER_ENTRIES)

    for op in ops:
        batch.append(op)
        if len(batch) == OPS:
            commit()
    commit()
    insert_facts(catalog._connection, facts)
    catalog._positions[project] = position
    catalog._write_checkpoint(project)
    catalog.close()
    return position.seq + 1


def write_store(folder: Path, versions: int) -> Path:
    """Build the store; its folder."""
    place = folder / "store"
    store = Store.create(str(place), cache=folder / "cache", entity="bench", created=when(0))
    history = History(versions)
    start = time.perf_counter()
    count = write_project(store, HOME, history.ops())
    models = history.stages["model"]
    count += write_project(
        store, REGISTRY, registry_ops(models[:: max(1, len(models) // max(10, versions // 200))])
    )
    print(
        f"{history.made:,} versions, {history.edges:,} edges, {history.runs:,} runs in {count:,} transactions,"
        f" chain of {history.known['state']:,}, hub with {versions // 10:,} runs:"
        f" written in {time.perf_counter() - start:.0f} s, {peak_mib():,.0f} MiB at most"
    )
    store.close()
    return place


def timed(
    what: str, work: Callable[[], object], goal_s: float | None = None, rounds: int = 3, note: str = ""
) -> None:
    """Print the least wall seconds of some calls, and the processor's of the same call, over all threads."""
    took: list[tuple[float, float]] = []
    for _ in range(rounds):
        start = time.process_time()
        took.append((seconds(work), time.process_time() - start))
    wall_s, processor_s = min(took)
    absolute(what, wall_s, goal_s, f"{processor_s:6.3f} s of processor  {note}")


def measure(place: Path, cache: Path) -> None:
    """Load the store and ask."""
    store = Store.open(str(place), cache=cache)
    loaded: list[Catalog] = []
    timed("load the catalog", lambda: loaded.append(Catalog(store, [HOME, REGISTRY])), rounds=1)
    catalog = loaded[0]
    print(f"memory after load: {peak_mib():,.0f} MiB")

    def newest(collection: str) -> str:
        return str(
            catalog.rows(
                "SELECT version_id FROM version_creations WHERE project = ? AND collection = ?"
                " ORDER BY version DESC LIMIT 1",
                [str(HOME), collection],
            )[0][0]
        )

    def build(version: str, **how: Any) -> Any:
        return LineageGraph(catalog).build(version, **how)

    report, model, deepest, hub = newest("report-1"), newest("model-1"), newest("state"), f"{HOME}/hub:v0"
    dataset = f"{HOME}/dataset-1:v3"
    registered = f"{REGISTRY}/classifier:v7"
    for what, work in (
        ("why, of a model", lambda: why(catalog, model)),
        ("why, of a registered model", lambda: why(catalog, registered)),
        ("two levels up, of a report", lambda: build(report, direction="upstream", depth=2)),
        ("two levels down, of a model", lambda: build(model, direction="downstream", depth=2)),
        ("two levels both ways, of a dataset", lambda: build(dataset, depth=2)),
        ("impact of a leaf", lambda: impact(catalog, report)),
    ):
        timed(what, work, SHALLOW_S)
    timed("the hub as a tree", lambda: render_tree(build(hub, direction="downstream", most=2_000), limit=60))
    timed("all upstream of the deepest, first time", lambda: build(deepest, direction="upstream"), DEEP_S, 1)
    nodes = f"{len(build(deepest, direction='upstream')):,} nodes"
    timed("… again", lambda: build(deepest, direction="upstream"), DEEP_S, note=nodes)
    oldest = f"{HOME}/state:v0"
    timed("all downstream of the chain's first", lambda: build(oldest, direction="downstream"), rounds=1)
    timed("all downstream of the hub", lambda: build(hub, direction="downstream"), rounds=1)
    print(f"memory at most: {peak_mib():,.0f} MiB")
    catalog.close()
    store.close()


def pictures(target: Path, folder: Path, large: Path) -> None:
    """Draw the demo, a project with 300 nodes, and what is nearest in the large store, each in every notation."""
    target.mkdir(parents=True, exist_ok=True)
    demo = folder / "demo"
    call = "from lineart.cli.main import main; main()"
    subprocess.run(
        [sys.executable, "-c", call, "demo", str(demo)], check=True, capture_output=True, cwd=folder
    )
    medium = write_store(folder / "medium", 560)
    for title, place, version, most in (
        ("demo", next(demo.glob("**/lineart.json")).parent, "classifier:v1", None),
        ("300 nodes", medium, f"{HOME}/hub:v0", None),
        ("300 nodes, a model", medium, f"{HOME}/model-1:v5", None),
        ("a million, a report", large, f"{HOME}/report-1:v50", 2_000),
        ("a million, the hub", large, f"{HOME}/hub:v0", 2_000),
    ):
        store = Store.open(str(place), cache=folder / "pictures")
        catalog = Catalog(store, [ProjectName(*name) for name in store.projects()])
        found = catalog.rows("SELECT version_id FROM versions WHERE ends_with(version_id, ?)", [version])[0][
            0
        ]
        graphs: list[Any] = []
        built = seconds(lambda: graphs.append(LineageGraph(catalog).build(found, most=most)))  # noqa: B023
        (graph,) = graphs
        limit = 300 if title.startswith("300") else 60
        print(f"{title}: {len(graph):,} nodes in {built:.2f} s, {limit} drawn at most")
        name = title.replace(" ", "-").replace(",", "")
        for kind, draw in (
            ("txt", lambda: render_tree(graph, limit=limit).encode()),  # noqa: B023
            ("dot", lambda: render_dot(graph, limit=limit).encode()),  # noqa: B023
            ("mermaid", lambda: render_mermaid(graph, limit=limit).encode()),  # noqa: B023
            ("json", lambda: json.dumps(render_json(graph)).encode()),  # noqa: B023
            ("svg", lambda: render_picture(graph, "svg", limit=limit)),  # noqa: B023
            ("png", lambda: render_picture(graph, "png", limit=limit)),  # noqa: B023
        ):
            if kind in ("svg", "png") and shutil.which("dot") is None:
                print(f"  {kind}: Graphviz is missing")
                continue
            drawn: list[bytes] = []
            took = seconds(lambda: drawn.append(draw()))  # noqa: B023
            (target / f"{name}.{kind}").write_bytes(drawn[0])
            print(f"  {kind:<8} {took:7.2f} s   {len(drawn[0]):>10,} bytes")
        catalog.close()
        store.close()


def main() -> None:
    """Build, and measure in another process: what the building has in memory does not count."""
    given = {name: sys.argv[sys.argv.index(name) + 1] for name in sys.argv if name.startswith("--")}
    with bench_folder("lineage") as folder:
        if "--store" in given:
            measure(Path(given["--store"]), folder / "cache")
            if "--pictures" in given:
                pictures(Path(given["--pictures"]), folder, Path(given["--store"]))
            return
        place = write_store(folder, int(given.get("--versions", 1_000_000)))
        passed = [word for name in ("--pictures",) if name in given for word in (name, given[name])]
        command = [sys.executable, __file__, "--store", str(place), "--folder", str(folder), *passed]
        subprocess.run(command, check=True)
        if "--keep" in given:
            shutil.move(place, given["--keep"])


if __name__ == "__main__":
    main()
