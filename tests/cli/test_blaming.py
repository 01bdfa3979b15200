"""`art blame`."""

from __future__ import annotations

from pathlib import Path

import duckdb


def test_file_shows_the_versions_and_runs_that_brought_its_contents(art, digits: Path) -> None:
    lines = art("blame", "images/labels.csv").out.splitlines()
    assert lines[0].split() == ["VERSIONS", "BLAKE3", "SIZE", "RUN", "USER", "AGE", "COMMIT", "PATH"]
    assert [line.split()[0] for line in lines[1:3]] == ["v1", "v0"]
    assert lines[-1] == "images:v1 brought labels.csv as it is; 2 contents in all"
    found = art("blame", "images:v1/train/moved.png", "--json").json
    assert [(row["first"], row["path"]) for row in found["history"]] == [
        ("default/digits/images:v0", "train/1.png")
    ]
    assert found["history"][0]["run"].startswith("default/digits/")


def test_folder_shows_the_version_of_each_file(art, digits: Path) -> None:
    found = art("blame", "images", "--json").json
    assert {row["path"]: row["version"].rpartition(":")[2] for row in found} == {
        "labels.csv": "v1",
        "test/0.png": "v0",
        "train/2.png": "v0",
        "train/moved.png": "v0",
        "train/new.png": "v1",
    }
    assert "train/new.png" in art("blame", "images/train").out
    assert "did you mean" in art("blame", "images/label.csv", status=1).err


def test_registered_name_has_the_history_of_its_source(art, digits: Path) -> None:
    art("link", "images:v1", "model-registry/pictures")
    assert "images:v1 brought labels.csv" in art("blame", "model-registry/pictures:v0/labels.csv").out


def test_parts_of_a_file(art, digits: Path, tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        for rows in (2048, 4096):
            connection.execute(
                f"COPY (SELECT * FROM range({rows})) TO '{tmp_path}/t.parquet' (FORMAT parquet, ROW_GROUP_SIZE 2048)"
            )
            art("put", "t.parquet", "--name", "table", "--type", "dataset")
    lines = art("blame", "table/t.parquet", "--row-groups").out.splitlines()
    assert [line.split()[:2] + line.split()[4:5] for line in lines[1:]] == [
        ["0", "2048", "table:v0"],
        ["1", "2048", "table:v1"],
    ]
    parts = art("blame", "table/t.parquet", "--chunks", "--json").json["parts"]
    assert [(part["offset"], part["version"][-2:]) for part in parts] == [(0, "v1")]
    assert "no Parquet" in art("blame", "images/labels.csv", "--row-groups", status=2).err
    assert "no file" in art("blame", "images", "--chunks", status=2).err
    assert "choose one" in art("blame", "table/t.parquet", "--chunks", "--row-groups", status=2).err
