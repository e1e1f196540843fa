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

LOWEST = np.float32(-87.0)
"""e^x of anything lower is 0; the numbers of full precision end at e^-87.3."""
LOG2_E = np.float32(math.log2(math.e))
LN_2 = np.float32(0.693359375), np.float32(-2.12194440e-4)  # their sum; the first times any exponent is exact
C2, C3, C4, C5, C6, C7 = (
    np.float32(one)
    for one in (5.0000001201e-1, 1.6666665459e-1, 4.1665795894e-2, 8.3334519073e-3, 1.3981999507e-3, 1.9875691500e-4)
)
"""e^r = 1 + r + C2·r² + … + C7·r⁷ for |r| ≤ ½·ln 2: `expf` of Moshier's Cephes."""
LOWEST_INTEGER, SIGN, BUT_SIGN = np.int32(-(2**31)), np.int32(31), np.int32(2**31 - 1)
MINUS_INFINITY = np.float32(-np.inf)
ONE, HALF, BIAS, MANTISSA = np.float32(1.0), np.float32(0.5), np.int32(127), np.int32(23)


def exponential(x: float) -> float:
    """e^x of x ≤ 0, -∞ among them: to 3e-7 of itself in float32, as exact as it gets in float64. NaN stays NaN."""
    return math.exp(x)


def highest(numbers: npt.NDArray[np.floating]) -> np.floating:
    """The highest number of an array, -∞ of none; in float32 NaN if one of them is (and its sign not set)."""
    return numbers.dtype.type(numbers.max(initial=-np.inf))


@overload(exponential)
def _exponential(x: Any) -> Callable[[Any], Any]:
    def of_float32(x: Any) -> Any:
        power = np.int32(x * LOG2_E - HALF)  # towards zero, and so to the nearest
        rest = x - np.float32(power) * LN_2[0] - np.float32(power) * LN_2[1]
        series = ((((C7 * rest + C6) * rest + C5) * rest + C4) * rest + C3) * rest + C2
        two_to_power = np.int32((power + BIAS) << MANTISSA).view(np.float32)
        result = (series * rest * rest + rest + ONE) * two_to_power
        return np.float32(0.0) if x < LOWEST else result

    def of_float64(x: Any) -> Any:
        return math.exp(x)

    return of_float32 if x == types.float32 else of_float64


@overload(highest)
def _highest(numbers: Any) -> Callable[[Any], Any]:
    def of_float32(numbers: Any) -> Any:
        bits, top = numbers.view(np.int32), LOWEST_INTEGER
        for place in range(len(bits)):
            top = max(top, _in_order(bits[place]))
        return np.int32(_in_order(top)).view(np.float32) if len(bits) else MINUS_INFINITY

    def of_float64(numbers: Any) -> Any:
        top = -np.inf
        for place in range(len(numbers)):
            top = max(top, numbers[place])
        return top

    return of_float32 if numbers.dtype == types.float32 else of_float64


@compiled
def _in_order(bits: Any) -> Any:
    """The bits of a float32 as an integer that grows with it, and such an integer as the bits."""
    return np.int32(bits ^ np.int32((bits >> SIGN) & BUT_SIGN))
