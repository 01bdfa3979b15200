"""Injected faults do what they say, or tests that rely on them prove nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from lineart.storage.errors import CommError, NotFoundError
from lineart.storage.faults import Fault, FaultyBackend, Plan, RandomFaults, ScriptedFaults
from lineart.storage.local import LocalBackend
from lineart.storage.memory import MemoryBackend


def faulty(**script: Sequence[Fault | None]) -> tuple[MemoryBackend, FaultyBackend]:
    memory = MemoryBackend()
    for key in ("a", "b", "c", "d"):
        memory.write(key, b"old")
    return memory, FaultyBackend(memory, ScriptedFaults(script))


@pytest.mark.parametrize("method", ["write", "create"])
@pytest.mark.parametrize(
    "fault, expected", [(Fault.BEFORE, None), (Fault.TORN, None), (Fault.AFTER, b"value")]
)
def test_fault_has_another_effect(method: str, fault: Fault, expected: bytes | None) -> None:
    memory, backend = faulty(**{method: [fault]})
    with pytest.raises(CommError, match=f"injected.*{method}.*'new'"):
        getattr(backend, method)("new", b"value")
    if expected is None:
        with pytest.raises(NotFoundError):
            memory.read("new")
    else:
        assert memory.read("new") == expected
    getattr(backend, method)("behind-the-end-of-the-script", b"x")
    backend.close()


def test_torn_write_replaces_the_old_value() -> None:
    memory, backend = faulty(write=[Fault.TORN])
    with pytest.raises(CommError):
        backend.write("a", b"new value")
    assert memory.read("a") == b"old"
    backend.close()


def test_torn_upload_leaves_no_litter(tmp_path: Path) -> None:
    local = LocalBackend(tmp_path)
    backend = FaultyBackend(local, ScriptedFaults({"write_file": [Fault.TORN], "create": [Fault.TORN]}))
    path = backend.staging() / "file"
    path.write_bytes(b"12345678")
    with pytest.raises(CommError):
        backend.write_file("a", path)
    with pytest.raises(CommError):
        backend.create("b", b"12345678")
    assert path.read_bytes() == b"12345678"  # as after any failed call
    assert list(local.list("")) == []
    litter = [other.read_bytes() for other in backend.staging().iterdir() if other != path]
    assert litter == [b"1234", b"1234"]


def test_lost_answer_to_write_file_keeps_the_file() -> None:
    memory, backend = faulty(write_file=[Fault.AFTER])
    path = backend.staging() / "file"
    path.write_bytes(b"12345")
    with pytest.raises(CommError):
        backend.write_file("new", path)
    assert memory.read("new") == b"12345"
    assert not path.exists()
    backend.close()


def test_torn_delete_removes_all_or_nothing() -> None:
    memory, backend = faulty(delete=[Fault.TORN, Fault.BEFORE, Fault.AFTER])
    for left in (["c", "d"], ["c", "d"], []):
        with pytest.raises(CommError):
            backend.delete(iter(["a", "b", "c", "d"]))
        assert [found.key for found in memory.list("")] == left


@pytest.mark.parametrize("fault, expected", [(Fault.BEFORE, []), (Fault.TORN, ["a", "b"]), (Fault.AFTER, [])])
def test_listing_fails_before_it_is_read(fault: Fault, expected: list[str]) -> None:
    _, backend = faulty(list=[fault])
    listing = backend.list("")
    assert [next(listing).key for _ in expected] == expected
    with pytest.raises(CommError):
        next(listing)
    assert len(list(backend.list(""))) == 4


@pytest.mark.parametrize("method", ["read", "stat"])
@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.TORN, Fault.AFTER])
def test_reading_does_not_fail(method: str, fault: Fault) -> None:
    _, backend = faulty(**{method: [fault, None]})
    with pytest.raises(CommError):
        getattr(backend, method)("a")
    getattr(backend, method)("a")
    with pytest.raises(NotFoundError):
        getattr(backend, method)("missing")


def test_delay_loses_the_call_or_does_not_wait() -> None:
    slept: list[float] = []
    memory = MemoryBackend()
    plan = ScriptedFaults({"write": [Fault.DELAY]})
    backend = FaultyBackend(memory, plan, delay_s=7.0, sleep=slept.append)
    backend.write("a", b"x")
    backend.write("b", b"x")
    assert slept == [7.0]
    assert [found.key for found in memory.list("")] == ["a", "b"]


def test_step_is_not_reported() -> None:
    steps: list[tuple[str, str, bool]] = []
    memory = MemoryBackend()

    def on_step(method: str, key: str) -> None:
        steps.append((method, key, any(found.key == "a" for found in memory.list(""))))

    backend = FaultyBackend(memory, ScriptedFaults({"read": [Fault.BEFORE]}), on_step=on_step)
    backend.create("a", b"x")
    with pytest.raises(CommError):
        backend.read("a")
    backend.delete(["a", "b"])
    list(backend.list("p/"))
    assert steps == [
        ("create", "a", False),
        ("create.done", "a", True),
        ("read", "a", True),
        ("delete", "a", True),
        ("delete.done", "a", False),
        ("list", "p/", False),
        ("list.done", "p/", False),
    ]


def test_hook_that_raises_does_not_stop_the_call() -> None:
    memory = MemoryBackend()

    def on_step(method: str, key: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        FaultyBackend(memory, on_step=on_step).write("a", b"x")
    assert list(memory.list("")) == []


def drawn(plan: Plan, count: int = 2000) -> list[Fault | None]:
    return [plan("write", f"key-{number}") for number in range(count)]


def test_seed_does_not_repeat_its_faults() -> None:
    rates = {Fault.BEFORE: 0.2, Fault.AFTER: 0.1, Fault.TORN: 0.05}
    assert drawn(RandomFaults(1, rates)) == drawn(RandomFaults(1, rates))
    assert drawn(RandomFaults(1, rates)) != drawn(RandomFaults(2, rates))


def test_rates_are_not_kept() -> None:
    counts = Counter(drawn(RandomFaults(1, {Fault.BEFORE: 0.2, Fault.AFTER: 0.1}), 10_000))
    assert 1700 < counts[Fault.BEFORE] < 2300
    assert 800 < counts[Fault.AFTER] < 1200
    assert counts[Fault.TORN] == counts[Fault.DELAY] == 0


def test_fault_meets_other_methods_or_one_key_too_often() -> None:
    plan = RandomFaults(1, {Fault.BEFORE: 1.0}, methods=["create"], repeat=2)
    assert plan("write", "a") is None
    assert [plan("create", "a") for _ in range(4)] == [Fault.BEFORE, Fault.BEFORE, None, None]
    assert plan("create", "b") is Fault.BEFORE
