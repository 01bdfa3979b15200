"""Signatures: keys, signed statements about versions and promotions, and what a verification has looked at.

Pure: values in, values out; keys are given as bytes, and nothing is read or asked. Start at `statements` (what is said)
and `envelopes` (how it is signed). May import: lineage, artifacts, storage. The libraries of the extra `sign` are
imported when they are needed.
"""

from __future__ import annotations

from .envelopes import MAX_PAYLOAD_BYTES, PAYLOAD_TYPE, Opened, open_envelope, sign_statement
from .keys import KINDS, PublicKey, Signer, TrustedKeys, has_password, load_public, load_signer, make_key
from .oms import sign_model
from .provenance import MadeBy, UsedInput, provenance_statement
from .statements import (
    APPROVAL_TYPE,
    PROMOTION_TYPE,
    PROVENANCE_TYPE,
    SVR_TYPE,
    VERSION_TYPE,
    ApprovalFacts,
    LogPosition,
    PolicyFacts,
    PromotionFacts,
    Statement,
    Subject,
    VersionFacts,
    approval_statement,
    expect_approval,
    expect_passed_policy,
    expect_promotion,
    expect_subject,
    expect_version,
    passed_policy_statement,
    promotion_statement,
    signed_log_position,
    version_statement,
)
from .steps import Step

__all__ = [
    "APPROVAL_TYPE",
    "KINDS",
    "MAX_PAYLOAD_BYTES",
    "PAYLOAD_TYPE",
    "PROMOTION_TYPE",
    "PROVENANCE_TYPE",
    "SVR_TYPE",
    "VERSION_TYPE",
    "ApprovalFacts",
    "LogPosition",
    "MadeBy",
    "Opened",
    "PolicyFacts",
    "PromotionFacts",
    "PublicKey",
    "Signer",
    "Statement",
    "Step",
    "Subject",
    "TrustedKeys",
    "UsedInput",
    "VersionFacts",
    "approval_statement",
    "expect_approval",
    "expect_passed_policy",
    "expect_promotion",
    "expect_subject",
    "expect_version",
    "has_password",
    "load_public",
    "load_signer",
    "make_key",
    "open_envelope",
    "passed_policy_statement",
    "promotion_statement",
    "provenance_statement",
    "sign_model",
    "sign_statement",
    "signed_log_position",
    "version_statement",
]
