"""What a call of `log` writes, at which step, and what stands in the summary then."""

from __future__ import annotations

import datetime
import decimal
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lineart
from lineart.storage.errors import UsageError
from lineart.tracking.metrics.lines import read_lines
from lineart.tracking.metrics.recorder import Recorder
from lineart.tracking.values import Summary
from run_reading import history, values


class Lines:
    """A journal in memory."""

    def __init__(self) -> None:
        self.data = b""

    def append(self, line: bytes) -> None:
        self.data += line

    def rows(self) -> list[tuple[int, dict[str, Any]]]:
        """Step and values of each row."""
        return [(line["step"], line["log"]) for line in read_lines(self.data) if "log" in line]


@pytest.fixture
def lines() -> Lines:
    """Where the recorder writes."""
    return Lines()


@pytest.fixture
def recorder(lines: Lines) -> Recorder:
    """A new one."""
    return Recorder(lambda: lines, Summary())


# Steps


def test_each_call_is_a_row_at_the_next_step(recorder: Recorder, lines: Lines) -> None:
    for number in range(3):
        recorder.log({"a": number})
    assert lines.rows() == [(0, {"a": 0}), (1, {"a": 1}), (2, {"a": 2})]


def test_any_order_of_steps_is_kept(recorder: Recorder, lines: Lines) -> None:
    for step in (5, 3, np.int64(9), 3.0):
        recorder.log({"a": 1}, step=step)
    recorder.log({"a": 2})
    assert [step for step, _ in lines.rows()] == [5, 3, 9, 3, 10]


def test_calls_without_commit_gather_one_row(recorder: Recorder) -> None:
    with lineart.init(project="p") as run:
        run.log({"a": 1}, commit=False)
        run.log({"b": 2}, commit=False)
        run.log({"a": 3})
        run.log({"a": 4})
    rows = list(history(run).rows())
    assert [{k: v for k, v in row.items() if k in "ab"} for row in rows] == [{"a": 3, "b": 2}, {"a": 4}]
    assert [row["_step"] for row in rows] == [0, 1]


def test_two_calls_at_one_step_are_one_row_unless_they_name_the_same() -> None:
    with lineart.init(project="p") as run:
        run.log({"train": 1}, step=3)
        run.log({"val": 2}, step=3)
        run.log({"train": 5}, step=3)
    rows = [{k: v for k, v in row.items() if k[0] != "_"} for row in history(run).rows()]
    assert rows == [{"train": 1, "val": 2}, {"train": 5}]


@pytest.mark.parametrize("step", [-1, 1.5, "3", None.__class__, (1 << 63) - 1, 1 << 63])
def test_step_that_is_none_is_refused_and_writes_nothing(recorder: Recorder, lines: Lines, step: Any) -> None:
    with pytest.raises(UsageError, match="step"):
        recorder.log({"a": 1}, step=step)
    assert lines.data == b""


# Values

EXACT: list[Any] = [
    0,
    -7,
    1 << 62,
    1 << 80,
    -(1 << 63) - 1,
    0.1,
    -0.0,
    1e308,
    math.inf,
    -math.inf,
    True,
    False,
    None,
    "text",
    "",
    'quotes " and \\ and \n',
    "ß ∑ 🦊",
    "\ud800",
    decimal.Decimal("0.10"),
    datetime.datetime(2026, 1, 2, 3, 4, 5, 6),  # noqa: DTZ001 - without a zone it has to stay without one
    datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
    datetime.date(2026, 1, 2),
    [1, 2.5, "x"],
    [[]],
]


@pytest.mark.parametrize("value", EXACT, ids=repr)
def test_value_comes_back_as_it_was(value: Any) -> None:
    with lineart.init(project="p") as run:
        run.log({"x": value})
    (found,) = values(run, "x")
    assert found == value
    assert type(found) is type(value)


