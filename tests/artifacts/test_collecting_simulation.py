"""Writers, collectors, sleep and death in any order: no committed version ever loses an object.

The code is the real one, over a store in memory; what is played is who makes the next call to the store.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from collection_stage import COLLECTIONS, CONTENTS, PROJECTS, Actor, Stage, play, prepare
from lineart.artifacts.collecting import Collector
from lineart.storage.condemned import Condemned
from lineart.storage.gc import Final, Plan
from lineart.storage.store_log import StoreLog, StoreState

LONG_RUN = 200_000  # commits
PROGRESS = 20_000
WRITERS, COLLECTORS = 3, 2


@pytest.fixture
def stage_folder(tmp_path: Path) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        prepare(patch)
        yield tmp_path


class Machine(RuleBasedStateMachine):
    """Hypothesis chooses what everybody does, and how far they come before it is another's turn."""

    folder: Path

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage(self.folder)
        self.writers = [Actor(self.stage, number) for number in range(WRITERS)]
        self.collectors = [Actor(self.stage, number) for number in range(COLLECTORS)]

    def begin(self, number: int, task: Callable[[Actor], object]) -> None:
        actor = self.writers[number]
        actor.finish()
        actor.start(lambda: task(actor))

    @rule(
        number=st.integers(0, WRITERS - 1),
        project=st.sampled_from(PROJECTS[:3]),
        collection=st.sampled_from(COLLECTIONS),
        contents=st.lists(st.sampled_from(CONTENTS[:6]), min_size=1, max_size=3, unique=True),
    )
    def log(self, number: int, project: Any, collection: str, contents: list[bytes]) -> None:
        self.begin(number, lambda actor: actor.log(project, collection, contents))

    @rule(
        number=st.integers(0, WRITERS - 1),
        project=st.sampled_from(PROJECTS[:3]),
        collection=st.sampled_from([*COLLECTIONS, "linked"]),
        kind=st.sampled_from(["delete", "delete", "restore"]),
    )
    def delete_or_restore(self, number: int, project: Any, collection: str, kind: str) -> None:
        self.begin(number, lambda actor: getattr(actor, kind)(project, collection))

    @rule(number=st.integers(0, WRITERS - 1), origin=st.integers(0, 2), goal=st.integers(0, 2))
    def link(self, number: int, origin: int, goal: int) -> None:
        if origin != goal:
            self.begin(number, lambda actor: actor.link(PROJECTS[origin], "x", PROJECTS[goal]))

    @rule(number=st.integers(0, COLLECTORS - 1))
    def collect(self, number: int) -> None:
        actor = self.collectors[number]
        actor.finish()
        actor.start(actor.collect)

    @rule(
        number=st.integers(0, WRITERS + COLLECTORS - 1),
        calls=st.integers(1, 40) | st.just(10_000),
    )
    def go_on(self, number: int, calls: int) -> None:
        actor = [*self.writers, *self.collectors][number]
        while actor.is_busy and calls:
            actor.step()
            calls -= 1

    @rule(number=st.integers(0, WRITERS + COLLECTORS - 1))
    def kill(self, number: int) -> None:
        [*self.writers, *self.collectors][number].kill()

    @precondition(lambda self: any(actor.commits for actor in self.writers))
    @rule()
    def look(self) -> None:
        assert self.stage.lost() == []

    def teardown(self) -> None:
        try:
            for actor in [*self.collectors, *self.writers]:
                actor.finish()
            assert self.stage.lost() == []
            for _ in range(2):
                self.collectors[0].start(self.collectors[0].collect)
                self.collectors[0].finish()
            assert self.stage.lost() == []
            assert self.stage.garbage() == set()
        finally:
            self.stage.close()


def run_machine(folder: Path, examples: int, steps: int) -> None:
    Machine.folder = folder
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=(
                HealthCheck.too_slow,
                HealthCheck.data_too_large,
                HealthCheck.filter_too_much,
            ),
            derandomize=True,
        ),
    )


def test_any_order_of_steps_loses_an_object_or_leaves_garbage(stage_folder: Path) -> None:
    run_machine(stage_folder, examples=40, steps=40)


