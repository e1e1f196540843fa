"""Ranked lists over the whole catalogue, and how well they find the items users clicked later.

Here are the sets of items per user (`Ragged`), the lists (`top_k`), and recall, NDCG, MRR and hit rate per
user. Means over users and their intervals are in `bootstrap`; what the lists do to popularity is in
`popularity`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twotower_assets.evaluation.scores import FloatArray, IntArray, ScoreBlock, Scores, score_blocks

PADDING = -1
"""Stands in a list where the user had fewer than k items left."""
GROUP = 32
"""Items of which only the best is looked at first."""
MANY = 8
"""Candidates per place of a list beyond which sorting them costs more than it saves."""


@dataclass(frozen=True, slots=True, eq=False)
class Ragged:
    """One set of items per user, such as the items seen in training or the relevant ones held out.

    Attributes:
        offsets: int64 [n_rows + 1]; row r holds values[offsets[r] : offsets[r + 1]].
        values: int64 [m], item positions, not negative, ascending and without repeats within a row.
    """

    offsets: IntArray
    values: IntArray

    def __post_init__(self) -> None:
        offsets, values = self.offsets, self.values
        if offsets.ndim != 1 or len(offsets) < 1 or offsets[0] != 0 or offsets[-1] != len(values):
            raise ValueError("offsets must be one-dimensional, start at 0 and end at the number of values")
        if (np.diff(offsets) < 0).any():
            raise ValueError("offsets must not decrease")
        if len(values) and values.min() < 0:
            raise ValueError(f"item positions must not be negative, got {values.min()}")
        same_row = np.diff(self.rows()) == 0
        if (np.diff(values)[same_row] <= 0).any():
            raise ValueError("values must ascend within a row without repeats: build it with from_pairs or from_lists")

    @classmethod
    def from_lists(cls, lists: Iterable[Iterable[int]]) -> Ragged:
        """The sets given as one iterable of item positions per user, in any order; repeats count once."""
        arrays = [np.asarray(list(items), dtype=np.int64) for items in lists]
        rows = np.repeat(np.arange(len(arrays), dtype=np.int64), [len(items) for items in arrays])
        values = np.concatenate([np.empty(0, dtype=np.int64), *arrays])
        return cls.from_pairs(rows, values, len(arrays))

    @classmethod
    def from_pairs(cls, rows: NDArray[Any], values: NDArray[Any], n_rows: int) -> Ragged:
        """The sets given as pairs in any order, int [m] each; repeats count once.

        Raises:
            ValueError: different lengths, or a row outside [0, n_rows).
        """
        rows, values = np.asarray(rows, dtype=np.int64), np.asarray(values, dtype=np.int64)
        if rows.shape != values.shape or rows.ndim != 1:
            raise ValueError(f"rows and values must be of one length, got {rows.shape} and {values.shape}")
        if len(rows) and (rows.min() < 0 or rows.max() >= n_rows):
            raise ValueError(f"rows must lie in [0, {n_rows}), got {rows.min()} to {rows.max()}")
        order = np.lexsort((values, rows))
        rows, values = rows[order], values[order]
        first = np.ones(len(rows), dtype=bool)
        first[1:] = (np.diff(rows) != 0) | (np.diff(values) != 0)
        rows, values = rows[first], values[first]
        offsets = np.zeros(n_rows + 1, dtype=np.int64)
        np.cumsum(np.bincount(rows, minlength=n_rows), out=offsets[1:])
        return cls(offsets, values)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> IntArray:
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} is outside [0, {len(self)})")
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def sizes(self) -> IntArray:
        """Items per row, int64 [n_rows]."""
        return np.diff(self.offsets)

    def rows(self) -> IntArray:
        """The row of every value, int64 [m]."""
        return np.repeat(np.arange(len(self), dtype=np.int64), np.diff(self.offsets))

    def take(self, rows: IntArray) -> Ragged:
        """The chosen rows, int64 [b], in that order, as a new Ragged of b rows."""
        sizes = self.sizes()[rows]
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum(sizes, out=offsets[1:])
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], sizes)
        return Ragged(offsets, self.values[np.repeat(self.offsets[rows], sizes) + within])

    def earliest(self, rows: NDArray[Any], values: NDArray[Any], times: NDArray[Any]) -> FloatArray:
        """The earliest time of each pair in the sets, float64 [m], in the order of `self.values`.

        Args:
            rows: rows of the pairs, int [p]; pairs in no set are passed over, repeats are allowed.
            values: their items, int [p].
            times: numbers in any unit, [p].

        Raises:
            ValueError: a pair in the sets that has no time.
        """
        stride = int(max(self.values.max(initial=0), np.max(values, initial=0))) + 1
        keys = self.rows() * stride + self.values  # ascending
        wanted = np.asarray(rows, dtype=np.int64) * stride + np.asarray(values, dtype=np.int64)
        at = np.searchsorted(keys, wanted)
        known = at < len(keys)
        known[known] = keys[at[known]] == wanted[known]
        earliest = np.full(len(keys), np.inf)
        np.minimum.at(earliest, at[known], np.asarray(times, dtype=np.float64)[known])
        if np.isinf(earliest).any():
            raise ValueError(f"{int(np.isinf(earliest).sum())} of {len(keys)} pairs have no time")
        return earliest

    def contains(self, lists: IntArray) -> NDArray[np.bool_]:
        """Whether each item of each user's list is in the user's set: int64 [n_rows, k] to bool [n_rows, k].

        Padding is in no set.
        """
        if lists.ndim != 2 or len(lists) != len(self):
            raise ValueError(f"lists must have shape [{len(self)}, k], got {lists.shape}")
        if not len(self.values) or not lists.size:
            return np.zeros(lists.shape, dtype=bool)
        stride = int(max(self.values.max(), lists.max())) + 1
        keys = self.rows() * stride + self.values  # ascending, because rows and values are
        wanted = np.arange(len(lists))[:, None] * stride + lists
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        found: NDArray[np.bool_] = (keys[at] == wanted) & (lists >= 0)
        return found


def restrict(relevant: Ragged, keep: NDArray[np.bool_]) -> Ragged:
    """The sets without the items that are not kept, such as everything outside a popularity bucket.

    Args:
        relevant: sets per user.
        keep: bool [n_items].
    """
    kept = keep[relevant.values]
    return Ragged.from_pairs(relevant.rows()[kept], relevant.values[kept], len(relevant))


def without(relevant: Ragged, seen: Ragged) -> Ragged:
    """The sets without the items each user has seen: what a list with seen items removed can still find."""
    if len(relevant) != len(seen):
        raise ValueError(f"relevant has {len(relevant)} users, seen has {len(seen)}")
    rows, values = relevant.rows(), relevant.values
    stride = int(max(values.max(initial=0), seen.values.max(initial=0))) + 1
    kept = ~np.isin(rows * stride + values, seen.rows() * stride + seen.values)
    return Ragged.from_pairs(rows[kept], values[kept], len(relevant))


def top_k(score_block: ScoreBlock, n_users: int, seen: Ragged | None, k: int, block_size: int = 1024) -> IntArray:
    """Each user's k best items of the catalogue, best first; of equal scores the lower position first.

    Args:
        score_block: gives scores, float [b, n_items], for user rows, int64 [b].
        n_users: users, rows 0 to n_users − 1.
        seen: items to leave out per user, or None.
        k: length of a list.
        block_size: most users scored at once.

    Returns:
        int64 [n_users, k], −1 (`PADDING`) where the user has fewer than k items left.

    Raises:
        ValueError: k below 1, a score that is not finite, or seen items for another number of users or beyond
            the catalogue.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if seen is not None and len(seen) != n_users:
        raise ValueError(f"seen has {len(seen)} users, expected {n_users}")
    lists = np.full((n_users, k), PADDING, dtype=np.int64)
    for rows, scores in score_blocks(score_block, np.arange(n_users, dtype=np.int64), block_size):
        lists[rows, : scores.shape[1]] = _best(scores, None if seen is None else _removed(scores, seen, rows), k)
    return lists


