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
HALF_BITS, LAST_BIT, ROUND_TO_NEAREST = np.uint32(16), np.uint32(1), np.uint32(0x7FFF)


def as_numpy(tensor: Tensor) -> npt.NDArray[Any]:
    """An array that shares the tensor's memory: uint16 for bfloat16, otherwise of the same type."""
    array: npt.NDArray[Any] = (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return array


def minus_infinity(array: npt.NDArray[Any]) -> np.generic:
    """-∞ in the number format of `array`."""
    return MINUS_INFINITY if array.dtype == np.uint16 else array.dtype.type(-np.inf)


def to_float32(value: Any) -> Any:
    """A bfloat16 value (uint16) as float32; float32 and float64 unchanged. For compiled loops only."""
    raise NotImplementedError


def to_bfloat16(value: Any, array: npt.NDArray[Any]) -> Any:
    """A value rounded to nearest even where `array` holds bfloat16, otherwise unchanged. For compiled loops only.

    NaN may become a number or ∞.
    """
    raise NotImplementedError


@overload(to_float32)
def _to_float32(value: Any) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        return np.uint32(np.uint32(value) << HALF_BITS).view(np.float32)

    def keep(value: Any) -> Any:
        return value

    return convert if value == types.uint16 else keep


@overload(to_bfloat16)
def _to_bfloat16(value: Any, array: Any) -> Callable[[Any, Any], Any]:  # noqa: ARG001
    def convert(value: Any, array: Any) -> Any:  # noqa: ARG001
        bits = np.float32(value).view(np.uint32)
        odd = np.uint32(np.uint32(bits >> HALF_BITS) & LAST_BIT)
        return np.uint16(np.uint32(np.uint32(bits + ROUND_TO_NEAREST) + odd) >> HALF_BITS)

    def keep(value: Any, array: Any) -> Any:  # noqa: ARG001
        return value

    return convert if array.dtype == types.uint16 else keep
