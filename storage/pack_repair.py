"""Putting a damaged or missing pack back, byte for byte.

A pack's name proves its bytes. It comes from a copy of the store, or it is put together again: from an index of it that
is left somewhere, and from its objects wherever they are: in what is left of the pack, in other packs, in local files.
What does not hash to the name at the end is not written.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import zstandard
from blake3 import blake3

from .backend import Backend, Buffer
from .chunker import ChunkerParameters, cut
from .codec import LEVEL, PLAIN_LIMIT_BYTES, Codec, decode, decode_chunk_list, encode_chunk_list
from .digest import digest_of
from .errors import Error, IntegrityError
from .pack import HEADER, PackedObject, encode_trailer, pack_key
from .pack_check import check_index, read_pieces

_WINDOW_BYTES = 32 * 1024 * 1024


class Source(Protocol):
    """Where objects may be found."""

    def copy(self, pack: bytes) -> Iterable[bytes] | None:
        """The bytes of a pack of that name, not compared, in pieces; None when there is none."""
        ...

    def index(self, pack: bytes) -> Sequence[PackedObject] | None:
        """The index of a pack of that name; None when there is none that can be read."""
        ...

    def look_for(self, wanted: Collection[PackedObject]) -> None:
        """Find out where these objects lie, as far as they do."""
        ...

    def payload(self, row: PackedObject) -> Buffer | None:
        """The bytes that are stored for an object in a pack, verified; None when they are not to be had."""
        ...


class StoreSource:
    """Another store, or the store itself."""

    def __init__(self, backend: Backend, store: str) -> None:
        """`store` is its id."""
        self.backend = backend
        self.store = store
        self._places: dict[bytes, list[tuple[bytes, PackedObject]]] = {}
        self._looked: set[bytes] = set()

    def copy(self, pack: bytes) -> Iterable[bytes] | None:
        """See `Source`."""
        try:
            self.backend.stat(pack_key(pack))
        except Error:
            return None  # whatever the reason is, it is no help
        return read_pieces(self.backend, pack_key(pack))

    def index(self, pack: bytes) -> Sequence[PackedObject] | None:
        """See `Source`."""
        try:
            return check_index(self.backend, pack, self.backend.stat(pack_key(pack)).size_bytes).objects
        except Error:
            return None  # as above

    def look_for(self, wanted: Collection[PackedObject]) -> None:
        """See `Source`. Reads the indexes of all packs."""
        digests = {row.digest for row in wanted} - self._looked
        self._looked |= digests
        if not digests:
            return
        for stat in self.backend.list("packs/"):
            try:
                pack = bytes.fromhex(stat.key.rpartition("/")[2].removesuffix(".pack"))
                rows = check_index(self.backend, pack, stat.size_bytes).objects or ()
            except (Error, ValueError):
                continue  # not a pack, or one that cannot be read either
            for row in rows:
                if row.digest in digests:
                    self._places.setdefault(row.digest, []).append((pack, row))

    def payload(self, row: PackedObject) -> Buffer | None:
        """See `Source`."""
        for pack, place in self._places.get(row.digest, ()):
            try:
                found = verified(place, self.backend.read(pack_key(pack), place.offset, place.stored_bytes))
                made = found if place.codec == row.codec else _recoded(place, found, row)
            except Error:
                continue  # damaged there, too
            if made is not None and len(made) == row.stored_bytes:
                return made
        return None


@dataclass(frozen=True, slots=True)
class _Range:
    path: str
    start: int
    length: int


class FolderSource:
    """Files of a local folder, whole and cut as the store cuts them."""

    def __init__(self, folder: Path, chunker: ChunkerParameters) -> None:
        self._folder = folder
        self._chunker = chunker
        self._ranges: dict[bytes, _Range] = {}
        self._lists: dict[bytes, Sequence[tuple[bytes, int]]] = {}
        self._read = False

    def copy(self, pack: bytes) -> Iterable[bytes] | None:
        """See `Source`."""
        return None

    def index(self, pack: bytes) -> Sequence[PackedObject] | None:
        """See `Source`."""
        return None

    def look_for(self, wanted: Collection[PackedObject]) -> None:
        """See `Source`. Reads every file once."""
        if self._read:
            return
        self._read = True
        for folder, _, names in os.walk(self._folder):
            for name in sorted(names):
                path = os.path.join(folder, name)
                if os.path.isfile(path):
                    try:
                        self._take_in(path)
                    except OSError:
                        continue  # a file that cannot be read is no help

    def payload(self, row: PackedObject) -> Buffer | None:
        """See `Source`."""
        if row.codec == Codec.CHUNKS:
            pieces = self._lists.get(row.digest)
            return None if pieces is None else encode_chunk_list(pieces)
        place = self._ranges.get(row.digest)
        if place is None:
            return None
        try:
            with open(place.path, "rb") as file:
                file.seek(place.start)
                data = file.read(place.length)
        except OSError:
            return None  # gone since it was looked at
        if digest_of(data) != row.digest:
            return None
        return _encoded(data, row)

    def _take_in(self, path: str) -> None:
        size_bytes = os.path.getsize(path)
        whole, pieces = blake3(), []
        for start, piece in _pieces(path, size_bytes, self._chunker):
            whole.update(piece)
            digest = digest_of(piece)
            pieces.append((digest, len(piece)))
            self._ranges.setdefault(digest, _Range(path, start, len(piece)))
        if size_bytes > self._chunker.maximum:
            self._lists[whole.digest()] = pieces


def _pieces(path: str, size_bytes: int, chunker: ChunkerParameters) -> Iterator[tuple[int, memoryview]]:
    """Start and bytes of each piece of a file, as the store would have it."""
    with open(path, "rb") as file:
        if size_bytes <= chunker.maximum:
            yield 0, memoryview(file.read())
            return
        start, rest = 0, b""
        while True:
            window = rest + file.read(_WINDOW_BYTES)
            is_last = len(window) < len(rest) + _WINDOW_BYTES
            used = 0
            for chunk in cut(memoryview(window), chunker, is_last=is_last):
                yield start + used, chunk
                used += len(chunk)
            if is_last:
                return
            start, rest = start + used, window[used:]


def verified(row: PackedObject, payload: Buffer) -> Buffer:
    """`payload` if it is what `row` says. Raises: IntegrityError."""
    if len(payload) != row.stored_bytes:
        raise IntegrityError("it is truncated")
    if row.codec == Codec.CHUNKS:
        decode_chunk_list(payload, row.raw_bytes)
    elif digest_of(decode(row.codec, payload, row.raw_bytes)) != row.digest:
        raise IntegrityError("it hashes to another digest")
    return payload


def _recoded(place: PackedObject, payload: Buffer, row: PackedObject) -> Buffer | None:
    if Codec.CHUNKS in (place.codec, row.codec):
        return None
    return _encoded(decode(place.codec, payload, place.raw_bytes), row)


def _encoded(data: Buffer, row: PackedObject) -> Buffer | None:
    """The payload that the pack had, if zstd still makes the same; whether it does shows in the pack's digest."""
    if len(data) != row.raw_bytes or len(data) > PLAIN_LIMIT_BYTES:
        return None
    payload = data if row.codec == Codec.RAW else zstandard.ZstdCompressor(level=LEVEL).compress(data)
    return payload if len(payload) == row.stored_bytes else None


