"""The index of packs: what it says is what the trailers say, and whatever else it is, it is refused."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineart.storage.errors import FormatError, IntegrityError
from lineart.storage.pack import PackedObject, encode_trailer, packed_bytes
from lineart.storage.pack_index import PackSet, decode_index, encode_index

CHANCE = random.Random(0)


def pack(count: int) -> list[PackedObject]:
    """The objects of a pack."""
    objects, offset = [], 8
    for _ in range(count):
        size = CHANCE.randrange(1, 1000)
        objects.append(PackedObject(CHANCE.randbytes(32), size, offset, size, 0))
        offset += size
    return objects


def test_index_says_what_the_trailers_say() -> None:
    packs = [(CHANCE.randbytes(32), pack(count)) for count in (0, 1, 500)]
    found = list(decode_index(encode_index(packs)))
    assert found == [(name, packed_bytes(objects), objects) for name, objects in sorted(packs)]


def test_index_that_was_changed_is_refused() -> None:
    data = encode_index([(CHANCE.randbytes(32), pack(3)), (CHANCE.randbytes(32), pack(2))])
    names = {name for name, _, _ in decode_index(data)}
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1
        try:
            found = {name for name, _, _ in decode_index(bytes(changed))}
        except (IntegrityError, FormatError):
            continue
        assert found != names, at  # the digest of a pack: it leads nowhere
    whole = [len(encode_index([]))]
    for _, _, objects in decode_index(data):
        whole.append(whole[-1] + 40 + len(encode_trailer(objects)))
    for end in sorted({*range(1, len(data))} - {*whole}):
        with pytest.raises(IntegrityError):
            list(decode_index(data[:end]))


@given(st.binary(max_size=200))
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises((IntegrityError, FormatError)):
        list(decode_index(b"LNARTXP\x01x" + data))


def test_newer_index_names_its_format() -> None:
    with pytest.raises(FormatError, match="format 9"):
        list(decode_index(b"LNARTXP\x09"))


def test_set_of_packs_is_all_of_them() -> None:
    assert list(PackSet((b"m",), (b"a", b"b"))) == [b"m", b"a", b"b"]
    assert len(PackSet((b"m",), (b"a", b"b"))) == 3
