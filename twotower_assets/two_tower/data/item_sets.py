"""Sets of items: what a user clicked, what a category holds.

Here: the container, membership of many pairs at once, where items occur in a list, the distinct values of a list, and
seeded uniform draws. Not here: what the sets mean.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from twotower_assets.two_tower.kernels.compiled import compiled

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Occurrences:
    """Where each item occurs in a list [m], as linked lists of indices.

    An item occurs first at `first_index[item]`, and after any index at `next_index[index]`; -1 ends the list.
    """

    first_index: Int32s
    next_index: Int32s

    @classmethod
    def build(cls, items: Int64s, n_items: int) -> Occurrences:
        """Occurrences in `items` int64 [m], all of them below `n_items`."""
        first_index, next_index = np.full(n_items, -1, np.int32), np.empty(len(items), np.int32)
        _link(items, first_index, next_index)
        return cls(first_index, next_index)


@dataclass(frozen=True)
class ItemSets:
    """Set r holds the column indices of row r of `members`, a Boolean sparse matrix [sets, items]."""

    members: csr_array

    @classmethod
    def from_members(cls, sets: Int64s, items: Int64s, n_sets: int, n_items: int) -> ItemSets:
        """Sets from pairs of a set and an item in it, int64 [n] each; repeats count once."""
        matrix = csr_array((np.ones(len(sets), np.bool_), (sets, items)), shape=(n_sets, n_items))
        matrix.sum_duplicates()  # sorts the items of each set, too
        return cls(matrix)

    def __len__(self) -> int:
        return int(self.members.shape[0])

    @property
    def sizes(self) -> Int64s:
        """Number of items in each set, int64 [sets]."""
        sizes: Int64s = np.diff(self.members.indptr).astype(np.int64)
        return sizes

    def membership(self, sets: Int64s, items: Int64s) -> Bools:
        """Whether sets [n] hold items: the same items [m] for all sets, or different items [n, m] for each set.

        Returns:
            bool [n, m]. The cost is the total size of the sets for shared items, else its logarithm times m.
        """
        found = np.zeros((len(sets), items.shape[-1]), np.bool_)
        if items.ndim == 1:
            occurrences = Occurrences.build(items, self.members.shape[1])
            indptr, indices = self.members.indptr, self.members.indices
            _mark_shared(found, sets, indptr, indices, occurrences.first_index, occurrences.next_index)
        else:
            _mark_per_row(found, sets, self.members.indptr, self.members.indices, items)
        return found

    def contains(self, sets: Int64s, items: Int64s) -> npt.NDArray[np.bool_]:
        """Whether set n holds item n, pair by pair: int64 [n] each to bool [n]."""
        if not len(sets):
            return np.zeros(0, np.bool_)
        return np.asarray(self.members[sets, items], np.bool_).ravel()

    def draw(self, sets: Int64s, count: int, generator: np.random.Generator) -> Int64s:
        """Draw `count` items from each set, uniformly with replacement: int64 [n, count], 0 for empty sets."""
        starts, sizes = self.members.indptr[sets].astype(np.int64), self.sizes[sets]
        indices = (generator.random((len(sets), count)) * sizes[:, None]).astype(np.int64)
        drawn = np.zeros((len(sets), count), np.int64)
        filled = sizes > 0
        drawn[filled] = self.members.indices[(starts[:, None] + indices)[filled]]
        return drawn

    def draw_distinct(self, sets: Int64s, count: int, generator: np.random.Generator) -> Int64s:
        """Draw up to `count` distinct items from each set, each with equal probability: int64 [n, count].

        A set with fewer items gives all of them; the rest of its row is 0. This is systematic sampling: the items of a
        set are cut into as many chunks as are drawn, and each chunk gives the item at one random offset that all chunks
        of the set share.
        """
        starts, sizes = self.members.indptr[sets].astype(np.int64), self.sizes[sets]
        n_drawn = np.minimum(sizes, count)[:, None]
        chunk = np.arange(count)[None, :]
        index = (generator.random((len(sets), 1)) + chunk) * sizes[:, None] / np.maximum(n_drawn, 1)
        index = np.minimum(index.astype(np.int64), sizes[:, None] - 1)  # rounding may reach into the next chunk
        drawn = np.zeros((len(sets), count), np.int64)
        filled = chunk < n_drawn
        drawn[filled] = self.members.indices[(starts[:, None] + index)[filled]]
        return drawn

    def sums(self, sets: Int64s, value: Callable[[Int64s], npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
        """Sum of `value(items int64 [m]) -> float64 [m]` over the items of each set [n]: float64 [n]."""
        chosen = self.members[sets]
        values = value(chosen.indices.astype(np.int64))
        rows = np.repeat(np.arange(len(sets)), np.diff(chosen.indptr))
        return np.bincount(rows, weights=values, minlength=len(sets)).astype(np.float64)

    def arrays(self) -> list[npt.NDArray[np.int64]]:
        """The arrays that determine the sets."""
        return [self.members.indptr.astype(np.int64), self.members.indices.astype(np.int64)]

    def fingerprint(self) -> str:
        """SHA-256 of the sets."""
        return hashlib.sha256(b"".join(array.tobytes() for array in self.arrays())).hexdigest()


def unique_ids(ids: Int64s, scratch: Int32s) -> tuple[Int64s, Int64s]:
    """Distinct ids in linear time, without sorting.

    Args:
        ids: int64 [n], each below the length of `scratch`.
        scratch: int32, all -1; it is all -1 again afterwards.

    Returns:
        The distinct ids int64 [D] in order of first appearance, and the index of each id among them, int64 [n].
    """
    unique, inverse = np.empty(len(ids), np.int64), np.empty(len(ids), np.int64)
    count = _unique(ids, scratch, unique, inverse)
    return unique[:count], inverse


@compiled
def _unique(ids: Int64s, scratch: Int32s, unique: Int64s, inverse: Int64s) -> int:
    count = 0
    for i in range(len(ids)):
        row = ids[i]
        if scratch[row] < 0:
            scratch[row] = count
            unique[count] = row
            count += 1
        inverse[i] = scratch[row]
    for i in range(count):
        scratch[unique[i]] = -1
    return count


@compiled
def _link(items: Int64s, first_index: Int32s, next_index: Int32s) -> None:
    for index in range(len(items) - 1, -1, -1):
        next_index[index] = first_index[items[index]]
        first_index[items[index]] = index


@compiled
def _mark_shared(
    found: Bools, sets: Int64s, starts: Int32s, members: Int32s, first_index: Int32s, next_index: Int32s
) -> None:
    for row in range(len(sets)):
        for member in range(starts[sets[row]], starts[sets[row] + 1]):
            index = first_index[members[member]]
            while index >= 0:
                found[row, index] = True
                index = next_index[index]


@compiled
def _mark_per_row(found: Bools, sets: Int64s, starts: Int32s, members: Int32s, items: Int64s) -> None:
    for row in range(len(sets)):
        held = members[starts[sets[row]] : starts[sets[row] + 1]]
        for column in range(items.shape[1]):
            index = np.searchsorted(held, items[row, column])
            found[row, column] = index < len(held) and held[index] == items[row, column]
