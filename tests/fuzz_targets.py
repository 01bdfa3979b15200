"""The parsers of what a store holds, as functions of bytes: `test_fuzz.py` and `benchmarks/fuzz.py` give them garbage.

Each returns, or raises an error of ours. Where a value proves its bytes with a digest, the digest is put right first:
a hostile store can do that, too, and what lies behind the check is what is to be tried.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lineart.artifacts.manifest import Entry, Manifest, find_entry
from lineart.artifacts.marking import ProjectMarks
from lineart.artifacts.names import ArtifactName, ProjectName, split_path
from lineart.artifacts.project import decode_checkpoint, encode_checkpoint
from lineart.artifacts.state import ProjectState, apply
from lineart.lineage.catalog import Marker, decode_marker
from lineart.lineage.facts import TABLES, Facts
from lineart.storage.chunker import METADATA_CHUNKER, ChunkerParameters
from lineart.storage.codec import (
    compress_whole,
    decode,
    decode_chunk_list,
    decompress_whole,
    encode_chunk_list,
)
from lineart.storage.digest import digest_of
from lineart.storage.errors import Error
from lineart.storage.gc import Final, Plan, PlannedPack, PlannedRun, decode_final, decode_plan
from lineart.storage.log import Position
from lineart.storage.pack import PackedObject, PackLimits, decode_trailer, encode_trailer, trailer_length
from lineart.storage.pack_index import decode_index, encode_index
from lineart.storage.sealed import seal
from lineart.storage.store import StoreSettings
from lineart.storage.store_log import StoreFold, StoreState
from lineart.storage.transaction import GENESIS, Op, Transaction, decode_transaction
from lineart.tracking.metrics.block_digests import BlockDigests
from lineart.tracking.metrics.cells import cells_of
from lineart.tracking.metrics.pieces import Part, Tail
from lineart.tracking.replay import replay
from lineart.tracking.run_log import decode_claim
from lineart.tracking.run_records import RunFold

PROJECT = ProjectName("team", "digits")
TIME = "2026-01-02T03:04:05.000006Z"
DIGEST = "ab" * 32
PLAN = "20260102T030405-0000ffff"


@dataclass(frozen=True, slots=True)
class Target:
    """A parser, and values that it reads."""

    parse: Callable[[bytes], object]
    seeds: Sequence[bytes]


def _resealed(data: bytes) -> bytes:
    """`data` as JSON with the right seal, if it is an object."""
    line = data.partition(b',"verify":')[0].rstrip(b"\n}") + b"}"
    return seal(line) if line.startswith(b"{") and len(line) > 2 else data


def _trailer(data: bytes) -> object:
    index = data[: len(data) // 49 * 49]
    made = index + digest_of(index) + b"LNARTIX\x01" + (len(index) + 48).to_bytes(8, "little")
    for trailer in (data, made):
        try:
            trailer_length(trailer[-16:])
            rows = decode_trailer(trailer)
        except Error:
            continue
        for row in rows:
            assert 0 <= row.offset < 1 << 63
            try:
                decode(row.codec, data[:200], row.raw_bytes)
            except Error:
                continue
    return None


def _index(data: bytes) -> object:
    return list(decode_index(data))


def _chunk_list(data: bytes) -> object:
    body = data[: len(data) // 36 * 36]
    total = sum(int.from_bytes(body[at + 32 : at + 36], "little") for at in range(0, len(body), 36))
    return decode_chunk_list(body + digest_of(body), total), decode_chunk_list(data, len(data))


def _manifest(data: bytes) -> object:
    import io

    for call in (lambda: Manifest.decode(data), lambda: find_entry(io.BytesIO(data), "train/b.png")):
        try:
            call()
        except Error:
            continue
    return None


def _transaction(data: bytes) -> object:
    for line in (data, _resealed(data) + b"\n"):
        try:
            entry = decode_transaction(line, seq=7, where="log")
        except Error:
            continue
        _fold(entry)
    return None


def _fold(entry: Transaction) -> None:
    facts, runs, marks = Facts(), RunFold(PROJECT), ProjectMarks("team/digits")
    for call in (
        lambda: apply(ProjectState(), entry),
        lambda: facts.add("team/digits", [entry]),
        lambda: StoreFold().apply(StoreState(), entry),
        lambda: runs.add([entry]),
        runs.records,
    ):
        try:
            call()
        except Error:
            continue
    assert set(facts.columns) == set(TABLES)
    for op in entry.ops:
        try:
            marks.add_op(op, entry.seq)
        except (KeyError, TypeError, AttributeError):
            continue  # what it says it raises
    list(marks.live())


def _plan(data: bytes) -> object:
    for line in (data, _resealed(data)):
        for parse in (decode_plan, decode_final):
            try:
                parse(line, PLAN)
            except Error:
                continue
    return None


def _checkpoint(data: bytes) -> object:
    for frame in (data, compress_whole(data)):
        try:
            decode_checkpoint(frame)
        except Error:
            continue
    return None


def _frame(data: bytes) -> object:
    body = data[:-40]
    right = body + data[-40:-32] + digest_of(body)
    for frame in (data, right):
        try:
            assert len(decompress_whole(frame, 1 << 30)) <= 16 << 20
        except Error:
            continue
    return None


def _settings(data: bytes) -> object:
    for line in (data, _resealed(data)):
        try:
            StoreSettings.decode(line, "file:///store")
        except Error:
            continue
    return None


def _part(data: bytes) -> object:
    for line in (data, _resealed(data)):
        try:
            part = Part.decode(0, line)
        except Error:
            continue
        assert all(end >= 0 for end in part.covers.values())
    return None


def _marker(data: bytes) -> object:
    for line in (data, _resealed(data)):
        try:
            decode_marker(line, 7)
        except Error:
            continue
    return None


def _claim(data: bytes) -> object:
    for line in (data, _resealed(data)):
        try:
            decode_claim(line)
        except Error:
            continue
    return None


def _journal(data: bytes) -> object:
    cells = cells_of([Tail("w", 0, len(data), data, 0)])
    assert all(-(1 << 63) <= step < 1 << 63 for step in cells.step)
    return replay(data)


def _address(data: bytes) -> object:
    name, path = split_path(data.decode("utf-8", "surrogateescape").removeprefix("art://"))
    parsed = ArtifactName.parse(name, PROJECT)
    assert "/" not in parsed.collection
    return parsed, path


def _ops() -> list[Op]:
    """One of each kind, in an order in which they fold."""
    version = {
        "op": "version.create", "collection": "data", "version": 0, "digest": DIGEST, "size_bytes": 4, "file_count": 1,
        "reference_count": 1, "references": [["r", "s3://bucket/key"]], "metadata": {"a": [1, {"b": None}]},
        "description": "", "tags": ["x"], "run": "r1", "packs": [DIGEST], "meta_packs": [DIGEST], "ttl_s": None,
    }  # fmt: skip
    return [
        {"op": "collection.create", "collection": "data", "type": "dataset", "description": ""},
        version,
        {"op": "version.revise", "collection": "data", "version": 0, "tags": [], "ttl_s": 5},
        {"op": "version.link", "collection": "data", "version": 0, "target": "team/x/y:v0", "new": True, "run": None},
        {"op": "alias.move", "collection": "data", "alias": "latest", "from": None, "to": 0},
        {"op": "edge.use", "run": "r1", "project": "team/digits", "collection": "data", "version": 0, "role": None},
        {"op": "edge.produce", "run": "r1", "collection": "data", "version": 0, "new": True, "derived_from": ["x"]},
        {"op": "run.start", "run": "r1", "writer": "w", "name": "n", "job_type": None, "group": None, "tags": ["t"],
         "notes": None, "config": {"lr": {"_float": "nan"}}, "capture": {}},
        {"op": "run.finish", "run": "r1", "writer": "w", "state": "finished", "exit_code": 0, "error": None,
         "summary": {"loss": 0.5}, "ended_at": TIME, "history": {"w": 5},
         "alerts": [{"title": "t", "text": "x", "level": "INFO", "at_s": 1.5}],
         "files": {"digest": DIGEST, "size_bytes": 1, "file_count": 1, "packs": [], "meta_packs": [DIGEST],
                   "packs_object": None}},
        {"op": "artifact.contribute", "collection": "data", "type": "dataset", "distributed_id": "d", "run": None,
         "writer": "w", "digest": DIGEST, "packs": [], "meta_packs": [], "metadata": {}, "description": None,
         "aliases": [], "tags": []},
        {"op": "artifact.finish", "collection": "data", "distributed_id": "d", "version": 0, "count": 1},
        {"op": "version.delete", "collection": "data", "version": 0},
        {"op": "run.delete", "run": "r1"},
        {"op": "project.create", "project": "team/digits", "plans": [PLAN]},
        {"op": "gc.condemn", "plan": PLAN},
        {"op": "packs.replace", "packs": {DIGEST: ["cd" * 32]}},
        {"op": "store.create", "store": "ab" * 16},
    ]  # fmt: skip


def _transactions() -> list[Transaction]:
    """All ops in one, and one of each."""
    ops = _ops()
    return [
        Transaction(7, "0" * 32, TIME, {"user": "u", "host": "h"}, GENESIS, chosen)
        for chosen in (ops, *([op] for op in ops))
    ]


def _checkpoint_frame() -> bytes:
    state = apply(ProjectState(), Transaction(7, "0" * 32, TIME, {}, GENESIS, _ops()[:7]))
    return encode_checkpoint(state, Position(7, DIGEST))


def _settings_seed() -> StoreSettings:
    return StoreSettings(
        "ab" * 16,
        "team",
        TIME,
        ChunkerParameters(),
        METADATA_CHUNKER,
        PackLimits(),
        {"conditional_create": True},
    )


def _part_seed() -> Part:
    return Part(
        0, "projects/e/p/runs/r/history/000000-00.parquet", None, {"w": 5},
        {"default": {"loss": {"count": 1, "min_step": 0, "max_step": 0}}},
        {"projects/e/p/runs/r/history/000000-00.parquet": BlockDigests(5, (DIGEST,))},
    )  # fmt: skip


def _journal_seed() -> bytes:
    journal = [
        {"writer": "w", "role": "main", "run": "r", "host": "h", "pid": 1, "since": 0.0, "start": {}},
        {
            "step": 3,
            "time": 1.5,
            "log": {"loss": 0.5, "name": "x", "n": {"_float": "nan"}, "big": {"_int": "1"}},
        },
        {"step": 3, "time": 1.5, "log": {"more": 1}, "more": True},
        {"time": 1.5, "system": {"cpu": 1.0}},
        {"time": 1.5, "config": {"a": 1}},
        {"time": 1.5, "summary": {"a": 1}},
        {"time": 1.5, "define": {"name": "loss", "summary": ["min"]}},
        {"time": 1.5, "op": {"op": "run.finish", "id": "x"}},
        {"done": "x"},
    ]
    return b"".join(json.dumps(line).encode() + b"\n" for line in journal)


def _seeds() -> Mapping[str, Sequence[bytes]]:
    rows = [PackedObject(bytes([n]) * 32, 100, 8 + 50 * n, 50, n) for n in range(3)]
    entries = [
        Entry("a", "file", DIGEST, 4),
        Entry("b/c", "executable", DIGEST, 0),
        Entry("d", "directory"),
        Entry("l", "symlink", target="a"),
        Entry("r", "reference", None, None, "s3://bucket/key", "etag", None, "blake3:" + DIGEST),
    ]
    frame = _checkpoint_frame()
    claim = {"format": 1, "run": "r", "time": TIME, "seq": 7, "head": DIGEST}
    return {
        "trailer": [encode_trailer(rows), encode_trailer([])],
        "index": [encode_index([(bytes(32), rows), (bytes([7]) * 32, rows)])],
        "chunk list": [encode_chunk_list([(bytes(32), 5), (bytes([7]) * 32, 1 << 20)])],
        "manifest": [Manifest.of(entries).encode(), b""],
        "transaction": [transaction.encode() for transaction in _transactions()],
        "plan": [
            Plan(
                PLAN, TIME, [PlannedPack(DIGEST, 9, "sparse", 5)], [PlannedRun("team/digits/r", 7)]
            ).encode(),
            Final(PLAN, [DIGEST], ["projects/team/digits/runs/r/history/000000.json"], None).encode(),
        ],
        "checkpoint": [frame, decompress_whole(frame, 1 << 30)],
        "frame": [frame, compress_whole(b"{}\n" * 1000), compress_whole(b"")],
        "settings": [_settings_seed().encode()],
        "part": [_part_seed().encode()],
        "marker": [Marker(3, Position(7, DIGEST), dict.fromkeys(TABLES, DIGEST)).encode()],
        "claim": [seal(json.dumps(claim).encode())],
        "journal": [_journal_seed()],
        "address": [b"art://team/digits/data:v1/train/0.png", b"data", b"a/b/c:latest"],
    }


_PARSERS: Mapping[str, Callable[[bytes], object]] = {
    "trailer": _trailer,
    "index": _index,
    "chunk list": _chunk_list,
    "manifest": _manifest,
    "transaction": _transaction,
    "plan": _plan,
    "checkpoint": _checkpoint,
    "frame": _frame,
    "settings": _settings,
    "part": _part,
    "marker": _marker,
    "claim": _claim,
    "journal": _journal,
    "address": _address,
}
TARGETS: Mapping[str, Target] = {name: Target(_PARSERS[name], seeds) for name, seeds in _seeds().items()}

_NASTY: Sequence[bytes] = [
    b"0", b"-1", b"1e400", b"9" * 30, b"9" * 5000, b"true", b"null", b"[]", b"{}", b'""', b'"../../x"', b'"/x"', b"NaN",
    b'"\\u0000"', b'"\\ud800"', b"[" * 2000, b'{"a":' * 2000, b"\xff", b"\x00" * 8, b"\xff" * 8, b"\n", b',"x":1',
]  # fmt: skip


def mutated(seed: bytes, source: random.Random) -> bytes:
    """A variation of a value: bytes flipped, cut, doubled, moved; a JSON value replaced by a nasty one."""
    data = bytearray(seed)
    for _ in range(source.choice((1, 1, 2, 4))):
        at, end = (source.randrange(len(data) + 1) for _ in range(2))
        at, end = min(at, end), max(at, end)
        match source.randrange(7):
            case 0 if data:
                place = source.randrange(len(data))
                data[place] ^= 1 << source.randrange(8)
            case 1:
                del data[at : min(end, at + source.choice((1, 8, 4000)))]
            case 2:
                data[at:at] = data[at : min(end, at + 400)]
            case 3:
                data[at:at] = source.choice(_NASTY)
            case 4:
                data[at : min(end, at + 8)] = source.randbytes(min(8, end - at))
            case _:
                data = bytearray(_with_other_value(bytes(data), source))
    return bytes(data)


def _with_other_value(data: bytes, source: random.Random) -> bytes:
    """JSON with one of its values replaced."""
    starts = [at for at in range(1, len(data)) if data[at - 1 : at] in (b":", b"[", b",")]
    if not starts:
        return data
    at = source.choice(starts)
    end = _end_of_value(data, at)
    return data[:at] + source.choice(_NASTY) + data[end:]


def _end_of_value(data: bytes, at: int) -> int:
    try:
        _, length = json.JSONDecoder().raw_decode(data[at:].decode("latin-1"))
    except (ValueError, RecursionError):
        return at + 1
    return at + int(length)


def fault_of(target: Target, data: bytes) -> Any:
    """What a parser has raised that is no error of ours; None when all is well."""
    try:
        target.parse(data)
    except Error:
        return None
    except Exception as error:  # that is what is looked for
        return error
    return None
