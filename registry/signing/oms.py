"""OpenSSF Model Signing: a detached signature over a model's files that others can check without Lineart. Pure.

The file is a Sigstore bundle (v0.3, JSON) with a public key's hint and a DSSE envelope; its statement has the predicate
``https://model_signing/signature/v1.0``: the SHA-256 of each file, and as subject the SHA-256 of those digests in their
order. It is what ``model_signing verify key`` of model-signing 1.x reads, and nothing of it lies in the store.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from ...storage.errors import UsageError
from .envelopes import STATEMENT_TYPE, wrap
from .keys import Signer

OMS_TYPE = "https://model_signing/signature/v1.0"
BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
# What the verifier passes over in a folder unless it is told otherwise, beside the signature itself.
IGNORED = ("model.sig", ".git", ".gitattributes", ".github", ".gitignore")


def is_covered(path: str) -> bool:
    """Whether the file at this path of a version is signed.

    >>> is_covered("weights.bin"), is_covered(".gitattributes"), is_covered("a/.gitignore")
    (True, False, True)
    """
    return PurePosixPath(path).parts[0] not in IGNORED


def sign_model(name: str, sha256: Mapping[str, str], signer: Signer, *, has_links: bool) -> bytes:
    """The content of ``model.sig`` for the files `sha256` (path → digest, hexadecimal), those left out of `IGNORED`.

    `has_links`: some of the paths are symbolic links; the digest is that of what they lead to.
    Raises: UsageError for a key that is not ECDSA over P-256, and when no file is left.
    """
    if signer.public.kind != "ecdsa-p256":
        raise UsageError(
            f"model signing needs a key of kind ecdsa-p256, this one is {signer.public.kind};"
            ' make one: "art key new NAME --ec"'
        )
    paths = sorted(filter(is_covered, sha256), key=lambda path: PurePosixPath(path).parts)
    if not paths:
        raise UsageError(f"{name} has no file that could be signed")
    whole = hashlib.sha256(b"".join(bytes.fromhex(sha256[path]) for path in paths))
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": whole.hexdigest()}}],
        "predicateType": OMS_TYPE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": has_links,
                "ignore_paths": list(IGNORED),
            },
            "resources": [{"name": p, "algorithm": "sha256", "digest": sha256[p]} for p in paths],
        },
    }
    return json.dumps(_bundle(statement, signer), indent=2).encode() + b"\n"


def _bundle(statement: Mapping[str, Any], signer: Signer) -> dict[str, Any]:
    envelope = wrap(json.dumps(statement, separators=(",", ":"), ensure_ascii=False).encode(), signer)
    envelope["signatures"] = [{"sig": envelope["signatures"][0]["sig"], "keyid": ""}]
    hint = hashlib.sha256(signer.public_pem).hexdigest()  # of the PEM, which is what the verifier computes
    return {
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
        "dsseEnvelope": envelope,
    }
