"""The laws of copying, over stores that copy from each other in any order while people work in each of them."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

import builders
import scenario
from lineart.artifacts import ArtifactName
from lineart.artifacts.decisions import (
    decide_alias,
    decide_alias_removal,
    decide_deletion,
    decide_log,
    decide_restoration,
    decide_revision,
)
from lineart.artifacts.history import History, external_name, parse_full
from lineart.artifacts.state import CollectionState
from lineart.artifacts.transfer import CollectionPlan, CopyRules, plan_collection
from lineart.storage.errors import Error, NotFoundError, UsageError
from lineart.storage.log import BackendLog
from lineart.storage.memory import MemoryBackend
from lineart.storage.transaction import Op, Transaction

STORES = st.sampled_from(["laptop", "desk", "team"])
CONTENTS = st.sampled_from(["one", "two", "three", "four", "five"])
ALIASES = st.sampled_from(["best", "production"])


class Side(History):
    """The log of a project, in memory: what a person or a copy says there."""

    def __init__(self, name: str) -> None:
        super().__init__(BackendLog(MemoryBackend(), "projects/team/digits/"))
        self.name = name
        self.count = 0

    def say(self, *ops: Op) -> None:
        if ops:
            time = f"2026-01-01T00:00:00.{self.count:06}Z"
            actor = {"user": self.name, "host": "box"}
            self.take(Transaction(self.count, uuid.uuid4().hex, time, actor, "0" * 64, ops))
            self.count += 1

    def log(self, content: str, **labels: Any) -> None:
        self.say(*decide_log(self.state, scenario.request("data", content, **labels)))

    @property
    def data(self) -> CollectionState:
        return self.state.collections["data"]

    def live(self) -> dict[str, int]:
        found = self.state.collections.get("data")
        return {} if found is None else {version.digest: version.number for version in found.live()}


def rules(target: Side, numbers: frozenset[int] | None = None, **changes: Any) -> CopyRules:
    given: dict[str, Any] = {
        "resolve": lambda name: external_name("x", name),
        "run": lambda run: run,
        "project": lambda project: project,
        "places": lambda number: {"packs": [], "meta_packs": ["there"]},
        **changes,
    }
    return CopyRules(collection="data", numbers=numbers, where=target.name, **given)


def copied(
    source: Side, target: Side, numbers: frozenset[int] | None = None, **changes: Any
) -> CollectionPlan:
    """Copy; the first plan. Afterwards there is nothing left to be said."""
    first: CollectionPlan | None = None
    while True:
        plan = plan_collection(rules(target, numbers, **changes), source, target)
        first = first or plan
        target.say(*plan.ops)
        if plan.is_complete:
            break
    assert plan_collection(rules(target, numbers, **changes), source, target).ops == []
    return first


def picture(side: Side) -> Any:
    """All of a collection but who is linked."""
    found = side.data
    versions = [
        (
            v.number,
            v.digest,
            v.metadata,
            v.description,
            v.tags,
            v.run,
            v.created_at,
            v.updated_at,
            v.ttl_s,
            v.deleted,
        )
        for v in sorted(found.versions.values(), key=lambda v: v.number)
    ]
    return found.type, found.description, found.created_at, dict(found.aliases), versions


class Copies(RuleBasedStateMachine):
    """Three stores; each rule is one person's or one copy's doing, with what must hold after it."""

    def __init__(self) -> None:
        super().__init__()
        self.sides = {name: Side(name) for name in ("laptop", "desk", "team")}

    def decide(self, store: str, decision: Any, *arguments: Any, **named: Any) -> None:
        side = self.sides[store]
        try:
            side.say(*decision(side.state, *arguments, **named))
        except Error:
            return  # not possible in this state

    @rule(
        store=STORES, content=CONTENTS, aliases=st.lists(ALIASES, max_size=1), tag=st.sampled_from(["a", "b"])
    )
    def log(self, store: str, content: str, aliases: list[str], tag: str) -> None:
        self.sides[store].log(content, aliases=aliases, tags=[tag], run=store)

    @rule(store=STORES, alias=ALIASES, number=st.integers(0, 6))
    def move(self, store: str, alias: str, number: int) -> None:
        self.decide(store, decide_alias, ArtifactName(scenario.HOME, "data", f"v{number}"), alias)

    @rule(store=STORES, alias=ALIASES)
    def remove_alias(self, store: str, alias: str) -> None:
        self.decide(store, decide_alias_removal, "data", alias)

    @rule(store=STORES, number=st.integers(0, 6), aliases=st.booleans())
    def delete(self, store: str, number: int, aliases: bool) -> None:
        name = ArtifactName(scenario.HOME, "data", f"v{number}")
        self.decide(store, decide_deletion, name, delete_aliases=aliases)

    @rule(store=STORES, number=st.integers(0, 6))
    def undelete(self, store: str, number: int) -> None:
        self.decide(store, decide_restoration, ArtifactName(scenario.HOME, "data", f"v{number}"))

    @rule(store=STORES, number=st.integers(0, 6), text=st.sampled_from(["x", "y"]))
    def describe(self, store: str, number: int, text: str) -> None:
        name = ArtifactName(scenario.HOME, "data", f"v{number}")
        self.decide(store, decide_revision, name, description=text)

    @rule(source=STORES, goal=STORES, part=st.none() | st.frozensets(st.integers(0, 6)), force=st.booleans())
    def copy(self, source: str, goal: str, part: frozenset[int] | None, force: bool) -> None:
        here, there = self.sides[source], self.sides[goal]
        if source == goal or "data" not in here.state.collections:
            return
        before = dict(there.live())
        was_empty = "data" not in there.state.collections
        numbers = None if part is None else part & frozenset(here.data.versions)
        plan = copied(here, there, numbers, force_aliases=force)
        for version in here.data.live():
            if numbers is None or version.number in numbers:
                place = there.places[here.creators["data", version.number]][1]
                found = there.data.versions[place]
                assert found.digest == version.digest
                # Nothing is lost, but what was deleted there by somebody.
                assert not found.deleted or place not in plan.created.values()
        dead = {here.creators["data", v.number] for v in here.data.versions.values() if v.deleted}
        for number in before.values():  # only what is the same version, and was deleted where it comes from
            assert not there.data.versions[number].deleted or there.creators["data", number] in dead
        assert sorted(there.data.versions) == list(range(there.data.next_version))
        if was_empty and numbers is None:
            assert picture(there) == picture(here)
        for alias, number in there.data.aliases.items():
            found = there.data.versions[number]
            assert not found.deleted, alias
        for version in there.data.live():  # whose content is nowhere
            assert version.meta_packs, version

    @rule()
    def settle(self) -> None:
        """However often stores copy from each other, it comes to an end."""
        for _ in range(6):
            said = 0
            for here in self.sides.values():
                for there in self.sides.values():
                    if here is not there and "data" in here.state.collections:
                        said += len(copied(here, there).ops)
            if not said:
                return
        raise AssertionError("the stores go on for ever")


Copies.TestCase.settings = settings(
    max_examples=300,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestCopies = Copies.TestCase


@pytest.fixture
def laptop() -> Side:
    """Three versions, the second deleted; `production` has been moved."""
    side = Side("laptop")
    for content in ("one", "two", "three"):
        side.log(content, run="r", tags=["raw"])
    name = ArtifactName(scenario.HOME, "data", "v0")
    side.say(*decide_alias(side.state, name, "production"))
    side.say(*decide_alias(side.state, ArtifactName(scenario.HOME, "data", "v2"), "production"))
    side.say(*decide_revision(side.state, name, metadata={"rows": 3}))
    side.say(*decide_deletion(side.state, ArtifactName(scenario.HOME, "data", "v1")))
    return side


def test_empty_target_gets_the_same_numbers_times_and_tombstones(laptop: Side) -> None:
    team = Side("team")
    plan = copied(laptop, team)
    assert picture(team) == picture(laptop)
    assert (plan.created, plan.deleted) == ({0: 0, 2: 2}, {1: 1})
    dead = next(op for op in plan.ops if op["op"] == "version.create" and op["version"] == 1)
    assert dead["packs"] == dead["meta_packs"] == []
    assert all({"origin", "at", "by"} <= op.keys() for op in plan.ops)


def test_chosen_version_keeps_its_number_and_the_others_come_to_theirs_later(laptop: Side) -> None:
    team = Side("team")
    copied(laptop, team, frozenset({2}))
    assert [v.number for v in team.data.live()] == [2]
    assert team.data.versions[0].absent
    assert dict(team.data.aliases) == {"latest": 2, "production": 2}
    copied(laptop, team)
    assert picture(team)[4] == picture(laptop)[4]


def test_latest_of_a_part_is_its_newest(laptop: Side) -> None:
    team = Side("team")
    copied(laptop, team, frozenset({0}))
    assert dict(team.data.aliases) == {"latest": 0}
    copied(laptop, team)
    assert dict(team.data.aliases) == {"latest": 2, "production": 2}


def test_two_sources_get_numbers_one_after_the_other(laptop: Side) -> None:
    team, desk = Side("team"), Side("desk")
    copied(laptop, team)
    desk.log("four")
    desk.log("one", tags=["checked"])  # which is there already
    plan = copied(desk, team)
    assert plan.created == {0: 3}
    assert plan.numbers == {0: 3, 1: 0}
    assert team.data.versions[0].tags == ("checked", "raw")
    assert team.data.aliases["latest"] == 3


def test_alias_that_the_team_has_moved_stays_and_is_told(laptop: Side) -> None:
    team = Side("team")
    copied(laptop, team)
    team.say(*decide_alias(team.state, ArtifactName(scenario.HOME, "data", "v0"), "production"))
    assert copied(laptop, team).conflicts == []  # nobody has moved it at the source since
    laptop.log("five", aliases=["production"])
    plan = copied(laptop, team)
    assert plan.conflicts == [
        "alias data:production was moved to v0 in team, not to v3; it stays (--force-aliases moves it)"
    ]
    assert dict(team.data.aliases) == {"latest": 3, "production": 0}
    copied(laptop, team, force_aliases=True)
    assert dict(team.data.aliases) == {"latest": 3, "production": 3}


def test_description_that_both_have_changed_stays(laptop: Side) -> None:
    team, name = Side("team"), ArtifactName(scenario.HOME, "data", "v0")
    copied(laptop, team)
    team.say(*decide_revision(team.state, name, description="the team's"))
    laptop.say(*decide_revision(laptop.state, name, description="mine", metadata={"rows": 4}))
    plan = copied(laptop, team)
    assert plan.conflicts == ["version data:v0: its description changed in team, too; it stays"]
    found = team.data.versions[0]
    assert (found.description, dict(found.metadata)) == ("the team's", {"rows": 4})


def test_version_that_an_alias_of_the_team_needs_is_not_deleted(laptop: Side) -> None:
    team, name = Side("team"), ArtifactName(scenario.HOME, "data", "v0")
    copied(laptop, team)
    team.say(*decide_alias(team.state, name, "kept"))
    laptop.say(*decide_deletion(laptop.state, name, delete_aliases=True))
    assert copied(laptop, team).conflicts == [
        "version data:v0 was deleted in the source; in team alias kept needs it; it stays"
    ]
    team.say(*decide_alias_removal(team.state, "data", "kept"))
    copied(laptop, team)
    assert team.data.versions[0].deleted


def test_version_that_only_latest_holds_is_deleted_when_that_moves_on() -> None:
    laptop, team = Side("laptop"), Side("team")
    for content in ("one", "two"):
        laptop.log(content)
    copied(laptop, team)
    one, two = (ArtifactName(scenario.HOME, "data", f"v{number}") for number in (0, 1))
    team.say(*decide_deletion(team.state, two))  # its latest is v0 now
    laptop.say(*decide_deletion(laptop.state, one))
    laptop.log("three")
    assert copied(laptop, team).conflicts == []
    assert dict(team.data.aliases) == {"latest": 2}
    assert [version.number for version in team.data.live()] == [2]


def test_version_that_was_restored_comes_back_with_its_content(laptop: Side) -> None:
    team, name = Side("team"), ArtifactName(scenario.HOME, "data", "v1")
    copied(laptop, team)
    assert team.data.versions[1].deleted
    with pytest.raises(NotFoundError) as caught:
        decide_restoration(team.state, name)
    builders.one_line(caught.value, "version data:v1", "before it was copied", "push or pull")
    laptop.say(*decide_restoration(laptop.state, name))
    plan = copied(laptop, team)
    assert plan.created == {1: 1}
    assert not team.data.versions[1].deleted
    assert team.data.versions[1].meta_packs == ("there",)
    assert copied(laptop, team).ops == []
    laptop.say(*decide_deletion(laptop.state, name))
    copied(laptop, team)
    assert team.data.versions[1].deleted
    assert copied(laptop, team).ops == []


def test_what_was_said_of_a_version_while_it_was_deleted_there_comes_with_its_restoration() -> None:
    laptop, desk, team = Side("laptop"), Side("desk"), Side("team")
    laptop.log("one")
    name = ArtifactName(scenario.HOME, "data", "v0")
    for side in (desk, team):
        copied(laptop, side)
    desk.say(*decide_deletion(desk.state, name, delete_aliases=True))
    laptop.say(*decide_revision(laptop.state, name, description="x"))
    copied(desk, team)
    copied(desk, laptop)
    laptop.say(*decide_restoration(laptop.state, name))
    copied(laptop, team)
    assert [(v.number, v.description) for v in team.data.live()] == [(0, "x")]


def test_what_the_team_has_deleted_does_not_come_back(laptop: Side) -> None:
    team = Side("team")
    copied(laptop, team)
    name = ArtifactName(scenario.HOME, "data", "v0")
    team.say(*decide_deletion(team.state, name, delete_aliases=True))
    assert copied(laptop, team).ops == []
    assert team.data.versions[0].deleted


def test_other_type_is_refused_by_name(laptop: Side) -> None:
    team = Side("team")
    team.say(*decide_log(team.state, scenario.request("data", "x", type="model")))
    with pytest.raises(UsageError, match="artifact 'data' has type 'model' in team, not 'dataset'"):
        plan_collection(rules(team), laptop, team)


def test_run_whose_id_is_taken_is_named_beside_the_version(laptop: Side) -> None:
    team = Side("team")
    copied(laptop, team, run=lambda run: None)
    assert {version.run for version in team.data.versions.values()} == {None}


def test_long_history_goes_in_several_transactions_and_never_shows_a_version_without_content() -> None:
    laptop, team = Side("laptop"), Side("team")
    for number in range(7000):
        laptop.log(f"content {number}")
    for number in range(6990):
        laptop.say({"op": "version.delete", "collection": "data", "version": number})
    pictures = 0
    while True:
        plan = plan_collection(rules(team), laptop, team)
        team.say(*plan.ops)
        pictures += 1
        assert len(plan.ops) < 65_536
        assert all(version.meta_packs for version in team.data.live())
        if plan.is_complete:
            break
    assert pictures > 1
    assert [v.number for v in team.data.live()] == list(range(6990, 7000))
    assert team.data.aliases["latest"] == 6999
    assert plan_collection(rules(team), laptop, team).ops == []


def test_names_of_versions_left_elsewhere_are_read_back() -> None:
    assert parse_full("team/digits/data:v3") == ArtifactName(scenario.HOME, "data", "v3")
