from __future__ import annotations

import copy
import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineart.storage.errors import UsageError
from lineart.tracking import Config, Summary
from lineart.tracking.values import plain

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_any_value_can_be_written_and_read_back_equal(value: Any) -> None:
    config = Config()
    config["key"] = value
    text = json.dumps(config.as_dict(), allow_nan=False)
    again = Config()
    again.update(json.loads(text))
    assert repr(again["key"]) == repr(config["key"]) == repr(value)  # repr: NaN differs from itself


@given(JSON)
def test_value_given_is_never_changed(value: Any) -> None:
    before = repr(value)
    Config()["key"] = value
    assert repr(value) == before


@pytest.mark.parametrize(
    "value, expected",
    [
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (np.array([1, 2]), [1, 2]),
        (np.array([[1.5]]), [[1.5]]),
        (np.array(3), 3),
        ((1, 2), [1, 2]),
        ({3}, [3]),
        (Path("/a/b"), "/a/b"),
        ({1: "x"}, {"1": "x"}),
    ],
)
def test_other_types_become_plain(value: Any, expected: Any) -> None:
    found = plain(value, "x")
    assert found == expected
    assert json.loads(json.dumps(found)) == expected


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("wrap", [float, np.float64, np.float32, np.float16])
def test_number_that_json_does_not_have_is_kept(number: float, wrap: Callable[[float], Any]) -> None:
    summary = Summary()
    summary.update({"loss": wrap(number), "deep": {"list": [wrap(number), 1.0]}})
    assert repr(summary["loss"]) == repr(summary.loss) == repr(number)
    assert repr(summary["deep"]) == repr({"list": [number, 1.0]})
    assert json.loads(json.dumps(summary.as_dict(), allow_nan=False))["loss"] == {"_float": repr(number)}


def test_dictionary_that_looks_like_such_a_number_stays_one() -> None:
    summary = Summary()
    summary["x"] = {"_float": "abc"}
    assert summary["x"] == {"_float": "abc"}


@pytest.mark.parametrize("value", [object(), lambda: None, b"bytes", 1j, {"deep": [object()]}])
def test_value_without_a_plain_form_is_refused_by_its_name(value: object) -> None:
    config = Config()
    with pytest.raises(UsageError, match="config 'lr'"):
        config["lr"] = value
    assert "lr" not in config


# Config


def test_changing_a_key_is_refused_naming_both_values() -> None:
    config = Config()
    config.update({"lr": 0.1, "depth": 3})
    with pytest.raises(UsageError, match=r"'lr' is 0.1 and would become 0.2; .*allow_val_change=True"):
        config.lr = 0.2
    with pytest.raises(UsageError):
        config["lr"] = 0.2
    with pytest.raises(UsageError):
        config.update({"new": 1, "lr": 0.2})
    assert dict(config) == {"lr": 0.1, "depth": 3}  # and nothing of the refused update stays


@pytest.mark.parametrize("value", [0.1, [1, {"a": None}], math.nan, math.inf, np.array([1.0, math.nan])])
def test_same_value_again_is_no_change(value: Any) -> None:
    config = Config()
    config.lr = value
    config.lr = value
    config.update(lr=copy.deepcopy(value))


def test_change_that_is_meant_is_allowed() -> None:
    config = Config()
    config.lr = 0.1
    config.update({"lr": 0.2}, allow_val_change=True)
    assert config.lr == 0.2


def test_key_can_be_removed_and_set_anew() -> None:
    config = Config()
    config.lr = 0.1
    del config["lr"]
    config.lr = 0.2
    assert dict(config) == {"lr": 0.2}


def test_every_change_is_told_and_a_refused_one_is_not() -> None:
    told: list[object] = []
    config = Config(told.append)
    config.lr = 1
    config.update(depth=2)
    del config["lr"]
    assert len(told) == 3
    with pytest.raises(UsageError):
        config.depth = 3
    assert len(told) == 3


@pytest.mark.parametrize("key", ["keys", "items", "get", "update", "_values", "as_dict", "lr", "a b", ""])
def test_any_key_can_be_read_as_an_item(key: str) -> None:
    config = Config()
    config[key] = "mine"
    assert config[key] == "mine"
    assert list(config.keys()) == [key]
    assert config.as_dict() == {key: "mine"}


def test_missing_attribute_is_an_attribute_error_naming_it() -> None:
    with pytest.raises(AttributeError, match="config has no 'lr'"):
        _ = Config().lr
    assert getattr(Config(), "lr", 7) == 7
    assert not hasattr(Config(), "lr")
    with pytest.raises(KeyError):
        _ = Config()["lr"]


@pytest.mark.parametrize("kind", [Config, Summary])
@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda values: pickle.loads(pickle.dumps(values))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_copy_has_the_values_and_tells_the_run_of_nothing(
    kind: type[Config], duplicate: Callable[[Any], Any]
) -> None:
    told: list[object] = []
    values = kind(told.append)
    values.update({"lr": 0.1, "loss": math.inf})
    told.clear()
    again = duplicate(values)
    assert (type(again), again.lr, again.loss) == (kind, 0.1, math.inf)
    again["other"] = 1
    assert told == []
    assert "other" not in values


def test_dictionary_handed_out_is_a_copy() -> None:
    config = Config()
    config.lr = 1
    config.as_dict()["lr"] = 2
    assert config.lr == 1


# Summary


def test_summary_takes_the_last_value() -> None:
    summary = Summary()
    summary["acc"] = 0.1
    summary.acc = 0.2
    summary.update({"acc": 0.3})
    assert (summary["acc"], summary.get("none")) == (0.3, None)


def test_printed_form_shows_the_values() -> None:
    summary = Summary()
    summary["acc"] = 0.1
    assert repr(summary) == "{'acc': 0.1}"
