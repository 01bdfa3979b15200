"""The laws of the fold, over histories that the decisions make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import builders
import scenario
from lineart.artifacts import ArtifactName, LogRequest, Project, ProjectState
from lineart.artifacts.decisions import (
    decide_alias,
    decide_alias_removal,
    decide_deletion,
    decide_log,
    decide_revision,
)
from lineart.artifacts.project import decode_checkpoint, encode_checkpoint
from lineart.artifacts.state import apply, replay
from lineart.storage.errors import Error, FormatError, IntegrityError
from lineart.storage.log import BackendLog, Position
from lineart.storage.store import Store
from lineart.storage.transaction import Op, Transaction, canonical_json

COLLECTIONS = st.sampled_from(["data", "model"])
CONTENTS = st.sampled_from(["one", "two", "three", "four"])
ALIASES = st.sampled_from(["best", "production", "v", "latest"])
LABELS = st.lists(st.sampled_from(["a", "b"]), max_size=2)
METADATA = st.dictionaries(st.sampled_from(["k", "m"]), st.integers(0, 2) | st.just("ü\n"), max_size=2)


def picture(state: ProjectState) -> bytes:
    """All of a state as bytes, to see whether it changed."""
    return encode_checkpoint(state, Position())


class Laws(RuleBasedStateMachine):
    """Decides, applies, and remembers by itself what must hold."""

    def __init__(self) -> None:
        super().__init__()
        self.state = ProjectState()
        self.transactions: list[Transaction] = []
        self.given: dict[str, list[int]] = {}  # every number that was ever given
        self.deleted: set[tuple[str, int]] = set()

    def commit(self, *ops: Op) -> None:
        """Apply what was decided, and check that the state before has not changed."""
        if not ops:
            return
        entry = scenario.transaction(len(self.transactions), *ops)
        before, seen = self.state, picture(self.state)
        self.state = apply(before, entry)
        assert picture(before) == seen
        self.transactions.append(entry)
        for op in ops:
            if op["op"] == "version.create":
                self.given.setdefault(op["collection"], []).append(op["version"])
            if op["op"] == "version.delete":
                self.deleted.add((op["collection"], op["version"]))

    def decide(self, decision: Any, *arguments: Any, **named: Any) -> bool:
        """Commit what a decision allows; whether it allowed anything."""
        try:
            ops = decision(self.state, *arguments, **named)
        except Error:
            return False
        self.commit(*ops)
        return True

    def wish(self, collection: str, content: str, **labels: Any) -> LogRequest:
        return scenario.request(collection, content, **labels)

    @rule(
        collection=COLLECTIONS,
        content=CONTENTS,
        aliases=st.lists(st.sampled_from(["best", "production"]), max_size=2),
        tags=LABELS,
        metadata=METADATA,
        run=st.none() | st.just("r1"),
    )
    def log(self, collection: str, content: str, **labels: Any) -> None:
        known = self.state.collections.get(collection)
        live = {} if known is None else {version.digest: version.number for version in known.live()}
        count = len(self.given.get(collection, []))
        assert self.decide(decide_log, self.wish(collection, content, **labels))
        now = self.state.collections[collection]
        number = live.get(scenario.digest(content), count)
        assert now.aliases["latest"] == number
        assert all(now.aliases[alias] == number for alias in labels["aliases"])
        assert len(self.given[collection]) == count + (number == count)

    @rule(collection=COLLECTIONS, number=st.integers(0, 4), aliases_too=st.booleans())
    def delete(self, collection: str, number: int, aliases_too: bool) -> None:
        name = ArtifactName(scenario.HOME, collection, f"v{number}")
        if self.decide(decide_deletion, name, delete_aliases=aliases_too):
            assert self.state.collections[collection].versions[number].deleted

    @rule(collection=COLLECTIONS, number=st.integers(0, 4), alias=ALIASES)
    def point(self, collection: str, number: int, alias: str) -> None:
        name = ArtifactName(scenario.HOME, collection, f"v{number}")
        if self.decide(decide_alias, name, alias):
            assert self.state.collections[collection].aliases[alias] == number

    @rule(collection=COLLECTIONS, alias=ALIASES)
    def drop(self, collection: str, alias: str) -> None:
        if self.decide(decide_alias_removal, collection, alias):
            assert alias not in self.state.collections[collection].aliases

    @rule(collection=COLLECTIONS, number=st.integers(0, 4), metadata=METADATA, tags=LABELS)
    def revise(self, collection: str, number: int, metadata: dict[str, Any], tags: list[str]) -> None:
        name = ArtifactName(scenario.HOME, collection, f"v{number}")
        if self.decide(decide_revision, name, metadata=metadata, change_tags=lambda _: tags):
            version = self.state.collections[collection].versions[number]
            assert (version.metadata, version.tags) == (metadata, tuple(sorted(set(tags))))

    @rule()
    def record(self) -> None:
        before = self.state
        self.commit({"op": "run.start", "run": "r1"}, {"op": "edge.use", "run": "r1"})
        assert self.state == before

    @precondition(lambda self: len(self.transactions) > 0)
    @rule(data=st.data())
    def replay_in_batches(self, data: st.DataObject) -> None:
        state, rest = ProjectState(), [*self.transactions]
        while rest:
            size = data.draw(st.integers(1, len(rest)))
            batch, rest = rest[:size], rest[size:]
            state = replay(state, batch)
            state, _ = decode_checkpoint(encode_checkpoint(state, Position(batch[-1].seq, "ab" * 32)))
        assert state == self.state

    @invariant()
    def numbers_have_no_holes_and_none_comes_twice(self) -> None:
        for collection, numbers in self.given.items():
            assert numbers == list(range(len(numbers)))
            assert self.state.collections[collection].next_version == len(numbers)
            assert set(self.state.collections[collection].versions) == set(numbers)

    @invariant()
    def aliases_point_to_live_versions(self) -> None:
        for collection in self.state.collections.values():
            live = {version.number for version in collection.live()}
            assert set(collection.aliases.values()) <= live
            assert ("latest" in collection.aliases) == bool(live)

    @invariant()
    def content_is_found_exactly_when_a_live_version_has_it(self) -> None:
        for collection in self.state.collections.values():
            assert dict(collection.by_digest.items()) == {v.digest: v.number for v in collection.live()}

    @invariant()
    def what_was_deleted_stays_deleted(self) -> None:
        for collection, number in self.deleted:
            assert self.state.collections[collection].versions[number].deleted

    @invariant()
    def checkpoint_says_the_same(self) -> None:
        position = Position(len(self.transactions) - 1, "cd" * 32)
        assert decode_checkpoint(encode_checkpoint(self.state, position)) == (self.state, position)


Laws.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestLaws = Laws.TestCase


# Facts that cannot be


def base() -> ProjectState:
    first = decide_log(ProjectState(), scenario.request("data", "one", aliases=["best"]))
    state = apply(ProjectState(), scenario.transaction(0, *first))
    gone = decide_log(state, scenario.request("data", "two"))
    state = apply(state, scenario.transaction(1, *gone))
    return apply(
        state,
        scenario.transaction(2, *decide_deletion(state, ArtifactName(scenario.HOME, "data", "v1"))),
    )


CREATE = decide_log(ProjectState(), scenario.request("data", "three"))[1]
CONTRADICTIONS: dict[str, Op] = {
    "collection made twice": {
        "op": "collection.create",
        "collection": "data",
        "type": "t",
        "description": "",
    },
    "collection that is not there": {"op": "collection.revise", "collection": "x", "description": ""},
    "number given twice": {**CREATE, "version": 0},
    "number of a deleted version": {**CREATE, "version": 1},
    "number left out": {**CREATE, "version": 3},
    "revision of no version": {"op": "version.revise", "collection": "data", "version": 7},
    "revision of a deleted version": {"op": "version.revise", "collection": "data", "version": 1},
    "deletion of a deleted version": {"op": "version.delete", "collection": "data", "version": 1},
    "deletion under an alias": {"op": "version.delete", "collection": "data", "version": 0},
    "alias from elsewhere": {
        "op": "alias.move",
        "collection": "data",
        "alias": "best",
        "from": None,
        "to": 0,
    },
    "alias to a deleted version": {
        "op": "alias.move",
        "collection": "data",
        "alias": "best",
        "from": 0,
        "to": 1,
    },
    "attestation of no version": {
        "op": "attestation.add",
        "collection": "data",
        "version": 9,
        "kind": "version",
        "envelope": {},
    },
    "attestation of a version that is true": {
        "op": "attestation.add",
        "collection": "data",
        "version": True,
        "kind": "version",
        "envelope": {},
    },
    "alias to no version": {"op": "alias.move", "collection": "data", "alias": "new", "from": None, "to": 9},
    "removal of no alias": {"op": "alias.move", "collection": "data", "alias": "new", "from": 0, "to": None},
    "field left out": {"op": "version.create", "collection": "data", "version": 2},
    "no op": {"collection": "data"},
    "op of a wrong type": {"op": ["version.create"], "collection": "data"},
    "collection of a wrong type": {"op": "version.delete", "collection": {}, "version": 0},
    "tags of a wrong type": {"op": "version.revise", "collection": "data", "version": 0, "tags": 7},
}


@pytest.mark.parametrize("fault", CONTRADICTIONS)
def test_fact_that_contradicts_the_state_is_refused(fault: str) -> None:
    state = base()
    seen = picture(state)
    with pytest.raises(IntegrityError, match="transaction 3: op") as caught:
        apply(state, scenario.transaction(3, CONTRADICTIONS[fault]))
    assert "\n" not in str(caught.value)
    assert picture(state) == seen


def test_transaction_with_one_bad_fact_changes_nothing() -> None:
    state = base()
    good = decide_log(state, scenario.request("model", "m"))
    with pytest.raises(IntegrityError):
        apply(state, scenario.transaction(3, *good, CONTRADICTIONS["number left out"]))
    assert "model" not in state.collections


# What a newer client wrote


@pytest.mark.parametrize("newer", ["op", "format"])
def test_what_a_newer_client_wrote_is_kept_and_refuses_writes(newer: str, tmp_store: Store) -> None:
    history = scenario.History(tmp_store)
    history.log("data", "one")
    strange: Op = {"op": "version.sign", "collection": "data", "version": 0, "signature": {"by": "ü"}}
    if newer == "op":
        history.commit(strange)
    else:
        position = history.project.position
        entry = Transaction(
            position.seq + 1, "f" * 32, "2026", {"user": "ada"}, position.digest, [strange], 99
        )
        history.project.log.append(entry)
    project = Project(tmp_store, scenario.HOME)
    assert "data" in project.state().collections
    with pytest.raises(FormatError, match=r"written by a newer lineart; upgrade"):
        project.commit(lambda state: decide_log(state, scenario.request("data", "two")))
    assert next(iter(project.state().collections["data"].versions)) == 0  # reading goes on
    key = BackendLog(tmp_store.backend, project.prefix).key(project.position.seq)
    assert canonical_json(strange) in tmp_store.backend.read(key)  # byte for byte
    again, _ = decode_checkpoint(encode_checkpoint(project.state(), project.position))
    assert again.newer == project.state().newer  # a checkpoint does not forget it


def test_newer_op_between_known_ones_does_not_hide_them() -> None:
    known = decide_log(ProjectState(), scenario.request("data", "one"))
    state = apply(ProjectState(), scenario.transaction(0, {"op": "from.the.future"}, *known))
    assert state.collections["data"].aliases["latest"] == 0
    assert state.newer == "op 'from.the.future' in transaction 0"


# Checkpoints


@pytest.fixture
def tmp_store(tmp_path: Path) -> Store:
    return builders.memory_store(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [b"", b"not zstd", b"\x28\xb5\x2f\xfd" + b"\0" * 20],
    ids=["empty", "no frame", "broken frame"],
)
def test_damaged_checkpoint_is_ignored(damage: bytes, tmp_store: Store) -> None:
    history = scenario.History(tmp_store)
    history.log("data", "one")
    expected = history.project.state()
    tmp_store.backend.write(f"{history.project.prefix}checkpoints/{0:012}/state.json.zst", damage)
    assert Project(tmp_store, scenario.HOME).state() == expected


@pytest.mark.parametrize("value", [{"format": 2}, {}, [], {"format": 1, "newer": None, "collections": [{}]}])
def test_checkpoint_of_another_form_is_refused(value: Any) -> None:
    import zstandard

    with pytest.raises((IntegrityError, FormatError)):
        decode_checkpoint(zstandard.ZstdCompressor().compress(canonical_json(value)))


def test_checkpoint_is_written_with_the_thousandth_transaction_and_read_alone(tmp_store: Store) -> None:
    history = scenario.History(tmp_store)
    history.log("data", "one", aliases=["best"], tags=["a"], metadata={"k": [1, {"ü": None}]})
    while history.project.position.seq < 999:
        history.commit({"op": "run.start", "run": "r"})
    assert tmp_store.backend.folders(f"{history.project.prefix}checkpoints/") == [f"{999:012}"]
    fresh = Project(tmp_store, scenario.HOME)
    state, position = fresh._checkpoint()  # what reading alone, without the log, brings
    assert (state, position) == (history.project.state(), history.project.position)
    history.log("data", "two")
    assert fresh.state() == history.project.state()
