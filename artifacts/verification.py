"""Verifying a store: its logs, the packs that they name, and every object in them (`storage.pack_check`, `log_check`).

The depths, each with all before it:

- *log*: every transaction from the first one on; all copies of the log say the same; what is named exists, at its size.
- *trailers*: the index of each pack fits its size; every object of a manifest is in the packs that its version names.
- *bytes*: every byte of every object is hashed.

Nothing is taken from this machine's caches. What was seen goes into an inventory on disk, so memory stays bounded
and an interrupted verification goes on.
"""

from __future__ import annotations

import enum
import itertools
import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from blake3 import blake3

from ..storage.backend import Backend, Buffer
from ..storage.codec import Codec, decode, decode_chunk_list, may_hold
from ..storage.digest import digest_of, is_hex_digest, parse_hex, short
from ..storage.errors import Error, FormatError, IntegrityError, NotFoundError
from ..storage.inventory import Inventory
from ..storage.locations import Location
from ..storage.pack import pack_key
from ..storage.pack_check import PackCheck, check_bytes, check_index, uncached
from ..storage.problem import Problem
from ..storage.restore import in_order
from ..storage.store import Store
from .manifest import Manifest
from .marking import Holder

_LOCAL_THREADS = 2
_REMOTE_THREADS = 8
_BATCH = 5000
_COPY = "restore it from a copy of the store, or repair it with --repair-from"


class Depth(enum.IntEnum):
    """How much is read."""

    LOG = 0
    TRAILERS = 1
    BYTES = 2


@dataclass(slots=True)
class Findings:
    """What was looked at and what is wrong."""

    needs: dict[str, int] = field(default_factory=lambda: {"version": 0, "contribution": 0, "run": 0})
    objects: int = 0  # different files
    read_bytes: int = 0
    transactions: int = 0
    packs: int = 0  # read whole
    skipped: int = 0  # found whole by the verification that this one goes on with
    problems: list[Problem] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)  # what could not be looked at, and why
    unknown: list[str] = field(default_factory=list)  # keys that are nobody's


