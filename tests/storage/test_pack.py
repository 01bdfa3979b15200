"""Packs, byte by byte as docs/format.md says, and everything that may be wrong with one."""

from __future__ import annotations

import os
import struct
from collections.abc import Collection, Container, Iterable, Sequence
from pathlib import Path

import pytest
import zstandard
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

import builders
from builders import MIB, SMALL_CHUNKS
from lineart.storage.codec import (
    PIECE_LIMIT_BYTES,
    PLAIN_LIMIT_BYTES,
    decode,
    decode_chunk_list,
    encode,
    encode_chunk_list,
)
from lineart.storage.digest import digest_of
from lineart.storage.errors import FormatError, IntegrityError, NotFoundError
from lineart.storage.locations import Location, Locations
from lineart.storage.objects import Objects
from lineart.storage.pack import (
    PackedObject,
    PackLimits,
    PackWriter,
    decode_trailer,
    encode_trailer,
    pack_key,
    trailer_length,
)
from lineart.storage.restore import FileTarget
from lineart.storage.store import Store

RAW, ZSTD, CHUNKS = 0, 1, 2
Row = tuple[bytes, int, int, int]  # digest, raw length, stored length, codec


def pack_by_hand(
    payloads: Sequence[bytes],
    rows: Sequence[Row],
    *,
    magic: bytes = b"LNARTPK\x01",
    end: bytes = b"LNARTIX\x01",
) -> bytes:
    """The bytes of a pack, from docs/format.md and nothing else."""
    index = b"".join(struct.pack("<32sQQB", *row) for row in rows)
    trailer = index + blake3(index).digest() + end
    return magic + b"".join(payloads) + trailer + struct.pack("<Q", len(trailer) + 8)


def plain(*contents: bytes) -> bytes:
    """A pack of raw objects."""
    return pack_by_hand(contents, [(blake3(c).digest(), len(c), len(c), RAW) for c in contents])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return builders.local_store(tmp_path, chunker=SMALL_CHUNKS)


def place(store: Store, pack: bytes) -> bytes:
    """Put the bytes of a pack into the store under their name."""
    digest = blake3(pack).digest()
    store.backend.write(pack_key(digest), pack)
    return digest


def read(store: Store, digest: bytes, *packs: bytes) -> bytes:
    return bytes(store.objects.read(digest, packs))


# The format


def test_pack_differs_from_its_description(tmp_path: Path, store: Store) -> None:
    """One of each codec; the small files come in order of their paths, and the list into a pack of its own."""
    tiny, noisy, wordy, large = b"tiny", builders.noise(100), builders.prose(3000), builders.noise(9000, 5)
    paths = [
        builders.write_old(tmp_path / "in" / name, content)
        for name, content in (("1", tiny), ("2", noisy), ("3", wordy), ("4", large))
    ]
    _, packs = builders.put_files(store, paths)
    (data,), (meta,) = packs.packs, packs.meta_packs
    stored = store.backend.read(f"packs/{data[:2]}/{data}.pack")
    listed = store.backend.read(f"packs/{meta[:2]}/{meta}.pack")
    assert (blake3(stored).hexdigest(), blake3(listed).hexdigest()) == (data, meta)

    rows = list(struct.iter_unpack("<32sQQB", stored[-struct.unpack("<Q", stored[-8:])[0] : -48]))
    contents = {blake3(content).digest(): content for content in (tiny, noisy, wordy)}
    pieces, start, payloads = [], 8, []
    for digest, raw_bytes, stored_bytes, codec in rows:
        payload = stored[start : start + stored_bytes]
        start += stored_bytes
        payloads.append(payload)
        content = payload if codec == RAW else zstandard.ZstdDecompressor().decompress(payload)
        assert (blake3(content).digest(), len(content)) == (digest, raw_bytes)
        assert codec == (ZSTD if content == wordy else RAW)
        if digest not in contents:
            pieces.append(content)
    assert stored == pack_by_hand(payloads, rows)
    assert b"".join(sorted(pieces, key=large.index)) == large

    order = sorted(pieces, key=large.index)
    body = b"".join(struct.pack("<32sI", blake3(piece).digest(), len(piece)) for piece in order)
    payload = body + blake3(body).digest()
    assert listed == pack_by_hand([payload], [(blake3(large).digest(), len(large), len(payload), CHUNKS)])


