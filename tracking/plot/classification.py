"""Charts of classifiers: confusion matrix, ROC curves, precision-recall curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...storage.errors import UsageError
from .chart import Chart, make_table
from .vega import Spec, accessor, chosen_in_legend, colours, encode, frame, tooltip

if TYPE_CHECKING:
    from .arrays import Classes
    from .curves import Floats

_SIDE = 380  # pixels of the square plotting area
_NUMBERED = 20  # classes: with more, a cell is too small for its number
_FULL_MATRIX = 100  # classes: with more, cells that are zero are left out of the table


def confusion_matrix(
    probs: Any = None,
    y_true: Any = None,
    preds: Any = None,
    class_names: Any = None,
    title: str | None = None,
    split_table: bool = False,
) -> Chart:
    """How often each class (row) was taken for each class (column).

    `y_true` has shape (samples,); predictions are `preds` of that shape, or the class with the highest of `probs`,
    shape (samples, classes), or (samples,) with the probability of the second of two classes. Labels are positions in
    `class_names`, or the names themselves; without names, the labels that occur in sorted order. A class that does
    not occur keeps its row and column. Lists, numpy, pandas and tensors are taken.

    The table's columns are ``Actual``, ``Predicted`` and ``nPredictions``; above 100 classes only cells that are not
    zero are in it. Colour is the share of the actual class.
    Raises: UsageError for missing, empty or unfinished input, and for shapes that do not fit.

    >>> from lineart.tracking import plot
    >>> plot.confusion_matrix(y_true=[0, 1, 1], preds=[0, 0, 1], class_names=["cat", "dog"]).table.data[2]
    ['dog', 'cat', 1]
    """
    if (probs is None) == (preds is None):
        raise UsageError("confusion_matrix: expected either probs or preds, and not both")
    from .arrays import as_labels, as_scores, match_classes
    from .curves import confusion

    true = as_labels(y_true, "y_true")
    if probs is None:
        predicted = as_labels(preds, "preds")
        if len(predicted) != len(true):
            raise UsageError(
                f"preds has {len(predicted)} entries for {len(true)} in y_true; expected as many"
            )
        classes = match_classes([true, predicted], None, class_names, naming="class_names")
        first, second = classes.codes
    else:
        scores = as_scores(probs, "probs", len(true))
        if scores.ndim == 1 and (scores.min() < 0 or scores.max() > 1):
            raise UsageError(
                "probs has one score a sample, not all from 0 to 1; give preds, or one for each class"
            )
        count = 2 if scores.ndim == 1 else scores.shape[1]
        classes = match_classes([true], count, class_names, naming="class_names")
        first = classes.codes[0]
        second = (scores >= 0.5).astype(first.dtype) if scores.ndim == 1 else scores.argmax(axis=1)
    names = classes.names
    cells = confusion(first, second, len(names)).tolist()
    rows = [
        [names[row], names[column], cells[row][column]]
        for row in range(len(names))
        for column in range(len(names))
        if len(names) <= _FULL_MATRIX or cells[row][column]
    ]
    columns = ["Actual", "Predicted", "nPredictions"]
    spec = matrix_spec(columns, names, "Confusion matrix" if title is None else title)
    return Chart(make_table(columns, rows), spec, columns=columns, split_table=split_table)


def matrix_spec(columns: Sequence[str], names: Sequence[str], title: str) -> Spec:
    """Squares of `columns` (actual, predicted, count), with `names` in the same order on both axes."""
    actual, predicted, count = columns
    count_field = encode(count, "quantitative")["field"]
    step = 56 if len(names) <= 6 else 44 if len(names) <= 12 else 30 if len(names) <= _NUMBERED else None
    side: Any = {"step": step} if step else 600
    longest = max(map(len, names), default=0) * 7.5  # pixels, about
    broad = min(100.0, max(step or 0, longest + 8)) if step and len(names) <= 6 else step
    scale: Spec = {"domain": list(names)}
    thin_labels = {} if step else {"labelOverlap": True}
    crowded = longest > (broad or 600 / len(names))
    across = {"labelAngle": -45 if crowded else 0, "labelLimit": 140, "grid": False, **thin_labels}
    down = {"labelLimit": 180, "grid": False, **thin_labels}
    square: Spec = {
        "mark": {"type": "rect"},
        "encoding": {
            "color": {
                "field": "share",
                "type": "quantitative",
                "title": ["Share of", "actual class"],
                "scale": {"range": ["#f7fbff", "#6baed6", "#08306b"], "domain": [0, 0.5, 1]},
                "legend": {"format": ".0%"},
            },
            "tooltip": [
                *tooltip([(actual, "nominal"), (predicted, "nominal"), (count, "quantitative")], ","),
                {"field": "share", "type": "quantitative", "title": "Share of actual class", "format": ".1%"},
            ],
        },
    }
    number: Spec = {
        "mark": {"type": "text", "fontSize": 12 if len(names) <= 12 else 10},
        "encoding": {
            "text": tooltip([(count, "quantitative")], ".4~s")[0],
            "color": {"condition": {"test": "datum.share > 0.5", "value": "white"}, "value": "#22262b"},
        },
    }
    return {
        **frame(title),
        "width": {"step": broad} if broad else side,
        "height": side,
        "transform": [
            {
                "joinaggregate": [{"op": "sum", "field": count_field, "as": "of_class"}],
                "groupby": [encode(actual, "nominal")["field"]],
            },
            {
                "calculate": f"datum.of_class > 0 ? {accessor(count)} / datum.of_class : 0",
                "as": "share",
            },
        ],
        "encoding": {
            "x": encode(predicted, "nominal", {"sort": list(names), "scale": scale, "axis": across}),
            "y": encode(actual, "nominal", {"sort": list(names), "scale": scale, "axis": down}),
        },
        "layer": [square, number] if step else [square],
    }


def roc_curve(
    y_true: Any,
    y_probas: Any = None,
    labels: Any = None,
    classes_to_plot: Any = None,
    title: str | None = None,
    split_table: bool = False,
) -> Chart:
    """The receiver operating characteristic of each class against the rest, with the area under it.

    `y_true` has shape (samples,), `y_probas` (samples, classes) with scores or probabilities, or (samples,) with those
    of the second of two classes, which alone is drawn then. `labels` names the columns; a class in `y_true` is one of
    these names, or a position among the columns. `classes_to_plot` are values of `y_true` or names. A class without
    samples, or with all of them, has no curve and is named under the title.

    Computed after Fawcett, "An introduction to ROC analysis", Pattern Recognition Letters 27 (2006) 861-874.
    The table's columns are ``class``, ``fpr``, ``tpr``, ``threshold`` (None at the start) and ``auc``, the area from
    all the points. A curve with more than 2,000 points is thinned in the table: its area changes by less than 0.001.
    Raises: UsageError for missing, empty or unfinished input, and for shapes and classes that do not fit.

    >>> from lineart.tracking import plot
    >>> plot.roc_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]).table.data[0]
    ['1', 0.0, 0.0, None, 0.75]
    """
    return roc_chart(y_true, y_probas, labels, classes_to_plot, title, split_table, averages=())


def roc_chart(
    y_true: Any,
    y_probas: Any,
    labels: Any,
    classes_to_plot: Any,
    title: str | None,
    split_table: bool = False,
    *,
    averages: Sequence[str],
) -> Chart:
    """`roc_curve`, for more than two classes also with `averages`: "micro" (all decisions as one) and "macro"."""
    classes, scores, wanted = _one_against_rest(y_true, y_probas, labels, classes_to_plot)
    from . import curves

    codes = classes.codes[0]
    drawn: list[tuple[str, curves.Roc]] = []
    skipped = []
    every = wanted if not averages else [at for at in range(len(classes.names)) if at in scores]
    found = {}
    for at in every:
        positive = codes == at
        if positive.any() and not positive.all():
            found[at] = curves.roc(positive, scores[at])
    for at in wanted:
        if at in found:
            drawn.append((classes.names[at], found[at]))
        else:
            skipped.append(classes.names[at])
    if not drawn:
        raise UsageError(
            f"roc_curve: y_true has no samples both in and outside of {skipped[:10]}; expected at least one of each"
        )
    if len(classes.names) > 2 and "micro" in averages:
        drawn.append(("micro average", _micro_average(codes, scores)))
    if len(classes.names) > 2 and "macro" in averages:
        drawn.append(("macro average", curves.average_roc(list(found.values()))))
    rows: list[list[Any]] = []
    for name, curve in drawn:
        for at in curves.thinned(curve.fpr, curve.tpr):
            threshold = float(curve.thresholds[at])
            shown = threshold if abs(threshold) < float("inf") else None
            rows.append([name, float(curve.fpr[at]), float(curve.tpr[at]), shown, curve.auc])
    columns = ["class", "fpr", "tpr", "threshold", "auc"]
    heading = "ROC curve" if title is None else title
    spec = curve_spec(columns, "AUC", len(drawn), heading, _left_out(skipped))
    spec["encoding"]["x"]["title"], spec["encoding"]["y"]["title"] = (
        "False positive rate",
        "True positive rate",
    )
    chance = {
        "data": {"values": [{"x": 0, "y": 0}, {"x": 1, "y": 1}]},
        "mark": {"type": "line", "strokeDash": [4, 4], "color": "#9aa0a8", "strokeWidth": 1},
        "encoding": {
            "x": {"field": "x", "type": "quantitative"},
            "y": {"field": "y", "type": "quantitative"},
        },
    }
    return Chart(make_table(columns, rows), _layered(spec, chance), columns=columns, split_table=split_table)


def pr_curve(
    y_true: Any = None,
    y_probas: Any = None,
    labels: Any = None,
    classes_to_plot: Any = None,
    interp_size: int | None = 21,
    title: str | None = None,
    split_table: bool = False,
) -> Chart:
    """Precision over recall of each class against the rest, with the average precision.

    Input is that of `roc_curve`. Drawn are `interp_size` equally spaced recalls from 0 to 1, each with the best
    precision at this recall or a higher one; with None every threshold, as steps. A class without samples has no
    curve and is named under the title.

    Definitions: Manning, Raghavan and Schuetze, "Introduction to Information Retrieval" (2008), section 8.4. The
    table's columns are ``class``, ``precision``, ``recall`` and ``average_precision``, which is computed from all
    thresholds without interpolation. With None, a curve of more than 2,000 points is thinned in the table: its area
    changes by less than 0.001.
    Raises: UsageError for missing, empty or unfinished input, and for shapes and classes that do not fit.

    >>> from lineart.tracking import plot
    >>> plot.pr_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], interp_size=3).table.data[1][:3]
    ['1', 1.0, 0.5]
    """
    if interp_size is not None and (isinstance(interp_size, bool) or interp_size < 2):
        raise UsageError(
            f"pr_curve: interp_size {interp_size!r}; expected at least 2 levels of recall, or None"
        )
    classes, scores, wanted = _one_against_rest(y_true, y_probas, labels, classes_to_plot)
    from . import curves

    rows: list[list[Any]] = []
    skipped = []
    for at in wanted:
        positive = classes.codes[0] == at
        if not positive.any():
            skipped.append(classes.names[at])
            continue
        curve = curves.precision_recall(positive, scores[at])
        if interp_size is None:
            kept = curves.thinned(curve.recall, curve.precision)
            # A step to the first threshold starts at recall 0 with its precision.
            recall, precision = [0.0, *curve.recall[kept].tolist()], curve.precision[kept].tolist()
            precision = [precision[0], *precision]
        else:
            levels, best = curves.interpolated(curve, interp_size)
            recall, precision = levels.tolist(), best.tolist()
        rows += [
            [classes.names[at], height, place, curve.average_precision]
            for place, height in zip(recall, precision, strict=True)
        ]
    if not rows:
        raise UsageError(f"pr_curve: y_true has no samples of {skipped[:10]}; expected at least one")
    columns = ["class", "recall", "precision", "average_precision"]
    heading = "Precision-recall curve" if title is None else title
    spec = curve_spec(columns, "AP", len(wanted) - len(skipped), heading, _left_out(skipped))
    spec["encoding"]["x"]["title"], spec["encoding"]["y"]["title"] = "Recall", "Precision"
    if interp_size is None:
        spec["mark"]["interpolate"] = "step-before"
    table = make_table(["class", "precision", "recall", "average_precision"], rows)
    return Chart(table, spec, columns=columns, split_table=split_table)


def curve_spec(columns: Sequence[str], measure: str, count: int, title: str, subtitle: str = "") -> Spec:
    """Lines in the unit square: `columns` are class, x, y, any for the tooltip, and last the `measure` of a class."""
    name, x, y, *_, value = columns
    parameter, opacity = chosen_in_legend("curve")
    unit: Spec = {"scale": {"domain": [0, 1], "nice": False}, "axis": {"tickCount": 6}}
    return {
        **frame(title, subtitle),
        "width": _SIDE,
        "height": _SIDE,
        "params": [parameter],
        "transform": [
            {
                "calculate": f"{accessor(name)} + ' ({measure} ' + format({accessor(value)}, '.3f') + ')'",
                "as": "curve",
            }
        ],
        "mark": {
            "type": "line",
            "strokeWidth": 2,
            "order": None,
        },  # the table's order: ROC also rises straight up
        "encoding": {
            "x": encode(x, "quantitative", unit),
            "y": encode(y, "quantitative", unit),
            "color": encode("curve", "nominal", {"title": "Class", "scale": colours(count)}),
            "opacity": opacity,
            "tooltip": tooltip([(name, "nominal"), *((column, "quantitative") for column in columns[1:])]),
        },
    }


def _one_against_rest(
    y_true: Any, y_probas: Any, labels: Any, classes_to_plot: Any
) -> tuple[Classes, dict[int, Floats], list[int]]:
    """The classes, the scores of each that has a column, and the positions of those that are wanted."""
    from .arrays import as_labels, as_scores, match_classes

    true = as_labels(y_true, "y_true")
    scores = as_scores(y_probas, "y_probas", len(true))
    if scores.ndim == 1:
        classes = match_classes([true], 2, labels)
        columns = {1: scores}
    else:
        classes = match_classes([true], scores.shape[1], labels)
        columns = {at: scores[:, at] for at in range(scores.shape[1])}
    if classes_to_plot is None:
        return classes, columns, list(columns)
    wanted = list(dict.fromkeys(classes.find(one) for one in classes_to_plot))
    if not wanted:
        raise UsageError("classes_to_plot is empty; expected at least one class, or None for all")
    absent = [classes.names[at] for at in wanted if at not in columns]
    if absent:
        raise UsageError(
            f"classes_to_plot: y_probas has no column for {absent[0]!r}; give one for each class"
        )
    return classes, columns, wanted


def _micro_average(codes: Any, scores: dict[int, Floats]) -> Any:
    import numpy as np

    from . import curves

    positive = np.concatenate([codes == at for at in scores])
    return curves.roc(positive, np.concatenate(list(scores.values())))


def _left_out(skipped: Sequence[str]) -> str:
    if not skipped:
        return ""
    more = f" and {len(skipped) - 5} more" if len(skipped) > 5 else ""
    return f"No curve without samples in and outside of the class: {', '.join(skipped[:5])}{more}"


def _layered(spec: Spec, below: Spec) -> Spec:
    """`spec` with a layer under its mark; parameters belong to the mark."""
    shared = {
        key: part for key, part in spec.items() if key not in ("mark", "encoding", "params", "transform")
    }
    own = {key: spec[key] for key in ("params", "transform", "mark", "encoding")}
    return {**shared, "layer": [below, own]}
