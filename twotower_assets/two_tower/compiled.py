"""Loops over integers, and over the rows they name, that no array operation does in one pass.

Here: how such functions are compiled, by Numba, once per machine and without Python's lock. Not here: the functions,
which stand beside what they are for.
"""

from __future__ import annotations

import numba

compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