def test_pack_by_hand_is_not_read(store: Store) -> None:
    wordy, large = builders.prose(5000), builders.noise(3000) + b"end"
    frame = zstandard.ZstdCompressor(level=19).compress(wordy)
    body = b"".join(struct.pack("<32sI", blake3(p).digest(), len(p)) for p in (large[:3000], large[3000:]))
    listing = body + blake3(body).digest()
    payloads = [b"", b"raw", frame, large[:3000], large[3000:], listing]
    rows = [
        (blake3(b"").digest(), 0, 0, RAW),
        (blake3(b"raw").digest(), 3, 3, RAW),
        (blake3(wordy).digest(), len(wordy), len(frame), ZSTD),
        (blake3(large[:3000]).digest(), 3000, 3000, RAW),
        (blake3(b"end").digest(), 3, 3, RAW),
        (blake3(large).digest(), len(large), len(listing), CHUNKS),
    ]
    pack = place(store, pack_by_hand(payloads, rows))
    for content in (b"", b"raw", wordy, large[:3000], b"end", large):
        assert read(store, blake3(content).digest(), pack) == content


@pytest.mark.parametrize("count", [0, 1, 1300, 1400, 8192])
def test_trailer_is_too_long_for_one_read(store: Store, count: int) -> None:
    """An empty pack, and packs around the size of the tail that is read at first."""
    contents = [f"{number:05}".encode() for number in range(count)]
    pack = place(store, plain(*contents))
    size, rows = store.objects.read_trailer(pack)
    assert size == len(plain(*contents))
    assert [(row.digest, row.raw_bytes, row.offset) for row in rows] == [
        (blake3(content).digest(), 5, 8 + 5 * number) for number, content in enumerate(contents)
    ]
    for content in contents[:1] + contents[-1:]:
        assert read(store, blake3(content).digest(), pack) == content


def test_object_twice_in_one_pack_is_refused(store: Store) -> None:
    pack = place(store, plain(b"same", b"other", b"same"))
    assert read(store, digest_of(b"same"), pack) == b"same"
    assert read(store, digest_of(b"other"), pack) == b"other"


def test_object_in_two_packs_is_refused(store: Store, tmp_path: Path) -> None:
    first, second = place(store, plain(b"same", b"1")), place(store, plain(b"2", b"same"))
    for packs in ((first, second), (second, first), (first,), (second,)):
        reader = Store(store.backend, store.settings, tmp_path / f"cache{packs}".replace("/", "")[:60])
        assert read(reader, digest_of(b"same"), *packs) == b"same"


def test_writer_and_hand_disagree(tmp_path: Path) -> None:
    contents = [b"", b"a", builders.noise(2 * MIB), builders.noise(300_000, 1), b"b" * 5000]
    writer = PackWriter(tmp_path, PackLimits())
    for content in contents:
        writer.add(blake3(content).digest(), len(content), RAW, content)
    built = writer.finish()
    assert built.path.read_bytes() == plain(*contents)
    assert built.digest == blake3(plain(*contents)).digest()
    assert built.size_bytes == len(plain(*contents))
    assert decode_trailer(encode_trailer(built.objects), built.size_bytes) == list(built.objects)


@settings(max_examples=150, deadline=None)
@given(data=st.one_of(st.binary(max_size=6000), st.binary(max_size=50).map(lambda b: b * 400)))
def test_codec_changes_bytes(data: bytes) -> None:
    codec, payload = encode(data)
    assert bytes(decode(codec, payload, len(data))) == data
    assert len(payload) <= len(data)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.binary(min_size=32, max_size=32), st.integers(0, PIECE_LIMIT_BYTES)), max_size=20)
)
def test_chunk_list_changes(pieces: list[tuple[bytes, int]]) -> None:
    total = sum(length for _, length in pieces)
    payload = encode_chunk_list(pieces)
    assert decode_chunk_list(payload, total) == pieces
    with pytest.raises(IntegrityError):
        decode_chunk_list(payload, total + 1)
    for cut in (1, 32, 33, 36):
        with pytest.raises(IntegrityError):
            decode_chunk_list(payload[:-cut], total)


# Damage


def one_of_each(store: Store, tmp_path: Path) -> tuple[dict[bytes, bytes], list[bytes]]:
    """Objects of every codec and the packs in which they lie."""
    contents = [b"tiny", builders.noise(300), builders.prose(2000), builders.noise(6000, 5)]
    packs = builders.packs_of(builders.put_bytes(store, tmp_path / "in", *contents))
    return {digest_of(content): content for content in contents}, packs


def test_flipped_bit_gives_other_bytes(tmp_path: Path, store: Store) -> None:
    """Every byte of every pack, one bit each; a reader gives the right bytes or says which pack is damaged."""
    contents, packs = one_of_each(store, tmp_path)
    refused = 0
    for pack in packs:
        whole = store.backend.read(pack_key(pack))
        for position in range(0, len(whole), 1 if len(whole) < 500 else 11):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << position % 8
            store.backend.write(pack_key(pack), damaged)
            objects = Objects(store.backend, Forgetful())
            for digest, content in contents.items():
                try:
                    assert bytes(objects.read(digest, packs)) == content
                except (IntegrityError, FormatError) as error:
                    builders.one_line(error, pack.hex()[:12])
                    refused += 1
        store.backend.write(pack_key(pack), whole)
    assert refused > 500


