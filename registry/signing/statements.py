"""What is signed: in-toto statements (https://in-toto.io/Statement/v1) about versions, promotions and approvals. Pure.

A statement's subject is a version: its full name and the BLAKE3 of its manifest. Predicates of ours have types
``urn:lineart:<what>:v<major>``; what a verifier finds beside the keys of its major version it refuses, since each
checker `expect_…` makes the statement that the log asks for and compares the two, key by key.

The store and the origin (`artifacts.history`) stand in each: a statement about one version says nothing of another one
with the same content.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...storage.digest import is_hex_digest
from ...storage.errors import IntegrityError
from .envelopes import STATEMENT_TYPE

VERSION_TYPE = "urn:lineart:version:v1"
PROMOTION_TYPE = "urn:lineart:promotion:v1"
APPROVAL_TYPE = "urn:lineart:approval:v1"
SVR_TYPE = "https://in-toto.io/attestation/svr/v0.1"
PROVENANCE_TYPE = "https://slsa.dev/provenance/v1"
VERIFIER = "urn:lineart:policy:v1"  # who passed a policy, in a simple verification result

Statement = dict[str, Any]
_SHOWN = 80  # characters of a value in a message


@dataclass(frozen=True, slots=True)
class Subject:
    """A version as it is signed."""

    name: str  # entity/project/collection:vN
    digest: str  # BLAKE3 of its manifest, hexadecimal
    store: str  # id of the store
    origin: str  # <transaction>.<index> that made it, in whatever store that was


@dataclass(frozen=True, slots=True)
class LogPosition:
    """A transaction of the project's log: whoever signs it has signed everything before it."""

    seq: int
    digest: str  # of its bytes, as the next one names it


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """What the log says of a version and can never change, and how far the log went when it was signed."""

    subject: Subject
    type: str
    size_bytes: int
    file_count: int
    reference_count: int
    created_at: str
    log: LogPosition


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionFacts:
    """One move of a protected alias."""

    subject: Subject  # the version that it moved to
    alias: str
    from_version: str | None  # full name of the version that it pointed to
    number: int  # of this alias's promotions, from 1
    previous: str | None  # digest of the one before
    policy: str | None  # digest of the policy file; None: there was none
    verdict: str  # pass, fail or undecided; what is promoted against a verdict says so in `reason`
    reason: str
    time: str  # as the log writes it
    decision: str  # BLAKE3 of the op with all of the above, the clauses and the approvals that were counted


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalFacts:
    """One person's yes to one version under one alias."""

    subject: Subject
    alias: str
    id: str  # random: an approval counts once
    comment: str
    time: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFacts:
    """A policy that a version has passed."""

    subject: Subject
    name: str  # URI of where the policy stands
    policy: str  # digest of its file, BLAKE3
    time: str
    properties: Sequence[str]  # the clauses that hold


def version_statement(facts: VersionFacts) -> Statement:
    """That this version is what its name says."""
    return _statement(
        facts.subject,
        VERSION_TYPE,
        {
            **_place(facts.subject),
            "type": facts.type,
            "sizeBytes": facts.size_bytes,
            "fileCount": facts.file_count,
            "referenceCount": facts.reference_count,
            "createdAt": facts.created_at,
            "log": {"seq": facts.log.seq, "digest": {"blake3": facts.log.digest}},
        },
    )


def promotion_statement(facts: PromotionFacts) -> Statement:
    """That an alias moved, from where, why, and by which policy."""
    return _statement(
        facts.subject,
        PROMOTION_TYPE,
        {
            **_place(facts.subject),
            "alias": facts.alias,
            "from": facts.from_version,
            "number": facts.number,
            "previous": None if facts.previous is None else {"blake3": facts.previous},
            "policy": None if facts.policy is None else {"blake3": facts.policy},
            "verdict": facts.verdict,
            "reason": facts.reason,
            "time": facts.time,
            "decision": {"blake3": facts.decision},
        },
    )


def approval_statement(facts: ApprovalFacts) -> Statement:
    """That whoever signs it approves of this version as `alias`."""
    return _statement(
        facts.subject,
        APPROVAL_TYPE,
        {
            **_place(facts.subject),
            "alias": facts.alias,
            "id": facts.id,
            "comment": facts.comment,
            "time": facts.time,
        },
    )


