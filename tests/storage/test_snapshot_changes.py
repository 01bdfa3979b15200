"""Files that are known already, that change under the reader, that vanish or are something else."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest

import builders
from builders import HANG_S, KIB, MIB, SMALL_CHUNKS, SPAWN
from lineart.storage import snapshot as snapshot_module
from lineart.storage.digest import digest_of
from lineart.storage.errors import NotFoundError, SourceChangedError, UsageError
from lineart.storage.statcache import Fingerprint, StatCache
from lineart.storage.store import Store


class Opened:
    """Counts how often each file is opened for reading."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def reset(self) -> None:
        self.names.clear()


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """What is opened below `tmp_path`/in, by any module."""
    counted, real, prefix = Opened(), os.open, str(tmp_path / "in") + "/"

    def count(path: Any, *args: Any, **kwargs: Any) -> int:
        if isinstance(path, str) and path.startswith(prefix):
            counted.names.append(path[len(prefix) :])
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", count)
    return counted


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return builders.local_store(tmp_path, chunker=SMALL_CHUNKS)


# The stat cache


def test_unchanged_files_are_read_again(tmp_path: Path, store: Store, opened: Opened) -> None:
    sizes = [10] * 60 + [50_000] * 3
    contents = [builders.noise(size, n) for n, size in enumerate(sizes)]
    paths = [builders.write_old(tmp_path / "in" / f"{n}", content) for n, content in enumerate(contents)]
    opened.reset()
    first, packs = builders.put_files(store, paths)
    assert len(opened.names) == len(paths)  # the counter sees what is read
    opened.reset()
    again, same = builders.put_files(store, paths)
    assert opened.names == []
    assert again == first
    assert (same.packs, same.meta_packs, same.new_bytes) == (packs.packs, packs.meta_packs, 0)
    another_process = Store.on(store.backend, cache=tmp_path / "cache")
    assert builders.put_files(another_process, paths)[0] == first
    assert opened.names == []


def test_known_file_is_skipped_in_a_store_that_has_not_its_bytes(tmp_path: Path, store: Store) -> None:
    path = builders.write_old(tmp_path / "in" / "a", b"content")
    builders.put_files(store, [path])
    other = builders.new_store(
        type(store.backend)(tmp_path / "other"),  # type: ignore[call-arg]
        tmp_path / "cache",
    )
    _, packs = builders.put_files(other, [path])
    assert builders.read_back(other, b"content", packs) == b"content"


def test_known_file_is_skipped_when_its_pack_is_gone(tmp_path: Path, store: Store) -> None:
    path = builders.write_old(tmp_path / "in" / "a", b"content")
    builders.put_files(store, [path])
    shutil.rmtree(tmp_path / "store" / "packs")
    later = Store.on(store.backend, cache=tmp_path / "cache")  # a process looks once whether a pack is there
    _, packs = builders.put_files(later, [path])
    assert builders.read_back(later, b"content", packs) == b"content"


def replace_with_older(path: Path) -> None:
    """`cp -p` of another file, and a rename: the modification time goes back."""
    other = path.with_suffix(".other")
    other.write_bytes(b"B" * path.stat().st_size)
    os.utime(other, ns=(0, path.stat().st_mtime_ns - 10**12))
    os.replace(other, path)


def replace_with_same_times(path: Path) -> None:
    other = path.with_suffix(".other")
    other.write_bytes(b"B" * path.stat().st_size)
    shutil.copystat(path, other)
    os.replace(other, path)


def edit_and_restore_times(path: Path) -> None:
    found = path.stat()
    with path.open("r+b") as file:
        file.write(b"B" * found.st_size)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def edit_by_another_name(path: Path) -> None:
    other = path.with_suffix(".other")
    os.link(path, other)
    edit_and_restore_times(other)


