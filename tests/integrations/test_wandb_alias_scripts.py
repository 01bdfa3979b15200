"""Whole scripts that say `import wandb`, as processes under `art exec`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import lineart

ART = Path(sys.executable).with_name("art")
SCRIPTS = Path(__file__).with_name("scripts")


def run_script(name: str, *arguments: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """A script under `art exec`; it must not be changed for that."""
    assert "lineart" not in (SCRIPTS / name).read_text()
    return subprocess.run(
        [ART, "exec", *options, SCRIPTS / name, *arguments],
        env={**os.environ, "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        check=False,
    )


def only_run(project: str) -> Any:
    runs = list(lineart.Api().runs(project))
    assert len(runs) == 1
    return runs[0]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def test_classifier_with_charts() -> None:
    pytest.importorskip("sklearn")
    done = run_script("classifier.py", "--strength", "0.1", options=("-p", "digits"))
    assert done.returncode == 0, done.stderr
    run = only_run("digits")
    assert dict(run.config) == {"strength": 0.1, "iterations": 60}
    assert set(run.tags) == {"baseline", "linear"}
    assert run.summary["test/accuracy"] > 0.9
    assert run.summary["best"] is True
    assert {"matrix", "roc", "confidence"} <= set(run.summary)
    assert [row["samples"] for row in run.scan_history(keys=["samples"])] == sorted(
        row["samples"] for row in run.scan_history(keys=["samples"])
    )


def test_loop_with_steps_media_and_files() -> None:
    done = run_script("loop.py", options=("-p", "fits", "--id", "r1"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "run r1 line fits\n"
    run = only_run("fits")
    assert dict(run.config) == {"rate": 0.1, "seed": 3, "epochs": 5}
    errors = [row["val/error"] for row in run.scan_history(keys=["val/error"])]
    assert len(errors) == 5
    assert run.summary["val/error"] == min(errors)
    assert len(list(run.scan_history(keys=["train/error"]))) == 50
    assert "params.slope" in run.summary
    assert any(file.name.endswith("weights.npz") for file in run.files())
    assert any(file.name.endswith(".png") for file in run.files())
    assert lineart.Api().sql("SELECT title FROM alerts").fetchall() == [("converges",)]


def test_pipeline_of_two_runs_is_two_runs_in_the_project_that_it_names() -> None:
    done = run_script("pipeline.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "logged factor:v0 2.0\n"
    assert '"art exec -p default/flow …" makes them one' in done.stderr
    kinds = {run.job_type: run for run in lineart.Api().runs("flow")}
    assert set(kinds) == {"prepare", "train"}
    factor = lineart.Api().artifact("flow/factor:latest")
    assert [version.name for version in factor.upstream()] == ["numbers:v0"]
    outer = only_run("uncategorized")
    assert outer.state == "finished"
    assert outer.config == {}


def test_first_run_of_a_pipeline_is_that_of_the_command_where_the_project_is_named() -> None:
    done = run_script("pipeline.py", options=("-p", "flow", "--id", "outer"))
    assert done.returncode == 0, done.stderr
    runs = {run.id: run for run in lineart.Api().runs("flow")}
    assert len(runs) == 2
    assert "outer" in runs
    assert lineart.Api().artifact("flow/factor:latest").upstream()


def test_workers_log_into_the_run_of_the_command() -> None:
    done = run_script("workers.py", options=("-p", "jobs", "--id", "r1"))
    assert done.returncode == 0, done.stderr
    rows = list(only_run("jobs").scan_history())
    assert sorted(row["loss"] for row in rows) == sorted(1 / (s + 1 + r) for s in range(5) for r in range(3))


def test_failing_script_has_its_traceback_and_what_it_logged() -> None:
    done = run_script("failing.py", options=("-p", "broken"))
    assert done.returncode == 1
    assert done.stdout == "before it fails\n"
    assert done.stderr.splitlines()[-1] == "ValueError: the data is bad"
    run = only_run("broken")
    assert (run.state, run.summary["step/value"], run.config["depth"]) == ("failed", 2, 2)


def test_disabled_run_keeps_the_script_going() -> None:
    done = subprocess.run(
        [ART, "exec", "-p", "broken", SCRIPTS / "loop.py"],
        env={**os.environ, "WANDB_MODE": "disabled"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_other_wandb_is_found_without_the_alias(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "wandb.py").write_text("__version__ = 'other'\n")
    environ = {**os.environ, "PYTHONPATH": str(tmp_path / "other")}
    code = "import wandb; print(wandb.__version__)"
    for options, version in (["--no-alias"], "other"), ([], "0.22.3"):
        command = [ART, "exec", *options, sys.executable, "-c", code]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
        assert done.stdout == f"{version}\n"
