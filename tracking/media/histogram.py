"""`Histogram`: how often values fall into which bin. It has no file; counts and edges stand in the row."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from ...artifacts.recorded import shown
from ...storage.errors import IntegrityError, UsageError
from ..values import plain
from .base import FileSink, FileSource, Media
from .optional import need
from .pixels import array_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_BINS = 512


class Histogram(Media):
    """Counts in bins of equal width, from values or from what ``numpy.histogram`` returned.

    Values that are not finite have no place on the axis: they are counted apart, in ``nan_count``,
    ``posinf_count`` and ``neginf_count``.

    >>> histogram = Histogram([1, 1, 2, 4, float("nan")], num_bins=3)
    >>> histogram.histogram, histogram.bins, histogram.nan_count
    ([2, 1, 1], [1.0, 2.0, 3.0, 4.0], 1)
    """

    kind = "histogram"

    def __init__(self, sequence: Any = None, np_histogram: Any = None, num_bins: int = 64) -> None:
        """`num_bins` is 1 to 512. Raises: UsageError for what is neither numbers nor a histogram."""
        self.nan_count = self.posinf_count = self.neginf_count = 0
        self.histogram: list[int | float]
        self.bins: list[float]
        if (sequence is None) == (np_histogram is None):
            raise UsageError("Histogram: give either values, or np_histogram=numpy.histogram(values)")
        if np_histogram is not None:
            self.histogram, self.bins = _checked(np_histogram)
            return
        if (
            isinstance(num_bins, bool)
            or not hasattr(num_bins, "__index__")
            or not 1 <= int(num_bins) <= MAX_BINS
        ):
            raise UsageError(f"Histogram num_bins {num_bins!r}: expected 1 to {MAX_BINS}")
        np = need("numpy", "Histogram")
        if not hasattr(sequence, "__array__") and not hasattr(sequence, "__len__"):
            sequence = list(sequence)  # a generator, a dict view
        values = array_of(sequence if _size(sequence) else [0.0][:0], "Histogram").astype(np.float64).ravel()
        finite = np.isfinite(values)
        if not finite.all():
            self.nan_count = int(np.isnan(values).sum())
            self.posinf_count = int(np.isposinf(values).sum())
            self.neginf_count = int(np.isneginf(values).sum())
            values = values[finite]
        counts, edges = _counted(values, int(num_bins))
        self.histogram, self.bins = counts.tolist(), edges.tolist()

    def to_value(self, sink: FileSink) -> dict[str, Any]:
        """The counts and edges as JSON; nothing is written."""
        value: dict[str, Any] = {"_type": self.kind, "values": self.histogram, "bins": self.bins}
        for name in ("nan_count", "posinf_count", "neginf_count"):
            if getattr(self, name):
                value[name] = getattr(self, name)
        checked: dict[str, Any] = plain(value, "histogram")
        return checked

    @classmethod
    def from_value(cls, value: Mapping[str, Any], source: FileSource) -> Self:
        """The histogram whose value this is. Raises: IntegrityError."""
        try:
            made = cls(np_histogram=(shown(value["values"]), shown(value["bins"])))
        except (KeyError, TypeError, UsageError) as error:
            raise IntegrityError(f"histogram value: {error}") from error
        for name in ("nan_count", "posinf_count", "neginf_count"):
            setattr(made, name, int(value.get(name, 0)))
        return made

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if isinstance(other, Histogram) else NotImplemented

    def __hash__(self) -> int:
        return hash((tuple(self.histogram), tuple(self.bins)))

    def __repr__(self) -> str:
        return f"<Histogram {len(self.histogram)} bins, {self.bins[0]:g} to {self.bins[-1]:g}>"


def _size(sequence: Any) -> bool:
    return not hasattr(sequence, "__len__") or getattr(sequence, "ndim", 1) == 0 or len(sequence) > 0


def _counted(values: NDArray[Any], count: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Counts and edges of finite values, also where they are too near or too far for ``numpy.histogram``."""
    np = need("numpy", "Histogram")
    if not values.size:
        return np.zeros(count, np.int64), np.linspace(0.0, 1.0, count + 1)
    low, high = float(values.min()), float(values.max())
    if max(abs(low), abs(high)) > 1e307:  # quarters, of which differences and products are finite
        counts, edges = _counted(values / 4, count)
        largest = float(np.finfo(np.float64).max)
        return counts, np.clip(edges, -largest / 4, largest / 4) * 4
    try:
        counts, edges = np.histogram(values, bins=count)
        if (np.diff(edges) > 0).all():
            return counts, edges
    except ValueError:
        pass  # so near to each other that floats have no room for the edges: one bin
    if low == high:
        low, high = np.nextafter(low, -np.inf), np.nextafter(high, np.inf)
    return np.array([values.size]), np.array([low, high])


def _checked(given: Any) -> tuple[list[int | float], list[float]]:
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise UsageError("Histogram np_histogram: expected (counts, edges), what numpy.histogram returns")
    counts, edges = (list(part.tolist() if hasattr(part, "tolist") else part) for part in given)
    if len(edges) != len(counts) + 1 or not counts:
        raise UsageError(
            f"Histogram np_histogram: {len(counts)} counts and {len(edges)} edges; expected one edge more than counts"
        )
    if len(counts) > MAX_BINS:
        raise UsageError(f"Histogram np_histogram: {len(counts)} bins; expected at most {MAX_BINS}")
    numbers = (int, float)
    if not all(isinstance(item, numbers) and math.isfinite(item) for item in [*counts, *edges]):
        raise UsageError("Histogram np_histogram: counts and edges are finite numbers")
    if any(b < a for a, b in itertools.pairwise(edges)):
        raise UsageError("Histogram np_histogram: edges must rise")
    return counts, [float(edge) for edge in edges]
