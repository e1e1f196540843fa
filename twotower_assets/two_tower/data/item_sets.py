"""Sets of items: what a user clicked, what a category holds.

Here: the container, membership of many pairs at once, where items stand in a list and which are in it, and seeded
uniform draws. Not here: what the sets mean.
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
class Places:
    """Where each item stands in a list [m]: first at `first[item]`, then at `following[place]`; -1 where no more."""

    first: Int32s
    following: Int32s

    @classmethod
    def of(cls, items: Int64s, n_items: int) -> Places:
        """Of items int64 [m], each below `n_items`."""
        first, following = np.full(n_items, -1, np.int32), np.empty(len(items), np.int32)
        _link(items, first, following)
        return cls(first, following)


@dataclass(frozen=True)
class ItemSets:
    """Set r holds the column numbers of row r of `members`, a Boolean sparse matrix [sets, items]."""

    members: csr_array

    @classmethod
    def of_members(cls, sets: Int64s, items: Int64s, n_sets: int, n_items: int) -> ItemSets:
        """From pairs of a set and an item in it, int64 [n] each; repeats count once."""
        matrix = csr_array((np.ones(len(sets), np.bool_), (sets, items)), shape=(n_sets, n_items))
        matrix.sum_duplicates()  # sorts the items of each set, too
        return cls(matrix)

    def __len__(self) -> int:
        return int(self.members.shape[0])

    @property
    def sizes(self) -> Int64s:
        """Items of each set, int64 [sets]."""
        sizes: Int64s = np.diff(self.members.indptr).astype(np.int64)
        return sizes

    def contain(self, sets: Int64s, items: Int64s) -> Bools:
        """Whether each of the sets [n] holds each of the items: of [m] shared items, or of its own items [n, m].

        Returns:
            bool [n, m]. Costs the sizes of the sets, where items are shared; else their logarithms times m.
        """
        found = np.zeros((len(sets), items.shape[-1]), np.bool_)
        if items.ndim == 1:
            places = Places.of(items, self.members.shape[1])
            _mark_shared(found, sets, self.members.indptr, self.members.indices, places.first, places.following)
        else:
            _mark_own(found, sets, self.members.indptr, self.members.indices, items)
        return found

    def contains(self, sets: Int64s, items: Int64s) -> npt.NDArray[np.bool_]:
        """Whether set n holds item n, pair by pair: int64 [n] each to bool [n]."""
        if not len(sets):
            return np.zeros(0, np.bool_)
        return np.asarray(self.members[sets, items], np.bool_).ravel()

    def draw(self, sets: Int64s, count: int, generator: np.random.Generator) -> Int64s:
        """`count` items of each set, uniformly and with replacement: int64 [n, count], 0 where a set is empty."""
        starts, sizes = self.members.indptr[sets].astype(np.int64), self.sizes[sets]
        places = (generator.random((len(sets), count)) * sizes[:, None]).astype(np.int64)
        drawn = np.zeros((len(sets), count), np.int64)
        filled = sizes > 0
        drawn[filled] = self.members.indices[(starts[:, None] + places)[filled]]
        return drawn

    def draw_distinct(self, sets: Int64s, count: int, generator: np.random.Generator) -> Int64s:
        """Up to `count` distinct items of each set, each as likely as any other: int64 [n, count].

        A set of fewer items gives all of them; what is left of its row is 0. The items of a set are cut into as many
        stretches as are drawn, and each gives the one at a place that all stretches share.
        """
        starts, sizes = self.members.indptr[sets].astype(np.int64), self.sizes[sets]
        taken = np.minimum(sizes, count)[:, None]
        stretch = np.arange(count)[None, :]
        place = (generator.random((len(sets), 1)) + stretch) * sizes[:, None] / np.maximum(taken, 1)
        place = np.minimum(place.astype(np.int64), sizes[:, None] - 1)  # a sum may be rounded up to the next stretch
        drawn = np.zeros((len(sets), count), np.int64)
        filled = stretch < taken
        drawn[filled] = self.members.indices[(starts[:, None] + place)[filled]]
        return drawn

    def sums(self, sets: Int64s, values_of: Callable[[Int64s], npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
        """Sum over the items of each set [n] of what `values_of` gives for items int64 [m]: float64 [n]."""
        chosen = self.members[sets]
        values = values_of(chosen.indices.astype(np.int64))
        rows = np.repeat(np.arange(len(sets)), np.diff(chosen.indptr))
        return np.bincount(rows, weights=values, minlength=len(sets)).astype(np.float64)

    def arrays(self) -> list[npt.NDArray[np.int64]]:
        """What determines the sets."""
        return [self.members.indptr.astype(np.int64), self.members.indices.astype(np.int64)]

    def fingerprint(self) -> str:
        """SHA-256 of the sets."""
        return hashlib.sha256(b"".join(array.tobytes() for array in self.arrays())).hexdigest()


def distinct(ids: Int64s, place: Int32s) -> tuple[Int64s, Int64s]:
    """The distinct ids int64 [D], in the order of their first appearance, and the place of each of the ids among them.

    `place` int32 [ids there are] is scratch, all -1 between calls.
    """
    rows, places = np.empty(len(ids), np.int64), np.empty(len(ids), np.int64)
    count = _distinct(ids, place, rows, places)
    return rows[:count], places


@compiled
def _distinct(ids: Int64s, place: Int32s, rows: Int64s, places: Int64s) -> int:
    count = 0
    for i in range(len(ids)):
        row = ids[i]
        if place[row] < 0:
            place[row] = count
            rows[count] = row
            count += 1
        places[i] = place[row]
    for i in range(count):
        place[rows[i]] = -1
    return count


@compiled
def _link(items: Int64s, first: Int32s, following: Int32s) -> None:
    for place in range(len(items) - 1, -1, -1):
        following[place] = first[items[place]]
        first[items[place]] = place


@compiled
def _mark_shared(found: Bools, sets: Int64s, starts: Int32s, members: Int32s, first: Int32s, following: Int32s) -> None:
    for row in range(len(sets)):
        for member in range(starts[sets[row]], starts[sets[row] + 1]):
            place = first[members[member]]
            while place >= 0:
                found[row, place] = True
                place = following[place]


@compiled
def _mark_own(found: Bools, sets: Int64s, starts: Int32s, members: Int32s, items: Int64s) -> None:
    for row in range(len(sets)):
        held = members[starts[sets[row]] : starts[sets[row] + 1]]
        for column in range(items.shape[1]):
            place = np.searchsorted(held, items[row, column])
            found[row, column] = place < len(held) and held[place] == items[row, column]