def acts(folder: Path, seed: int, *, commits: int) -> Iterator[tuple[Stage, list[str]]]:
    """Plays, one after the other; after each what was lost in it, and what two more collections have left."""
    while True:
        stage = Stage(folder)
        try:
            lost = [found for look in play(stage, random.Random(seed), commits=commits) for found in look]
            last = Actor(stage, seed)
            for _ in range(2):
                last.start(last.collect)
                last.finish()
            yield stage, [*lost, *stage.lost(), *stage.garbage()]
        finally:
            stage.close()
        seed += 1


def run_acts(folder: Path, seed: int, commits: int) -> dict[str, int]:
    """Play until there were so many commits; what was counted."""
    counts: dict[str, int] = dict.fromkeys(
        ("commits", "refused", "deaths", "plans", "compacted packs", "acts"), 0
    )
    for stage, wrong in acts(folder, seed, commits=150):
        assert wrong == [], f"act with seed {seed + counts['acts']}"
        facts = stage.store().facts.state()
        counts["acts"] += 1
        counts["plans"] += len(facts.plans)
        counts["compacted packs"] += len(facts.replaced)
        for actor in stage.actors:
            counts["commits"] += actor.commits
            counts["refused"] += actor.refused
            counts["deaths"] += actor.deaths
        if counts["commits"] // PROGRESS > (counts["commits"] - 150) // PROGRESS:
            print(counts, flush=True)
        if counts["commits"] >= commits:
            return counts
    raise AssertionError("unreachable")


def test_random_acts_lose_an_object(stage_folder: Path) -> None:
    counts = run_acts(stage_folder, 0, 1500)
    assert counts["deaths"] > 0
    assert counts["plans"] > 10
    assert counts["compacted packs"] > 10


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_fifty_thousand_commits_lose_an_object(stage_folder: Path) -> None:
    assert run_acts(stage_folder, 2_000_000, LONG_RUN // 4)["commits"] >= LONG_RUN // 4


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_two_hundred_thousand_commits_lose_an_object(stage_folder: Path) -> None:
    counts = run_acts(stage_folder, 1_000_000, LONG_RUN)
    print(counts)
    assert counts["commits"] >= LONG_RUN


# Each part of the protocol left out: the play has to see it.


def no_check(patch: pytest.MonkeyPatch) -> None:
    """Writers do not look at the plans before they commit."""
    patch.setattr(Condemned, "demand_free", lambda self, packs: None)


def no_second_look(patch: pytest.MonkeyPatch) -> None:
    """Collectors delete what was planned, whatever the logs say now."""

    def decide(self: Collector, plan: Plan) -> tuple[Final, int]:
        return Final(plan.id, [pack.pack for pack in plan.packs]), 0

    patch.setattr(Collector, "_decide", decide)


def no_condemnation(patch: pytest.MonkeyPatch) -> None:
    """Nobody is told of a plan."""
    patch.setattr(Collector, "condemn", lambda self, plan: None)


def no_inheritance(patch: pytest.MonkeyPatch) -> None:
    """A new project does not take over the plans there are."""
    register = StoreLog.register

    def without_plans(self: StoreLog, project: str) -> StoreState:
        return replace(register(self, project), plans=())

    patch.setattr(StoreLog, "register", without_plans)


def no_cancellation(patch: pytest.MonkeyPatch) -> None:
    """A version is restored without a word to the plan that is about to delete it."""
    patch.setattr("lineart.tracking.links.spare", lambda *given: None)
    guard = Condemned.demand_free

    def blind(self: Condemned, packs: Any) -> None:
        guard(self, [pack for pack in packs if self.is_collected(pack)])

    patch.setattr(Condemned, "demand_free", blind)


def no_successors(patch: pytest.MonkeyPatch) -> None:
    """What was copied out of a pack is not written down."""
    patch.setattr(StoreLog, "replace", lambda self, packs, condemned: None)


@pytest.mark.parametrize(
    "part",
    [no_check, no_second_look, no_condemnation, no_inheritance, no_cancellation, no_successors],
    ids=lambda part: part.__name__,
)
def test_play_does_not_see_that_a_part_of_the_protocol_is_missing(
    stage_folder: Path, monkeypatch: pytest.MonkeyPatch, part: Callable[[pytest.MonkeyPatch], None]
) -> None:
    part(monkeypatch)
    for number, (_, wrong) in enumerate(acts(stage_folder, 1000, commits=150)):
        if wrong:
            return
        assert number < 40, "6,000 commits, and nothing was lost"
