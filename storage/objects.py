"""Objects by digest: finding them in packs and reading them, verified.

Nothing that has not been hashed leaves this module. A mismatch is an `IntegrityError` that names object and pack.
"""

from __future__ import annotations

import contextlib
import errno
import io
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from .backend import Backend, Buffer
from .cache import CachingBackend
from .codec import Codec, decode, decode_chunk_list, may_hold
from .condemned import Condemned
from .digest import digest_of, short
from .errors import Error, FormatError, IntegrityError, NotFoundError
from .locations import Location, Locations
from .pack import (
    TAIL_BYTES,
    PackedObject,
    decode_trailer,
    encode_trailer,
    pack_key,
    packed_bytes,
    trailer_length,
)
from .pack_index import FROM_PACKS, PackSet, decode_index
from .planning import Run, plan_runs
from .store_log import StoreLog

_REPAIR = 'run "art verify --all" to see what else is damaged, and restore the pack from a copy of the store'
_PARALLEL_READS = 8
_WHOLE_RUN_BYTES = 16 * 1024 * 1024  # of an object that is read into memory anyway
_AHEAD_PIECES = 64
_AHEAD_BYTES = 4 * 1024 * 1024
_KEPT_BYTES = 16 * 1024 * 1024
_LOOKS = 8  # each repeat means that another pack went away meanwhile
_T = TypeVar("_T")


class PackGone(NotFoundError):
    """A pack is not in the store (any more); what it held may lie in another one."""


@dataclass(frozen=True, slots=True)
class Availability:
    """The answer of `Objects.available`: digests that are not whole, and the packs of those that are."""

    missing: set[bytes]
    packs: set[bytes]
    list_packs: set[bytes]  # packs that hold chunk lists


