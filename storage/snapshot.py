"""From local files to packs in one pass: the way in.

::

    caller's thread     stat cache; reads windows of large files and cuts them
         │ tasks, in order
    pool, 2 threads     reads small files; hashes, looks up, compresses           (BLAKE3, zstd release the GIL)
         │ results, in order
    writer thread       hashes whole files, appends to packs                      (one order: packs are sequential)
         │ finished packs
    sealer, 2 threads   flushes and names them in the backend, uploads

Memory is bounded: three windows of 24 MiB for large files, eight batches of at most 4 MiB for small ones.
What a failed or killed snapshot leaves are whole packs that no version needs, and a staging file.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from blake3 import blake3

from .backend import Buffer
from .chunker import METADATA_CHUNKER, ChunkerParameters, cut
from .codec import Codec, decode_chunk_list, encode, encode_chunk_list
from .copying import copied
from .digest import digest_of, short
from .errors import Error, NotFoundError, StoreError
from .locations import Location
from .objects import Objects
from .pack import BuiltPack, PackedObject, PackLimits, PackWriter, new_salt, pack_key
from .pack_index import FROM_PACKS, encode_index
from .reading import ATTEMPTS, changed_error, open_settled, read_small, source_error
from .statcache import Fingerprint, StatCache

_WINDOW_BYTES = 24 * 1024 * 1024
_WINDOWS = 3
_BATCH_FILES = 64
_BATCH_BYTES = 4 * 1024 * 1024
_QUEUED = 8
_UPLOADS = 8
_SEALED_AHEAD = 8  # packs that wait for a slow store, on the machine's disk
_STALE_S = 24 * 3600
_LOOKUP_FILES = 8192

Progress = Callable[[int], None]  # called with the number of bytes that were dealt with since the last call


@dataclass(frozen=True, slots=True)
class Piece:
    """A hashed piece; `payload` is None when the store holds it already, in `pack`."""

    digest: bytes
    data: Buffer
    codec: Codec
    payload: Buffer | None
    pack: bytes | None


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A local file whose bytes are in the store."""

    digest: bytes
    size_bytes: int
    executable: bool


@dataclass(frozen=True, slots=True)
class SnapshotPacks:
    """The packs that hold all that a snapshot needs (hexadecimal, sorted), and what was newly stored."""

    packs: Sequence[str]
    meta_packs: Sequence[str]
    index: str | None  # the object that has the trailers of `packs`
    new_bytes: int


@dataclass(slots=True)
class _LargeFile:
    """A large file on its way through the writer."""

    index: int
    path: str
    hasher: blake3 = field(default_factory=blake3)
    pieces: list[tuple[bytes, int]] = field(default_factory=list)


@dataclass(slots=True)
class _Task:
    """What the writer gets: pieces to append; of files of their own, or the next of a large one."""

    pieces: Sequence[Future[list[Piece]]]
    small: Sequence[tuple[int, str]] = ()  # (index, path) of each piece
    fingerprints: list[Fingerprint] = field(default_factory=list)  # filled by the pool
    large: _LargeFile | None = None
    end: Fingerprint | None = None  # of the large file that ends with this task
    window: bytearray | None = None  # to be given back


