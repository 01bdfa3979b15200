"""What comes out is what went in, or an error and nothing."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import builders
from builders import HANG_S, MIB, SMALL_CHUNKS, SPAWN, THEN_NS, restore
from lineart.storage.backend import Backend
from lineart.storage.digest import digest_of
from lineart.storage.errors import IntegrityError, NotFoundError, StoreError
from lineart.storage.local import LocalBackend
from lineart.storage.memory import MemoryBackend
from lineart.storage.pack import PackLimits
from lineart.storage.restore import TEMPORARY_PREFIX
from lineart.storage.store import Store
from lineart.storage.wrapper import BackendWrapper

MANY_PACKS = PackLimits(target_bytes=50_000, max_bytes=100_000, max_objects=50)


def another(store: Store, tmp_path: Path, name: str = "empty") -> Store:
    """The store as a machine sees it that knows nothing."""
    return Store(store.backend, store.settings, tmp_path / name)


def mixed() -> dict[str, bytes]:
    """Files of every codec, some in folders, some alike."""
    return {
        "empty": b"",
        "small": b"small",
        "prose": builders.prose(3000),
        "a/b/large": builders.noise(70_000, 1),
        "a/b/prose": builders.prose(60_000, 2),
        "a/copy": builders.noise(70_000, 1),
        "a/small": b"small",
        "z": builders.noise(4096, 3),
    }


BACKENDS: dict[str, Callable[[Path], Backend]] = {
    "local": lambda folder: LocalBackend(folder / "store"),
    "memory": lambda folder: MemoryBackend(),  # read as a remote one is
}


@pytest.mark.parametrize("kind", BACKENDS)
def test_restored_files_differ_from_those_stored(tmp_path: Path, kind: str) -> None:
    store = builders.new_store(
        BACKENDS[kind](tmp_path), tmp_path / "cache", chunker=SMALL_CHUNKS, limits=MANY_PACKS
    )
    contents = mixed()
    packs = builders.packs_of(builders.put_bytes(store, tmp_path / "in", *contents.values()))
    for reader in (store, another(store, tmp_path)):
        out = tmp_path / f"out{id(reader)}"
        assert restore(reader, out, contents, packs, executable=("a/copy", "small")) == len(contents)
        found = builders.files_below(out)
        assert {name: value for name, value in found.items() if value is not None} == contents
        for name in contents:
            assert bool((out / name).stat().st_mode & 0o111) == (name in ("a/copy", "small"))
            assert (out / name).stat().st_mtime_ns == THEN_NS


@pytest.mark.parametrize("size", [2 * MIB, 2 * MIB + 1, 24 * MIB + 1])
def test_restored_large_file_differs_from_the_one_stored(tmp_path: Path, size: int) -> None:
    store = builders.local_store(tmp_path)
    half = builders.prose(size // 2)
    contents = {"large": half + builders.noise(size - len(half))}
    packs = builders.packs_of(builders.put_bytes(store, tmp_path / "in", *contents.values()))
    restore(another(store, tmp_path), tmp_path / "out", contents, packs)
    assert builders.files_below(tmp_path / "out") == contents


# Damage


def damaged_places(store: Store, packs: Sequence[bytes]) -> list[tuple[bytes, int, str]]:
    """(pack, position, region) of bytes to flip: all regions of all packs."""
    places = []
    for pack in packs:
        size, rows = store.objects.read_trailer(pack)
        for row in {row.codec: row for row in rows if row.stored_bytes}.values():
            middle = row.offset + row.stored_bytes // 2
            places += [(pack, row.offset, "payload"), (pack, middle, "payload")]
            places.append((pack, row.offset + row.stored_bytes - 1, "payload"))
        index = size - 49 * len(rows) - 48
        places += [(pack, index + 5, "index"), (pack, index + 33, "index"), (pack, index + 48, "index")]
        places += [(pack, size - 40, "check"), (pack, size - 10, "magic"), (pack, size - 4, "length")]
    return places


@pytest.mark.parametrize("knows", [True, False], ids=["known", "unknown"])
def test_flipped_byte_reaches_a_file(tmp_path: Path, knows: bool) -> None:
    store = builders.local_store(tmp_path, chunker=SMALL_CHUNKS, limits=MANY_PACKS)
    contents = mixed()
    packs = builders.packs_of(builders.put_bytes(store, tmp_path / "in", *contents.values()))
    refused = 0
    for number, (pack, position, region) in enumerate(damaged_places(store, packs)):
        path = tmp_path / "store" / "packs" / pack.hex()[:2] / f"{pack.hex()}.pack"
        builders.flip(path, position, bit=number % 8)
        out = tmp_path / f"out{number}"
        old: dict[str, bytes] = dict.fromkeys(("small", "a/b/large"), b"as it was")
        for name, content in old.items():
            builders.write_old(out / name, content)
        reader = store if knows else another(store, tmp_path, f"cache{number}")
        try:
            restore(reader, out, contents, packs)
        except IntegrityError as error:
            refused += 1
            message = builders.one_line(error, pack.hex()[:12])
            assert region != "payload" or "object" in message
        else:
            assert knows, region  # who has the index need not read it again
            assert region != "payload"
        found = {name: value for name, value in builders.files_below(out).items() if value is not None}
        assert all(value in (contents[name], old.get(name)) for name, value in found.items())
        assert old.keys() <= found.keys()
        builders.flip(path, position, bit=number % 8)
        restore(reader, out, contents, packs)
        assert {n: v for n, v in builders.files_below(out).items() if v is not None} == contents
    assert refused >= 3 * len(packs)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.99])
@pytest.mark.parametrize("knows", [True, False], ids=["known", "unknown"])
def test_truncated_pack_reaches_a_file(tmp_path: Path, keep: float, knows: bool) -> None:
    store = builders.local_store(tmp_path, chunker=SMALL_CHUNKS)
    contents = {f"{n}": builders.noise(n * 1000, n) for n in range(1, 9)}
    packs = builders.packs_of(builders.put_bytes(store, tmp_path / "in", *contents.values()))
    (path,) = (p for p in builders.pack_paths(tmp_path / "store") if p.stat().st_size > 20_000)
    os.truncate(path, int(path.stat().st_size * keep))
    reader = store if knows else another(store, tmp_path)
    try:
        restore(reader, tmp_path / "out", contents, packs)
    except IntegrityError as error:
        builders.one_line(error, path.stem[:12])
    else:
        assert knows  # of whom only the trailer was cut off
        assert keep == 0.99
    found = builders.files_below(tmp_path / "out")
    assert all(contents[name] == value for name, value in found.items())


@pytest.mark.parametrize("knows", [True, False], ids=["known", "unknown"])
def test_missing_pack_is_called_something_else(tmp_path: Path, knows: bool) -> None:
    store = builders.local_store(tmp_path, chunker=SMALL_CHUNKS)
    content = builders.noise(50_000)
    packs = builders.put_bytes(store, tmp_path / "in", content)
    for pack in [*packs.packs, *packs.meta_packs]:
        path = tmp_path / "store" / "packs" / pack[:2] / f"{pack}.pack"
        aside = path.rename(tmp_path / "aside")
        reader = store if knows else another(store, tmp_path, pack)
        with pytest.raises(NotFoundError) as caught:
            restore(reader, tmp_path / "out", {"a": content}, builders.packs_of(packs))
        builders.one_line(caught.value, pack[:12], "missing")
        assert builders.files_below(tmp_path / "out") == {}
        aside.rename(path)
        restore(reader, tmp_path / "out", {"a": content}, builders.packs_of(packs))
        shutil.rmtree(tmp_path / "out")


def test_check_names_only_one_damaged_object(tmp_path: Path) -> None:
    store = builders.local_store(tmp_path, chunker=SMALL_CHUNKS, limits=MANY_PACKS)
    contents = [builders.noise(size, size) for size in (10, 3000, 4000, 50_000, 60_000)]
    packs = builders.packs_of(builders.put_bytes(store, tmp_path / "in", *contents))
    digests = [digest_of(content) for content in contents]
    assert list(store.restorer(packs).check(digests)) == []
    damaged = []
    for content in (contents[1], contents[2], contents[4][:3000]):
        (path, position) = next(
            (path, path.read_bytes().find(content[:200]))
            for path in builders.pack_paths(tmp_path / "store")
            if content[:200] in path.read_bytes()
        )
        builders.flip(path, position + 100)
        damaged.append(path.stem[:12])
    errors = [str(error) for error in store.restorer(packs).check([*digests, bytes(32)])]
    assert len(errors) == 4
    for digest in (digests[1], digests[2], bytes(32)):
        assert sum(digest.hex()[:12] in error for error in errors) == 1
    assert all(any(pack in error for error in errors) for pack in damaged)


# Files that are there already


def test_right_file_is_written_again(tmp_path: Path) -> None:
    store = builders.local_store(tmp_path, chunker=SMALL_CHUNKS)
    contents = mixed()
    packs = builders.packs_of(builders.put_bytes(store, tmp_path / "in", *contents.values()))
    out = tmp_path / "out"
    restore(store, out, contents, packs)
    before = {name: (out / name).stat().st_ino for name in contents}
    assert restore(store, out, contents, packs) == 0
    (out / "small").touch()
    assert restore(another(store, tmp_path), out, contents, packs) == 0  # by its bytes, without a stat cache
    (out / "z").write_bytes(builders.noise(4096, 4))
    (out / "a" / "copy").unlink()
    assert restore(store, out, contents, packs) == 2
    after = {name: (out / name).stat().st_ino for name in contents}
    changed = {name for name in contents if before[name] != after[name]}
    assert changed <= {"z", "a/copy"}
    assert {n: v for n, v in builders.files_below(out).items() if v is not None} == contents


def test_right_file_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = builders.local_store(tmp_path, chunker=SMALL_CHUNKS)
    contents = mixed()
    packs = builders.packs_of(builders.put_bytes(store, tmp_path / "in", *contents.values()))
    restore(store, tmp_path / "out", contents, packs)
    opened, real = [], os.open

    def count(path: Any, *args: Any, **kwargs: Any) -> int:
        opened.append(str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", count)
    assert restore(store, tmp_path / "out", contents, packs) == 0
    assert [path for path in opened if path.startswith(str(tmp_path / "out"))] == []


def edit_in_place(path: Path) -> None:
    found = path.stat()
    with path.open("r+b") as file:
        file.write(b"EDIT")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def edit_another_name(path: Path) -> None:
    os.link(path, f"{path}.other")
    edit_in_place(Path(f"{path}.other"))


def become_link(path: Path) -> None:
    """A link to a file with the right bytes is still not the file."""
    path.rename(f"{path}.other")
    path.symlink_to(f"{path}.other")


def become_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def truncate(path: Path) -> None:
    os.truncate(path, 1)


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("name", ["prose", "a/b/large"])
@pytest.mark.parametrize(
    "change", [edit_in_place, edit_another_name, become_link, become_fifo, truncate, remove]
)
def test_changed_file_is_left(tmp_path: Path, change: Callable[[Path], None], name: str) -> None:
    store = builders.local_store(tmp_path, chunker=SMALL_CHUNKS)
    contents = mixed()
    packs = builders.packs_of(builders.put_bytes(store, tmp_path / "in", *contents.values()))
    restore(store, tmp_path / "out", contents, packs)
    change(tmp_path / "out" / name)
    assert restore(store, tmp_path / "out", contents, packs) == 1
    assert (tmp_path / "out" / name).read_bytes() == contents[name]
    assert not (tmp_path / "out" / name).is_symlink()


@pytest.mark.parametrize("was", [0o644, 0o755])
def test_mode_is_left_as_it_is(tmp_path: Path, was: int) -> None:
    store = builders.local_store(tmp_path, chunker=SMALL_CHUNKS)
    contents = mixed()
    packs = builders.packs_of(builders.put_bytes(store, tmp_path / "in", *contents.values()))
    executable = ["z", "a/copy"]
    for name, content in contents.items():
        builders.write_old(tmp_path / "out" / name, content).chmod(was)
    assert restore(store, tmp_path / "out", contents, packs, executable) == 0
    for name in contents:
        assert bool((tmp_path / "out" / name).stat().st_mode & 0o111) == (name in executable), name


def place_folder(path: Path) -> None:
    path.mkdir(parents=True)


def place_file_as_folder(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.parent.rmdir()
    path.parent.write_bytes(b"mine")


@pytest.mark.parametrize("place", [place_folder, place_file_as_folder])
def test_what_stands_in_the_way_is_removed(tmp_path: Path, place: Callable[[Path], None]) -> None:
    store = builders.local_store(tmp_path, chunker=SMALL_CHUNKS)
    contents = {"a/b/c": builders.noise(100), "d": b"d"}
    packs = builders.packs_of(builders.put_bytes(store, tmp_path / "in", *contents.values()))
    place(tmp_path / "out" / "a" / "b" / "c")
    before = builders.files_below(tmp_path / "out")
    with pytest.raises(StoreError) as caught:
        restore(store, tmp_path / "out", contents, packs)
    builders.one_line(caught.value, str(tmp_path / "out" / "a" / "b"))
    assert TEMPORARY_PREFIX not in str(caught.value)
    after = builders.files_below(tmp_path / "out")
    assert {**before, "d": b"d"} == {"d": b"d", **after}


@pytest.mark.parametrize("call", ["pwrite", "replace", "utime"])
def test_failing_disk_leaves_a_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    store = builders.local_store(tmp_path, chunker=SMALL_CHUNKS)
    contents = mixed()
    packs = builders.packs_of(builders.put_bytes(store, tmp_path / "in", *contents.values()))
    real, count = getattr(os, call), 0

    def fail(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if count > 3:
            raise OSError(28, "No space left on device")
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(StoreError) as caught:
            restore(store, tmp_path / "out", contents, packs)
    builders.one_line(caught.value, str(tmp_path / "out"), "No space left")
    found = {n: v for n, v in builders.files_below(tmp_path / "out").items() if v is not None}
    assert all(contents.get(name) == value for name, value in found.items())
    restore(store, tmp_path / "out", contents, packs)
    assert {n: v for n, v in builders.files_below(tmp_path / "out").items() if v is not None} == contents


class StallingBackend(BackendWrapper):
    """Gives a part of the reads, and then nothing any more."""

    def __init__(self, inner: Backend, reads: int, marker: Path) -> None:
        super().__init__(inner)
        self._left = reads
        self._marker = marker

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        self._left -= 1
        if self._left < 0:
            self._marker.touch()
            time.sleep(HANG_S)
        return super().read(key, start, length)

    def local_path(self, key: str) -> Path | None:
        return None


def restore_and_stall(folder: str, reads: int, contents: dict[str, bytes], packs: list[bytes]) -> None:
    root = Path(folder)
    store = Store.on(LocalBackend(root / "store"), cache=root / "cache")
    stalling = StallingBackend(store.backend, reads, root / f"stalled{reads}")
    restore(Store(stalling, store.settings, root / "cache"), root / f"out{reads}", contents, packs)


@pytest.mark.parametrize("reads", [1, 4, 20])
def test_killed_restore_leaves_a_half_file(tmp_path: Path, reads: int) -> None:
    store = builders.local_store(tmp_path, chunker=SMALL_CHUNKS, limits=MANY_PACKS)
    contents = mixed() | {f"more/{n}": builders.noise(30_000, n) for n in range(40)}
    packs = builders.packs_of(builders.put_bytes(store, tmp_path / "in", *contents.values()))
    out = tmp_path / f"out{reads}"
    child = SPAWN.Process(target=restore_and_stall, args=(str(tmp_path), reads, contents, packs))
    child.start()
    give_up_s = time.monotonic() + HANG_S
    while not (tmp_path / f"stalled{reads}").exists() and time.monotonic() < give_up_s:
        time.sleep(0.01)
    child.kill()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    left = {n: v for n, v in builders.files_below(out).items() if v is not None and TEMPORARY_PREFIX not in n}
    assert all(contents.get(name) == value for name, value in left.items())
    assert len(left) < len(contents)
    assert restore(store, out, contents, packs) == len(contents) - len(left)
    found = {
        n: v for n, v in builders.files_below(out).items() if v is not None and TEMPORARY_PREFIX not in n
    }
    assert found == contents