class Verifier:
    """Verifies packs and manifests of one store. One use, one thread calls it; it works with several."""

    def __init__(
        self,
        store: Store,
        depth: Depth,
        inventory: Inventory,
        findings: Findings,
        *,
        replaced: Mapping[str, Sequence[str]],
        collected: Collection[str] = (),
        since_s: float | None = None,
        progress: Callable[[int], None] = lambda count: None,
    ) -> None:
        """What was found whole since `since_s` (seconds since the epoch) is not read again.

        `replaced` are the packs that were compacted, with those that hold what was needed of them; `collected` all that
        final lists name.
        """
        self.store = store
        self.backend: Backend = uncached(store.backend)
        self.depth = depth
        self.inventory = inventory
        self.findings = findings
        self.since_s = float("inf") if since_s is None else since_s
        self._replaced = replaced
        self._collected = collected
        self._progress = progress
        self._threads = _REMOTE_THREADS if store.is_remote else _LOCAL_THREADS
        self._broken: dict[bytes, Problem] = {}  # packs without an index that could be read
        self._bad: dict[bytes, Problem] = {}  # objects that are damaged somewhere
        self._named: set[bytes] = set()  # packs that were looked at
        self._everything = False
        self._large: set[str] = set()  # files in pieces that were hashed

    def verify(self, needs: Sequence[Holder], *, everything: bool) -> None:
        """Verify what `needs` need; with `everything` all that lies in packs. Raises: CommError, StoreError."""
        self._everything = everything
        for need in needs:
            self.findings.needs[need.kind] += 1
        if everything:
            self._check_indexes(pack for pack, _ in self.inventory.listed_packs())
        self._check_indexes(pack for need in needs for pack in self._meta_of(need))
        self._check_indexes(pack for need in needs for pack in self._packs_of(need))
        if self.depth == Depth.LOG:
            return
        if self.depth == Depth.BYTES and everything:
            self._check_bytes(everything=True)
        for need in needs:
            self._check_manifest(need)
        self.findings.objects = self.inventory.file_count()
        if self.depth == Depth.BYTES and not everything:
            self._check_bytes(everything=False)
        if any(problem.kind == "object" for problem in self.findings.problems):
            self._name_the_files(needs)
        for problem in self.findings.problems:
            if everything and problem.kind in ("object", "pack") and not problem.affected:
                problem.error = type(problem.error)(f"{problem.error}; what is damaged is in no version")

    # Packs

    def _check_indexes(self, packs: Iterable[bytes]) -> None:
        """Read the index of each pack once; at depth *log* see that it exists."""
        wanted = (pack for pack in _unique(packs, self._named))
        if self.depth == Depth.LOG:
            for pack in wanted:
                if _size(self.backend, self.inventory, pack) is None:
                    error = NotFoundError(f"pack {short(pack)} is missing from {self.backend.url}")
                    self._break(PackCheck(pack, error=error))
            return
        unread = (
            (pack, _size(self.backend, self.inventory, pack))
            for pack in wanted
            if not self.inventory.is_checked(pack, self.depth, self.since_s)
        )
        with ThreadPoolExecutor(self._threads, "lineart-verify") as pool:
            look = partial(_look, self.backend)
            for check in in_order(pool, look, unread, ahead=4 * self._threads):
                if check.error is not None or check.objects is None:
                    self._break(check)
                    continue
                self.inventory.add_pack(check.pack, check.size_bytes, check.objects)
                if self.depth == Depth.TRAILERS:
                    self.inventory.mark_checked(check.pack, self.depth, time.time())

    def _break(self, check: PackCheck) -> None:
        error = check.error or IntegrityError(f"pack {short(check.pack)}: its index cannot be read")
        if isinstance(error, FormatError):
            self.findings.undecided.append(str(error))
            return
        self.inventory.drop_pack(check.pack)
        problem = Problem("pack", pack_key(check.pack), type(error)(_with_advice(error)), check.pack)
        self._broken[check.pack] = problem
        self.findings.problems.append(problem)

    def _check_bytes(self, everything: bool) -> None:
        """Read every pack, or what is needed of those that have it."""
        tasks = (
            (pack, None if everything else self.inventory.needed_of(pack))
            for pack in (self._all_packs() if everything else self.inventory.needed_packs())
            if not self._is_done(pack)
        )
        with ThreadPoolExecutor(self._threads, "lineart-verify") as pool:
            work = partial(_read, self.backend, self._progress)
            sized = ((pack, wanted, _size(self.backend, self.inventory, pack)) for pack, wanted in tasks)
            for check in in_order(pool, work, sized, ahead=2 * self._threads):
                self.findings.packs += everything
                self.findings.read_bytes += check.read_bytes
                self._note(check, is_all=everything)

    def _all_packs(self) -> Iterator[bytes]:
        return (pack for pack, _ in self.inventory.listed_packs() if pack not in self._broken)

    def _is_done(self, pack: bytes) -> bool:
        done = self.inventory.is_checked(pack, self.depth, self.since_s)
        self.findings.skipped += done
        return done

    def _note(self, check: PackCheck, *, is_all: bool) -> None:
        if check.is_whole:
            if is_all:
                self.inventory.mark_checked(check.pack, self.depth, time.time())
            return
        for digest, error in check.damaged.items():
            self._damage(digest, check.pack, error)
        self.inventory.drop_objects(check.pack, check.damaged)
        if check.error is not None and not check.damaged:
            if check.objects is None or isinstance(check.error, NotFoundError):
                self._break(check)
            else:  # its objects are whole: the header, or what the trailer says besides them
                problem = Problem(
                    "pack", pack_key(check.pack), type(check.error)(_with_advice(check.error)), check.pack
                )
                self.findings.problems.append(problem)

    def _damage(self, digest: bytes, pack: bytes, error: Error) -> None:
        problem = Problem("object", pack_key(pack), type(error)(_with_advice(error)), digest)
        self._bad.setdefault(digest, problem)
        self.findings.problems.append(problem)

    # Manifests

    def _meta_of(self, need: Holder) -> list[bytes]:
        """The packs of its manifest, as far as the log says them rightly."""
        return self._standing(parse_hex(pack) for pack in need.meta_packs if is_hex_digest(pack))

    def _standing(self, packs: Iterable[bytes]) -> list[bytes]:
        """`packs`; in the place of one that was compacted and is gone, those that have taken it.

        Two collectors that compact a pack at once make two successors, of which one may be collected later: the other
        has what is needed, or the objects are missed.
        """
        found: list[bytes] = []
        pending, seen = [(pack, False) for pack in packs], set[bytes]()
        while pending:
            pack, is_successor = pending.pop()
            if pack in seen:
                continue
            seen.add(pack)
            successors = self._replaced.get(pack.hex(), ())
            is_gone = (bool(successors) or is_successor) and _size(self.backend, self.inventory, pack) is None
            if is_gone and successors:
                pending += ((parse_hex(successor), True) for successor in successors)
            elif not is_gone or pack.hex() not in self._collected:
                found.append(pack)
        return found

    def _packs_of(self, need: Holder) -> list[bytes]:
        """All packs of a need; what of it cannot be read is a problem of the need."""
        meta = self._meta_of(need)
        try:
            if need.packs_object is None:
                return [*meta, *self._standing(map(parse_hex, need.packs))]
            if self.depth == Depth.LOG:  # its indexes have not been read; the list is part of what is named
                self._read_indexes(meta)
            lists = json.loads(self._read_object(parse_hex(need.packs_object), meta))
            return [*meta, *self._standing(map(parse_hex, [*lists["meta_packs"], *lists["packs"]]))]
        except (IntegrityError, NotFoundError, ValueError, KeyError, TypeError) as error:
            self._note_manifest(
                need, IntegrityError(f"{need.name}: its list of packs cannot be read: {error}")
            )
            return meta

    def _read_indexes(self, packs: Iterable[bytes]) -> None:
        for pack in packs:
            check = check_index(self.backend, pack, _size(self.backend, self.inventory, pack))
            if check.objects is not None:
                self.inventory.add_pack(pack, check.size_bytes, check.objects)

    def _note_manifest(self, need: Holder, error: Error) -> None:
        """Blame what is known to be damaged for a manifest or a list of packs that cannot be read."""
        meta = self._meta_of(need)
        blamed = [self._broken[pack] for pack in meta if pack in self._broken]
        for digest in self._described(need, meta):
            related = (digest, *self._pieces_or_none(digest, meta))
            blamed += [self._bad[found] for found in related if found in self._bad]
        for problem in blamed:
            problem.touch(need.name)
        if not blamed and not any(
            p.kind == "manifest" and str(p.error) == str(error) for p in self.findings.problems
        ):
            self.findings.problems.append(
                Problem("manifest", "", error, parse_hex(need.digest), [(need.name, "")], 1)
            )

    def _described(self, need: Holder, packs: Collection[bytes]) -> list[bytes]:
        """The objects of a need that are no files."""
        found = [
            parse_hex(digest)
            for digest in (need.digest, need.packs_object, need.index)
            if digest is not None and is_hex_digest(digest)
        ]
        # An index speaks of the packs of then: whoever compacts them does not copy it.
        if need.index is not None and self._replaced and not self.inventory.places(found[-1:], packs):
            found.pop()
        return found

    def _check_manifest(self, need: Holder) -> None:
        """See that every object of a manifest is in the packs of its version."""
        packs = self._packs_of(need)
        try:
            manifest = self._manifest(need, packs)
        except (IntegrityError, NotFoundError) as error:
            self._note_manifest(need, IntegrityError(f"{need.name}: manifest: {error}; {_COPY}"))
            return
        for digest in self._described(need, packs):
            self._find([digest], packs, lambda digest: [""], need, is_file=False)
        files = (entry for entry in manifest.values() if entry.digest is not None)
        while batch := list(itertools.islice(files, _BATCH)):
            paths: dict[bytes, list[str]] = {}
            for entry in batch:
                paths.setdefault(parse_hex(entry.digest or ""), []).append(entry.path)
            self.inventory.add_files(paths)
            self._find(paths, packs, paths.__getitem__, need, is_file=True)

    def _find(
        self,
        digests: Collection[bytes],
        packs: Collection[bytes],
        paths: Callable[[bytes], Iterable[str]],
        need: Holder,
        *,
        is_file: bool,
    ) -> None:
        """Look objects up, and the pieces of those that are lists."""
        places = self.inventory.places(digests, packs)
        self.inventory.need(places.items(), as_pieces=False)
        for digest in digests:
            missing = [] if digest in places else [digest]
            at = places.get(digest)
            if at is not None and at.codec == Codec.CHUNKS:
                try:
                    pieces = {piece for piece, _ in self._pieces(digest, at)}
                except (IntegrityError, NotFoundError) as error:
                    if digest not in self._bad and self.depth < Depth.BYTES:
                        self._damage(digest, at.pack, error)
                    continue  # at depth bytes the pack tells of it
                found = self.inventory.places(pieces, packs)
                self.inventory.need(found.items(), as_pieces=is_file)
                missing = sorted(pieces - found.keys())
                if is_file and not missing and self.depth == Depth.BYTES:
                    self._check_large(digest, at, found, need)
            for lost in missing:
                self._note_missing(lost, packs, need, paths(digest))

    def _note_missing(
        self, digest: bytes, packs: Collection[bytes], need: Holder, paths: Iterable[str]
    ) -> None:
        problems = [self._broken[pack] for pack in packs if pack in self._broken]
        if not problems:
            if digest not in self._bad:
                error = NotFoundError(f"object {short(digest)} is in none of the version's packs; {_COPY}")
                self._bad[digest] = Problem("object", "", error, digest)
                self.findings.problems.append(self._bad[digest])
            problems = [self._bad[digest]]
        for problem in problems:
            for path in paths:
                problem.touch(need.name, path)

    def _check_large(self, digest: bytes, at: Location, places: dict[bytes, Location], need: Holder) -> None:
        """Hash a file that is stored in pieces, from its start."""
        name = f"object {digest.hex()}"
        if name in self._large or self.inventory.is_whole(name, self.since_s):
            return
        self._large.add(name)
        hasher = blake3()
        for piece, _ in self._pieces(digest, at):
            if piece in self._bad:
                return
            try:
                data = self._read_plain(piece, places[piece])
            except (IntegrityError, NotFoundError) as error:
                self._damage(piece, places[piece].pack, error)
                return
            hasher.update(data)
            if not self._everything:  # else they were read with their packs
                self.findings.read_bytes += len(data)
                self._progress(len(data))
        if hasher.digest() != digest:
            fault = f"object {short(digest)} in pack {short(at.pack)}: its chunks are whole but hash to another digest"
            self._damage(digest, at.pack, IntegrityError(fault))
            return
        self.inventory.mark_whole(name, time.time())

    # Reading, by what the inventory knows

    def _manifest(self, need: Holder, packs: Collection[bytes]) -> Manifest:
        return Manifest.decode(self._read_object(parse_hex(need.digest), packs))

    def _read_object(self, digest: bytes, packs: Collection[bytes]) -> bytes | bytearray:
        at = self._place(digest, packs)
        if at.codec != Codec.CHUNKS:
            return bytes(self._read_plain(digest, at))
        pieces = self._pieces(digest, at)
        places = {piece: self._place(piece, packs) for piece in dict.fromkeys(piece for piece, _ in pieces)}
        if not may_hold(at.raw_bytes, sum(place.stored_bytes for place in places.values())):
            raise IntegrityError(f"object {short(digest)} is longer than its pieces can make it")
        data = bytearray()
        for piece, _ in pieces:
            data += self._read_plain(piece, places[piece])
        if digest_of(data) != digest:
            raise IntegrityError(f"object {short(digest)}: its chunks hash to another digest")
        return data

    def _place(self, digest: bytes, packs: Collection[bytes]) -> Location:
        found = self.inventory.places([digest], packs)
        if digest not in found:
            raise NotFoundError(f"object {short(digest)} is in none of its packs that can be read")
        return found[digest]

    def _pieces(self, digest: bytes, at: Location) -> list[tuple[bytes, int]]:
        try:
            return decode_chunk_list(self._payload(digest, at), at.raw_bytes)
        except IntegrityError as error:
            raise IntegrityError(f"object {short(digest)} in pack {short(at.pack)}: {error}") from error

    def _read_plain(self, digest: bytes, at: Location) -> Buffer:
        try:
            data = decode(at.codec, self._payload(digest, at), at.raw_bytes)
        except IntegrityError as error:
            raise IntegrityError(f"object {short(digest)} in pack {short(at.pack)}: {error}") from error
        if digest_of(data) != digest:
            actual = short(digest_of(data))
            raise IntegrityError(f"object {short(digest)} in pack {short(at.pack)}: bytes hash to {actual}")
        return data

    def _payload(self, digest: bytes, at: Location) -> bytes:
        data = self.backend.read(pack_key(at.pack), at.offset, at.stored_bytes)
        if len(data) != at.stored_bytes:
            raise IntegrityError("the pack is truncated")
        return data

    # Whom it concerns

    def _name_the_files(self, needs: Iterable[Holder]) -> None:
        """Note at every damaged object which files it is, or is a piece of."""
        by_digest: dict[bytes, list[Problem]] = {}
        for problem in self.findings.problems:
            if problem.kind == "object" and problem.digest is not None:
                by_digest.setdefault(problem.digest, []).append(problem)
        for need in needs:
            packs = self._packs_of(need)
            for digest in self._described(need, packs):
                self._touch(by_digest, digest, packs, need.name, "")
            try:
                manifest = self._manifest(need, packs)
            except (IntegrityError, NotFoundError):
                continue  # told already
            for entry in manifest.values():
                if entry.digest is not None:
                    self._touch(by_digest, parse_hex(entry.digest), packs, need.name, entry.path)

    def _touch(
        self,
        by_digest: dict[bytes, list[Problem]],
        digest: bytes,
        packs: Collection[bytes],
        name: str,
        path: str,
    ) -> None:
        for problem in by_digest.get(digest, ()):
            problem.touch(name, path)
        for piece in self._pieces_or_none(digest, packs) & by_digest.keys():
            for problem in by_digest[piece]:
                problem.touch(name, path)

    def _pieces_or_none(self, digest: bytes, packs: Collection[bytes]) -> set[bytes]:
        at = self.inventory.places([digest], packs).get(digest)
        if at is None or at.codec != Codec.CHUNKS:
            return set()
        try:
            return {piece for piece, _ in self._pieces(digest, at)}
        except (IntegrityError, NotFoundError):
            return set()  # a problem of its own


def _unique(packs: Iterable[bytes], seen: set[bytes]) -> Iterator[bytes]:
    for pack in packs:
        if pack not in seen:
            seen.add(pack)
            yield pack


def _size(backend: Backend, inventory: Inventory, pack: bytes) -> int | None:
    """As listed; one that came after the listing is looked up."""
    listed = inventory.size_of(pack)
    if listed is not None:
        return listed
    try:
        size_bytes = backend.stat(pack_key(pack)).size_bytes
    except NotFoundError:
        return None
    inventory.list_packs([(pack, size_bytes)])
    return size_bytes


def _look(backend: Backend, task: tuple[bytes, int | None]) -> PackCheck:
    return check_index(backend, *task)


def _read(
    backend: Backend,
    progress: Callable[[int], None],
    task: tuple[bytes, Collection[bytes] | None, int | None],
) -> PackCheck:
    pack, wanted, size_bytes = task
    return check_bytes(backend, check_index(backend, pack, size_bytes), wanted, progress)


def _with_advice(error: Error) -> str:
    text = str(error)
    return text if _COPY in text else f"{text}; {_COPY}"
