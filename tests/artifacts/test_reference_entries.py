"""References among the files of an artifact: counted, fetched, refused when they changed, listed."""

from __future__ import annotations

from pathlib import Path

import pytest

import lineart
import scenario
from lineart.storage.errors import NotFoundError, ReferenceChangedError, UsageError


@pytest.fixture
def far(tmp_path: Path) -> Path:
    return scenario.write_tree(tmp_path / "far", {"a.txt": "alpha", "d/b.txt": "beta"})


def with_references(far: Path) -> lineart.Artifact:
    made = scenario.draft("data", {"own.txt": "own"})
    made.add_reference(f"file://{far}", "far")
    made.save()
    return made


def test_references_are_counted_apart_from_files(far: Path) -> None:
    made = with_references(far)
    assert (made.files(), made.file_count) == (["far/a.txt", "far/d/b.txt", "own.txt"], 1)
    assert made.size == len("own" + "alpha" + "beta")
    assert made.stored_bytes < 1000  # no byte of them is stored but in the manifest


def test_download_brings_references_too(far: Path, tmp_path: Path) -> None:
    folder = Path(with_references(far).download(tmp_path / "out"))
    assert scenario.read_tree(folder) == {"far/a.txt": "alpha", "far/d/b.txt": "beta", "own.txt": "own"}


@pytest.mark.parametrize("fault", ["changed", "gone"])
def test_download_refuses_a_reference_that_is_not_what_it_was(far: Path, tmp_path: Path, fault: str) -> None:
    made = with_references(far)
    if fault == "changed":
        (far / "a.txt").write_text("ALPHA")
    else:
        (far / "a.txt").unlink()
    with pytest.raises((ReferenceChangedError, NotFoundError)):
        made.download(tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*a.txt*"))
    assert not list((tmp_path / "out").rglob("*.partial"))
    made.download(tmp_path / "out", allow_missing_references=True)
    assert scenario.read_tree(tmp_path / "out") == {"far/d/b.txt": "beta", "own.txt": "own"}


def test_download_that_is_refused_leaves_the_file_that_was_there(far: Path, tmp_path: Path) -> None:
    made = with_references(far)
    made.download(tmp_path / "out")
    (far / "a.txt").write_text("ALPHA")
    with pytest.raises(ReferenceChangedError):
        made.download(tmp_path / "out")
    assert (tmp_path / "out/far/a.txt").read_text() == "alpha"


def test_reference_does_not_replace_another_entry(far: Path) -> None:
    made = scenario.draft("data", {"a.txt": "own"})
    with pytest.raises(UsageError, match=r"'a.txt' is in the artifact"):
        made.add_reference(f"file://{far}/a.txt")
    made.add_reference(f"file://{far}/d/b.txt")
    made.add_reference(f"file://{far}/d/b.txt")  # the same again is no conflict


def test_reference_without_name_or_checksum_is_fetched_unchecked(far: Path, tmp_path: Path) -> None:
    made = lineart.Artifact("data", "dataset")
    made.add_reference(f"file://{far}/a.txt", checksum=False)
    made.save()
    (far / "a.txt").write_text("something else")
    made.download(tmp_path / "out")
    assert (tmp_path / "out/a.txt").read_text() == "something else"


def test_catalog_lists_the_first_hundred_references_and_the_manifest_all(tmp_path: Path) -> None:
    far = scenario.write_tree(tmp_path / "far", {f"{n:03}": str(n) for n in range(120)})
    made = lineart.Artifact("data", "dataset")
    made.add_reference(f"file://{far}")
    made.save()
    listed = lineart.Api().sql("SELECT path FROM version_references ORDER BY position, path").fetchall()
    assert [row[0] for row in listed] == [f"{n:03}" for n in range(100)]
    assert len(made.manifest) == 120


def test_reference_is_never_written_outside_by_a_link_in_the_target(far: Path, tmp_path: Path) -> None:
    made = with_references(far)
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out/far").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(lineart.Error, match="'far' is a symbolic link"):
        made.download(tmp_path / "out")
    assert not list((tmp_path / "elsewhere").iterdir())
