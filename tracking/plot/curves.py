"""The numbers behind the charts of classifiers: ROC, precision and recall, their areas, and thinner curves.

Scores are any real numbers, higher for the positive class; samples with equal scores are one threshold.
Loaded by the functions that compute something, never at import: it needs numpy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

THIN_ABOVE = (
    2000  # points of one curve: more than pixels show, and what a page with ten of them still draws at once
)
TOLERANCE = 1e-3  # of a thinned curve: its area, and the distance of any dropped point in either direction


@dataclass(frozen=True, slots=True)
class Roc:
    """True over false positive rate, from (0, 0) to (1, 1); `thresholds` fall, the first is +inf."""

    fpr: Floats
    tpr: Floats
    thresholds: Floats
    auc: float


@dataclass(frozen=True, slots=True)
class PrecisionRecall:
    """Precision over rising recall; the last threshold's point first, ends with the lowest threshold (recall 1)."""

    precision: Floats
    recall: Floats
    thresholds: Floats
    average_precision: float


def counts_at_thresholds(positive: NDArray[np.bool_], scores: Floats) -> tuple[Floats, Floats, Floats]:
    """True positives, false positives and the threshold, for each different score from the highest down."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.flatnonzero(np.append(np.diff(ranked) != 0, True))  # of each group of equal scores
    true = np.cumsum(positive[order], dtype=np.float64)[last]
    return true, last + 1.0 - true, ranked[last]


def roc(positive: NDArray[np.bool_], scores: Floats) -> Roc:
    """The receiver operating characteristic; expects at least one positive and one negative sample.

    Algorithms 1 and 2 of Fawcett, "An introduction to ROC analysis", Pattern Recognition Letters 27 (2006) 861-874.
    Points between two equal steps are left out: they change nothing.
    """
    true, false, thresholds = counts_at_thresholds(positive, scores)
    if len(true) > 2:
        bend = (np.diff(false, 2) != 0) | (np.diff(true, 2) != 0)
        kept = np.flatnonzero(np.concatenate(([True], bend, [True])))
        true, false, thresholds = true[kept], false[kept], thresholds[kept]
    fpr = np.concatenate(([0.0], false)) / false[-1]
    tpr = np.concatenate(([0.0], true)) / true[-1]
    return Roc(fpr, tpr, np.concatenate(([np.inf], thresholds)), trapezoid(fpr, tpr))


def trapezoid(x: Floats, y: Floats) -> float:
    """The area under the straight lines through the points, `x` rising."""
    return float((np.diff(x) * (y[1:] + y[:-1]) / 2.0).sum())


def precision_recall(positive: NDArray[np.bool_], scores: Floats) -> PrecisionRecall:
    """Precision and recall at each threshold, and the average precision; expects at least one positive sample.

    The average precision is the sum over the thresholds of precision times the gain in recall, without interpolation:
    Manning, Raghavan and Schuetze, "Introduction to Information Retrieval" (2008), section 8.4.
    """
    true, false, thresholds = counts_at_thresholds(positive, scores)
    precision = true / (true + false)
    recall = true / true[-1]
    average = float((np.diff(recall, prepend=0.0) * precision).sum())
    return PrecisionRecall(precision, recall, thresholds, average)


def interpolated(curve: PrecisionRecall, levels: int) -> tuple[Floats, Floats]:
    """Recall at `levels` equal distances from 0 to 1, and the best precision at that recall or a higher one.

    This is the interpolated precision of Manning, Raghavan and Schuetze (2008), section 8.4; they use 11 levels.
    """
    best = np.maximum.accumulate(curve.precision[::-1])[::-1]
    wanted = np.linspace(0.0, 1.0, levels)
    # A recall of 3/20 is the level 0.15, though the two differ in the last bit.
    at = np.searchsorted(curve.recall, wanted - 1e-12, side="left")
    return wanted, best[at]


def average_roc(curves: list[Roc]) -> Roc:
    """The macro average: the mean of the true positive rates at each false positive rate that occurs.

    Vertical averaging, Fawcett (2006), section 8.1. Where a curve rises straight up, both ends of the rise are kept,
    so the area is the mean of the areas. Thresholds are NaN: the curves have different ones.
    """
    at = np.unique(np.concatenate([curve.fpr for curve in curves]))
    low, high = np.zeros(len(at)), np.zeros(len(at))
    for curve in curves:
        first = np.searchsorted(curve.fpr, at, side="left")
        last = np.searchsorted(curve.fpr, at, side="right") - 1
        between = np.interp(at, curve.fpr, curve.tpr)
        low += np.where(curve.fpr[first] == at, curve.tpr[first], between)
        high += np.where(curve.fpr[last] == at, curve.tpr[last], between)
    fpr = np.repeat(at, 2)
    tpr = np.column_stack([low, high]).reshape(-1) / len(curves)
    return Roc(fpr, tpr, np.full(len(fpr), np.nan), trapezoid(fpr, tpr))


def confusion(true: NDArray[np.intp], predicted: NDArray[np.intp], classes: int) -> NDArray[np.int64]:
    """Samples by true class (row) and predicted class (column); figure 1 of Fawcett (2006), for any classes."""
    cells = np.bincount(true * classes + predicted, minlength=classes * classes)
    return cells.reshape(classes, classes).astype(np.int64)


def thinned(x: Floats, y: Floats) -> NDArray[np.intp]:
    """The points to draw: all up to `THIN_ABOVE`, else the ends and as many as `TOLERANCE` asks for; `x` rises.

    The points between two neighbours that are kept lie in a box no wider and no higher than the tolerance t, so a
    straight line or a step between the two errs by at most t times its width: the area under the curve by at most t
    in all, and by t/2 where `y` rises too.
    """
    if len(x) <= THIN_ABOVE:
        return np.arange(len(x), dtype=np.intp)
    kept = [0]
    start, window = 0, 64
    while start < len(x) - 1:
        window = max(64, window)
        end = min(start + window, len(x))
        part = y[start:end]
        height = np.maximum.accumulate(part) - np.minimum.accumulate(part)
        outside = (x[start:end] - x[start] > TOLERANCE) | (height > TOLERANCE)
        inside = int(outside.argmax()) if outside.any() else len(part)
        if inside == len(part) and end < len(x):
            window *= 4
            continue
        start += max(1, inside - 1)
        window = 2 * inside
        kept.append(start)
    return np.asarray(kept, dtype=np.intp)