def test_not_a_number_is_kept_as_one() -> None:
    with lineart.init(project="p") as run:
        run.log({"x": math.nan})
        run.log({"x": np.float32("nan")})
    assert all(math.isnan(value) for value in values(run, "x"))


@pytest.mark.parametrize(
    "value, plain",
    [
        (np.float32(0.5), 0.5),
        (np.float64(0.1), 0.1),
        (np.int8(3), 3),
        (np.bool_(True), True),
        (np.array(2.0), 2.0),
        (np.array([1, 2]), [1, 2]),
        ((1, 2), [1, 2]),
        (datetime.timedelta(seconds=90), 90.0),
    ],
    ids=repr,
)
def test_value_of_a_library_becomes_a_plain_one(value: Any, plain: Any) -> None:
    with lineart.init(project="p") as run:
        run.log({"x": value})
    assert values(run, "x") == [plain]


def test_nested_names_are_joined_and_the_dictionary_is_not_changed(recorder: Recorder, lines: Lines) -> None:
    data = {"a": {"b": {"c": 1, "d": np.float32(2)}}, "e/f": 3}
    recorder.log(data)
    assert lines.rows() == [(0, {"a.b.c": 1, "a.b.d": 2.0, "e/f": 3})]
    assert set(data) == {"a", "e/f"}


def test_ten_thousand_metrics_in_one_call() -> None:
    data = {f"layer/{number}": number / 7 for number in range(10_000)}
    with lineart.init(project="p") as run:
        run.log(data)
        run.log(data)
    first, _ = history(run).rows()
    assert {key: first[key] for key in data} == data


ENDLESS: dict[str, Any] = {}
ENDLESS["again"] = ENDLESS


@pytest.mark.parametrize("name", ["\ud800", "a\udcff"])
def test_name_that_is_not_unicode_is_refused(recorder: Recorder, lines: Lines, name: str) -> None:
    for data in ({name: 1}, {"a": {name: 1}}, {"a": [{name: 1}]}):
        with pytest.raises(UsageError, match="is not Unicode"):
            recorder.log(data)
    assert (lines.data, recorder.step) == (b"", 0)


def test_names_may_be_of_a_kind_of_text(recorder: Recorder, lines: Lines) -> None:
    recorder.log({np.str_("a"): 1, "b": {np.str_("c"): 2}})
    assert lines.rows() == [(0, {"a": 1, "b.c": 2})]


@pytest.mark.parametrize("time", [math.nan, math.inf, -1, 1_795_253_167_250_464_586, 10**400, True, "now"])
def test_time_that_is_none_is_refused_and_writes_nothing(recorder: Recorder, lines: Lines, time: Any) -> None:
    with pytest.raises(UsageError, match="_timestamp"):
        recorder.log({"a": 1, "_timestamp": time})
    assert lines.data == b""


def test_after_the_last_step_there_is_none(recorder: Recorder) -> None:
    recorder.log({"a": 1}, step=(1 << 63) - 2)
    with pytest.raises(UsageError, match="beyond the last one"):
        recorder.log({"a": 2})


@pytest.mark.parametrize(
    "wrong", [[("a", 1)], "a", None, 3, {1: 2}, {"": 1}, {"a": {2: 3}}, {("a",): 1}], ids=repr
)
def test_what_is_no_dictionary_of_names_is_a_type_error(recorder: Recorder, lines: Lines, wrong: Any) -> None:
    with pytest.raises(TypeError, match="log takes a dictionary with text keys"):
        recorder.log(wrong)
    assert lines.data == b""
    assert recorder.step == 0


@pytest.mark.parametrize(
    "wrong",
    [object(), {"deep": object()}, [object()], 1j, b"bytes", ENDLESS, [ENDLESS]],
    ids=lambda x: type(x).__name__,
)
def test_value_that_cannot_be_kept_is_named_and_nothing_is_written(
    recorder: Recorder, lines: Lines, wrong: Any
) -> None:
    with pytest.raises(UsageError, match="metric 'x"):
        recorder.log({"good": 1, "x": wrong})
    assert lines.data == b""
    assert recorder.step == 0


