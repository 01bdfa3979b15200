"""The index of a version: the trailers of its packs in one object, so that a reader needs one request for all of them.

::

    8 bytes    magic: "LNARTXP" 0x01                (the last byte is the format)
    for each pack, in the order of their digests:
      32 bytes   digest of the pack
       8 bytes   length of its trailer
      …          the trailer as it stands at the pack's end

An index is a copy: what it says is verified with the bytes that it leads to, and who does without it reads the packs.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from .backend import Buffer
from .digest import DIGEST_BYTES
from .errors import FormatError, IntegrityError
from .pack import PackedObject, decode_trailer, encode_trailer, packed_bytes, trailer_length

MAGIC = b"LNARTXP\x01"
_LENGTH = struct.Struct("<Q")
FROM_PACKS = 3  # with fewer an index saves nothing


@dataclass(frozen=True, slots=True)
class PackSet:
    """The packs that a version needs: those of its metadata, those of its files, and the index of the latter."""

    meta: tuple[bytes, ...]
    data: tuple[bytes, ...] = ()
    index: bytes | None = None

    def __iter__(self) -> Iterator[bytes]:
        yield from self.meta
        yield from self.data

    def __len__(self) -> int:
        return len(self.meta) + len(self.data)


def encode_index(packs: Iterable[tuple[bytes, Sequence[PackedObject]]]) -> bytes:
    """`packs` are (digest, objects in the order of the pack)."""
    parts = [MAGIC]
    for pack, objects in sorted(packs, key=lambda found: found[0]):
        trailer = encode_trailer(objects)
        parts += [pack, _LENGTH.pack(len(trailer)), trailer]
    return b"".join(parts)


def decode_index(data: Buffer) -> Iterator[tuple[bytes, int, list[PackedObject]]]:
    """Digest, size in bytes and objects of each pack. Raises: IntegrityError, FormatError."""
    view = memoryview(data)
    if bytes(view[:7]) == MAGIC[:7] and len(view) > 7 and view[7] > MAGIC[7]:
        raise FormatError(f"index of format {view[7]}: this version reads format {MAGIC[7]}; upgrade lineart")
    if bytes(view[:8]) != MAGIC:
        raise IntegrityError("the index of packs has no beginning")
    at = len(MAGIC)
    while at < len(view):
        head = at + DIGEST_BYTES + _LENGTH.size
        if head > len(view):
            raise IntegrityError("the index of packs is cut off")
        (length,) = _LENGTH.unpack(view[head - _LENGTH.size : head])
        if length > len(view) - head:
            raise IntegrityError("the index of packs is cut off")
        trailer = view[head : head + length]
        if trailer_length(trailer[-16:]) != length:
            raise IntegrityError("the index of packs has a trailer of another length")
        objects = decode_trailer(trailer)
        yield bytes(view[at : at + DIGEST_BYTES]), packed_bytes(objects), objects
        at = head + length
