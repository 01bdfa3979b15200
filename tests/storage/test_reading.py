"""Readers that fetch what is asked for, with what they know and without, and what they hold in memory."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import builders
from builders import KIB, MIB, SMALL_CHUNKS, THEN_NS, restore
from lineart.storage.counting import CountingBackend
from lineart.storage.digest import digest_of
from lineart.storage.errors import IntegrityError
from lineart.storage.local import LocalBackend
from lineart.storage.restore import FileTarget
from lineart.storage.store import Store
from lineart.storage.wrapper import BackendWrapper

# Readers


RANGES = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(-1, 30_000), st.just(0)),
        st.tuples(st.just("seek"), st.integers(0, 110_000), st.just(io.SEEK_SET)),
        st.tuples(st.just("seek"), st.integers(-3000, 3000), st.just(io.SEEK_CUR)),
        st.tuples(st.just("seek"), st.integers(-100_000, 3000), st.just(io.SEEK_END)),
    ),
    max_size=12,
)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Store, bytes, list[bytes]]]:
    """A file of one piece, one of many, and an empty one, in stores."""
    found = {}
    for name, content in (
        ("empty", b""),
        ("plain", builders.prose(3000)),
        ("chunked", builders.noise(60_000) + builders.prose(40_000)),
    ):
        folder = tmp_path_factory.mktemp(name)
        store = builders.local_store(folder, chunker=SMALL_CHUNKS)
        packs = builders.put_bytes(store, folder / "in", content)
        found[name] = (store, content, builders.packs_of(packs))
    return found


@pytest.mark.parametrize("name", ["empty", "plain", "chunked"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=RANGES)
def test_reader_differs_from_a_file(
    opened: dict[str, tuple[Store, bytes, list[bytes]]], name: str, steps: list[tuple[str, int, int]]
) -> None:
    store, content, packs = opened[name]
    expected = io.BytesIO(content)
    with store.objects.open(digest_of(content), packs) as stream:
        for what, number, whence in steps:
            if what == "read":
                assert stream.read(number) == expected.read(number)
            else:
                base = {io.SEEK_SET: 0, io.SEEK_CUR: expected.tell(), io.SEEK_END: len(content)}[whence]
                if base + number < 0:
                    with pytest.raises((ValueError, OSError)):
                        stream.seek(number, whence)
                    stream.seek(expected.tell())
                else:
                    assert stream.seek(number, whence) == expected.seek(number, whence)
            assert stream.tell() == expected.tell()


def test_reader_fetches_more_than_it_is_asked_for(tmp_path: Path) -> None:
    plain = builders.memory_store(tmp_path)
    content = builders.noise(40 * MIB)
    packs = builders.packs_of(builders.put_bytes(plain, tmp_path / "in", content))
    counting = CountingBackend(plain.backend)
    store = Store(counting, plain.settings, tmp_path / "empty")
    with store.objects.open(digest_of(content), packs) as stream:
        stream.seek(20 * MIB)
        assert stream.read(100) == content[20 * MIB : 20 * MIB + 100]
    assert counting.bytes["read"] < 2 * MIB + 3 * 512 * KIB


def test_reader_hands_out_a_flipped_byte(tmp_path: Path) -> None:
    store = builders.local_store(tmp_path, chunker=SMALL_CHUNKS)
    content = builders.noise(90_000)
    packs = builders.packs_of(builders.put_bytes(store, tmp_path / "in", content))
    path = max(builders.pack_paths(tmp_path / "store"), key=lambda path: path.stat().st_size)
    position = path.read_bytes().find(content[50_000:50_010])
    builders.flip(path, position)
    with store.objects.open(digest_of(content), packs) as stream:
        assert stream.read(30_000) == content[:30_000]
        with pytest.raises(IntegrityError) as caught:
            stream.read(60_000)
    builders.one_line(caught.value, path.stem[:12])


# Caches


def test_reader_with_an_empty_cache_reads_other_packs(tmp_path: Path) -> None:
    """A store of many packs: who wants one file reads the trailers of its version's packs, and the runs of it."""
    plain = builders.memory_store(tmp_path, chunker=SMALL_CHUNKS)
    versions = []
    for number in range(20):
        content = builders.noise(3000, number)
        versions.append((content, builders.put_bytes(plain, tmp_path / f"{number}", content)))
    content, packs = versions[7]
    counting = CountingBackend(plain.backend)
    store = Store(counting, plain.settings, tmp_path / "empty")
    restore(store, tmp_path / "out", {"a": content}, builders.packs_of(packs))
    assert counting.calls["list"] + counting.calls["folders"] == 0
    assert counting.calls["read"] == 2  # one trailer, one object
    assert builders.files_below(tmp_path / "out") == {"a": content}


def test_neighbours_in_a_pack_are_read_one_by_one(tmp_path: Path) -> None:
    plain = builders.memory_store(tmp_path)
    contents = {f"{n}": builders.noise(1000, n) for n in range(1000)}
    packs = builders.packs_of(builders.put_bytes(plain, tmp_path / "in", *contents.values()))
    counting = CountingBackend(plain.backend)
    store = Store(counting, plain.settings, tmp_path / "empty")
    restore(store, tmp_path / "out", contents, packs)
    assert counting.calls["read"] <= 3
    assert builders.files_below(tmp_path / "out") == contents


def test_deleted_cache_stops_the_reader(tmp_path: Path) -> None:
    store = builders.local_store(tmp_path, chunker=SMALL_CHUNKS)
    contents = {"a": b"small", "b": builders.prose(60_000), "c/d": builders.noise(70_000)}
    packs = builders.packs_of(builders.put_bytes(store, tmp_path / "in", *contents.values()))
    shutil.rmtree(tmp_path / "cache")
    later = Store.on(store.backend, cache=tmp_path / "cache")
    restore(later, tmp_path / "out", contents, packs)
    assert {n: v for n, v in builders.files_below(tmp_path / "out").items() if v is not None} == contents
    paths = sorted((tmp_path / "in").iterdir())
    assert builders.put_files(later, paths)[1].new_bytes == 0


# Memory


class NotLocal(BackendWrapper):
    """A local store that is read as a remote one is."""

    def local_path(self, key: str) -> Path | None:
        return None


def restore_prose(folder: str, packs: list[bytes], digest: bytes, size: int) -> tuple[int, int]:
    root = Path(folder)
    store = Store.on(LocalBackend(root / "store"), cache=root / "cache")
    remote = NotLocal(store.backend)  # read with many threads
    reader = Store(remote, store.settings, root / "cache")
    (root / "out").mkdir()
    before = builders.peak_bytes()
    reader.restorer(packs).restore(
        [FileTarget(f"{root}/out/large", digest, size, False)], str(root / "out"), modified_ns=THEN_NS
    )
    return before, builders.peak_bytes()


def test_file_that_shrinks_well_fills_the_memory_when_it_is_restored(tmp_path: Path) -> None:
    store = builders.local_store(tmp_path)
    line = b"loss 0.0000 accuracy 1.0000 epoch "
    path = tmp_path / "large"
    with path.open("wb") as file:  # about 1 : 100
        for number in range(500):
            file.write((line * 40 + f"{number}".encode()) * (MIB // (len(line) * 40)))
    (stored,), packs = builders.put_files(store, [path])
    before, after = builders.in_child(
        restore_prose, str(tmp_path), builders.packs_of(packs), stored.digest, stored.size_bytes
    )
    assert digest_of((tmp_path / "out" / "large").read_bytes()) == stored.digest
    assert after - before < 350 * MIB
