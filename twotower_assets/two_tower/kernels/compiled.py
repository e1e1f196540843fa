"""Loops over integers, over the rows they name, and over scores, that no array operation does in one pass.

Here: how such functions are compiled, by Numba, once per machine and without Python's lock, and on how many threads the
parallel ones run. Not here: the functions, which stand beside what they are for. A function is compiled anew when its
own file has changed; after a change of one in another file that it calls (`bfloat16.py`, `exponential.py`), touch it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numba
from numba import config

IN_ANY_ORDER = {"reassoc", "contract", "arcp", "nsz"}
"""Sums may be added in another order, as they must be to add several numbers at once; NaN and ∞ are kept."""

compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
compiled_parallel = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=IN_ANY_ORDER, parallel=True)
"""In any order; `numba.prange` goes through rows on several threads. Without OpenMP, which Linux has and macOS often
lacks, Numba ends a process in which two threads run such functions at once."""


@contextmanager
def threads_of_loops(threads: int) -> Iterator[None]:
    """Parallel functions run on so many threads, or as many as Numba was started with; as before afterwards."""
    before = numba.get_num_threads()
    numba.set_num_threads(min(threads, int(config.NUMBA_NUM_THREADS)))  # type: ignore[attr-defined]
    try:
        yield
    finally:
        numba.set_num_threads(before)
