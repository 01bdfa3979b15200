"""Putting an artifact together from real files, folders, links and things that are neither."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lineart
import scenario
from lineart.artifacts import Draft, Entry, LocalFile
from lineart.artifacts.draft import Patterns, local_file, walk
from lineart.storage.errors import InvalidPathError, NotFoundError, SourceChangedError, UsageError

TREE = {"a.txt": "a", "b.csv": "b", "train/0.png": "0", "train/1.png": "1", "train/deep/2.txt": "2"}


def walked(
    folder: Path, prefix: str = "", include: Patterns = None, exclude: Patterns = None
) -> dict[str, str]:
    """Path → what: the file's text, ``<folder>``, or ``-> target``."""
    found = {}
    for path, item in walk(folder, prefix=prefix, include=include, exclude=exclude):
        if isinstance(item, LocalFile):
            found[path] = Path(item.source).read_text()
        else:
            found[path] = "<folder>" if item.kind == "directory" else f"-> {item.target}"
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return scenario.write_tree(tmp_path / "tree", TREE)


# Walking a folder


def test_every_file_comes_once_with_its_path(tree: Path) -> None:
    assert walked(tree) == TREE


@pytest.mark.parametrize("prefix", ["data", "data/", "data/raw"])
def test_prefix_comes_before_each_path(tree: Path, prefix: str) -> None:
    assert set(walked(tree, prefix)) == {f"{prefix.rstrip('/')}/{path}" for path in TREE}


@pytest.mark.parametrize("prefix", ["../x", "/abs", "a//b", "C:"])
def test_prefix_that_leaves_the_artifact_is_refused(tree: Path, prefix: str) -> None:
    with pytest.raises(InvalidPathError):
        walked(tree, prefix)


@pytest.mark.parametrize(
    "include, exclude, expected",
    [
        ("*.txt", None, ["a.txt", "train/deep/2.txt"]),
        (["*.csv", "*.png"], None, ["b.csv", "train/0.png", "train/1.png"]),
        ("train/*", None, ["train/0.png", "train/1.png", "train/deep/2.txt"]),
        (None, "train", ["a.txt", "b.csv"]),
        (None, ["*.png", "deep"], ["a.txt", "b.csv", "train"]),
        (None, "train/deep", ["a.txt", "b.csv", "train/0.png", "train/1.png"]),
        ("*.txt", "a.*", ["train/deep/2.txt"]),
        ("*.TXT", None, []),
        ("nothing", None, []),
        (None, "*", []),
        ("?.txt", "[ab].txt", ["train/deep/2.txt"]),
    ],
)
def test_patterns_choose_by_path_or_name(
    tree: Path, include: Patterns, exclude: Patterns, expected: list[str]
) -> None:
    assert sorted(walked(tree, include=include, exclude=exclude)) == expected


def test_excluded_folder_is_not_entered(tree: Path) -> None:
    os.symlink("/etc", tree / "train" / "outside")  # would be refused
    assert "a.txt" in walked(tree, exclude="train")


def test_empty_folder_is_kept_and_one_with_files_is_no_entry(tree: Path) -> None:
    (tree / "logs/today").mkdir(parents=True)
    found = walked(tree)
    assert found.pop("logs/today") == "<folder>"
    assert found == TREE