def passed_policy_statement(facts: PolicyFacts) -> Statement:
    """A simple verification result, v0.1 of in-toto's: the clauses of a policy that hold for this version."""
    policy = {"uri": facts.name, "digest": {"blake3": facts.policy}}
    return _statement(
        facts.subject,
        SVR_TYPE,
        {
            "verifier": {"id": VERIFIER, "policy": policy},
            "timeCreated": facts.time,
            "properties": list(facts.properties),
        },
    )


def _statement(subject: Subject, predicate_type: str, predicate: Mapping[str, Any]) -> Statement:
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": subject.name, "digest": {"blake3": subject.digest}}],
        "predicateType": predicate_type,
        "predicate": dict(predicate),
    }


def _place(subject: Subject) -> dict[str, str]:
    return {"store": subject.store, "origin": subject.origin}


# Checks


def signed_log_position(statement: Mapping[str, Any]) -> LogPosition:
    """How far the log went when the version was signed. Raises: IntegrityError when the statement does not say it."""
    try:
        log = statement["predicate"]["log"]
        seq, digest = log["seq"], log["digest"]["blake3"]
    except (KeyError, TypeError) as error:
        raise IntegrityError("version statement: it names no transaction of the log") from error
    if not isinstance(seq, int) or isinstance(seq, bool) or seq < 0 or not is_hex_digest(digest):
        raise IntegrityError("version statement: what it names is no transaction of a log")
    return LogPosition(seq, digest)


def signed_subject(statement: Mapping[str, Any]) -> Subject:
    """Which version a statement of ours is about. Raises: IntegrityError when it does not say it."""
    try:
        (about,), predicate = statement["subject"], statement["predicate"]
        found = Subject(about["name"], about["digest"]["blake3"], predicate["store"], predicate["origin"])
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError("statement: it does not say which version it is about") from error
    if not all(isinstance(part, str) for part in (found.name, found.digest, found.store, found.origin)):
        raise IntegrityError("statement: what it says of its version is not text")
    return found


def expect_version(statement: Mapping[str, Any], facts: VersionFacts) -> None:
    """See that a statement about a version says `facts`. Raises: IntegrityError naming what differs."""
    _expect(statement, version_statement(facts), "version statement")


def expect_promotion(statement: Mapping[str, Any], facts: PromotionFacts) -> None:
    """See that a statement about a promotion says `facts`. Raises: IntegrityError naming what differs."""
    _expect(statement, promotion_statement(facts), "promotion statement")


def expect_approval(statement: Mapping[str, Any], facts: ApprovalFacts) -> None:
    """See that a statement about an approval says `facts`. Raises: IntegrityError naming what differs."""
    _expect(statement, approval_statement(facts), "approval statement")


def expect_passed_policy(statement: Mapping[str, Any], facts: PolicyFacts) -> None:
    """See that a simple verification result says `facts`. Raises: IntegrityError naming what differs."""
    _expect(statement, passed_policy_statement(facts), "verification result")


def expect_subject(statement: Mapping[str, Any], subject: Subject, predicate_type: str) -> None:
    """See that a statement of this type is about this version, whatever else it says.

    Raises: IntegrityError naming what differs.
    """
    wanted = _statement(subject, predicate_type, {})
    found = {key: value for key, value in statement.items() if key != "predicate"}
    _expect({**found, "predicate": {}}, wanted, "statement")


def _expect(found: Mapping[str, Any], wanted: Statement, what: str) -> None:
    difference = _difference(found, wanted, "")
    if difference is not None:
        where, said, expected = difference
        raise IntegrityError(f"{what}: {where} is {_shown(said)}, the log says {_shown(expected)}")


class _Missing:
    def __repr__(self) -> str:
        return "not there"


_MISSING = _Missing()


def _difference(found: Any, wanted: Any, where: str) -> tuple[str, Any, Any] | None:
    """The first place where two JSON values differ, with both; of the types first, so that true is not 1."""
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        for key in [*wanted, *(key for key in found if key not in wanted)]:
            inner = f"{where}.{key}" if where else str(key)
            difference = _difference(found.get(key, _MISSING), wanted.get(key, _MISSING), inner)
            if difference is not None:
                return difference
        return None
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        pairs = enumerate(zip(found, wanted, strict=True))
        return next((d for i, (a, b) in pairs if (d := _difference(a, b, f"{where}[{i}]")) is not None), None)
    same = type(found) is type(wanted) and found == wanted
    return None if same else (where, found, wanted)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
