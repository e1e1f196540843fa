from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from twotower_assets.two_tower.kernels.bfloat16 import as_numpy, minus_infinity, to_bfloat16, to_float32
from twotower_assets.two_tower.kernels.compiled import compiled


@compiled
def round_values(values, results):
    for index in range(len(values)):
        results[index] = to_bfloat16(values[index], results)


@compiled
def widen_values(values, results):
    for index in range(len(values)):
        results[index] = to_float32(values[index])


def test_values_are_rounded_and_widened_as_by_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    halves = (torch.arange(40, dtype=torch.int32) * 2**15 + (1 << 30)).view(torch.float32)  # every other one is a tie
    values = torch.cat(
        [torch.randn(10_000, generator=generator), 1e-30 * torch.randn(100, generator=generator), halves]
    )
    expected = values.bfloat16()
    rounded = torch.zeros_like(expected)
    round_values(values.numpy(), as_numpy(rounded))
    assert torch.equal(rounded, expected)
    widened = np.zeros(len(values), np.float32)
    widen_values(as_numpy(expected), widened)
    assert np.array_equal(widened, expected.float().numpy())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_of_other_types_are_unchanged(dtype: torch.dtype) -> None:
    values = torch.randn(50, dtype=dtype)
    results = torch.zeros_like(values)
    round_values(values.numpy(), as_numpy(results))
    assert torch.equal(results, values)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_minus_infinity_has_the_format_of_the_array(dtype: torch.dtype) -> None:
    values = torch.ones(3, dtype=dtype)
    array = as_numpy(values)
    array[1] = minus_infinity(array)
    assert values.tolist() == [1.0, -math.inf, 1.0]
