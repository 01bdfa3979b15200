"""Labels and scores as numpy arrays, checked: lists, tuples, numpy, pandas and tensors come in.

Loaded by the functions that compute something, never at import: it needs numpy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...storage.errors import UsageError

try:
    import numpy as np
    from numpy.typing import NDArray
except ImportError as error:  # pragma: no cover - numpy comes with the extra
    raise UsageError('charts that compute need the package numpy: pip install "lineart[media]"') from error

_MISSING = ("NAType", "NaTType", "NoneType")


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes of a problem, in the order of the score columns."""

    names: tuple[str, ...]
    values: tuple[Any, ...]  # what stands for each in y_true, as far as it is known; else its index
    codes: tuple[NDArray[np.intp], ...]  # the class of each sample, for each array of labels given

    def find(self, wanted: Any) -> int:
        """The position of a class named by its value or its name. Raises: UsageError."""
        value = wanted.item() if isinstance(wanted, np.generic) else wanted
        for known in (self.values, self.names):
            if value in known:
                return known.index(value)
        raise UsageError(f"classes_to_plot: {value!r} is no class; the classes are {list(self.names)[:20]}")


def as_array(value: Any, name: str) -> NDArray[Any]:
    """`value` as an array with at least one element. Raises: UsageError."""
    if value is None:
        raise UsageError(f"{name} is missing; expected one entry for each sample")
    if isinstance(value, (str, bytes)) or not (hasattr(value, "__iter__") or hasattr(value, "__array__")):
        raise UsageError(
            f"{name} is {type(value).__name__} {str(value)[:40]!r}; expected one entry for each sample"
        )
    if hasattr(value, "detach"):  # torch: on a device, in a graph, or of a type that numpy has not
        value = value.detach().cpu()
        try:
            value = value.numpy()
        except TypeError:
            value = value.float().numpy()
    elif hasattr(value, "to_numpy"):
        value = value.to_numpy()
    elif not hasattr(value, "__array__"):
        value = [one.tolist() if hasattr(one, "detach") else one for one in value]
        kinds = {isinstance(one, str) for one in value if one is not None}
        if len(kinds) > 1:
            raise UsageError(f"{name} mixes text with other values; expected labels of one kind")
    try:
        array = np.asarray(value)
    except ValueError:
        raise UsageError(f"{name} has rows of different lengths; expected the same for each sample") from None
    if array.size == 0:
        raise UsageError(f"{name} is empty; expected at least one sample")
    return array


def as_labels(value: Any, name: str) -> NDArray[Any]:
    """Class labels of shape (samples,): integers, booleans or text. Raises: UsageError."""
    array = as_array(value, name)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise UsageError(f"{name} has shape {array.shape}; expected (samples,), the class of each")
    if array.dtype.kind == "O":
        gaps = [at for at, one in enumerate(array) if _is_gap(one)]
        _refuse_gaps(name, gaps, len(array))
        if len({isinstance(one, str) for one in array}) > 1:
            raise UsageError(f"{name} mixes text with other values; expected labels of one kind")
        array = np.asarray(array.tolist())
    if array.dtype.kind == "f":
        _refuse_gaps(name, np.flatnonzero(~np.isfinite(array)).tolist(), len(array))
        broken = array[array != np.floor(array)]
        if broken.size:
            raise UsageError(
                f"{name} holds {broken[0].item()}; expected classes: whole numbers, booleans or text"
            )
        array = array.astype(np.int64)
    if array.dtype.kind not in "biuU":
        raise UsageError(
            f"{name} holds {array.dtype} values; expected classes: whole numbers, booleans or text"
        )
    return array


