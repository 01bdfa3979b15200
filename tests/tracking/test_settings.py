"""Where the store is and which project is meant: the nearest answer wins."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

import lineart
import scenario
from lineart.storage.errors import InvalidNameError, NotFoundError, UsageError
from lineart.storage.masking import masked_variables
from lineart.tracking import StoreChoice, Workspace, find_settings
from lineart.tracking.settings import find_signing

ORDER = ["argument", "environment", "lineart.toml", "pyproject.toml", "user file", "default"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder deep in a project."""
    folder = tmp_path / "project/src/deep"
    folder.mkdir(parents=True)
    return folder


def find(place: Path, sources: list[str] | tuple[str, ...], key: str) -> StoreChoice:
    """Settings in `place` with `key` given in each of `sources`, each with a value of its own."""
    root, home = place.parents[1], place.parents[2] / "home"
    environ = {"HOME": str(home)}
    files = {
        "lineart.toml": (root / "lineart.toml", ""),
        "pyproject.toml": (root.parent / "pyproject.toml", "[tool.lineart]\n"),
        "user file": (home / ".config/lineart/config.toml", ""),
    }
    for source in sources:
        value = source.replace(" ", "-")
        if source in files:
            path, head = files[source]
            scenario.write_tree(path.parent, {path.name: f'{head}{key} = "{value}"\n'})
        elif source == "environment":
            environ[f"LINEART_{key.upper()}"] = value
    argument = {key: "argument"} if "argument" in sources else {}
    return find_settings(environ=environ, folder=place, **argument)


@pytest.mark.parametrize("key", ["store", "project", "entity"])
@pytest.mark.parametrize("nearer, farther", list(itertools.combinations(ORDER, 2)))
def test_nearer_setting_wins(place: Path, key: str, nearer: str, farther: str) -> None:
    found = find(place, [source for source in (nearer, farther) if source != "default"], key)
    value = getattr(found, key)
    assert str(value).rpartition("/")[2] == nearer.replace(" ", "-")


def test_nearest_project_file_is_the_only_one_read(place: Path) -> None:
    root = place.parents[1]
    scenario.write_tree(
        root, {"lineart.toml": 'project = "far"\n', "pyproject.toml": "[tool.lineart]\nentity='no'\n"}
    )
    scenario.write_tree(place, {"pyproject.toml": "[tool.black]\nline-length = 100\n"})
    found = find_settings(environ={}, folder=place)
    assert (found.project, found.entity) == ("far", None)
    both = {"lineart.toml": 'project = "own"', "pyproject.toml": '[tool.lineart]\nproject = "shared"'}
    scenario.write_tree(root, both)
    assert find_settings(environ={}, folder=place).project == "own"
    scenario.write_tree(place.parent, {"pyproject.toml": '[tool.lineart]\nproject = "near"\n'})
    assert find_settings(environ={}, folder=place).project == "near"


def test_nothing_given_is_the_default(place: Path) -> None:
    found = find_settings(environ={"HOME": "/home/ada"}, folder=place)
    assert found == StoreChoice(
        store="/home/ada/.lineart",
        store_from="default",
        project="uncategorized",
        entity=None,
        cache=Path("/home/ada/.cache/lineart"),
        data=Path("/home/ada/.local/share/lineart"),
        storage_options={},
    )
    assert found.is_default_store


@pytest.mark.parametrize("source", ORDER[:-1])
def test_origin_of_the_store_is_told(place: Path, source: str) -> None:
    found = find(place, [source], "store")
    expected = {"argument": "argument", "environment": "LINEART_STORE", "user file": "config.toml"}
    assert found.store_from.endswith(expected.get(source, source))
    assert not found.is_default_store


def test_empty_variable_is_none(place: Path) -> None:
    found = find_settings(environ={"LINEART_STORE": "", "LINEART_PROJECT": "", "HOME": "/h"}, folder=place)
    assert (found.store, found.project) == ("/h/.lineart", "uncategorized")


# Keys


def test_keys_of_a_settings_file_lie_beside_it(place: Path) -> None:
    root = place.parents[1]
    text = 'signing_key = "secret/release.key"\n[trust]\nkeys = ["keys/*.pub", "/else/ann.pub"]\n'
    scenario.write_tree(root, {"lineart.toml": text})
    found = find_signing(environ={}, folder=place)
    assert (found.key, found.password) == (str(root / "secret/release.key"), None)
    assert found.trusted == (str(root / "keys/*.pub"), "/else/ann.pub")
    assert (found.key_from, found.trusted_from) == (str(root / "lineart.toml"),) * 2


