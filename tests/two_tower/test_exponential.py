from __future__ import annotations

import math

import numba
import numpy as np
import pytest

from twotower_assets.two_tower.kernels.compiled import compiled, compiled_parallel
from twotower_assets.two_tower.kernels.exponential import exponential, highest


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


@compiled
def highest_of(numbers):
    return highest(numbers)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "numbers",
    [
        [1.0, 3.0, -2.0],
        [-3.0, -1.5, -70.0],
        [-math.inf, -1e30, -math.inf],
        [0.0, -0.0],
        [-math.inf] * 5,
        [math.inf, 1.0],
    ],
)
def test_the_highest_is_the_one_of_numpy(dtype: type, numbers: list[float]) -> None:
    array = np.array(numbers, dtype)
    assert highest_of(array) == array.max() == highest(array)
    assert highest_of(np.random.default_rng(0).permutation(np.r_[array, array[:1] - 1].astype(dtype))) == array.max()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_of_nothing_the_highest_is_minus_infinity_and_nan_is_higher_than_all_else_in_float32(dtype: type) -> None:
    assert highest_of(np.zeros(0, dtype)) == -math.inf == highest(np.zeros(0, dtype))
    assert np.isnan(highest_of(np.array([1.0, math.nan, 2.0], np.float32)))
