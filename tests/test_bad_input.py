"""Wrong calls and files: one line that says what, which and what else was expected, and a store as it was before."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import builders
from lineart.storage.errors import (
    ArtifactFinalizedError,
    ArtifactNotLoggedError,
    Error,
    InvalidNameError,
    InvalidPathError,
    NotFoundError,
    SourceChangedError,
    UsageError,
)
from lineart.tracking import Api, Artifact, Run, init

PROJECT = "team/digits"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The folder of a store with ``data:v0`` (latest, best), which has the file ``a``."""
    with init(project=PROJECT) as run:
        run.log_artifact(artifact_of({"a": b"first"}), aliases=["best"])
    return tmp_path / "store"


@pytest.fixture
def run(store: Path) -> Iterator[Run]:
    current = init(project=PROJECT)
    yield current
    current.finish()


def artifact_of(files: dict[str, bytes], name: str = "data", type: str = "dataset") -> Artifact:
    artifact = Artifact(name, type)
    for path, content in files.items():
        with artifact.new_file(path, "xb") as file:
            file.write(content)
    return artifact


def logs(store: Path) -> dict[str, bytes]:
    """What is true in a store: its settings and its logs. Packs that nothing refers to are no part of it."""
    files = [store / "lineart.json", *(store / "projects").rglob("*")]
    return {str(path.relative_to(store)): path.read_bytes() for path in files if path.is_file()}


@contextlib.contextmanager
def refused(store: Path, kind: type[Error], *parts: str) -> Iterator[None]:
    """What stands inside raises a `kind` whose line has all of `parts`, and the store stays as it was."""
    before = logs(store)
    with pytest.raises(kind) as caught:
        yield
    builders.one_line(caught.value, *parts)
    assert logs(store) == before
    assert Api().artifact(f"{PROJECT}/data:latest").version == "v0"
    assert Api().artifact_collections(project=PROJECT) == ["data"]


# Files


def test_missing_file_is_logged(run: Run, store: Path, tmp_path: Path) -> None:
    path = tmp_path / "nowhere"
    with refused(store, NotFoundError, repr(str(path))):
        Artifact("data", "dataset").add_file(path)
    with refused(store, NotFoundError, repr(str(path))):
        Artifact("data", "dataset").add_dir(path)
    with refused(store, NotFoundError, repr(str(path))):
        run.log_artifact(path, name="data", type="dataset")


@pytest.mark.parametrize("size", [10, 5_000_000])
def test_file_that_vanished_since_it_was_added_is_logged(
    run: Run, store: Path, tmp_path: Path, size: int
) -> None:
    artifact = artifact_of({"b": b"other"})
    artifact.add_file(builders.write_old(tmp_path / "gone", builders.noise(size)))
    (tmp_path / "gone").unlink()
    with refused(store, NotFoundError, repr(str(tmp_path / "gone"))):
        run.log_artifact(artifact)


@pytest.mark.parametrize("size, call", [(1000, "read"), (5_000_000, "readv")])
def test_file_that_never_rests_is_logged(
    run: Run, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, call: str
) -> None:
    """Each time that it is read, it grows; `test_snapshot_changes.py` has real writers."""
    path = builders.write_old(tmp_path / "busy", builders.noise(size))
    real = getattr(os, call)

    def read_and_grow(descriptor: int, *args: Any) -> Any:
        with path.open("ab") as file:
            file.write(b"more")
        return real(descriptor, *args)

    with monkeypatch.context() as patch, refused(store, SourceChangedError, repr(str(path))):
        patch.setattr(os, call, read_and_grow)
        run.log_artifact(path, name="data", type="dataset")
    artifact = run.log_artifact(path, name="data", type="dataset")
    with artifact.open("busy") as file:
        assert file.read() == path.read_bytes()


def log_forbidden(folder: str) -> list[str]:
    root = Path(folder)
    os.environ.update(builders.environment(root))
    messages = []
    with init(project=PROJECT) as run:
        run.log_artifact(artifact_of({"a": b"first"}))
        builders.become_nobody()
        before = logs(root / "store")
        for name in ("closed", "in/closed", "in"):
            try:
                run.log_artifact(root / name, name="data", type="dataset")
            except UsageError as error:
                messages.append(builders.one_line(error, "closed", "Permission denied"))
        if logs(root / "store") != before:
            messages.append("the log has changed")
        if os.geteuid():
            os.seteuid(0)  # else the run's end is refused, too
    return messages


