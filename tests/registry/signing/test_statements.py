"""Statements: what is said of versions, promotions, approvals, and that any difference is found and named."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lineart.lineage.questions import RunFacts
from lineart.lineage.untracked import UntrackedInput, UntrackedInputs
from lineart.registry.signing import (
    ApprovalFacts,
    LogPosition,
    MadeBy,
    PolicyFacts,
    PromotionFacts,
    Statement,
    Subject,
    UsedInput,
    VersionFacts,
    approval_statement,
    expect_approval,
    expect_passed_policy,
    expect_promotion,
    expect_subject,
    expect_version,
    passed_policy_statement,
    promotion_statement,
    provenance_statement,
    signed_log_position,
    version_statement,
)
from lineart.registry.signing.statements import APPROVAL_TYPE, VERSION_TYPE, signed_subject
from lineart.storage.errors import IntegrityError
from lineart.storage.transaction import canonical_json

A, B = "a" * 64, "b" * 64
TIME = "2026-01-02T03:04:05.000006Z"
SUBJECT = Subject("team/digits/model:v3", A, "store-1", "0f.2")
VERSION = VersionFacts(SUBJECT, "model", 10, 1, 0, TIME, LogPosition(7, B))
PROMOTION = PromotionFacts(
    subject=SUBJECT,
    alias="production",
    from_version="team/digits/model:v2",
    number=4,
    previous=B,
    policy=B,
    verdict="pass",
    reason="better",
    time=TIME,
    decision=B,
)
APPROVAL = ApprovalFacts(subject=SUBJECT, alias="production", id="9c", comment="fine", time=TIME)
POLICY = PolicyFacts(
    subject=SUBJECT, name="policy.toml", policy=B, time=TIME, properties=["run.accuracy >= 0.9"]
)

Case = tuple[Any, Callable[[Any], Statement], Callable[[Any, Any], None]]
CASES: dict[str, Case] = {
    "version": (VERSION, version_statement, expect_version),
    "promotion": (PROMOTION, promotion_statement, expect_promotion),
    "approval": (APPROVAL, approval_statement, expect_approval),
    "policy": (POLICY, passed_policy_statement, expect_passed_policy),
}


def other(value: Any) -> Any:
    if isinstance(value, Subject):
        return dataclasses.replace(value, name="team/digits/model:v4")
    if isinstance(value, LogPosition):
        return LogPosition(8, value.digest)
    return {int: 99, str: "other", list: ["other"]}[type(value)]


def differing() -> Iterator[tuple[str, str]]:
    for kind, (facts, _, _) in CASES.items():
        yield from ((kind, field.name) for field in dataclasses.fields(facts))


@pytest.mark.parametrize("kind", CASES)
def test_statement_says_what_it_was_made_of(kind: str) -> None:
    facts, make, expect = CASES[kind]
    expect(json.loads(canonical_json(make(facts))), facts)


@pytest.mark.parametrize("kind, field", list(differing()))
def test_each_field_that_differs_is_found(kind: str, field: str) -> None:
    facts, make, expect = CASES[kind]
    changed = dataclasses.replace(facts, **{field: other(getattr(facts, field))})
    with pytest.raises(IntegrityError, match=r"is .*, the log says "):
        expect(make(facts), changed)


@pytest.mark.parametrize("field", ["digest", "store", "origin"])
def test_statement_about_another_version_is_refused(field: str) -> None:
    """The same name in another store, other content, the same content made by another logging."""
    elsewhere = dataclasses.replace(VERSION, subject=dataclasses.replace(SUBJECT, **{field: B}))
    with pytest.raises(IntegrityError, match=field):
        expect_version(version_statement(VERSION), elsewhere)


def test_difference_is_named_with_both_sides() -> None:
    with pytest.raises(IntegrityError) as caught:
        expect_approval(approval_statement(APPROVAL), dataclasses.replace(APPROVAL, alias="staging"))
    assert str(caught.value) == "approval statement: predicate.alias is 'production', the log says 'staging'"


@pytest.mark.parametrize(
    "path, value",
    [
        (("predicate", "number"), True),  # not 1
        (("predicate", "number"), 4.0),
        (("predicate", "more"), "x"),
        (("subject",), []),
        (("subject", 0, "digest", "sha256"), A),
        (("predicateType",), VERSION_TYPE),
        (("_type",), "https://in-toto.io/Statement/v0.1"),
        (("predicate",), None),
    ],
)
def test_statement_of_another_form_is_refused(path: tuple[Any, ...], value: Any) -> None:
    statement = copy.deepcopy(promotion_statement(dataclasses.replace(PROMOTION, number=4)))
    place: Any = statement
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(IntegrityError):
        expect_promotion(statement, PROMOTION)


def test_statement_of_one_kind_is_none_of_another() -> None:
    """An approval is no promotion, whoever signed it."""
    with pytest.raises(IntegrityError, match="predicateType"):
        expect_promotion(approval_statement(APPROVAL), PROMOTION)
    expect_subject(approval_statement(APPROVAL), SUBJECT, APPROVAL_TYPE)
    with pytest.raises(IntegrityError, match="predicateType"):
        expect_subject(approval_statement(APPROVAL), SUBJECT, VERSION_TYPE)
    with pytest.raises(IntegrityError, match="blake3"):
        expect_subject(approval_statement(APPROVAL), dataclasses.replace(SUBJECT, digest=B), APPROVAL_TYPE)


def test_place_in_the_log_and_subject_are_read_back() -> None:
    statement = version_statement(VERSION)
    assert signed_log_position(statement) == VERSION.log
    assert signed_subject(statement) == SUBJECT


@pytest.mark.parametrize("log", [None, {}, {"seq": -1, "digest": {"blake3": A}}, {"seq": True, "digest": {"blake3": A}},
                                 {"seq": 1, "digest": {"blake3": "x"}}, {"seq": 1, "digest": A}])  # fmt: skip
def test_statement_without_a_place_in_the_log_is_refused(log: Any) -> None:
    statement = version_statement(VERSION)
    statement["predicate"]["log"] = log
    with pytest.raises(IntegrityError, match="transaction"):
        signed_log_position(statement)


NUMBER = {"subject": [{"name": 1, "digest": {"blake3": A}}], "predicate": {"store": "", "origin": ""}}


@pytest.mark.parametrize(
    "statement", [{}, {"subject": 7, "predicate": {}}, {"subject": [], "predicate": {}}, NUMBER]
)
def test_statement_without_a_version_is_refused(statement: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError, match="statement: "):
        signed_subject(statement)


def test_verification_result_has_what_the_format_asks_for() -> None:
    statement = passed_policy_statement(POLICY)
    assert statement["predicateType"] == "https://in-toto.io/attestation/svr/v0.1"
    assert statement["predicate"]["verifier"]["id"].startswith("urn:lineart:")
    assert statement["predicate"]["timeCreated"] == TIME
    assert statement["predicate"]["properties"] == ["run.accuracy >= 0.9"]


CAPTURE = {"command": ["train.py"], "python": "3.13", "host": "h",
           "git": {"commit": "c0ffee", "dirty": True, "remote": "https://git.example/x.git"}}  # fmt: skip
RUN = RunFacts(
    "team/digits/r1", "train", "train", "finished", {"lr": 0.1}, {}, CAPTURE, "ann", "box 1", TIME, TIME, None
)


def test_provenance_names_inputs_code_config_and_command() -> None:
    inputs = [UsedInput("team/digits/data:v1", B, "train"), UsedInput("~0a.0/x/y/z:v2", None)]
    statement = provenance_statement(SUBJECT, MadeBy(RUN, inputs, True, "0.1"))
    definition = statement["predicate"]["buildDefinition"]
    assert definition["externalParameters"] == {
        "config": {"lr": 0.1},
        "command": ["train.py"],
        "jobType": "train",
    }
    assert definition["internalParameters"]["dirty"] is True
    assert definition["resolvedDependencies"] == [
        {"name": "team/digits/data:v1", "digest": {"blake3": B}, "annotations": {"role": "train"}},
        {"name": "~0a.0/x/y/z:v2", "uri": "art://~0a.0/x/y/z:v2"},
        {"name": "code", "digest": {"gitCommit": "c0ffee"}, "uri": "git+https://git.example/x.git"},
    ]
    details = statement["predicate"]["runDetails"]
    assert details["builder"] == {"id": "urn:lineart:host:box%201", "version": {"lineart": "0.1"}}
    assert details["metadata"] == {"invocationId": "team/digits/r1", "startedOn": TIME, "finishedOn": TIME}


@pytest.mark.parametrize(
    "remote, uri",
    [
        ("git@github.com:team/code.git", "git+ssh://git@github.com/team/code.git"),
        ("/srv/my code", "git+file:///srv/my%20code"),
        ("https://ada:hunter2@example.org/c", "git+https://example.org/c"),
    ],
)
def test_code_in_provenance_has_a_uri(remote: str, uri: str) -> None:
    run = dataclasses.replace(RUN, capture={"git": {"commit": "c0ffee", "remote": remote}})
    definition = provenance_statement(SUBJECT, MadeBy(run, [], True, "0.1"))["predicate"]["buildDefinition"]
    assert definition["resolvedDependencies"] == [
        {"name": "code", "digest": {"gitCommit": "c0ffee"}, "uri": uri}
    ]


def test_provenance_names_what_was_read_and_not_declared() -> None:
    untracked = UntrackedInputs(
        True,
        (
            UntrackedInput("data/a b.csv", 7, A),
            UntrackedInput("gone.csv", None, None),
            UntrackedInput("https://ada:hunter2@host/x?token=abc", None, None),
        ),
        omitted=2,
    )
    made = MadeBy(RUN, [], True, "0.1", untracked)
    definition = provenance_statement(SUBJECT, made)["predicate"]["buildDefinition"]
    assert definition["resolvedDependencies"][:-1] == [
        {
            "name": "data/a b.csv",
            "digest": {"blake3": A},
            "annotations": {"untracked": True, "sizeBytes": 7},
        },
        {"name": "gone.csv", "uri": "file:gone.csv", "annotations": {"untracked": True}},
        {
            "name": "https://host/x?token=***",
            "uri": "https://host/x?token=***",
            "annotations": {"untracked": True},
        },
    ]
    assert definition["internalParameters"]["untrackedOmitted"] == 2


def test_provenance_has_no_secret_and_no_number_that_json_does_not_have() -> None:
    config = {
        "api_key": "k-123456789",
        "db": {"password": "hunter2"},
        "note": "k-123456789",
        "n": {"_int": "18446744073709551616"},
        "x": {"_float": "nan"},
    }
    run = dataclasses.replace(RUN, config=config)
    definition = provenance_statement(SUBJECT, MadeBy(run, [], True, "0.1"))["predicate"]["buildDefinition"]
    assert definition["externalParameters"]["config"] == {
        "api_key": "***",
        "db": {"password": "***"},
        "note": "***",
        "n": "18446744073709551616",
        "x": "nan",
    }


def test_provenance_of_a_bare_run_says_no_more_than_is_known() -> None:
    bare = dataclasses.replace(RUN, capture={}, config={}, job_type=None, host=None, finished_at=None)
    predicate = provenance_statement(SUBJECT, MadeBy(bare, [], False, "0.1"))["predicate"]
    assert predicate["buildDefinition"]["resolvedDependencies"] == []
    assert "finishedOn" not in predicate["runDetails"]["metadata"]
    assert predicate["buildDefinition"]["internalParameters"] == {"user": "ann", "exactInputs": False}
