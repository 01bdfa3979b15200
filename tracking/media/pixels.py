"""Arrays and tensors as 8-bit pixels, by one rule for pictures and videos.

=========================================  =====================================================
values                                     become
=========================================  =====================================================
bool                                       0 and 255
whole numbers within 0…255                 themselves
fractions within 0…1                       × 255
anything within −1…1, some below 0         −1 → 0, 1 → 255
fractions within 0…255                     themselves, rounded
anything else                              stretched: the smallest → 0, the largest → 255
NaN                                        0; infinities take the nearest end of the finite values
=========================================  =====================================================

Nothing is clipped, and 8-bit pixels are never changed: a dark picture stays dark. With ``normalize=False`` numbers
are taken for 0…255 as they are; what lies outside is clipped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...storage.errors import UsageError
from .optional import comes_from, need

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray


def is_tensor(value: object) -> bool:
    """Whether it is a torch tensor, whose channels come first."""
    return comes_from(value, "torch") and hasattr(value, "detach")


def array_of(value: Any, what: str) -> NDArray[Any]:
    """A numpy array of numbers from an array, a tensor of any library and device, or nested lists.

    Raises: UsageError for what holds no numbers.
    """
    np = need("numpy", what)
    if is_tensor(value):
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":  # numpy has no such type
            value = value.float()
        value = value.numpy()
    try:
        array: NDArray[Any] = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{what}: {type(value).__name__} is not an array of numbers: {error}") from error
    if array.dtype.kind not in "buif":
        raise UsageError(
            f"{what}: {type(value).__name__} holds {array.dtype}; expected numbers (bool, int or float)"
        )
    return array


def to_uint8(array: NDArray[Any], *, normalize: bool = True) -> NDArray[numpy.uint8]:
    """A copy as 8-bit pixels, by the rule at the head of this module."""
    np = need("numpy", "pixels")
    if array.dtype == np.uint8:
        same: NDArray[numpy.uint8] = np.array(array)
        return same
    if array.dtype == np.bool_:
        black_and_white: NDArray[numpy.uint8] = array.astype(np.uint8) * np.uint8(255)
        return black_and_white
    fractions = array.dtype.kind == "f"
    values = array.astype(np.float64)
    if fractions:
        finite = values[np.isfinite(values)]
        low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
        values = np.nan_to_num(values, nan=min(max(low, 0.0), high), posinf=high, neginf=low)
        missing = np.isnan(array)
    else:
        low, high = (values.min(), values.max()) if values.size else (0.0, 0.0)
        missing = None
    if not normalize:
        pixels = np.clip(values, 0, 255)
    elif low >= 0 and high <= 1 and fractions:
        pixels = values * 255
    elif low < 0 and low >= -1 and high <= 1:
        pixels = (values + 1) * 127.5
    elif low >= 0 and high <= 255:
        pixels = values
    elif low == high:
        pixels = np.full(values.shape, 255.0 if high > 0 else 0.0)
    else:
        scale = max(abs(low), abs(high))  # first, so that the difference of huge values is finite
        pixels = (values / scale - low / scale) / (high / scale - low / scale) * 255
    rounded: NDArray[numpy.uint8] = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    if missing is not None:
        rounded[missing] = 0
    return rounded


def grid(pictures: NDArray[numpy.uint8]) -> NDArray[numpy.uint8]:
    """Pictures of one size (count, …, height, width, channels) side by side in a nearly square grid; the rest is 0."""
    np = need("numpy", "a grid of pictures")
    count = len(pictures)
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    padding = np.zeros((rows * columns - count, *pictures.shape[1:]), np.uint8)
    cells = np.concatenate([pictures, padding])
    lines = [np.concatenate(cells[row * columns : (row + 1) * columns], axis=-2) for row in range(rows)]
    whole: NDArray[numpy.uint8] = np.concatenate(lines, axis=-3)
    return whole
