"""Rows of different lengths as two flat arrays: histories, and sets of items per user.

The container, its constructors, row selection and set operations belong here. The meaning of the values does not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Ragged:
    """Rows of integers.

    A row may be a sequence (`from_lengths`) or a set (`from_pairs`, `from_lists`): a set's values ascend without
    repeats. `contains`, `earliest` and `pair_keys` need sets.

    Attributes:
        offsets: int64 [n_rows + 1]; row r holds values[offsets[r] : offsets[r + 1]].
        values: int64 [m].
    """

    offsets: Int64s
    values: Int64s

    def __post_init__(self) -> None:
        offsets = self.offsets
        if offsets.ndim != 1 or len(offsets) < 1 or offsets[0] != 0 or offsets[-1] != len(self.values):
            raise ValueError("offsets must be one-dimensional, start at 0 and end at the number of values")
        if (offsets[1:] < offsets[:-1]).any():
            raise ValueError("offsets must not decrease")

    @classmethod
    def from_lengths(cls, lengths: Int64s, values: Int64s) -> Ragged:
        """Rows of the given lengths (int64 [rows]) over `values` (int64 [sum of lengths])."""
        return cls(np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)]), values)

    @classmethod
    def from_lists(cls, lists: Iterable[Iterable[int]]) -> Ragged:
        """Sets, given as one iterable of values per row, in any order; repeats count once."""
        arrays = [np.asarray(list(items), dtype=np.int64) for items in lists]
        rows = np.repeat(np.arange(len(arrays), dtype=np.int64), [len(items) for items in arrays])
        values = np.concatenate([np.empty(0, dtype=np.int64), *arrays])
        return cls.from_pairs(rows, values, len(arrays))

    @classmethod
    def from_pairs(cls, rows: NDArray[Any], values: NDArray[Any], n_rows: int) -> Ragged:
        """Sets, given as pairs of row and value in any order, int [m] each; repeats count once.

        Raises:
            ValueError: different lengths, a row outside [0, n_rows), or a negative value.
        """
        rows, values = np.asarray(rows, dtype=np.int64), np.asarray(values, dtype=np.int64)
        if rows.shape != values.shape or rows.ndim != 1:
            raise ValueError(f"rows and values must be of one length, got {rows.shape} and {values.shape}")
        if len(rows) and (rows.min() < 0 or rows.max() >= n_rows):
            raise ValueError(f"rows must lie in [0, {n_rows}), got {rows.min()} to {rows.max()}")
        if len(values) and values.min() < 0:
            raise ValueError(f"values of sets must not be negative, got {values.min()}")
        order = np.lexsort((values, rows))
        rows, values = rows[order], values[order]
        first = np.ones(len(rows), dtype=bool)
        first[1:] = (np.diff(rows) != 0) | (np.diff(values) != 0)
        rows, values = rows[first], values[first]
        return cls.from_lengths(np.bincount(rows, minlength=n_rows), values)

    @classmethod
    def concatenate(cls, arrays: list[Ragged]) -> Ragged:
        """The rows of several arrays, one array after the other."""
        empty = np.zeros(0, np.int64)
        lengths = np.concatenate([empty, *(array.sizes() for array in arrays)])
        return cls.from_lengths(lengths, np.concatenate([empty, *(array.values for array in arrays)]))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> Int64s:
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} is outside [0, {len(self)})")
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def sizes(self) -> Int64s:
        """Values per row, int64 [n_rows]."""
        return np.diff(self.offsets)

    def rows(self) -> Int64s:
        """The row of every value, int64 [m]."""
        return np.repeat(np.arange(len(self), dtype=np.int64), self.sizes())

    def take(self, rows: Int64s) -> Ragged:
        """The rows at the indices `rows`, int64 [b], in that order; indices may repeat."""
        sizes = self.offsets[rows + 1] - self.offsets[rows]
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], sizes)
        return Ragged(offsets, self.values[np.repeat(self.offsets[rows], sizes) + within])

    def last(self, length: int) -> Ragged:
        """The last `length` values of each row, or fewer, in their order."""
        sizes = self.sizes()
        from_end = np.repeat(self.offsets[1:], sizes) - np.arange(len(self.values))
        return Ragged.from_lengths(np.minimum(sizes, length), self.values[from_end <= length])

    def where(self, keep: NDArray[np.bool_]) -> Ragged:
        """The values where `keep` (bool [m]) is true; the number of rows does not change."""
        return Ragged.from_lengths(np.bincount(self.rows()[keep], minlength=len(self)), self.values[keep])

    def pair_keys(self, stride: int) -> Int64s:
        """One ascending number per row and value of sets, row · stride + value: int64 [m].

        Args:
            stride: above every value.

        Raises:
            ValueError: the rows are not sets.
        """
        if len(self.values) and self.values.min() < 0:
            raise ValueError(f"values of sets must not be negative, got {self.values.min()}")
        keys: Int64s = self.rows() * stride + self.values
        if (keys[1:] <= keys[:-1]).any():
            raise ValueError("values must ascend within a row without repeats: build it with from_pairs or from_lists")
        return keys

    def earliest(self, rows: NDArray[Any], values: NDArray[Any], times: NDArray[Any]) -> NDArray[np.float64]:
        """The earliest time of each pair in the sets, float64 [m], in the order of `self.values`.

        Args:
            rows: rows of the pairs, int [p]; pairs that are in no set are ignored, repeats are allowed.
            values: their values, int [p].
            times: numbers in any unit, [p].

        Raises:
            ValueError: a pair in the sets has no time, or the rows are not sets.
        """
        stride = int(max(self.values.max(initial=0), np.max(values, initial=0))) + 1
        keys = self.pair_keys(stride)
        wanted = np.asarray(rows, dtype=np.int64) * stride + np.asarray(values, dtype=np.int64)
        at = np.searchsorted(keys, wanted)
        known = at < len(keys)
        known[known] = keys[at[known]] == wanted[known]
        earliest = np.full(len(keys), np.inf)
        np.minimum.at(earliest, at[known], np.asarray(times, dtype=np.float64)[known])
        if np.isinf(earliest).any():
            raise ValueError(f"{int(np.isinf(earliest).sum())} of {len(keys)} pairs have no time")
        return earliest

    def contains(self, lists: Int64s) -> NDArray[np.bool_]:
        """Whether each value of each row's list is in the row's set: int64 [n_rows, k] to bool [n_rows, k].

        Negative numbers, which pad lists, are in no set.

        Raises:
            ValueError: the number of lists differs from the number of rows, or the rows are not sets.
        """
        if lists.ndim != 2 or len(lists) != len(self):
            raise ValueError(f"lists must have shape [{len(self)}, k], got {lists.shape}")
        if not len(self.values) or not lists.size:
            return np.zeros(lists.shape, dtype=bool)
        stride = int(max(self.values.max(), lists.max())) + 1
        keys = self.pair_keys(stride)
        wanted = np.arange(len(lists))[:, None] * stride + lists
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        found: NDArray[np.bool_] = (keys[at] == wanted) & (lists >= 0)
        return found
