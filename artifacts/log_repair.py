"""Putting damaged or lost transactions back, where something proves what they were; making again what is advisory.

The proof of a transaction is the digest that its successor gives, or a checkpoint. The newest has no successor: it is
taken from a copy of the very same store only, if it follows from the one before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..storage.backend import Backend
from ..storage.bounded import FRAME_LIMIT_BYTES, read_bounded
from ..storage.codec import compress_whole, decompress_whole
from ..storage.errors import ConflictError, Error
from ..storage.inventory import Inventory
from ..storage.log import FOLDER_ENTRIES, SEGMENT_LIMIT_BYTES, BackendLog, Position
from ..storage.pack_repair import StoreSource
from ..storage.store import Store
from ..storage.stored_log import read_entry
from ..storage.transaction import GENESIS, chain_digest, decode_transaction
from .log_check import LogCheck, check_log
from .project import encode_checkpoint

_FROM_COPY, _FROM_SEGMENT = "put back from a copy", "put back from a segment"


def repair_log(
    backend: Backend, check: LogCheck, sources: Sequence[StoreSource], store: str
) -> dict[str, str]:
    """Put transactions back; how, by key. `store` is the store's id. Raises: CommError, StoreError."""
    log = BackendLog(backend, check.prefix)
    done: dict[str, str] = {}
    left: list[int] = []
    proofs = dict(check.proofs)
    for seq in sorted(set(check.bad), reverse=True):  # each gives the proof of the one before it
        for data, how in _candidates(backend, log, seq, sources):
            if seq in proofs and chain_digest(data) == proofs[seq] and _put(backend, log, seq, data):
                done[log.key(seq)] = how
                proofs[seq - 1] = decode_transaction(data, seq=seq, where=log.prefix).prev
                break
        else:
            left.append(seq)
    for seq in reversed(left):
        if seq in proofs:
            continue
        same = [source for source in sources if source.store == store]
        for data, how in _candidates(backend, log, seq, same):
            if _follows(backend, log, seq, data) and _put(backend, log, seq, data):
                done[log.key(seq)] = how
                break
    return done


def _candidates(
    backend: Backend, log: BackendLog, seq: int, sources: Sequence[StoreSource]
) -> Iterator[tuple[bytes, str]]:
    """Bytes that may be transaction `seq`: well-formed ones that prove themselves."""
    for source in sources:
        try:
            data = read_entry(source.backend, log.key(seq))
        except Error:
            continue  # a copy that does not answer is no help
        if data is not None and _is_entry(data, seq):
            yield data, _FROM_COPY
    for place in (backend, *(source.backend for source in sources)):
        try:
            frame = read_bounded(place, log.segment_key(seq // FOLDER_ENTRIES), FRAME_LIMIT_BYTES)
            lines = decompress_whole(frame, SEGMENT_LIMIT_BYTES).splitlines(keepends=True)
        except Error:
            continue  # there is none, or it is damaged
        if len(lines) == FOLDER_ENTRIES and _is_entry(lines[seq % FOLDER_ENTRIES], seq):
            yield lines[seq % FOLDER_ENTRIES], _FROM_SEGMENT


def _is_entry(data: bytes, seq: int) -> bool:
    try:
        decode_transaction(data, seq=seq, where="")
    except Error:
        return False  # damaged in the copy, too
    return True


def _follows(backend: Backend, log: BackendLog, seq: int, data: bytes) -> bool:
    before = read_entry(backend, log.key(seq - 1)) if seq else None
    if seq and (before is None or not _is_entry(before, seq - 1)):
        return False
    digest = GENESIS if before is None else chain_digest(before)
    return decode_transaction(data, seq=seq, where="").prev == digest


def _put(backend: Backend, log: BackendLog, seq: int, data: bytes) -> bool:
    """Write an entry in the place of one that is missing or damaged."""
    found = read_entry(backend, log.key(seq))
    if found == data:
        return False
    if found is not None:
        backend.write(log.key(seq), data)
        return True
    try:
        backend.create(log.key(seq), data)
    except ConflictError:
        return False  # somebody has taken the number meanwhile
    return True


def renew_copies(
    store: Store, check: LogCheck, project: str | None, inventory: Inventory
) -> tuple[LogCheck, dict[str, str]]:
    """Make damaged segments and folded checkpoints of a log again; what the log is now, and how, by key.

    What cannot be made again, since the log is not whole, is removed: nobody needs it. Raises: CommError, StoreError.
    """
    now = check_log(store, check.prefix, project, inventory)
    backend = store.backend
    log = BackendLog(backend, check.prefix)
    done: dict[str, str] = {}
    for problem in now.problems:
        if problem.kind == "segment":
            folder = int(problem.key.rpartition("/")[2].partition(".")[0])
            entries = [
                read_entry(backend, log.key(seq))
                for seq in range(folder * FOLDER_ENTRIES, (folder + 1) * FOLDER_ENTRIES)
            ]
            if now.bad or None in entries:
                backend.delete([problem.key])
                done[problem.key] = "removed; it is made again when it is needed"
            else:
                backend.write(problem.key, compress_whole(b"".join(entry or b"" for entry in entries)))
                done[problem.key] = "made again from the transactions"
        elif problem.kind == "checkpoint":
            seq = int(problem.key.split("/")[-2])
            if seq in now.states:
                state, digest = now.states[seq]
                backend.write(problem.key, encode_checkpoint(state, Position(seq, digest)))
                done[problem.key] = "made again from the log"
            else:
                backend.delete([problem.key])
                done[problem.key] = "removed; it is made again when it is needed"
    return now, done
