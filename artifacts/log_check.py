"""Reading a log from its first transaction, entry by entry, and comparing all copies of it.

An entry proves itself by its seal, and each one by the digest that the next one gives. What was seen of the log before
(checkpoints, segments, earlier verifications on this machine) shows when its end was cut off.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from blake3 import blake3

from ..storage.backend import Backend
from ..storage.bounded import FRAME_LIMIT_BYTES, read_bounded
from ..storage.codec import decompress_whole
from ..storage.errors import Error, FormatError, IntegrityError, NotFoundError
from ..storage.inventory import Inventory
from ..storage.log import FOLDER_ENTRIES, SEGMENT_LIMIT_BYTES, BackendLog, Position
from ..storage.problem import Problem
from ..storage.store import Store
from ..storage.stored_log import StoredEntry, StoredLog
from ..storage.transaction import GENESIS, Transaction, chain_digest, decode_transaction
from .marking import ProjectMarks
from .project import decode_checkpoint
from .state import ProjectState, apply

_SEGMENT = re.compile(r"log/(\d{6,})\.jsonl\.zst\Z")
_CHECKPOINT = re.compile(r"checkpoints/(\d{12})/state\.json\.zst\Z")

Observer = Callable[[Transaction, Position], None]


@dataclass(slots=True)
class LogCheck:
    """What a log has and what is wrong with it."""

    prefix: str
    marks: ProjectMarks
    is_project: bool = True
    transactions: int = 0
    head: Position = field(default_factory=Position)
    problems: list[Problem] = field(default_factory=list)
    bad: list[int] = field(default_factory=list)  # entries that are damaged or missing
    proofs: dict[int, str] = field(
        default_factory=dict
    )  # of the entries before good ones: what they must hash to
    states: dict[int, tuple[ProjectState, str]] = field(
        default_factory=dict
    )  # at the checkpoints, and the digests
    folded: int = -1  # up to here the log is whole
    newer: str | None = None  # what a newer client has written

    def problem(self, kind: str, key: str, error: Error, *, advisory: bool = False) -> Problem:
        """Note a problem."""
        found = Problem(kind, key, error, is_advisory=advisory)
        self.problems.append(found)
        return found


def check_log(
    store: Store,
    prefix: str,
    project: str | None,
    inventory: Inventory,
    observe: Observer = lambda entry, at: None,
) -> LogCheck:
    """Read everything that a log has, and its folded checkpoints. Raises: CommError, StoreError.

    `store` reads without caches; `project` is ``entity/project``; the ops of other logs (None) are not folded.
    `observe` is called with every transaction that is whole, and the position before it.
    """
    backend, stored = store.backend, store.stored_log(prefix)
    found = LogCheck(prefix, ProjectMarks(project or ""), is_project=project is not None)
    names = [
        stat.key[len(prefix) :]
        for folder in ("log/", "checkpoints/")
        for stat in backend.list(prefix + folder)
    ]
    checkpoints = sorted(int(match[1]) for name in names if (match := _CHECKPOINT.match(name)))
    segments = sorted(int(match[1]) for name in names if (match := _SEGMENT.match(name)))
    folders = _walk(stored, found, set(checkpoints), observe)
    _look_for_a_lost_end(stored, found, checkpoints, segments, inventory)
    for folder in segments:
        _check_segment(backend, folder, folders, found)
    for seq in checkpoints:
        _check_checkpoint(backend, seq, found)
    if not found.bad and found.head.seq >= 0:
        inventory.note_head(prefix, found.head.seq, found.head.digest)
    return found


def _walk(log: StoredLog, found: LogCheck, wanted: set[int], observe: Observer) -> dict[int, bytes]:
    """Check and fold every entry; the digests of whole folders."""
    state, before, folders = ProjectState(), GENESIS, dict[int, bytes]()
    known: str | None = GENESIS  # what the entry before hashes to, None when that is not known
    hasher = blake3()
    suspects: dict[int, tuple[Problem, str, str]] = {}
    for entry in log.entries():
        seq = entry.seq
        if seq % FOLDER_ENTRIES == 0:
            hasher = blake3()
        key = log.place(seq)
        try:
            data, transaction = _decoded(log, entry)
        except FormatError as error:
            found.newer, known = str(error), None
            continue
        except IntegrityError as error:
            found.bad.append(seq)
            found.problem("log", key, error)
            known = None
            continue
        if known is not None and transaction.prev != known:
            fault = IntegrityError(
                f"transaction {seq} of {log.prefix}log: expected it to follow {known[:12]}, it follows"
                f" {transaction.prev[:12]}; the log was changed; restore it from a copy"
            )
            found.bad.append(seq)
            suspects[seq] = (found.problem("log", key, fault), transaction.prev, chain_digest(data))
            known = None
            continue
        hasher.update(data)
        found.transactions += 1
        found.proofs[seq - 1] = before = transaction.prev
        known = chain_digest(data)
        observe(transaction, Position(seq - 1, before))
        found.head = Position(seq, known)
        if found.is_project:
            state = _fold(state, transaction, key, found)
        if seq in wanted and found.folded == seq:
            found.states[seq] = (state, known)
        if seq % FOLDER_ENTRIES == FOLDER_ENTRIES - 1 and not found.bad:
            folders[seq // FOLDER_ENTRIES] = hasher.digest()
    for seq, (problem, prev, digest) in suspects.items():
        if found.proofs.get(seq) == digest:  # this one is what its successor says: the one before was changed
            found.bad[found.bad.index(seq)] = seq - 1
            found.proofs[seq - 1], problem.key = prev, log.place(seq - 1)
    found.proofs = {seq: digest for seq, digest in found.proofs.items() if seq in found.bad}
    return folders


def _decoded(log: StoredLog, entry: StoredEntry) -> tuple[bytes, Transaction]:
    """Raises: IntegrityError, FormatError."""
    if entry.data is None:
        raise IntegrityError(
            f"transaction {entry.seq} of {log.prefix}log: it is missing; restore it from a copy"
        )
    transaction = decode_transaction(entry.data, seq=entry.seq, where=f"{log.prefix}log")
    if entry.digest is not None and entry.digest != chain_digest(entry.data):
        raise IntegrityError(
            f"transaction {entry.seq} of {log.prefix}log: its row says {entry.digest[:12]}, its bytes hash to"
            f" {chain_digest(entry.data)[:12]}; restore it from a copy"
        )
    return entry.data, transaction


def _fold(state: ProjectState, transaction: Transaction, key: str, found: LogCheck) -> ProjectState:
    try:
        for op in transaction.ops:
            found.marks.add_op(op, transaction.seq)
    except (KeyError, TypeError, AttributeError):
        pass  # told by the fold below, if nothing before it is missing
    if found.folded != transaction.seq - 1:
        return state
    try:
        state = apply(state, transaction)
    except Error as error:
        found.problem("log", key, error)
        return state
    found.folded = transaction.seq
    found.newer = found.newer or state.newer
    return state


def _look_for_a_lost_end(
    log: StoredLog, found: LogCheck, checkpoints: Sequence[int], segments: Sequence[int], inventory: Inventory
) -> None:
    """Whether something speaks of transactions behind the last one that is there."""
    last = max([found.head.seq, *found.bad])
    seen = inventory.head(log.prefix)
    witnesses = [(seq, f"a checkpoint of transaction {seq}") for seq in checkpoints if seq > last]
    witnesses += [
        ((k + 1) * FOLDER_ENTRIES - 1, f"segment {k}")
        for k in segments
        if (k + 1) * FOLDER_ENTRIES - 1 > last
    ]
    if seen is not None and seen[0] > last:
        witnesses.append((seen[0], f"an earlier verification on this machine has seen transaction {seen[0]}"))
    if witnesses:
        seq, witness = max(witnesses)
        error = IntegrityError(
            f"transactions {last + 1} to {seq} of {log.prefix}log are missing: there is {witness}"
            if not witness.startswith("an earlier")
            else f"transactions {last + 1} to {seq} of {log.prefix}log are missing: {witness}"
        )
        for number in range(last + 1, seq + 1):
            found.bad.append(number)
        found.problem("log", log.place(last + 1), error)
        if seen is not None and seen[0] == seq:
            found.proofs[seq] = seen[1]
    elif seen is not None and seen[0] == found.head.seq and seen[1] != found.head.digest and not found.bad:
        error = IntegrityError(
            f"transaction {found.head.seq} of {log.prefix}log is another one than an earlier verification has seen"
        )
        found.bad.append(found.head.seq)
        found.proofs[found.head.seq] = seen[1]
        found.problem("log", log.place(found.head.seq), error)


def _check_segment(backend: Backend, folder: int, folders: dict[int, bytes], found: LogCheck) -> None:
    key = BackendLog(backend, found.prefix).segment_key(folder)
    try:
        data = decompress_whole(read_bounded(backend, key, FRAME_LIMIT_BYTES), SEGMENT_LIMIT_BYTES)
        if folder in folders and blake3(data).digest() != folders[folder]:
            raise IntegrityError("it says something else than the transactions themselves")
    except NotFoundError:
        return  # removed meanwhile: nobody needs it
    except IntegrityError as error:
        found.problem("segment", key, IntegrityError(f"segment {key}: {error}"), advisory=True)


def _check_checkpoint(backend: Backend, seq: int, found: LogCheck) -> None:
    key = f"{found.prefix}checkpoints/{seq:012}/state.json.zst"
    try:
        state, position = decode_checkpoint(read_bounded(backend, key, FRAME_LIMIT_BYTES))
        if position.seq != seq:
            raise IntegrityError(f"it is one of transaction {position.seq}")
        if found.states.get(seq, (state, position.digest)) != (state, position.digest):
            raise IntegrityError("it says something else than the log")
        if seq in found.bad:
            found.proofs.setdefault(seq, position.digest)
    except (NotFoundError, FormatError):
        return  # removed meanwhile; of another version of Lineart, which its readers pass over
    except IntegrityError as error:
        found.problem("checkpoint", key, IntegrityError(f"checkpoint {key}: {error}"), advisory=True)
