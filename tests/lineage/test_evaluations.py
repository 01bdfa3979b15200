"""Whether a run's metrics are said of a version that it used."""

from __future__ import annotations

import pytest

from lineart.lineage.evaluations import UsedVersion, is_evaluation

NEW, OLD, DATA = (
    UsedVersion("new", "model", "candidate"),
    UsedVersion("old", "model", "baseline"),
    UsedVersion("data", "dataset", "test"),
)


def judged(*used: UsedVersion, state: str = "finished", made: tuple[str, ...] = ()) -> list[str]:
    """Of the contents that were used those that the metrics are about."""
    return [version.content for version in used if is_evaluation(version.content, state, used, made)]


def models(*roles: str | None, type: str = "model") -> list[UsedVersion]:
    return [UsedVersion(f"m{number}", type, role) for number, role in enumerate(roles)]


def test_metrics_are_of_the_only_model() -> None:
    assert judged(NEW, DATA)[:1] == ["new"]
    assert judged(OLD) == ["old"]  # whatever its role: there is nothing else that they could be of


@pytest.mark.parametrize("role", ["baseline", "Baseline-v2", "reference", "incumbent", "previous", "base"])
def test_metrics_are_of_the_model_that_is_not_compared_with(role: str) -> None:
    assert judged(*models("candidate", role, role)) == ["m0"]
    assert judged(*models(None, role)) == ["m0"]


@pytest.mark.parametrize("roles", [(None, None), ("baseline", "reference"), ("candidate", "teacher")])
def test_metrics_of_several_models_are_of_none(roles: tuple[str | None, ...]) -> None:
    assert judged(*models(*roles)) == []
    assert judged(*models(*roles, type="net")) == []  # of one type, whatever it is called


def test_link_beside_its_source_is_no_second_model() -> None:
    assert set(judged(NEW, UsedVersion("new", "model", "baseline"), OLD)) == {"new"}


def test_tokenizer_is_part_of_the_model() -> None:
    assert judged(NEW, UsedVersion("words", "tokenizer", None)) == ["new"]


@pytest.mark.parametrize("state", ["failed", "crashed", "running", "preempted", "unknown"])
def test_run_that_did_not_end_well_says_nothing(state: str) -> None:
    assert judged(NEW, DATA, state=state) == []


@pytest.mark.parametrize("made", ["model", "dataset", "checkpoint"])
def test_run_that_made_a_model_or_data_says_nothing_of_what_it_used(made: str) -> None:
    assert judged(NEW, DATA, made=(made,)) == []
    for result in ("report", "run_table", "table"):
        assert judged(NEW, made=(result,)) == ["new"]


def test_version_that_was_not_used_was_not_evaluated() -> None:
    assert not is_evaluation("other", "finished", [NEW], [])