class Snapshot:
    """Puts the bytes of one commit into a store's packs. A context manager; used by one thread."""

    def __init__(
        self,
        objects: Objects,
        stat_cache: StatCache,
        *,
        chunker: ChunkerParameters,
        metadata_chunker: ChunkerParameters = METADATA_CHUNKER,
        limits: PackLimits,
        progress: Progress | None = None,
    ) -> None:
        self._objects = objects
        self._stat_cache = stat_cache
        self._chunker = chunker
        self._metadata_chunker = metadata_chunker
        self._limits = limits
        self._progress = progress or (lambda size: None)
        self._staging = objects.backend.staging()
        _remove_stale(self._staging)
        self._pool = ThreadPoolExecutor(2, "lineart-hash")
        self._is_remote = objects.backend.local_path("packs") is None
        self._sealer = ThreadPoolExecutor(_UPLOADS if self._is_remote else 2, "lineart-seal")
        self._sealing: list[Future[bytes]] = []
        self._staged: list[Path] = []
        self._sealed: dict[bytes, Sequence[PackedObject]] = {}
        self._tasks: queue.Queue[_Task | None] = queue.Queue(_QUEUED)
        self._windows: queue.Queue[bytearray | None] = queue.Queue()
        for _ in range(_WINDOWS):
            self._windows.put(None)  # made when first used
        self._failure: BaseException | None = None
        self._writer: threading.Thread | None = None
        # Owned by the writer thread until it has ended:
        self._data = _PackSeries(self)
        self._meta = _PackSeries(self)
        self._results: list[StoredFile | None] = []
        self._remember: list[tuple[str, Fingerprint, bytes]] = []
        self._began_ns = 0

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._stop_writer()
        self._pool.shutdown(cancel_futures=True)
        self._sealer.shutdown(cancel_futures=kind is not None)
        self._data.discard()
        self._meta.discard()
        for path in self._staged:  # there is one only after a failure, and it may be what fills the disk
            with contextlib.suppress(OSError):
                path.unlink()

    def add_files(self, paths: Sequence[str]) -> list[StoredFile]:
        """Store the regular files at the absolute `paths`; those that the stat cache knows are not read.

        Raises: NotFoundError, UsageError, SourceChangedError about a file; StoreError, CommError.
        """
        self._results = [None] * len(paths)
        self._began_ns = time.time_ns()  # of all files that are read from here on
        unread = self._use_stat_cache(paths)
        batch: list[tuple[int, str]] = []
        batch_bytes = 0
        for index, size_bytes in unread:
            if size_bytes > self._chunker.maximum:
                self._add_large(index, paths[index])
                continue
            if batch and (len(batch) >= _BATCH_FILES or batch_bytes + size_bytes > _BATCH_BYTES):
                self._submit_small(batch)
                batch, batch_bytes = [], 0
            batch.append((index, paths[index]))
            batch_bytes += size_bytes
        if batch:
            self._submit_small(batch)
        self._stop_writer()
        self._check()
        if self._remember:
            self._stat_cache.remember(self._remember, seen_ns=self._began_ns)
            self._remember = []
        return [result for result in self._results if result is not None]

    def require(self, digests: Collection[bytes], packs: Collection[bytes] = ()) -> None:
        """Rely on objects of earlier versions, which lie in `packs`, or in packs that are known.

        What lies in packs that are being collected alone is copied into new ones.
        Raises: NotFoundError when one is not in the store.
        """
        old = list(digests)
        for start in range(0, len(old), _LOOKUP_FILES):
            available = self._objects.available(old[start : start + _LOOKUP_FILES])
            self._data.needed |= available.packs
            self._meta.needed |= available.list_packs
            try:
                self._copy(available.missing, packs, self._data)
            except NotFoundError as error:
                digest = min(available.missing)
                raise NotFoundError(
                    f"object {short(digest)} of an earlier version is not in the store; verify that version"
                ) from error

    def require_metadata(self, digests: Collection[bytes], packs: Collection[bytes]) -> None:
        """Like `require`, for manifests and other descriptions."""
        available = self._objects.available(digests)
        self._meta.needed |= available.packs | available.list_packs
        self._copy(available.missing, packs, self._meta)

    def _copy(self, digests: Collection[bytes], packs: Collection[bytes], series: _PackSeries) -> None:
        """Take over what lies only in packs that are being collected. Raises: NotFoundError."""
        for digest, place, payload in copied(self._objects, digests, packs):
            if place.codec == Codec.CHUNKS:
                self._meta.add_list(digest, place.raw_bytes, payload)
                pieces = [piece for piece, _ in decode_chunk_list(payload, place.raw_bytes)]
                available = self._objects.available(pieces)
                series.needed |= available.packs
                self._copy(available.missing, packs, series)
            else:
                series.add_stored(digest, place, payload)

    def add_metadata(self, data: Buffer) -> bytes:
        """Store a manifest or another description in the metadata packs; its digest."""
        whole = memoryview(data)
        if len(whole) <= self._metadata_chunker.average:
            piece = self._encode([whole])[0]
            self._meta.add(piece)
            return piece.digest
        pieces = []
        for chunk in cut(whole, self._metadata_chunker, is_last=True):
            piece = self._encode([chunk])[0]
            self._meta.add(piece)
            pieces.append((piece.digest, len(chunk)))
        digest = digest_of(whole)
        self._add_chunk_list(digest, len(whole), pieces, self._meta)
        return digest

    def finish(self) -> SnapshotPacks:
        """Seal the packs; when this returns, all bytes added are safe in the store. Raises: StoreError, CommError."""
        self._data.close()
        index = self._add_index()
        self._meta.close()
        for future in self._sealing:
            future.result()
        return SnapshotPacks(
            packs=sorted(pack.hex() for pack in self._data.needed),
            meta_packs=sorted(pack.hex() for pack in self._meta.needed),
            index=index,
            new_bytes=self._data.new_bytes + self._meta.new_bytes,
        )

    def _add_index(self) -> str | None:
        """Of a remote store: one request for the places of all objects, instead of one or two a pack."""
        if not self._is_remote or len(self._data.needed) < FROM_PACKS:
            return None
        packs = [
            (pack, self._sealed[pack] if pack in self._sealed else self._objects.read_trailer(pack)[1])
            for pack in self._data.needed
        ]
        return self.add_metadata(encode_index(packs)).hex()

    # The caller's thread

    def _use_stat_cache(self, paths: Sequence[str]) -> list[tuple[int, int]]:
        """Fill the results of files that need not be read; (index, size in bytes) of the others."""
        unread: list[tuple[int, int]] = []
        for start in range(0, len(paths), _LOOKUP_FILES):
            unread += self._look_up(paths[start : start + _LOOKUP_FILES], start)
        return unread

    def _look_up(self, paths: Sequence[str], first: int) -> list[tuple[int, int]]:
        known: list[tuple[int, bytes, Fingerprint]] = []
        unread: list[tuple[int, int]] = []
        rows = self._stat_cache.lookup(paths)
        for index, path in enumerate(paths, first):
            try:
                fingerprint = Fingerprint.of(os.stat(path))
            except OSError as error:
                raise source_error(path, error) from error
            digest = rows.digest(path, fingerprint)
            if digest is None:
                unread.append((index, fingerprint.size_bytes))
            else:
                known.append((index, digest, fingerprint))
        available = self._objects.available({digest for _, digest, _ in known})
        for index, digest, fingerprint in known:
            if digest in available.missing:
                unread.append((index, fingerprint.size_bytes))
            else:
                executable = bool(fingerprint.mode & 0o100)
                self._results[index] = StoredFile(digest, fingerprint.size_bytes, executable)
                self._progress(fingerprint.size_bytes)
        self._data.needed |= available.packs
        self._meta.needed |= available.list_packs
        return sorted(unread)

    def _submit_small(self, batch: list[tuple[int, str]]) -> None:
        task = _Task(pieces=(), small=batch)
        task.pieces = [self._pool.submit(self._read_batch, task)]
        self._put(task)

    def _add_large(self, index: int, path: str) -> None:
        for attempt in range(ATTEMPTS):
            descriptor, before = open_settled(path)
            try:
                if self._read_large(_LargeFile(index, path), descriptor, before):
                    return
            except OSError as error:
                raise source_error(path, error) from error
            finally:
                os.close(descriptor)
            time.sleep(0.02 * attempt)
        raise changed_error(path)

    def _read_large(self, large: _LargeFile, descriptor: int, before: Fingerprint) -> bool:
        """Send a file through the pipeline window by window; False when it changed meanwhile."""
        window, filled, total = self._take_window(), 0, 0
        while True:
            view = memoryview(window)
            is_last = False
            # A file that grows as fast as it is read has no end.
            while filled < _WINDOW_BYTES and not is_last and total <= before.size_bytes:
                count = os.readv(descriptor, [view[filled:]])
                is_last = count == 0
                filled, total = filled + count, total + count
            now = Fingerprint.of(os.fstat(descriptor))
            if not now.same_content(before):
                self._windows.put(window)
                return False
            chunks = list(cut(view[:filled], self._chunker, is_last=is_last))
            futures = [
                self._pool.submit(self._encode, chunks[start : start + 8])
                for start in range(0, len(chunks), 8)
            ]
            task = _Task(pieces=futures, large=large, end=now if is_last else None, window=window)
            if is_last:
                self._put(task)
                return True
            # What is not cut yet starts the next window; copied before the writer may reuse this one.
            rest = view[sum(map(len, chunks)) : filled]
            following = self._take_window()
            filled = len(rest)
            following[:filled] = rest
            self._put(task)
            window = following

    def _take_window(self) -> bytearray:
        self._start_writer()
        window = self._windows.get()
        return bytearray(_WINDOW_BYTES) if window is None else window

    def _put(self, task: _Task) -> None:
        self._check()
        self._start_writer()
        self._tasks.put(task)

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _start_writer(self) -> None:
        if self._writer is None:
            self._writer = threading.Thread(target=self._write_tasks, name="lineart-write", daemon=True)
            self._writer.start()

    def _stop_writer(self) -> None:
        if self._writer is not None:
            self._tasks.put(None)
            self._writer.join()
            self._writer = None

    # The pool

    def _read_batch(self, task: _Task) -> list[Piece]:
        contents = []
        for _, path in task.small:
            data, fingerprint = read_small(path, self._chunker.maximum)
            contents.append(data)
            task.fingerprints.append(fingerprint)
        return self._encode(contents)

    def _encode(self, contents: Sequence[Buffer]) -> list[Piece]:
        digests = [digest_of(data) for data in contents]
        found = self._objects.find(digests)
        pieces = []
        for digest, data in zip(digests, contents, strict=True):
            at = found.get(digest)
            if at is None or at.codec == Codec.CHUNKS:
                codec, payload = encode(data)
                pieces.append(Piece(digest, data, codec, payload, None))
            else:
                pieces.append(Piece(digest, data, Codec.RAW, None, at.pack))
        return pieces

    # The writer thread

    def _write_tasks(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                if self._failure is None:
                    self._write(task)
            except Error as error:
                self._failure = error
            except BaseException as error:  # handed to the caller's thread, which raises it
                self._failure = error
            finally:
                if task.window is not None:
                    for future in task.pieces:  # nobody reads the window any more
                        with contextlib.suppress(BaseException):
                            future.result()
                    self._windows.put(task.window)

    def _write(self, task: _Task) -> None:
        if task.large is not None:
            self._write_large(task, task.large)
            return
        pieces = task.pieces[0].result()
        for (index, path), piece, fingerprint in zip(task.small, pieces, task.fingerprints, strict=True):
            self._data.add(piece)
            self._finished(index, path, fingerprint, piece.digest)
            self._progress(fingerprint.size_bytes)

    def _write_large(self, task: _Task, large: _LargeFile) -> None:
        for future in task.pieces:
            for piece in future.result():
                large.hasher.update(piece.data)
                large.pieces.append((piece.digest, len(piece.data)))
                self._data.add(piece)
                self._progress(len(piece.data))
        if task.end is not None:
            digest = large.hasher.digest()
            self._add_chunk_list(digest, task.end.size_bytes, large.pieces, self._data)
            self._finished(large.index, large.path, task.end, digest)

    def _add_chunk_list(
        self, digest: bytes, raw_bytes: int, pieces: list[tuple[bytes, int]], series: _PackSeries
    ) -> None:
        if len(pieces) == 1:
            return  # the only piece is the object
        known = self._objects.available([digest])
        if known.missing:
            self._meta.add_list(digest, raw_bytes, encode_chunk_list(pieces))
        else:  # readers will use that list, and it may name other pieces: cut with other parameters
            series.needed |= known.packs
            self._meta.needed |= known.list_packs

    def _finished(self, index: int, path: str, fingerprint: Fingerprint, digest: bytes) -> None:
        self._results[index] = StoredFile(digest, fingerprint.size_bytes, bool(fingerprint.mode & 0o100))
        self._remember.append((path, fingerprint, digest))
        if len(self._remember) >= _LOOKUP_FILES:
            self._stat_cache.remember(self._remember, seen_ns=self._began_ns)
            self._remember = []

    # Packs

    def new_pack(self) -> PackWriter:
        """An empty pack in the staging folder."""
        try:
            pack = PackWriter(self._staging, self._limits)
            if self._objects.condemned:
                # The same bytes must not make the pack again that is being collected: its name would be condemned.
                salt = new_salt()
                pack.add(digest_of(salt), len(salt), Codec.RAW, salt)
            return pack
        except OSError as error:
            raise self.disk_error(error) from error

    def seal(self, built: BuiltPack) -> None:
        """Give a finished pack to the backend, in the background. Raises: what an earlier one has met."""
        self._staged.append(built.path)
        self._sealed[built.digest] = built.objects
        if len(self._sealing) >= _SEALED_AHEAD:
            self._sealing[-_SEALED_AHEAD].result()
        self._sealing.append(self._sealer.submit(self._seal, built))

    def _seal(self, built: BuiltPack) -> bytes:
        self._objects.backend.write_file(pack_key(built.digest), built.path)
        self._objects.added(built.digest, built.size_bytes, built.objects)
        return built.digest

    def disk_error(self, error: OSError) -> Error:
        """What to raise when a pack cannot be written."""
        return StoreError(
            f"{self._objects.backend.url}: {error.strerror or error} while writing a pack; nothing was logged"
        )


class _PackSeries:
    """The packs of one kind that a snapshot writes one after the other, and those it relies on."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._pack: PackWriter | None = None
        self._written: set[bytes] = set()
        self.needed: set[bytes] = set()
        self.new_bytes = 0

    def add(self, piece: Piece) -> None:
        """Append a piece, unless the store or this snapshot has it."""
        if piece.pack is not None:
            self.needed.add(piece.pack)
        elif piece.payload is not None:
            self._append(piece.digest, len(piece.data), piece.codec, piece.payload)

    def add_list(self, digest: bytes, raw_bytes: int, payload: Buffer) -> None:
        """Append a chunk list, unless this snapshot has it."""
        self._append(digest, raw_bytes, Codec.CHUNKS, payload)

    def add_stored(self, digest: bytes, place: Location, payload: Buffer) -> None:
        """Append what was read at `place` as it is stored there, unless this snapshot has it."""
        self._append(digest, place.raw_bytes, Codec(place.codec), payload)

    def _append(self, digest: bytes, raw_bytes: int, codec: Codec, payload: Buffer) -> None:
        if digest in self._written:
            return
        if self._pack is not None and self._pack.is_full_for(len(payload)):
            self.close()
        if self._pack is None:
            self._pack = self._snapshot.new_pack()
        try:
            self._pack.add(digest, raw_bytes, codec, payload)
        except OSError as error:
            raise self._snapshot.disk_error(error) from error
        self._written.add(digest)
        self.new_bytes += len(payload)

    def close(self) -> None:
        """Finish the open pack and hand it on."""
        if self._pack is not None:
            try:
                built = self._pack.finish()
            except OSError as error:
                raise self._snapshot.disk_error(error) from error
            self._pack = None
            self.needed.add(built.digest)
            self._snapshot.seal(built)

    def discard(self) -> None:
        """Remove the open pack, if there is one."""
        if self._pack is not None:
            self._pack.discard()
            self._pack = None


def _remove_stale(staging: Path) -> None:
    """Remove what writers that were killed have left a day ago; nobody writes a pack for that long."""
    limit = time.time() - _STALE_S
    for entry in _scan(staging):
        with contextlib.suppress(FileNotFoundError):  # another process is cleaning, too
            if entry.stat(follow_symlinks=False).st_mtime < limit and entry.is_file(follow_symlinks=False):
                os.unlink(entry.path)


def _scan(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from entries
