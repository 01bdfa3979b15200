"""The numbers of the curves are scikit-learn's, bit for bit where both add in the same order."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics

from lineart.tracking.plot import curves

SEEDS = range(8)


def sample(seed: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Labels with scores that know something of them; every second one has many ties."""
    random = np.random.default_rng(seed)
    count = int(random.integers(5, 400))
    positive = random.random(count) < random.uniform(0.1, 0.9)
    positive[:2] = [True, False]
    scores = random.normal(size=count) + positive
    return positive, np.round(scores, 1 if seed % 2 else 12)


@pytest.mark.parametrize("seed", SEEDS)
def test_roc_is_that_of_scikit_learn(seed: int) -> None:
    positive, scores = sample(seed)
    fpr, tpr, thresholds = metrics.roc_curve(positive, scores)
    found = curves.roc(positive, scores)
    np.testing.assert_array_equal(found.fpr, fpr)
    np.testing.assert_array_equal(found.tpr, tpr)
    np.testing.assert_array_equal(found.thresholds, thresholds)
    assert found.auc == pytest.approx(metrics.roc_auc_score(positive, scores), abs=1e-15)


@pytest.mark.parametrize("seed", SEEDS)
def test_precision_and_recall_are_those_of_scikit_learn(seed: int) -> None:
    positive, scores = sample(seed)
    precision, recall, thresholds = metrics.precision_recall_curve(positive, scores)
    found = curves.precision_recall(positive, scores)
    np.testing.assert_array_equal(found.precision[::-1], precision[:-1])  # theirs ends with a made-up (0, 1)
    np.testing.assert_array_equal(found.recall[::-1], recall[:-1])
    np.testing.assert_array_equal(found.thresholds[::-1], thresholds)
    theirs = metrics.average_precision_score(positive, scores)
    assert found.average_precision == pytest.approx(theirs, abs=1e-15)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_confusion_is_that_of_scikit_learn(classes: int) -> None:
    random = np.random.default_rng(classes)
    true, predicted = random.integers(0, classes, (2, 300))
    theirs = metrics.confusion_matrix(true, predicted, labels=range(classes))
    np.testing.assert_array_equal(curves.confusion(true, predicted, classes), theirs)


def test_equal_scores_are_one_threshold() -> None:
    found = curves.roc(np.array([True, False, True, False]), np.full(4, 0.5))
    assert found.fpr.tolist() == [0, 1]
    assert found.tpr.tolist() == [0, 1]
    assert found.auc == 0.5


def test_perfect_and_reversed_scores_have_areas_one_and_zero() -> None:
    positive = np.array([False, False, True, True])
    scores = np.array([0.1, 0.2, 0.8, 0.9])
    assert curves.roc(positive, scores).auc == 1.0
    assert curves.roc(positive, -scores).auc == 0.0
    assert curves.precision_recall(positive, scores).average_precision == 1.0


@pytest.mark.parametrize("seed", SEEDS)
def test_interpolated_precision_is_the_best_at_that_recall_or_more(seed: int) -> None:
    positive, scores = sample(seed)
    found = curves.precision_recall(positive, scores)
    recall, precision = curves.interpolated(found, 11)
    for level, height in zip(recall, precision, strict=True):
        assert height == found.precision[found.recall >= level - 1e-12].max()


def test_level_equal_to_a_recall_is_not_missed_by_its_last_bit() -> None:
    positive = np.repeat([True, False], [20, 1])
    found = curves.precision_recall(positive, -np.arange(21.0))
    _, precision = curves.interpolated(found, 21)
    assert precision.tolist() == [1.0] * 21


def test_macro_average_keeps_vertical_rises_and_has_the_mean_of_the_areas() -> None:
    three = [curves.roc(*sample(seed)) for seed in (1, 2, 3)]
    found = curves.average_roc(three)
    assert found.auc == pytest.approx(np.mean([one.auc for one in three]), abs=1e-12)
    assert (found.fpr[0], found.tpr[0], found.fpr[-1], found.tpr[-1]) == (0, 0, 1, 1)


@pytest.mark.parametrize("noise", [0.0, 0.3, 3.0])
def test_thinned_curves_keep_their_areas_within_the_tolerance(noise: float) -> None:
    random = np.random.default_rng(5)
    positive = random.random(1_000_000) < 0.3
    scores = random.normal(size=1_000_000) * (noise + 0.5) + positive
    roc = curves.roc(positive, scores)
    kept = curves.thinned(roc.fpr, roc.tpr)
    assert kept[0] == 0
    assert kept[-1] == len(roc.fpr) - 1
    assert len(kept) <= 4_000
    assert abs(curves.trapezoid(roc.fpr[kept], roc.tpr[kept]) - roc.auc) < curves.TOLERANCE

    found = curves.precision_recall(positive, scores)
    kept = curves.thinned(found.recall, found.precision)
    steps = np.diff(found.recall[kept], prepend=0.0)
    assert len(kept) < 30_000
    assert abs((steps * found.precision[kept]).sum() - found.average_precision) < curves.TOLERANCE


def test_no_dropped_point_is_farther_than_the_tolerance_from_a_kept_one() -> None:
    random = np.random.default_rng(6)
    positive = random.random(50_000) < 0.5
    roc = curves.roc(positive, random.normal(size=50_000) + positive)
    kept = curves.thinned(roc.fpr, roc.tpr)
    before = kept[np.searchsorted(kept, np.arange(len(roc.fpr)), side="right") - 1]
    assert (roc.fpr - roc.fpr[before]).max() <= curves.TOLERANCE
    assert (roc.tpr - roc.tpr[before]).max() <= curves.TOLERANCE


def test_short_curve_is_not_thinned() -> None:
    x = np.linspace(0, 1, curves.THIN_ABOVE)
    assert len(curves.thinned(x, x)) == curves.THIN_ABOVE
