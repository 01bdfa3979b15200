"""Each rule of retention alone, together, and what no rule can touch."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from lineart.artifacts.decisions import Content, LogRequest, decide_alias, decide_log
from lineart.artifacts.linking import decide_link_record
from lineart.artifacts.names import ArtifactName, ProjectName
from lineart.artifacts.retention import Best, Known, Rules, decide_pruning, decide_retention
from lineart.artifacts.state import ProjectState, apply
from lineart.storage.errors import UsageError
from lineart.storage.transaction import GENESIS, Transaction

HOME = ProjectName("team", "p")
NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)


def name(version: int) -> ArtifactName:
    return ArtifactName(HOME, "model", f"v{version}")


def after(state: ProjectState, ops: Any, day: int = 1) -> ProjectState:
    return apply(state, Transaction(0, "", f"2026-05-{day:02}T00:00:00.000000Z", {}, GENESIS, ops))


@pytest.fixture
def state() -> ProjectState:
    """v0 to v4, of 10 to 30 May; v1 is in production, v2 is linked, v3 has a day to live."""
    found = ProjectState()
    for number, day in enumerate((10, 15, 20, 25, 30)):
        content = Content(f"{number:064x}", 1, 1, 0, (), (), None)
        ttl_s = 86_400 if number == 3 else None
        metadata = {"loss": 0.5 - number / 10, "note": "x"}
        request = LogRequest("model", "model", content, metadata=metadata, ttl_s=ttl_s)
        found = after(found, decide_log(found, request), day)
    found = after(found, decide_alias(found, name(1), "production"))
    target = ArtifactName(ProjectName("team", "registry"), "best", "v0")
    return after(found, decide_link_record(found, name(2), target, new=True, run=None))


def kept(state: ProjectState, known: Known | None = None, **rules: Any) -> list[int]:
    verdicts = decide_retention(state.collections["model"], Rules(**rules), known or Known(), now=NOW)
    assert [verdict.version.number for verdict in verdicts] == sorted(v.version.number for v in verdicts)
    assert all(verdict.reason for verdict in verdicts)
    return [verdict.version.number for verdict in verdicts if verdict.keep]


ALWAYS = [1, 2]  # an alias, a link


def test_nothing_said_deletes_everything(state: ProjectState) -> None:
    with pytest.raises(UsageError, match="--keep-last"):
        kept(state)


@pytest.mark.parametrize(
    "rules, expected",
    [
        ({"last": 1}, [1, 2, 4]),
        ({"last": 2}, [1, 2, 4]),  # v3 is one of them, but its time is over
        ({"last": 99}, [0, 1, 2, 4]),
        ({"aliased": True}, [1, 2, 4]),  # `latest` is an alias
        ({"younger_than_s": 8 * 86_400.0}, [1, 2, 4]),
        ({"younger_than_s": 30 * 86_400.0}, [0, 1, 2, 4]),
        ({"expired": True}, [0, 1, 2, 4]),
        ({"expired": True, "last": 1}, [1, 2, 4]),
        ({"last": 1, "delete_aliases": True}, [2, 4]),
        ({"aliased": True, "delete_aliases": True}, [1, 2, 4]),
    ],
    ids=str,
)
def test_rule_keeps_too_much_or_too_little(
    state: ProjectState, rules: dict[str, Any], expected: list[int]
) -> None:
    assert kept(state, **rules) == expected


def test_used_version_is_deleted(state: ProjectState) -> None:
    assert kept(state, Known(used=frozenset({0})), used=True) == [0, *ALWAYS]
    assert kept(state, Known(used=frozenset({0})), younger_than_s=1.0) == ALWAYS


def test_best_version_is_deleted(state: ProjectState) -> None:
    metrics = {
        0: {"acc": 0.9, "loss": 0.1},
        1: {"acc": 0.99},
        4: {"acc": 0.9, "loss": 0.2},
        3: {"acc": float("nan")},
    }
    known = Known(metrics=metrics)
    assert kept(state, known, best=[Best("loss", "min")]) == [0, *ALWAYS]
    assert kept(state, known, best=[Best("loss", "max")]) == [*ALWAYS, 4]
    assert kept(state, known, best=[Best("acc")]) == ALWAYS, "that is v1"
    assert kept(state, known, best=[Best("loss", "min"), Best("loss")]) == [0, *ALWAYS, 4]
    assert kept(state, known, best=[Best("nobody has it")]) == ALWAYS
    tied = Known(metrics={0: {"acc": 1.0}, 4: {"acc": 1.0}})
    assert kept(state, tied, best=[Best("acc")]) == [*ALWAYS, 4], "the newest of equals"


def test_time_to_live_beyond_the_calendar(state: ProjectState) -> None:
    content = Content("f" * 64, 1, 1, 0, (), (), None)
    endless = after(state, decide_log(state, LogRequest("model", "model", content, ttl_s=10**15)), 30)
    assert 5 in kept(endless, expired=True)


def verdicts(state: ProjectState, **rules: Any) -> tuple[dict[ArtifactName, Any], Rules]:
    chosen = Rules(**rules)
    found = decide_retention(state.collections["model"], chosen, Known(), now=NOW)
    return {name(verdict.version.number): verdict for verdict in found}, chosen


def test_pruning_leaves_latest_without_a_version_and_a_reason_unsaid(state: ProjectState) -> None:
    found, rules = verdicts(state, younger_than_s=1.0)
    ops = decide_pruning(state, found, rules)
    deleted = [op["version"] for op in ops if op["op"] == "version.delete"]
    assert deleted == [0, 3, 4]
    assert all(op["reason"].startswith("prune: ") for op in ops if op["op"] == "version.delete")
    pruned = after(state, ops)
    assert pruned.collections["model"].aliases["latest"] == 2
    assert decide_pruning(pruned, found, rules) == []


def test_pruning_deletes_what_got_an_alias_or_a_link_meanwhile(state: ProjectState) -> None:
    found, rules = verdicts(state, younger_than_s=1.0)
    later = after(state, decide_alias(state, name(0), "staging"))
    target = ArtifactName(ProjectName("team", "registry"), "best", "v1")
    later = after(later, decide_link_record(later, name(3), target, new=True, run=None))
    assert [op["version"] for op in decide_pruning(later, found, rules) if op["op"] == "version.delete"] == [
        4
    ]


def test_pruning_with_aliases_asked_for_keeps_a_new_one(state: ProjectState) -> None:
    found, rules = verdicts(state, last=1, delete_aliases=True)
    later = after(state, decide_alias(state, name(0), "staging"))
    pruned = after(later, decide_pruning(later, found, rules))
    model = pruned.collections["model"]
    assert [version.number for version in model.live()] == [0, 2, 4]
    assert dict(model.aliases.items()) == {"latest": 4, "staging": 0}
