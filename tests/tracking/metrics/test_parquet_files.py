"""Files of a bucket as DuckDB reads them: by many threads, on one handle."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import builders
from lineart.storage.memory import MemoryBackend
from lineart.storage.store import Store
from lineart.tracking.metrics.parquet_files import file_system

DATA = builders.noise(600_000, 1)


class SlowBackend(MemoryBackend):
    """Lets others in between a seek and the end of the read, as a network does."""

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        time.sleep(0.001)
        return super().read(key, start, length)


def test_threads_that_share_a_handle_read_what_they_asked_for(tmp_path: Path) -> None:
    backend = SlowBackend()
    backend.write("lineart.json", builders.local_store(tmp_path).settings.encode())
    backend.write("part.parquet", DATA)
    store = Store.on(backend, cache=tmp_path / "other")
    shared = file_system(store, "test", lambda key: None).open("test://part.parquet")

    def read(seed: int) -> int:
        chance, wrong = random.Random(seed), 0
        for _ in range(40):
            start, size = chance.randrange(len(DATA)), chance.randrange(1, 200_000)
            shared.seek(start)
            wrong += shared.read(size) != DATA[start : start + size]
        return wrong

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(read, range(8))) == 0
