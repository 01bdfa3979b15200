"""What tests of copying build and compare: a store with a history of everything, and a picture of all a store says."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import lineart
from lineart.artifacts import ProjectName
from lineart.artifacts.protection import decide_policy, policy_text
from lineart.lineage import LineageGraph
from lineart.tracking import Workspace, find_settings
from lineart.tracking.links import link_version
from lineart.tracking.metrics import RunHistory
from lineart.tracking.promoting import Wish, approve, promote, protect
from lineart.tracking.run_folder import RunFolder
from lineart.tracking.version_signing import sign_version
from signing_keys import signer

_VIEWS = {  # what may differ is where in the log it stands
    "collections": "*",
    "versions": "* EXCLUDE (position)",
    "links": "* EXCLUDE (position)",
    "aliases": "*",
    "alias_history": "* EXCLUDE (position)",
    "protections": "*",
    "promotions": "* EXCLUDE (position)",
    "approvals": "* EXCLUDE (position)",
    "policies": "*",
    "tags": "*",
    "runs": "*",
    "run_files": "* EXCLUDE (position)",
    "alerts": "*",
    "config": "*",
    "summary": "*",
    "edges": "* EXCLUDE (position)",
    "derivations": "* EXCLUDE (position)",
    "version_references": "* EXCLUDE (position)",
    "attestations": "* EXCLUDE (position)",
}


def opened(url: str | Path, project: str = "team/digits", *, create: bool = True) -> Workspace:
    """A store with a project in use."""
    return Workspace.open(find_settings(store=str(url), project=project), create=create)


def write_history(folder: Path, *, seed: int = 0, runs: int = 3, large: int = 3_000_000) -> None:
    """Runs of two projects in the store in use: data, models, deletions, links, aliases, files, long histories."""
    source = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(runs):
        with lineart.init(project="team/digits", job_type="prepare", config={"round": number}) as run:
            data = lineart.Artifact(
                "data", "dataset", metadata={"round": number}, description=f"round {number}"
            )
            for index in range(5):
                with data.new_file(f"rows/{index}.txt") as file:
                    file.write(f"{seed} {index} {number if index == 0 else ''}\n" * 50)
            run.log_artifact(data, tags=["raw"])
            run.config.update({"note": float("nan")})
        with lineart.init(project="team/digits", job_type="train", name=f"train-{number}") as run:
            used = run.use_artifact("data:latest", role="train")
            for step in range(20_000 if number == 1 else 30):
                run.log({"loss": 1 / (step + 1), "lr": 0.1})
            model = folder / "model.bin"
            model.write_bytes(source.randbytes(large if number == 0 else 5000))
            run.log_artifact(
                model, name="model", type="model", derived_from=[used], aliases=[f"round-{number}"]
            )
    home = opened(os.environ["LINEART_STORE"])
    link_version(home, home.parse("model:v0"), "team/registry/best", ["staging"])
    with lineart.init(project="team/serving", job_type="serve") as run:
        run.use_artifact("team/registry/best:staging")
        run.use_artifact("team/digits/data:v0", role="test")
        run.log_artifact(folder / "model.bin", name="answers", type="result")
    _promote(home)
    api = lineart.Api()
    revised = api.artifact("team/digits/data:v0")
    revised.metadata["checked"] = True
    revised.tags.append("checked")
    revised.save()
    if api.artifact_exists("team/digits/model:v1"):
        sign_version(home, "model:v1", signer("ann"))
        api.artifact("team/digits/model:v1").delete(delete_aliases=True)
    sign_version(home, "data:v0", signer("ann"), provenance=True)
    home.close()


def _promote(home: Workspace) -> None:
    """Protect, approve, promote and refuse the registered model, by a policy."""
    model = home.parse("team/registry/best")
    protect(home, model, "live", reason="release")
    text = '[alias.live]\nrequire = ["version.size > 0B"]\n[alias.shadow]\nrequire = ["version.size < 0B"]'
    home.project(model.project).commit(lambda state: decide_policy(state, "best", policy_text(text)))
    approve(home, "team/registry/best:v0", "live", "fine")
    promote(home, "team/registry/best:v0", Wish("live", reason="first"))
    promote(home, "team/registry/best:v0", Wish("shadow", reason="refused"))


def picture(home: Workspace) -> dict[str, Any]:
    """All that the catalog says of a store, with the history of each run and the lineage of each version."""
    catalog = home.catalog()
    try:
        found: dict[str, Any] = {
            view: sorted(map(repr, catalog.rows(f"SELECT {columns} FROM {view}")))
            for view, columns in _VIEWS.items()
        }
        versions = [row[0] for row in catalog.rows("SELECT version_id FROM versions ORDER BY 1")]
        found["lineage"] = {
            name: (sorted(graph.nodes(data=True), key=repr), sorted(graph.edges(data=True), key=repr))
            for name in versions
            for graph in [LineageGraph(catalog).build(name)]
        }
        runs = [row[0] for row in catalog.rows("SELECT run_id FROM runs ORDER BY 1")]
    finally:
        catalog.close()
    for run in runs:
        entity, project, name = run.split("/")
        kept = RunFolder.of(home.store, ProjectName(entity, project), name, home.data)
        rows = RunHistory(home.store, ProjectName(entity, project), name, kept).rows()
        found[f"history {run}"] = [repr(sorted(row.items())) for row in rows]
    return found


def contents(home: Workspace, folder: Path) -> dict[str, bytes]:
    """Every file of every live version, downloaded."""
    found = {}
    for project in home.project_names():
        for name in home.project(project).state().collections:
            for version in home.versions(name, project):
                root = folder / str(version.name).replace("/", "-")
                version.download(root)
                for path in sorted(root.rglob("*")):
                    if path.is_file():
                        found[f"{version.name} {path.relative_to(root)}"] = path.read_bytes()
    return found


def tree(folder: Path) -> dict[str, bytes]:
    """Every value of a local store but what is beside the keys."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.relative_to(folder).as_posix().startswith(".")
    }