class Objects:
    """The objects of one store. Safe to use from several threads."""

    def __init__(self, backend: Backend, locations: Locations, facts: StoreLog | None = None) -> None:
        """`facts` says which packs were collected, and where what was needed of them lies now."""
        self.backend = backend
        self.condemned = Condemned(backend, locations)
        self._locations = locations
        self._facts = facts
        self._confirmed: set[bytes] = set()

    def over(self, backend: Backend) -> Objects:
        """These objects for somebody who sees more than the store: what is found there is no news to this one."""
        made = Objects(backend, self._locations, self._facts)
        made.condemned = self.condemned
        made._confirmed = set(self._confirmed)
        return made

    # Finding

    def locate(self, digests: Collection[bytes], packs: Iterable[bytes] = ()) -> dict[bytes, Location]:
        """Where each of `digests` lies, reading trailers of `packs` only if the cache does not know them all.

        Raises: NotFoundError naming the first digest that is nowhere.
        """
        found = self._locations.find(digests)
        if len(found) < len(set(digests)):
            self.learn(packs)
            found = self._locations.find(digests)
            for digest in digests:
                if digest not in found:
                    raise NotFoundError(
                        f"object {short(digest)} is in none of the version's packs; {_REPAIR}"
                    )
        return found

    def find(self, digests: Collection[bytes]) -> dict[bytes, Location]:
        """Those of `digests` that the store already holds, as far as this machine knows; packs are confirmed."""
        while True:
            found = self._locations.find(digests, without=self.condemned)
            packs = {location.pack for location in found.values()}
            if self.confirm(packs) == packs:
                return found  # else some were forgotten, and the objects may lie in others as well

    def places(self, digests: Sequence[bytes], packs: Collection[bytes]) -> list[tuple[bytes, Location]]:
        """Every place in `packs` at which one of `digests` lies. Raises: NotFoundError naming one that has none."""
        self.learn(packs)
        found = self._locations.places(digests, set(packs))
        missing = set(digests) - {digest for digest, _ in found}
        if missing:
            raise NotFoundError(f"object {short(min(missing))} is in none of the version's packs; {_REPAIR}")
        return found

    def available(self, digests: Collection[bytes]) -> Availability:
        """Which of `digests` are whole in the store, chunks included, and in which packs."""
        found = self.find(digests)
        result = Availability(missing=set(digests) - found.keys(), packs=set(), list_packs=set())
        for digest, at in found.items():
            if at.codec != Codec.CHUNKS:
                result.packs.add(at.pack)
                continue
            pieces = {piece for piece, _ in self.chunks(digest, at)}
            places = self.find(pieces)
            if len(places) < len(pieces):
                result.missing.add(digest)
            else:
                result.list_packs.add(at.pack)
                result.packs.update(place.pack for place in places.values())
        return result

    def confirm(self, packs: Collection[bytes]) -> set[bytes]:
        """Those of `packs` that lie in the store, looked up once per process; others are forgotten.

        That they still lie there when a version is committed is the business of `condemned`.
        """
        present = set()
        for pack in packs:
            if pack not in self._confirmed:
                try:
                    self.backend.stat(pack_key(pack))
                except NotFoundError:
                    self._locations.forget([pack])
                    continue
                self._confirmed.add(pack)
            present.add(pack)
        return present

    def learn(self, packs: Iterable[bytes]) -> None:
        """Make the objects of `packs` known by reading unknown trailers; of one that was compacted its successors'.

        Raises: NotFoundError, IntegrityError.
        """
        seen: set[bytes] = set()
        wanted = set(packs)
        unknown = wanted - self._locations.known_packs(wanted)
        if isinstance(packs, PackSet) and packs.index is not None and len(unknown) >= FROM_PACKS:
            self._learn_from_index(packs, packs.index)
        while wanted:  # what has taken the place of a pack may have been compacted itself, even back
            seen |= wanted
            gone = self._learn_known(wanted)
            wanted = set()
            for pack in gone:
                successors = self._facts.successors(pack) if self._facts is not None else ()
                if not successors:
                    raise self._gone(pack)
                wanted |= set(successors) - seen

    def _learn_known(self, packs: set[bytes]) -> list[bytes]:
        """Those that are not there."""
        unknown = sorted(packs - self._locations.known_packs(packs))
        if len(unknown) < 2:
            return [pack for pack in unknown if not self._learn(pack)]
        with ThreadPoolExecutor(_PARALLEL_READS) as pool:
            learned = pool.map(self._learn, unknown)
            return [pack for pack, found in zip(unknown, learned, strict=True) if not found]

    def _learn(self, pack: bytes) -> bool:
        """False when the pack is not there; of one that was collected this machine may still keep the end."""
        if self.condemned.is_collected(pack):
            try:
                self.backend.stat(pack_key(pack))
            except NotFoundError:
                return False
        try:
            size_bytes, objects = self.read_trailer(pack)
        except PackGone:
            return False
        self._locations.add(pack, size_bytes, objects)
        return True

    def _learn_from_index(self, packs: PackSet, index: bytes) -> None:
        try:
            for pack, size_bytes, objects in decode_index(self.read(index, packs.meta)):
                if not self.condemned.is_collected(pack):
                    self._locations.add(pack, size_bytes, objects)
                    self._keep_end(pack, size_bytes, encode_trailer(objects))
        except Error:
            return  # a copy that cannot be read: the packs themselves say the same

    def _keep_end(self, pack: bytes, size_bytes: int, tail: bytes) -> None:
        """Whoever relies on this pack in an index of a next version needs its trailer again."""
        if isinstance(self.backend, CachingBackend):
            self.backend.keep(pack_key(pack), size_bytes - len(tail), tail, is_last=True)

    def added(self, pack: bytes, size_bytes: int, objects: Sequence[PackedObject]) -> None:
        """Note a pack that this process has just put into the store."""
        self._confirmed.add(pack)
        self._locations.add(pack, size_bytes, objects)
        self._keep_end(pack, size_bytes, encode_trailer(objects))

    def read_trailer(self, pack: bytes) -> tuple[int, list[PackedObject]]:
        """Size in bytes and index of a pack. Raises: NotFoundError, IntegrityError, FormatError."""
        key = pack_key(pack)
        try:
            if isinstance(self.backend, CachingBackend):
                with contextlib.suppress(IntegrityError):
                    tail = self.backend.kept_end(key)
                    length = trailer_length(tail)
                    objects = decode_trailer(memoryview(tail)[max(0, len(tail) - length) :])
                    return packed_bytes(objects), objects
            tail = self.backend.read(key, -TAIL_BYTES)
            size_bytes = len(tail) if len(tail) < TAIL_BYTES else None  # all of it, or the pack's end
            length = trailer_length(tail, size_bytes)
            if length > len(tail):
                tail = self.backend.read(key, -length)
            objects = decode_trailer(memoryview(tail)[len(tail) - length :], size_bytes)
            self._keep_end(pack, packed_bytes(objects), tail)
            return packed_bytes(objects), objects
        except IntegrityError as error:
            raise IntegrityError(f"pack {short(pack)}: {error}; {_REPAIR}") from error
        except FormatError as error:
            raise FormatError(f"pack {short(pack)}: {error}") from error
        except NotFoundError as error:
            raise self._gone(pack) from error

    def _gone(self, pack: bytes) -> PackGone:
        return PackGone(f"pack {short(pack)} is missing from {self.backend.url}; {_REPAIR}")

    # Reading

    def patiently(self, read: Callable[[], _T]) -> _T:
        """What `read` returns, which locates and reads; again when a pack went away in between, to find the others.

        Raises: what `read` raises.
        """
        for _ in range(_LOOKS):
            try:
                return read()
            except (
                PackGone
            ):  # it is forgotten, and with it all that were collected: the next look finds other places
                self.look_at_plans()
        return read()

    def look_at_plans(self) -> None:
        """Note what was collected so far. Raises: IntegrityError, FormatError, CommError."""
        if self._facts is not None:
            self.condemned.check(self._facts.state().plans)

    def read(self, digest: bytes, packs: Iterable[bytes] = ()) -> Buffer:
        """All bytes of an object, for manifests and the like; a file that may be of any length is opened.

        Raises: NotFoundError, IntegrityError, also for one that would fill the memory out of a few stored bytes.
        """
        held = _held(packs)
        return self.patiently(lambda: self._read(digest, held))

    def _read(self, digest: bytes, packs: Iterable[bytes]) -> Buffer:
        location = self.locate([digest], packs)[digest]
        if location.codec != Codec.CHUNKS:
            self._demand_plausible(digest, location, location.stored_bytes)
            return self.read_plain(digest, location)
        pieces = self.chunks(digest, location)
        places = self.locate([piece for piece, _ in pieces], packs)
        self._demand_plausible(digest, location, sum(place.stored_bytes for place in places.values()))
        out = bytearray()
        runs = list(plan_runs(((p, places[p]) for p, _ in pieces), limit_bytes=_WHOLE_RUN_BYTES))
        for run, payload in zip(runs, self._read_runs(runs), strict=True):
            for piece, at in run.items:
                start = at.offset - run.start
                out += self.open_payload(piece, at, payload[start : start + at.stored_bytes])
        if digest_of(out) != digest:
            raise IntegrityError(
                f"object {short(digest)} in pack {short(location.pack)}: its chunks hash to another digest; {_REPAIR}"
            )
        return out

    def _demand_plausible(self, digest: bytes, location: Location, stored_bytes: int) -> None:
        if not may_hold(location.raw_bytes, stored_bytes):
            promise = f"{location.raw_bytes} bytes out of {stored_bytes}"
            raise self._damaged(
                digest, location, IntegrityError(f"{promise} are too many to be read at once")
            )

    def pieces(self, digest: bytes, packs: Iterable[bytes] = ()) -> list[tuple[bytes, int]]:
        """The (digest, length in bytes) of an object's chunks; of one that is not chunked the object itself."""
        held = _held(packs)

        def look() -> list[tuple[bytes, int]]:
            at = self.locate([digest], held)[digest]
            return self.chunks(digest, at) if at.codec == Codec.CHUNKS else [(digest, at.raw_bytes)]

        return self.patiently(look)

    def chunks(self, digest: bytes, location: Location) -> list[tuple[bytes, int]]:
        """The (digest, length in bytes) of the pieces of a chunked object at `location`."""
        return self.chunks_of(digest, location, self.read_payload(digest, location))

    def chunks_of(self, digest: bytes, location: Location, payload: Buffer) -> list[tuple[bytes, int]]:
        """Decode and verify the list of chunks that was read at `location`. Raises: IntegrityError."""
        try:
            return decode_chunk_list(payload, location.raw_bytes)
        except IntegrityError as error:
            raise self._damaged(digest, location, error) from error

    def read_plain(self, digest: bytes, location: Location) -> Buffer:
        """An unchunked object, verified. Raises: NotFoundError, IntegrityError."""
        return self.open_payload(digest, location, self.read_payload(digest, location))

    def open_payload(self, digest: bytes, location: Location, payload: Buffer) -> Buffer:
        """Decode and verify what was read at `location`. Raises: IntegrityError."""
        try:
            return self.opened(digest, location, payload)
        except IntegrityError:
            if not self.forget_kept([location.pack]):
                raise
        return self.opened(digest, location, self.read_payload(digest, location))

    def opened(self, digest: bytes, location: Location, payload: Buffer) -> Buffer:
        """Like `open_payload`, but nothing is read again. Raises: IntegrityError."""
        try:
            data = decode(location.codec, payload, location.raw_bytes)
        except IntegrityError as error:
            raise self._damaged(digest, location, error) from error
        actual = digest_of(data)
        if actual != digest:
            raise self._damaged(digest, location, IntegrityError(f"bytes hash to {short(actual)}"))
        return data

    def open(self, digest: bytes, packs: Iterable[bytes] = ()) -> io.BufferedReader:
        """A seekable reader that fetches only the pieces touched."""
        return io.BufferedReader(ObjectReader(self, digest, packs), 64 * 1024)

    def read_payload(self, digest: bytes, location: Location) -> bytes:
        """The stored bytes at `location`, not verified. Raises: NotFoundError, IntegrityError when cut short."""
        try:
            payload = self.backend.read(pack_key(location.pack), location.offset, location.stored_bytes)
        except NotFoundError as error:
            self.forget([location.pack])
            raise PackGone(
                f"object {short(digest)}: pack {short(location.pack)} is missing from {self.backend.url}; {_REPAIR}"
            ) from error
        if len(payload) != location.stored_bytes:
            raise self._damaged(digest, location, IntegrityError("the pack is truncated"))
        return payload

    def read_run(self, run: Run) -> memoryview:
        """The stored bytes of neighbours, not verified. Raises: NotFoundError, IntegrityError when cut short."""
        if len(run.items) == 1:  # with the messages that name the object
            digest, at = run.items[0]
            return memoryview(self.read_payload(digest, at))
        try:
            payload = self.backend.read(pack_key(run.pack), run.start, run.length_bytes)
        except NotFoundError:
            payload = b""
        if len(payload) != run.length_bytes:
            for digest, at in run.items:
                self.read_payload(digest, at)  # raises, with the name of the object
            raise IntegrityError(f"pack {short(run.pack)} is changing; repeat this once it is at rest")
        return memoryview(payload)

    def _read_runs(self, runs: Sequence[Run]) -> Iterator[memoryview]:
        if len(runs) < 2 or self.backend.local_path("packs") is not None:
            yield from map(self.read_run, runs)
            return
        with ThreadPoolExecutor(_PARALLEL_READS) as pool:
            yield from pool.map(self.read_run, runs)

    def forget_kept(self, packs: Iterable[bytes]) -> bool:
        """Drop what this machine keeps of packs whose bytes did not verify; whether there was anything to drop."""
        if not isinstance(self.backend, CachingBackend):
            return False
        dropped = {self.backend.forget(pack_key(pack)) for pack in packs}
        return True in dropped

    def forget(self, packs: Collection[bytes]) -> None:
        """Drop what is known of packs that are gone from the store."""
        self._confirmed.difference_update(packs)
        self._locations.forget(packs)
        self.forget_kept(packs)

    def close(self) -> None:
        """Close this thread's connection to the location cache."""
        self._locations.close()

    @staticmethod
    def _damaged(digest: bytes, location: Location, error: IntegrityError) -> IntegrityError:
        return IntegrityError(f"object {short(digest)} in pack {short(location.pack)}: {error}; {_REPAIR}")