@builders.as_root
def test_folder_without_permission_is_logged_in_part() -> None:
    with builders.public_folder() as folder:
        builders.write_old(folder / "in" / "closed" / "file", b"secret")
        builders.write_old(folder / "in" / "open", b"public")
        (folder / "in" / "closed").chmod(0)
        builders.write_old(folder / "closed", b"secret").chmod(0)
        assert len(builders.in_child(log_forbidden, str(folder))) == 3


def test_folder_named_as_a_file_is_logged(run: Run, store: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with refused(store, UsageError, repr(str(tmp_path / "folder")), "folder"):
        Artifact("data", "dataset").add_file(tmp_path / "folder")
    with refused(store, NotFoundError, "not a folder"):
        Artifact("data", "dataset").add_dir(builders.write_old(tmp_path / "file", b""))


def test_pipe_hangs_the_log(run: Run, store: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    os.mkfifo(tmp_path / "in" / "pipe")
    with refused(store, UsageError, repr(str(tmp_path / "in" / "pipe")), "regular file"):
        Artifact("data", "dataset").add_file(tmp_path / "in" / "pipe")
    with refused(store, UsageError, repr(str(tmp_path / "in" / "pipe")), "regular file"):
        run.log_artifact(tmp_path / "in", name="data", type="dataset")
    artifact = Artifact("data", "dataset")
    artifact.add_file(builders.write_old(tmp_path / "in" / "file", b"x"))
    (tmp_path / "in" / "file").unlink()
    os.mkfifo(tmp_path / "in" / "file")  # in its place, since it was added
    with refused(store, UsageError, repr(str(tmp_path / "in" / "file")), "regular file"):
        run.log_artifact(artifact)


# Paths


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "..",
        ".",
        "/abs",
        "a/../b",
        "a/./b",
        "a//b",
        "a/",
        "C:x",
        "a\\b",
        "a\0b",
        "x" * 256,
        "ü" * 128,
        "a/" * 2100 + "a",
        "\udcff",
        "a\n/../b",
    ],
)
def test_path_that_leads_elsewhere_is_taken(run: Run, store: Path, tmp_path: Path, name: str) -> None:
    path = builders.write_old(tmp_path / "file", b"x")
    with refused(store, InvalidPathError, "path"):
        Artifact("data", "dataset").add_file(path, name=name)
    with refused(store, InvalidPathError, "path"), Artifact("data", "dataset").new_file(name):
        raise AssertionError("a file for a path that is refused")
    if name.rstrip("/") == name:  # a folder may be given with its slash
        with refused(store, InvalidPathError, "path"):
            Artifact("data", "dataset").add_dir(path.parent, name=name, include="file")


def test_paths_that_differ_in_case_are_refused_unasked(run: Run, store: Path) -> None:
    portable = artifact_of({"Readme": b"1", "README": b"2"})
    portable.portable = True
    with refused(store, InvalidPathError, "'README'", "'Readme'", "case"):
        run.log_artifact(portable)
    artifact = run.log_artifact(artifact_of({"Readme": b"1", "README": b"2"}))
    assert artifact.files() == ["README", "Readme"]


def test_normalisation_twins_are_logged(run: Run, store: Path, tmp_path: Path) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    path = builders.write_old(tmp_path / "file", b"x")
    artifact = Artifact("data", "dataset")
    artifact.add_file(path, name=composed)
    artifact.add_file(path, name=decomposed)
    with refused(store, InvalidPathError, "caf\\xe9", "cafe\\u0301"):
        run.log_artifact(artifact)


def test_file_and_folder_of_one_name_are_logged(run: Run, store: Path, tmp_path: Path) -> None:
    path = builders.write_old(tmp_path / "file", b"x")
    artifact = Artifact("data", "dataset")
    artifact.add_file(path, name="a/b")
    artifact.add_file(path, name="a/b/c")
    with refused(store, InvalidPathError, "'a/b'", "'a/b/c'"):
        run.log_artifact(artifact)


def test_other_content_under_a_taken_path_is_added(store: Path, tmp_path: Path) -> None:
    artifact = artifact_of({"a": b"1"})
    with refused(store, UsageError, "'a'", "overwrite=True", "blake3:"):
        artifact.add_file(builders.write_old(tmp_path / "file", b"2"), name="a")
    with refused(store, UsageError, "'a'"), artifact.new_file("a"):
        raise AssertionError("a second file for one path")


