"""Cutting by content: known cuts, windows, edits.

The public test vectors of the Remote Execution API (FastCDC 2020, bazelbuild/remote-apis,
`fastcdc2020_test_vectors.txt`) are for a picture of 109,466 bytes that this repository does not hold. With
`LINEART_TEST_AKASHITA` naming a copy of it (SekienAkashita.jpg from Wikimedia Commons, public domain) the test runs;
it was run on 21 November 2026 with pyfastcdc 0.3.1 and passed. What runs everywhere are cuts of our own, frozen then
from the very same code, and the comparison of the two implementations that pyfastcdc has.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from pyfastcdc import FastCDC as Compiled
from pyfastcdc.py import FastCDC as Readable

import builders
from builders import KIB, MIB
from lineart.storage.chunker import METADATA_CHUNKER, ChunkerParameters, cut
from lineart.storage.errors import FormatError

PUBLIC = ChunkerParameters(minimum=4096, average=16384, maximum=65535)
TINY = ChunkerParameters(minimum=64, average=256, maximum=1024)
VECTORS = {0: [19186, 19279, 17354, 16387, 19940, 17320], 666: [17635, 17334, 19136, 17467, 23593, 14301]}


def stream(size: int) -> bytes:
    """A pseudo-random stream that any language can make: BLAKE3 in its extendable form, of a fixed text."""
    return blake3(b"lineart chunker vectors 1").digest(length=size)


def lengths(data: bytes, parameters: ChunkerParameters) -> list[int]:
    return [len(chunk) for chunk in cut(memoryview(data), parameters, is_last=True)]


def by_library(library: type, data: bytes, parameters: ChunkerParameters) -> list[int]:
    chunker = library(
        parameters.average,
        min_size=parameters.minimum,
        max_size=parameters.maximum,
        normalized_chunking=parameters.normalization,
        seed=parameters.seed,
    )
    return [chunk.length for chunk in chunker.cut_buf(memoryview(data))]


def windowed(data: bytes, parameters: ChunkerParameters, window: int) -> list[bytes]:
    """Chunks of `data` that is read piece by piece, as the snapshot does it."""
    chunks, rest, position = [], b"", 0
    while True:
        taken = data[position : position + window - len(rest)]
        position += len(taken)
        is_last = position >= len(data)
        buffer = rest + taken
        found = [bytes(chunk) for chunk in cut(memoryview(buffer), parameters, is_last=is_last)]
        chunks += found
        rest = buffer[sum(map(len, found)) :]
        if is_last:
            assert rest == b""
            return chunks


# Known cuts


@pytest.mark.parametrize("seed", VECTORS)
def test_public_vectors_are_cut_otherwise(seed: int) -> None:
    name = os.environ.get("LINEART_TEST_AKASHITA")
    if not name:
        pytest.skip("LINEART_TEST_AKASHITA names no copy of SekienAkashita.jpg")
    data = Path(name).read_bytes()
    assert (
        hashlib.sha256(data).hexdigest() == "d9e749d9367fc908876749d6502eb212fee88c9a94892fb07da5ef3ba8bc39ed"
    )
    parameters = ChunkerParameters(4096, 16384, 65535, normalization=2, seed=seed)
    assert lengths(data, parameters) == VECTORS[seed]


FROZEN: dict[str, tuple[ChunkerParameters, int, list[int], str]] = {
    "public": (PUBLIC, 200_000, [17943, 6444, 18711, 16764, 17466], "70c098afd334446a"),
    "seed": (
        ChunkerParameters(4096, 16384, 65535, seed=666),
        200_000,
        [26293, 28432, 17667, 18838, 18781],
        "3d5e96c5c63f92e2",
    ),
    "files": (ChunkerParameters(), 4 * MIB, [123269, 338356, 304643, 297577], "f79f043b9afe1b79"),
    "manifests": (METADATA_CHUNKER, MIB, [68081, 52421, 68829, 66731], "7e2c9196c9fcc944"),
}


@pytest.mark.parametrize("name", FROZEN)
def test_cuts_change_with_a_release(name: str) -> None:
    """Stores would hold everything twice: what is cut otherwise is stored again."""
    parameters, size, expected, digest = FROZEN[name]
    found = lengths(stream(size), parameters)
    assert found[: len(expected)] == expected
    assert blake3(repr(found).encode()).hexdigest()[:16] == digest


@pytest.mark.parametrize("kind", ["noise", "prose", "zeros"])
@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 4095, 4096, 4097, 65_535, 65_536, 150_000])
@pytest.mark.parametrize("seed", [0, 666])
def test_compiled_and_readable_code_disagree(kind: str, size: int, seed: int) -> None:
    data = {"noise": builders.noise, "prose": builders.prose, "zeros": bytes}[kind](size)
    parameters = ChunkerParameters(4096, 16384, 65535, seed=seed)
    expected = by_library(Readable, data, parameters)
    assert by_library(Compiled, data, parameters) == expected
    assert lengths(data, parameters) == expected


# Bounds and windows


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=3000), st.integers(0, 40))
def test_chunk_breaks_its_bounds(data: bytes, repeat: int) -> None:
    whole = data * repeat
    found = [bytes(chunk) for chunk in cut(memoryview(whole), TINY, is_last=True)]
    assert b"".join(found) == whole
    assert all(TINY.minimum <= len(chunk) <= TINY.maximum for chunk in found[:-1])
    assert all(0 < len(chunk) <= TINY.maximum for chunk in found[-1:])


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(0, 20_000),
    seed=st.integers(0, 5),
    window=st.integers(2 * TINY.maximum, 9000),
    kind=st.booleans(),
)
def test_cuts_depend_on_the_window(size: int, seed: int, window: int, kind: bool) -> None:
    data = builders.noise(size, seed) if kind else builders.prose(size, seed)
    assert [len(chunk) for chunk in windowed(data, TINY, window)] == lengths(data, TINY)


@pytest.mark.parametrize("window", [4 * MIB, 4 * MIB + 1, 5 * MIB - 3, 24 * MIB])
def test_cuts_of_a_large_file_depend_on_the_window(window: int) -> None:
    data = builders.noise(11 * MIB, 3) + bytes(6 * MIB) + builders.prose(5 * MIB, 3)
    parameters = ChunkerParameters()
    found = windowed(data, parameters, window)
    assert b"".join(found) == data
    assert [len(chunk) for chunk in found] == by_library(Compiled, data, parameters)


def test_chunk_is_given_before_it_is_certain() -> None:
    """Less than a maximum behind the start: the end of the window might not be the end of the chunk."""
    data = memoryview(builders.noise(10_000, 1))
    for size in range(0, 5000, 61):
        for chunk in cut(data[:size], TINY, is_last=False):
            assert len(chunk) <= TINY.maximum
        left = size - sum(len(chunk) for chunk in cut(data[:size], TINY, is_last=False))
        assert left < TINY.maximum


# Edits


def shared(before: bytes, after: bytes, parameters: ChunkerParameters) -> int:
    """How many bytes of `after` are in chunks that `before` does not have."""
    known = {bytes(chunk) for chunk in cut(memoryview(before), parameters, is_last=True)}
    return sum(len(c) for c in cut(memoryview(after), parameters, is_last=True) if bytes(c) not in known)


@pytest.mark.parametrize("position", [0, 1, 3 * MIB, 11 * MIB + 7, 24 * MIB])
@pytest.mark.parametrize("inserted", [1, 100, 1 * MIB])
def test_insertion_moves_all_cuts_behind_it(position: int, inserted: int) -> None:
    parameters = ChunkerParameters()
    before = builders.noise(24 * MIB, 4)
    after = before[:position] + builders.noise(inserted, 5) + before[position:]
    new = shared(before, after, parameters)
    assert inserted <= new <= inserted + 3 * parameters.maximum


@pytest.mark.parametrize("seed", range(5))
def test_deletion_or_change_moves_all_cuts_behind_it(seed: int) -> None:
    before = builders.noise(400_000, seed)
    for at, removed, put in itertools.product((0, 1000, 200_000), (0, 1, 5000), (b"", b"x" * 37)):
        after = before[:at] + put + before[at + removed :]
        assert shared(before, after, PUBLIC) <= len(put) + 4 * PUBLIC.maximum


# Parameters


@pytest.mark.parametrize(
    "values",
    [
        {"minimum": 63},
        {"minimum": 1024 * KIB, "average": 512 * KIB},
        {"average": 4 * MIB, "maximum": 2 * MIB},
        {"maximum": 17 * MIB},
        {"name": "buzhash"},
        {"average": "512"},
        {"seed": None},
        {"minimum": 0.5},
        {"normalization": 4},
        {"normalization": -1},
        {"minimum": 64, "average": 200, "maximum": 2048},
        {"minimum": 64, "average": 300, "maximum": 1000},
        {"minimum": 2 * MIB, "average": 3 * MIB, "maximum": 4 * MIB},
        {"average": 5 * MIB, "maximum": 8 * MIB},
        {"seed": -1},
        {"seed": 2**63},
    ],
)
def test_impossible_parameters_are_taken(values: dict[str, object]) -> None:
    with pytest.raises(FormatError) as caught:
        ChunkerParameters(**values)  # type: ignore[arg-type]
    builders.one_line(caught.value, "chunker")


@pytest.mark.parametrize(
    "parameters",
    [
        ChunkerParameters(64, 256, 1024),
        ChunkerParameters(1 * MIB, 4 * MIB, 16 * MIB),
        ChunkerParameters(64, 256, 16 * MIB, normalization=0),
        ChunkerParameters(256, 256, 1024, normalization=3, seed=2**63 - 1),
    ],
)
def test_parameters_at_the_limits_are_refused_by_the_library(parameters: ChunkerParameters) -> None:
    assert sum(lengths(bytes(50_000), parameters)) == 50_000
