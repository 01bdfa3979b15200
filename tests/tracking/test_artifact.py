"""The public handle: a draft before, a version after; labels, deletion, lineage."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lineart
import scenario
from lineart.storage.errors import (
    ArtifactFinalizedError,
    ArtifactNotLoggedError,
    InvalidNameError,
    NotFoundError,
    UsageError,
)

NEEDS_A_VERSION: dict[str, Callable[[lineart.Artifact], object]] = {
    "version": lambda a: a.version,
    "digest": lambda a: a.digest,
    "size": lambda a: a.size,
    "file_count": lambda a: a.file_count,
    "manifest": lambda a: a.manifest,
    "qualified_name": lambda a: a.qualified_name,
    "created_at": lambda a: a.created_at,
    "download": lambda a: a.download(),
    "checkout": lambda a: a.checkout(),
    "verify": lambda a: a.verify(),
    "open": lambda a: a.open("f"),
    "file": lambda a: a.file("f").__enter__(),
    "get_entry": lambda a: a.get_entry("f"),
    "diff": lambda a: a.diff(a),
    "new_draft": lambda a: a.new_draft(),
    "wait": lambda a: a.wait(),
    "delete": lambda a: a.delete(),
    "lineage": lambda a: a.lineage(),
    "upstream": lambda a: a.upstream(),
    "downstream": lambda a: a.downstream(),
    "logged_by": lambda a: a.logged_by(),
    "used_by": lambda a: a.used_by(),
}

NEEDS_A_DRAFT: dict[str, Callable[[lineart.Artifact, Path], object]] = {
    "add_file": lambda a, path: a.add_file(path / "f"),
    "add_dir": lambda a, path: a.add_dir(path),
    "add_reference": lambda a, path: a.add_reference("s3://b/k", checksum=False),
    "new_file": lambda a, path: a.new_file("g").__enter__(),
    "remove": lambda a, path: a.remove("f"),
    "draft": lambda a, path: a.draft,
}


def fresh(name: str = "data") -> lineart.Artifact:
    """Another handle, as another process would get it."""
    return lineart.Api().artifact(name)


# Before and after logging


@pytest.mark.parametrize("name", NEEDS_A_VERSION)
def test_draft_refuses_what_needs_a_version(name: str) -> None:
    draft = scenario.draft("data", {"f": "1"})
    with pytest.raises(ArtifactNotLoggedError, match=r"artifact 'data' is a draft; log it"):
        NEEDS_A_VERSION[name](draft)


def test_draft_says_what_it_knows() -> None:
    draft = scenario.draft("data", {"b": "1", "a": "2"}, description="d", metadata={"k": 1})
    assert (draft.name, draft.type, draft.collection, draft.state) == ("data", "dataset", "data", "draft")
    assert (draft.files(), draft.description, draft.metadata) == (["a", "b"], "d", {"k": 1})
    assert repr(draft) == "<Artifact data (draft)>"
    assert draft.aliases == draft.tags == []


@pytest.mark.parametrize("name", NEEDS_A_DRAFT)
def test_version_refuses_to_be_changed_and_names_the_way(tmp_path: Path, name: str) -> None:
    scenario.write_tree(tmp_path / "t", {"f": "1"})
    logged = scenario.logged("data", {"f": "1"})
    with pytest.raises(ArtifactFinalizedError, match=r"data:v0 is logged .* use new_draft\(\)"):
        NEEDS_A_DRAFT[name](logged, tmp_path / "t")
    assert logged.files() == ["f"]


def test_version_says_what_it_is() -> None:
    logged = scenario.logged("data", {"f": "123", "g/h": "4"}, description="d", metadata={"k": 1})
    assert (logged.name, logged.version, logged.state) == ("data:v0", "v0", "committed")
    assert logged.qualified_name == "default/uncategorized/data:v0"
    assert (logged.size, logged.file_count, logged.files("g")) == (4, 2, ["g/h"])
    assert logged.get_entry("f").size_bytes == 3
    assert repr(logged) == "<Artifact default/uncategorized/data:v0>"
    age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(logged.created_at)
    assert datetime.timedelta(0) <= age < datetime.timedelta(minutes=5)
    assert logged.wait() is logged


def test_handle_from_the_store_says_the_same() -> None:
    logged = scenario.logged("data", {"f": "1"}, description="d", metadata={"k": [1]})
    found = fresh()
    for name in ("name", "digest", "type", "description", "metadata", "aliases", "tags", "created_at"):
        assert getattr(found, name) == getattr(logged, name)


@pytest.mark.parametrize("name, type", [("", "t"), ("a/b", "t"), ("a:v1", "t"), ("a", ""), ("a", "t t")])
def test_name_or_type_that_is_none_is_refused_at_once(name: str, type: str) -> None:
    with pytest.raises(InvalidNameError):
        lineart.Artifact(name, type)


def test_logging_a_logged_one_again_is_refused() -> None:
    logged = scenario.logged("data", {"f": "1"})
    with lineart.init(project="p") as run, pytest.raises(ArtifactFinalizedError):
        run.log_artifact(logged)


@pytest.mark.parametrize("value", [object(), {1, 2}, b"x", float("nan"), float("inf")])
def test_metadata_that_is_not_json_is_refused_and_nothing_is_logged(value: object) -> None:
    draft = scenario.draft("data", {"f": "1"}, metadata={"k": {"deep": value}})
    with pytest.raises(UsageError, match="metadata of artifact 'data'"):
        draft.save()
    assert draft.state == "draft"
    assert not lineart.Api().artifact_exists("data")


# Labels


def test_save_writes_what_was_changed() -> None:
    scenario.logged("data", {"f": "1"}, description="old", metadata={"k": 1})
    handle = fresh()
    handle.description, handle.metadata["k"], handle.tags = "new", 2, ["b", "a"]
    handle.aliases.append("best")
    handle.save()
    for found in (handle, fresh("data:best")):
        assert (found.description, found.metadata, found.tags) == ("new", {"k": 2}, ["a", "b"])
        assert (found.aliases, found.version) == (["latest", "best"], "v0")


def test_save_of_nothing_changed_commits_nothing() -> None:
    handle = scenario.logged("data", {"f": "1"})
    project = scenario.workspace("default/uncategorized").project()
    project.state()
    before = project.position
    handle.save()
    project.state()
    assert project.position == before


def test_save_notices_a_change_deep_inside() -> None:
    scenario.logged("data", {"f": "1"}, metadata={"a": {"b": [1]}})
    handle = fresh()
    handle.metadata["a"]["b"].append(2)
    handle.save()
    assert fresh().metadata == {"a": {"b": [1, 2]}}


def test_change_of_one_handle_does_not_show_in_another_before_it_is_saved() -> None:
    first = scenario.logged("data", {"f": "1"}, metadata={"a": {"b": 1}})
    first.metadata["a"]["b"] = 2
    first.tags.append("x")
    again = first.new_draft()
    again.metadata["a"]["b"] = 3
    assert first.metadata["a"]["b"] == 2
    assert fresh().metadata == {"a": {"b": 1}}
    assert fresh().tags == []


def test_save_removes_an_alias_that_was_taken_out() -> None:
    handle = scenario.logged("data", {"f": "1"})
    handle.aliases = ["best", "old"]
    handle.save()
    handle.aliases = ["best"]
    handle.save()
    assert fresh().aliases == ["latest", "best"]  # 'latest' is nobody's to remove


def test_save_of_an_old_handle_takes_no_alias_back() -> None:
    draft = scenario.draft("data", {"f": "1"})
    draft.aliases = ["production"]
    draft.save()
    old = fresh("data:v0")
    newer = scenario.draft("data", {"f": "2"})
    newer.aliases = ["production"]
    newer.save()  # and with it 'latest' and 'production' have moved on
    old.description = "superseded"
    old.save()
    assert fresh("data:production").version == fresh("data:latest").version == "v1"
    assert (fresh("data:v0").description, old.aliases) == ("superseded", [])


def test_save_of_an_old_handle_keeps_what_others_have_changed() -> None:
    scenario.logged("data", {"f": "1"}, metadata={"k": 1})
    mine, theirs = fresh(), fresh()
    theirs.tags, theirs.metadata, theirs.aliases = ["theirs"], {"k": 2}, ["latest", "theirs"]
    theirs.save()
    mine.tags, mine.description = ["mine"], "mine"
    mine.save()
    found = fresh()
    assert (found.tags, found.metadata, found.description) == (["mine", "theirs"], {"k": 2}, "mine")
    assert found.aliases == ["latest", "theirs"]


def test_alias_taken_out_is_not_removed_from_another_version() -> None:
    draft = scenario.draft("data", {"f": "1"})
    draft.aliases = ["best"]
    draft.save()
    old = fresh("data:v0")
    newer = scenario.draft("data", {"f": "2"})
    newer.aliases = ["best"]
    newer.save()
    old.aliases = []
    old.save()
    assert fresh("data:best").version == "v1"


@pytest.mark.parametrize(
    "change, error",
    [
        (lambda a: setattr(a, "aliases", ["v3"]), InvalidNameError),
        (lambda a: setattr(a, "aliases", ["a b"]), InvalidNameError),
        (lambda a: setattr(a, "tags", ["a/b"]), InvalidNameError),
        (lambda a: setattr(a, "aliases", "best"), UsageError),
        (lambda a: setattr(a, "tags", "best"), UsageError),
        (lambda a: a.metadata.update(k=object()), UsageError),
        (lambda a: a.metadata.update(k=float("nan")), UsageError),
    ],
)
def test_label_that_cannot_be_is_refused_and_nothing_is_saved(
    change: Callable[[lineart.Artifact], Any], error: type[Exception]
) -> None:
    scenario.logged("data", {"f": "1"})
    handle = fresh()
    handle.description = "new"
    change(handle)
    with pytest.raises(error):
        handle.save()
    assert fresh().description == ""
    assert fresh().aliases == ["latest"]


def test_save_logs_a_draft_with_its_labels() -> None:
    draft = scenario.draft("data", {"f": "1"}, description="d")
    draft.aliases, draft.tags = ["best"], ["t"]
    draft.save()
    found = fresh("data:best")
    assert (found.description, found.tags, found.logged_by()) == ("d", ["t"], None)


# Deleting


def test_deleted_version_leaves_name_and_digest() -> None:
    first = scenario.logged("data", {"f": "1"})
    scenario.logged("data", {"f": "2"})
    digest = first.digest
    first.delete()
    assert (first.state, first.name, first.digest) == ("deleted", "data:v0", digest)
    with pytest.raises(NotFoundError, match="v0 was deleted"):
        fresh("data:v0")
    with pytest.raises(NotFoundError, match="was deleted"):
        first.delete()
    with pytest.raises(NotFoundError, match="was deleted"):
        first.save()


def test_version_under_an_alias_is_deleted_only_when_that_is_meant() -> None:
    draft = scenario.draft("data", {"f": "1"})
    draft.aliases = ["best"]
    draft.save()
    with pytest.raises(UsageError, match="has aliases best"):
        draft.delete()
    assert fresh().state == "committed"
    draft.delete(delete_aliases=True)
    assert not lineart.Api().artifact_exists("data:best")


def test_number_of_a_deleted_version_is_not_given_again() -> None:
    scenario.logged("data", {"f": "1"}).delete()
    assert scenario.logged("data", {"f": "1"}).version == "v1"


# Lineage


@pytest.fixture
def three() -> list[lineart.Artifact]:
    """raw → data → model, each by a run of its own named after it."""
    made: list[lineart.Artifact] = []
    for name in ("raw", "data", "model"):
        with lineart.init(project="team/digits", id=name) as run:
            for source in made[-1:]:
                run.use_artifact(source)
            made.append(run.log_artifact(scenario.draft(name, {"f": name})))
    return made


def test_relatives_come_nearest_first(three: list[lineart.Artifact]) -> None:
    raw, data, model = three
    assert scenario.names(model.upstream()) == ["data:v0", "raw:v0"]
    assert scenario.names(raw.downstream()) == ["data:v0", "model:v0"]
    assert scenario.names(model.upstream(depth=1)) == ["data:v0"]
    assert raw.upstream() == model.downstream() == []
    assert data.upstream()[0].open("f").read() == b"raw"  # a handle that can be read


def test_runs_around_a_version(three: list[lineart.Artifact]) -> None:
    raw, data, _ = three
    assert (data.logged_by(), data.used_by()) == ("team/digits/data", ["team/digits/model"])
    assert raw.used_by() == ["team/digits/data"]
    assert set(data.lineage()) >= {"run:team/digits/data", "run:team/digits/model", raw.qualified_name}
    assert data.lineage("upstream", depth=1).graph["direction"] == "upstream"


def test_deleted_relative_is_still_told(three: list[lineart.Artifact]) -> None:
    _, data, model = three
    data.delete()
    found = model.upstream()
    assert [(a.name, a.state) for a in found] == [("data:v0", "deleted"), ("raw:v0", "committed")]
    assert scenario.names(data.upstream()) == ["raw:v0"]


def test_relative_in_another_project_is_told(three: list[lineart.Artifact]) -> None:
    with lineart.init(project="team/letters", id="far") as run:
        run.use_artifact("team/digits/raw:v0")
        far = run.log_artifact(scenario.draft("far", {"f": "far"}))
    assert [a.qualified_name for a in far.upstream()] == ["team/digits/raw:v0"]
    assert "team/letters/far:v0" in {a.qualified_name for a in three[0].downstream()}
    assert three[0].used_by() == ["team/digits/data", "team/letters/far"]
