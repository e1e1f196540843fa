from __future__ import annotations

import math

import numba
import numpy as np
import pytest

from twotower_assets.two_tower.kernels.compiled import compiled, compiled_parallel
from twotower_assets.two_tower.kernels.exponential import exponential, row_maximum


@compiled_parallel
def exponential_of_each(values, results):
    for index in numba.prange(len(values)):
        results[index] = exponential(values[index])


def exponentials(values: np.ndarray) -> np.ndarray:
    results = np.empty_like(values)
    exponential_of_each(values, results)
    return results


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 3e-7), (np.float64, 1e-15)])
def test_results_are_exact_to_rounding(dtype: type, tolerance: float) -> None:
    numbers = np.linspace(-86.9, 0.0, 1_000_003).astype(dtype)
    exact = np.exp(numbers.astype(np.float64))
    assert np.max(np.abs(exponentials(numbers) / exact - 1.0)) < tolerance


def test_results_too_small_for_float32_are_0_and_nan_stays_nan() -> None:
    found = exponentials(np.array([0.0, -87.1, -1e30, -math.inf, math.nan] * 9, np.float32))
    assert found[:4].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert np.isnan(found[4::5]).all()
    assert (found[1::5] == 0.0).all()


@compiled
def compiled_maximum(values):
    return row_maximum(values)


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
def test_the_maximum_is_that_of_numpy(dtype: type, numbers: list[float]) -> None:
    array = np.array(numbers, dtype)
    assert compiled_maximum(array) == array.max() == row_maximum(array)
    assert (
        compiled_maximum(np.random.default_rng(0).permutation(np.r_[array, array[:1] - 1].astype(dtype))) == array.max()
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_maximum_of_an_empty_array_is_minus_infinity_and_nan_wins_in_float32(dtype: type) -> None:
    assert compiled_maximum(np.zeros(0, dtype)) == -math.inf == row_maximum(np.zeros(0, dtype))
    assert np.isnan(compiled_maximum(np.array([1.0, math.nan, 2.0], np.float32)))
