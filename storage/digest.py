"""Digests: the plain BLAKE3 of the bytes, 32 bytes inside `storage`, 64 hexadecimal digits everywhere else."""

from __future__ import annotations

import re

from blake3 import blake3

from .backend import Buffer
from .errors import IntegrityError

DIGEST_BYTES = 32
_HEX = re.compile(r"[0-9a-f]{64}\Z")


def digest_of(data: Buffer) -> bytes:
    """The BLAKE3 of `data`, 32 bytes.

    >>> digest_of(b"").hex()[:16]
    'af1349b9f5f9a1a6'
    """
    return blake3(data).digest()


def is_hex_digest(text: object) -> bool:
    """Whether `text` is 64 lower-case hexadecimal digits."""
    return isinstance(text, str) and _HEX.match(text) is not None


def parse_hex(text: str) -> bytes:
    """The 32 bytes behind 64 hexadecimal digits. Raises: IntegrityError for anything else."""
    if not is_hex_digest(text):
        raise IntegrityError(f"digest {text!r}: expected 64 lower-case hexadecimal digits")
    return bytes.fromhex(text)


def short(digest: bytes | str) -> str:
    """The first 12 digits, for messages."""
    return (digest.hex() if isinstance(digest, bytes) else digest)[:12]
