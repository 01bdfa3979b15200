"""What is repeated, how long it waits, and what is passed on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lineart.storage.backend import Backend
from lineart.storage.counting import CountingBackend
from lineart.storage.errors import CommError, ConflictError, Error, NotFoundError, StoreError
from lineart.storage.faults import Fault, FaultyBackend, ScriptedFaults
from lineart.storage.memory import MemoryBackend
from lineart.storage.retry import RetryingBackend
from lineart.storage.wrapper import BackendWrapper


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, delay_s: float) -> None:
        self.slept.append(delay_s)
        self.now_s += delay_s


def retrying(inner: Backend, clock: Clock, *, attempts: int = 6, timeout_s: float = 60.0) -> RetryingBackend:
    return RetryingBackend(
        inner,
        attempts=attempts,
        first_delay_s=1.0,
        longest_delay_s=5.0,
        timeout_s=timeout_s,
        clock=clock,
        sleep=clock.sleep,
        uniform=lambda: 1.0,
    )


def failing(times: int, method: str = "read") -> tuple[CountingBackend, FaultyBackend]:
    counted = CountingBackend(MemoryBackend())
    counted.write("a", b"12345")
    return counted, FaultyBackend(counted, ScriptedFaults({method: [Fault.BEFORE] * times}))


def test_passing_failure_is_seen() -> None:
    _, faulty = failing(5)
    clock = Clock()
    assert retrying(faulty, clock).read("a") == b"12345"
    assert clock.slept == [1.0, 2.0, 4.0, 5.0, 5.0]  # doubled, up to the longest


def test_delay_is_the_same_for_all_callers() -> None:
    _, faulty = failing(3)
    clock, draws = Clock(), iter([0.5, 0.0, 0.25])
    backend = RetryingBackend(
        faulty, first_delay_s=1.0, clock=clock, sleep=clock.sleep, uniform=lambda: next(draws)
    )
    backend.read("a")
    assert clock.slept == [0.5, 0.0, 1.0]


def test_lasting_failure_is_repeated_forever() -> None:
    counted, faulty = failing(1000)
    clock = Clock()
    with pytest.raises(CommError, match=r"gave up after 6 attempts in 17\.0 s") as caught:
        retrying(faulty, clock).read("a")
    assert len(clock.slept) == 5
    assert counted.calls["read"] == 0
    assert isinstance(caught.value.__cause__, CommError)


def test_timeout_is_overslept() -> None:
    _, faulty = failing(1000)
    clock = Clock()
    with pytest.raises(CommError, match="gave up after 3 attempts"):
        retrying(faulty, clock, attempts=1000, timeout_s=6.9).read("a")
    assert clock.slept == [1.0, 2.0]  # the next would have ended after 7 s


@pytest.mark.parametrize("error", [NotFoundError, StoreError, ConflictError])
def test_answer_that_will_not_change_is_repeated(error: type[Error]) -> None:
    class Refusing(BackendWrapper):
        def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
            raise error("no")

    clock = Clock()
    with pytest.raises(error, match="no"):
        retrying(Refusing(MemoryBackend()), clock).read("a")
    assert clock.slept == []


@pytest.mark.parametrize("method", ["read", "write", "create", "stat", "folders", "delete", "list"])
def test_method_is_not_repeated(method: str) -> None:
    counted, faulty = failing(2, method)
    clock = Clock()
    backend = retrying(faulty, clock)
    calls: dict[str, Callable[[], object]] = {
        "read": lambda: backend.read("a"),
        "write": lambda: backend.write("b", b"x"),
        "create": lambda: backend.create("b", b"x"),
        "stat": lambda: backend.stat("a"),
        "folders": lambda: backend.folders(""),
        "delete": lambda: backend.delete(key for key in ["a"]),
        "list": lambda: [found.key for found in backend.list("")],
    }
    calls[method]()
    assert clock.slept == [1.0, 2.0]
    expected = {"delete": [], "write": ["a", "b"], "create": ["a", "b"]}.get(method, ["a"])
    assert [found.key for found in counted.list("")] == expected


def test_own_success_after_lost_answer_is_hidden_from_the_caller() -> None:
    memory = MemoryBackend()
    clock = Clock()
    backend = retrying(FaultyBackend(memory, ScriptedFaults({"create": [Fault.AFTER]})), clock)
    with pytest.raises(ConflictError):
        backend.create("log/1", b"transaction 7")
    assert memory.read("log/1") == b"transaction 7"  # by which the caller sees that it has won
    assert clock.slept == [1.0]


def staged(backend: Backend, value: bytes) -> Path:
    path = backend.staging() / "file"
    path.write_bytes(value)
    return path


@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.TORN])
def test_file_is_lost_when_its_upload_fails(fault: Fault) -> None:
    memory = MemoryBackend()
    clock = Clock()
    backend = retrying(FaultyBackend(memory, ScriptedFaults({"write_file": [fault, fault]})), clock)
    path = staged(backend, b"12345")
    backend.write_file("a", path)
    assert memory.read("a") == b"12345"
    assert not path.exists()
    assert clock.slept == [1.0, 2.0]
    backend.close()


def test_consumed_file_is_sent_again_after_lost_answer() -> None:
    memory = MemoryBackend()
    clock = Clock()
    plan = ScriptedFaults({"write_file": [Fault.AFTER], "stat": [Fault.BEFORE]})
    backend = retrying(FaultyBackend(memory, plan), clock)
    backend.write_file("a", staged(backend, b"12345"))
    assert memory.read("a") == b"12345"
    assert clock.slept == [1.0]  # for the stat alone
    backend.close()


@pytest.mark.parametrize("arrived", [None, b"123"])
def test_consumed_file_that_did_not_arrive_is_taken_for_written(arrived: bytes | None) -> None:
    class Losing(BackendWrapper):
        def write_file(self, key: str, path: Path) -> None:
            path.unlink()
            if arrived is not None:
                self._inner.write(key, arrived)
            raise CommError("no answer")

    clock = Clock()
    backend = retrying(Losing(MemoryBackend()), clock)
    with pytest.raises(CommError, match="write it anew"):
        backend.write_file("a", staged(backend, b"12345"))
    assert clock.slept == []
    backend.close()


def test_torn_listing_begins_again_or_leaves_keys_out() -> None:
    memory = MemoryBackend()
    keys = [f"log/{number:03}" for number in range(100)]
    for key in keys:
        memory.write(key, b"x")
    clock = Clock()
    plan = ScriptedFaults({"list": [Fault.TORN, Fault.TORN, Fault.BEFORE, Fault.TORN]})
    backend = retrying(FaultyBackend(memory, plan), clock, attempts=3)
    assert [found.key for found in backend.list("log/", "log/009")] == keys[10:]
    # Progress starts the count afresh: four failures, and never three in a row without a key.
    assert clock.slept == [1.0, 1.0, 2.0, 1.0]