def _held(packs: Iterable[bytes]) -> Iterable[bytes]:
    """What can be gone through more than once."""
    return packs if isinstance(packs, Collection | PackSet) else list(packs)


class ObjectReader(io.RawIOBase):
    """A raw, seekable stream over one object; every piece is verified before a byte of it is handed out."""

    def __init__(self, objects: Objects, digest: bytes, packs: Iterable[bytes]) -> None:
        self._objects = objects
        self._packs = _held(packs)
        self._pieces = objects.pieces(digest, self._packs)
        self._places = objects.locate([piece for piece, _ in self._pieces], self._packs)
        self._starts = []
        self.size_bytes = 0
        for _, length in self._pieces:
            self._starts.append(self.size_bytes)
            self.size_bytes += length
        self._kept: OrderedDict[int, Buffer] = OrderedDict()
        self._kept_bytes = 0
        self._expected = -1  # the piece after the last one: who reads on gets more with one request
        self._ahead = 1
        self._most_ahead = 1 if objects.backend.local_path("packs") is not None else _AHEAD_PIECES
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size_bytes}[whence]
        if base + offset < 0:
            # As of a file of the system: zipfile takes it for "too short to be an archive".
            raise OSError(errno.EINVAL, f"seek to {base + offset}: expected a position >= 0")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, target: Buffer) -> int:  # type: ignore[override]  # typeshed's WriteableBuffer is private
        if self._position >= self.size_bytes:
            return 0
        number = self._piece_at(self._position)
        piece = self._piece(number)
        start = self._position - self._starts[number]
        view = memoryview(target).cast("B")
        count = min(len(view), len(piece) - start)
        view[:count] = memoryview(piece)[start : start + count]
        self._position += count
        return count

    def _piece_at(self, position: int) -> int:
        return bisect_right(self._starts, position) - 1

    def _piece(self, number: int) -> Buffer:
        if number in self._kept:
            self._kept.move_to_end(number)
            return self._kept[number]
        self._ahead = min(2 * self._ahead, self._most_ahead) if number == self._expected else 1
        following = self._pieces[number : number + self._ahead]
        digests = [digest for digest, _ in following]

        def look() -> tuple[Run, memoryview]:
            items = ((digest, self._places[digest]) for digest in digests)
            run = next(plan_runs(items, limit_bytes=_AHEAD_BYTES))
            return run, self._objects.read_run(run)

        def look_elsewhere() -> tuple[Run, memoryview]:
            self._places |= self._objects.locate(digests, self._packs)
            return look()

        try:
            run, payload = look()
        except PackGone:
            run, payload = self._objects.patiently(look_elsewhere)
        for at, (digest, place) in enumerate(run.items, number):
            start = place.offset - run.start
            data = self._objects.open_payload(digest, place, payload[start : start + place.stored_bytes])
            if len(data) != self._pieces[at][1]:
                raise IntegrityError(
                    f"object {short(digest)}: {len(data)} bytes where its list says {self._pieces[at][1]}; {_REPAIR}"
                )
            self._keep(at, data)
        self._expected = number + len(run.items)
        return self._kept[number]

    def _keep(self, number: int, data: Buffer) -> None:
        if number not in self._kept:
            self._kept[number] = data
            self._kept_bytes += len(data)
        while self._kept_bytes > _KEPT_BYTES and len(self._kept) > 1:
            _, gone = self._kept.popitem(last=False)
            self._kept_bytes -= len(gone)
