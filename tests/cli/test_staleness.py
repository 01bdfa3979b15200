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


def test_references_that_cannot_be_asked_are_named_with_the_reason(art, digits: Path, tmp_path: Path) -> None:
    import lineart

    with lineart.init(project="digits") as run:
        far = lineart.Artifact("far", "dataset")
        for number in range(7):
            far.add_reference(f"http://127.0.0.1:1/{number}.csv", f"{number}.csv", checksum=False)
        (tmp_path / "near.csv").write_text("1")
        far.add_reference(f"file://{tmp_path / 'near.csv'}", "near.csv", checksum=False)
        run.log_artifact(far)
    answer = art("stale", "far", "--references")
    assert answer.out == "nothing else is stale; 1 version judged\n"
    assert answer.err.count("art: far:v0: reference http://127.0.0.1:1/") == 5
    assert "2 more references could not be asked" in answer.err
    assert "1 reference cannot be compared" in answer.err
    found = art("stale", "far", "--references", "--json").json
    assert (found["unanswered"], found["uncompared"]) == (7, 1)
    assert {tuple(row["versions"]) for row in found["unasked"]} == {("default/digits/far:v0",)}
    assert "127.0.0.1" in found["unasked"][0]["reason"]


def test_names_and_all_exclude_each_other(art, digits: Path) -> None:
    assert "leave them out" in art("stale", "images", "--all", status=2).err