def without_items(scores: Scores, removed: Ragged | None, rows: IntArray) -> Scores:
    """A copy of the block's scores, [b, n_items], with −∞ on the items removed for its users, int64 [b]."""
    scores = np.array(scores, copy=True)
    if removed is not None:
        block = _removed(scores, removed, rows)
        scores[block.rows(), block.values] = -np.inf
    return scores


def _removed(scores: Scores, removed: Ragged, rows: IntArray) -> Ragged:
    """The items removed for the users of a block, once they are known to be among those scored."""
    block = removed.take(rows)
    if len(block.values) and block.values.max() >= scores.shape[1]:
        raise ValueError(
            f"an item to leave out has position {block.values.max()}, but only {scores.shape[1]} items are scored"
        )
    return block


def _best(scores: Scores, removed: Ragged | None, k: int) -> IntArray:
    """Positions of the min(k, n_items) best per row that are not removed, best first, then −1.

    1. The items are dealt into groups, and a user's groups ranked by their best score. The best of k + r groups are as
       many items, of which at most the r removed ones do not count: so the k-th best item is no worse than the best of
       the (k + r)-th group.
    2. Only items as good as that, a few hundred, are candidates, and sorted.
    3. Where that leaves too many, in a small catalogue or among many equal scores, whole rows are partitioned.
    """
    users, n_items = scores.shape
    width = min(k, n_items)
    best = np.full((users, width), PADDING, dtype=np.int64)
    sizes = np.zeros(users, dtype=np.int64) if removed is None else removed.sizes()
    groups = n_items // GROUP
    dealt = scores[:, : groups * GROUP].reshape(users, GROUP, groups)
    tops = np.hstack([dealt.max(axis=1), scores[:, groups * GROUP :]])  # (users, groups and the items left over)
    needed = np.minimum(width + sizes, tops.shape[1])
    least = np.take_along_axis(np.sort(tops, axis=1), (tops.shape[1] - needed)[:, None], axis=1)  # (users, 1)
    candidate = scores >= least
    few = (width + sizes <= tops.shape[1]) & (candidate.sum(axis=1) <= MANY * (width + sizes))
    candidate[~few] = False
    user, item = np.divmod(np.flatnonzero(candidate), n_items)
    if removed is not None:
        unseen = ~np.isin(user * n_items + item, removed.rows() * n_items + removed.values)
        user, item = user[unseen], item[unseen]
    order = np.lexsort((-scores[user, item], user))  # stable: of equal scores the lower position stays first
    user, item = user[order], item[order]
    rank = np.arange(len(user)) - np.searchsorted(user, user)
    best[user[rank < width], rank[rank < width]] = item[rank < width]
    whole = np.flatnonzero(~few)
    if len(whole):
        best[whole] = _best_of_whole_rows(without_items(scores[whole], removed, whole), width)
    return best


