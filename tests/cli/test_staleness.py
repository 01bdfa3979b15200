"""`art stale`."""

from __future__ import annotations

from pathlib import Path


def test_stale_versions_are_listed_with_why(art, digits: Path, tmp_path: Path) -> None:
    assert (
        "nothing is stale; 3 versions judged" in art("stale", "classifier:v2", "classifier:v1", "images").out
    )
    (tmp_path / "images").mkdir()
    (tmp_path / "images/new.png").write_bytes(b"new")
    art("put", "images", "--name", "images")
    out = art("stale", status=1).out
    assert "classifier:v2  latest      -    images:v1 → v2" in out
    found = art("stale", "-A", "--json", status=1).json
    assert found["unanswered"] == 0
    scores = next(row for row in found["stale"] if row["name"] == "default/other/scores:v0")
    assert scores["chain"] == ["default/other/scores:v0"]
    assert scores["causes"] == [
        {"input": "default/digits/classifier:v1", "newest": "default/digits/classifier:v2", "kind": "newer"}
    ]
    assert len(art("stale", "--all", "--json", status=1).json["stale"]) > 2


def test_changed_references_are_told(art, digits: Path, tmp_path: Path) -> None:
    import lineart

    (tmp_path / "far.csv").write_text("1")
    with lineart.init(project="digits") as run:
        far = lineart.Artifact("far", "dataset")
        far.add_reference(f"file://{tmp_path / 'far.csv'}")
        run.log_artifact(far)
    (tmp_path / "far.csv").write_text("22")
    assert art("stale", "far").out.startswith("nothing is stale")
    answer = art("stale", "far", "--references", "--timeout", "20s", status=1)
    assert "references of far:v0 changed" in answer.out
    assert "size was 1, is 2" in answer.err


def test_names_and_all_exclude_each_other(art, digits: Path) -> None:
    assert "leave them out" in art("stale", "images", "--all", status=2).err
