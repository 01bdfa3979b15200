"""A small store with a history, and `art` called in this process."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import lineart
from lineart.cli.main import main
from lineart.storage.store import open_backend


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call of `art` came to."""

    status: int
    out: str
    err: str
    bytes: bytes

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def rows(self) -> list[list[str]]:
        """The cells of a table, without its header."""
        return [line.split() for line in self.lines[1:]]

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Art = Callable[..., Answer]


@pytest.fixture
def art(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Art:
    """Call a command; by default it must succeed."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path, status: int = 0, input: str | bytes | None = None) -> Answer:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments], input=input)
        answer = Answer(result.exit_code, result.stdout, result.stderr, result.stdout_bytes)
        assert answer.status == status, f"{arguments}: {answer}\n{result.exc_info}"
        return answer

    return call


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store made once: images v0 and v1, classifier v0 to v2 trained on them, a report, a use from elsewhere."""
    folder = tmp_path_factory.mktemp("history")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder / "home"))
        patch.setenv("LINEART_STORE", str(folder / "store"))
        patch.delenv("LINEART_CACHE", raising=False)
        patch.chdir(folder)
        _write_history(folder)
    return folder / "store"


def _write_history(folder: Path) -> None:
    source = random.Random(1)
    images = folder / "images"
    for path in ("train/0.png", "train/1.png", "train/2.png", "test/0.png"):
        (images / path).parent.mkdir(parents=True, exist_ok=True)
        (images / path).write_bytes(source.randbytes(3000))
    (images / "labels.csv").write_text("0,zero\n1,one\n")
    for version in range(3):
        if version < 2:
            with lineart.init(project="digits", job_type="prepare", config={"camera": version}) as run:
                data = lineart.Artifact(
                    "images", "dataset", description="Digits, 8×8", metadata={"n": 5 + version}
                )
                data.add_dir(images)
                run.log_artifact(data, tags=["raw"] if version == 0 else [])
        with lineart.init(
            project="digits",
            job_type="train",
            name=f"train-{version}",
            config={"lr": 0.1 / (version + 1), "depth": 3},
        ) as run:
            used = run.use_artifact("images:latest", role="train")
            model = folder / "model.bin"
            model.write_bytes(source.randbytes(3_000_000 if version == 2 else 5000))
            run.log({"accuracy": 0.8 + version / 20})
            run.log_artifact(
                model,
                name="classifier",
                type="model",
                aliases=["production"] if version == 1 else [],
                derived_from=[used] if version == 1 else None,
            )
        if version == 0:
            (images / "labels.csv").write_text("0,zero\n1,one\n2,two\n")
            (images / "train/0.png").unlink()
            os.rename(images / "train/1.png", images / "train/moved.png")
            (images / "train/new.png").write_bytes(source.randbytes(2000))
    with lineart.init(project="other", job_type="serve") as run:
        run.use_artifact("digits/classifier:production")
        (folder / "scores.txt").write_text("1\n")
        run.log_artifact(folder / "scores.txt", name="scores", type="result")


def copy_into(url: str, folder: Path) -> None:
    """Make a store in a bucket the same as one in a folder, key by key."""
    backend = open_backend(url)
    backend.delete([found.key for found in backend.list("")])
    for path in folder.rglob("*"):
        if path.is_file() and not path.relative_to(folder).as_posix().startswith("."):
            backend.write(path.relative_to(folder).as_posix(), path.read_bytes())
    backend.close()


@pytest.fixture
def digits(history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that store in use, with the project `digits`."""
    store = tmp_path / "store"
    shutil.copytree(history, store)
    monkeypatch.setenv("LINEART_PROJECT", "digits")
    if os.environ.get("LINEART_STORE", "").startswith("s3://"):
        copy_into(os.environ["LINEART_STORE"], history)
    return store