def test_environment_goes_before_settings_files_for_keys(place: Path) -> None:
    scenario.write_tree(place, {"lineart.toml": 'signing_key = "a"\n[trust]\nkeys = ["b"]\n'})
    environ = {
        "LINEART_SIGNING_KEY": "-----BEGIN SECRET",
        "LINEART_SIGNING_KEY_PASSWORD": "sesame",
        "LINEART_TRUSTED_KEYS": os.pathsep.join(["x.pub", "", "y/*.pub"]),
    }
    found = find_signing(environ=environ, folder=place)
    assert (found.key, found.password) == ("-----BEGIN SECRET", "sesame")
    assert found.trusted == ("x.pub", "y/*.pub")
    assert "SECRET" not in repr(found)
    assert "sesame" not in repr(found)
    assert masked_variables(environ)["LINEART_SIGNING_KEY_PASSWORD"] == "***"
    assert masked_variables(environ)["LINEART_SIGNING_KEY"] == "***"


@pytest.mark.parametrize(
    "text, message",
    [
        ('signing_key = "-----BEGIN PRIVATE KEY-----"', "is not a path"),
        ("signing_key = 7", "is not a path"),
        ('trust = "x"', r"expected keys = "),
        ("[trust]\nkeys = 7", r"expected keys = "),
        ("[trust]\nkeys = [7]", r"expected keys = "),
    ],
)
def test_wrong_keys_in_a_settings_file_are_told(place: Path, text: str, message: str) -> None:
    scenario.write_tree(place, {"lineart.toml": text})
    with pytest.raises(UsageError, match=message):
        find_signing(environ={}, folder=place)


# Places


@pytest.mark.parametrize("key", ["store", "cache"])
def test_relative_folder_in_a_file_is_relative_to_the_file(place: Path, key: str) -> None:
    root = place.parents[1]
    scenario.write_tree(root, {"lineart.toml": f'{key} = "../shared/x"\n'})
    value = getattr(find_settings(environ={}, folder=place), key)
    assert Path(value).resolve() == (root.parent / "shared/x").resolve()


@pytest.mark.parametrize("store", ["s3://bucket/prefix", "/abs/store", "memory://x"])
def test_url_and_absolute_folder_in_a_file_stay_as_they_are(place: Path, store: str) -> None:
    scenario.write_tree(place, {"lineart.toml": f'store = "{store}"\n'})
    assert find_settings(environ={}, folder=place).store == store


def test_home_in_a_file_is_the_users(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    scenario.write_tree(place, {"lineart.toml": 'store = "~/store"\n'})
    assert find_settings(folder=place, environ={"HOME": "/home/ada"}).store == "/home/ada/store"


def test_user_file_lies_where_the_system_says(tmp_path: Path) -> None:
    scenario.write_tree(tmp_path / "xdg", {"lineart/config.toml": 'project = "mine"\n'})
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "xdg"), "XDG_CACHE_HOME": "/cache", "HOME": "/h"}
    found = find_settings(environ=environ, folder=tmp_path)
    assert (found.project, found.cache) == ("mine", Path("/cache/lineart"))


def test_options_for_the_store_come_from_the_nearest_file_that_has_some(tmp_path: Path) -> None:
    scenario.write_tree(tmp_path, {"lineart.toml": 'project = "p"\n'})
    scenario.write_tree(
        tmp_path / "h/.config/lineart", {"config.toml": '[storage_options]\nprofile = "work"\n'}
    )
    found = find_settings(environ={"HOME": str(tmp_path / "h")}, folder=tmp_path)
    assert found.storage_options == {"profile": "work"}


def test_options_for_a_store_on_s3_are_checked_and_the_environment_goes_before_files(tmp_path: Path) -> None:
    scenario.write_tree(
        tmp_path,
        {"lineart.toml": 'store = "s3://b/p"\n[storage_options]\nregion_name = "a"\nanon = true\n'},
    )
    assert find_settings(environ={}, folder=tmp_path).storage_options == {"region": "a", "anon": True}
    environ = {"LINEART_STORAGE_OPTIONS": "region=b&timeout=5"}
    found = find_settings(environ=environ, folder=tmp_path)
    assert found.storage_options == {"region": "b", "anon": True, "timeout": 5.0}
    for wrong in ("regoin=b", "anon=perhaps", "secret=x"):
        with pytest.raises(UsageError, match=r"LINEART_STORAGE_OPTIONS: .*option"):
            find_settings(environ={"LINEART_STORAGE_OPTIONS": wrong}, folder=tmp_path)
        assert find_settings(store="/local", environ=environ, folder=tmp_path).store == "/local"
    with pytest.raises(UsageError, match="unknown option 'regoin'"):
        find_settings(store="s3://b/p?regoin=x", environ={}, folder=tmp_path)
    scenario.write_tree(
        tmp_path, {"lineart.toml": 'store = "s3://b/p"\n[storage_options]\nsecret = "geheim"\n'}
    )
    with pytest.raises(UsageError, match=r"lineart\.toml: .*'secret' is a credential") as caught:
        find_settings(environ={}, folder=tmp_path)
    assert "geheim" not in str(caught.value)


