from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

import scenario
from lineart.artifacts import ArtifactName, ProjectState
from lineart.artifacts.decisions import (
    decide_alias,
    decide_alias_removal,
    decide_deletion,
    decide_log,
    decide_revision,
    find_version,
)
from lineart.artifacts.state import apply
from lineart.storage.errors import ConflictError, InvalidNameError, NotFoundError, UsageError
from lineart.storage.transaction import Op


def name(reference: str, collection: str = "data") -> ArtifactName:
    return ArtifactName(scenario.HOME, collection, reference)


def after(state: ProjectState, ops: Sequence[Op]) -> ProjectState:
    return apply(state, scenario.transaction(0, *ops))


def log(state: ProjectState, content: str, **labels: Any) -> ProjectState:
    return after(state, decide_log(state, scenario.request("data", content, **labels)))


def kinds(ops: Sequence[Op]) -> list[str]:
    return [op["op"] for op in ops]


@pytest.fixture
def two() -> ProjectState:
    """``v0`` (best) and ``v1`` (latest)."""
    return log(log(ProjectState(), "one", aliases=["best"]), "two")


# Logging


def test_first_logging_makes_collection_version_and_latest() -> None:
    ops = decide_log(ProjectState(), scenario.request("data", "one", run="r1"))
    assert kinds(ops) == ["collection.create", "version.create", "alias.move", "edge.produce"]
    assert ops[-1] == {
        "op": "edge.produce",
        "run": "r1",
        "collection": "data",
        "version": 0,
        "new": True,
        "derived_from": None,
    }


def test_same_content_again_makes_no_version_but_moves_aliases_and_records_the_run(two: ProjectState) -> None:
    ops = decide_log(two, scenario.request("data", "one", run="r2", aliases=["production"], derived_from=[]))
    assert kinds(ops) == ["alias.move", "alias.move", "edge.produce"]
    moved = {op["alias"]: (op["from"], op["to"]) for op in ops if op["op"] == "alias.move"}
    assert moved == {"latest": (1, 0), "production": (None, 0)}
    assert (ops[-1]["new"], ops[-1]["derived_from"]) == (False, [])


def test_same_content_again_without_a_run_and_with_its_labels_changes_nothing(two: ProjectState) -> None:
    assert decide_log(two, scenario.request("data", "two")) == []


def test_same_content_again_adds_tags_and_replaces_only_given_texts() -> None:
    state = log(ProjectState(), "one", tags=["a"], metadata={"k": 1}, description="first")
    assert decide_log(state, scenario.request("data", "one", tags=["a"])) == []
    state = log(state, "one", tags=["b"], description="second")
    version = find_version(state, name("v0"))
    assert (version.tags, version.metadata, version.description) == (("a", "b"), {"k": 1}, "second")


def test_content_of_a_deleted_version_gets_a_new_number(two: ProjectState) -> None:
    gone = after(two, decide_deletion(two, name("v1")))
    state = log(gone, "two")
    assert find_version(state, name("latest")).number == 2
    assert find_version(state, name("v1"), deleted_too=True).deleted


def test_other_type_for_a_known_name_is_refused_naming_both(two: ProjectState) -> None:
    with pytest.raises(UsageError, match="'data' has type 'dataset', not 'model'"):
        decide_log(two, scenario.request("data", "three", type="model"))


@pytest.mark.parametrize(
    "labels", [{"aliases": ["v3"]}, {"aliases": ["a/b"]}, {"tags": ["a b"]}, {"type": ""}, {"type": "a:b"}]
)
def test_label_that_is_no_name_is_refused(two: ProjectState, labels: dict[str, Any]) -> None:
    with pytest.raises(InvalidNameError):
        decide_log(two, scenario.request("data", "three", **labels))


def test_alias_named_twice_moves_once() -> None:
    ops = decide_log(ProjectState(), scenario.request("data", "one", aliases=["best", "best", "latest"]))
    assert [op["alias"] for op in ops if op["op"] == "alias.move"] == ["latest", "best"]


def test_long_list_of_packs_is_named_by_its_object() -> None:
    from dataclasses import replace

    wish = scenario.request("data", "one")
    wish = replace(wish, content=replace(wish.content, packs=(), packs_object="c" * 64))
    create = next(op for op in decide_log(ProjectState(), wish) if op["op"] == "version.create")
    assert "packs" not in create
    assert create["packs_object"] == "c" * 64
    assert find_version(after(ProjectState(), decide_log(ProjectState(), wish)), name("v0")).packs == ()


# Finding


@pytest.mark.parametrize(
    "reference, message",
    [
        ("bset", "has no alias 'bset'; did you mean 'best'"),
        ("v9", "has no v9; its newest version is v1"),
    ],
)
def test_version_that_is_not_there_is_refused_with_what_is(
    two: ProjectState, reference: str, message: str
) -> None:
    with pytest.raises(NotFoundError, match=message):
        find_version(two, name(reference))


def test_collection_that_is_not_there_is_refused_with_what_is_near(two: ProjectState) -> None:
    with pytest.raises(NotFoundError, match="'daat' does not exist; did you mean 'data'"):
        find_version(two, name("latest", "daat"))


