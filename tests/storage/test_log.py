"""The log: bytes, chain, holes and segments."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

import builders
from lineart.storage.backend import Backend
from lineart.storage.counting import CountingBackend
from lineart.storage.digest import digest_of
from lineart.storage.errors import CommError, ConflictError, FormatError, IntegrityError
from lineart.storage.faults import Fault, FaultyBackend, ScriptedFaults
from lineart.storage.local import LocalBackend
from lineart.storage.log import FOLDER_ENTRIES, BackendLog, Log, Position
from lineart.storage.memory import MemoryBackend
from lineart.storage.retry import RetryingBackend
from lineart.storage.transaction import GENESIS, Op, Transaction
from log_places import LogPlace, PostgresPlace

PREFIX = "projects/team/digits/"


def transaction(
    position: Position, *ops: Op, id: str = "", time: str = "2026-01-02T03:04:05.000006Z"
) -> Transaction:
    seq = position.seq + 1
    identity = id or f"{seq:032x}"
    return Transaction(
        seq, identity, time, {"host": "h", "user": "u"}, position.digest, ops or [{"op": "x", "n": seq}]
    )


def write(log: Log, count: int, position: Position | None = None) -> list[Position]:
    """Append `count` transactions; the position after each."""
    after, positions = position or Position(), []
    for _ in range(count):
        after = log.append(transaction(after))
        positions.append(after)
    return positions


def numbers(log: Log, position: Position | None = None) -> list[int]:
    return [entry.transaction.seq for entry in log.read_after(position or Position())]


@pytest.fixture(params=["local", "memory"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    return LocalBackend(tmp_path / "store") if request.param == "local" else MemoryBackend()


# Bytes


def test_entry_differs_from_its_description(place: LogPlace) -> None:
    log = place.log()
    ops: list[Op] = [{"op": "run.start", "run": "ü\n", "tags": [], "config": {"b": 1.5, "a": None}}]
    first = log.append(
        Transaction(
            0, "0" * 31 + "1", "2026-01-02T03:04:05.000006Z", {"user": "u", "host": "h"}, GENESIS, ops
        )
    )
    data = (
        '{"actor":{"host":"h","user":"u"},"format":1,"id":"00000000000000000000000000000001",'
        '"ops":[{"config":{"a":null,"b":1.5},"op":"run.start","run":"ü\\n","tags":[]}],'
        f'"prev":"{"0" * 64}","seq":0,"time":"2026-01-02T03:04:05.000006Z"'
    ).encode()
    data += b',"verify":"' + digest_of(data).hex().encode() + b'"}\n'
    assert place.read(0) == data
    assert first == Position(0, digest_of(data).hex())
    log.append(transaction(first))
    assert json.loads(place.read(1))["prev"] == first.digest


def test_entry_lies_somewhere_else(backend: Backend) -> None:
    log = BackendLog(backend, PREFIX)
    write(log, 2)
    found = [found.key for found in backend.list(f"{PREFIX}log/")]
    assert found == [f"{PREFIX}log/000000/000000000000.json", f"{PREFIX}log/000000/000000000001.json"]
    assert log.key(1_234_567) == f"{PREFIX}log/001234/000001234567.json"
    assert log.segment_key(7) == f"{PREFIX}log/000007.jsonl.zst"


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 20])
def test_reader_misses_an_entry(place: LogPlace, count: int) -> None:
    log = place.log()
    positions = write(log, count)
    assert numbers(log) == list(range(count))
    for seen, position in enumerate(positions):
        assert numbers(log, position) == list(range(seen + 1, count))


def test_up_to_date_reader_pays_more_than_one_request() -> None:
    counting = CountingBackend(MemoryBackend())
    log = BackendLog(counting, PREFIX)
    position = write(log, 5)[-1]
    counting.reset()
    assert numbers(log, position) == []
    assert counting.calls == {"read": 1}


@pytest.mark.parametrize("missing", [0, 1, 4, 9, 249])
def test_reader_goes_on_behind_a_hole(place: LogPlace, missing: int) -> None:
    log = place.log()
    write(log, 300)
    place.delete(missing)
    assert numbers(log) == list(range(missing))


# The chain


def change_op(data: bytes) -> bytes:
    return data.replace(b'"op":"x"', b'"op":"y"')


def change_actor(data: bytes) -> bytes:
    return data.replace(b'"user":"u"', b'"user":"v"')


def add_space(data: bytes) -> bytes:
    return data.replace(b"{", b"{ ", 1)


@pytest.mark.parametrize("change", [change_op, change_actor, add_space])
@pytest.mark.parametrize("at", [0, 2, 7])
def test_changed_entry_is_believed(place: LogPlace, change: Callable[[bytes], bytes], at: int) -> None:
    log = place.log()
    write(log, 9)
    changed = change(place.read(at))
    place.write(at, changed)
    with pytest.raises(IntegrityError) as caught:
        numbers(log)
    builders.one_line(caught.value, f"transaction {at} ", PREFIX)


def swap(data: bytes, other: bytes) -> bytes:
    return other


def renumber(data: bytes, other: bytes) -> bytes:
    return data.replace(b'"seq":3', b'"seq":4')


def truncate(data: bytes, other: bytes) -> bytes:
    return data[:-20]


def empty(data: bytes, other: bytes) -> bytes:
    return b""


def make_list(data: bytes, other: bytes) -> bytes:
    return b"[1]\n"


def make_binary(data: bytes, other: bytes) -> bytes:
    return b"\xff\xfe\x00"


def nest_deeply(data: bytes, other: bytes) -> bytes:
    return b"[" * 200_000 + b"\n"


def forget_prev(data: bytes, other: bytes) -> bytes:
    return json.dumps({**json.loads(data), "prev": None}).encode()


def number_ops(data: bytes, other: bytes) -> bytes:
    return json.dumps({**json.loads(data), "ops": 7}).encode()


def spell_format(data: bytes, other: bytes) -> bytes:
    return json.dumps({**json.loads(data), "format": "one"}).encode()


@pytest.mark.parametrize(
    "damage",
    [
        swap,
        renumber,
        truncate,
        empty,
        make_list,
        make_binary,
        nest_deeply,
        forget_prev,
        number_ops,
        spell_format,
    ],
)
def test_damaged_entry_raises_something_else(
    place: LogPlace, damage: Callable[[bytes, bytes], bytes]
) -> None:
    log = place.log()
    write(log, 6)
    place.write(3, damage(place.read(3), place.read(4)))
    with pytest.raises(IntegrityError) as caught:
        numbers(log)
    builders.one_line(caught.value, "transaction 3 ", PREFIX)


def test_entry_of_a_newer_format_is_dropped(place: LogPlace) -> None:
    log = place.log()
    (position,) = write(log, 1)
    newer = Transaction(1, "1" * 32, "t", {}, position.digest, [{"op": "new"}], format=2)
    after = log.append(newer)
    write(log, 1, after)
    assert [entry.transaction.format for entry in log.read_after(Position())] == [1, 2, 1]


def test_entry_of_an_unreadable_format_is_called_damaged(place: LogPlace) -> None:
    log = place.log()
    write(log, 1)
    place.write(1, b'{"format":3,"facts":[]}\n')
    with pytest.raises(FormatError) as caught:
        numbers(log)
    builders.one_line(caught.value, "transaction 1 ", "upgrade")


# Appending


def test_number_is_given_twice(place: LogPlace) -> None:
    log = place.log()
    (position,) = write(log, 1)
    ours, theirs = transaction(position, id="a" * 32), transaction(position, id="b" * 32)
    log.append(ours)
    with pytest.raises(ConflictError) as caught:
        log.append(theirs)
    builders.one_line(caught.value, "transaction 1 " if isinstance(place, PostgresPlace) else "000001.json")
    assert [entry.transaction.id for entry in log.read_after(position)] == ["a" * 32]


def test_own_success_after_a_lost_answer_is_a_conflict(backend: Backend) -> None:
    faulty = FaultyBackend(backend, ScriptedFaults({"create": [Fault.AFTER, None, Fault.TORN, Fault.BEFORE]}))
    log = BackendLog(RetryingBackend(faulty, sleep=lambda seconds: None), PREFIX)
    positions = write(log, 3)
    assert numbers(log) == [0, 1, 2]
    assert [entry.position for entry in log.read_after(Position())] == positions


def test_lost_answer_is_taken_for_success() -> None:
    """Without retries the caller hears of it, and finds the entry or not when it looks."""
    memory = MemoryBackend()
    for fault in (Fault.BEFORE, Fault.AFTER):
        log = BackendLog(
            FaultyBackend(memory, ScriptedFaults({"create": [fault]})), f"projects/team/{fault.value}/"
        )
        with pytest.raises(CommError):
            log.append(transaction(Position()))
        assert numbers(log) == ([0] if fault is Fault.AFTER else [])


def test_own_entry_appended_again_is_a_conflict(place: LogPlace) -> None:
    log = place.log()
    positions = write(log, 3)
    assert log.append(transaction(positions[0])) == positions[1]
    assert numbers(log) == [0, 1, 2]


def test_end_of_the_log_is_told_wrongly(place: LogPlace) -> None:
    log = place.log()
    assert not log.reaches(0)
    positions = write(log, 3)
    assert [log.reaches(seq) for seq in range(5)] == [True, True, True, False, False]
    assert all(log.holds(position) for position in [Position(), *positions])


# Segments


COUNT = 2 * FOLDER_ENTRIES + 57


@pytest.fixture(scope="module")
def long_log() -> tuple[dict[str, bytes], list[Position]]:
    """The values of a log of more than two folders, and its positions."""
    memory = MemoryBackend()
    positions = write(BackendLog(memory, PREFIX), COUNT)
    return {found.key: memory.read(found.key) for found in memory.list("")}, positions


@pytest.fixture
def counted(long_log: tuple[dict[str, bytes], list[Position]]) -> tuple[CountingBackend, BackendLog]:
    """A copy of the long log in memory, and its requests."""
    memory = MemoryBackend()
    for key, value in long_log[0].items():
        memory.write(key, value)
    counting = CountingBackend(memory)
    return counting, BackendLog(counting, PREFIX)


def test_segment_differs_from_its_entries(counted: tuple[CountingBackend, BackendLog]) -> None:
    backend, log = counted
    log.seal(1)
    log.seal(1)  # by several clients
    frame = backend.read(f"{PREFIX}log/000001.jsonl.zst")
    entries = [backend.read(log.key(seq)) for seq in range(1000, 2000)]
    assert zstandard.ZstdDecompressor().decompress(frame) == b"".join(entries)


@pytest.mark.parametrize("sealed", [[], [0], [1], [0, 1]])
@pytest.mark.parametrize("after", [-1, 0, 500, 995, 998, 999, 1000, 1500, COUNT - 2, COUNT - 1])
def test_reader_of_segments_misses_an_entry(
    counted: tuple[CountingBackend, BackendLog],
    long_log: tuple[dict[str, bytes], list[Position]],
    sealed: list[int],
    after: int,
) -> None:
    _, log = counted
    for folder in sealed:
        log.seal(folder)
    position = long_log[1][after] if after >= 0 else Position()
    assert [entry.position for entry in log.read_after(position)] == long_log[1][after + 1 :]


def test_sealed_folder_is_read_entry_by_entry(counted: tuple[CountingBackend, BackendLog]) -> None:
    backend, log = counted
    log.seal(0)
    log.seal(1)
    backend.reset()
    assert numbers(log) == list(range(COUNT))
    assert backend.calls["read"] < 57 + 20
    assert backend.calls["list"] + backend.calls["folders"] <= 3


def lose_half(frame: bytes) -> bytes:
    return frame[: len(frame) // 2]


def lose_lines(frame: bytes) -> bytes:
    lines = zstandard.ZstdDecompressor().decompress(frame).splitlines(keepends=True)
    return zstandard.ZstdCompressor().compress(b"".join(lines[:990]))


def swap_lines(frame: bytes) -> bytes:
    lines = zstandard.ZstdDecompressor().decompress(frame).splitlines(keepends=True)
    lines[500], lines[501] = lines[501], lines[500]
    return zstandard.ZstdCompressor().compress(b"".join(lines))


def forge_middle(frame: bytes) -> bytes:
    data = zstandard.ZstdDecompressor().decompress(frame)
    return zstandard.ZstdCompressor().compress(data.replace(b'"n":500,', b'"n":666,'))


def forge_last(frame: bytes) -> bytes:
    data = zstandard.ZstdDecompressor().decompress(frame)
    return zstandard.ZstdCompressor().compress(data.replace(b'"n":999,', b'"n":666,'))


def no_frame(frame: bytes) -> bytes:
    return b"this is no frame"


def no_bytes(frame: bytes) -> bytes:
    return b""


def huge_frame(frame: bytes) -> bytes:
    """A header that promises 2^60 bytes."""
    return b"\x28\xb5\x2f\xfd" + bytes([0b11100000]) + (1 << 60).to_bytes(8, "little") + b"\x01\x00\x00"


DAMAGES = [lose_half, lose_lines, swap_lines, forge_middle, forge_last, no_frame, no_bytes, huge_frame]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_segment_is_believed(
    counted: tuple[CountingBackend, BackendLog],
    long_log: tuple[dict[str, bytes], list[Position]],
    damage: Callable[[bytes], bytes],
) -> None:
    """Segments are advisory: the entries say what is true, and nothing else is ever handed out."""
    backend, log = counted
    log.seal(0)
    damaged = damage(backend.read(log.segment_key(0)))
    backend.write(log.segment_key(0), damaged)
    entries = list(log.read_after(Position()))
    assert [entry.position for entry in entries] == long_log[1]
    assert [entry.transaction.ops for entry in entries] == [[{"op": "x", "n": n}] for n in range(COUNT)]


def test_flipped_bit_in_a_segment_is_believed(
    counted: tuple[CountingBackend, BackendLog], long_log: tuple[dict[str, bytes], list[Position]]
) -> None:
    backend, log = counted
    log.seal(0)
    frame = backend.read(log.segment_key(0))
    for position in range(0, len(frame), len(frame) // 12):
        damaged = bytearray(frame)
        damaged[position] ^= 1 << position % 8
        backend.write(log.segment_key(0), damaged)
        assert [entry.position for entry in log.read_after(Position())] == long_log[1]


@pytest.mark.parametrize("name", ["tmp/x", "000000.bak/x", "zzz/000000000000.json", "-1/x"])
def test_foreign_folder_in_the_log_breaks_it(backend: Backend, name: str) -> None:
    """People and backup programs put things everywhere."""
    log = BackendLog(backend, PREFIX)
    write(log, 300)
    backend.write(f"{PREFIX}log/{name}", b"foreign")
    assert numbers(log) == list(range(300))