def as_scores(value: Any, name: str, samples: int) -> NDArray[np.float64]:
    """Scores of shape (samples,) or (samples, classes), finite; (samples, 1) becomes (samples,). Raises: UsageError."""
    array = as_array(value, name)
    if array.dtype.kind == "O":
        gaps = [at for at, one in np.ndenumerate(array) if type(one).__name__ in _MISSING]
        _refuse_gaps(name, [at[0] for at in gaps], len(array))
    try:
        scores = array.astype(np.float64) if array.dtype.kind in "biufO" else None
    except (TypeError, ValueError):
        scores = None
    if scores is None:
        raise UsageError(f"{name} holds {array.dtype} values; expected numbers, one score for each class")
    if scores.ndim == 2 and scores.shape[1] == 1:
        scores = scores[:, 0]
    if scores.ndim not in (1, 2):
        raise UsageError(f"{name} has shape {scores.shape}; expected (samples, classes) or (samples,)")
    if len(scores) != samples:
        raise UsageError(f"{name} has {len(scores)} rows for {samples} entries in y_true; expected as many")
    finite = np.isfinite(scores)
    _refuse_gaps(name, np.argwhere(~finite)[:, 0].tolist() if not finite.all() else [], len(scores))
    return scores


def match_classes(
    labels: Sequence[NDArray[Any]], count: int | None, names: Any, *, naming: str = "labels"
) -> Classes:
    """Which class each label is, of `count` classes (the score columns) with `names`; either may be None.

    Labels that are all among the names are these. Else whole numbers from 0 to count - 1 are positions; and when as
    many different labels occur as there are classes, they are the classes in sorted order, which is how scikit-learn
    orders its columns. Without names, sorted order comes before positions.
    Raises: UsageError when none of these fits.
    """
    found, inverse = np.unique(
        np.concatenate([_comparable(one, labels) for one in labels]), return_inverse=True
    )
    inverse = inverse.reshape(-1)
    values = found.tolist()
    given = None if names is None else [_item(name) for name in names]
    if given is not None:
        if len({str(name) for name in given}) != len(given):
            raise UsageError(f"{naming} {given} names a class twice; expected different names")
        if count is not None and len(given) != count:
            raise UsageError(f"{naming} has {len(given)} names for {count} score columns; expected as many")
        count = len(given)
    count = len(values) if count is None else count
    positions = _positions(values, count, given)
    if positions is None:
        raise UsageError(
            f"y_true holds the classes {values[:20]}, which do not fit {count} score columns or names; "
            f"expected numbers from 0 to {count - 1}, {count} different classes, or {naming}= with these values"
        )
    by_position: list[Any] = list(range(count))
    for position, value in zip(positions, values, strict=True):
        by_position[position] = value
    shown = by_position if given is None else given
    codes = np.asarray(positions, dtype=np.intp)[inverse]
    ends = np.cumsum([len(one) for one in labels])
    return Classes(tuple(map(str, shown)), tuple(by_position), tuple(np.split(codes, ends[:-1])))


def _positions(values: list[Any], count: int, given: list[Any] | None) -> list[int] | None:
    whole = all(isinstance(value, int) for value in values)
    in_range = whole and all(0 <= value < count for value in values)
    if given is not None and all(value in given for value in values):
        return [given.index(value) for value in values]
    if given is not None and in_range:
        return [int(value) for value in values]
    if len(values) == count:
        return list(range(count))
    return [int(value) for value in values] if in_range else None


def _comparable(array: NDArray[Any], labels: Sequence[NDArray[Any]]) -> NDArray[Any]:
    kinds = {one.dtype.kind == "U" for one in labels}
    if len(kinds) > 1:
        raise UsageError("y_true and preds hold text and numbers; expected labels of one kind in both")
    return array


def _item(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _is_gap(value: Any) -> bool:
    return type(value).__name__ in _MISSING or (isinstance(value, float) and math.isnan(value))


def _refuse_gaps(name: str, gaps: Sequence[Any], count: int) -> None:
    if len(gaps):
        raise UsageError(
            f"{name} is missing or not finite in {len(set(gaps))} of {count} samples, the first at {gaps[0]}; "
            "drop or fill them first"
        )
