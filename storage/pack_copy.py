"""Values from one backend to another, byte for byte: packs, whose name proves their bytes, and others.

A value is written to the target's staging folder first and gets its key when it is whole, so a copy that is cut short
leaves nothing that a reader could see; what the target has under a key is not read again.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Container, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from blake3 import blake3

from .backend import Backend
from .cache import CachingBackend
from .digest import short
from .errors import IntegrityError, NotFoundError, StoreError
from .pack import pack_key

Progress = Callable[[int], None]  # called from several threads with the bytes dealt with since the last call

_PIECE_BYTES = 8 * 1024 * 1024  # one request to a bucket
_LOCAL_PIECE_BYTES = 1024 * 1024  # stays in the processor's cache between reading, hashing and writing
_PARALLEL = 4
_PARALLEL_LOOKS = 16


class PackCopier:
    """Copies packs that the target lacks, each once. Safe to use from several threads.

    A pack that the target is collecting (`condemned`) may not be named there: `anew` stores what it holds in another
    one, and returns that one's digest.
    """

    def __init__(
        self,
        source: Backend,
        target: Backend,
        progress: Progress | None = None,
        *,
        condemned: Container[bytes] = (),
        anew: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self._source = source
        self._target = target
        self._progress = progress or (lambda count: None)
        self._condemned = condemned
        self._anew = anew
        self._lock = threading.Lock()
        self._done: set[bytes] = set()
        self._names: dict[bytes, bytes] = {}  # of packs that have another name in the target
        self.copied_packs = 0
        self.copied_bytes = 0
        self.present_packs = 0
        self.present_bytes = 0

    def missing(self, packs: Iterable[bytes]) -> list[bytes]:
        """Those of `packs` that the target does not have. Counts those that it has. Raises: CommError, StoreError."""
        unknown = sorted(pack for pack in set(packs) if not self._is_done(pack))
        with ThreadPoolExecutor(_PARALLEL_LOOKS, "lineart-look") as pool:
            sizes = list(pool.map(self._size_there, unknown))
        absent = []
        for pack, size_bytes in zip(unknown, sizes, strict=True):
            if size_bytes is None:
                absent.append(pack)
            else:
                self._done.add(pack)
                self.present_packs += 1
                self.present_bytes += size_bytes
        return absent

    def copy(self, packs: Mapping[bytes, str]) -> None:
        """Copy those of `packs` that the target lacks; of each it says what needs it, for messages.

        Raises: NotFoundError, IntegrityError naming the pack, when the source does not have it or its bytes are
        others; StoreError, CommError.
        """
        wanted = self.missing(packs)
        if not wanted:
            return
        with ThreadPoolExecutor(min(_PARALLEL, len(wanted)), "lineart-copy") as pool:
            futures = [pool.submit(self._copy_pack, pack, packs[pack]) for pack in wanted]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def size_of(self, packs: Iterable[bytes]) -> int:
        """How many bytes `packs` have in the source. Raises: NotFoundError, CommError."""
        with ThreadPoolExecutor(_PARALLEL_LOOKS, "lineart-look") as pool:
            return sum(pool.map(lambda pack: self._source.stat(pack_key(pack)).size_bytes, packs))

    def name_of(self, pack: bytes) -> bytes:
        """The name in the target of a pack that was copied."""
        return self._names.get(pack, pack)

    def _is_done(self, pack: bytes) -> bool:
        name = self.name_of(pack)
        return name in self._done and name not in self._condemned

    def _size_there(self, pack: bytes) -> int | None:
        if pack in self._condemned:
            return None
        try:
            return self._target.stat(pack_key(pack)).size_bytes
        except NotFoundError:
            return None

    def _copy_pack(self, pack: bytes, what: str) -> None:
        key = pack_key(pack)
        repair = (
            f'run "art verify --all" on {self._source.url}, and restore the pack from a copy of that store'
        )
        name = pack
        try:
            if pack in self._condemned and self._anew is not None:
                name = self._anew(pack)
                size_bytes = self._target.stat(pack_key(name)).size_bytes
                self._progress(size_bytes)
            else:
                size_bytes = copy_value(
                    self._source, key, self._target, key, expect=pack, progress=self._progress
                )
        except NotFoundError as error:
            raise NotFoundError(
                f"{what}: pack {short(pack)} is missing from {self._source.url}; {repair}"
            ) from error
        except IntegrityError as error:
            raise IntegrityError(
                f"{what}: pack {short(pack)} of {self._source.url}: {error}; {repair}"
            ) from error
        with self._lock:
            self._done.add(name)
            self._names[pack] = name
            self.copied_packs += 1
            self.copied_bytes += size_bytes


def copy_value(
    source: Backend,
    key: str,
    target: Backend,
    target_key: str,
    *,
    expect: bytes | None = None,
    progress: Progress | None = None,
) -> int:
    """Put the bytes of `key` in `source` under `target_key` in `target`; how many there were.

    With `expect` they have to hash to it, or nothing is put there.
    Raises: NotFoundError, IntegrityError, StoreError, CommError.
    """
    source = source.uncached if isinstance(source, CachingBackend) else source
    size_bytes = source.stat(key).size_bytes
    piece_bytes = _PIECE_BYTES if source.local_path(key) is None else _LOCAL_PIECE_BYTES
    path = target.staging() / f"{os.getpid()}~{secrets.token_hex(8)}.copy"
    hasher, done = blake3(), 0
    try:
        with path.open("wb", buffering=0) as stream:
            while done < size_bytes:
                piece = source.read(key, done, piece_bytes)
                if not piece:
                    raise IntegrityError(f"{done} bytes, expected {size_bytes}")
                hasher.update(piece)
                view = memoryview(piece)
                while view:
                    view = view[stream.write(view) :]
                done += len(piece)
                if progress is not None:
                    progress(len(piece))
        if expect is not None and hasher.digest() != expect:
            raise IntegrityError(f"its bytes hash to {short(hasher.digest())}")
        target.write_file(target_key, path)
    except OSError as error:
        raise StoreError(
            f"{target.url}: {path} cannot be written ({error.strerror or error}); free space and repeat"
        ) from error
    finally:
        path.unlink(missing_ok=True)
    return done
