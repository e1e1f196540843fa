"""Rows taken out of a ragged array in one pass, as every batch takes its histories."""

from __future__ import annotations

import numpy as np

from twotower_assets.core.ragged import Int64s, Ragged
from twotower_assets.two_tower.kernels.compiled import compiled


def take_rows(ragged: Ragged, rows: Int64s) -> Ragged:
    """The chosen rows, int64 [m], in that order, as `Ragged.take` gives them."""
    lengths = ragged.offsets[rows + 1] - ragged.offsets[rows]
    taken = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    values = np.empty(taken[-1], np.int64)
    _copy(ragged.offsets, ragged.values, rows, taken, values)
    return Ragged(taken, values)


@compiled
def _copy(offsets: Int64s, values: Int64s, rows: Int64s, taken: Int64s, into: Int64s) -> None:
    for row in range(len(rows)):
        first = offsets[rows[row]]
        for place in range(taken[row + 1] - taken[row]):
            into[taken[row] + place] = values[first + place]
