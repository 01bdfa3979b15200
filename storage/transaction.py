"""One entry of a log: its form, its bytes, its chain (docs/format.md, "Transactions")."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .digest import digest_of, is_hex_digest
from .errors import FormatError, IntegrityError
from .sealed import check_seal, seal

FORMAT = 1
GENESIS = "0" * 64  # what the first transaction gives as the digest of the one before
Op = Mapping[str, Any]  # {"op": name, …}: JSON values only
MAX_BYTES = 32 * 1024 * 1024  # of one entry; a forged one cannot fill the memory
_TIME = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d{1,6})?Z)?\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Transaction:
    """Some facts that became true together, as number `seq` of a log."""

    seq: int
    id: str
    time: str
    actor: Mapping[str, str]
    prev: str
    ops: Sequence[Op]
    format: int = FORMAT

    def encode(self) -> bytes:
        """The bytes that are stored. They prove themselves: of the newest entry no other one does (`sealed`)."""
        fields = {
            "actor": self.actor,
            "format": self.format,
            "id": self.id,
            "ops": self.ops,
            "prev": self.prev,
            "seq": self.seq,
            "time": self.time,
        }
        return seal(canonical_json(fields)) + b"\n"


def time_of(op: Op, transaction: Transaction) -> str:
    """When `op` became true: of one that was copied from another store, there."""
    time: str = op.get("at") or transaction.time
    return time


def actor_of(op: Op, transaction: Transaction) -> Mapping[str, str]:
    """Who said `op`: of one that was copied from another store, there."""
    actor: Mapping[str, str] = op.get("by") or transaction.actor
    return actor


def canonical_json(value: object) -> bytes:
    """One line, sorted keys, no spaces. Raises: ValueError for NaN and infinity, TypeError for other types.

    >>> canonical_json({"b": 1, "a": "ü"}).decode()
    '{"a":"ü","b":1}'
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def decode_transaction(data: bytes, *, seq: int, where: str) -> Transaction:
    """The transaction in the bytes stored as number `seq`.

    Raises: IntegrityError when the bytes are not one; FormatError when they are of a newer format that this version
    cannot read at all (a newer format with the same fields is returned, and refused only by writers).
    """
    try:
        if check_seal(data) and not data.endswith(b"\n"):
            raise IntegrityError("its last byte is missing")
        fields = json.loads(data, parse_constant=_refuse_constant)
        transaction = Transaction(
            seq=fields["seq"],
            id=fields["id"],
            time=fields["time"],
            actor=fields["actor"],
            prev=fields["prev"],
            ops=fields["ops"],
            format=fields["format"],
        )
    except (ValueError, KeyError, TypeError, RecursionError, IntegrityError) as error:
        newer = isinstance(data, bytes) and b'"format":' in data and b'"format":1,' not in data
        if newer:
            raise FormatError(f"transaction {seq} of {where}: newer format; upgrade lineart") from error
        raise IntegrityError(
            f"transaction {seq} of {where}: not a transaction ({error}); restore it from a copy"
        ) from error
    if transaction.seq != seq or isinstance(transaction.seq, bool):
        raise IntegrityError(
            f"transaction {seq} of {where}: found number {str(transaction.seq)[:20]}; restore it from a copy"
        )
    if not _is_well_formed(transaction):
        raise IntegrityError(
            f"transaction {seq} of {where}: a part of it is not what it should be; restore it from a copy"
        )
    return transaction


def _refuse_constant(text: str) -> object:
    raise ValueError(f"{text} is not JSON")


def _is_origin_well_formed(op: Op) -> bool:
    """Whether what a copied op says of where it comes from is what it should be; most say nothing."""
    if "origin" not in op and "at" not in op and "by" not in op:
        return True
    by = op.get("by", {})
    return (
        isinstance(op.get("origin", ""), str)
        and ("at" not in op or is_time(op["at"]))
        and isinstance(by, dict)
        and all(isinstance(said, str) for said in by.values())
    )


def _is_well_formed(transaction: Transaction) -> bool:
    return (
        is_hex_digest(transaction.prev)
        and isinstance(transaction.id, str)
        and isinstance(transaction.actor, dict)
        and all(isinstance(said, str) for said in transaction.actor.values())
        and isinstance(transaction.ops, list)
        and all(isinstance(op, dict) and isinstance(op.get("op"), str) for op in transaction.ops)
        and all(_is_origin_well_formed(op) for op in transaction.ops)
        and isinstance(transaction.format, int)
        and (is_time(transaction.time) or transaction.format > FORMAT)
    )


def is_time(text: object) -> bool:
    """Whether `text` is a time as the log writes it.

    >>> is_time("2026-01-02T03:04:05.000006Z"), is_time("2026-13-02T03:04:05.000006Z"), is_time(7)
    (True, False, False)
    """
    if not isinstance(text, str) or not _TIME.match(text):
        return False
    try:
        datetime.datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def chain_digest(data: bytes) -> str:
    """What the next transaction gives as `prev` for these stored bytes."""
    return digest_of(data).hex()
