from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineart.artifacts import ArtifactName, ProjectName
from lineart.artifacts.names import check_alias, check_name, nearest, parse_version, split_path
from lineart.storage.errors import InvalidNameError

HOME = ProjectName("team", "digits")
NAMES = st.from_regex(r"\A[A-Za-z0-9_.\-]{1,128}\Z").filter(lambda name: name not in (".", ".."))


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a b",
        "a/b",
        "a:b",
        "a\n",
        "\na",
        "ü",
        "a\0",
        "x" * 129,
        None,
        7,
        b"a",
        "a\\b",
        "*",
        "１",
    ],
)
def test_name_that_is_none_is_refused_and_shown(name: object) -> None:
    with pytest.raises(InvalidNameError) as caught:
        check_name(name, "collection")
    assert f"collection {name!r}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a", "x" * 128, "...", "-", "A_b.c-9", "v1", "0"])
def test_name_at_the_edge_is_accepted(name: str) -> None:
    assert check_name(name, "collection") == name


@pytest.mark.parametrize("alias", ["v0", "v7", "v123456789012345678"])
def test_alias_that_looks_like_a_version_is_refused(alias: str) -> None:
    with pytest.raises(InvalidNameError, match="are the versions themselves"):
        check_alias(alias)


@pytest.mark.parametrize("alias", ["v", "v01", "V1", "v-1", "v1.0", "1", "v1x"])
def test_alias_that_only_resembles_a_version_is_accepted(alias: str) -> None:
    assert check_alias(alias) == alias
    assert parse_version(alias) is None


@pytest.mark.parametrize("text", ["v1\n", "v١", "v+1", "v 1", "v" + "9" * 30])
def test_other_spellings_of_a_number_are_no_versions(text: str) -> None:
    assert parse_version(text) is None


@given(st.integers(0, 10**18 - 1))
def test_every_version_number_is_read_as_written(number: int) -> None:
    assert parse_version(f"v{number}") == number


@given(NAMES, NAMES, NAMES, NAMES)
def test_full_name_is_read_as_it_is_printed(entity: str, project: str, collection: str, alias: str) -> None:
    name = ArtifactName(ProjectName(entity, project), collection, alias)
    assert ArtifactName.parse(str(name), HOME) == name


@pytest.mark.parametrize(
    "text, expected",
    [
        ("model", "team/digits/model:latest"),
        ("model:best", "team/digits/model:best"),
        ("letters/model:v3", "team/letters/model:v3"),
        ("us/letters/model", "us/letters/model:latest"),
    ],
)
def test_parts_left_out_come_from_the_project_in_use(text: str, expected: str) -> None:
    assert str(ArtifactName.parse(text, HOME)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "model:",
        ":v1",
        "a/b/c/d",
        "/model",
        "a//model",
        "model:v1:v2",
        "model:a/b",
        "../model",
        "a/../m",
    ],
)
def test_artifact_name_with_a_wrong_part_is_refused(text: str) -> None:
    with pytest.raises(InvalidNameError):
        ArtifactName.parse(text, HOME)


@pytest.mark.parametrize("text", ["", "a/b/c", "/", "a/", "/a", "a b"])
def test_project_name_with_a_wrong_part_is_refused(text: str) -> None:
    with pytest.raises(InvalidNameError):
        ProjectName.parse(text, HOME)


@given(NAMES, NAMES, st.text(min_size=1))
def test_path_behind_an_alias_is_split_off_whole(collection: str, alias: str, path: str) -> None:
    assert split_path(f"a/b/{collection}:{alias}/{path}") == (f"a/b/{collection}:{alias}", path)


def test_hint_names_the_similar_and_leaves_out_the_rest() -> None:
    hint = nearest("modle", ["model", "models", "data"])
    assert hint == "; did you mean 'model' or 'models'?"


def test_hint_lists_some_when_nothing_is_similar() -> None:
    assert nearest("zzz", [f"a{n}" for n in range(8)]) == "; there are: a0, a1, a2, a3, a4 and 3 more"
    assert nearest("zzz", []) == "; there are none yet"


def test_hint_among_a_quarter_million_names_takes_no_seconds() -> None:
    known = [f"train/{n:06}.png" for n in range(250_000)]
    start_s = time.perf_counter()
    hint = nearest("train/123456.pgn", known)
    assert time.perf_counter() - start_s < 2
    assert "'train/123456.png'" in hint