def truncate(path: Path) -> None:
    found = path.stat()
    os.truncate(path, found.st_size // 2)
    with path.open("r+b") as file:
        file.write(b"B" * (found.st_size // 2))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


CHANGES = [
    replace_with_older,
    replace_with_same_times,
    edit_and_restore_times,
    edit_by_another_name,
    truncate,
]


@pytest.mark.parametrize("size", [100, 40_000])
@pytest.mark.parametrize("change", CHANGES)
def test_changed_file_is_taken_for_unchanged(
    tmp_path: Path, store: Store, change: Callable[[Path], None], size: int
) -> None:
    path = builders.write_old(tmp_path / "in" / "a", b"A" * size)
    builders.put_files(store, [path])
    change(path)
    (stored,), packs = builders.put_files(store, [path])
    content = path.read_bytes()
    assert set(content) == {ord("B")}
    assert stored.digest == digest_of(content)
    assert builders.read_back(store, content, packs) == content


def test_touched_file_is_stored_twice(tmp_path: Path, store: Store, opened: Opened) -> None:
    path = builders.write_old(tmp_path / "in" / "a", builders.noise(50_000))
    (first,), _ = builders.put_files(store, [path])
    path.touch()
    opened.reset()
    (again,), packs = builders.put_files(store, [path])
    assert opened.names == ["a"]
    assert (again, packs.new_bytes) == (first, 0)


def test_file_of_this_moment_is_trusted(tmp_path: Path, store: Store, opened: Opened) -> None:
    """It may be written again within the clock tick, and look the same."""
    path = tmp_path / "in" / "a"
    path.parent.mkdir()
    path.write_bytes(b"content")
    builders.put_files(store, [path])
    opened.reset()
    builders.put_files(store, [path])
    assert "a" in opened.names


@pytest.mark.parametrize("size", [7, 9000])
def test_file_of_this_moment_is_trusted_after_a_long_snapshot(
    tmp_path: Path, store: Store, opened: Opened, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """What counts is when the file was read, not when the snapshot was through."""
    path = tmp_path / "in" / "a"
    path.parent.mkdir()
    path.write_bytes(builders.noise(size))
    late_ns = 0
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + late_ns)

    def hour_passes(size_bytes: int) -> None:
        nonlocal late_ns
        late_ns = 3600 * 10**9

    with store.snapshot(hour_passes) as snapshot:
        snapshot.add_files([str(path)])
        snapshot.finish()
    assert late_ns
    opened.reset()
    builders.put_files(store, [path])
    assert "a" in opened.names


def test_absurd_times_break_the_stat_cache(tmp_path: Path, store: Store) -> None:
    """Modification times beyond the year 2262 do not fit into 64 bits; archives bring such."""
    path = builders.write_old(tmp_path / "in" / "a", b"content")
    os.utime(path, ns=(0, 2**63 + 10**15))
    if path.stat().st_mtime_ns < 2**63:
        pytest.skip("this file system does not keep such times")
    for _ in range(2):
        _, packs = builders.put_files(store, [path])
        assert builders.read_back(store, b"content", packs) == b"content"


def test_huge_inode_breaks_the_stat_cache(tmp_path: Path) -> None:
    """Some network and overlay file systems use all 64 bits."""
    cache = StatCache(tmp_path)
    now = Fingerprint(1, 10**9, 10**9, 2**64 - 3, 2**64 - 5, 0o100644)
    cache.remember([("/a", now, b"d" * 32)], seen_ns=10**18)
    assert cache.lookup(["/a"]).digest("/a", now) in (None, b"d" * 32)


# Files that change while they are read


def rewrite(path: str, size: int, stop: Event) -> None:
    """Write the file again and again from its start, each time with the next byte value."""
    source, version = random.Random(5), 0
    with open(path, "r+b", buffering=0) as file:
        while not stop.is_set():
            version = (version + 1) % 256
            content = bytes([version]) * (size // 4)
            for part in range(4):
                os.pwrite(file.fileno(), content, part * len(content))
                if source.random() < 0.1:
                    time.sleep(source.random() * 0.001)
            time.sleep(source.random() * 0.003)


def truncate_and_write(path: str, size: int, stop: Event) -> None:
    version = 0
    while not stop.is_set():
        version = (version + 1) % 256
        with open(path, "wb") as file:
            file.write(bytes([version]) * size)
        time.sleep(random.random() * 0.003)


def append(path: str, size: int, stop: Event) -> None:
    number = Path(path).stat().st_size // 8
    with open(path, "ab", buffering=0) as file:
        while not stop.is_set():
            file.write(b"".join(f"{n:08}".encode() for n in range(number, number + size // 8000)))
            number += size // 8000


def was_ever(writer: Callable[..., None], content: bytes) -> bool:
    """Whether the file has had this content at some moment."""
    if writer is append:
        return content == b"".join(f"{n:08}".encode() for n in range(len(content) // 8 + 1))[: len(content)]
    values = [value for n, value in enumerate(content) if n == 0 or value != content[n - 1]]
    if writer is truncate_and_write:
        return len(values) <= 1
    return len(values) == 1 or (len(values) == 2 and (values[1] + 1) % 256 == values[0])


@pytest.fixture
def writing(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Starts a process that writes a file until the test is over."""
    stop = SPAWN.Event()
    writers = []

    def start(writer: Callable[..., None], size: int) -> Path:
        path = tmp_path / "busy"
        path.write_bytes(
            b"".join(f"{n:08}".encode() for n in range(size // 8)) if writer is append else bytes(size)
        )
        builders.age(path)
        before = path.stat().st_mtime_ns
        writers.append(SPAWN.Process(target=writer, args=(str(path), size, stop)))
        writers[0].start()
        give_up_s = time.monotonic() + HANG_S
        while path.stat().st_mtime_ns == before and time.monotonic() < give_up_s:
            time.sleep(0.001)
        return path

    yield start
    stop.set()
    for writer in writers:
        writer.join(HANG_S)
        assert writer.exitcode == 0


def count_times_in_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give file times in ticks of 8 ms, as kernels before Linux 6.13 do."""
    real, tick = os.fstat, 8_000_000

    def fstat(descriptor: int) -> os.stat_result:
        found = real(descriptor)
        times = {
            "st_mtime_ns": found.st_mtime_ns // tick * tick,
            "st_ctime_ns": found.st_ctime_ns // tick * tick,
        }
        return os.stat_result(tuple(found), {**{name: getattr(found, name) for name in NAMES}, **times})

    monkeypatch.setattr(os, "fstat", fstat)


NAMES = [name for name in dir(os.stat_result) if name.startswith("st_")]


@pytest.mark.parametrize(
    "clock, size", [("fine", 64 * KIB), ("coarse", 64 * KIB), ("coarse", 2 * MIB), ("coarse", 8 * MIB)]
)
@pytest.mark.parametrize("writer", [rewrite, truncate_and_write, append])
def test_busy_file_is_stored_as_it_never_was(
    tmp_path: Path,
    writing: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    writer: Callable[..., None],
    clock: str,
    size: int,
) -> None:
    if clock == "coarse":
        count_times_in_ticks(monkeypatch)
    store = builders.local_store(tmp_path)
    path = writing(writer, size)
    give_up_s = time.monotonic() + 0.8
    refused = 0
    while time.monotonic() < give_up_s:
        try:
            with store.snapshot() as snapshot:
                (stored,) = snapshot.add_files([str(path)])
                packs = snapshot.finish()
        except SourceChangedError as error:
            builders.one_line(error, str(path))
            refused += 1
            continue
        content = bytes(store.objects.read(stored.digest, builders.packs_of(packs)))
        assert was_ever(writer, content), f"{len(content)} bytes, after {refused} refusals"
        assert stored.size_bytes == len(content)


def test_file_that_grew_since_it_was_looked_at_cannot_be_read_again(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was small enough to be read whole, and is longer than a reader accepts when it is read."""
    path = builders.write_old(tmp_path / "in" / "a", b"small")
    real = snapshot_module.read_small

    def grow(name: str, *args: Any) -> Any:
        builders.write_old(path, builders.noise(MIB) * 65)
        return real(name, *args)

    monkeypatch.setattr(snapshot_module, "read_small", grow)
    try:
        (stored,), packs = builders.put_files(store, [path])
    except SourceChangedError as error:
        builders.one_line(error, str(path))
    else:
        assert stored.digest == digest_of(path.read_bytes())
        assert builders.read_back(store, path.read_bytes(), packs) == path.read_bytes()
    monkeypatch.setattr(snapshot_module, "read_small", real)
    _, packs = builders.put_files(store, [path])
    assert builders.read_back(store, path.read_bytes(), packs) == path.read_bytes()


@pytest.mark.parametrize("to", [0, 100, 3000, 39_999])
def test_file_truncated_while_it_is_read_is_stored_as_a_mix(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch, to: int
) -> None:
    path = builders.write_old(tmp_path / "in" / "a", builders.noise(40_000))
    real, done = os.readv, []

    def read(descriptor: int, buffers: Any) -> int:
        if not done:
            done.append(True)
            count = real(descriptor, [memoryview(buffers[0])[:20_000]])
            os.truncate(path, to)
            return count
        return real(descriptor, buffers)

    monkeypatch.setattr(os, "readv", read)
    (stored,), packs = builders.put_files(store, [path])
    content = path.read_bytes()
    assert len(content) == to
    assert (stored.digest, stored.size_bytes) == (digest_of(content), to)
    assert builders.read_back(store, content, packs) == content


def test_file_removed_while_it_is_read_is_stored_in_part(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its link count changes its ctime, so it is read again, and then it is not there."""
    path = builders.write_old(tmp_path / "in" / "a", builders.noise(40_000))
    real = os.readv

    def read(descriptor: int, buffers: Any) -> int:
        path.unlink(missing_ok=True)
        return real(descriptor, buffers)

    monkeypatch.setattr(os, "readv", read)
    with pytest.raises(NotFoundError) as caught:
        builders.put_files(store, [path])
    builders.one_line(caught.value, str(path))


# What is not a readable file


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_folder(path: Path) -> None:
    path.mkdir()


def make_loop(path: Path) -> None:
    path.symlink_to(path)


def make_broken_link(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize(
    "make, error",
    [
        (make_fifo, UsageError),
        (make_folder, UsageError),
        (make_loop, UsageError),
        (make_broken_link, NotFoundError),
        (lambda path: None, NotFoundError),
    ],
)
def test_what_is_no_file_hangs_or_is_stored(
    tmp_path: Path, store: Store, make: Callable[[Path], None], error: type[Exception]
) -> None:
    (tmp_path / "in").mkdir()
    make(tmp_path / "in" / "a")
    with pytest.raises(error) as caught:
        builders.put_files(store, [tmp_path / "in" / "a"])
    builders.one_line(caught.value, str(tmp_path / "in" / "a"))
    assert builders.pack_paths(tmp_path / "store") == []


def read_as_nobody(folder: str, sizes: list[int]) -> list[str]:
    store = builders.local_store(Path(folder), chunker=SMALL_CHUNKS)
    store.backend.staging()
    messages = []
    for size in sizes:
        path = Path(folder, f"{size}")
        try:
            builders.put_files(store, [path])
        except UsageError as error:
            messages.append(builders.one_line(error, str(path), "Permission denied"))
    return messages


def as_nobody(folder: str, sizes: list[int]) -> list[str]:
    builders.become_nobody()
    return read_as_nobody(folder, sizes)


def test_forbidden_file_is_skipped() -> None:
    with builders.public_folder() as folder:
        for size in (10, 10_000):
            builders.write_old(folder / f"{size}", builders.noise(size)).chmod(0)
        assert len(builders.in_child(as_nobody, str(folder), [10, 10_000])) == 2
        assert builders.pack_paths(folder / "store") == []
