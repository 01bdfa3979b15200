from __future__ import annotations

import pytest

import lineart
import scenario
from lineart.storage.errors import InvalidNameError, NotFoundError, UsageError


@pytest.fixture
def api() -> lineart.Api:
    """``team/digits`` with data v0–v2 (v1 deleted) and a model, ``team/letters`` with data."""
    with lineart.init(project="team/digits", id="r", config={"lr": 1}) as run:
        for number in range(3):
            run.log_artifact(
                scenario.draft("data", {"f": str(number)}), aliases=[f"n{number}"] if number < 1 else []
            )
        run.log_artifact(scenario.draft("model", {"w": "1"}, "model"))
    with lineart.init(project="team/letters") as run:
        run.log_artifact(scenario.draft("data", {"f": "a"}, "text"))
    made = lineart.Api()
    made.artifact("team/digits/data:v1").delete()
    return made


def test_version_is_found_by_each_of_its_names(api: lineart.Api) -> None:
    for name in ("team/digits/data:v0", "team/digits/data:n0"):
        assert api.artifact(name).name == "data:v0"
    assert api.artifact("team/digits/data").name == "data:v2"
    assert api.artifact("team/letters/data", type="text").files() == ["f"]


@pytest.mark.on_disk
@pytest.mark.parametrize(
    "name, message",
    [
        ("team/digits/dat", "'dat' does not exist; did you mean 'data'"),
        ("team/digits/data:v7", "has no v7; its newest version is v2"),
        ("team/digits/data:v1", "v1 was deleted"),
        ("team/digits/data:zz", "has no alias 'zz'; there are: latest, n0, v0, v2"),
        ("team/digits/data:best", "has no alias 'best'; did you mean 'latest'"),
        ("team/digit/data", "project 'team/digit' is empty; did you mean 'team/digits'"),
        ("data", "project 'team/uncategorized' is empty"),
    ],
)
def test_version_that_is_not_there_is_refused_with_what_is(api: lineart.Api, name: str, message: str) -> None:
    with pytest.raises(NotFoundError, match=message) as caught:
        api.artifact(name)
    assert "\n" not in str(caught.value)
    assert not api.artifact_exists(name)


def test_version_of_another_type_is_refused(api: lineart.Api) -> None:
    with pytest.raises(UsageError, match="data:v2 has type 'dataset', expected 'model'"):
        api.artifact("team/digits/data", type="model")


def test_name_that_is_none_is_an_error_and_not_an_absence(api: lineart.Api) -> None:
    with pytest.raises(InvalidNameError):
        api.artifact_exists("a:b:c")


def test_live_versions_come_newest_first(api: lineart.Api) -> None:
    assert scenario.names(api.artifacts("dataset", "team/digits/data")) == ["data:v2", "data:v0"]
    with pytest.raises(UsageError, match="has type 'dataset', expected 'model'"):
        api.artifacts("model", "team/digits/data")
    with pytest.raises(NotFoundError):
        api.artifacts("dataset", "team/digits/nothing")


def test_collections_and_types_are_those_of_the_project(api: lineart.Api) -> None:
    assert api.artifact_types("team/digits") == ["dataset", "model"]
    assert api.artifact_collections(project="team/digits") == ["data", "model"]
    assert api.artifact_collections("model", "team/digits") == ["model"]
    assert api.artifact_types("team/letters") == ["text"]
    assert api.artifact_types() == api.artifact_collections() == []


def test_sql_sees_every_project_and_what_came_since(api: lineart.Api) -> None:
    count = "SELECT count(*) FROM versions"
    assert api.sql(count).fetchall() == [(5,)]
    scenario.logged("late", {"f": "1"})  # in a project that was not there yet
    assert api.sql(count).fetchall() == [(6,)]
    assert api.sql("SELECT type FROM versions WHERE collection = ?", ["model"]).fetchall() == [("model",)]
    with pytest.raises(UsageError, match=r"^sql: "):
        api.sql("nonsense")


def test_sql_rows_with_times_can_be_fetched(api: lineart.Api) -> None:
    assert len(api.sql("SELECT * FROM versions").fetchall()) == 5
    assert len(api.sql("SELECT * FROM runs").df()) == 2


@pytest.mark.on_disk
def test_reader_of_no_store_is_told_how_to_make_one() -> None:
    with pytest.raises(NotFoundError, match='make one with "art init'):
        lineart.Api()


def test_reader_sees_what_another_handle_commits(api: lineart.Api) -> None:
    with lineart.init(project="team/digits") as run:
        run.log_artifact(scenario.draft("data", {"f": "new"}))
    assert api.artifact("team/digits/data").version == "v3"
