"""The histogram of a torch tensor, counted where the tensor lies; only the counts leave its device."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .media.histogram import Histogram

BINS = 64

# `histc` counts in the tensor's own type, and single precision stops counting at 2**24. Reading in slices of that
# many elements also bounds what the conversion of half precision takes: 64 MB.
_SLICE = 1 << 24


@dataclass(frozen=True, slots=True)
class TensorHistogram:
    """Counts of the finite values between `edges` (one more than counts), and how many values are not finite."""

    counts: list[int]
    edges: list[float]
    nan: int = 0
    positive_infinite: int = 0
    negative_infinite: int = 0

    def as_media(self) -> Histogram:
        """The value to log."""
        from .media.histogram import Histogram

        made = Histogram(np_histogram=(self.counts, self.edges))
        made.nan_count = self.nan
        made.posinf_count, made.neginf_count = self.positive_infinite, self.negative_infinite
        return made


def tensor_histogram(tensor: Any, bins: int = BINS) -> TensorHistogram:
    """Count a tensor's values in `bins` equal parts of their range; of complex values, the magnitudes.

    Values that a sparse tensor leaves out are zeros, and of a sharded one this process's part is counted. Without
    any finite value the counts are 0, between 0 and 1.
    """
    torch = sys.modules["torch"]
    with torch.no_grad():
        values, left_out = _stored(tensor.detach())
        low, high, odd = _range(torch, values)
        if left_out:
            low, high = min(low, 0.0), max(high, 0.0)
        if low > high:
            return TensorHistogram([0] * bins, _edges(0.0, 1.0, bins), *odd)
        if low == high:
            half = max(0.5, abs(low) * 1e-6)
            counts = [0] * bins
            counts[bins // 2] = values.numel() - sum(odd) + left_out
            return TensorHistogram(counts, _edges(low - half, low + half, bins), *odd)
        counts = _count(torch, values, low, high, bins, clean=not any(odd))
        if left_out:
            counts[min(int((0.0 - low) / (high - low) * bins), bins - 1)] += left_out
        return TensorHistogram(counts, _edges(low, high, bins), *odd)


def _stored(tensor: Any) -> tuple[Any, int]:
    """The values that lie in memory here, flat, and how many zeros a sparse tensor leaves out."""
    to_local = getattr(tensor, "to_local", None)
    if callable(to_local):
        tensor = to_local()
    left_out = 0
    if str(tensor.layout) != "torch.strided":
        size = tensor.numel()
        tensor = tensor.to_sparse().coalesce().values()
        left_out = size - tensor.numel()
    if tensor.is_complex():
        tensor = tensor.abs()
    return tensor.reshape(-1), left_out


def _range(torch: Any, values: Any) -> tuple[float, float, tuple[int, int, int]]:
    """Least and greatest finite value (inf and -inf without any), and how many are NaN, inf and -inf."""
    low, high, odd = math.inf, -math.inf, [0, 0, 0]
    for part in values.split(_SLICE):
        if not part.numel():
            continue
        number = _counted(part)
        ends = torch.stack(torch.aminmax(number)).tolist()
        if not all(map(math.isfinite, ends)):  # both pass NaN on, so the rare case needs no pass of its own
            for place, found in enumerate((number.isnan(), number.isposinf(), number.isneginf())):
                odd[place] += int(found.sum())
            number = number[number.isfinite()]
            if not number.numel():
                continue
            ends = torch.stack(torch.aminmax(number)).tolist()
        low, high = min(low, ends[0]), max(high, ends[1])
    return low, high, (odd[0], odd[1], odd[2])


def _count(torch: Any, values: Any, low: float, high: float, bins: int, *, clean: bool) -> list[int]:
    total = None
    for part in values.split(_SLICE):
        number = _counted(part)
        if not clean:
            number = number[number.isfinite()]
        offset, scale = 0.0, 1.0
        if not 1e-30 < high - low < 1e38:  # single precision cannot divide such a range
            scale = max(abs(low), abs(high))
            number, offset = number.double() / scale - low / scale, low / scale
        counts = torch.histc(number, bins, low / scale - offset, high / scale - offset).long()
        total = counts if total is None else total + counts
    return [0] * bins if total is None else [int(count) for count in total.tolist()]


def _counted(part: Any) -> Any:
    """`part` in a type that every device can count in."""
    return part if str(part.dtype) in ("torch.float32", "torch.float64") else part.float()


def _edges(low: float, high: float, bins: int) -> list[float]:
    """Evenly spaced, also where the difference of the ends would overflow."""
    width = high / bins - low / bins
    return [min(low + width * number, high) for number in range(bins)] + [high]
