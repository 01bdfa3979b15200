from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import scenario
from lineart.artifacts import Entry, Manifest, diff_manifests


def manifest(**files: str) -> Manifest:
    """Path → content; of an empty content the size is zero."""
    return Manifest.of(
        Entry(path.replace("__", "/"), "file", scenario.digest(text), len(text))
        for path, text in files.items()
    )


def changes(before: Manifest, after: Manifest) -> list[tuple[str, str, str | None]]:
    """What, where, and from where."""
    return [
        (change.what, change.path, change.before.path if change.before else None)
        for change in diff_manifests(before, after).changes
    ]


def test_same_manifests_do_not_differ() -> None:
    one = manifest(a="1", b="2")
    diff = diff_manifests(one, manifest(a="1", b="2"))
    assert (diff.changes, diff.unchanged, diff.changed_bytes) == ([], 2, 0)


def test_added_removed_and_changed_are_told_apart_in_order() -> None:
    before, after = manifest(a="1", b="2", c="33"), manifest(b="22", c="33", d="4444")
    assert changes(before, after) == [("removed", "a", "a"), ("changed", "b", "b"), ("added", "d", None)]
    diff = diff_manifests(before, after)
    assert (diff.unchanged, diff.changed_bytes) == (1, len("22") + len("4444"))


def test_moved_file_is_one_change_without_bytes() -> None:
    diff = diff_manifests(manifest(old="same bytes", x="1"), manifest(new__place="same bytes", x="1"))
    assert [(c.what, c.path) for c in diff.changes] == [("moved", "new/place")]
    assert diff.changes[0].before == Entry("old", "file", scenario.digest("same bytes"), 10)
    assert diff.changed_bytes == 0


def test_copy_is_an_addition_since_the_old_path_is_still_there() -> None:
    assert changes(manifest(a="same"), manifest(a="same", b="same")) == [("added", "b", None)]


def test_two_moves_of_equal_files_pair_each_only_once() -> None:
    assert changes(manifest(a="same", b="same"), manifest(c="same", d="same", e="same")) == [
        ("moved", "c", "a"),
        ("moved", "d", "b"),
        ("added", "e", None),
    ]


def test_moved_away_and_overwritten_is_a_move_and_a_change() -> None:
    assert changes(manifest(a="old"), manifest(a="new", b="old")) == [
        ("changed", "a", "a"),
        ("added", "b", None),
    ]


def test_empty_files_do_not_move() -> None:
    assert changes(manifest(a=""), manifest(b="")) == [("removed", "a", "a"), ("added", "b", None)]


@pytest.mark.parametrize(
    "before, after",
    [
        (
            Entry("p", "file", scenario.digest("x"), 1),
            Entry("p", "executable", scenario.digest("x"), 1),
        ),
        (Entry("p", "symlink", target="a"), Entry("p", "symlink", target="b")),
        (Entry("p", "directory"), Entry("p", "file", scenario.digest("x"), 1)),
        (
            Entry("p", "reference", None, 1, "s3://b/k", "e1"),
            Entry("p", "reference", None, 1, "s3://b/k", "e2"),
        ),
    ],
    ids=["mode", "target", "kind", "etag"],
)
def test_change_of_anything_but_bytes_is_a_change(before: Entry, after: Entry) -> None:
    assert changes(Manifest.of([before]), Manifest.of([after])) == [("changed", "p", "p")]


FILES = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["1", "22", "333", ""]))


@given(FILES, FILES)
def test_applying_the_changes_gives_the_other_side(before: dict[str, str], after: dict[str, str]) -> None:
    left, right = manifest(**before), manifest(**after)
    diff = diff_manifests(left, right)
    files = dict(left)
    for change in diff.changes:
        if change.before is not None:
            del files[change.before.path]
    for change in diff.changes:
        if change.after is not None:
            files[change.after.path] = change.after
    assert files == dict(right)
    assert diff.unchanged == sum(left.get(path) == right[path] for path in right)
    assert [change.path for change in diff.changes] == sorted(change.path for change in diff.changes)


@given(FILES, FILES)
def test_backwards_swaps_additions_and_removals(before: dict[str, str], after: dict[str, str]) -> None:
    there, back = (
        changes(manifest(**before), manifest(**after)),
        changes(manifest(**after), manifest(**before)),
    )
    swap = {"added": "removed", "removed": "added", "changed": "changed", "moved": "moved"}
    assert sorted(swap[what] for what, _, _ in there) == sorted(what for what, _, _ in back)


def test_artifacts_tell_their_difference() -> None:
    one = scenario.logged("data", {"a": "1", "b": "same"})
    two = scenario.logged("data", {"a": "2", "c": "same"})
    diff = one.diff(two)
    assert [(change.what, change.path) for change in diff.changes] == [("changed", "a"), ("moved", "c")]