ODD_NAMES = [
    "new\nline",
    "tab\tq\"uote'",
    "ünïcode ☃",
    " space ",
    "-dash",
    "%percent",
    "\x01\x7f",
    "a" * 255,
    "🙂/deep/f",
]


def test_odd_names_are_lost(run: Run, store: Path, tmp_path: Path) -> None:
    contents = {name: name.encode() for name in ODD_NAMES}
    for name, content in contents.items():
        builders.write_old(tmp_path / "in" / name, content)
    artifact = run.log_artifact(tmp_path / "in", name="data", type="dataset")
    assert sorted(artifact.files()) == sorted(ODD_NAMES)
    for name, content in contents.items():
        with artifact.open(name) as file:
            assert file.read() == content
    artifact.download(tmp_path / "out")
    found = builders.files_below(tmp_path / "out")
    assert {name: value for name, value in found.items() if value is not None} == contents


def test_name_that_is_not_utf8_is_logged(run: Run, store: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with open(os.fsencode(tmp_path / "in") + b"/caf\xe9", "wb") as file:
        file.write(b"x")
    with refused(store, InvalidPathError, "caf", "UTF-8"):
        run.log_artifact(tmp_path / "in", name="data", type="dataset")


@contextlib.contextmanager
def deep_folder(folder: Path, levels: int) -> Iterator[Path]:
    """A chain of folders with a file at its end, longer than any path may be; `shutil.rmtree` would recurse in it."""
    folder.mkdir()
    here = os.open(folder, os.O_RDONLY)

    def go(where: str) -> None:
        nonlocal here
        there = os.open(where, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = there

    for _ in range(levels):
        os.mkdir("d", dir_fd=here)
        go("d")
    os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=here))
    try:
        yield folder
    finally:
        os.unlink("file", dir_fd=here)
        for _ in range(levels):
            go("..")
            os.rmdir("d", dir_fd=here)
        os.close(here)


@pytest.mark.parametrize("levels", [1000, 10_000])
def test_ten_thousand_levels_end_in_a_traceback(run: Run, store: Path, tmp_path: Path, levels: int) -> None:
    with deep_folder(tmp_path / "in", levels) as folder:
        if levels * 2 < 4000:
            artifact = run.log_artifact(folder, name="data", type="dataset")
            assert artifact.files() == ["d/" * levels + "file"]
        else:
            with refused(store, UsageError, "d/d/d"):
                run.log_artifact(folder, name="data", type="dataset")


# Names


