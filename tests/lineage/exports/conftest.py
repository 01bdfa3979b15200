"""A small history with everything that the exports tell of, written by real runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import lineart
import scenario
from lineart.lineage import Direction, LineageGraph
from lineart.lineage.exports import Extent, read_extent

PROJECT = "team/digits"
MODEL = f"{PROJECT}/classifier:v0"
LINK = "team/registry/churn:v0"


def extent_of(name: str, direction: Direction = "both", depth: int | None = None) -> Extent:
    """What is around a version."""
    catalog = scenario.workspace().catalog()
    graph = LineageGraph(catalog).build(name, direction=direction, depth=depth)
    found = read_extent(catalog, graph)
    catalog.close()
    return found


def project_extent(project: str = PROJECT) -> Extent:
    """All of a project."""
    catalog = scenario.workspace().catalog()
    found = read_extent(catalog, LineageGraph(catalog).of_project(project))
    catalog.close()
    return found


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of the story, made once."""
    folder = tmp_path_factory.mktemp("story")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder / "home"))
        patch.setenv("LINEART_STORE", str(folder / "store"))
        patch.delenv("LINEART_CACHE", raising=False)
        patch.chdir(folder)
        _tell()
    return folder / "store"


@pytest.fixture
def story(told: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images, a test set, a classifier (from the images alone), its evaluation, a link, and two more runs."""
    shutil.copytree(told, tmp_path / "told")
    monkeypatch.setenv("LINEART_STORE", str(tmp_path / "told"))
    monkeypatch.setenv("LINEART_PROJECT", PROJECT)
    monkeypatch.chdir(tmp_path)


def _tell() -> None:
    with lineart.init(project=PROJECT, id="prep", job_type="prepare", tags=["nightly"]) as run:
        images = lineart.Artifact("images", "dataset", "Digits", metadata={"license": "cc-by-4.0"})
        for path, text in {
            "labels.csv": "id,label,score\n0,zero,0.5\n1,one,0.25\n",
            "rows.jsonl": '{"a": 1, "b": ["x"]}\n{"a": 2, "b": []}\n',
            "raw.csv": "0,zero\n1,one\n",
            "readme": "Read me.",
        }.items():
            with images.new_file(path) as file:
                file.write(text)
        for number in range(12):
            with images.new_file(f"train/{number}.png") as file:
                file.write(f"picture {number}")
        run.log_artifact(images, tags=["raw"])
        run.log_artifact(scenario.draft("golden", {"t.tsv": "x\ty\n1\t2\n"}), derived_from=[])
    with lineart.init(
        project=PROJECT, id="train", name="train-1", job_type="train", config={"lr": 0.1, "layers": [1, 2]}
    ) as run:
        run.use_artifact("images:latest", role="train")
        run.use_artifact("golden:latest", role="test")
        run.log({"accuracy": 0.9, "loss": float("nan"), "nested": {"f1": 0.5}})
        model = scenario.draft(
            "classifier",
            {"w.bin": "weights", "a b.txt": "x"},
            "model",
            description="Tells digits apart",
            metadata={"license": "apache-2.0", "task": "image-classification", "architecture": "a|b"},
        )
        run.log_artifact(model, derived_from=["images:latest"], aliases=["production"])
    with lineart.init(project=PROJECT, id="judge", job_type="evaluate") as run:
        run.use_artifact("classifier:latest")
        run.use_artifact("golden:latest", role="test")
        run.log({"f1": 0.7})
    with lineart.init(project=PROJECT, id="again") as run:
        run.log_artifact(scenario.draft("classifier", {"w.bin": "weights", "a b.txt": "x"}, "model"))
    try:
        with lineart.init(project=PROJECT, id="bad") as run:
            run.use_artifact("images:latest")
            raise ValueError("oops")
    except ValueError:
        pass  # the run keeps it
    model.link(LINK.rpartition(":")[0], aliases=["prod"])
