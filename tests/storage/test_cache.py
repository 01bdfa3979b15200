"""The cache of blocks: answers as the store would, never more than its limit, never bytes that were not verified."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineart.storage.cache import BlockCache, CachingBackend
from lineart.storage.counting import CountingBackend
from lineart.storage.memory import MemoryBackend

VALUE = bytes(range(256)) * 4
READS = st.tuples(st.integers(-1100, 1100), st.one_of(st.none(), st.integers(0, 1100)))


def caching(folder: Path, limit_bytes: int = 1 << 30) -> tuple[CachingBackend, CountingBackend]:
    """A cache before a store that counts."""
    counting = CountingBackend(MemoryBackend())
    return CachingBackend(counting, BlockCache(folder, limit_bytes), "store"), counting


def files(folder: Path) -> list[Path]:
    """Every file of the cache."""
    return [path for path in folder.rglob("*") if path.is_file()]


@settings(max_examples=50, deadline=None)
@given(st.lists(READS, max_size=12))
def test_reads_are_those_of_the_store(
    tmp_path_factory: pytest.TempPathFactory, reads: list[tuple[int, int | None]]
) -> None:
    backend, counting = caching(tmp_path_factory.mktemp("cache"))
    for key in ("packs/aa/x.pack", "projects/e/p/log/000000/000000000000.json"):
        counting.write(key, VALUE)
        for start, length in reads:
            assert backend.read(key, start, length) == counting.read(key, start, length), (key, start, length)


def test_second_read_costs_nothing_also_within_the_first(tmp_path: Path) -> None:
    backend, counting = caching(tmp_path)
    counting.write("packs/aa/x.pack", VALUE)
    assert backend.read("packs/aa/x.pack", 100, 500) == VALUE[100:600]
    counting.reset()
    assert backend.read("packs/aa/x.pack", 100, 500) == VALUE[100:600]
    assert backend.read("packs/aa/x.pack", 200, 10) == VALUE[200:210]
    assert counting.calls["read"] == 0
    assert backend.read("packs/aa/x.pack", 590, 20) == VALUE[590:610]
    assert counting.calls["read"] == 1


@pytest.mark.parametrize(
    "key",
    [
        "lineart.json",
        "projects/e/p/runs/r/heartbeat/w.json",
        "projects/e/p/runs/r/run.json",
        "gc/plans/a.json",
        "sessions/a",
    ],
)
def test_what_may_change_is_read_each_time(tmp_path: Path, key: str) -> None:
    backend, counting = caching(tmp_path)
    for value in (b"one", b"two"):
        counting.write(key, value)
        assert backend.read(key) == value
    assert not files(tmp_path)


def test_block_that_was_damaged_is_read_anew(tmp_path: Path) -> None:
    backend, counting = caching(tmp_path)
    key = "projects/e/p/log/000000/000000000000.json"
    counting.write(key, VALUE)
    backend.read(key)
    (block,) = files(tmp_path)
    data = bytearray(block.read_bytes())
    data[17] ^= 1
    block.write_bytes(data)
    assert backend.read(key) == VALUE
    block.write_bytes(data[:100])
    assert backend.read(key) == VALUE
    assert backend.read(key) == VALUE


def test_cache_keeps_its_limit_and_what_was_used_last(tmp_path: Path) -> None:
    backend, counting = caching(tmp_path, limit_bytes=100_000)
    block = random.Random(0).randbytes(10_000)
    for number in range(30):
        counting.write(f"packs/aa/{number}.pack", block)
    old = time.time() - 1000
    backend.read("packs/aa/0.pack")
    for path in files(tmp_path):
        os.utime(path, (old, old))
    for number in range(1, 30):
        backend.read(f"packs/aa/{number}.pack")
        backend.read("packs/aa/0.pack")  # used again and again
        assert backend.cache.size_bytes() <= 120_000
    counting.reset()
    backend.read("packs/aa/0.pack")
    backend.read("packs/aa/29.pack")
    assert counting.calls["read"] == 0
    backend.read("packs/aa/2.pack")
    assert counting.calls["read"] == 1


def test_limit_of_nothing_keeps_nothing(tmp_path: Path) -> None:
    backend, counting = caching(tmp_path, limit_bytes=0)
    counting.write("packs/aa/x.pack", VALUE)
    assert backend.read("packs/aa/x.pack") == VALUE
    assert not files(tmp_path)


def test_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "blocks").write_text("not a folder")
    backend, counting = caching(tmp_path)
    counting.write("packs/aa/x.pack", VALUE)
    assert backend.read("packs/aa/x.pack", -10) == VALUE[-10:]
    assert backend.read("packs/aa/x.pack") == VALUE


def test_litter_of_killed_writers_goes(tmp_path: Path) -> None:
    backend, counting = caching(tmp_path)
    counting.write("packs/aa/x.pack", VALUE)
    backend.read("packs/aa/x.pack")
    (block,) = files(tmp_path)
    litter = block.parent / ".1-ab"
    litter.write_bytes(b"half")
    assert backend.cache.trim(1 << 30) == 0
    old = time.time() - 7200
    os.utime(litter, (old, old))
    assert backend.cache.trim(1 << 30) == 4
    assert files(tmp_path) == [block]


def test_processes_share_a_cache_that_is_too_small_for_them(tmp_path: Path) -> None:
    code = """
import random, sys
from pathlib import Path
from lineart.storage.cache import BlockCache
cache, chance = BlockCache(Path(sys.argv[1]), 400_000), random.Random(int(sys.argv[2]))
def value(number):
    return random.Random(number).randbytes(20_000)
for _ in range(400):
    number = chance.randrange(60)
    found = cache.get(f"packs/{number}", 0, None, verify=True)
    if found is None:
        cache.put(f"packs/{number}", 0, value(number), is_last=True)
    else:
        assert found == value(number), number
"""
    made = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(n)]) for n in range(4)]
    assert [process.wait(60) for process in made] == [0, 0, 0, 0]
    assert BlockCache(tmp_path).size_bytes() <= 800_000
