"""Charts for `log`: a table of data and a Vega-Lite spec that draws it, as one value.

May import: `tracking.media`, storage errors. Start with `chart` (what a chart is), then `basic` (columns of a table),
`classification` (confusion matrix, ROC, precision and recall) with its numbers in `curves`, `custom` (specs of your
own) and `sklearn` (one call for all the charts of a model).
"""

from __future__ import annotations

from .basic import bar, histogram, line, line_series, scatter
from .chart import Chart
from .classification import confusion_matrix, pr_curve, roc_curve
from .custom import plot_table

__all__ = [
    "Chart",
    "bar",
    "confusion_matrix",
    "histogram",
    "line",
    "line_series",
    "plot_table",
    "pr_curve",
    "roc_curve",
    "scatter",
]
