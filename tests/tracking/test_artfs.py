"""``art://``: what other libraries read through fsspec, which bytes that fetches, and what a run records of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

import lineart
import scenario
from lineart.storage.errors import UsageError
from lineart.tracking.artfs import ArtifactFileSystem

CSV = "a,b\n1,2\n3,4\n"
FILES = {"train.csv": CSV, "deep/er/x.csv": "a\n5\n", "deep/y.txt": "y"}
HOME = "default/uncategorized"


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    fsspec.register_implementation("art", ArtifactFileSystem, clobber=True)
    yield
    finished = lineart.tracking.current_run()
    if finished is not None:
        finished.finish()


@pytest.fixture
def system() -> ArtifactFileSystem:
    scenario.logged("data", FILES)
    return ArtifactFileSystem()


def start(project: str = "uncategorized", **fields: object) -> lineart.Run:
    return lineart.init(project=project, settings={"console": "off", "system": False}, **fields)  # type: ignore[arg-type]


def test_folders_and_files(system: ArtifactFileSystem) -> None:
    assert system.ls("art://data:latest", detail=False) == ["data:latest/deep", "data:latest/train.csv"]
    assert system.ls("data:v0/deep/", detail=False) == ["data:v0/deep/er", "data:v0/deep/y.txt"]
    assert system.ls("data:v0/train.csv", detail=False) == ["data:v0/train.csv"]
    assert system.ls("", detail=False) == ["data:latest"]
    assert system.find("data:v0") == ["data:v0/deep/er/x.csv", "data:v0/deep/y.txt", "data:v0/train.csv"]
    assert system.glob("art://data:v0/**/*.csv") == ["data:v0/deep/er/x.csv", "data:v0/train.csv"]
    assert (system.isdir("data:v0/deep"), system.isfile("data:v0/train.csv")) == (True, True)
    assert (system.isdir(""), system.isdir("data")) == (True, True)


def test_info(system: ArtifactFileSystem) -> None:
    digest = lineart.Api().artifact("data").get_entry("train.csv").digest
    found = system.info("art://data/train.csv")
    assert found == {"name": "data/train.csv", "size": len(CSV), "type": "file", "digest": digest}
    assert system.checksum("data/train.csv") != system.checksum("data/deep/y.txt")
    assert system.modified("data:v0").year >= 2026


@pytest.mark.parametrize(
    "path",
    [
        "data:latest/train.csv",
        "data:v0/train.csv",
        "data/train.csv",
        f"{HOME}/data:v0/train.csv",
        f"{HOME}/data/train.csv",
        "uncategorized/data:latest/train.csv",
    ],
)
def test_names(path: str, system: ArtifactFileSystem) -> None:
    with system.open(f"art://{path}") as stream:
        assert stream.read() == CSV.encode()
    assert system.cat(path) == CSV.encode()


@pytest.mark.parametrize(
    "path, message",
    [
        ("data:v0/train.cs", "is not in"),
        ("data:v9/train.csv", "has no v9"),
        ("dat:v0/train.csv", "did you mean 'data'"),
        ("nothing/train.csv", "nothing"),
        ("a b:v0/x", "artifact name"),
    ],
)
def test_what_is_not_there_is_file_not_found(path: str, message: str, system: ArtifactFileSystem) -> None:
    for call in (system.info, system.ls, lambda p: system.open(p).read()):
        with pytest.raises(FileNotFoundError, match=message):
            call(f"art://{path}")
    assert not system.exists(path)


def test_folder_is_not_opened_and_nothing_is_written(system: ArtifactFileSystem) -> None:
    for path in ("data:v0", "data:v0/deep"):
        with pytest.raises((IsADirectoryError, FileNotFoundError)):
            system.open(path)
    with pytest.raises(UsageError, match="a version is immutable"):
        system.open("data:v0/train.csv", "wb")


def test_only_the_bytes_asked_for_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = scenario.noise(8_000_000)
    artifact = lineart.Artifact("large", "dataset")
    with artifact.new_file("f", "xb") as stream:
        stream.write(data)
    artifact.save()
    read: list[int] = []
    opened: Any = ArtifactFileSystem().open("large/f")
    with opened as stream:
        raw = stream.raw
        whole = type(raw)._piece

        def counted(self: object, number: int) -> object:
            piece = whole(self, number)
            read.append(len(piece))
            return piece

        monkeypatch.setattr(type(raw), "_piece", counted)
        stream.seek(5_000_000)
        assert stream.read(1000) == data[5_000_000:5_001_000]
        assert stream.seek(-10, 2) == len(data) - 10
        assert stream.read() == data[-10:]
    assert 0 < sum(set(read)) < len(data) // 2


def test_store_and_project_can_be_said(tmp_path: Path) -> None:
    scenario.logged("data", FILES)
    path = str(scenario.workspace().store.url)
    system = ArtifactFileSystem(store=path, project="uncategorized")
    assert system.cat("data/deep/y.txt") == b"y"
    with start("other"):
        assert ArtifactFileSystem(project="uncategorized").cat("data/deep/y.txt") == b"y"


def test_reference_is_read_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text(CSV)
    artifact = lineart.Artifact("refs", "dataset")
    artifact.add_reference(f"file://{tmp_path}/r.csv")
    artifact.save()
    assert ArtifactFileSystem().cat("refs/r.csv") == CSV.encode()


# Inside a run


def test_use_is_recorded_once_for_what_is_opened(system: ArtifactFileSystem) -> None:
    scenario.logged("other", FILES)
    with start(id="r") as run:
        fs = fsspec.filesystem("art")
        fs.ls("other:latest")
        for path in ("train.csv", "deep/y.txt", "train.csv"):
            fs.cat(f"data:latest/{path}")
        made = run.log_artifact(scenario.draft("out", {"f": "1"}))
    assert [a.name for a in made.upstream()] == ["data:v0"]
    rows = lineart.Api().sql("SELECT count(*) FROM edges WHERE kind = 'used'").fetchall()
    assert rows == [(1,)]
    assert fs.cat("data:latest/deep/y.txt") == b"y"  # the run has ended: read, and recorded nowhere


def test_use_in_another_project_is_recorded(system: ArtifactFileSystem) -> None:
    with start("team/far", id="r"):
        assert fsspec.filesystem("art").cat(f"{HOME}/data:latest/deep/y.txt") == b"y"
    assert lineart.Api().artifact("data").used_by() == ["team/far/r"]


# Libraries


def test_pandas(system: ArtifactFileSystem) -> None:
    import pandas as pd

    with start(id="r"):
        assert pd.read_csv("art://data:latest/train.csv")["b"].tolist() == [2, 4]
    assert lineart.Api().artifact("data").used_by() == ["default/uncategorized/r"]


def test_duckdb(system: ArtifactFileSystem) -> None:
    import duckdb

    connection = duckdb.connect()
    connection.register_filesystem(fsspec.filesystem("art"))
    try:
        rows = connection.sql("SELECT sum(b) FROM read_csv('art://data:latest/train.csv')").fetchall()
        assert rows == [(6,)]
        assert connection.sql("SELECT count(*) FROM read_csv('art://data:latest/*.csv')").fetchall() == [(2,)]
    finally:
        connection.close()


def test_text_and_compression_of_fsspec(system: ArtifactFileSystem) -> None:
    import gzip

    artifact = lineart.Artifact("packed", "dataset")
    with artifact.new_file("x.csv.gz", "xb") as stream:
        stream.write(gzip.compress(CSV.encode()))
    artifact.save()
    opened: Any = fsspec.open("art://packed:latest/x.csv.gz", "rt", compression="gzip")
    with opened as text:
        assert text.read() == CSV
    opened = fsspec.open("art://data/train.csv", "r")
    with opened as text:
        assert text.readline() == "a,b\n"
