"""Whatever bytes a store holds, parsers return or raise an error of ours; `benchmarks/fuzz.py` goes on for longer."""

from __future__ import annotations

import random
import traceback

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz_targets import TARGETS, fault_of, mutated


@pytest.mark.parametrize("name", TARGETS)
def test_parser_cannot_read_its_seeds(name: str) -> None:
    for seed in TARGETS[name].seeds:
        assert fault_of(TARGETS[name], seed) is None


@pytest.mark.parametrize("name", TARGETS)
def test_variation_ends_in_a_foreign_error(name: str) -> None:
    source = random.Random(name)
    for _ in range(300):
        data = mutated(source.choice(TARGETS[name].seeds), source)
        fault = fault_of(TARGETS[name], data)
        assert fault is None, f"{data[:400]!r}\n{''.join(traceback.format_exception(fault))}"


@pytest.mark.parametrize("name", TARGETS)
def test_garbage_ends_in_a_foreign_error(name: str) -> None:
    target = TARGETS[name]
    variations = st.randoms(use_true_random=False).map(lambda r: mutated(r.choice(target.seeds), r))

    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    @given(st.binary(max_size=400) | variations)
    def parse(data: bytes) -> None:
        fault = fault_of(target, data)
        if fault is not None:
            raise fault

    parse()
