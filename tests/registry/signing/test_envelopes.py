"""Envelopes: what a forger can do to one, and that each of it is refused by name."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope

import signing_keys
from lineart.registry.signing import (
    KINDS,
    MAX_PAYLOAD_BYTES,
    PAYLOAD_TYPE,
    TrustedKeys,
    open_envelope,
    sign_statement,
)
from lineart.storage.errors import IntegrityError, UsageError
from lineart.storage.transaction import canonical_json

STATEMENT = {
    "_type": "https://in-toto.io/Statement/v1",
    "subject": [],
    "predicateType": "x",
    "predicate": {"ü": 1.5},
}
ANN = signing_keys.trusting("ann")


def signed(statement: dict[str, Any] | None = None, by: str = "ann", kind: str = "ed25519") -> dict[str, Any]:
    return sign_statement(statement or STATEMENT, signing_keys.signer(by, kind))


def payload(value: object) -> str:
    return base64.b64encode(canonical_json(value)).decode()


def test_opened_is_what_was_signed_and_by_whom() -> None:
    opened = open_envelope(signed(), signing_keys.trusting("bob", "ann"))
    assert (opened.statement, opened.signers) == (STATEMENT, ("ann",))
    assert opened.key_ids == (signing_keys.signer("ann").key_id,)


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa-p256"])
def test_other_readers_of_the_format_accept_it(kind: str) -> None:
    envelope = signed(kind=kind)
    key = signing_keys.signer("ann", kind).public.verifier
    assert Envelope.from_dict(copy.deepcopy(envelope)).verify([key], 1) == {key.keyid: key}


def test_signature_beside_one_of_a_stranger_counts() -> None:
    envelope = signed()
    envelope["signatures"] = [*signed(by="eve")["signatures"], *envelope["signatures"]]
    assert open_envelope(envelope, ANN).signers == ("ann",)
    assert open_envelope(envelope, signing_keys.trusting("ann", "eve")).signers == ("eve", "ann")


def test_signature_of_a_trusted_key_that_does_not_fit_is_refused_beside_one_that_does() -> None:
    envelope = signed()
    other = signed({**STATEMENT, "predicateType": "y"}, by="bob")
    envelope["signatures"] += other["signatures"]
    with pytest.raises(IntegrityError, match=r"signature by bob .* does not fit"):
        open_envelope(envelope, signing_keys.trusting("ann", "bob"))


def change(**parts: Any) -> dict[str, Any]:
    return {**signed(), **parts}


def with_signature(**parts: Any) -> dict[str, Any]:
    envelope = signed()
    return {**envelope, "signatures": [{**envelope["signatures"][0], **parts}]}


def eve_as_ann() -> dict[str, Any]:
    return {
        **signed(by="eve"),
        "signatures": [{**signed(by="eve")["signatures"][0], "keyid": signing_keys.signer("ann").key_id}],
    }


FORGERIES: dict[str, tuple[Callable[[], object], str]] = {
    "changed payload": (lambda: change(payload=payload({**STATEMENT, "predicate": {}})), "does not fit"),
    "signature of another statement": (
        lambda: change(signatures=signed({**STATEMENT, "predicate": {}})["signatures"]),
        "does not fit",
    ),
    "other key": (lambda: signed(by="eve"), "no trusted key has signed it, but"),
    "other key under a trusted id": (eve_as_ann, r"signature by ann .* does not fit"),
    "no signature": (lambda: change(signatures=[]), "1 to 64 signatures"),
    "many signatures": (lambda: change(signatures=signed()["signatures"] * 65), "1 to 64 signatures"),
    "twice one key": (lambda: change(signatures=signed()["signatures"] * 2), "twice"),
    "truncated payload": (lambda: change(payload=signed()["payload"][:-8]), "does not fit"),
    "truncated signature": (lambda: with_signature(sig=signed()["signatures"][0]["sig"][:-4]), "not fit|not base64"),
    "empty signature": (lambda: with_signature(sig=""), "does not fit"),
    "huge signature": (lambda: with_signature(sig="A" * 10_000), "more than 1024 bytes"),
    "short key id": (lambda: with_signature(keyid="ab"), "64 hexadecimal digits"),
    "key id that is a list": (lambda: with_signature(keyid=[]), "64 hexadecimal digits"),
    "more in a signature": (lambda: with_signature(cert="x"), "keyid and sig"),
    "more in the envelope": (lambda: change(note="x"), "expected payload, payloadType"),
    "without a payload": (lambda: {k: v for k, v in signed().items() if k != "payload"}, "expected payload"),
    "other type": (lambda: change(payloadType="text/plain"), "its type is 'text/plain'"),
    "payload of a number": (lambda: change(payload=7), "payload is not base64"),
    "payload with a blank": (lambda: change(payload=" " + signed()["payload"]), "not base64"),
    "huge envelope": (lambda: change(payload="A" * (MAX_PAYLOAD_BYTES * 4 // 3 + 8)), "more than 8388608 bytes"),
    "list": (list, "expected payload"),
    "nothing": (lambda: None, "expected payload"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FORGERIES)
def test_forgery_is_refused_and_named(fault: str) -> None:
    forged, message = FORGERIES[fault]
    with pytest.raises(IntegrityError, match=message):
        open_envelope(forged(), ANN)


@pytest.mark.parametrize(
    "value", [b"{", b"[]", b"7", b"\xff", b"[" * 100_000, b'{"_type":"https://in-toto.io/Statement/v0.1"}']
)
def test_signed_payload_that_is_no_statement_is_refused(value: bytes) -> None:
    from lineart.registry.signing.envelopes import wrap

    with pytest.raises(IntegrityError, match="its payload is not"):
        open_envelope(wrap(value, signing_keys.signer("ann")), ANN)


def test_statement_that_is_too_large_is_not_signed() -> None:
    with pytest.raises(UsageError, match="expected at most"):
        signed({**STATEMENT, "predicate": "x" * MAX_PAYLOAD_BYTES})


def test_nobody_is_trusted_by_default() -> None:
    with pytest.raises(IntegrityError, match="trusted are none"):
        open_envelope(signed(), TrustedKeys())


WHOLE = {kind: canonical_json(signed(kind=kind)) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_changed_byte_is_refused(kind: str, data: st.DataObject) -> None:
    """Of the envelope as it lies in the log: each byte replaced by any other."""
    whole = WHOLE[kind]
    trusted = TrustedKeys({"ann": signing_keys.signer("ann", kind).public})
    assert open_envelope(json.loads(whole), trusted).signers == ("ann",)
    at = data.draw(st.integers(0, len(whole) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[at]))
    forged = whole[:at] + bytes([other]) + whole[at + 1 :]
    try:
        envelope = json.loads(forged)
    except ValueError:
        return  # no JSON any more
    with pytest.raises(IntegrityError):
        open_envelope(envelope, trusted)


def test_payload_type_is_signed() -> None:
    """What is signed is the encoding of type and payload, as the format has it."""
    envelope = signed()
    data = base64.b64decode(envelope["payload"])
    pae = b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(data), data)
    again = signing_keys.signer("ann").sign(pae)  # Ed25519 gives the same signature each time
    assert base64.b64encode(again).decode() == envelope["signatures"][0]["sig"]
