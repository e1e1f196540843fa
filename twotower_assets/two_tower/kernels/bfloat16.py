"""bfloat16 in compiled loops: Numba has no such type, so it is handled as uint16, the upper half of a float32.

Here: sharing a tensor's memory with a loop, and converting single values. float32 and float64 pass through unchanged,
so that one loop serves all three types. Not here: the loops (`loss/compiled_softmax.py`, `sampling/masks.py`), and
whether bfloat16 pays off on this machine (`processor.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from numba import types
from numba.extending import overload
from torch import Tensor

MINUS_INFINITY = np.uint16(0xFF80)
HALF_BITS, ODD, TO_NEAREST = np.uint32(16), np.uint32(1), np.uint32(0x7FFF)


def numbers_of(tensor: Tensor) -> npt.NDArray[Any]:
    """An array that shares the tensor's memory: uint16 of bfloat16, else of its own kind."""
    array: npt.NDArray[Any] = (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return array


def minus_infinity(numbers: npt.NDArray[Any]) -> np.generic:
    """-∞ as `numbers` hold it."""
    return MINUS_INFINITY if numbers.dtype == np.uint16 else numbers.dtype.type(-np.inf)


def widened(number: Any) -> Any:
    """A number of an array as one to calculate with: float32 of uint16, else as it is; in compiled loops alone."""
    raise NotImplementedError


def stored(number: Any, array: npt.NDArray[Any]) -> Any:
    """A number as `array` holds it: of uint16 the nearest, of two the even one; in compiled loops alone.

    NaN may come out as a number or ∞.
    """
    raise NotImplementedError


@overload(widened)
def _widened(number: Any) -> Callable[[Any], Any]:
    def of_bfloat16(number: Any) -> Any:
        return np.uint32(np.uint32(number) << HALF_BITS).view(np.float32)

    def as_it_is(number: Any) -> Any:
        return number

    return of_bfloat16 if number == types.uint16 else as_it_is


@overload(stored)
def _stored(number: Any, array: Any) -> Callable[[Any, Any], Any]:  # noqa: ARG001
    def as_bfloat16(number: Any, array: Any) -> Any:  # noqa: ARG001
        bits = np.float32(number).view(np.uint32)
        odd = np.uint32(np.uint32(bits >> HALF_BITS) & ODD)
        return np.uint16(np.uint32(np.uint32(bits + TO_NEAREST) + odd) >> HALF_BITS)

    def as_it_is(number: Any, array: Any) -> Any:  # noqa: ARG001
        return number

    return as_bfloat16 if array.dtype == types.uint16 else as_it_is
