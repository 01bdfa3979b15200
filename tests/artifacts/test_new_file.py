"""Files that are written straight into a draft."""

from __future__ import annotations

import os

import pytest

import lineart
import scenario
from lineart.artifacts import LocalFile
from lineart.storage.errors import InvalidPathError, UsageError


@pytest.mark.parametrize("mode, data", [("x", "text ü\n"), ("w", "text"), ("xb", b"\0\xff"), ("wb", b"")])
def test_new_file_is_added_when_it_is_closed(mode: str, data: str | bytes) -> None:
    artifact = lineart.Artifact("data", "dataset")
    with artifact.new_file("deep/f", mode) as stream:  # type: ignore[arg-type]
        stream.write(data)
        assert artifact.files() == []
    artifact.save()
    assert artifact.open("deep/f").read() == (data.encode() if isinstance(data, str) else data)


def test_new_file_keeps_the_encoding_asked_for() -> None:
    artifact = lineart.Artifact("data", "dataset")
    with artifact.new_file("f", encoding="utf-16-le") as stream:
        stream.write("ü")
    artifact.save()
    assert artifact.open("f").read() == "ü".encode("utf-16-le")
    assert artifact.open("f", "r", encoding="utf-16-le").read() == "ü"


def test_new_file_under_a_taken_name_is_refused_unless_it_replaces() -> None:
    artifact = scenario.draft("data", {"f": "one"})
    with pytest.raises(UsageError, match="open it with mode 'w'"), artifact.new_file("f"):
        pytest.fail("it was opened")
    with artifact.new_file("f", "w") as stream:
        stream.write("two")
    artifact.save()
    assert artifact.open("f").read() == b"two"


def test_new_file_that_fails_half_way_leaves_what_was_there() -> None:
    artifact = scenario.draft("data", {"f": "one"})

    def fail() -> None:
        with artifact.new_file("f", "w") as stream:
            stream.write("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    artifact.save()
    assert artifact.open("f").read() == b"one"


def test_new_file_that_fails_is_not_added() -> None:
    artifact = lineart.Artifact("data", "dataset")
    with pytest.raises(KeyError), artifact.new_file("f"):
        raise KeyError
    assert artifact.files() == []


def test_new_file_may_stand_where_a_folder_stood() -> None:
    artifact = scenario.draft("data", {"a": "1"})
    artifact.remove("a")
    with artifact.new_file("a/b") as stream:
        stream.write("2")
    assert artifact.files() == ["a/b"]


@pytest.mark.parametrize("name", ["../f", "/f", "a//f", ""])
def test_new_file_outside_is_refused(name: str) -> None:
    with pytest.raises(InvalidPathError), lineart.Artifact("data", "dataset").new_file(name):
        pytest.fail("it was opened")


def test_abandoned_draft_leaves_no_files() -> None:
    artifact = scenario.draft("data", {"f": "1"})
    item = artifact.draft.get("f")
    assert isinstance(item, LocalFile)
    assert os.path.exists(item.source)
    del artifact
    assert not os.path.exists(os.path.dirname(item.source))
