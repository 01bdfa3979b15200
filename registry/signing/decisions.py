"""Signed promotions, approvals and protections: the envelopes in their ops, made and checked. Pure.

An envelope is bound to its op: to the number of the promotion and the digest of the one before, to the random id of an
approval, to the protection that is ended. So it cannot be said again later, of something else, or in another place.
A copy of an op (`artifacts.history`) keeps the envelope of then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...artifacts.names import ArtifactName, ProjectName
from ...artifacts.state import promotion_digest
from ...storage.digest import digest_of
from ...storage.errors import IntegrityError
from ...storage.transaction import Op
from .envelopes import STATEMENT_TYPE, open_envelope, sign_statement
from .keys import Signer, TrustedKeys
from .log_facts import LogFacts
from .statements import (
    ApprovalFacts,
    PromotionFacts,
    Statement,
    Subject,
    approval_statement,
    expect_approval,
    expect_promotion,
    promotion_statement,
    signed_subject,
)

PROTECTION_TYPE = "urn:lineart:protection:v1"


def decision_digest(op: Op) -> str:
    """The BLAKE3 of an op without its envelope."""
    return promotion_digest({key: value for key, value in op.items() if key != "envelope"})


def policies_digest(op: Op) -> str | None:
    """The digest of the policy that decided; of several one over theirs, in their order; None without any."""
    digests = [str(policy["digest"]) for policy in op["policies"]]
    if len(digests) <= 1:
        return digests[0] if digests else None
    return digest_of("\n".join(digests).encode()).hex()


def promotion_facts(op: Op, subject: Subject) -> PromotionFacts:
    """What is signed of a promotion."""
    home = subject.name.rpartition(":")[0]
    return PromotionFacts(
        subject=subject,
        alias=op["alias"],
        from_version=None if op["from"] is None else f"{home}:v{op['from']}",
        number=op["number"],
        previous=op["previous"] or None,
        policy=policies_digest(op),
        verdict=op["verdict"],
        reason=op["reason"],
        time=op["said_at"],
        decision=decision_digest(op),
    )


def approval_facts(op: Op, subject: Subject) -> ApprovalFacts:
    """What is signed of an approval."""
    return ApprovalFacts(
        subject=subject, alias=op["alias"], id=op["id"], comment=op["comment"], time=op["said_at"]
    )


def sign_decision(op: Op, log: LogFacts, signer: Signer) -> dict[str, Any]:
    """The envelope of a promotion, an approval or a protection, made by the holder of a key.

    Raises: IntegrityError when the log does not have the version.
    """
    if op["op"] == "alias.protect":
        return sign_statement(_protection_statement(op, log), signer)
    subject = log.subject(_version(op, log))
    if op["op"] == "approval.give":
        return sign_statement(approval_statement(approval_facts(op, subject)), signer)
    return sign_statement(promotion_statement(promotion_facts(op, subject)), signer)


def check_decision(op: Op, log: LogFacts, trusted: TrustedKeys) -> tuple[str, ...]:
    """The names of the trusted keys that stand for a promotion, an approval or a protection.

    `log` is the log up to and with the op. Raises: IntegrityError naming what is wrong: no envelope, none by a trusted
    key, a signature that does not fit, or a statement about something else.
    """
    if "envelope" not in op:
        raise IntegrityError("it is not signed")
    opened = open_envelope(op["envelope"], trusted)
    try:
        if op["op"] == "alias.protect":
            _expect_protection(opened.statement, op, log)
        else:
            subject = _subject(op, log, signed_subject(opened.statement))
            if op["op"] == "approval.give":
                expect_approval(opened.statement, approval_facts(op, subject))
            else:
                expect_promotion(opened.statement, promotion_facts(op, subject))
    except (KeyError, TypeError) as error:
        raise IntegrityError(f"what is signed cannot be compared with it ({error!r})") from error
    return opened.signers


def _version(op: Op, log: LogFacts) -> ArtifactName:
    number = op["version"] if "version" in op else op["to"]
    entity, _, project = log.project.partition("/")
    return ArtifactName(ProjectName(entity, project), op["collection"], f"v{number}")


def _subject(op: Op, log: LogFacts, said: Subject) -> Subject:
    """The version that the op is about, as it had to be signed: here or, of a copied op, where it was said."""
    own = log.subject(_version(op, log))
    if own.digest != op["digest"]:
        raise IntegrityError(f"it is about content {op['digest'][:12]}, the version has {own.digest[:12]}")
    if "origin" in op and log.is_from_elsewhere(_version(op, log), said):
        return replace(own, name=said.name, store=said.store, origin=said.origin)
    return own


def _protection_statement(op: Op, log: LogFacts) -> Statement:
    return {
        "_type": STATEMENT_TYPE,
        "subject": [
            {
                "name": f"{log.project}/{op['collection']}:{op['alias']}",
                "digest": {"blake3": decision_digest(op)},
            }
        ],
        "predicateType": PROTECTION_TYPE,
        "predicate": {
            "protected": op["protected"],
            "reason": op["reason"],
            "since": op.get("since"),
            "time": op["said_at"],
            "store": log.store,
        },
    }


def _expect_protection(statement: Mapping[str, Any], op: Op, log: LogFacts) -> None:
    wanted = _protection_statement(op, log)
    if "origin" in op:  # said in another store or project, of a collection of this name
        wanted["subject"][0]["name"] = statement["subject"][0]["name"]
        wanted["predicate"]["store"] = statement["predicate"]["store"]
        if not str(wanted["subject"][0]["name"]).endswith(f"/{op['collection']}:{op['alias']}"):
            raise IntegrityError("protection statement: it is about another alias")
    if statement != wanted:
        raise IntegrityError("protection statement: it does not say what the log says")
