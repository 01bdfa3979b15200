"""What a recorded value looks like on the terminal."""

from __future__ import annotations

import pytest

from lineart.cli.output import value_text


@pytest.mark.parametrize(
    "value, text",
    [
        ("text", "text"),
        (3, "3"),
        (0.123456789, "0.123457"),
        (True, "true"),
        (None, "null"),
        ({"_float": "nan"}, "nan"),
        ({"_float": "-inf"}, "-inf"),
        ({"_int": "18446744073709551616"}, "18446744073709551616"),
        ({"_decimal": "0.10"}, "0.10"),
        ({"_date": "2026-01-02"}, "2026-01-02"),
        ({"_datetime": "2026-01-02T03:04:05"}, "2026-01-02 03:04:05"),
        ({"_date": 5}, '{"_date": 5}'),
        ([{"_date": "2026-01-02"}, 1], '["2026-01-02", 1]'),
        ({"b": 1, "a": {"_decimal": "1.5"}}, '{"a": "1.5", "b": 1}'),
    ],
    ids=str,
)
def test_value_is_shown_as_what_it_is(value: object, text: str) -> None:
    assert value_text(value) == text
