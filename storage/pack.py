"""The pack format (docs/format.md, "Packs") and the writer that builds one in a local file."""

from __future__ import annotations

import os
import secrets
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from .backend import Buffer
from .codec import PLAIN_LIMIT_BYTES, Codec
from .digest import DIGEST_BYTES, digest_of, short
from .errors import FormatError, IntegrityError

HEADER = b"LNARTPK\x01"
_INDEX_MAGIC = b"LNARTIX\x01"
_ROW = struct.Struct("<32sQQB")
_LENGTH = struct.Struct("<Q")
_FOOTER_BYTES = DIGEST_BYTES + len(_INDEX_MAGIC) + _LENGTH.size
_MAX_TRAILER_BYTES = 64 * 1024 * 1024  # more than a million objects
_MAX_RAW_BYTES = (1 << 63) - 1
_WRITE_BYTES = 1024 * 1024  # one write(2): 128 KiB took 0.99 s a GiB here, 1 MiB 0.29 s, 4 MiB the same
SALT_BYTES = 16
# One read of a pack's end brings the trailer of 1,300 objects; a longer one takes a second read.
TAIL_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class PackLimits:
    """When a writer closes a pack."""

    target_bytes: int = 32 * 1024 * 1024
    max_bytes: int = 64 * 1024 * 1024
    max_objects: int = 8192

    def __post_init__(self) -> None:
        limits = (self.target_bytes, self.max_bytes, self.max_objects)
        if not all(isinstance(limit, int) and limit > 0 for limit in limits):
            raise ValueError(f"pack limits {limits}: expected whole numbers above 0")
        if max(self.target_bytes, self.max_bytes) > 1 << 30 or self.max_objects > 1_000_000:
            raise ValueError(f"pack limits {limits}: expected at most 1 GiB and a million objects")


@dataclass(frozen=True, slots=True)
class PackedObject:
    """One row of a pack's index, with its offset."""

    digest: bytes
    raw_bytes: int
    offset: int
    stored_bytes: int
    codec: int


@dataclass(frozen=True, slots=True)
class BuiltPack:
    """A finished pack in a local file, ready to be given to a backend."""

    digest: bytes
    path: Path
    size_bytes: int
    objects: Sequence[PackedObject]


def pack_key(digest: bytes) -> str:
    """The backend key of a pack.

    >>> pack_key(bytes(32))[:10]
    'packs/00/0'
    """
    name = digest.hex()
    return f"packs/{name[:2]}/{name}.pack"


def new_salt() -> bytes:
    """Random bytes that nothing refers to: as the first object of a pack they give it a name that no other one has."""
    return secrets.token_bytes(SALT_BYTES)


def may_be_salt(objects: Sequence[PackedObject]) -> bool:
    """Whether the first object of a pack looks like a salt."""
    return bool(objects) and objects[0].raw_bytes == SALT_BYTES and objects[0].codec == Codec.RAW


def encode_trailer(objects: Sequence[PackedObject]) -> bytes:
    """Index, checksum, magic and length."""
    index = b"".join(_ROW.pack(o.digest, o.raw_bytes, o.stored_bytes, o.codec) for o in objects)
    return index + digest_of(index) + _INDEX_MAGIC + _LENGTH.pack(len(index) + _FOOTER_BYTES)


def packed_bytes(objects: Sequence[PackedObject]) -> int:
    """Size of the pack that has these objects."""
    end = objects[-1].offset + objects[-1].stored_bytes if objects else len(HEADER)
    return end + len(objects) * _ROW.size + _FOOTER_BYTES


def trailer_length(tail: Buffer, pack_bytes: int | None = None) -> int:
    """How many bytes at the end of a pack are its trailer, from its last 16 bytes or more.

    Raises: IntegrityError when this is not the end of a pack; FormatError when it is a newer one's.
    """
    if len(tail) < 16:
        raise IntegrityError("no trailer at its end: it is truncated or not a pack")
    magic = bytes(tail[-16:-8])
    if magic[:7] == _INDEX_MAGIC[:7] and magic[7] > _INDEX_MAGIC[7]:
        raise FormatError(f"pack of format {magic[7]}: this version reads format 1; upgrade lineart")
    if magic != _INDEX_MAGIC:
        raise IntegrityError("no trailer at its end: it is truncated or not a pack")
    length: int = _LENGTH.unpack(tail[-8:])[0]
    too_long = length > _MAX_TRAILER_BYTES or (pack_bytes is not None and length + len(HEADER) > pack_bytes)
    if length < _FOOTER_BYTES or too_long or (length - _FOOTER_BYTES) % _ROW.size:
        raise IntegrityError(f"trailer of {length} bytes in a pack of {pack_bytes or 'unknown'} bytes")
    return length