def _best_of_whole_rows(scores: Scores, width: int) -> IntArray:
    """Positions of the `width` best per row, best first, −1 for those at −∞."""
    n_items = scores.shape[1]
    chosen = np.argpartition(scores, n_items - width, axis=1)[:, n_items - width :]  # (b, width), any order
    last = np.take_along_axis(scores, chosen, axis=1).min(axis=1, keepdims=True)  # (b, 1), the worst score let in
    ties = (scores == last).sum(axis=1)
    ties_in = (np.take_along_axis(scores, chosen, axis=1) == last).sum(axis=1)
    for row in np.flatnonzero((ties > ties_in) & np.isfinite(last[:, 0])):
        above = np.flatnonzero(scores[row] > last[row])
        level = np.flatnonzero(scores[row] == last[row])[: width - len(above)]
        chosen[row] = np.concatenate([above, level])
    chosen.sort(axis=1)
    values = np.take_along_axis(scores, chosen, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")  # stable: equal scores stay in order of position
    chosen = np.take_along_axis(chosen, order, axis=1).astype(np.int64)
    chosen[np.take_along_axis(values, order, axis=1) == -np.inf] = PADDING
    return chosen


def recall_at_k(lists: IntArray, relevant: Ragged, k: int) -> FloatArray:
    """Share of each user's relevant items that are in the first k: hits / |relevant|.

    Args:
        lists: int64 [n_users, at least k], best first, −1 for padding.
        relevant: held-out items per user.
        k: depth of the lists.

    Returns:
        float64 [n_users], NaN for users without relevant items.

    Raises:
        ValueError: lists shorter than k, or for another number of users.
    """
    return _per_user(_hits(lists, relevant, k).sum(axis=1), relevant.sizes())


def ndcg_at_k(lists: IntArray, relevant: Ragged, k: int) -> FloatArray:
    """Normalised discounted cumulative gain of the first k, relevance 0 or 1 and discount 1 / log₂(rank + 1).

    The ideal list holds min(k, |relevant|) hits. Arguments, result and errors as in `recall_at_k`.
    Source: Järvelin and Kekäläinen (2002).
    """
    discount = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discount)])
    gain = _hits(lists, relevant, k) @ discount
    return _per_user(gain, ideal[np.minimum(relevant.sizes(), k)])


def mrr_at_k(lists: IntArray, relevant: Ragged, k: int) -> FloatArray:
    """One over the rank of the first hit in the first k, 0 where there is none.

    Arguments, result and errors as in `recall_at_k`.
    """
    hits = _hits(lists, relevant, k)
    reciprocal = np.where(hits.any(axis=1), 1.0 / (hits.argmax(axis=1) + 1.0), 0.0)
    return _per_user(reciprocal, (relevant.sizes() > 0).astype(np.float64))


def hit_rate_at_k(lists: IntArray, relevant: Ragged, k: int) -> FloatArray:
    """1 where at least one relevant item is in the first k, else 0.

    Arguments, result and errors as in `recall_at_k`.
    """
    hits = _hits(lists, relevant, k)
    return _per_user(np.asarray(hits.any(axis=1)), (relevant.sizes() > 0).astype(np.float64))


def _hits(lists: IntArray, relevant: Ragged, k: int) -> NDArray[np.bool_]:
    """Whether each of the first k is relevant, bool [n_users, k]."""
    if k < 1 or lists.ndim != 2 or lists.shape[1] < k:
        raise ValueError(f"lists of shape {lists.shape} do not hold the first {k} items of each user")
    return relevant.contains(lists[:, :k])


def _per_user(numerator: NDArray[Any], denominator: NDArray[Any]) -> FloatArray:
    """The quotient, float64 [n_users], NaN where the denominator is 0."""
    result = np.full(len(numerator), np.nan)
    np.divide(numerator, denominator, out=result, where=denominator > 0)
    return result
