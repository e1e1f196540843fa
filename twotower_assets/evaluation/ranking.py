"""Ranked lists over the whole catalogue, and how well they find the items users clicked later.

This module has the lists (`top_k`), and recall, NDCG, MRR and hit rate per user. Sets of items per user are in
`core.ragged`, means over users with intervals in `bootstrap`, popularity metrics in `popularity_metrics`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from twotower_assets.core.ragged import Ragged
from twotower_assets.evaluation.scores import FloatArray, IntArray, ScoreBlock, Scores, score_blocks

PADDING = -1
"""Fills a list where the user has fewer than k items left."""
GROUP = 32
"""Items per group; the first pass looks at the best item of each group only."""
MANY = 8
"""Candidates per list position above which sorting them costs more than partitioning whole rows."""


def restrict(relevant: Ragged, keep: NDArray[np.bool_]) -> Ragged:
    """The sets restricted to the items kept, such as those of one popularity bucket.

    Args:
        relevant: sets per user.
        keep: bool [n_items].
    """
    return relevant.where(keep[relevant.values])


def exclude_seen(relevant: Ragged, seen: Ragged) -> Ragged:
    """The sets without the items that each user has seen, which lists exclude as well."""
    if len(relevant) != len(seen):
        raise ValueError(f"relevant has {len(relevant)} users, seen has {len(seen)}")
    stride = int(max(relevant.values.max(initial=0), seen.values.max(initial=0))) + 1
    return relevant.where(~np.isin(relevant.pair_keys(stride), seen.pair_keys(stride)))


def top_k(score_block: ScoreBlock, n_users: int, seen: Ragged | None, k: int, block_size: int = 1024) -> IntArray:
    """Each user's k best items of the catalogue, best first; ties are broken by lower position.

    Args:
        score_block: gives scores, float [b, n_items], for user rows, int64 [b].
        n_users: users, rows 0 to n_users − 1.
        seen: items to exclude per user, or None.
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
        lists[rows, : scores.shape[1]] = _best(scores, None if seen is None else _excluded(scores, seen, rows), k)
    return lists


def mask_items(scores: Scores, excluded: Ragged | None, rows: IntArray) -> Scores:
    """A copy of the block's scores, [b, n_items], with −∞ on the items excluded for its users, int64 [b]."""
    scores = np.array(scores, copy=True)
    if excluded is not None:
        block = _excluded(scores, excluded, rows)
        scores[block.rows(), block.values] = -np.inf
    return scores


def _excluded(scores: Scores, excluded: Ragged, rows: IntArray) -> Ragged:
    """The items excluded for the users of a block, checked to be among those scored."""
    block = excluded.take(rows)
    outside = block.values[(block.values < 0) | (block.values >= scores.shape[1])]
    if len(outside):
        raise ValueError(f"an excluded item has position {outside[0]}, but only {scores.shape[1]} items are scored")
    return block


def _best(scores: Scores, excluded: Ragged | None, k: int) -> IntArray:
    """Positions of the min(k, n_items) best per row that are not excluded, best first, then −1.

    1. The items are divided into groups, and a user's groups ranked by their best score. The best of k + r groups are
       as many items, of which at most the r excluded ones do not count: so the k-th best item is no worse than the best
       of the (k + r)-th group.
    2. Only items with at least that score, a few hundred, are candidates, and are sorted.
    3. If that leaves too many, in a small catalogue or among many equal scores, whole rows are partitioned.
    """
    users, n_items = scores.shape
    width = min(k, n_items)
    best = np.full((users, width), PADDING, dtype=np.int64)
    sizes = np.zeros(users, dtype=np.int64) if excluded is None else excluded.sizes()
    groups = n_items // GROUP
    grouped = scores[:, : groups * GROUP].reshape(users, GROUP, groups)
    tops = np.hstack([grouped.max(axis=1), scores[:, groups * GROUP :]])  # (users, groups + remaining items)
    needed = np.minimum(width + sizes, tops.shape[1])
    least = np.take_along_axis(np.sort(tops, axis=1), (tops.shape[1] - needed)[:, None], axis=1)  # (users, 1)
    candidate = scores >= least
    few = (width + sizes <= tops.shape[1]) & (candidate.sum(axis=1) <= MANY * (width + sizes))
    candidate[~few] = False
    user, item = np.divmod(np.flatnonzero(candidate), n_items)
    if excluded is not None:
        unseen = ~np.isin(user * n_items + item, excluded.rows() * n_items + excluded.values)
        user, item = user[unseen], item[unseen]
    order = np.lexsort((-scores[user, item], user))  # stable: ties stay in order of position
    user, item = user[order], item[order]
    rank = np.arange(len(user)) - np.searchsorted(user, user)
    best[user[rank < width], rank[rank < width]] = item[rank < width]
    whole = np.flatnonzero(~few)
    if len(whole):
        best[whole] = _best_of_whole_rows(mask_items(scores[whole], excluded, whole), width)
    return best


def _best_of_whole_rows(scores: Scores, width: int) -> IntArray:
    """Positions of the `width` best per row, best first, −1 for those at −∞."""
    n_items = scores.shape[1]
    chosen = np.argpartition(scores, n_items - width, axis=1)[:, n_items - width :]  # (b, width), any order
    last = np.take_along_axis(scores, chosen, axis=1).min(axis=1, keepdims=True)  # (b, 1), the worst chosen score
    ties = (scores == last).sum(axis=1)
    chosen_ties = (np.take_along_axis(scores, chosen, axis=1) == last).sum(axis=1)
    for row in np.flatnonzero((ties > chosen_ties) & np.isfinite(last[:, 0])):
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
