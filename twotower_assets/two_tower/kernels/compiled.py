"""How loops are compiled by Numba: once per machine, without the global interpreter lock, some of them parallel.

Here: the decorators. Not here: the loops, which stand beside the code that calls them, and on how many threads they
run (`threads.py`). Numba recompiles a function when its own file changes, but not when a function of another file
that it calls does (`bfloat16.py`, `exponential.py`): touch the caller's file then.
"""

from __future__ import annotations

import numba

FASTMATH_FLAGS = {"reassoc", "contract", "arcp", "nsz"}
"""Sums may be reordered, which vectorising them needs; NaN and ∞ keep their meaning."""

compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
compiled_parallel = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FASTMATH_FLAGS, parallel=True)
"""`numba.prange` spreads rows over threads, and sums may be reordered. Without OpenMP (Linux has it, macOS often lacks
it), Numba aborts a process in which two threads run parallel functions at once."""