class Forgetful(Locations):
    """Locations in memory, so that thousands of readers with empty caches cost nothing."""

    def __init__(self) -> None:
        self._found: dict[bytes, Location] = {}
        self._packs: set[bytes] = set()

    def find(self, digests: Iterable[bytes], without: Container[bytes] = ()) -> dict[bytes, Location]:
        return {digest: self._found[digest] for digest in digests if digest in self._found}

    def known_packs(self, packs: Iterable[bytes]) -> set[bytes]:
        return self._packs & set(packs)

    def add(self, pack: bytes, size_bytes: int, objects: Sequence[PackedObject]) -> None:
        self._packs.add(pack)
        for o in objects:
            self._found.setdefault(o.digest, Location(pack, o.offset, o.stored_bytes, o.raw_bytes, o.codec))

    def forget(self, packs: Collection[bytes]) -> None:
        self._packs.difference_update(packs)


@pytest.mark.parametrize("damage", ["cut", "grown"])
def test_truncated_pack_gives_other_bytes(tmp_path: Path, store: Store, damage: str) -> None:
    contents, packs = one_of_each(store, tmp_path)
    for pack in packs:
        whole = store.backend.read(pack_key(pack))
        places = {0, 1, 7, 8, 9, 15, 16, 17, 47, 48, 49, 97, 98, len(whole) // 2}
        places |= {len(whole) - n for n in (1, 7, 8, 9, 15, 16, 17, 47, 48, 49, 50, 97, 98)}
        for place_at in sorted(n for n in places if 0 <= n < len(whole)):
            changed = whole[:place_at] if damage == "cut" else whole + whole[:place_at] + b"\0"
            store.backend.write(pack_key(pack), changed)
            objects = Objects(store.backend, Forgetful())
            with pytest.raises(IntegrityError) as caught:
                objects.learn([pack])
            builders.one_line(caught.value, pack.hex()[:12])
        store.backend.write(pack_key(pack), whole)
    for digest, content in contents.items():
        assert read(store, digest, *packs) == content


@pytest.mark.parametrize(
    "pack",
    [
        b"",
        b"LNARTPK\x01",
        b"LNARTIX\x01" + bytes(8),
        b"LNARTIX" + bytes(8),  # so short that its last sixteen bytes are fifteen
        b"LNARTIX",
        b"\0" * 100,
        b"LNARTPK\x01" + b"LNARTIX\x01" + struct.pack("<Q", 16),
        b"LNARTPK\x01" + bytes(40) + b"LNARTIX\x01" + struct.pack("<Q", 2**64 - 1),
        b"LNARTPK\x01" + bytes(40) + b"LNARTIX\x01" + struct.pack("<Q", 49),
    ],
)
def test_what_is_no_pack_is_read(store: Store, pack: bytes) -> None:
    digest = place(store, pack)
    with pytest.raises(IntegrityError) as caught:
        store.objects.learn([digest])
    builders.one_line(caught.value, digest.hex()[:12])


def test_missing_pack_is_read(store: Store) -> None:
    with pytest.raises(NotFoundError) as caught:
        read(store, bytes(32), b"\x01" * 32)
    builders.one_line(caught.value, "010101010101", store.backend.url)


@pytest.mark.parametrize("number", [2, 3, 255])
def test_pack_of_a_newer_format_is_called_damaged(store: Store, number: int) -> None:
    pack = pack_by_hand([b"x"], [(digest_of(b"x"), 1, 1, RAW)], end=b"LNARTIX" + bytes([number]))
    digest = place(store, pack)
    with pytest.raises(FormatError) as caught:
        read(store, digest_of(b"x"), digest)
    builders.one_line(caught.value, digest.hex()[:12], f"format {number}", "upgrade")


# Forgeries


def forged(store: Store, row: Row, payload: bytes) -> tuple[bytes, bytes]:
    """A pack of one object whose index says what `row` says; the object and the pack."""
    return row[0], place(store, pack_by_hand([payload], [row]))


X = digest_of(b"x")
BOMB = zstandard.ZstdCompressor().compress(bytes(500 * MIB))
PROMISE = b"\x28\xb5\x2f\xfd" + bytes([0b11100000]) + (1 << 60).to_bytes(8, "little") + b"\x01\x00\x00"
FORGED: dict[str, tuple[Row, bytes]] = {
    "huge raw": ((X, 1 << 40, 1, RAW), b"x"),
    "greatest raw": ((X, 2**64 - 1, 1, RAW), b"x"),
    "huge zstd": ((X, 1 << 40, len(PROMISE), ZSTD), PROMISE),
    "huge zstd of the greatest length": ((X, 2**64 - 1, len(PROMISE), ZSTD), PROMISE),
    "frame that promises more": ((X, 1, len(PROMISE), ZSTD), PROMISE),
    "bomb": ((X, 500 * MIB, len(BOMB), ZSTD), BOMB),
    "bomb that is called small": ((X, 1, len(BOMB), ZSTD), BOMB),
    "bomb at the limit": ((X, PLAIN_LIMIT_BYTES, len(BOMB), ZSTD), BOMB),
    "no frame": ((X, 1, 4, ZSTD), b"nope"),
    "empty frame": ((X, 1, 0, ZSTD), b""),
    "other bytes": ((X, 1, 1, RAW), b"y"),
    "too few bytes": ((X, 2, 1, RAW), b"x"),
    "too many bytes": ((X, 1, 2, RAW), b"xx"),
    "unknown codec": ((X, 1, 1, 3), b"x"),
    "codec 255": ((X, 1, 1, 255), b"x"),
    "huge list": ((X, 2**64 - 1, 68, CHUNKS), encode_chunk_list([(X, 7)])),
    "empty list": ((X, 1, 32, CHUNKS), encode_chunk_list([])),
    "short list": ((X, 1, 5, CHUNKS), b"short"),
    "list without its sum": ((X, 1, 36, CHUNKS), encode_chunk_list([(X, 1)])[:36]),
    "list of itself": ((X, 1, 68, CHUNKS), encode_chunk_list([(X, 1)])),
}


def try_to_read(folder: str, name: str, memory: bool) -> list[str]:
    """Read a forged object in all ways there are; the messages, and how much memory it took."""
    root = Path(folder)
    store = builders.local_store(root)
    row, payload = FORGED[name]
    digest, pack = forged(store, row, payload)
    (root / "out").mkdir()
    target = FileTarget(f"{root}/out/file", digest, 1, False)
    before, messages = builders.peak_bytes(), []
    for call in (
        lambda: store.objects.read(digest, [pack]),
        lambda: store.objects.open(digest, [pack]).read(),
        lambda: store.restorer([pack]).restore([target], f"{root}/out", modified_ns=0),
    ):
        try:
            messages.append(f"gave {call()!r:.50}")
        except IntegrityError as error:
            builders.one_line(error, pack.hex()[:12])
    messages += [
        str(error) for error in store.restorer([pack]).check([digest]) if pack.hex()[:12] not in str(error)
    ]
    messages += [path.name for path in (root / "out").iterdir()]
    if memory and builders.peak_bytes() - before > 300 * MIB:
        messages.append(f"took {(builders.peak_bytes() - before) // MIB} MiB")
    return messages


@pytest.mark.parametrize("name", [name for name in FORGED if "bomb" not in name and "huge" not in name])
def test_forged_object_is_believed(tmp_path: Path, name: str) -> None:
    assert try_to_read(str(tmp_path), name, memory=False) == []


@pytest.mark.parametrize("name", [name for name in FORGED if "bomb" in name or "huge" in name])
def test_forged_length_fills_the_memory(tmp_path: Path, name: str) -> None:
    assert builders.in_child(try_to_read, str(tmp_path), name, True) == []


def read_sparse(folder: str, codec: int) -> int:
    """A pack on disk whose payload is 3 GiB of nothing, called an object of one byte."""
    root = Path(folder)
    store = builders.local_store(root)
    size = 3 << 30
    pack = bytes([7]) * 32
    path = root / "store" / pack_key(pack)
    path.parent.mkdir(parents=True)
    empty = pack_by_hand([], [(X, 1, size, codec)])
    with path.open("wb") as file:
        file.write(empty[:8])
        os.truncate(file.fileno(), 8 + size)
        file.seek(8 + size)
        file.write(empty[8:])
    before = builders.peak_bytes()
    try:
        store.objects.read(X, [pack])
    except IntegrityError as error:
        builders.one_line(error, pack.hex()[:12])
        return builders.peak_bytes() - before
    raise AssertionError("it was read")


@pytest.mark.parametrize("codec", [RAW, ZSTD])
def test_forged_stored_length_fills_the_memory(tmp_path: Path, codec: int) -> None:
    assert builders.in_child(read_sparse, str(tmp_path), codec) < 300 * MIB


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 400))
def test_random_trailer_raises_something_else(data: bytes, size: int) -> None:
    for tail in (data, data + b"LNARTIX\x01" + struct.pack("<Q", len(data))):
        try:
            length = trailer_length(tail, size)
            decode_trailer(memoryview(tail)[len(tail) - length :], size)
        except (IntegrityError, FormatError) as error:
            builders.one_line(error)


def test_staging_file_of_a_discarded_pack_stays(tmp_path: Path) -> None:
    writer = PackWriter(tmp_path, PackLimits())
    writer.add(X, 1, RAW, b"x")
    writer.discard()
    writer.discard()
    assert list(tmp_path.iterdir()) == []
