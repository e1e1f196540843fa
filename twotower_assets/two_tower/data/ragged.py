"""Rows of different length as two flat arrays.

Here: the container and taking rows out of it. Not here: what the values mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from twotower_assets.two_tower.kernels.compiled import compiled

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Ragged:
    """`offsets` int64 [rows + 1], `values` int64 [m]; row r is `values[offsets[r]:offsets[r + 1]]`."""

    offsets: Int64s
    values: Int64s

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def from_lengths(cls, lengths: Int64s, values: Int64s) -> Ragged:
        """Rows of the given lengths (int64 [rows]) over `values` (int64 [sum of lengths])."""
        return cls(np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)]), values)

    @classmethod
    def concatenate(cls, parts: list[Ragged]) -> Ragged:
        """The rows of all parts, one part after the other."""
        lengths = [np.diff(part.offsets) for part in parts]
        values = [part.values for part in parts]
        empty = np.zeros(0, np.int64)
        return cls.from_lengths(np.concatenate([empty, *lengths]), np.concatenate([empty, *values]))

    def take(self, rows: Int64s) -> Ragged:
        """The given rows (int64 [m]) in the given order."""
        lengths = self.offsets[rows + 1] - self.offsets[rows]
        taken = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        values = np.empty(taken[-1], np.int64)
        _copy(self.offsets, self.values, rows, taken, values)
        return Ragged(taken, values)

    def last(self, length: int) -> Ragged:
        """At most the last `length` values of each row, in their order."""
        lengths = np.diff(self.offsets)
        from_end = np.repeat(self.offsets[1:], lengths) - np.arange(len(self.values))
        return Ragged.from_lengths(np.minimum(lengths, length), self.values[from_end <= length])

    def where(self, keep: npt.NDArray[np.bool_]) -> Ragged:
        """The values for which `keep` (bool [values]) holds; the number of rows stays."""
        rows = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        return Ragged.from_lengths(np.bincount(rows[keep], minlength=len(self)), self.values[keep])


@compiled
def _copy(offsets: Int64s, values: Int64s, rows: Int64s, taken: Int64s, into: Int64s) -> None:
    for row in range(len(rows)):
        first = offsets[rows[row]]
        for place in range(taken[row + 1] - taken[row]):
            into[taken[row] + place] = values[first + place]
