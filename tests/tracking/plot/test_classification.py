from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from lineart.storage.errors import UsageError
from lineart.tracking import plot

TRUE = [0, 0, 1, 1, 2, 2, 2]
PROBAS = [
    [0.8, 0.1, 0.1],
    [0.3, 0.4, 0.3],
    [0.2, 0.7, 0.1],
    [0.3, 0.3, 0.4],
    [0.1, 0.1, 0.8],
    [0.4, 0.2, 0.4],
    [0.0, 0.5, 0.5],
]


class Tensor:
    """What numpy cannot read without help: a tensor on a device, in a graph, of a type numpy lacks."""

    def __init__(self, values: Any, *, known: bool = True) -> None:
        self.values, self.known = values, known

    def __iter__(self) -> Any:
        return iter(self.values)

    def __array__(self, *_: Any) -> Any:
        raise TypeError("can't convert: call detach() and cpu() first")

    def detach(self) -> Tensor:
        return self

    def cpu(self) -> Tensor:
        return self

    def float(self) -> Tensor:
        return Tensor(self.values)

    def numpy(self) -> Any:
        if not self.known:
            raise TypeError("Got unsupported ScalarType BFloat16")
        return np.asarray(self.values)


def counts(chart: plot.Chart) -> dict[tuple[str, str], int]:
    return {(true, guess): count for true, guess, count in chart.table.data}


def areas(chart: plot.Chart) -> dict[str, float]:
    """AUC or average precision by class; each is the last column."""
    return {row[0]: row[-1] for row in chart.table.data}


FORMS: list[Callable[[Any], Any]] = [
    list,
    tuple,
    np.asarray,
    lambda values: np.asarray(values, dtype=np.float32),
    lambda values: pd.DataFrame(values) if isinstance(values[0], list) else pd.Series(values),
    Tensor,
    lambda values: Tensor(values, known=False),
]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_input_gives_the_same_numbers(form: Callable[[Any], Any]) -> None:
    roc = plot.roc_curve(form(TRUE), form(PROBAS))
    expected = plot.roc_curve(TRUE, PROBAS)
    assert areas(roc) == pytest.approx(areas(expected), abs=1e-6)
    matrix = plot.confusion_matrix(probs=form(PROBAS), y_true=form(TRUE))
    assert counts(matrix) == counts(plot.confusion_matrix(probs=PROBAS, y_true=TRUE))


def test_roc_table_is_scikit_learns_curve_of_each_class() -> None:
    chart = plot.roc_curve(TRUE, PROBAS, labels=["a", "b", "c"])
    assert chart.table.columns == ["class", "fpr", "tpr", "threshold", "auc"]
    for at, name in enumerate("abc"):
        rows = [row for row in chart.table.data if row[0] == name]
        positive, scores = np.array(TRUE) == at, np.array(PROBAS)[:, at]
        fpr, tpr, thresholds = metrics.roc_curve(positive, scores)
        assert [row[1] for row in rows] == fpr.tolist()
        assert [row[2] for row in rows] == tpr.tolist()
        assert [row[3] for row in rows] == [None, *thresholds[1:].tolist()]
        assert rows[0][4] == pytest.approx(metrics.roc_auc_score(positive, scores), abs=1e-15)


def test_pr_table_without_interpolation_is_scikit_learns_curve() -> None:
    chart = plot.pr_curve(TRUE, PROBAS, interp_size=None)
    rows = [row for row in chart.table.data if row[0] == "2"]
    positive, scores = np.array(TRUE) == 2, np.array(PROBAS)[:, 2]
    precision, recall, _ = metrics.precision_recall_curve(positive, scores)
    assert [row[1] for row in rows[1:]] == precision[-2::-1].tolist()
    assert [row[2] for row in rows[1:]] == recall[-2::-1].tolist()
    assert rows[0][3] == pytest.approx(metrics.average_precision_score(positive, scores), abs=1e-15)


def test_pr_curve_has_interp_size_points_of_each_class() -> None:
    chart = plot.pr_curve(TRUE, PROBAS, interp_size=5)
    assert [row[2] for row in chart.table.data if row[0] == "0"] == [0, 0.25, 0.5, 0.75, 1]
    assert len(plot.pr_curve(TRUE, PROBAS).table) == 3 * 21


