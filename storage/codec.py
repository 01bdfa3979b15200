"""How an object's bytes lie in a pack: as they are, as a zstd frame, or as a list of pieces.

The choice between raw and zstd is made from a sample of 4 KiB, because most large files of this field (weights,
images, Parquet) do not shrink and trying the whole costs 20 times what the sample costs.
"""

from __future__ import annotations

import enum
import struct
import threading
from collections.abc import Sequence

import zstandard

from .backend import Buffer
from .digest import DIGEST_BYTES, digest_of
from .errors import IntegrityError

LEVEL = 3
SAMPLE_BYTES = 4096
PLAIN_LIMIT_BYTES = (
    64 * 1024 * 1024
)  # no raw or zstd object is longer, so a forged length cannot fill the memory
PIECE_LIMIT_BYTES = 16 * 1024 * 1024  # of a large object; what a chunker may make at most
# What is read into memory whole may be this much longer than it is stored, if it is longer than the first of the two.
_UNSUSPICIOUS_BYTES = 16 * 1024 * 1024
_MOST_SHRINKING = 256
_PIECE = struct.Struct("<32sI")
_SKIPPABLE = struct.Struct("<II")
_SKIPPABLE_MAGIC, _PADDING_MAGIC = 0x184D2A5B, 0x184D2A5A  # zstd passes over such frames
_TRAILER_BYTES = _SKIPPABLE.size + DIGEST_BYTES
_TRAILER_HEAD = _SKIPPABLE.pack(_SKIPPABLE_MAGIC, DIGEST_BYTES)
_local = threading.local()  # compressors are fast to use, slow to make, and not thread-safe


class Codec(enum.IntEnum):
    """The codec byte of a pack's index."""

    RAW = 0
    ZSTD = 1
    CHUNKS = 2


def encode(data: Buffer) -> tuple[Codec, Buffer]:
    """Choose a codec by sample and return it with the bytes to store.

    >>> encode(b"ab" * 5000)[0].name, encode(bytes(range(256)))[0].name
    ('ZSTD', 'RAW')
    """
    size = len(data)
    if size < 64:
        return Codec.RAW, data
    compressor: zstandard.ZstdCompressor | None = getattr(_local, "compressor", None)
    if compressor is None:
        compressor = _local.compressor = zstandard.ZstdCompressor(level=LEVEL)
    sample = data[:SAMPLE_BYTES]
    packed = compressor.compress(sample)
    if len(packed) * 10 > len(sample) * 9:
        return Codec.RAW, data
    if size > SAMPLE_BYTES:
        packed = compressor.compress(data)
    return (Codec.ZSTD, packed) if len(packed) < size else (Codec.RAW, data)


def decode(codec: int, payload: Buffer, raw_bytes: int) -> Buffer:
    """The object's bytes from a raw or zstd payload; never more than `raw_bytes`.

    Raises: IntegrityError when the payload does not hold exactly `raw_bytes`.
    """
    if raw_bytes > PLAIN_LIMIT_BYTES:
        raise IntegrityError(f"raw length {raw_bytes}: expected at most {PLAIN_LIMIT_BYTES}")
    if codec == Codec.RAW:
        data = payload
    elif codec == Codec.ZSTD:
        decompressor: zstandard.ZstdDecompressor | None = getattr(_local, "decompressor", None)
        if decompressor is None:
            decompressor = _local.decompressor = zstandard.ZstdDecompressor()
        try:
            # The frame's own header is not trusted: memory is bounded by the length in the index.
            frame = zstandard.get_frame_parameters(payload)
            if frame.content_size != raw_bytes:
                raise IntegrityError(f"zstd frame of {frame.content_size} bytes: expected {raw_bytes}")
            data = decompressor.decompress(payload, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise IntegrityError(f"zstd payload of {len(payload)} bytes: {error}") from error
    else:
        raise IntegrityError(f"codec {codec}: expected 0 (raw) or 1 (zstd)")
    if len(data) != raw_bytes:
        raise IntegrityError(f"payload of {len(data)} bytes: expected {raw_bytes}")
    return data


def may_hold(raw_bytes: int, stored_bytes: int) -> bool:
    """Whether so much may come out of so little: a few stored bytes cannot be made to fill the memory.

    What is read whole (manifests, logs, histories) shrinks to a tenth or so; digests in it do not shrink at all.
    """
    return raw_bytes <= max(_UNSUSPICIOUS_BYTES, _MOST_SHRINKING * stored_bytes)


def compress_whole(data: Buffer) -> bytes:
    """A zstd frame with a checksum, and behind it a frame that zstd skips, with the BLAKE3 of all before it.

    For what no digest elsewhere covers (segments, checkpoints).
    """
    frame = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress(data)
    lacking = -(-len(data) // _MOST_SHRINKING) - len(frame)
    if not may_hold(len(data), len(frame)):  # the same line over and over: readers want it longer
        frame = _SKIPPABLE.pack(_PADDING_MAGIC, lacking) + bytes(lacking) + frame
    return frame + _TRAILER_HEAD + digest_of(frame)


def decompress_whole(frame: Buffer, limit_bytes: int) -> bytes:
    """The bytes of a frame. Raises: IntegrityError when it is damaged or promises more than `limit_bytes`."""
    view = memoryview(frame)
    body, trailer = view[:-_TRAILER_BYTES], view[-_TRAILER_BYTES:]
    digest = digest_of(body)
    if trailer[: len(_TRAILER_HEAD)] == _TRAILER_HEAD or trailer[len(_TRAILER_HEAD) :] == digest:
        if trailer != _TRAILER_HEAD + digest:
            raise IntegrityError(f"zstd frame of {len(frame)} bytes: they are not those that were written")
        view = body
    stored_bytes = len(view)
    if stored_bytes >= _SKIPPABLE.size and _SKIPPABLE.unpack_from(view)[0] == _PADDING_MAGIC:
        view = view[_SKIPPABLE.size + _SKIPPABLE.unpack_from(view)[1] :]
    try:
        size_bytes = zstandard.get_frame_parameters(view).content_size  # huge when it is not in the frame
        if size_bytes > limit_bytes or not may_hold(size_bytes, stored_bytes):
            raise IntegrityError(
                f"zstd frame of {size_bytes} bytes in {stored_bytes}: expected at most {limit_bytes}"
            )
        return zstandard.ZstdDecompressor().decompress(view, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise IntegrityError(f"zstd frame of {len(frame)} bytes: {error}") from error


def encode_chunk_list(pieces: Sequence[tuple[bytes, int]]) -> bytes:
    """The payload of a `chunks` object: (digest, length in bytes) of each piece in order, and a checksum."""
    body = b"".join(_PIECE.pack(digest, length) for digest, length in pieces)
    return body + digest_of(body)


def decode_chunk_list(payload: Buffer, raw_bytes: int) -> list[tuple[bytes, int]]:
    """The (digest, length in bytes) of each piece. Raises: IntegrityError on any inconsistency."""
    body, check = payload[:-DIGEST_BYTES], payload[-DIGEST_BYTES:]
    if len(body) % _PIECE.size or digest_of(body) != bytes(check):
        raise IntegrityError(f"chunk list of {len(payload)} bytes: its checksum does not match")
    pieces = list(_PIECE.iter_unpack(body))
    if any(length > PIECE_LIMIT_BYTES for _, length in pieces):
        raise IntegrityError(f"chunk list: a piece is longer than {PIECE_LIMIT_BYTES} bytes")
    if sum(length for _, length in pieces) != raw_bytes:
        raise IntegrityError(f"chunk list: lengths do not add up to {raw_bytes}")
    return pieces
