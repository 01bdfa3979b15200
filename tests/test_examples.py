"""Every example runs in an empty folder, prints what it promises, and leaves in the store what it says."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import lineart
import s3server
from lineart.tracking import ApiRun

EXAMPLES = Path(__file__).parents[1] / "examples"
OWN_STORE = {
    "train_digits.py": ["classifier:v0 from digits:v0", "['classifier:v0', 'report:v0']"],
    "external_data.py": ["3 files stay in place", "refused: reference 'sales-02.csv'"],
    "release.sh": ["production → v1", "production → v0"],
}


def run(name: str, folder: Path, *arguments: str) -> str:
    """What an example prints, as a process in `folder`."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    program = [sys.executable] if name.endswith(".py") else ["sh"]
    done = subprocess.run(
        [*program, str(EXAMPLES / name), *arguments],
        cwd=folder,
        env={**os.environ, "PATH": path, "MPLCONFIGDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def the_run(project: str) -> ApiRun:
    """The one run of a project."""
    (found,) = lineart.Api().runs(project)
    return found


def _wine() -> None:
    found = the_run("wine")
    assert found.state == "finished"
    assert found.tags == ["baseline", "forest"]
    assert found.config == {"trees": 60, "max_depth": 4, "seed": 7}
    assert set(found.summary) == {"accuracy", "f1", "log_loss"}
    assert [artifact.name for artifact in found.logged_artifacts()] == ["wine-forest:v0"]


def _torch() -> None:
    found = the_run("torch")
    rows = list(found.scan_history(keys=["train/loss"]))
    assert len(rows) == 4 * 14
    epochs = list(found.scan_history(keys=["val/accuracy", "epoch"]))
    assert [row["epoch"] for row in epochs] == [0, 1, 2, 3]
    assert found.summary["val/accuracy"] == max(row["val/accuracy"] for row in epochs)
    assert any(key.startswith("gradients/") for key in found.history_keys)
    saved = [file.name for file in found.files(pattern="checkpoints/*")]
    assert saved == [f"checkpoints/epoch-{epoch}.pt" for epoch in range(4)]


def _looks() -> None:
    found = the_run("looks")
    kinds = {
        key: value[0]["_type"] if isinstance(value, list) else value["_type"]
        for key, value in found.summary.items()
    }
    assert kinds == {
        "mistakes": "image-file",
        "confidence": "histogram",
        "weights": "image-file",
        "guesses": "table-file",
        "confusion": "chart",
        "roc": "chart",
        "pr": "chart",
        "by digit": "chart",
    }
    picture = found.file(found.summary["mistakes"][0]["path"])
    with picture.open() as stream:
        assert stream.read(8) == b"\x89PNG\r\n\x1a\n"


def _registered() -> None:
    link = lineart.Api().artifact("model-registry/diabetes-risk:staging")
    assert link.version == "v1"
    assert link.source_name == "ridge:v1"


def _latest() -> None:
    (used,) = lineart.Api().runs("iris", filters={"job_type": "train"})[0].used_artifacts()
    assert used.name == "iris:v0"


def _five() -> None:
    runs = lineart.Api().runs("rates", order="config.lr")
    assert [found.config["lr"] for found in runs] == [0.0001, 0.001, 0.01, 0.1, 1.0]
    assert all(len(list(found.scan_history())) == 5 for found in runs)


def _alerts() -> None:
    rows = lineart.Api().sql("select title, level from alerts").fetchall()
    assert rows == [("Low accuracy", "WARN")]


WITH_STORE: dict[str, tuple[list[str], Callable[[], None]]] = {
    "classify_wine.py": (["accuracy 0.9", "wine-forest:v0 logged"], _wine),
    "train_torch.py": (["best accuracy 0.", "4 checkpoints"], _torch),
    "look_at_results.py": (["8 things to look at"], _looks),
    "register_model.py": (["serving diabetes-risk:v1, made by ridge:v1"], _registered),
    "use_latest.py": (["75 rows, 3 classes"], _latest),
    "five_runs.py": (["lr 1.0:"], _five),
    "alert_when_low.py": (["1 alert: WARN · Low accuracy"], _alerts),
}


def test_every_example_is_tested_and_listed() -> None:
    programs = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".sh")}
    assert programs == {*OWN_STORE, *WITH_STORE, "compare_runs.py", "data_in_a_bucket.py"}
    index = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"({name})" in index for name in programs)


@pytest.mark.parametrize("name", sorted(OWN_STORE))
def test_example_with_a_store_of_its_own_shows_what_it_promises(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LINEART_STORE")
    shown = run(name, tmp_path)
    for text in OWN_STORE[name]:
        assert text in shown


@pytest.mark.parametrize("name", sorted(WITH_STORE))
def test_example_leaves_in_the_store_what_it_says(name: str, tmp_path: Path) -> None:
    if name == "train_torch.py" and importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed; make check installs it")
    expected, check = WITH_STORE[name]
    shown = run(name, tmp_path)
    for text in expected:
        assert text in shown
    check()


def test_runs_are_compared(tmp_path: Path) -> None:
    run("five_runs.py", tmp_path)
    shown = run("compare_runs.py", tmp_path)
    assert shown.splitlines()[0].split() == ["name", "lr", "accuracy"]
    assert "5 runs, 25 values" in shown


def test_dataset_stays_in_its_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3server.moto() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        url = s3server.new_bucket(server)
        for part in range(3):
            server.client().put_object(
                Bucket=url.removeprefix("s3://"), Key=f"rows/{part}.csv", Body=b"a,b\n1,2\n" * (part + 1)
            )
        shown = run("data_in_a_bucket.py", tmp_path, f"{url}/rows/")
    assert "measurements:v0: 3 files of" in shown
    assert (tmp_path / "measurements").is_dir()
    entries = lineart.Api().artifact("bucket/measurements:raw").manifest
    assert [entry.kind for entry in entries.values()] == ["reference"] * 3
