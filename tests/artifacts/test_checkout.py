"""A checkout is exactly the version, and loses nothing that is nowhere else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import lineart
import scenario
from lineart.storage.errors import UsageError

ONE = {"a.txt": "alpha", "d/b.txt": "beta", "d/e/c.txt": "gamma"}


def test_checkout_removes_what_is_in_another_version(tmp_path: Path) -> None:
    one = scenario.logged("data", ONE)
    two = scenario.logged("data", {"a.txt": "alpha 2", "new/f": "new"})
    one.checkout(tmp_path / "out")
    two.checkout(tmp_path / "out")
    assert scenario.read_tree(tmp_path / "out") == {"a.txt": "alpha 2", "new/f": "new"}
    one.checkout(tmp_path / "out")
    assert scenario.read_tree(tmp_path / "out") == ONE


def test_checkout_refuses_to_lose_a_file_that_no_version_has(tmp_path: Path) -> None:
    one = scenario.logged("data", ONE)
    two = scenario.logged("data", {"a.txt": "alpha 2"})
    one.checkout(tmp_path / "out")
    (tmp_path / "out/d/notes.txt").write_text("only here")
    with pytest.raises(UsageError, match=r"d/notes.txt' is in no version of the store and would be lost"):
        two.checkout(tmp_path / "out")
    assert scenario.read_tree(tmp_path / "out") == ONE | {"d/notes.txt": "only here"}


def test_checkout_refuses_to_lose_an_edited_file_of_another_version(tmp_path: Path) -> None:
    one = scenario.logged("data", ONE)
    two = scenario.logged("data", {"x": "x"})
    one.checkout(tmp_path / "out")
    (tmp_path / "out/a.txt").write_text("edited")
    with pytest.raises(UsageError, match=r"a.txt"):
        two.checkout(tmp_path / "out")
    assert (tmp_path / "out/a.txt").read_text() == "edited"


def test_checkout_on_a_machine_that_has_not_met_the_other_version_removes_its_files(tmp_path: Path) -> None:
    one = scenario.logged("data", ONE)
    scenario.logged("data", {"x": "x"})
    one.checkout(tmp_path / "out")
    shutil.rmtree(tmp_path / "home")  # with the caches: nothing is known here of where v0's files lie
    lineart.Api().artifact("data:v1").checkout(tmp_path / "out")
    assert scenario.read_tree(tmp_path / "out") == {"x": "x"}


def test_checkout_changes_a_file_into_a_folder_and_back(tmp_path: Path) -> None:
    one = scenario.logged("data", {"a": "file", "b/c/d": "deep", "e": "same"})
    two = scenario.logged("data", {"a/x/y": "deep", "b": "file", "e": "same"})
    for artifact in (one, two, one):
        artifact.checkout(tmp_path / "out")
        expected = {path: artifact.open(path).read().decode() for path in artifact.files()}
        assert scenario.read_tree(tmp_path / "out") == expected


def test_checkout_changes_a_link_into_a_folder_and_back(tmp_path: Path) -> None:
    tree = scenario.write_tree(tmp_path / "tree", {"v1/f": "1"})
    (tree / "current").symlink_to("v1")
    one = lineart.Artifact("data", "dataset")
    one.add_dir(tree)
    one.save()
    two = scenario.logged("data", {"current/f": "2"})
    one.checkout(tmp_path / "out")
    two.checkout(tmp_path / "out")
    assert scenario.read_tree(tmp_path / "out") == {"current/f": "2"}
    one.checkout(tmp_path / "out")
    assert scenario.read_tree(tmp_path / "out") == {"v1/f": "1", "current": "-> v1"}


def test_checkout_keeps_its_empty_folders_and_removes_others(tmp_path: Path) -> None:
    (tmp_path / "tree/keep/me").mkdir(parents=True)
    artifact = lineart.Artifact("data", "dataset")
    artifact.add_dir(tmp_path / "tree")
    artifact.save()
    (tmp_path / "out/gone/too").mkdir(parents=True)
    artifact.checkout(tmp_path / "out")
    assert scenario.read_tree(tmp_path / "out") == {"keep/me": "<folder>"}


def test_checkout_into_nothing_is_a_download(tmp_path: Path) -> None:
    scenario.logged("data", ONE).checkout(tmp_path / "deep/out")
    assert scenario.read_tree(tmp_path / "deep/out") == ONE
