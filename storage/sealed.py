"""JSON in one line that proves its own bytes: its last key, `verify`, is the BLAKE3 of all that stands before it.

For values that no digest elsewhere covers: the newest transaction of a log, settings, markers. One without the key was
written before there was one, and is taken as it is; one whose key or digest is damaged is not taken for such a one.
"""

from __future__ import annotations

from .backend import Buffer
from .digest import digest_of
from .errors import IntegrityError

_KEY = b',"verify":"'
_END = b'"}'
_SEAL_BYTES = len(_KEY) + 64 + len(_END)


def seal(line: bytes) -> bytes:
    """Add the seal to a JSON object that has at least one key and no line feed.

    >>> seal(b'{"a":1}')[:24]
    b'{"a":1,"verify":"2aa751a'
    """
    body = line[:-1]
    return body + _KEY + digest_of(body).hex().encode() + _END


def check_seal(data: Buffer) -> bool:
    """Whether the object in `data` (one line feed may follow) is sealed. Raises: IntegrityError when it was changed."""
    line = bytes(data).removesuffix(b"\n")
    body, found = line[:-_SEAL_BYTES], line[-_SEAL_BYTES:]
    expected = digest_of(body).hex().encode()
    if found == _KEY + expected + _END:
        return True
    if expected in found or _KEY in line[-2 * _SEAL_BYTES :]:
        raise IntegrityError("its bytes are not those that were written")
    return False
