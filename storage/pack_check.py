"""Checking packs: index against size, then every byte against the pack's name and every object against its digest.

A pack is read once, from its start, in pieces; what is in memory is one object and one piece of the pack.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

from blake3 import blake3

from .backend import Backend
from .cache import CachingBackend
from .codec import Codec, decode, decode_chunk_list
from .digest import digest_of, short
from .errors import Error, FormatError, IntegrityError, NotFoundError
from .overlay import OverlayBackend
from .pack import HEADER, TAIL_BYTES, PackedObject, decode_trailer, pack_key, packed_bytes, trailer_length

_PIECE_BYTES = 8 * 1024 * 1024


@dataclass(slots=True)
class PackCheck:
    """What is known of one pack. `objects` is None when its index cannot be read."""

    pack: bytes
    objects: Sequence[PackedObject] | None = None
    size_bytes: int = 0
    read_bytes: int = 0  # raw bytes of the objects that were compared
    error: Error | None = (
        None  # of the pack as a whole; when there are damaged objects it is not told besides
    )
    damaged: dict[bytes, IntegrityError] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return self.error is None and not self.damaged


def uncached(backend: Backend) -> Backend:
    """The store itself, without what this machine keeps of it, and without its outbox."""
    while isinstance(backend, (CachingBackend, OverlayBackend)):
        backend = backend.inner
    return backend


def check_index(backend: Backend, pack: bytes, size_bytes: int | None) -> PackCheck:
    """Read the index of a pack and compare it with its size. Raises: CommError, StoreError but FormatError."""
    found = PackCheck(pack)
    key = pack_key(pack)
    try:
        if size_bytes is None:
            raise NotFoundError(f"pack {short(pack)} is missing from {backend.url}")
        tail = backend.read(key, -TAIL_BYTES)
        length = trailer_length(tail, size_bytes)
        if length > len(tail):
            tail = backend.read(key, -length)
        found.objects = decode_trailer(memoryview(tail)[len(tail) - length :], size_bytes)
        found.size_bytes = packed_bytes(found.objects)
    except NotFoundError:
        found.error = NotFoundError(f"pack {short(pack)} is missing from {backend.url}")
    except (IntegrityError, FormatError) as error:
        found.error = type(error)(f"pack {short(pack)}: {error}")
    return found


def check_bytes(
    backend: Backend, index: PackCheck, wanted: Collection[bytes] | None, progress: Callable[[int], None]
) -> PackCheck:
    """Read a pack and compare its objects: those of `wanted`, or with None all of them and the pack's name.

    `index` is what `check_index` has found. Raises: CommError, StoreError.
    """
    found = PackCheck(index.pack, index.objects, index.size_bytes, error=index.error)
    if index.objects is None:
        return found
    hasher = blake3()
    try:
        window = _Window(backend, pack_key(index.pack), hasher if wanted is None else None)
        header = window.take(0, len(HEADER)) if wanted is None else HEADER
        for row in index.objects:
            if wanted is not None and row.digest not in wanted:
                continue
            payload = window.take(row.offset, row.stored_bytes)
            fault = _fault(row, payload)
            if fault is not None:
                found.damaged[row.digest] = IntegrityError(
                    f"object {short(row.digest)} in pack {short(index.pack)}: {fault}"
                )
            else:
                found.read_bytes += row.raw_bytes if row.codec != Codec.CHUNKS else row.stored_bytes
                progress(row.raw_bytes if row.codec != Codec.CHUNKS else 0)
        if wanted is None:
            window.take_rest()
            if header != HEADER:
                raise IntegrityError("it does not begin as a pack does")
            if hasher.digest() != index.pack:
                raise IntegrityError(f"its bytes hash to {hasher.hexdigest()[:12]}")
    except NotFoundError:
        found.error = NotFoundError(f"pack {short(index.pack)} is missing from {backend.url}")
    except IntegrityError as error:
        found.error = found.error or IntegrityError(f"pack {short(index.pack)}: {error}")
    return found


def _fault(row: PackedObject, payload: memoryview) -> IntegrityError | None:
    try:
        if row.codec == Codec.CHUNKS:
            decode_chunk_list(payload, row.raw_bytes)
            return None  # whether the pieces make the object is another question
        data = decode(row.codec, payload, row.raw_bytes)
    except IntegrityError as error:
        return error
    actual = digest_of(data)
    return None if actual == row.digest else IntegrityError(f"bytes hash to {short(actual)}")


class _Window:
    """The bytes of a pack in the order of their offsets, read in pieces and hashed on the way if all are read."""

    def __init__(self, backend: Backend, key: str, hasher: blake3 | None) -> None:
        self._backend, self._key, self._hasher = backend, key, hasher
        self._start, self._data = 0, b""

    def take(self, start: int, length: int) -> memoryview:
        """The bytes at `start`, which is not before that of the last call. Raises: IntegrityError when cut short."""
        end = self._start + len(self._data)
        if start + length > end:
            kept = self._data[start - self._start :] if start < end else b""
            begin = end if start < end or self._hasher is not None else start
            wanted = max(_PIECE_BYTES if self._hasher is not None else 0, start + length - begin)
            piece = self._backend.read(self._key, begin, wanted)
            if self._hasher is not None:
                self._hasher.update(piece)
            self._start, self._data = (start if kept else begin), kept + piece if kept else piece
        at = start - self._start
        found = memoryview(self._data)[at : at + length]
        if at < 0 or len(found) != length:
            raise IntegrityError("it is truncated")
        return found

    def take_rest(self) -> None:
        """Read and hash what follows."""
        at = self._start + len(self._data)
        while piece := self._backend.read(self._key, at, _PIECE_BYTES):
            if self._hasher is not None:
                self._hasher.update(piece)
            at += len(piece)


def read_pieces(backend: Backend, key: str) -> Iterator[bytes]:
    """A value from its start, in pieces. Raises: NotFoundError, CommError."""
    at = 0
    while piece := backend.read(key, at, _PIECE_BYTES):
        yield piece
        at += len(piece)
        if len(piece) < _PIECE_BYTES:
            return
