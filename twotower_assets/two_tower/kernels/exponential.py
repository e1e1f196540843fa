"""e^x and the maximum of an array for compiled loops, written in float32 so that the compiler vectorises them.

Calls into the C library and floating-point maxima are not vectorised; in a softmax they would cost more than its matrix
products.

Here: `exponential`, for arguments up to 0, and `row_maximum`. Not here: the softmax (`loss/compiled_softmax.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import overload

from twotower_assets.two_tower.kernels.compiled import compiled

SMALLEST_ARGUMENT = np.float32(-87.0)
"""e^x of anything lower is 0; normal float32 numbers end at e^-87.3."""
LOG2_E = np.float32(math.log2(math.e))
LN_2 = np.float32(0.693359375), np.float32(-2.12194440e-4)
"""High and low part of ln 2; the high part times any exponent is exact."""
C2, C3, C4, C5, C6, C7 = (
    np.float32(coefficient)
    for coefficient in (
        5.0000001201e-1,
        1.6666665459e-1,
        4.1665795894e-2,
        8.3334519073e-3,
        1.3981999507e-3,
        1.9875691500e-4,
    )
)
"""e^r = 1 + r + C2·r² + … + C7·r⁷ for |r| ≤ ½·ln 2: `expf` of Moshier's Cephes."""
SMALLEST_INT32, SIGN_SHIFT, ALL_BUT_SIGN = np.int32(-(2**31)), np.int32(31), np.int32(2**31 - 1)
MINUS_INFINITY = np.float32(-np.inf)
ONE, HALF, EXPONENT_BIAS, MANTISSA_BITS = np.float32(1.0), np.float32(0.5), np.int32(127), np.int32(23)


def exponential(x: float) -> float:
    """e^x for x ≤ 0, including -∞: relative error up to 3e-7 in float32, `math.exp` in float64. NaN stays NaN."""
    return math.exp(x)


def row_maximum(values: npt.NDArray[np.floating]) -> np.floating:
    """The maximum of an array, -∞ if it is empty; in float32 NaN if a value is NaN (with its sign bit clear)."""
    return values.dtype.type(values.max(initial=-np.inf))


@overload(exponential)
def _exponential(x: Any) -> Callable[[Any], Any]:
    def float32(x: Any) -> Any:
        power = np.int32(x * LOG2_E - HALF)  # truncation, which rounds to nearest here
        rest = x - np.float32(power) * LN_2[0] - np.float32(power) * LN_2[1]
        series = ((((C7 * rest + C6) * rest + C5) * rest + C4) * rest + C3) * rest + C2
        two_to_power = np.int32((power + EXPONENT_BIAS) << MANTISSA_BITS).view(np.float32)
        result = (series * rest * rest + rest + ONE) * two_to_power
        return np.float32(0.0) if x < SMALLEST_ARGUMENT else result

    def float64(x: Any) -> Any:
        return math.exp(x)

    return float32 if x == types.float32 else float64


@overload(row_maximum)
def _row_maximum(values: Any) -> Callable[[Any], Any]:
    def float32(values: Any) -> Any:
        bits, maximum = values.view(np.int32), SMALLEST_INT32
        for index in range(len(bits)):
            maximum = max(maximum, _ordered_bits(bits[index]))
        return np.int32(_ordered_bits(maximum)).view(np.float32) if len(bits) else MINUS_INFINITY

    def float64(values: Any) -> Any:
        maximum = -np.inf
        for index in range(len(values)):
            maximum = max(maximum, values[index])
        return maximum

    return float32 if values.dtype == types.float32 else float64


@compiled
def _ordered_bits(bits: Any) -> Any:
    """The bits of a float32 as an int32 of the same order; the function is its own inverse."""
    return np.int32(bits ^ np.int32((bits >> SIGN_SHIFT) & ALL_BUT_SIGN))
