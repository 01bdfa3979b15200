"""Digests of the blocks of a file: what lets a range of a Parquet file be proved without reading the whole.

Parquet files of a history are read in ranges, by DuckDB, which compares no checksums. The marker of a part has the
BLAKE3 of each 256 KiB of its files; whoever reads a range reads the blocks that it touches, and compares.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...storage.digest import digest_of, is_hex_digest
from ...storage.errors import IntegrityError

BLOCK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class BlockDigests:
    """The length of a file and the digests of its blocks, in order; all but the last have `BLOCK_BYTES`."""

    size_bytes: int
    blocks: tuple[str, ...]

    @classmethod
    def of_file(cls, path: Path) -> BlockDigests:
        """Read a file. Raises: OSError."""
        size_bytes, blocks = 0, []
        buffer = bytearray(BLOCK_BYTES)
        with path.open("rb", buffering=0) as file:
            while count := _fill(file.fileno(), buffer):
                blocks.append(digest_of(memoryview(buffer)[:count]).hex())
                size_bytes += count
        return cls(size_bytes, tuple(blocks))

    def record(self) -> dict[str, Any]:
        """As the marker has it."""
        return {"block_bytes": BLOCK_BYTES, "blocks": list(self.blocks), "size_bytes": self.size_bytes}

    @classmethod
    def of_record(cls, found: Mapping[str, Any]) -> BlockDigests:
        """Raises: ValueError, KeyError, TypeError."""
        size_bytes, blocks = found["size_bytes"], tuple(found["blocks"])
        if found["block_bytes"] != BLOCK_BYTES or not isinstance(size_bytes, int):
            raise ValueError(f"blocks of {found['block_bytes']!r} bytes, expected {BLOCK_BYTES}")
        if len(blocks) != -(-size_bytes // BLOCK_BYTES) or not all(map(is_hex_digest, blocks)):
            raise ValueError("its digests are not those of a file of that length")
        return cls(size_bytes, blocks)

    def check(self, data: memoryview, start: int) -> None:
        """Compare `data`, which begins at a block and ends with one. Raises: IntegrityError."""
        for at in range(0, len(data), BLOCK_BYTES):
            number = (start + at) // BLOCK_BYTES
            if (
                number >= len(self.blocks)
                or digest_of(data[at : at + BLOCK_BYTES]).hex() != self.blocks[number]
            ):
                raise IntegrityError(f"its bytes from {start + at} on are not those that were written")

    def check_file(self, path: Path) -> None:
        """Read and compare a whole file. Raises: IntegrityError, OSError."""
        size_bytes = path.stat().st_size
        if size_bytes != self.size_bytes:
            raise IntegrityError(f"it has {size_bytes} bytes, expected {self.size_bytes}")
        start, buffer = 0, bytearray(BLOCK_BYTES)
        with path.open("rb", buffering=0) as file:
            while count := _fill(file.fileno(), buffer):
                self.check(memoryview(buffer)[:count], start)
                start += count


def _fill(descriptor: int, buffer: bytearray) -> int:
    """Read until `buffer` is full or the file ends; how many bytes."""
    view = memoryview(buffer)
    while view and (count := os.readv(descriptor, [view])):
        view = view[count:]
    return len(buffer) - len(view)
