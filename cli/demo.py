"""`art demo`: the main job from a folder of files to a promoted model, on real data, in seconds."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ..lineage import LineageGraph
from ..lineage.render import render_dot, render_picture, render_tree
from ..storage.errors import StoreError, UsageError
from ..tracking import Api, Artifact, Workspace, find_settings, init
from .options import json_option
from .output import say_json

PROJECT = "digits"
SCRIPT = "train.py"
_POLICY = """\
# What "art promote" asks of a version before production points to it.
[alias.production]
require = [
  'eval("digits:v0").accuracy >= 0.75',
  'eval("digits:v0").accuracy >= incumbent.eval("digits:v0").accuracy',
]
"""
_TEST_EVERY = 5  # every fifth image is for testing


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@json_option
def demo(folder: Path | None, as_json: bool) -> None:
    """Run the main job on real data: dataset, training, evaluation, promotion, lineage.

    Writes scikit-learn's handwritten digits as files, trains two models on them with a script, promotes the better one,
    and draws where it came from. Everything lies in FOLDER (default: a new ./lineart-demo), which can be removed
    afterwards.

    With --json the story goes to the standard error, and the keys are folder, store, production, dataset, seconds.

    \b
    Example:
      art demo
    """
    start = time.perf_counter()
    place = _new_folder(folder)
    story = Story(place)
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        story.dataset()
        story.model("first-try", images=150, strength=0.5)
        story.model("all-images", images=None, strength=0.05)
        story.unchanged()
        story.one_file_changed()
        story.lineage()
        took = time.perf_counter() - start
        _say(f"\nDone in {took:.1f} s. Look around:\n")
        for command in _next_commands(place):
            _say(f"  {command}")
    if as_json:
        api = Api(story.store)
        say_json(
            {
                "folder": str(place),
                "store": story.store,
                "production": api.artifact(f"{PROJECT}/classifier:production").name,
                "dataset": api.artifact(f"{PROJECT}/digits:latest").name,
                "seconds": round(took, 3),
            }
        )


def _next_commands(place: Path) -> list[str]:
    """What to try now; `art` may not be on the path of somebody who came here by way of make."""
    scripts = Path(sys.executable).parent
    on_path = shutil.which("art") is not None
    return [
        *([] if on_path else [f'export PATH="{scripts}:$PATH"']),
        f"cd {os.path.relpath(place)}",
        "art ls",
        "art registry log classifier --explain",
        "art why classifier:production",
        "art lineage classifier:production --dot | dot -Tsvg > lineage.svg",
        "art impact digits:v0",
        "art reproduce classifier:production --check --no-env",
        'art sql "select name, job_type, summary from runs"',
    ]


@dataclass(slots=True)
class Story:
    """The steps, in one folder with a store of its own."""

    place: Path

    def __post_init__(self) -> None:
        (self.place / "lineart.toml").write_text(
            f'store = "store"\nproject = "{PROJECT}"\n', encoding="utf-8"
        )
        shutil.copyfile(Path(__file__).with_name("demo_training.py"), self.place / SCRIPT)

    @property
    def store(self) -> str:
        """Where the demo's store is."""
        return str(self.place / "store")

    def workspace(self) -> Workspace:
        """The store, opened anew."""
        return Workspace.open(find_settings(store=self.store, project=PROJECT))

    def dataset(self) -> None:
        """The digits as one image file each."""
        _step("1", "a real dataset, as files")
        count = write_digits(self.place / "images")
        _say(f"   {count} images of handwritten digits (8x8) in {os.path.relpath(self.place / 'images')}/")
        with self._run("prepare") as run:
            dataset = Artifact("digits", "dataset", description="handwritten digits, one PGM file each")
            dataset.add_dir(self.place / "images")
            took = _timed(lambda: run.log_artifact(dataset))
        stored = f"{dataset.stored_bytes:,} bytes stored"
        _say(f"   logged {dataset.name}: {dataset.file_count} files, {stored}, {took:.2f} s")

    def model(self, name: str, *, images: int | None, strength: float) -> None:
        """Train on what the store gives back, evaluate, and promote if it beats what is in production."""
        from .demo_training import read_digits, score

        _step({"first-try": "2", "all-images": "3"}[name], f"train, evaluate, promote: {name}")
        words = [
            SCRIPT,
            name,
            *([] if images is None else ["--images", str(images)]),
            "--strength",
            str(strength),
        ]
        _say(f"   python {' '.join(words)}")
        _run_python(words, self.place)
        api = Api(self.store)
        made, dataset = (api.artifact(f"{PROJECT}/{wanted}:latest") for wanted in ("classifier", "digits"))
        with self._run("evaluate", f"check-{name}") as run:
            model = run.use_artifact(made, role="candidate")
            run.use_artifact(dataset, role="test")
            with model.open("weights.json") as file:
                accuracy = score(json.load(file), *read_digits(self.place / "from-store" / "test"))
            run.log({"accuracy": accuracy})
            report = Artifact("report", "evaluation", metadata={"accuracy": accuracy, "model": model.name})
            with report.new_file("report.json") as file:
                json.dump({"model": model.qualified_name, "accuracy": accuracy}, file)
            run.log_artifact(report, derived_from=[model, dataset])
        _say(f"   {made.name} from {dataset.name}: accuracy {accuracy:.3f} on images it has not seen")
        self._promote(made)

    def _promote(self, candidate: Artifact) -> None:
        """By the rules that it writes beside the images: every clause with what was found."""
        rules = self.place / "policy.toml"
        rules.write_text(_POLICY, encoding="utf-8")
        made = candidate.promote("production", policy=_POLICY)
        for clause in made.clauses:
            _say(f"   {clause.verdict}: {clause.clause}   ({clause.values})")
        if not made:
            _say(f"   production stays at {made.before or 'nothing'}")
            return
        latest = Api(self.store).artifact(f"{PROJECT}/classifier:latest").version
        _say(f"   production: {made.before or 'nothing'} -> {made.after}   (latest: {latest})")

    def unchanged(self) -> None:
        """The same folder again."""
        _step("4", "log the same folder again")
        dataset, took = self._log_images()
        _say(f"   still {dataset.name}: no new version, {dataset.stored_bytes} bytes stored, {took:.2f} s")

    def one_file_changed(self) -> None:
        """One image of the folder edited."""
        _step("5", "change one file, log again")
        image = next((self.place / "images" / "train" / "3").iterdir())
        image.write_bytes(image.read_bytes()[:-1] + b"\x07")
        before = Api(self.store).artifact(f"{PROJECT}/digits:latest")
        dataset, took = self._log_images()
        changed = before.diff(dataset)
        manifest_bytes = dataset.stored_bytes - changed.changed_bytes
        _say(
            f"   {dataset.name}: {len(changed.changes)} of {dataset.file_count} files differs; stored"
            f" {changed.changed_bytes} bytes of data and {manifest_bytes:,} of manifest, {took:.2f} s"
        )

    def _log_images(self) -> tuple[Artifact, float]:
        with self._run("prepare") as run:
            dataset = Artifact("digits", "dataset")
            dataset.add_dir(self.place / "images")
            took = _timed(lambda: run.log_artifact(dataset))
        return dataset, took

    def lineage(self) -> None:
        """Where production came from, printed and drawn."""
        _step("6", "where does production come from?")
        workspace = self.workspace()
        name = workspace.version("classifier:production").name
        graph = LineageGraph(workspace.catalog()).build(str(name))
        color = os.isatty(1) and "NO_COLOR" not in os.environ
        _say("")
        _say(render_tree(graph, color=color, width=shutil.get_terminal_size().columns))
        (self.place / "lineage.dot").write_text(render_dot(graph), encoding="utf-8")
        picture = self.place / "lineage.svg"
        try:
            picture.write_bytes(render_picture(graph, "svg"))
            _say(f"   drawn in {os.path.relpath(picture)}")
        except UsageError as error:
            _say(f"   {os.path.relpath(self.place / 'lineage.dot')} is written; no picture: {error}")

    def _run(self, job_type: str, name: str | None = None, config: dict[str, Any] | None = None) -> Any:
        return init(project=PROJECT, store=self.store, job_type=job_type, name=name, config=config)


