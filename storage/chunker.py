"""Cutting large files by content: FastCDC 2020 with normalised chunking.

Source: Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication Based Storage Systems",
IEEE TPDS 31(9), 2020. The cut points come from `pyfastcdc`; this module adds windows, so that a file of any size
is cut with bounded memory and without copying what was cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

from pyfastcdc import FastCDC

from .errors import FormatError


@dataclass(frozen=True, slots=True)
class ChunkerParameters:
    """The parameters of a store's chunker, in bytes, as `lineart.json` records them."""

    minimum: int = 64 * 1024
    average: int = (
        256 * 1024
    )  # docs/decisions/0003: what an insertion costs, against the length of chunk lists
    maximum: int = 2 * 1024 * 1024
    normalization: int = 2
    seed: int = 0
    name: str = "fastcdc2020"

    def __post_init__(self) -> None:
        sizes = (self.minimum, self.average, self.maximum, self.normalization, self.seed)
        if self.name != "fastcdc2020" or not all(isinstance(size, int) for size in sizes):
            raise FormatError(f"chunker {self.name!r} {sizes}: expected 'fastcdc2020' with whole numbers")
        if not 64 <= self.minimum <= self.average <= self.maximum <= 16 * 1024 * 1024:
            raise FormatError(
                f"chunker sizes {sizes[:3]}: expected 64 <= minimum <= average <= maximum <= 16 MiB"
            )
        if self.minimum > 1024 * 1024 or not 256 <= self.average <= 4 * 1024 * 1024 or self.maximum < 1024:
            raise FormatError(
                f"chunker sizes {sizes[:3]}: expected a minimum of at most 1 MiB, an average between 256 bytes and"
                " 4 MiB and a maximum of at least 1 KiB"
            )
        if not 0 <= self.normalization <= 3 or not 0 <= self.seed < 1 << 63:
            raise FormatError(f"chunker normalization and seed {sizes[3:]}: expected 0 to 3 and 63 bits")


# A manifest line has about 100 bytes: one edit costs 64 KiB of 700 lines, not 512 KiB.
METADATA_CHUNKER = ChunkerParameters(minimum=16 * 1024, average=64 * 1024, maximum=256 * 1024)


def cut(window: memoryview, parameters: ChunkerParameters, *, is_last: bool) -> Iterator[memoryview]:
    """Cut `window` into chunks whose boundaries do not depend on where the window ends.

    A boundary is certain only when `parameters.maximum` bytes follow the chunk's start, or the file ends here
    (`is_last`). What stays uncut at the end belongs to the next window, which must start with it.

    >>> data = memoryview(bytes(range(256)) * 40_000)
    >>> chunks = list(cut(data, ChunkerParameters(), is_last=True))
    >>> sum(map(len, chunks)) == len(data), max(map(len, chunks)) <= ChunkerParameters().maximum
    (True, True)
    """
    chunker = FastCDC(
        parameters.average,
        min_size=parameters.minimum,
        max_size=parameters.maximum,
        normalized_chunking=cast(Literal[0, 1, 2, 3], parameters.normalization),
        seed=parameters.seed,
    )
    for chunk in chunker.cut_buf(window):
        if not is_last and len(window) - chunk.offset < parameters.maximum:
            return
        yield window[chunk.offset : chunk.offset + chunk.length]
