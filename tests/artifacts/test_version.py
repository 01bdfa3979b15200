"""Logging, downloading, checking out and reading versions, with real files."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import pytest

import lineart
import scenario
from lineart.artifacts import Version
from lineart.storage.errors import (
    IntegrityError,
    InvalidPathError,
    NotFoundError,
    ReferenceChangedError,
    StoreError,
    UsageError,
)
from lineart.storage.restore import TEMPORARY_PREFIX

ONE = {"a.txt": "alpha", "d/b.txt": "beta", "d/e/c.txt": "gamma"}
MIB = 1024 * 1024


def downloaded(artifact: lineart.Artifact, folder: Path, path_prefix: str | None = None) -> dict[str, str]:
    return scenario.read_tree(Path(artifact.download(folder, path_prefix=path_prefix)))


def version_of(artifact: lineart.Artifact) -> Version:
    return scenario.workspace("default/uncategorized").version(artifact.qualified_name)


# Downloading


def test_download_brings_all_and_leaves_other_files_alone(tmp_path: Path) -> None:
    artifact = scenario.logged("data", ONE)
    scenario.write_tree(tmp_path / "out", {"mine.txt": "mine", "d/mine.txt": "too"})
    assert downloaded(artifact, tmp_path / "out") == ONE | {"mine.txt": "mine", "d/mine.txt": "too"}


def test_download_goes_to_a_folder_named_after_the_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert scenario.logged("data", ONE).download() == os.path.join("artifacts", "data-v0")
    assert scenario.read_tree(tmp_path / "artifacts/data-v0") == ONE


def test_second_download_writes_nothing(tmp_path: Path) -> None:
    version = version_of(scenario.logged("data", ONE))
    assert version.download(tmp_path / "out") == 3
    assert version.download(tmp_path / "out") == 0


def test_download_repairs_what_was_changed_or_removed(tmp_path: Path) -> None:
    artifact = scenario.logged("data", ONE)
    artifact.download(tmp_path / "out")
    (tmp_path / "out/a.txt").write_text("spoil")
    os.unlink(tmp_path / "out/d/b.txt")
    assert version_of(artifact).download(tmp_path / "out") == 2
    assert scenario.read_tree(tmp_path / "out") == ONE


def test_edit_of_the_same_length_with_the_old_time_is_repaired(tmp_path: Path) -> None:
    artifact = scenario.logged("data", ONE)
    artifact.download(tmp_path / "out")
    path = tmp_path / "out/a.txt"
    before = path.stat()
    path.write_text("ALPHA")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert downloaded(artifact, tmp_path / "out") == ONE


@pytest.mark.parametrize(
    "prefix, expected",
    [
        ("d", ["d/b.txt", "d/e/c.txt"]),
        ("d/", ["d/b.txt", "d/e/c.txt"]),
        ("d/e", ["d/e/c.txt"]),
        ("a.txt", ["a.txt"]),
        ("", ["a.txt", "d/b.txt", "d/e/c.txt"]),
    ],
)
def test_only_what_lies_below_the_prefix_is_fetched(tmp_path: Path, prefix: str, expected: list[str]) -> None:
    assert sorted(downloaded(scenario.logged("data", ONE), tmp_path / "out", prefix)) == expected


def test_prefix_that_is_not_there_is_refused_with_what_is_near(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="'d/ee' is not in the artifact"):
        scenario.logged("data", ONE).download(tmp_path / "out", path_prefix="d/ee")
    assert not (tmp_path / "out").exists()


def test_links_and_empty_folders_come_back_as_they_were(tmp_path: Path) -> None:
    tree = scenario.write_tree(tmp_path / "tree", {"v1/f": "1"})
    (tree / "empty/inner").mkdir(parents=True)
    (tree / "current").symlink_to("v1")
    (tree / "v1/dangling").symlink_to("nothing")
    (tree / ("n" * 255)).symlink_to("v1/f")  # as long as a name can be
    artifact = lineart.Artifact("data", "dataset")
    artifact.add_dir(tree)
    artifact.save()
    expected = {
        "v1/f": "1",
        "empty/inner": "<folder>",
        "current": "-> v1",
        "v1/dangling": "-> nothing",
        "n" * 255: "-> v1/f",
    }
    assert downloaded(artifact, tmp_path / "out") == expected
    (tmp_path / "out/current").unlink()
    (tmp_path / "out/current").symlink_to("elsewhere")
    assert downloaded(artifact, tmp_path / "out") == expected
    assert artifact.file_count == 1


def test_large_file_comes_back_as_it_was(tmp_path: Path) -> None:
    data = scenario.noise(5 * MIB)
    scenario.write_tree(tmp_path / "tree", {"big": data, "twin": data})
    artifact = lineart.Artifact("data", "dataset")
    artifact.add_dir(tmp_path / "tree")
    artifact.save()
    assert 5 * MIB <= artifact.stored_bytes < 6 * MIB  # once, though it is there twice
    artifact.download(tmp_path / "out")
    assert (tmp_path / "out/big").read_bytes() == (tmp_path / "out/twin").read_bytes() == data


@pytest.mark.parametrize("where", ["d", "d/e"])
def test_link_in_the_place_of_a_folder_does_not_lead_files_outside(tmp_path: Path, where: str) -> None:
    artifact = scenario.logged("data", ONE)
    (tmp_path / "outside").mkdir()
    (tmp_path / "out" / where).parent.mkdir(parents=True)
    (tmp_path / "out" / where).symlink_to(tmp_path / "outside")
    with pytest.raises(StoreError, match=f"'{where}' is a symbolic link there and not a folder"):
        artifact.download(tmp_path / "out")
    assert not list((tmp_path / "outside").iterdir())


def test_link_of_an_older_version_does_not_lead_a_newer_one_astray(tmp_path: Path) -> None:
    tree = scenario.write_tree(tmp_path / "tree", {"d/x": "in d"})
    (tree / "l").symlink_to("d")
    old = lineart.Artifact("data", "dataset")
    old.add_dir(tree)
    old.save()
    new = scenario.logged("data", {"d/x": "in d", "l/x": "in l"})
    old.download(tmp_path / "out")
    with pytest.raises(StoreError, match="'l' is a symbolic link"):
        new.download(tmp_path / "out")
    assert (tmp_path / "out/d/x").read_text() == "in d"
    new.checkout(tmp_path / "out")
    assert scenario.read_tree(tmp_path / "out") == {"d/x": "in d", "l/x": "in l"}


def test_download_to_a_link_to_a_folder_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    assert downloaded(scenario.logged("data", ONE), tmp_path / "out") == ONE


@pytest.mark.parametrize("fault", ["file for a folder", "folder for a file", "root is a file"])
def test_what_stands_in_the_way_is_named(tmp_path: Path, fault: str) -> None:
    artifact = scenario.logged("data", ONE)
    out = tmp_path / "out"
    if fault == "file for a folder":
        scenario.write_tree(out, {"d": "a file"})
    elif fault == "folder for a file":
        scenario.write_tree(out, {"a.txt/x": "a folder"})
    else:
        out.write_text("a file")
    with pytest.raises(StoreError, match="out") as caught:
        artifact.download(out)
    assert "\n" not in str(caught.value)


@pytest.mark.on_disk
def test_damaged_store_gives_an_error_and_no_file(tmp_path: Path) -> None:
    artifact = scenario.logged("data", {"f": scenario.noise(1000).hex()})
    for pack in (tmp_path / "store/packs").rglob("*.pack"):
        data = bytearray(pack.read_bytes())
        if len(data) > 1000:
            data[400] ^= 1
            pack.chmod(0o600)
            pack.write_bytes(data)
    with pytest.raises(IntegrityError):
        artifact.download(tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
    found = list(version_of(artifact).verify_stored())
    assert [type(error) for error in found] == [IntegrityError]
    assert "data:v0" in str(found[0])


def test_whole_store_verifies(tmp_path: Path) -> None:
    artifact = scenario.logged("data", ONE | {"big": scenario.noise(3 * MIB).hex()})
    assert list(version_of(artifact).verify_stored()) == []


def test_leftovers_of_a_killed_download_are_removed_after_a_day(tmp_path: Path) -> None:
    old, new = (tmp_path / "out" / f"{TEMPORARY_PREFIX}{name}" for name in ("old", "new"))
    for folder in (old, new):
        scenario.write_tree(folder, {"0": "half"})
    os.utime(old, (0, 0))
    scenario.logged("data", ONE).download(tmp_path / "out")
    assert not old.exists()
    assert new.exists()  # it may belong to a download that is under way


def test_names_that_differ_in_case_can_be_refused_when_logging() -> None:
    artifact = scenario.draft("data", {"README": "1", "readme": "2"})
    artifact.portable = True
    with pytest.raises(InvalidPathError, match="'README' and 'readme'"):
        artifact.save()
    artifact.portable = False
    artifact.save()
    assert artifact.file_count == 2


# Verifying


@pytest.mark.parametrize(
    "fault, error, message",
    [
        ("changed", IntegrityError, "a.txt' differs from data:v0"),
        ("same length", IntegrityError, "a.txt' differs from data:v0"),
        ("missing", NotFoundError, "a.txt' of data:v0 is missing"),
        ("folder", IntegrityError, "a.txt' differs"),
        ("link to the same", IntegrityError, "a.txt' differs"),
    ],
)
def test_verify_names_the_file_that_is_not_right(
    tmp_path: Path, fault: str, error: type[lineart.Error], message: str
) -> None:
    artifact = scenario.logged("data", ONE)
    artifact.download(tmp_path / "out")
    artifact.verify(tmp_path / "out")
    path = tmp_path / "out/a.txt"
    kept = shutil.copy(path, tmp_path / "copy")
    path.unlink()
    if fault in ("changed", "same length"):
        path.write_text("ALPHA" if fault == "same length" else "longer than it was")
    elif fault == "folder":
        path.mkdir()
    elif fault == "link to the same":
        path.symlink_to(kept)
    with pytest.raises(error, match=message):
        artifact.verify(tmp_path / "out")
    assert len(list(version_of(artifact).verify_files(tmp_path / "out"))) == 1


# Reading without downloading


def test_open_reads_any_part(tmp_path: Path) -> None:
    data = scenario.noise(5 * MIB)
    scenario.write_tree(tmp_path / "t", {"big": data})
    artifact = lineart.Artifact("data", "dataset")
    artifact.add_dir(tmp_path / "t")
    artifact.save()
    with artifact.open("big") as stream:
        for start in (0, 4 * MIB - 3, 17, 5 * MIB - 2, 5 * MIB):
            stream.seek(start)
            assert stream.read(5) == data[start : start + 5]
        assert stream.seek(-4, io.SEEK_END) == 5 * MIB - 4
        assert stream.read() == data[-4:]


def test_open_as_text_decodes_and_iterates() -> None:
    artifact = scenario.logged("data", {"f": "eins\nzwölf\n"})
    with artifact.open("f", "r") as stream:
        assert list(stream) == ["eins\n", "zwölf\n"]


@pytest.mark.parametrize("path", ["d", "d/", "nothing", "", "\ud800", "/a.txt", "a.txt/x"])
def test_open_of_what_is_no_file_is_refused(path: str) -> None:
    with pytest.raises(NotFoundError, match=r"is not in data:v0"):
        scenario.logged("data", ONE).open(path)


def test_open_of_a_link_or_folder_is_refused_with_its_kind(tmp_path: Path) -> None:
    tree = scenario.write_tree(tmp_path / "t", {"f": "1"})
    (tree / "l").symlink_to("f")
    (tree / "d").mkdir()
    artifact = lineart.Artifact("data", "dataset")
    artifact.add_dir(tree)
    artifact.save()
    for path, kind in (("l", "symlink"), ("d", "directory")):
        with pytest.raises(UsageError, match=f"is a {kind}; only files can be opened"):
            artifact.open(path)


def test_reference_is_opened_where_it_is_and_refused_when_it_changed(tmp_path: Path) -> None:
    outside = tmp_path / "outside.csv"
    outside.write_text("a,b")
    artifact = lineart.Artifact("data", "dataset")
    artifact.add_reference(f"file://{outside}", "r")
    artifact.save()
    with artifact.open("r") as stream:
        assert (stream.read(1), stream.seek(2), stream.read()) == (b"a", 2, b"b")
    outside.write_text("longer than it was")
    with pytest.raises(ReferenceChangedError, match="size was 3, is 18"):
        artifact.open("r")


def test_file_gives_a_path_that_can_be_read(tmp_path: Path) -> None:
    artifact = scenario.logged("data", ONE)
    with artifact.file("d/b.txt", root=tmp_path / "out") as path:
        assert Path(path).read_text() == "beta"
    assert scenario.read_tree(tmp_path / "out") == {"d/b.txt": "beta"}  # and nothing else was fetched


def test_file_without_a_name_wants_exactly_one(tmp_path: Path) -> None:
    with scenario.logged("one", {"f": "1"}).file(root=tmp_path) as path:
        assert Path(path).read_text() == "1"
    with (
        pytest.raises(UsageError, match="one:v1 has 3 files; name one"),
        scenario.logged("one", ONE).file(root=tmp_path),
    ):
        pytest.fail("it was given")


# What a version starts from


def test_new_draft_stores_only_what_changed(tmp_path: Path) -> None:
    big = scenario.noise(3 * MIB).hex()
    one = scenario.logged("data", {"big": big, "a": "1", "gone": "x"})
    draft = one.new_draft()
    draft.remove("gone")
    with draft.new_file("a", "w") as stream:
        stream.write("2")
    draft.save()
    assert draft.stored_bytes < 1000
    assert draft.version == "v1"
    assert downloaded(draft, tmp_path / "out") == {"big": big, "a": "2"}
    assert one.files() == ["a", "big", "gone"]  # an older version never changes


def test_new_draft_unchanged_makes_no_version() -> None:
    one = scenario.logged("data", ONE)
    draft = one.new_draft()
    draft.save()
    assert (draft.version, draft.digest) == ("v0", one.digest)


def test_new_draft_in_another_process_needs_no_bytes_of_the_old(tmp_path: Path) -> None:
    scenario.logged("data", {"big": scenario.noise(MIB).hex()})
    shutil.rmtree(tmp_path / "home", ignore_errors=True)  # caches
    draft = lineart.Api().artifact("data:latest").new_draft()
    with draft.new_file("small") as stream:
        stream.write("s")
    draft.save()
    assert draft.stored_bytes < 2000
    assert draft.files() == ["big", "small"]


def test_incremental_artifact_starts_from_the_newest_version(tmp_path: Path) -> None:
    scenario.logged("data", ONE)
    more = scenario.logged("data", {"a.txt": "alpha 2", "z.txt": "omega"}, incremental=True)
    assert more.version == "v1"
    assert downloaded(more, tmp_path / "out") == ONE | {"a.txt": "alpha 2", "z.txt": "omega"}


def test_incremental_artifact_without_a_version_before_is_the_first(tmp_path: Path) -> None:
    first = scenario.logged("data", ONE, incremental=True)
    assert downloaded(first, tmp_path / "out") == ONE


def test_renamed_file_stores_no_bytes(tmp_path: Path) -> None:
    text = scenario.noise(MIB).hex()
    scenario.logged("data", {"old": text})
    assert scenario.logged("data", {"new": text}).stored_bytes < 1000
