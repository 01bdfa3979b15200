from __future__ import annotations

import os
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lineart.artifacts.paths import check_link, check_links, check_path, check_portable, check_together
from lineart.storage.errors import InvalidPathError

ROOT = "/srv/target"
ANY = st.text(st.characters(), max_size=40) | st.lists(
    st.sampled_from(["..", ".", "", "a", "b\n", "C:", "\\", "ü", "\0", " ", "con"]), max_size=6
).map("/".join)


@given(ANY)
@example("a/../../b")
@example("/etc/passwd")
@example("..")
@example("a/..")
@example("C:\\x")
@example("\ud800")
def test_accepted_path_stays_inside_of_any_root(path: str) -> None:
    try:
        check_path(path)
    except InvalidPathError:
        return
    joined = os.path.normpath(f"{ROOT}/{path}")
    assert joined.startswith(f"{ROOT}/")
    assert joined == f"{ROOT}/{path}"  # and nothing had to be normalised away
    path.encode()  # and can be written down


@pytest.mark.parametrize(
    "path, reason",
    [
        ("", "0 bytes"),
        ("/a", "absolute"),
        ("a//b", "empty part"),
        ("a/", "empty part"),
        (".", "has a part '.'"),
        ("..", "has a part '..'"),
        ("a/./b", "has a part '.'"),
        ("a/../b", "has a part '..'"),
        ("a/..", "has a part '..'"),
        ("./a", "has a part '.'"),
        ("a\0b", "NUL"),
        ("a\\b", "backslash"),
        ("C:", "drive"),
        ("c:/windows", "drive"),
        ("c:a", "drive"),
        ("\ud800", "UTF-8"),
        ("a/" * 2048 + "ab", "4098 bytes"),
        ("x" * 256, "more than 255 bytes"),
        ("ü" * 128, "more than 255 bytes"),
        ("a/" + "🦆" * 64, "more than 255 bytes"),
        (None, "expected text"),
        (b"a", "expected text"),
        (7, "expected text"),
    ],
)
def test_path_that_cannot_stand_in_a_manifest_is_refused_with_the_reason(path: object, reason: str) -> None:
    with pytest.raises(InvalidPathError) as caught:
        check_path(path)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "path",
    [
        "a",
        ".hidden",
        "...",
        "a..b",
        "..a/b",
        "a b",
        " ",
        "a\nb",
        'q"uote',
        "tab\t",
        "ab:c",
        "1:",
        "x" * 255,
        "ü" * 127,
        "a/" * 2047 + "ab",
        "🦆/é",
        "*?<>|",
    ],
)
def test_path_at_the_edge_is_accepted(path: str) -> None:
    assert check_path(path) == path


def test_refused_path_is_shown_without_its_control_characters() -> None:
    with pytest.raises(InvalidPathError, match=r"\\u2028\.\./x"):
        check_path("\u2028../x/..")


# Links


LINK_PATHS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4).map("/".join)
TARGETS = st.lists(st.sampled_from(["..", ".", "a", "b", ""]), min_size=1, max_size=8).map("/".join)


@given(LINK_PATHS, TARGETS)
def test_accepted_link_points_inside(path: str, target: str) -> None:
    try:
        check_link(path, target)
    except InvalidPathError:
        return
    assert not target.startswith("/")
    end = os.path.normpath(os.path.join(ROOT, os.path.dirname(path), target))
    assert end == ROOT or end.startswith(f"{ROOT}/")


@pytest.mark.parametrize(
    "path, target",
    [
        ("l", ".."),
        ("l", "/etc"),
        ("l", ""),
        ("l", "a\0"),
        ("l", "a\\b"),
        ("d/l", "../.."),
        ("d/l", "a/../../.."),
        ("l", "../x/y"),
        ("d/l", "../../d/x"),
        ("l", 3),
        ("l", None),
    ],
)
def test_link_that_points_outside_is_refused(path: str, target: str) -> None:
    with pytest.raises(InvalidPathError, match="link"):
        check_link(path, target)


def test_link_that_leads_outside_by_way_of_another_link_is_refused() -> None:
    links = {"d/up": "..", "x": "d/up/.."}
    for path, target in links.items():
        check_link(path, target)  # each by itself is fine
    with pytest.raises(InvalidPathError, match="behind the link 'd/up'"):
        check_links(links)


@pytest.mark.parametrize(
    "links",
    [
        {"current": "v1", "v0": "old"},
        {"d/a": "../lib/x", "lib/x": "y"},
        {"a": "b", "b": "c/d"},
        {"a": "b/c", "b": "d"},
        {"a/b/c": "../../d"},
    ],
)
def test_links_through_links_that_do_not_go_back_are_accepted(links: dict[str, str]) -> None:
    check_links(links)


@given(
    st.dictionaries(
        LINK_PATHS, st.lists(st.sampled_from(["..", "a", "b", "c"]), min_size=1, max_size=5).map("/".join)
    )
)
def test_accepted_links_lead_inside_together_on_a_real_disk(
    tmp_path_factory: pytest.TempPathFactory, links: dict[str, str]
) -> None:
    try:
        check_together(links)
        for path, target in links.items():
            check_link(path, target)
        check_links(links)
    except InvalidPathError:
        return
    root = os.path.realpath(tmp_path_factory.mktemp("links"))
    for path, target in links.items():
        os.makedirs(os.path.dirname(f"{root}/{path}"), exist_ok=True)
        os.symlink(target, f"{root}/{path}")
    for path in links:
        end = os.path.realpath(f"{root}/{path}")
        assert end == root or end.startswith(f"{root}/")


# Paths of one manifest


@pytest.mark.parametrize("paths", [["a", "a/b"], ["a/b/c/d", "a/b"], ["a/b", "a", "c"], ["x", "x/y/z/w"]])
def test_path_through_another_entry_is_refused_naming_both(paths: list[str]) -> None:
    short = min(paths, key=len) if "c" not in paths else "a"
    with pytest.raises(InvalidPathError, match=f"'{short}'"):
        check_together(paths)


def test_names_that_only_begin_alike_are_accepted() -> None:
    check_together(["a", "ab", "a.b/c", "a-b", "b/a", "b/ab/c"])


@given(st.sets(st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=4).map("/".join)))
def test_folder_clash_is_found_exactly_when_there_is_one(paths: set[str]) -> None:
    clash = any(other.startswith(f"{path}/") for path in paths for other in paths)
    if clash:
        with pytest.raises(InvalidPathError):
            check_together(paths)
    else:
        check_together(paths)


def test_two_unicode_forms_of_one_name_are_refused_naming_both() -> None:
    composed, decomposed = (unicodedata.normalize(form, "é.txt") for form in ("NFC", "NFD"))
    with pytest.raises(InvalidPathError) as caught:
        check_together([composed, decomposed])
    assert "'\\xe9.txt'" in str(caught.value)
    assert "'e\\u0301.txt'" in str(caught.value)


def test_names_that_differ_in_case_are_refused_only_where_it_does_not_count() -> None:
    check_together(["README", "readme"])
    with pytest.raises(InvalidPathError, match="'README' and 'readme'"):
        check_portable(["README", "readme"])
    check_portable(["README", "readme.txt"])
