"""What is said of registered models themselves: description and tags."""

from __future__ import annotations

from pathlib import Path

import pytest

import lineart
from lineart.artifacts import ProjectName
from lineart.storage.errors import InvalidNameError, UsageError
from lineart.tracking.transfer import Choice, copy
from registered_models import opened, opened_at, train

HOME = ProjectName("default", "model-registry")


@pytest.fixture(autouse=True)
def _in_no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    opened().close()


def tags_of(name: str) -> list[str]:
    return lineart.Api().registry().collection(name).tags


def test_tags_of_a_model_are_those_of_its_versions_or_lost() -> None:
    model = train(0.9)
    churn = lineart.Api().registry().collection("churn")
    assert (churn.tags, churn.description) == ([], "")
    churn.description = "who leaves"
    churn.tags = ["risk", "customers", "risk"]
    churn.save()
    churn.tags.append("audited")
    assert tags_of("churn") == ["customers", "risk"]  # until it is saved
    churn.save()
    assert (tags_of("churn"), churn.tags) == (["audited", "customers", "risk"],) * 2
    assert lineart.Api().artifact(model.qualified_name).tags == []
    assert lineart.Api().registry().collection("churn").description == "who leaves"
    rows = lineart.Api().sql("SELECT tags, description FROM collections WHERE project LIKE '%registry'")
    assert rows.fetchall() == [(["audited", "customers", "risk"], "who leaves")]
    before = opened().project(HOME).position
    churn.save()
    assert opened().project(HOME).position == before  # nothing is said twice
    churn.tags = []
    churn.save()
    assert (tags_of("churn"), churn.description) == ([], "who leaves")


def test_models_are_found_by_other_tags() -> None:
    registry = lineart.Api().registry()
    registry.create_collection("churn", tags=["risk"])
    registry.create_collection("fraud", tags=["risk", "new"])
    assert registry.collections({"tags": "risk"}) == ["churn", "fraud"]
    assert registry.collections({"tags": "new"}) == ["fraud"]
    registry.create_collection("churn", description="who leaves")
    assert (tags_of("churn"), registry.collection("churn").description) == (["risk"], "who leaves")


def test_name_that_is_none_becomes_a_tag() -> None:
    registry = lineart.Api().registry()
    with pytest.raises(InvalidNameError, match="tag"):
        registry.create_collection("churn", tags=["a tag/of no kind"])
    assert registry.collections() == []
    churn = registry.create_collection("churn")
    with pytest.raises(UsageError, match="expected a list such as"):
        churn.tags = "risk"  # type: ignore[assignment] # as people do


def test_tags_stay_behind_in_a_copy_or_overwrite_others(tmp_path: Path) -> None:
    train(0.9)
    lineart.Api().registry().create_collection("churn", tags=["risk"])
    opened_at(tmp_path / "there").close()
    everything = Choice(everything=True)
    here, there = opened(), opened_at(tmp_path / "there")
    copy(here, there, everything)
    assert there.state(HOME).collections["churn"].tags == ("risk",)
    churn = lineart.Api().registry().collection("churn")
    churn.tags = ["risk", "audited"]
    churn.save()
    copy(opened(), opened_at(tmp_path / "there"), everything)
    assert opened_at(tmp_path / "there").state(HOME).collections["churn"].tags == ("audited", "risk")