# Project and entity in one


def test_project_may_name_its_entity(tmp_path: Path) -> None:
    found = find_settings(project="team/digits", environ={}, folder=tmp_path)
    assert (found.entity, found.project) == ("team", "digits")
    found = find_settings(environ={"LINEART_PROJECT": "team/digits"}, folder=tmp_path)
    assert (found.entity, found.project) == ("team", "digits")


@pytest.mark.parametrize(
    "arguments, environ, expected",
    [
        ({"entity": "mine"}, {}, "mine/x"),
        ({}, {"LINEART_ENTITY": "mine"}, "mine/x"),
        ({}, {}, "team/x"),
        ({"project": "us/y"}, {"LINEART_ENTITY": "mine"}, "us/y"),
        ({}, {"LINEART_PROJECT": "us/y", "LINEART_ENTITY": "mine"}, "us/y"),
        ({"entity": "mine"}, {"LINEART_PROJECT": "us/y"}, "mine/y"),
    ],
)
def test_entity_chosen_nearer_than_the_project_stays(
    tmp_path: Path, arguments: dict[str, str], environ: dict[str, str], expected: str
) -> None:
    scenario.write_tree(tmp_path, {"lineart.toml": 'project = "team/x"\nentity = "file"\n'})
    found = find_settings(environ=environ, folder=tmp_path, **arguments)
    assert f"{found.entity}/{found.project}" == expected


# Faults


@pytest.mark.parametrize(
    "name, text, message",
    [
        (
            "lineart.toml",
            "stroe = 'x'",
            r"unknown key 'stroe'; expected alerts, cache, cache_size, data, entity, ",
        ),
        ("lineart.toml", "store = ", "correct the file"),
        ("lineart.toml", b"\xff", "correct the file"),
        ("pyproject.toml", "[tool.lineart]\nprojekt = 'x'", "unknown key 'projekt'"),
        ("pyproject.toml", "[tool", "correct the file"),
    ],
)
def test_file_with_a_fault_is_named(tmp_path: Path, name: str, text: str | bytes, message: str) -> None:
    scenario.write_tree(tmp_path, {name: text})
    with pytest.raises(UsageError, match=message) as caught:
        find_settings(environ={}, folder=tmp_path)
    assert f"settings {tmp_path}/{name}: " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "arguments", [{"project": "a b"}, {"project": "a/b/c"}, {"entity": "ü"}, {"project": "/x"}]
)
def test_name_that_is_none_is_refused(tmp_path: Path, arguments: dict[str, str]) -> None:
    with pytest.raises(InvalidNameError):
        find_settings(environ={}, folder=tmp_path, **arguments)


# Opening what was found


@pytest.mark.on_disk
def test_named_folder_is_made_at_first_use_and_not_by_a_reader(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r'there is no store at .*; make one with "art init'):
        lineart.Api()
    assert not (tmp_path / "store").exists()
    lineart.init(project="p").finish()
    assert (tmp_path / "store/lineart.json").exists()
    lineart.Api()


def test_default_store_is_made_in_the_users_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LINEART_STORE")
    monkeypatch.chdir(tmp_path)
    lineart.init().finish()
    assert (tmp_path / "home/.lineart/lineart.json").exists()


def test_bucket_is_not_made_by_a_mistyped_name(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no store at"):
        lineart.init(store=f"memory://{tmp_path.name}-mistyped")


def test_entity_of_the_store_is_the_default(tmp_path: Path) -> None:
    made = find_settings(store=str(tmp_path / "s"), entity="team")
    Workspace.open(made, create=True)
    again = Workspace.open(find_settings(store=str(tmp_path / "s"), project="p"))
    assert str(again.project_name) == "team/p"
    assert (
        str(Workspace.open(find_settings(store=str(tmp_path / "s"), entity="us")).project_name)
        == "us/uncategorized"
    )