NUMBERS = st.one_of(
    st.integers(),
    st.floats(allow_nan=False),
    st.booleans(),
    st.none(),
    st.text(max_size=5),
    st.decimals(allow_nan=False),
)


@given(st.lists(st.dictionaries(st.text(min_size=1, max_size=4), NUMBERS, max_size=4), max_size=6))
def test_rows_are_what_was_logged(rows: list[dict[str, Any]]) -> None:
    lines, summary = Lines(), Summary()
    recorder = Recorder(lambda: lines, summary)
    for row in rows:
        recorder.log(row)
    from lineart.tracking.metrics.cells import cells_of, of_cell
    from lineart.tracking.metrics.pieces import Tail

    cells = cells_of([Tail("w", 0, len(lines.data), lines.data, 0)])
    found: list[dict[str, Any]] = [{} for _ in rows]
    for key, step, value, text in zip(cells.key, cells.step, cells.value, cells.text, strict=True):
        found[step][key] = of_cell(value, text)
    expected = [
        {k: v for k, v in row.items() if k not in ("_step", "_runtime", "_timestamp")} for row in rows
    ]
    assert found == expected


# Summary


@pytest.mark.parametrize(
    "kind, expected",
    [
        ("min", 1),
        ("max", 5),
        ("mean", 3.0),
        ("last", 3),
        ("first", 1),
        (None, 3),
        ("min,max", {"min": 1, "max": 5}),
    ],
)
def test_summary_is_what_was_defined(kind: str | None, expected: Any) -> None:
    with lineart.init(project="p") as run:
        run.define_metric("val/*", summary=kind)
        for value in (1, 5, 3):
            run.log({"val/acc": value})
    assert run.summary["val/acc"] == expected


def test_summary_none_keeps_nothing() -> None:
    with lineart.init(project="p") as run:
        run.define_metric("secret", summary="none")
        run.log({"secret": 1, "open": 2})
    assert run.summary.as_dict() == {"open": 2}


@pytest.mark.parametrize("goal, expected", [("maximize", 5), ("minimize", 1), (None, 1)])
def test_best_follows_the_goal(goal: str | None, expected: int) -> None:
    with lineart.init(project="p") as run:
        run.define_metric("acc", summary="best", goal=goal)
        for value in (3, 5, math.nan, 1):
            run.log({"acc": value})
    assert run.summary["acc"] == expected


def test_what_the_user_sets_wins_over_what_is_logged() -> None:
    with lineart.init(project="p") as run:
        run.log({"acc": 1})
        run.summary["acc"] = 0.99
    assert run.summary["acc"] == 0.99


def test_step_metric_is_added_to_rows_that_lack_it() -> None:
    with lineart.init(project="p") as run:
        run.define_metric("epoch")
        run.define_metric("val/*", step_metric="epoch")
        run.log({"epoch": 1})
        run.log({"val/acc": 0.5})
    assert next(iter(history(run).rows(["val/acc", "epoch"])))["epoch"] == 1


def test_exact_definition_goes_before_a_pattern() -> None:
    with lineart.init(project="p") as run:
        run.define_metric("*", summary="min")
        run.define_metric("acc", summary="max")
        for value in (1, 2):
            run.log({"acc": value, "loss": value})
    assert run.summary.as_dict() == {"acc": 2, "loss": 1}


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"name": ""}, "name ''"),
        ({"name": "a", "summary": "median"}, "summary 'median'"),
        ({"name": "a", "goal": "up"}, "goal 'up'"),
        ({"name": "a", "step_metric": "b*"}, "step_metric 'b\\*'"),
    ],
)
def test_definition_with_a_fault_is_named(wrong: dict[str, Any], message: str) -> None:
    with lineart.init(project="p") as run, pytest.raises(UsageError, match=message):
        run.define_metric(**wrong)
