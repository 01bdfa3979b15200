"""A registered model `churn` with versions that real runs have made, for tests of promotion."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import lineart
from lineart.tracking import Workspace, find_settings


def opened(project: str = "churn") -> Workspace:
    return Workspace.open(find_settings(project=project), create=True)


def run_art(*arguments: str) -> None:
    program = [sys.executable, "-c", "from lineart.cli.main import main; main()"]
    subprocess.run([*program, *arguments], check=True, capture_output=True)


def opened_at(folder: Path) -> Workspace:
    return Workspace.open(find_settings(store=str(folder)), create=True)


def train(accuracy: float, files: dict[str, bytes] | None = None, **summary: Any) -> lineart.Artifact:
    """A run that uses the newest data and logs a model, with a link to it in the registry: that link."""
    with lineart.init(project="churn", job_type="train", config={"depth": 3}) as run:
        if lineart.Api().artifact_exists("churn/data:latest"):
            run.use_artifact("data:latest")
        made = lineart.Artifact("model", "model", metadata={"framework": "none"})
        for name, content in (files or {"weights.json": json.dumps(accuracy).encode()}).items():
            with made.new_file(name, "wb") as file:
                file.write(content)
        run.log_artifact(made)
        run.log({"accuracy": accuracy, **summary})
    return made.link("model-registry/churn")


def dataset(name: str, content: str) -> None:
    with lineart.init(project="churn") as run:
        made = lineart.Artifact(name, "dataset")
        with made.new_file("rows.csv") as file:
            file.write(content)
        run.log_artifact(made)


def evaluate(model: lineart.Artifact, data: str, **summary: float) -> None:
    with lineart.init(project="churn", job_type="evaluate") as run:
        run.use_artifact(model)
        run.use_artifact(data)
        run.log(summary)


def policy(*rules: str) -> str:
    return f"[alias.production]\nrequire = {json.dumps(rules)}"


def clauses(made: Any) -> dict[str, tuple[str, str]]:
    return {clause.clause: (clause.verdict, clause.values) for clause in made.clauses}


def judged(model: lineart.Artifact, rule: str) -> tuple[str, str]:
    return clauses(model.promote("production", policy=policy(rule), dry_run=True))[rule]