def write_digits(folder: Path) -> int:
    """Write scikit-learn's digits as ``train|test/<digit>/<number>.pgm``; how many.

    Raises: UsageError when scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UsageError('the demo needs scikit-learn: pip install "lineart[demo]"') from error
    digits: Any = load_digits()
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        part = "test" if number % _TEST_EVERY == 0 else "train"
        path = folder / part / str(label) / f"{number:04}.pgm"
        path.parent.mkdir(parents=True, exist_ok=True)
        # PGM: the plainest image file there is; 8x8 grey values from 0 to 16.
        path.write_bytes(b"P5 8 8 16\n" + pixels.astype("uint8").tobytes())
    return len(digits.target)


def _run_python(words: list[str], folder: Path) -> None:
    """Run a script with this Python; the settings file in `folder` says which store and project. Raises: StoreError."""
    said = ("LINEART_STORE", "LINEART_PROJECT", "LINEART_ENTITY", "WANDB_PROJECT", "WANDB_ENTITY")
    environ = {name: value for name, value in os.environ.items() if name not in said}
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise StoreError(f"{words[0]} in {folder} failed: {reason}")


def _new_folder(folder: Path | None) -> Path:
    if folder is not None:
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(f"folder {str(folder)!r} is not empty; name a new one")
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    number = 1
    while True:
        candidate = Path("lineart-demo" if number == 1 else f"lineart-demo-{number}")
        try:
            candidate.mkdir()
            return candidate
        except FileExistsError:
            number += 1


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _step(number: str, title: str) -> None:
    _say("")
    click.secho(f"{number}. {title}", bold=True)


def _say(text: str) -> None:
    click.echo(text)