BAD_NAMES = ["", "a b", "a/b", "a:b", "ü", "a\nb", "..", ".", "x" * 129, "\udcff", 7, None, b"a"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_name_is_taken(run: Run, store: Path, name: Any) -> None:
    with refused(store, InvalidNameError, "artifact name"):
        Artifact(name, "dataset")
    with refused(store, InvalidNameError, "type"):
        Artifact("data", name)
    with refused(store, InvalidNameError, "alias"):
        run.log_artifact(artifact_of({"b": b"b"}), aliases=["good", name])
    with refused(store, InvalidNameError, "tag"):
        run.log_artifact(artifact_of({"b": b"b"}), tags=["good", name])


@pytest.mark.parametrize("alias", ["v0", "v7", "v123456"])
def test_alias_that_is_a_version_is_taken(run: Run, store: Path, alias: str) -> None:
    with refused(store, InvalidNameError, repr(alias)):
        run.log_artifact(artifact_of({"b": b"b"}), aliases=[alias])


@pytest.mark.parametrize("project", ["a b", "../x", "a/b/c", "/", "a/", "/a", "team/..", "x" * 129, "\n"])
def test_bad_project_is_made(store: Path, project: str) -> None:
    with refused(store, InvalidNameError):
        init(project=project)
    with refused(store, InvalidNameError):
        init(project="digits", entity=project)
    with refused(store, InvalidNameError):
        Api().artifact(f"{project}/data:latest" if "/" not in project else f"a/{project}/b/c/data")


def test_text_is_taken_for_a_list_of_labels(run: Run, store: Path) -> None:
    with refused(store, UsageError, "['best']"):
        run.log_artifact(artifact_of({"b": b"b"}), aliases="best")  # type: ignore[arg-type]
    with refused(store, UsageError, "['best']"):
        run.log_artifact(artifact_of({"b": b"b"}), tags="best")  # type: ignore[arg-type]


def test_type_of_a_collection_changes(run: Run, store: Path) -> None:
    with refused(store, UsageError, "'data'", "'dataset'", "'model'"):
        run.log_artifact(artifact_of({"b": b"b"}, type="model"))
    with refused(store, UsageError, "'dataset'", "'model'"):
        run.use_artifact("data:latest", type="model")


@pytest.mark.parametrize(
    "name, parts",
    [
        ("data:bets", ["'bets'", "'best'"]),
        ("data:lates", ["'lates'", "'latest'"]),
        ("data:v1", ["v1", "v0"]),
        ("dta:latest", ["'dta'", "'data'"]),
        ("team/digit/data", ["team/digit", "team/digits"]),
        ("data:zzzz", ["'zzzz'", "best", "latest"]),
    ],
)
def test_unknown_name_is_not_helped(run: Run, store: Path, name: str, parts: list[str]) -> None:
    with refused(store, NotFoundError, *parts):
        run.use_artifact(name)
    with refused(store, NotFoundError, *parts):
        Api().artifact(name if name.count("/") == 2 else f"{PROJECT}/{name}")


def test_unknown_path_is_not_helped(run: Run, store: Path, tmp_path: Path) -> None:
    artifact = run.log_artifact(artifact_of({"a": b"first"}))
    for call in (
        lambda: artifact.open("train/aa"),
        lambda: artifact.get_entry("train/aa"),
        lambda: artifact.download(tmp_path / "out", path_prefix="train"),
    ):
        with refused(store, NotFoundError, "train", "a"):
            call()


# Values


NOT_JSON: list[Any] = [
    {"a": object()},
    {"a": float("nan")},
    {"a": b"bytes"},
    {"a": {1, 2}},
    {"a": "\udcff"},
    {1: "a", "b": 2},
    {"a": Path("x")},
]


@pytest.mark.parametrize("metadata", NOT_JSON)
def test_metadata_that_is_not_json_is_logged(run: Run, store: Path, metadata: Any) -> None:
    artifact = artifact_of({"b": b"b"})
    artifact.metadata = metadata
    with refused(store, UsageError, "metadata", "'data'", "JSON"):
        run.log_artifact(artifact)


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def test_metadata_of_many_levels_ends_in_a_traceback(run: Run, store: Path) -> None:
    artifact = artifact_of({"b": b"b"})
    artifact.metadata = nested(100_000)
    with refused(store, UsageError, "metadata", "'data'"):
        run.log_artifact(artifact)


@pytest.mark.parametrize("description", [object(), 7, "\udcff", b"x"])
def test_description_that_is_no_text_is_logged(run: Run, store: Path, description: Any) -> None:
    artifact = artifact_of({"b": b"b"})
    artifact.description = description
    with refused(store, UsageError):
        run.log_artifact(artifact)


@pytest.mark.parametrize(
    "options",
    [
        {"config": {"a": object()}},
        {"notes": object()},
        {"name": "\udcff"},
        {"group": b"x"},
        {"job_type": 1j},
        {"tags": ["a b"]},
        {"id": "a/b"},
        {"config": nested(100_000)},
    ],
)
def test_run_with_values_that_are_not_json_starts(store: Path, options: dict[str, Any]) -> None:
    with refused(store, UsageError):
        init(project=PROJECT, **options)


# States


def test_draft_is_read_or_logged_artifact_is_changed(run: Run, store: Path, tmp_path: Path) -> None:
    draft = artifact_of({"a": b"first"})
    calls: list[Callable[[], object]] = [
        lambda: draft.version,
        lambda: draft.download(tmp_path / "out"),
        lambda: draft.manifest,
        lambda: run.use_artifact(draft),
    ]
    for call in calls:
        with refused(store, ArtifactNotLoggedError, "'data'"):
            call()
    run.log_artifact(draft)
    changes: list[Callable[[], object]] = [
        lambda: draft.add_file(builders.write_old(tmp_path / "file", b"")),
        lambda: draft.add_dir(tmp_path),
        lambda: draft.remove("a"),
    ]
    for call in changes:
        with refused(store, ArtifactFinalizedError, "data:v0", "new_draft"):
            call()


def test_finished_run_logs(store: Path) -> None:
    with init(project=PROJECT) as run:
        pass
    with refused(store, UsageError, "finished"):
        run.log_artifact(artifact_of({"b": b"b"}))
