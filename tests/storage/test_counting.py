"""Counts are asserted elsewhere, so they must be right."""

from __future__ import annotations

import pytest

from lineart.storage.counting import CountingBackend
from lineart.storage.errors import ConflictError, NotFoundError
from lineart.storage.memory import MemoryBackend
from lineart.storage.testing_tools import run_in_threads, stage


def test_call_or_byte_is_not_counted() -> None:
    backend = CountingBackend(MemoryBackend())
    backend.write("a", memoryview(b"12345"))
    backend.create("b", b"123")
    backend.write_file("c", stage(backend, b"1234567"))
    backend.read("a", 1, 2)
    backend.read("b")
    backend.stat("a")
    next(backend.list(""))
    backend.folders("")
    backend.delete(["a", "b"])
    assert backend.calls == {
        "write": 1,
        "create": 1,
        "write_file": 1,
        "read": 2,
        "stat": 1,
        "list": 1,
        "folders": 1,
        "delete": 1,
    }
    assert backend.bytes == {"write": 5, "create": 3, "write_file": 7, "read": 5}
    assert backend.entries == 1
    backend.reset()
    assert (backend.calls, backend.bytes, backend.entries) == ({}, {}, 0)
    backend.close()


def test_failed_call_counts_bytes_or_no_call() -> None:
    backend = CountingBackend(MemoryBackend())
    backend.create("a", b"1")
    with pytest.raises(ConflictError):
        backend.create("a", b"123")
    with pytest.raises(NotFoundError):
        backend.read("b")
    assert backend.calls == {"create": 2, "read": 1}
    assert backend.bytes == {"create": 1}


def test_threads_lose_counts() -> None:
    backend = CountingBackend(MemoryBackend())

    def work() -> None:
        for _ in range(500):
            backend.write("a", b"12")

    run_in_threads([work] * 4)
    assert backend.calls["write"] == 2000
    assert backend.bytes["write"] == 4000
