"""Statements in DSSE envelopes (https://github.com/secure-systems-lab/dsse, v1): signing them, and opening them.

An envelope is ``{"payload": base64, "payloadType": …, "signatures": [{"keyid", "sig"}, …]}``. Signed is the
pre-authentication encoding of type and payload. The key id is not covered by the signature: it only says which of the
trusted keys is to be tried. The envelope is taken as it was written and in no other spelling, so that no byte of it can
be changed unseen.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...storage.errors import IntegrityError, UsageError
from ...storage.transaction import canonical_json
from .keys import Signer, TrustedKeys, demand_libraries

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
MAX_PAYLOAD_BYTES = (
    8 * 1024 * 1024
)  # a transaction has at most 32 MiB; a forged envelope cannot fill the memory
MAX_SIGNATURES = 64
_MAX_SIGNATURE_BYTES = 1024
_KEY_ID = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class Opened:
    """What was signed, and by whom: the names of the trusted keys, and their ids."""

    statement: Mapping[str, Any]
    signers: tuple[str, ...]
    key_ids: tuple[str, ...]


def sign_statement(statement: Mapping[str, Any], signer: Signer) -> dict[str, Any]:
    """The envelope around `statement`, with one signature. Raises: UsageError for one of more than 8 MiB."""
    payload = canonical_json(statement)
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise UsageError(
            f"statement of {len(payload)} bytes: expected at most {MAX_PAYLOAD_BYTES}; sign it into a file instead"
        )
    return wrap(payload, signer)


def wrap(payload: bytes, signer: Signer) -> dict[str, Any]:
    """The envelope around a statement in JSON, of any size."""
    from securesystemslib.dsse import Envelope

    pae = Envelope(payload, PAYLOAD_TYPE, {}).pae()
    return {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [
            {"keyid": signer.key_id, "sig": base64.b64encode(signer.sign(pae)).decode()},
        ],
    }


def open_envelope(envelope: object, trusted: TrustedKeys) -> Opened:
    """What a trusted key has signed. Signatures by other keys are passed over as long as there is one by a trusted one.

    Raises: IntegrityError when the envelope is malformed or too large, when no trusted key has signed it (it names the
    ids of those that have), or when a signature of a trusted key does not fit.
    """
    demand_libraries()
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import UnverifiedSignatureError
    from securesystemslib.signer import Signature  # pyright: ignore[reportPrivateImportUsage]

    payload, signatures = _parts(envelope)
    pae = Envelope(payload, PAYLOAD_TYPE, {}).pae()
    key_ids = [key_id for key_id in signatures if key_id in trusted]
    if not key_ids:
        raise IntegrityError(
            f"attestation: no trusted key has signed it, but {', '.join(key_id[:16] for key_id in signatures)};"
            f" trusted are {', '.join(trusted.names()) or 'none'}"
        )
    for key_id in key_ids:
        try:
            trusted[key_id].verifier.verify_signature(Signature(key_id, signatures[key_id].hex()), pae)
        except UnverifiedSignatureError as error:
            raise IntegrityError(
                f"attestation: the signature by {trusted.name(key_id)} ({key_id[:16]}) does not fit what is signed;"
                " it was changed, or forged"
            ) from error
    return Opened(_statement(payload), tuple(map(trusted.name, key_ids)), tuple(key_ids))


def peek(envelope: object) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """What an envelope says, and the key ids on it. Nothing is checked: for lists, never for decisions.

    Raises: IntegrityError when it is malformed.
    """
    payload, signatures = _parts(envelope)
    return _statement(payload), tuple(signatures)


def _parts(envelope: object) -> tuple[bytes, dict[str, bytes]]:
    """The payload, and the signatures by key id. Raises: IntegrityError."""
    if not isinstance(envelope, Mapping) or set(envelope) != {"payload", "payloadType", "signatures"}:
        raise _malformed("expected payload, payloadType and signatures")
    if envelope["payloadType"] != PAYLOAD_TYPE:
        raise _malformed(f"its type is {str(envelope['payloadType'])[:80]!r}, expected {PAYLOAD_TYPE!r}")
    payload = _decoded(envelope["payload"], MAX_PAYLOAD_BYTES, "payload")
    listed = envelope["signatures"]
    if not isinstance(listed, (list, tuple)) or not 0 < len(listed) <= MAX_SIGNATURES:
        raise _malformed(f"expected a list of 1 to {MAX_SIGNATURES} signatures")
    signatures: dict[str, bytes] = {}
    for signature in listed:
        if not isinstance(signature, Mapping) or set(signature) != {"keyid", "sig"}:
            raise _malformed("a signature has keyid and sig")
        key_id = signature["keyid"]
        if not isinstance(key_id, str) or not _KEY_ID.match(key_id):
            raise _malformed("a key id is 64 hexadecimal digits")
        if key_id in signatures:
            raise _malformed(f"key {key_id[:16]} stands there twice")
        signatures[key_id] = _decoded(signature["sig"], _MAX_SIGNATURE_BYTES, "signature")
    return payload, signatures


def _decoded(text: object, limit_bytes: int, what: str) -> bytes:
    """Standard base64 with its padding, in its one spelling. Raises: IntegrityError."""
    if not isinstance(text, str):
        raise _malformed(f"its {what} is not base64")
    if len(text) > (limit_bytes + 2) // 3 * 4:
        raise _malformed(f"its {what} has more than {limit_bytes} bytes")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _malformed(f"its {what} is not base64") from error
    if base64.b64encode(data).decode() != text:
        raise _malformed(f"its {what} is not base64 as it is written")
    return data


def _statement(payload: bytes) -> Mapping[str, Any]:
    try:
        statement = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise _malformed("its payload is not JSON") from error
    if not isinstance(statement, dict) or statement.get("_type") != STATEMENT_TYPE:
        raise _malformed(f"its payload is not a statement of type {STATEMENT_TYPE!r}")
    return statement


def _malformed(reason: str) -> IntegrityError:
    return IntegrityError(f"attestation: not an envelope as it is written: {reason}")
