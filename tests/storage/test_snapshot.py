"""What goes in comes out, in packs that keep their limits."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from blake3 import blake3

import builders
from builders import KIB, MIB, SMALL_CHUNKS
from lineart.artifacts.draft import Draft, local_file
from lineart.artifacts.names import ProjectName
from lineart.artifacts.publish import publish
from lineart.artifacts.state import VersionState
from lineart.artifacts.version import Version
from lineart.storage.codec import Codec
from lineart.storage.digest import digest_of
from lineart.storage.errors import IntegrityError, NotFoundError
from lineart.storage.pack import PackLimits
from lineart.storage.snapshot import Snapshot
from lineart.storage.store import Store

SMALL = [0, 1, 63, 64, 65, 4095, 4096, 4097, 128 * KIB, 2 * MIB - 1, 2 * MIB]
LARGE = [2 * MIB + 1, 24 * MIB - 1, 24 * MIB, 24 * MIB + 1, 60 * MIB]
CONTENTS = {"noise": builders.noise, "prose": builders.prose}


def codecs_of(store: Store, packs: Sequence[bytes]) -> dict[bytes, list[int]]:
    """The codecs with which each object lies in the packs."""
    found: dict[bytes, list[int]] = {}
    for pack in packs:
        for row in store.objects.read_trailer(pack)[1]:
            found.setdefault(row.digest, []).append(row.codec)
    return found


@pytest.mark.parametrize("kind", CONTENTS)
def test_bytes_of_small_files_come_back_changed(tmp_path: Path, kind: str) -> None:
    store = builders.local_store(tmp_path)
    contents = [CONTENTS[kind](size, seed) for seed, size in enumerate(SMALL)]
    paths = [builders.write_old(tmp_path / "in" / f"{len(content)}", content) for content in contents]
    stored, packs = builders.put_files(store, paths)
    assert [file.digest for file in stored] == [blake3(content).digest() for content in contents]
    assert [file.size_bytes for file in stored] == SMALL
    for content in contents:
        assert builders.read_back(store, content, packs) == content


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("size", LARGE)
def test_bytes_of_large_file_come_back_changed(tmp_path: Path, kind: str, size: int) -> None:
    store = builders.local_store(tmp_path)
    content = CONTENTS[kind](size, size)
    (stored,), packs = builders.put_files(store, [builders.write_old(tmp_path / "file", content)])
    assert stored.digest == blake3(content).digest()
    assert builders.read_back(store, content, packs) == content
    codecs = codecs_of(store, builders.packs_of(packs))
    assert codecs.pop(stored.digest) == [Codec.CHUNKS]
    assert {codec for found in codecs.values() for codec in found} == {
        Codec.RAW if kind == "noise" else Codec.ZSTD
    }


def test_mixed_files_come_back_in_another_order(tmp_path: Path) -> None:
    store = builders.local_store(tmp_path, chunker=SMALL_CHUNKS)
    source = random.Random(1)
    contents = []
    for number in range(2500):
        size = source.choice([0, 3, 100, 1500, 4096, 4097, 9000, 30_000])
        contents.append(
            builders.prose(size, number) if source.random() < 0.5 else builders.noise(size, number % 400)
        )
    paths = [
        builders.write_old(tmp_path / "in" / f"{number}", content) for number, content in enumerate(contents)
    ]
    stored, packs = builders.put_files(store, paths)
    assert [file.digest for file in stored] == [digest_of(content) for content in contents]
    for content in source.sample(contents, 400):
        assert builders.read_back(store, content, packs) == content


def test_executable_bit_is_lost(tmp_path: Path) -> None:
    store = builders.local_store(tmp_path, chunker=SMALL_CHUNKS)
    paths = [
        builders.write_old(tmp_path / name, builders.noise(size)) for name, size in (("a", 9), ("b", 9000))
    ]
    for path in paths:
        path.chmod(0o755)
    assert all(file.executable for file in builders.put_files(store, paths)[0])
    for path in paths:
        path.chmod(0o644)  # changes the mode and the ctime, not the bytes
    stored, packs = builders.put_files(store, paths)
    assert not any(file.executable for file in stored)
    assert packs.new_bytes == 0


@pytest.mark.parametrize("size", [100, 100_000])
def test_same_content_is_stored_twice(tmp_path: Path, size: int) -> None:
    store = builders.local_store(tmp_path, chunker=SMALL_CHUNKS)
    content = builders.noise(size)
    paths = [builders.write_old(tmp_path / "in" / f"{number}", content) for number in range(150)]
    stored, packs = builders.put_files(store, paths)
    assert {file.digest for file in stored} == {digest_of(content)}
    assert len(stored) == 150
    codecs = codecs_of(store, builders.packs_of(packs))
    assert all(len(found) == 1 for found in codecs.values())
    assert size <= packs.new_bytes < size * 1.1 + 100
    again = builders.write_old(tmp_path / "in" / "again", content)
    assert builders.put_files(store, [again])[1].new_bytes == 0


def test_second_snapshot_forgets_the_packs_of_the_first(tmp_path: Path) -> None:
    """The packs that a snapshot names are enough for a reader who knows nothing."""
    store = builders.local_store(tmp_path, chunker=SMALL_CHUNKS)
    large = builders.noise(200_000)
    builders.put_files(store, [builders.write_old(tmp_path / "a", large)])
    changed = large[:90_000] + b"inserted" + large[90_000:]
    paths = [builders.write_old(tmp_path / "b", changed), tmp_path / "a"]
    _, packs = builders.put_files(store, paths)
    assert 0 < packs.new_bytes < 30_000
    reader = Store.on(store.backend, cache=tmp_path / "empty")
    assert builders.read_back(reader, changed, packs) == changed
    assert builders.read_back(reader, large, packs) == large


def test_file_that_was_cut_otherwise_before_loses_chunks(tmp_path: Path) -> None:
    """Its chunk list is in the store already, and names other chunks than those that were just cut."""
    before = builders.local_store(tmp_path, chunker=SMALL_CHUNKS)
    content = builders.noise(300_000)
    path = builders.write_old(tmp_path / "file", content)
    builders.put_files(before, [path])
    builders.put_bytes(before, tmp_path / "more", builders.noise(5000, 7))
    now = Snapshot(
        before.objects,
        Store.on(before.backend, cache=tmp_path / "other").stat_cache,
        chunker=before.settings.metadata_chunker,
        limits=PackLimits(),
    )
    with now as snapshot:
        snapshot.add_files([str(path)])
        packs = snapshot.finish()
    reader = Store.on(before.backend, cache=tmp_path / "empty")
    assert builders.read_back(reader, content, packs) == content


@pytest.mark.parametrize("size", [0, 10, 64 * KIB, 64 * KIB + 1, 3 * MIB])
def test_metadata_comes_back_changed(tmp_path: Path, size: int) -> None:
    store = builders.local_store(tmp_path)
    content = builders.prose(size)
    with store.snapshot() as snapshot:
        assert snapshot.add_metadata(content) == digest_of(content)
        packs = snapshot.finish()
    assert not packs.packs
    assert builders.read_back(store, content, packs) == content


def test_required_object_may_be_missing(tmp_path: Path) -> None:
    store = builders.local_store(tmp_path)
    packs = builders.put_bytes(store, tmp_path / "in", b"here")
    with store.snapshot() as snapshot:
        snapshot.require([digest_of(b"here")])
        assert snapshot.finish().packs == packs.packs
    with store.snapshot() as snapshot, pytest.raises(NotFoundError) as caught:
        snapshot.require([digest_of(b"here"), digest_of(b"nowhere")])
    builders.one_line(caught.value, digest_of(b"nowhere").hex()[:12])


# Limits


def test_pack_outgrows_its_limits(tmp_path: Path) -> None:
    limits = PackLimits(target_bytes=20_000, max_bytes=30_000, max_objects=16)
    store = builders.local_store(tmp_path, chunker=SMALL_CHUNKS, limits=limits)
    source = random.Random(2)
    contents = [builders.noise(source.choice([5, 700, 4000, 50_000]), seed) for seed in range(200)]
    packs = builders.put_bytes(store, tmp_path / "in", *contents)
    sizes, counts = [], []
    for pack in packs.packs:
        size, rows = store.objects.read_trailer(bytes.fromhex(pack))
        sizes.append(size - 49 * len(rows))
        counts.append(len(rows))
    assert len(packs.packs) > 20
    assert max(counts) == 16
    assert max(sizes) <= 30_000 + 100
    for content in contents:
        assert builders.read_back(store, content, packs) == content


def test_default_pack_holds_more_than_8192_objects(tmp_path: Path) -> None:
    store = builders.local_store(tmp_path)
    packs = builders.put_bytes(store, tmp_path / "in", *(f"{n:05}".encode() for n in range(8200)))
    counts = [len(store.objects.read_trailer(bytes.fromhex(pack))[1]) for pack in packs.packs]
    assert sorted(counts) == [8, 8192]


def test_object_larger_than_a_pack_is_refused(tmp_path: Path) -> None:
    store = builders.local_store(
        tmp_path, limits=PackLimits(target_bytes=1000, max_bytes=1500, max_objects=9)
    )
    contents = [builders.noise(size, size) for size in (10, 5000, 20, 6000, 7000)]
    packs = builders.put_bytes(store, tmp_path / "in", *contents)
    assert len(packs.packs) >= 3
    for content in contents:
        assert builders.read_back(store, content, packs) == content


def logged(store: Store, folder: Path) -> Version:
    """The version that logging a folder would make, without a log."""
    draft = Draft()
    for path in sorted(folder.iterdir()):
        draft.put(path.name, local_file(path))
    _, content = publish(store, draft)
    assert content.packs_object is not None
    state = VersionState(
        number=0,
        digest=content.digest,
        size_bytes=content.size_bytes,
        file_count=content.file_count,
        reference_count=0,
        metadata={},
        description="",
        tags=(),
        run=None,
        created_at="2026-01-02T03:04:05.000006Z",
        packs=tuple(content.packs),
        meta_packs=tuple(content.meta_packs),
        packs_object=content.packs_object,
    )
    return Version(store, ProjectName("team", "digits"), "data", "dataset", state)


def test_version_of_more_than_64_packs_lists_them_in_its_record(tmp_path: Path) -> None:
    limits = PackLimits(target_bytes=1000, max_bytes=1500, max_objects=9)
    store = builders.local_store(tmp_path, chunker=SMALL_CHUNKS, limits=limits)
    folder = tmp_path / "in"
    contents = {f"{n:03}": builders.noise(1500 + 100 * n, n) for n in range(80)}
    for name, content in contents.items():
        builders.write_old(folder / name, content)
    version = logged(store, folder)
    assert version.state.packs == ()
    assert len(version.state.meta_packs) == 1
    assert len(version.packs) > 64
    reader = Version(
        Store.on(store.backend, cache=tmp_path / "empty"), version.project, "data", "dataset", version.state
    )
    reader.download(tmp_path / "out")
    assert builders.files_below(tmp_path / "out") == contents
    builders.flip(store_pack(store, version.state.meta_packs[0]), 10)
    broken = Store.on(store.backend, cache=tmp_path / "empty2")
    with pytest.raises(IntegrityError) as caught:
        Version(broken, version.project, "data", "dataset", version.state).download(tmp_path / "out2")
    builders.one_line(caught.value, version.state.meta_packs[0][:12])


def store_pack(store: Store, pack: str) -> Path:
    """The file of a pack."""
    found = store.backend.local_path(f"packs/{pack[:2]}/{pack}.pack")
    assert found is not None
    return found


# Litter


def test_killed_snapshot_leaves_its_file_for_ever(tmp_path: Path) -> None:
    store = builders.local_store(tmp_path)
    staging = store.backend.staging()
    fresh, stale = staging / "1~fresh.pack", staging / "1~stale.pack"
    fresh.write_bytes(b"of a writer at work")
    stale.write_bytes(b"of a writer that is dead")
    then = time.time() - 2 * 24 * 3600
    os.utime(stale, (then, then))
    builders.put_bytes(store, tmp_path / "in", b"anything")
    assert [path.name for path in staging.iterdir()] == [fresh.name]


@pytest.mark.parametrize("size", [50, 100_000])
def test_failed_snapshot_leaves_its_file(tmp_path: Path, size: int) -> None:
    store = builders.local_store(tmp_path, chunker=SMALL_CHUNKS)
    builders.write_old(tmp_path / "a", builders.noise(size))
    with pytest.raises(NotFoundError) as caught:
        builders.put_files(store, [tmp_path / "a", tmp_path / "missing"])
    builders.one_line(caught.value, str(tmp_path / "missing"))
    assert list(store.backend.staging().iterdir()) == []
    assert builders.pack_paths(tmp_path / "store") == []