class PackRepairer:
    """Puts packs of one store back. Used by one thread."""

    def __init__(
        self,
        backend: Backend,
        sources: Sequence[Source],
        indexes: Callable[[bytes], Iterable[Sequence[PackedObject]]],
        progress: Callable[[int], None] = lambda count: None,
    ) -> None:
        """`sources` but the store itself; `indexes` gives the indexes of a pack that are left, in other places."""
        self._backend = backend
        self._others = sources
        self._sources: list[Source] = [StoreSource(backend, ""), *sources]
        self._indexes = indexes
        self._progress = progress

    def repair(self, pack: bytes) -> str:
        """Put a pack back, and say how; ``""`` when that is not possible, or it is whole.

        Raises: CommError, StoreError.
        """
        if self._is_whole(pack):
            return ""
        for source in self._others:
            pieces = source.copy(pack)
            if pieces is not None and self._write(pack, pieces):
                return "put back from a copy"
        tried: list[Sequence[PackedObject]] = []
        for rows in self._known_indexes(pack):
            if rows and rows not in tried:
                tried.append(rows)
                for source in self._sources:
                    source.look_for(rows)
                if self._write(pack, self._put_together(pack, rows)):
                    return f"put together from {len(rows)} objects"
        return ""

    def _is_whole(self, pack: bytes) -> bool:
        hasher = blake3()
        try:
            for piece in read_pieces(self._backend, pack_key(pack)):
                hasher.update(piece)
        except Error:
            return False  # missing; whoever writes will be told if it is more than that
        return hasher.digest() == pack

    def _known_indexes(self, pack: bytes) -> Iterator[Sequence[PackedObject]]:
        for source in self._sources:
            rows = source.index(pack)
            if rows is not None:
                yield rows
        yield from self._indexes(pack)

    def _put_together(self, pack: bytes, rows: Sequence[PackedObject]) -> Iterator[bytes]:
        """The pack's bytes as far as they can be had."""
        yield HEADER
        at = len(HEADER)
        for row in rows:
            payload = self._payload(pack, row)
            if payload is None or row.offset != at:
                return  # what is missing shows in the digest
            yield bytes(payload)
            at += row.stored_bytes
        yield encode_trailer(rows)

    def _payload(self, pack: bytes, row: PackedObject) -> Buffer | None:
        try:
            return verified(row, self._backend.read(pack_key(pack), row.offset, row.stored_bytes))
        except Error:
            pass  # that is why we are here
        return next((found for source in self._sources if (found := source.payload(row)) is not None), None)

    def _write(self, pack: bytes, pieces: Iterable[bytes]) -> bool:
        """Write what hashes to the name of the pack; False, and nothing written, for what does not."""
        path = self._backend.staging() / f"{os.getpid()}~{secrets.token_hex(8)}.pack"
        hasher = blake3()
        try:
            with path.open("xb") as file:
                for piece in pieces:
                    hasher.update(piece)
                    file.write(piece)
                    self._progress(len(piece))
            if hasher.digest() != pack:
                return False
            self._backend.write_file(pack_key(pack), path)
            return True
        except IntegrityError:
            return False  # the copy is damaged, too
        finally:
            path.unlink(missing_ok=True)
