from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from twotower_assets.two_tower.kernels.bfloat16 import minus_infinity, numbers_of, stored, widened
from twotower_assets.two_tower.kernels.compiled import compiled


@compiled
def copied(numbers, results):
    for place in range(len(numbers)):
        results[place] = stored(numbers[place], results)


@compiled
def read(numbers, results):
    for place in range(len(numbers)):
        results[place] = widened(numbers[place])


def test_numbers_are_rounded_and_read_as_by_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    halves = (torch.arange(40, dtype=torch.int32) * 2**15 + (1 << 30)).view(torch.float32)  # every other one is a tie
    numbers = torch.cat(
        [torch.randn(10_000, generator=generator), 1e-30 * torch.randn(100, generator=generator), halves]
    )
    expected = numbers.bfloat16()
    found = torch.zeros_like(expected)
    copied(numbers.numpy(), numbers_of(found))
    assert torch.equal(found, expected)
    back = np.zeros(len(numbers), np.float32)
    read(numbers_of(expected), back)
    assert np.array_equal(back, expected.float().numpy())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_other_numbers_stay_as_they_are(dtype: torch.dtype) -> None:
    numbers = torch.randn(50, dtype=dtype)
    found = torch.zeros_like(numbers)
    copied(numbers.numpy(), numbers_of(found))
    assert torch.equal(found, numbers)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_minus_infinity_is_written_as_the_numbers_are(dtype: torch.dtype) -> None:
    numbers = torch.ones(3, dtype=dtype)
    array = numbers_of(numbers)
    array[1] = minus_infinity(array)
    assert numbers.tolist() == [1.0, -math.inf, 1.0]