def test_deleted_version_is_found_only_when_asked_for(two: ProjectState) -> None:
    gone = after(two, decide_deletion(two, name("v1")))
    with pytest.raises(NotFoundError, match="v1 was deleted; its lineage is kept"):
        find_version(gone, name("v1"))
    assert find_version(gone, name("v1"), deleted_too=True).digest == scenario.digest("two")


# Aliases


def test_alias_moves_only_from_where_it_is_expected(two: ProjectState) -> None:
    with pytest.raises(ConflictError, match="data:best points to v0, expected v1"):
        decide_alias(two, name("v1"), "best", expect=1, expect_set=True)
    with pytest.raises(ConflictError, match="points to v0, expected nothing"):
        decide_alias(two, name("v1"), "best", expect=None, expect_set=True)
    with pytest.raises(ConflictError, match="points to nothing, expected v0"):
        decide_alias(two, name("v1"), "new", expect=0, expect_set=True)
    assert decide_alias(two, name("v1"), "best", expect=0, expect_set=True) == [
        {"op": "alias.move", "collection": "data", "alias": "best", "from": 0, "to": 1}
    ]
    (new,) = decide_alias(two, name("v1"), "new", expect=None, expect_set=True)
    assert new["from"] is None


def test_second_of_two_who_swap_one_alias_loses(two: ProjectState) -> None:
    first = decide_alias(two, name("v1"), "best", expect=0, expect_set=True)
    with pytest.raises(ConflictError):
        decide_alias(after(two, first), name("v1"), "best", expect=0, expect_set=True)


def test_alias_that_points_there_already_is_no_move(two: ProjectState) -> None:
    assert decide_alias(two, name("best"), "best") == []


@pytest.mark.parametrize("reference", ["v7", "nothing"])
def test_alias_to_no_version_is_refused(two: ProjectState, reference: str) -> None:
    with pytest.raises(NotFoundError):
        decide_alias(two, name(reference), "best")


def test_latest_cannot_be_removed(two: ProjectState) -> None:
    with pytest.raises(UsageError, match="follows the newest logging"):
        decide_alias_removal(two, "data", "latest")


def test_alias_that_is_not_there_cannot_be_removed(two: ProjectState) -> None:
    with pytest.raises(NotFoundError, match="no alias 'bst'; did you mean 'best'"):
        decide_alias_removal(two, "data", "bst")


def test_removed_alias_is_gone_and_its_version_is_not(two: ProjectState) -> None:
    state = after(two, decide_alias_removal(two, "data", "best"))
    assert "best" not in state.collections["data"].aliases
    assert find_version(state, name("v0")).number == 0


# Revisions


def test_revision_that_changes_nothing_is_no_op() -> None:
    state = log(ProjectState(), "one", metadata={"k": 1}, description="d", tags=["b", "a"])
    assert decide_revision(state, name("v0"), metadata={"k": 1}, description="d", change_tags=sorted) == []
    assert decide_revision(state, name("v0")) == []


def test_revision_says_only_what_changed() -> None:
    state = log(ProjectState(), "one", metadata={"k": 1}, description="d", tags=["a"])
    (op,) = decide_revision(
        state, name("v0"), metadata={}, description="d", change_tags=lambda now: now | {"z"}
    )
    assert op == {
        "op": "version.revise",
        "collection": "data",
        "version": 0,
        "metadata": {},
        "tags": ["a", "z"],
    }


def test_revision_with_a_tag_that_is_no_name_is_refused(two: ProjectState) -> None:
    with pytest.raises(InvalidNameError, match="tag 'a b'"):
        decide_revision(two, name("v0"), change_tags=lambda now: ["a b"])


def test_deleted_version_cannot_be_revised(two: ProjectState) -> None:
    gone = after(two, decide_deletion(two, name("v1")))
    with pytest.raises(NotFoundError, match="was deleted"):
        decide_revision(gone, name("v1"), description="x")


# Deletion


def test_version_with_an_alias_is_not_deleted_by_accident(two: ProjectState) -> None:
    with pytest.raises(UsageError, match="data:v0 has aliases best; move them first"):
        decide_deletion(two, name("v0"))


def test_deletion_with_its_aliases_removes_them(two: ProjectState) -> None:
    state = after(two, decide_deletion(two, name("v0"), delete_aliases=True))
    assert dict(state.collections["data"].aliases.items()) == {"latest": 1}


def test_deletion_of_the_newest_moves_latest_back(two: ProjectState) -> None:
    state = after(two, decide_deletion(two, name("latest")))
    assert state.collections["data"].aliases["latest"] == 0


def test_deletion_of_the_last_live_version_leaves_no_latest(two: ProjectState) -> None:
    state = after(two, decide_deletion(two, name("v1")))
    state = after(state, decide_deletion(state, name("v0"), delete_aliases=True))
    assert not state.collections["data"].aliases
    with pytest.raises(NotFoundError, match="no alias 'latest'; there are none yet"):
        find_version(state, name("latest"))


def test_version_cannot_be_deleted_twice(two: ProjectState) -> None:
    state = after(two, decide_deletion(two, name("v1")))
    with pytest.raises(NotFoundError, match="was deleted"):
        decide_deletion(state, name("v1"))
