"""One entry of a log: its form, its bytes, its chain (docs/format.md, "Transactions")."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .digest import digest_of, is_hex_digest
from .errors import FormatError, IntegrityError

FORMAT = 1
GENESIS = "0" * 64  # what the first transaction gives as the digest of the one before
Op = Mapping[str, Any]  # {"op": name, …}: JSON values only


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
        """The bytes that are stored."""
        fields = {
            "actor": self.actor,
            "format": self.format,
            "id": self.id,
            "ops": self.ops,
            "prev": self.prev,
            "seq": self.seq,
            "time": self.time,
        }
        return canonical_json(fields) + b"\n"


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
        fields = json.loads(data)
        transaction = Transaction(
            seq=fields["seq"],
            id=fields["id"],
            time=fields["time"],
            actor=fields["actor"],
            prev=fields["prev"],
            ops=fields["ops"],
            format=fields["format"],
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        newer = isinstance(data, bytes) and b'"format":' in data and b'"format":1,' not in data
        if newer:
            raise FormatError(f"transaction {seq} of {where}: newer format; upgrade lineart") from error
        raise IntegrityError(
            f"transaction {seq} of {where}: not a transaction ({error}); restore it from a copy"
        ) from error
    well_formed = (
        is_hex_digest(transaction.prev)
        and isinstance(transaction.ops, list)
        and isinstance(transaction.format, int)
        and isinstance(transaction.time, str)
    )
    if transaction.seq != seq or not well_formed:
        raise IntegrityError(
            f"transaction {seq} of {where}: found number {transaction.seq!r}; restore it from a copy"
        )
    return transaction


def chain_digest(data: bytes) -> str:
    """What the next transaction gives as `prev` for these stored bytes."""
    return digest_of(data).hex()
