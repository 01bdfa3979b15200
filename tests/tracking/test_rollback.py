"""Rollback: where it leads, and what it reads before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import builders
import lineart
from lineart.storage.errors import IntegrityError, NotFoundError, ReferenceChangedError, UsageError
from registered_models import judged, opened, policy, train


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # in no repository
    opened().close()


@pytest.mark.on_disk
def test_rollback_gives_a_version_whose_bytes_are_damaged(tmp_path: Path) -> None:
    first = train(0.9, {"w.bin": os.urandom(5000)})
    second = train(0.95)
    assert first.promote("production")
    assert second.promote("production")
    (pack,) = opened().version(first.qualified_name).packs.data
    path = Path(os.environ["LINEART_STORE"], "packs", pack.hex()[:2], f"{pack.hex()}.pack")
    builders.flip(path, 100)
    with pytest.raises(IntegrityError):
        lineart.Api().registry().collection("churn").rollback("production")
    assert lineart.Api().artifact("model-registry/churn:production").version == "v1"


def test_rollback_leads_back_to_what_was_rolled_back_from_or_never_promoted() -> None:
    rules = policy("run.accuracy > 0.5", "run.accuracy > incumbent.run.accuracy")
    churn = lineart.Api().registry().collection
    models = [train(accuracy) for accuracy in (0.6, 0.7, 0.8, 0.1)]
    lineart.Api().registry().set_policy(rules, "churn")
    for model in models[:3]:
        assert model.promote("production")
    with pytest.raises(UsageError, match="v3 of 'churn' was never promoted to 'production'"):
        churn("churn").rollback("production", to="v3")
    assert churn("churn").rollback("production").after == "v1"
    assert churn("churn").rollback("production").after == "v0"
    with pytest.raises(NotFoundError, match="was promoted to no other version"):
        churn("churn").rollback("production")
    assert models[2].promote("production")  # and forward again, as the policy allows
    assert churn("churn").rollback("production").after == "v0"


def test_rollback_goes_to_a_reference_that_is_gone(tmp_path: Path) -> None:
    there = tmp_path / "there.bin"
    there.write_text("1\n")
    with lineart.init(project="churn") as run:
        made = lineart.Artifact("model", "model")
        made.add_reference(there.as_uri())
        run.log_artifact(made)
    first = made.link("model-registry/churn")
    assert first.promote("production")
    assert train(0.9).promote("production")
    there.write_text("another\n")
    rollback = lineart.Api().registry().collection("churn").rollback
    with pytest.raises(ReferenceChangedError):
        rollback("production")
    there.unlink()
    with pytest.raises(NotFoundError):
        rollback("production")
    assert judged(first, "files.pickles == 0")[0] == "undecided"
    assert lineart.Api().artifact("model-registry/churn:production").version == "v1"


def test_rollback_goes_nowhere() -> None:
    train(0.9).promote("production")
    churn = lineart.Api().registry().collection("churn")
    with pytest.raises(NotFoundError, match="was promoted to no other version"):
        churn.rollback("production")
    with pytest.raises(NotFoundError, match="has no alias 'stagin'"):
        churn.rollback("stagin")
    with pytest.raises(UsageError, match="expected a version such as v7"):
        churn.rollback("production", to="7")