def test_one_dimensional_scores_are_those_of_the_second_class() -> None:
    chart = plot.roc_curve(["no", "no", "yes", "yes"], [0.1, 0.4, 0.35, 0.8])
    assert areas(chart) == {"yes": 0.75}
    column = plot.roc_curve([0, 0, 1, 1], [[0.1], [0.4], [0.35], [0.8]], labels=["bad", "good"])
    assert areas(column) == {"good": 0.75}
    assert areas(plot.roc_curve([-1, -1, 1, 1], [0.1, 0.4, 0.35, 0.8])) == {"1": 0.75}
    assert areas(plot.roc_curve([False, False, True, True], [0.1, 0.4, 0.35, 0.8])) == {"True": 0.75}


def test_class_absent_from_y_true_does_not_shift_the_others() -> None:
    true = [0, 0, 2, 2]
    probas = [[0.8, 0.1, 0.1], [0.5, 0.2, 0.3], [0.1, 0.7, 0.2], [0.2, 0.1, 0.7]]
    chart = plot.roc_curve(true, probas, labels=["cat", "dog", "owl"])
    assert areas(chart) == {
        "cat": metrics.roc_auc_score([1, 1, 0, 0], [row[0] for row in probas]),
        "owl": metrics.roc_auc_score([0, 0, 1, 1], [row[2] for row in probas]),
    }
    assert "dog" in chart.spec["title"]["subtitle"]
    matrix = counts(plot.confusion_matrix(probas, true, class_names=["cat", "dog", "owl"]))
    assert matrix["owl", "dog"] == 1
    assert matrix["dog", "dog"] == 0


def test_text_labels_are_matched_by_name_in_any_order_of_columns() -> None:
    names = ["zebra", "ant"]
    chart = plot.roc_curve(["ant", "ant", "zebra", "zebra"], [[0, 1], [0, 1], [1, 0], [1, 0]], labels=names)
    assert areas(chart) == {"zebra": 1.0, "ant": 1.0}
    sorted_names = plot.roc_curve(["ant", "ant", "zebra", "zebra"], [[1, 0], [1, 0], [0, 1], [0, 1]])
    assert areas(sorted_names) == {"ant": 1.0, "zebra": 1.0}


def test_labels_that_start_at_one_are_the_columns_in_sorted_order() -> None:
    chart = plot.roc_curve([1, 1, 2, 2], [[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.1, 0.9]])
    assert areas(chart) == {"1": 1.0, "2": 1.0}


def test_classes_to_plot_takes_values_and_names() -> None:
    labels = ["a", "b", "c"]
    assert set(areas(plot.roc_curve(TRUE, PROBAS, labels, [2]))) == {"c"}
    assert set(areas(plot.pr_curve(TRUE, PROBAS, labels, ["a", np.int64(1)]))) == {"a", "b"}
    with pytest.raises(UsageError, match=r"'d' is no class; the classes are \['a', 'b', 'c'\]"):
        plot.roc_curve(TRUE, PROBAS, labels, ["d"])
    with pytest.raises(UsageError, match="classes_to_plot is empty"):
        plot.roc_curve(TRUE, PROBAS, labels, [])


def test_large_curve_is_thinned_and_its_area_is_from_all_points() -> None:
    random = np.random.default_rng(3)
    true = random.random(200_000) < 0.5
    scores = random.normal(size=200_000) + true
    chart = plot.roc_curve(true, scores)
    assert len(chart.table) < 4_000
    rows = chart.table.data
    exact = metrics.roc_auc_score(true, scores)
    assert rows[0][4] == pytest.approx(exact, abs=1e-12)
    assert abs(metrics.auc([row[1] for row in rows], [row[2] for row in rows]) - exact) < 1e-3


@pytest.mark.parametrize("values", [["a", "c", "b", "a"], [5, 3, 3, 9], [True, False, True, True]])
def test_confusion_matrix_without_names_is_scikit_learns(values: list[Any]) -> None:
    guesses = values[1:] + values[:1]
    chart = plot.confusion_matrix(y_true=values, preds=guesses)
    names = [str(one) for one in np.unique(values)]
    theirs = metrics.confusion_matrix(values, guesses)
    assert [row[2] for row in chart.table.data] == theirs.ravel().tolist()
    assert [row[:2] for row in chart.table.data] == [[true, guess] for true in names for guess in names]


def test_confusion_matrix_of_binary_probabilities_cuts_at_one_half() -> None:
    chart = plot.confusion_matrix(probs=[0.2, 0.5, 0.9], y_true=[0, 0, 1], class_names=["no", "yes"])
    assert counts(chart) == {("no", "no"): 1, ("no", "yes"): 1, ("yes", "no"): 0, ("yes", "yes"): 1}
    with pytest.raises(UsageError, match="not all from 0 to 1"):
        plot.confusion_matrix(probs=[-2.0, 0.5, 3.0], y_true=[0, 0, 1])


