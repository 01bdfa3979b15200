"""Disks that are full or refuse, stores that fail, files too large for the memory."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import builders
from builders import MIB, SMALL_CHUNKS
from lineart.storage.digest import digest_of
from lineart.storage.errors import CommError, Error, IntegrityError, StoreError
from lineart.storage.faults import Fault, FaultyBackend, ScriptedFaults
from lineart.storage.local import LocalBackend
from lineart.storage.objects import Objects
from lineart.storage.pack import PackLimits
from lineart.storage.snapshot import SnapshotPacks
from lineart.storage.store import Store

MANY_PACKS = PackLimits(target_bytes=100_000, max_bytes=200_000, max_objects=100)


def rest_of(store_folder: Path) -> list[str]:
    """What a failed snapshot has left of its own: nothing, if all is well."""
    return sorted(path.name for path in (store_folder / ".staging").iterdir())


# Full disks


@builders.as_root
def test_full_disk_keeps_what_a_snapshot_has_written(tmp_path: Path) -> None:
    if not builders.has_mounts():
        pytest.skip("this process may not mount")
    with builders.mounted(tmp_path / "disk", "-o", "size=6m") as disk:
        backend = LocalBackend(disk / "store")
        store = builders.new_store(backend, tmp_path / "cache")
        for sizes in ([9 * MIB], [MIB] * 9):  # one large file, several small ones
            paths = [
                builders.write_old(tmp_path / "in" / f"{n}", builders.noise(size, n))
                for n, size in enumerate(sizes)
            ]
            with pytest.raises(StoreError) as caught:
                builders.put_files(store, paths)
            builders.one_line(caught.value, str(disk), "No space left")
            assert rest_of(disk / "store") == []
        content = builders.noise(4 * MIB, 99)
        packs = builders.put_bytes(store, tmp_path / "less", content)
        assert builders.read_back(store, content, packs) == content


def fill_to_the_limit(folder: str, limit: int) -> list[str]:
    store = builders.local_store(Path(folder))
    small = builders.write_old(Path(folder, "in", "small"), builders.noise(limit // 2))
    large = builders.write_old(Path(folder, "in", "large"), builders.noise(limit * 3))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    messages = []
    try:
        builders.put_files(store, [large])
    except StoreError as error:
        messages.append(builders.one_line(error, "File too large"))
    messages += rest_of(Path(folder, "store"))
    _, packs = builders.put_files(store, [small])
    assert builders.read_back(store, small.read_bytes(), packs) == small.read_bytes()
    return messages


def test_file_that_the_system_refuses_to_write_is_lost_silently(tmp_path: Path) -> None:
    (message,) = builders.in_child(fill_to_the_limit, str(tmp_path), 4 * MIB)
    assert str(tmp_path / "store") in message


CALLS: list[tuple[str, int, type[Error]]] = [
    ("write", errno.ENOSPC, StoreError),
    ("write", errno.EDQUOT, StoreError),
    ("fsync", errno.ENOSPC, StoreError),  # delayed allocation and NFS report it only here
    ("replace", errno.ENOSPC, StoreError),
    ("replace", errno.EROFS, StoreError),
    ("fsync", errno.EIO, CommError),
]


@pytest.mark.parametrize("call, number, kind", CALLS)
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_failing_system_call_leaves_packs_in_staging(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, kind: type[Error], nth: int
) -> None:
    store = builders.local_store(tmp_path, chunker=SMALL_CHUNKS, limits=MANY_PACKS)
    store.stat_cache.lookup([])  # the caches of the machine are not what fails here
    path = builders.write_old(tmp_path / "in" / "a", builders.noise(900_000))
    real, count = getattr(os, call), 0

    def fail(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if count >= nth:
            raise OSError(number, os.strerror(number))
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(kind) as caught:
            builders.put_files(store, [path])
    builders.one_line(caught.value, str(tmp_path / "store"))
    assert rest_of(tmp_path / "store") == []
    _, packs = builders.put_files(store, [path])
    assert builders.read_back(store, path.read_bytes(), packs) == path.read_bytes()


@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.AFTER, Fault.TORN])
@pytest.mark.parametrize("nth", [1, 4, 9])
def test_failing_backend_loses_a_pack_that_a_version_needs(tmp_path: Path, fault: Fault, nth: int) -> None:
    plain = builders.memory_store(tmp_path, chunker=SMALL_CHUNKS, limits=MANY_PACKS)
    plan = ScriptedFaults({"write_file": [None] * (nth - 1) + [fault]})
    store = Store(FaultyBackend(plain.backend, plan), plain.settings, tmp_path / "cache")  # without retries
    path = builders.write_old(tmp_path / "in" / "a", builders.noise(1_200_000))
    with pytest.raises(CommError) as caught:
        builders.put_files(store, [path])
    builders.one_line(caught.value, "injected")
    left = [entry.name for entry in store.backend.staging().iterdir() if "torn" not in entry.name]
    assert left == []
    _, packs = builders.put_files(store, [path])  # what was uploaded before counts, what was not does not
    reader = Store.on(plain.backend, cache=tmp_path / "empty")
    assert builders.read_back(reader, path.read_bytes(), packs) == path.read_bytes()


def test_interrupt_leaves_threads_or_files(tmp_path: Path) -> None:
    store = builders.local_store(tmp_path, chunker=SMALL_CHUNKS, limits=MANY_PACKS)
    paths = [builders.write_old(tmp_path / "in" / f"{n}", builders.noise(300_000, n)) for n in range(3)]

    def interrupt(size_bytes: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), store.snapshot(interrupt) as snapshot:
        snapshot.add_files([str(path) for path in paths])
    assert rest_of(tmp_path / "store") == []
    _, packs = builders.put_files(store, paths)
    for path in paths:
        assert builders.read_back(store, path.read_bytes(), packs) == path.read_bytes()


@pytest.mark.parametrize("method", ["find", "available", "added"])
@pytest.mark.parametrize("size", [10, 100_000])
def test_broken_cache_hangs_the_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, size: int
) -> None:
    store = builders.local_store(tmp_path, chunker=SMALL_CHUNKS)
    paths = [builders.write_old(tmp_path / "in" / f"{n}", builders.noise(size, n)) for n in range(50)]

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise StoreError("cache: disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(Objects, method, fail)
        with pytest.raises(StoreError, match="disk I/O error"):
            builders.put_files(store, paths)
    assert rest_of(tmp_path / "store") == []


def corrupt(path: Path) -> None:
    """Overwrite all but the first page of a SQLite file."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def replace_by_text(path: Path) -> None:
    path.write_bytes(b"this is not SQLite\n" * 1000)


