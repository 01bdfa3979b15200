"""From packs to local files, verified, in parallel: the way out.

A file appears under its name only when all its bytes have been hashed and compared; until then it lies in a
temporary folder inside the target, which is removed at the end whatever happens.
Objects are read in runs: neighbours in a pack come with one read.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from blake3 import blake3

from .backend import Buffer
from .codec import Codec, decode
from .digest import digest_of, short
from .errors import Error, IntegrityError, StoreError
from .locations import Location
from .objects import Objects, PackGone
from .planning import Run, plan_runs
from .reading import open_source
from .statcache import Fingerprint, StatCache

TEMPORARY_PREFIX = ".lineart-partial-"
_WRITE_BYTES = 1024 * 1024
_LOCAL_THREADS = 2
_REMOTE_THREADS = 16
_BATCH = 20_000

Progress = Callable[[int], None]
_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class FileTarget:
    """A file to be made: where, and from which object."""

    path: str  # absolute
    digest: bytes
    size_bytes: int
    executable: bool


class Restorer:
    """Writes the objects of one store to local files. One use, one thread calls it; it works with several."""

    def __init__(
        self,
        objects: Objects,
        stat_cache: StatCache,
        packs: Iterable[bytes],
        *,
        progress: Progress | None = None,
    ) -> None:
        self._objects = objects
        self._stat_cache = stat_cache
        self._packs = list(packs)
        self._progress = progress or (lambda size: None)
        local = objects.backend.local_path("packs") is not None
        self._threads = _LOCAL_THREADS if local else _REMOTE_THREADS
        self._number = itertools.count()
        self._began_ns = time.time_ns()

    def restore(self, targets: Sequence[FileTarget], root: str, *, modified_ns: int) -> int:
        """Make the files of `targets` below the existing folder `root`; returns how many had to be written.

        A file whose bytes are right already stays. New files get the modification time `modified_ns`, so that the
        stat cache can trust them at once: any later write changes it.
        Raises: IntegrityError, NotFoundError, StoreError, CommError; every file is then either as it was, or right.
        """
        wanted = self._out_of_date(targets)
        if not wanted:
            return 0
        try:
            for folder in sorted({os.path.dirname(target.path) for target in wanted}):
                os.makedirs(folder, exist_ok=True)
            temporary = tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=root)
        except OSError as error:
            raise target_error(root, error) from error
        try:
            with ThreadPoolExecutor(self._threads, "lineart-restore") as pool:
                for start in range(0, len(wanted), _BATCH):
                    batch = wanted[start : start + _BATCH]
                    self._objects.patiently(partial(self._restore_batch, batch, temporary, modified_ns, pool))
        except OSError as error:
            raise target_error(root, error) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return len(wanted)

    def check(self, digests: Iterable[bytes]) -> Iterator[Error]:
        """Read and verify every object of `digests`; yields an error for each that is damaged or missing."""
        unique = list(dict.fromkeys(digests))
        for start in range(0, len(unique), _BATCH):
            yield from self._check_batch(unique[start : start + _BATCH])

    # Deciding what to write

    def _out_of_date(self, targets: Sequence[FileTarget]) -> list[FileTarget]:
        wanted, right = [], []
        for start in range(0, len(targets), _BATCH):
            batch = targets[start : start + _BATCH]
            known = self._stat_cache.lookup([target.path for target in batch])
            for target in batch:
                try:
                    found = os.lstat(target.path)
                except FileNotFoundError:
                    wanted.append(target)
                    continue
                except OSError as error:
                    raise target_error(target.path, error) from error
                now = Fingerprint.of(found)
                if known.digest(target.path, now) == target.digest:
                    _set_executable(target, now)
                elif digest_of_file(target.path, now) == target.digest:
                    _set_executable(target, now)
                    right.append((target.path, Fingerprint.of(os.lstat(target.path)), target.digest))
                else:
                    wanted.append(target)
                    continue
                self._progress(target.size_bytes)
        if right:
            self._stat_cache.remember(right, seen_ns=self._began_ns)
        return wanted

    # Writing

    def _restore_batch(
        self, targets: Sequence[FileTarget], temporary: str, modified_ns: int, pool: ThreadPoolExecutor
    ) -> None:
        by_digest: dict[bytes, list[FileTarget]] = {}
        for target in targets:
            by_digest.setdefault(target.digest, []).append(target)
        places = self._objects.locate(by_digest.keys(), self._packs)
        plain = [(digest, at) for digest, at in places.items() if at.codec != Codec.CHUNKS]
        plain.sort(key=lambda item: (item[1].pack, item[1].offset))
        written: list[tuple[str, Fingerprint, bytes]] = []

        def write_run(run: Run) -> list[tuple[str, Fingerprint, bytes]]:
            done = []
            for digest, data in self._read_run(run):
                for target in by_digest[digest]:
                    path = f"{temporary}/{next(self._number)}"
                    _write_file(path, data, target.executable, modified_ns)
                    os.replace(path, target.path)
                    done.append((target.path, Fingerprint.of(os.lstat(target.path)), digest))
                    self._progress(len(data))
            return done

        for done in in_order(pool, write_run, plan_runs(plain), ahead=2 * self._threads):
            written += done
        for digest, at in places.items():
            if at.codec == Codec.CHUNKS:
                written += self._restore_large(by_digest[digest], at, temporary, modified_ns, pool)
        self._stat_cache.remember(written, seen_ns=self._began_ns)

    def _read_run(self, run: Run) -> Iterator[tuple[bytes, Buffer]]:
        payload = self._objects.read_run(run)
        for digest, at in run.items:
            start = at.offset - run.start
            yield digest, self._objects.open_payload(digest, at, payload[start : start + at.stored_bytes])

    def _restore_large(
        self,
        targets: list[FileTarget],
        at: Location,
        temporary: str,
        modified_ns: int,
        pool: ThreadPoolExecutor,
        *,
        tries: int = 2,
    ) -> list[tuple[str, Fingerprint, bytes]]:
        """Pool: read, decode and write chunks at their places; here: hash the whole in order, then give the name."""
        digest = targets[0].digest
        pieces = self._objects.chunks(digest, at)
        places = self._objects.locate([piece for piece, _ in pieces], self._packs)
        path = f"{temporary}/{next(self._number)}"
        mode = 0o777 if targets[0].executable else 0o666
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:

            def write_run(task: tuple[Run, int]) -> list[Buffer]:
                run, position = task
                payload = self._objects.read_run(run)
                contents = []
                for piece, place in run.items:
                    start = place.offset - run.start
                    data = self._decode(piece, place, payload[start : start + place.stored_bytes])
                    _write_at(descriptor, data, position)
                    position += len(data)
                    contents.append(data)
                return contents

            runs = plan_runs((piece, places[piece]) for piece, _ in pieces)
            hasher = blake3()
            for contents in in_order(pool, write_run, _with_positions(runs), ahead=2 * self._threads):
                for data in contents:
                    hasher.update(data)
                    self._progress(len(data))
            if hasher.digest() != digest:
                kept = {at.pack, *(place.pack for place in places.values())}
                if tries > 1 and self._objects.forget_kept(kept):
                    return self._restore_large(targets, at, temporary, modified_ns, pool, tries=tries - 1)
                self._explain(digest, at, pieces, places)
            os.utime(descriptor, ns=(modified_ns, modified_ns))
        finally:
            os.close(descriptor)
        done = []
        for target in targets[1:]:
            copy = f"{temporary}/{next(self._number)}"
            shutil.copy2(path, copy)
            os.replace(copy, target.path)
            _set_executable(target, Fingerprint.of(os.lstat(target.path)))
            done.append((target.path, Fingerprint.of(os.lstat(target.path)), digest))
        os.replace(path, targets[0].path)
        return [*done, (targets[0].path, Fingerprint.of(os.lstat(targets[0].path)), digest)]

    def _decode(self, digest: bytes, at: Location, payload: Buffer) -> Buffer:
        try:
            return decode(at.codec, payload, at.raw_bytes)
        except IntegrityError:
            return self._objects.open_payload(digest, at, payload)  # raises, naming object and pack

    def _explain(
        self, digest: bytes, at: Location, pieces: list[tuple[bytes, int]], places: dict[bytes, Location]
    ) -> None:
        """Raise for the damaged chunk of a file that hashed wrong."""
        for piece, _ in pieces:
            self._objects.read_plain(piece, places[piece])
        raise IntegrityError(
            f"object {short(digest)} in pack {short(at.pack)}: its chunks are whole but hash to another digest;"
            " the chunk list is wrong; restore the pack from a copy of the store"
        )

    # Checking

    def _check_batch(self, digests: Sequence[bytes]) -> Iterator[Error]:
        plain: list[tuple[bytes, Location]] = []
        large: list[tuple[bytes, Location]] = []
        for digest in digests:
            try:
                at = self._objects.locate([digest], self._packs)[digest]
            except Error as error:
                yield error
                continue
            (large if at.codec == Codec.CHUNKS else plain).append((digest, at))
        plain.sort(key=lambda item: (item[1].pack, item[1].offset))
        with ThreadPoolExecutor(self._threads, "lineart-check") as pool:
            for errors in in_order(pool, self._check_run, plan_runs(plain), ahead=2 * self._threads):
                yield from errors
        for digest, at in large:
            yield from self._check_large(digest, at)

    def _check_run(self, run: Run) -> list[Error]:
        try:
            for _, data in self._read_run(run):
                self._progress(len(data))
            return []
        except Error:
            errors: list[Error] = []
            for digest, at in run.items:  # again, one by one, to name each that is damaged
                try:
                    self._read_plain(digest, at)
                except Error as error:
                    errors.append(error)
            return errors

    def _read_plain(self, digest: bytes, at: Location) -> Buffer:
        try:
            return self._objects.read_plain(digest, at)
        except PackGone:
            return self._objects.read(digest, self._packs)

    def _check_large(self, digest: bytes, at: Location) -> Iterator[Error]:
        try:
            hasher = blake3()
            pieces = self._objects.pieces(digest, self._packs)
            places = self._objects.locate([piece for piece, _ in pieces], self._packs)
            for piece, _ in pieces:
                data = self._read_plain(piece, places[piece])
                hasher.update(data)
                self._progress(len(data))
            if hasher.digest() != digest:
                self._explain(digest, at, pieces, places)
        except Error as error:
            yield error


def digest_of_file(path: str, now: Fingerprint) -> bytes | None:
    """The digest of the regular file at `path`, None for anything else."""
    if (now.mode & 0o170000) != 0o100000:
        return None
    descriptor, _ = open_source(path)
    try:
        if now.size_bytes < _WRITE_BYTES:
            return digest_of(os.read(descriptor, now.size_bytes + 1))
        hasher = blake3()
        buffer = bytearray(_WRITE_BYTES)
        while count := os.readv(descriptor, [buffer]):
            hasher.update(memoryview(buffer)[:count])
        return hasher.digest()
    finally:
        os.close(descriptor)


def target_error(path: str, error: OSError) -> StoreError:
    """What to raise when files cannot be written to the folder that the user has named."""
    names = (error.filename2, error.filename)  # of a rename it is the new name that the user knows
    where = next((name for name in names if isinstance(name, str)), path)
    return StoreError(
        f"cannot write {where!r}: {error.strerror or error}; free space or choose another --root"
    )


def in_order(
    pool: ThreadPoolExecutor, work: Callable[[_T], _R], tasks: Iterable[_T], *, ahead: int
) -> Iterator[_R]:
    """Results in the order of `tasks`, with at most `ahead` of them under way: memory stays bounded."""
    waiting: deque[Future[_R]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(work, task))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
        for future in waiting:
            with contextlib.suppress(BaseException):  # the first error is on its way already
                future.result()


def _with_positions(runs: Iterable[Run]) -> Iterator[tuple[Run, int]]:
    position = 0
    for run in runs:
        yield run, position
        position += sum(at.raw_bytes for _, at in run.items)


def _write_file(path: str, data: Buffer, executable: bool, modified_ns: int) -> None:
    mode = 0o777 if executable else 0o666
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        _write_at(descriptor, data, 0)
        os.utime(descriptor, ns=(modified_ns, modified_ns))
    finally:
        os.close(descriptor)


def _write_at(descriptor: int, data: Buffer, position: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(descriptor, view[:_WRITE_BYTES], position)
        view, position = view[count:], position + count


def _set_executable(target: FileTarget, now: Fingerprint) -> None:
    if bool(now.mode & 0o100) != target.executable:
        mode = now.mode & 0o777
        os.chmod(Path(target.path), mode | 0o111 if target.executable else mode & ~0o111)