def test_confusion_matrix_of_many_classes_leaves_out_empty_cells() -> None:
    labels = list(range(150))
    chart = plot.confusion_matrix(y_true=labels, preds=labels)
    assert len(chart.table) == 150
    assert len(chart.spec["encoding"]["x"]["scale"]["domain"]) == 150


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: plot.roc_curve([], []), "y_true is empty"),
        (lambda: plot.roc_curve([0, 1], []), "y_probas is empty"),
        (lambda: plot.roc_curve([0, 1]), "y_probas is missing"),
        (plot.pr_curve, "y_true is missing"),
        (lambda: plot.roc_curve("abc", [1, 2, 3]), "y_true is str 'abc'"),
        (lambda: plot.roc_curve(7, [1]), "y_true is int '7'"),
        (lambda: plot.roc_curve([0, 1], [0.5, float("nan")]), "y_probas is missing or not finite in 1 of 2"),
        (lambda: plot.roc_curve([0, 1], [0.5, float("inf")]), "y_probas is missing or not finite in 1 of 2"),
        (
            lambda: plot.roc_curve([0, 1], [0.5, None]),
            "y_probas is missing or not finite in 1 of 2 .*first at 1",
        ),
        (lambda: plot.roc_curve([0, None, 1], [1, 2, 3]), "y_true is missing or not finite in 1 of 3"),
        (lambda: plot.roc_curve([0.0, float("nan")], [1, 2]), "y_true is missing or not finite in 1 of 2"),
        (lambda: plot.roc_curve(pd.Series(["a", None]), [1, 2]), "y_true is missing or not finite in 1 of 2"),
        (lambda: plot.roc_curve(pd.Series([1, pd.NA], dtype="Int64"), [1, 2]), "not finite in 1 of 2"),
        (lambda: plot.roc_curve([0.2, 0.7], [0, 1]), "y_true holds 0.2; expected classes"),
        (lambda: plot.roc_curve([0, "a"], [0, 1]), "y_true mixes text with other values"),
        (lambda: plot.roc_curve([0, 1, 1], [0.5, 0.1]), "y_probas has 2 rows for 3 entries"),
        (lambda: plot.roc_curve([[0, 1], [1, 0]], [0.5, 0.1]), r"y_true has shape \(2, 2\)"),
        (lambda: plot.roc_curve([0, 1], np.zeros((2, 2, 2))), r"y_probas has shape \(2, 2, 2\)"),
        (lambda: plot.roc_curve([0, 1], [[0.5, 0.5], [1.0]]), "y_probas has rows of different lengths"),
        (lambda: plot.roc_curve([0, 1], ["a", "b"]), "y_probas holds <U1 values; expected numbers"),
        (lambda: plot.roc_curve([0, 1, 2], [0.1, 0.2, 0.3]), r"classes \[0, 1, 2\], which do not fit 2"),
        (lambda: plot.roc_curve([0, 5], [[1, 0, 0], [0, 0, 1]]), r"classes \[0, 5\], which do not fit 3"),
        (
            lambda: plot.roc_curve([0, 1], [[1, 0], [0, 1]], labels=["a"]),
            "labels has 1 names for 2 score columns",
        ),
        (lambda: plot.roc_curve([0, 1], [[1, 0], [0, 1]], labels=["a", "a"]), "names a class twice"),
        (lambda: plot.roc_curve([1, 1], [0.1, 0.2]), "y_true has no samples both in and outside of"),
        (lambda: plot.pr_curve([0, 0], [0.1, 0.2], classes_to_plot=[1]), "y_true has no samples of"),
        (lambda: plot.pr_curve([0, 1], [0.1, 0.2], interp_size=1), "interp_size 1; expected at least 2"),
        (lambda: plot.confusion_matrix(y_true=[0]), "expected either probs or preds"),
        (lambda: plot.confusion_matrix([[1, 0]], [0], [0]), "expected either probs or preds"),
        (lambda: plot.confusion_matrix(preds=[0]), "y_true is missing"),
        (lambda: plot.confusion_matrix(y_true=[0, 1], preds=[0]), "preds has 1 entries for 2 in y_true"),
        (lambda: plot.confusion_matrix(y_true=["a"], preds=[0]), "hold text and numbers"),
        (
            lambda: plot.confusion_matrix(y_true=[0, 3], preds=[0, 3], class_names=["a", "b", "c"]),
            "do not fit 3",
        ),
    ],
)
def test_wrong_input_is_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()