def test_empty_root_is_an_empty_artifact(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    assert walked(tmp_path / "tree") == {}


@pytest.mark.parametrize("place", ["missing", "file", "broken link"])
def test_folder_that_is_none_is_not_found(tmp_path: Path, place: str) -> None:
    target = tmp_path / "x"
    if place == "file":
        target.write_text("")
    if place == "broken link":
        target.symlink_to("nowhere")
    with pytest.raises(NotFoundError, match=r"is not there|is not a folder"):
        walked(target)


def test_link_to_the_folder_itself_is_followed(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(tree)
    assert walked(tmp_path / "alias") == TREE


# Links


def test_link_that_stays_inside_is_kept_as_a_link(tree: Path) -> None:
    (tree / "train/first").symlink_to("0.png")
    (tree / "up").symlink_to("train/../a.txt")
    (tree / "folder").symlink_to("train")
    (tree / "dangling").symlink_to("not/yet")
    found = walked(tree)
    assert found["train/first"] == "-> 0.png"
    assert found["up"] == "-> train/../a.txt"
    assert found["folder"] == "-> train"
    assert found["dangling"] == "-> not/yet"
    assert len(found) == len(TREE) + 4  # nothing was found twice through the link


@pytest.mark.parametrize("target", ["../outside.txt", "{absolute}"])
def test_link_to_a_file_outside_is_read(tree: Path, tmp_path: Path, target: str) -> None:
    (tmp_path / "outside.txt").write_text("outside")
    (tree / "link").symlink_to(target.format(absolute=tmp_path / "outside.txt"))
    assert walked(tree)["link"] == "outside"


def test_link_to_a_folder_outside_is_refused(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tree / "link").symlink_to(tmp_path / "far")
    with pytest.raises(UsageError, match="a folder; use add_dir"):
        walked(tree)


def test_dangling_link_outside_is_not_found(tree: Path) -> None:
    (tree / "link").symlink_to("../nowhere")
    with pytest.raises(NotFoundError, match="link"):
        walked(tree)


def test_endless_link_is_refused_when_it_leads_outside(tree: Path) -> None:
    (tree / "loop").symlink_to(tree / "loop")
    with pytest.raises(UsageError, match="loop"):
        walked(tree)


# What is no file


@pytest.mark.parametrize("kind", ["socket", "pipe", "link to a pipe"])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        if kind == "socket":
            listener.bind(os.path.relpath(folder / "s"))
        else:
            os.mkfifo(folder / "s" if kind == "pipe" else tmp_path / "p")
        if kind == "link to a pipe":
            (folder / "s").symlink_to(tmp_path / "p")
        with pytest.raises(UsageError, match=r"not a regular file \([sp]"):
            walked(folder)
        with pytest.raises(UsageError, match="not a regular file"):
            local_file(folder / "s")


@pytest.mark.parametrize("name", [b"bad\xff", b"back\\slash"])
def test_name_that_cannot_be_kept_is_refused(tmp_path: Path, name: bytes) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_text("")
    with pytest.raises(InvalidPathError, match=r"UTF-8|backslash"):
        lineart.Artifact("data", "dataset").add_dir(tmp_path)


@pytest.mark.parametrize("name", ["new\nline", 'quo"te', "🦆", " ", "-rf", "x" * 255])
def test_odd_name_is_kept(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("odd")
    assert walked(tmp_path) == {name: "odd"}


def test_folder_given_as_a_file_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder; use add_dir"):
        local_file(tmp_path)


def test_deep_folder_is_walked_without_recursion(tmp_path: Path) -> None:
    depth = 1500  # more than Python's own limit of calls
    top = tmp_path / "top"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    try:
        assert list(walked(top)) == ["/".join(["d"] * depth)]
    finally:
        subprocess.run(["rm", "-rf", str(top)], check=True)  # Python 3.11's own removal is recursive


# The draft itself


@given(
    st.lists(
        st.tuples(
            st.sampled_from("pr"), st.lists(st.sampled_from("ab"), min_size=1, max_size=3).map("/".join)
        )
    )
)
def test_draft_is_a_dictionary_of_paths(steps: list[tuple[str, str]]) -> None:
    draft, expected = Draft(), set[str]()
    for step, path in steps:
        if step == "p":
            draft.put(path, Entry(path, "directory"))
            expected.add(path)
            continue
        gone = {path} & expected or {p for p in expected if p.startswith(f"{path}/")}
        if gone:
            assert draft.remove(path) == len(gone)
        else:
            with pytest.raises(NotFoundError):
                draft.remove(path)
        expected -= gone
    assert {path for path, _ in draft.items()} == expected
    assert len(draft) == len(expected)


def test_same_path_with_other_bytes_is_refused_naming_both_digests(tmp_path: Path) -> None:
    scenario.write_tree(tmp_path, {"one/f": "one", "two/f": "two"})
    artifact = lineart.Artifact("data", "dataset")
    artifact.add_file(tmp_path / "one/f")
    with pytest.raises(UsageError) as caught:
        artifact.add_file(tmp_path / "two/f")
    for text in ("one", "two"):
        assert blake3(text.encode()).hexdigest()[:16] in str(caught.value)
    with pytest.raises(UsageError, match="overwrite=True"):
        artifact.add_dir(tmp_path / "two")
    artifact.add_file(tmp_path / "two/f", overwrite=True)
    artifact.save()
    assert artifact.open("f").read() == b"two"


def test_same_path_with_the_same_bytes_is_no_conflict(tmp_path: Path) -> None:
    scenario.write_tree(tmp_path, {"one/f": "same", "two/f": "same"})
    artifact = lineart.Artifact("data", "dataset")
    artifact.add_dir(tmp_path / "one")
    artifact.add_dir(tmp_path / "two")
    assert artifact.files() == ["f"]


def test_file_that_went_away_before_another_came_is_named(tmp_path: Path) -> None:
    scenario.write_tree(tmp_path, {"one/f": "1", "two/f": "2"})
    artifact = lineart.Artifact("data", "dataset")
    artifact.add_file(tmp_path / "one/f")
    (tmp_path / "one/f").unlink()
    with pytest.raises(NotFoundError, match=r"one/f.* must stay in place"):
        artifact.add_file(tmp_path / "two/f")


def test_file_that_went_away_before_logging_is_named_and_nothing_is_logged(tmp_path: Path) -> None:
    scenario.write_tree(tmp_path, {"f": "1"})
    artifact = lineart.Artifact("data", "dataset")
    artifact.add_file(tmp_path / "f")
    (tmp_path / "f").unlink()
    with pytest.raises((NotFoundError, SourceChangedError), match="/f"):
        artifact.save()
    assert artifact.state == "draft"
    assert not lineart.Api().artifact_exists("data")


def test_two_paths_that_cannot_stand_together_are_refused_before_a_byte_is_read(tmp_path: Path) -> None:
    scenario.write_tree(tmp_path, {"f": "1"})
    artifact = lineart.Artifact("data", "dataset")
    artifact.add_file(tmp_path / "f", "a")
    artifact.add_file(tmp_path / "f", "a/b")
    (tmp_path / "f").unlink()  # reading it would be another error
    with pytest.raises(InvalidPathError, match="'a' and 'a/b'"):
        artifact.save()


def test_executable_bit_is_kept_and_other_modes_are_not(tmp_path: Path) -> None:
    scenario.write_tree(tmp_path / "t", {"run.sh": "#!", "plain": "p"})
    (tmp_path / "t/run.sh").chmod(0o744)
    (tmp_path / "t/plain").chmod(0o600)
    artifact = lineart.Artifact("data", "dataset")
    artifact.add_dir(tmp_path / "t")
    artifact.save()
    folder = Path(artifact.download(tmp_path / "out"))
    modes = {name: stat.S_IMODE((folder / name).stat().st_mode) for name in ("run.sh", "plain")}
    umask = os.umask(0)
    os.umask(umask)
    assert modes == {"run.sh": 0o777 & ~umask, "plain": 0o666 & ~umask}


# Removing


def test_folder_is_removed_with_all_below_and_nothing_beside() -> None:
    artifact = scenario.draft("data", {"a/1": "", "a/b/2": "", "ab": "", "a.b": ""})
    artifact.remove("a/")
    assert artifact.files() == ["a.b", "ab"]
    with pytest.raises(NotFoundError, match="'a/b'"):
        artifact.remove("a/b")


def test_files_of_a_draft_can_be_asked_by_folder() -> None:
    artifact = scenario.draft("data", {"a/1": "", "ab": "", "a/b/2": ""})
    assert artifact.files("a") == ["a/1", "a/b/2"]
    assert artifact.files("ab") == ["ab"]


@given(
    st.dictionaries(st.sampled_from(["a", "b", "c/d", "c/e/f", "ü\n"]), st.binary(max_size=20), min_size=1)
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_tree_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    folder = scenario.write_tree(tmp_path_factory.mktemp("tree"), files)
    artifact = lineart.Artifact("data", "dataset")
    artifact.add_dir(folder)
    artifact.save()
    out = Path(artifact.download(tmp_path_factory.mktemp("out")))
    assert {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()} == files