def log_one(folder: str, path: Path) -> SnapshotPacks:
    return builders.put_files(builders.local_store(Path(folder), chunker=SMALL_CHUNKS), [path])[1]


@pytest.mark.parametrize("damage", [corrupt, empty, replace_by_text])
def test_damaged_cache_of_the_machine_stops_the_work(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    content = builders.noise(50_000)
    path = builders.write_old(tmp_path / "in" / "a", content)
    packs = builders.in_child(log_one, str(tmp_path), path)
    databases = sorted((tmp_path / "cache").rglob("*.sqlite"))
    assert len(databases) == 2
    for database in databases:
        with contextlib.closing(sqlite3.connect(database)) as connection:  # brings the log into the file
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert database.stat().st_size > 4096
        damage(database)
    later = Store.on(LocalBackend(tmp_path / "store"), cache=tmp_path / "cache")
    try:
        assert builders.read_back(later, content, packs) == content
        assert builders.put_files(later, [path])[0][0].digest == digest_of(content)
    except StoreError as error:  # once may be too much to ask; but never another kind, and not for ever
        builders.one_line(error, "cache")
        assert builders.read_back(later, content, packs) == content


# Memory


def log_sparse(folder: str, size: int) -> tuple[int, int]:
    store = builders.local_store(Path(folder))
    path = Path(folder, "sparse")
    path.touch()
    os.truncate(path, size)
    builders.put_bytes(store, Path(folder, "in"), builders.noise(3 * MIB))  # all modules and threads are warm
    before = builders.peak_bytes()
    (stored,), packs = builders.put_files(store, [path])
    after_put = builders.peak_bytes()
    with store.objects.open(stored.digest, builders.packs_of(packs)) as stream:
        stream.seek(size - 5)
        if stream.read(10) != bytes(5):
            raise IntegrityError("the end of the file came back changed")
    return before, after_put


@pytest.mark.slow
def test_file_larger_than_the_memory_fills_it(tmp_path: Path) -> None:
    before, after = builders.in_child(log_sparse, str(tmp_path), 3 * 1024 * MIB)
    assert after - before < 300 * MIB


def log_large(folder: str, size: int) -> tuple[int, int]:
    store = builders.local_store(Path(folder))
    builders.put_bytes(store, Path(folder, "in"), builders.noise(3 * MIB))
    path = Path(folder, "large")
    with path.open("wb") as file:
        for number in range(size // MIB):
            file.write(builders.noise(MIB, number))
    before = builders.peak_bytes()
    builders.put_files(store, [path])
    return before, builders.peak_bytes()


def test_large_file_is_held_in_memory(tmp_path: Path) -> None:
    before, after = builders.in_child(log_large, str(tmp_path), 400 * MIB)
    assert after - before < 200 * MIB