def decode_trailer(trailer: Buffer, pack_bytes: int | None = None) -> list[PackedObject]:
    """The index of a pack of `pack_bytes`, if that is known. Raises: IntegrityError when it does not fit together."""
    index, check = trailer[:-_FOOTER_BYTES], trailer[-_FOOTER_BYTES : DIGEST_BYTES - _FOOTER_BYTES]
    if digest_of(index) != bytes(check):
        raise IntegrityError("the index does not match its checksum")
    objects, offset = [], len(HEADER)
    for digest, raw_bytes, stored_bytes, codec in _ROW.iter_unpack(index):
        # What is read for one object must fit into the memory; only a list of chunks may be longer.
        if raw_bytes > _MAX_RAW_BYTES or (codec != Codec.CHUNKS and stored_bytes > PLAIN_LIMIT_BYTES):
            raise IntegrityError(
                f"object {short(digest)}: {stored_bytes} stored and {raw_bytes} raw bytes are too many"
            )
        objects.append(PackedObject(digest, raw_bytes, offset, stored_bytes, codec))
        offset += stored_bytes
        if offset > _MAX_RAW_BYTES:
            raise IntegrityError(f"object {short(digest)}: {stored_bytes} stored bytes are too many")
    if pack_bytes is not None and offset + len(trailer) != pack_bytes:
        raise IntegrityError(f"payloads and trailer take {offset + len(trailer)} bytes of {pack_bytes}")
    return objects


class PackWriter:
    """Builds one pack in a file under `folder`. Used by one thread.

    The file is removed by `discard()`; after `finish()` it belongs to the caller.
    """

    def __init__(self, folder: Path, limits: PackLimits) -> None:
        self._path = folder / f"{os.getpid()}~{secrets.token_hex(8)}.pack"
        self._limits = limits
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        self._hasher = blake3()
        self._objects: list[PackedObject] = []
        self._size = 0
        self._buffer = bytearray()
        self._write(HEADER)

    @property
    def object_count(self) -> int:
        """Objects in the pack so far."""
        return len(self._objects)

    def is_full_for(self, stored_bytes: int) -> bool:
        """Whether an object of `stored_bytes` belongs into the next pack."""
        if not self._objects:
            return False  # an object longer than a pack has one of its own
        return (
            self._size >= self._limits.target_bytes
            or self._size + stored_bytes > self._limits.max_bytes
            or len(self._objects) >= self._limits.max_objects
        )

    def add(self, digest: bytes, raw_bytes: int, codec: int, payload: Buffer) -> None:
        """Append an object. Raises: OSError from the disk."""
        self._objects.append(PackedObject(digest, raw_bytes, self._size, len(payload), codec))
        self._write(payload)

    def finish(self) -> BuiltPack:
        """Write the trailer and close the file. Raises: OSError from the disk."""
        self._write(encode_trailer(self._objects))
        self._flush()
        os.close(self._file)
        self._file = -1
        return BuiltPack(self._hasher.digest(), self._path, self._size, self._objects)

    def discard(self) -> None:
        """Close and remove the file; safe to call at any time before `finish` has returned."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._path.unlink(missing_ok=True)

    def _write(self, payload: Buffer) -> None:
        self._size += len(payload)
        if len(payload) >= _WRITE_BYTES // 4:
            self._flush()
            self._put(payload)
            return
        self._buffer += payload
        if len(self._buffer) >= _WRITE_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._buffer:
            self._put(self._buffer)
            self._buffer = bytearray()

    def _put(self, data: Buffer) -> None:
        self._hasher.update(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view[:_WRITE_BYTES]) :]
