"""How loops are compiled by Numba: once per machine, without the global interpreter lock, some of them parallel.

Here: the decorators, and the number of threads that parallel loops use. Not here: the loops, which stand beside the
code that calls them. Numba recompiles a function when its own file changes, but not when a function of another file
that it calls does (`bfloat16.py`, `exponential.py`): touch the caller's file then.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numba
from numba import config

FASTMATH_FLAGS = {"reassoc", "contract", "arcp", "nsz"}
"""Sums may be reordered, which vectorising them needs; NaN and ∞ keep their meaning."""

compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
compiled_parallel = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FASTMATH_FLAGS, parallel=True)
"""`numba.prange` spreads rows over threads, and sums may be reordered. Without OpenMP (Linux has it, macOS often lacks
it), Numba aborts a process in which two threads run parallel functions at once."""


@contextmanager
def kernel_threads(threads: int) -> Iterator[None]:
    """Run parallel functions on that many threads, or on as many as Numba was started with; restored afterwards."""
    before = numba.get_num_threads()
    numba.set_num_threads(min(threads, int(config.NUMBA_NUM_THREADS)))  # type: ignore[attr-defined]
    try:
        yield
    finally:
        numba.set_num_threads(before)
