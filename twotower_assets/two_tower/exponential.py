"""e^x for compiled loops, in float32 without a call, so that the compiler takes eight or sixteen numbers at once.

The C library's takes them one by one, which in a softmax would cost more than the products of its matrices.

Here: `exponential`, of numbers up to 0. Not here: the loops (`losses.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

LOWEST = np.float32(-87.0)
"""e^x of anything lower is 0; the numbers of full precision end at e^-87.3."""
LOG2_E = np.float32(math.log2(math.e))
LN_2 = np.float32(0.693359375), np.float32(-2.12194440e-4)  # their sum; the first times any exponent is exact
C2, C3, C4, C5, C6, C7 = (
    np.float32(one)
    for one in (5.0000001201e-1, 1.6666665459e-1, 4.1665795894e-2, 8.3334519073e-3, 1.3981999507e-3, 1.9875691500e-4)
)
"""e^r = 1 + r + C2·r² + … + C7·r⁷ for |r| ≤ ½·ln 2: `expf` of Moshier's Cephes."""
ONE, HALF, BIAS, MANTISSA = np.float32(1.0), np.float32(0.5), np.int32(127), np.int32(23)


def exponential(x: float) -> float:
    """e^x of x ≤ 0, -∞ among them: to 3e-7 of itself in float32, as exact as it gets in float64. NaN stays NaN."""
    return math.exp(x)


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
