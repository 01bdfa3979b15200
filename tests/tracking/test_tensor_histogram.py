"""Histograms of torch tensors, counted where they lie."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from lineart.tracking.tensor_histogram import tensor_histogram

torch: Any = pytest.importorskip("torch", reason="torch is not installed (requirements/frameworks.txt)")
nn = torch.nn


def test_counts_agree_with_numpy() -> None:
    torch.manual_seed(1)
    for tensor in (torch.randn(1000), torch.rand(7, 11).double(), torch.randn(30, 20).T, torch.arange(100)):
        found = tensor_histogram(tensor)
        counts, edges = np.histogram(tensor.numpy().astype(np.float64).ravel(), bins=64)
        assert sum(found.counts) == tensor.numel()
        assert np.allclose(found.edges, edges)
        # Single precision may put a value that lies on an edge into the bin beside.
        assert np.abs(np.cumsum(found.counts) - np.cumsum(counts)).max() <= 1


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float64", "int64", "uint8", "bool", "complex64"])
def test_every_kind_of_number_is_counted(kind: str) -> None:
    tensor = torch.tensor([0, 1, 1, 1]).to(getattr(torch, kind))
    found = tensor_histogram(tensor)
    assert (found.counts[0], found.counts[-1], sum(found.counts)) == (1, 3, 4)


def test_what_is_not_finite_is_counted_apart() -> None:
    found = tensor_histogram(torch.tensor([1.0, math.nan, 3.0, math.inf, -math.inf, -math.inf]))
    assert (found.nan, found.positive_infinite, found.negative_infinite) == (1, 1, 2)
    assert (sum(found.counts), found.edges[0], found.edges[-1]) == (2, 1.0, 3.0)
    nothing = tensor_histogram(torch.full((5,), math.nan))
    assert (sum(nothing.counts), nothing.nan) == (0, 5)
    assert nothing.as_media().nan_count == 5


@pytest.mark.parametrize("value", [0.0, 3.0, -1e30, 1e-44])
def test_values_that_are_all_the_same_have_one_bin(value: float) -> None:
    found = tensor_histogram(torch.full((6,), value))
    place = found.counts.index(6)
    assert found.edges[place] <= value <= found.edges[place + 1] + abs(value) * 1e-6
    assert found.edges == sorted(found.edges)


@pytest.mark.parametrize("values", [[-3e38, 0, 3e38], [0, 1e-44, 2e-44], [1.0, 1.0000001], [-1e308, 1e308]])
def test_ranges_at_the_limits_of_floats_lose_no_value(values: list[float]) -> None:
    tensor = torch.tensor(values, dtype=torch.float64 if max(values) > 1e40 else torch.float32)
    found = tensor_histogram(tensor)
    assert sum(found.counts) == len(values)
    assert found.counts[0] == found.counts[-1] == 1
    assert all(map(math.isfinite, found.edges))
    assert found.edges == sorted(found.edges)


def test_zeros_that_a_sparse_gradient_leaves_out_are_counted() -> None:
    layer = nn.Embedding(10, 2, sparse=True)
    layer(torch.tensor([3, 3])).sum().backward()
    found = tensor_histogram(layer.weight.grad)
    assert (found.counts[0], found.counts[-1], sum(found.counts)) == (18, 2, 20)


@pytest.mark.slow
def test_counts_stay_exact_where_single_precision_stops_counting() -> None:
    tensor = torch.zeros(1, dtype=torch.float16).expand((1 << 24) + 100).clone()
    tensor[-1] = 1
    found = tensor_histogram(tensor)
    assert (found.counts[0], found.counts[-1]) == ((1 << 24) + 99, 1)
