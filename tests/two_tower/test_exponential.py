from __future__ import annotations

import math

import numba
import numpy as np
import pytest

from twotower_assets.two_tower.compiled import compiled_parallel
from twotower_assets.two_tower.exponential import exponential


@compiled_parallel
def of_all(numbers, results):
    for place in numba.prange(len(numbers)):
        results[place] = exponential(numbers[place])


def exponentials(numbers: np.ndarray) -> np.ndarray:
    results = np.empty_like(numbers)
    of_all(numbers, results)
    return results


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 3e-7), (np.float64, 1e-15)])
def test_it_is_e_to_the_power_to_rounding(dtype: type, tolerance: float) -> None:
    numbers = np.linspace(-86.9, 0.0, 1_000_003).astype(dtype)
    exact = np.exp(numbers.astype(np.float64))
    assert np.max(np.abs(exponentials(numbers) / exact - 1.0)) < tolerance


def test_what_is_too_small_for_float32_is_nothing_and_nan_stays_nan() -> None:
    found = exponentials(np.array([0.0, -87.1, -1e30, -math.inf, math.nan] * 9, np.float32))
    assert found[:4].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert np.isnan(found[4::5]).all()
    assert (found[1::5] == 0.0).all()
