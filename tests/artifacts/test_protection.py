"""Protected aliases: what the fold and the decisions make of promotions, and of moves beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

import scenario
from lineart.artifacts import ArtifactName, ProjectState
from lineart.artifacts.decisions import decide_alias, decide_alias_removal, decide_deletion, decide_log
from lineart.artifacts.project import decode_checkpoint, encode_checkpoint
from lineart.artifacts.protection import (
    Judged,
    Promotion,
    decide_approval,
    decide_policy,
    decide_promotion,
    decide_protection,
    decide_registered,
    decide_registry,
    policy_text,
)
from lineart.artifacts.state import Promoted, apply, promotion_digest
from lineart.storage.errors import ConflictError, IntegrityError, UsageError
from lineart.storage.log import Position
from lineart.storage.transaction import Op


def name(reference: str) -> ArtifactName:
    return ArtifactName(scenario.HOME, "data", reference)


def after(state: ProjectState, ops: Sequence[Op]) -> ProjectState:
    return apply(state, scenario.transaction(0, *ops))


def wish(state: ProjectState, version: str, **more: Any) -> Promotion:
    found = state.collections["data"]
    last = found.promoted.get("production") or Promoted()
    return Promotion(name(version), "production", found.aliases.get("production"), last, **more)


def promoted(state: ProjectState, version: str) -> ProjectState:
    return after(state, decide_promotion(state, wish(state, version)))


@pytest.fixture
def state() -> ProjectState:
    """``v0``, ``v1``, ``v2``; `production` is protected and points nowhere."""
    found = ProjectState()
    for content in ("one", "two", "three"):
        found = after(found, decide_log(found, scenario.request("data", content)))
    return after(found, decide_protection(found, "data", "production", protected=True, reason="release"))


def test_protected_alias_moves_without_promotion(state: ProjectState) -> None:
    state = promoted(state, "v1")
    with pytest.raises(UsageError, match="is protected: it moves by promotion only"):
        decide_alias(state, name("v0"), "production")
    with pytest.raises(UsageError, match="is protected"):
        decide_alias_removal(state, "data", "production")
    with pytest.raises(UsageError, match="is protected"):
        decide_log(state, scenario.request("data", "four", aliases=["production"]))
    with pytest.raises(UsageError, match="protected alias production points to"):
        decide_deletion(state, name("v1"), delete_aliases=True)
    assert decide_alias(state, name("v1"), "production") == []  # it is there
    assert decide_deletion(state, name("v0"))


def test_forged_move_of_a_protected_alias_counts(state: ProjectState) -> None:
    state = promoted(state, "v1")
    forged = {"op": "alias.move", "collection": "data", "alias": "production", "from": 1, "to": 0}
    for op in (forged, {**forged, "from": 7}, {**forged, "to": None}):
        state = after(state, [op])
    found = state.collections["data"]
    assert found.aliases["production"] == 1
    assert len(found.ignored) == 3
    assert "production → v0 by" in found.ignored[0]
    assert promoted(state, "v2").collections["data"].aliases["production"] == 2
    free = after(state, decide_protection(state, "data", "production", protected=False))
    assert after(free, [forged]).collections["data"].aliases["production"] == 0


def test_promotions_are_numbered_and_chained(state: ProjectState) -> None:
    ops = []
    for version in ("v1", "v2", "v1"):
        (op,) = decide_promotion(state, wish(state, version))
        state = after(state, [op])
        ops.append(op)
    assert [op["number"] for op in ops] == [1, 2, 3]
    assert [op["from"] for op in ops] == [None, 1, 2]
    assert [op["previous"] for op in ops] == ["", *map(promotion_digest, ops[:2])]
    copied = {**ops[0], "origin": "x.1", "at": "2026-01-01T00:00:00.000000Z", "by": {"user": "ada"}}
    assert promotion_digest(copied) == promotion_digest(ops[0])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"number": 3}, "1 promotions came before it"),
        ({"number": 1, "previous": ""}, "1 promotions came before it"),  # told again
        ({"previous": "0" * 64}, "names another promotion"),
        ({"from": 2}, "points to 1"),
        ({"to": 9}, "v9 is not a live version"),
        ({"digest": "0" * 64}, "has another content"),
    ],
)
def test_promotion_that_does_not_follow_is_taken(
    change: dict[str, Any], message: str, state: ProjectState
) -> None:
    state = promoted(state, "v1")
    (op,) = decide_promotion(state, wish(state, "v2"))
    with pytest.raises(IntegrityError, match=message):
        after(state, [{**op, **change}])


def test_two_who_promote_at_once_both_win(state: ProjectState) -> None:
    first, second = wish(state, "v1"), wish(state, "v2")
    state = after(state, decide_promotion(state, first))
    with pytest.raises(ConflictError, match="was moved meanwhile: it points to v1"):
        decide_promotion(state, second)
    back = after(state, decide_promotion(state, wish(state, "v0")))
    back = after(back, decide_promotion(back, wish(back, "v1")))
    with pytest.raises(ConflictError, match="promotion 3"):  # to where it was judged, by way of elsewhere
        decide_promotion(
            back, Promotion(name("v2"), "production", 1, state.collections["data"].promoted["production"])
        )


@pytest.mark.parametrize("verdict", ["fail", "undecided"])
def test_refusal_moves_the_alias(verdict: Any, state: ProjectState) -> None:
    clauses = [Judged("a", "pass", ""), Judged("b", verdict, "run.accuracy = 0.1")]
    (op,) = decide_promotion(state, wish(state, "v1", clauses=clauses))
    assert (op["op"], op["verdict"]) == ("promotion.refuse", verdict)
    assert after(state, [op]).collections["data"].aliases.get("production") is None


def test_failure_is_worse_than_what_cannot_be_decided(state: ProjectState) -> None:
    clauses = [Judged("a", "undecided", ""), Judged("b", "fail", "")]
    assert wish(state, "v1", clauses=clauses).verdict == "fail"


def test_promotion_of_what_is_there_says_nothing(state: ProjectState) -> None:
    state = promoted(state, "v1")
    assert decide_promotion(state, wish(state, "v1")) == []


def test_alias_that_was_set_before_it_was_protected_is_never_promoted(state: ProjectState) -> None:
    free = after(state, decide_protection(state, "data", "production", protected=False))
    free = after(free, decide_alias(free, name("v1"), "production"))
    kept = after(free, decide_protection(free, "data", "production", protected=True))
    (op,) = decide_promotion(kept, wish(kept, "v1"))  # so that there is a decision to look up
    assert (op["op"], op["from"], op["to"], op["number"]) == ("alias.promote", 1, 1, 1)


def test_checkpoint_loses_protection_promotions_and_policies(state: ProjectState) -> None:
    state = promoted(state, "v1")
    state = after(
        state, [{"op": "alias.move", "collection": "data", "alias": "production", "from": 1, "to": 0}]
    )
    state = after(state, decide_policy(state, "data", policy_text("[alias.production]\nrequire = []")))
    state = after(state, decide_registry(state, description="models", types=["dataset"]))
    state = after(state, decide_policy(state, None, policy_text("[alias.x]\nrequire = []")))
    again, _ = decode_checkpoint(encode_checkpoint(state, Position()))
    assert again == state
    assert again.collections["data"].policy != again.registry.policy  # type: ignore[union-attr]
    assert promoted(again, "v2") == promoted(state, "v2")


def test_registry_takes_what_it_does_not_allow() -> None:
    state = after(ProjectState(), decide_registry(ProjectState(), types=["model"]))
    with pytest.raises(UsageError, match="this registry takes model only"):
        decide_log(state, scenario.request("data", "one"))
    with pytest.raises(UsageError, match="this registry takes model only"):
        decide_registered(state, "data", "dataset")
    ops = decide_registered(state, "churn", "model", description="of customers", protect=["production"])
    state = after(state, ops)
    assert decide_registered(state, "churn", "model", protect=["production"]) == []
    with pytest.raises(UsageError, match="has type 'model', not 'dataset'"):
        decide_registered(after(state, decide_registry(state, types=[])), "churn", "dataset")
    with pytest.raises(UsageError, match="churn are here, of another type"):
        decide_registry(state, types=["dataset"])
    assert decide_registry(state) == []


def test_latest_can_be_protected(state: ProjectState) -> None:
    with pytest.raises(UsageError, match="cannot be protected"):
        decide_protection(state, "data", "latest", protected=True)
    with pytest.raises(UsageError, match="cannot be protected"):
        decide_registered(state, "other", "model", protect=["latest"])


def test_approval_changes_what_is_promoted(state: ProjectState) -> None:
    (op,) = decide_approval(state, name("v1"), "production", "id-1", "fine")
    assert after(state, [op]) == state
    assert (op["version"], op["digest"]) == (1, state.collections["data"].versions[1].digest)
