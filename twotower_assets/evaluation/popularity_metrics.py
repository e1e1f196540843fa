"""Popularity in ranked lists: which items are shown, how unequally, and how well that fits each user's taste.

Everything here reads lists, profiles and training counts. `ranking` measures relevance; `missing_popularity` measures
the popularity that the scores lack.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twotower_assets.core.buckets import BUCKETS, COLD, TAIL, popularity_buckets
from twotower_assets.core.ragged import Ragged
from twotower_assets.evaluation.bootstrap import Interval, bootstrap_ratio
from twotower_assets.evaluation.scores import FloatArray, IntArray


def exposure_counts(lists: IntArray, n_items: int, k: int) -> IntArray:
    """How many lists have each item in their first k, int64 [n_items]; padding is not counted."""
    shown = _first(lists, k).ravel()
    shown = shown[shown >= 0]
    if len(shown) and shown.max() >= n_items:
        raise ValueError(f"a list holds item {shown.max()}, the catalogue has {n_items} items")
    return np.bincount(shown, minlength=n_items).astype(np.int64)


def coverage_at_k(lists: IntArray, n_items: int, k: int) -> float:
    """Share of the catalogue in the first k of at least one list."""
    return float(np.count_nonzero(exposure_counts(lists, n_items, k)) / n_items)


def gini(exposure: NDArray[Any]) -> float:
    """Gini coefficient of exposure: 0 if all items are shown equally, (n − 1)/n if only one is, NaN if none is.

    Args:
        exposure: per item of the whole catalogue, zeros included, [n_items].
    """
    ranked = np.sort(np.asarray(exposure, dtype=np.float64))
    n, total = len(ranked), ranked.sum()
    if not total > 0:
        return float("nan")
    return float(2 * np.arange(1, n + 1) @ ranked / (n * total) - (n + 1) / n)


def lorenz_curve(exposure: NDArray[Any], points: int = 201) -> tuple[FloatArray, FloatArray]:
    """The Lorenz curve of exposure: the share of exposure that the least shown items hold.

    Args:
        exposure: per item of the whole catalogue, [n_items], with at least one shown.
        points: maximum number of points, evenly spread over the items, both ends included.

    Returns:
        Share of items and share of exposure, float64 each, from (0, 0) to (1, 1), least shown first.
    """
    ranked = np.sort(np.asarray(exposure, dtype=np.float64))
    held = np.concatenate([[0.0], np.cumsum(ranked)])
    if not held[-1] > 0:
        raise ValueError("no item is shown, so the Lorenz curve of exposure is undefined")
    at = np.unique(np.linspace(0, len(ranked), points).round().astype(np.int64))
    return at / len(ranked), held[at] / held[-1]


def mean_over_list(values: FloatArray, lists: IntArray, k: int) -> FloatArray:
    """Mean of an item property over the first k of each list, float64 [n_users], NaN for an empty list."""
    first = _first(lists, k)
    return _mean_per_row(np.where(first >= 0, values[first], 0.0).sum(axis=1), (first >= 0).sum(axis=1))


def average_recommendation_popularity(lists: IntArray, counts: NDArray[Any], k: int) -> FloatArray:
    """Mean training clicks of the items in each list (ARP), float64 [n_users], NaN for an empty list."""
    return mean_over_list(np.asarray(counts, dtype=np.float64), lists, k)


def tail_share(lists: IntArray, buckets: NDArray[np.int8], k: int) -> FloatArray:
    """Share of tail items in each list, float64 [n_users]; its mean is APLT. Cold items count as tail.

    Source: Abdollahpouri, Burke and Mobasher (2019), "Managing Popularity Bias in Recommender Systems with
    Personalized Re-Ranking".
    """
    return mean_over_list(((buckets == TAIL) | (buckets == COLD)).astype(np.float64), lists, k)


def novelty(lists: IntArray, log_q: FloatArray, k: int) -> FloatArray:
    """Mean self-information −log₂ q of the items in each list, in bits, float64 [n_users].

    log_q is natural and finite, as from `core.popularity.log_q`. Source: Zhou et al. (2010).
    """
    return mean_over_list(-log_q / np.log(2.0), lists, k)


def popularity_lift(
    lists: IntArray,
    profile: Ragged,
    counts: NDArray[Any],
    k: int,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Mean popularity of lists divided by that of profiles, minus 1; 0 if lists are as popular as earlier clicks.

    Args:
        lists: int64 [n_users, at least k].
        profile: items of each user's training clicks; users without any, or with an empty list, are excluded.
        counts: training clicks per item, [n_items].
        k: depth of the lists.
        level: coverage of the bootstrap interval over users.
        resamples: number of bootstrap resamples.
        seed: of the resampling.

    Source: Abdollahpouri et al. (2020), "The Connection Between Popularity Bias, Calibration, and Fairness in
    Recommendation".
    """
    in_lists = average_recommendation_popularity(lists, counts, k)
    popularity = np.asarray(counts, dtype=np.float64)[profile.values]
    in_profiles = _mean_per_row(
        np.bincount(profile.rows(), weights=popularity, minlength=len(profile)), profile.sizes()
    )
    ratio = bootstrap_ratio(in_lists, in_profiles, level, resamples, seed)
    return Interval(ratio.mean - 1, ratio.low - 1, ratio.high - 1, ratio.users)


def calibration(lists: IntArray, profile: Ragged, buckets: NDArray[np.int8], k: int) -> FloatArray:
    """Jensen–Shannon divergence between each user's profile and list, as distributions over buckets.

    In bits: 0 for the same mix of head, mid, tail and cold, 1 for no bucket in common. The divergence, not
    its square root.

    Args:
        lists: int64 [n_users, at least k].
        profile: items of each user's training clicks.
        buckets: int8 [n_items], as from `popularity_buckets`.
        k: depth of the lists.

    Returns:
        float64 [n_users], NaN for users without a profile or with an empty list.
    """
    first = _first(lists, k)
    shown = np.stack([((first >= 0) & (buckets[first] == b)).sum(axis=1) for b in range(len(BUCKETS))], 1)
    chosen = np.stack(
        [
            np.bincount(profile.rows()[buckets[profile.values] == b], minlength=len(profile))
            for b in range(len(BUCKETS))
        ],
        axis=1,
    )
    known = (shown.sum(axis=1) > 0) & (chosen.sum(axis=1) > 0)
    p = shown[known] / shown[known].sum(axis=1, keepdims=True)  # (users, buckets)
    q = chosen[known] / chosen[known].sum(axis=1, keepdims=True)
    divergence = np.full(len(lists), np.nan)
    divergence[known] = 0.5 * (_relative_entropy(p, (p + q) / 2) + _relative_entropy(q, (p + q) / 2))
    return divergence


@dataclass(frozen=True, slots=True)
class BucketExposure:
    """One popularity bucket: its share of items, of clicks and of exposure.

    Attributes:
        bucket: head, mid, tail or cold.
        item_share: of the catalogue.
        click_share: of training clicks.
        exposure_share: of the positions in all lists; NaN if all lists are empty.
    """

    bucket: str
    item_share: float
    click_share: float
    exposure_share: float


def exposure_by_bucket(lists: IntArray, train_counts: NDArray[Any], k: int) -> list[BucketExposure]:
    """Exposure against clicks, one row per bucket in the order head, mid, tail, cold.

    Args:
        lists: int64 [n_users, at least k].
        train_counts: training clicks per item, [n_items].
        k: depth of the lists.
    """
    n_items = len(train_counts)
    items, clicks, shown = (
        _share_by_bucket(values, popularity_buckets(train_counts))
        for values in (np.ones(n_items), train_counts, exposure_counts(lists, n_items, k))
    )
    return [
        BucketExposure(
            bucket=name,
            item_share=float(items[b]),
            click_share=float(clicks[b]),
            exposure_share=float(shown[b]),
        )
        for b, name in enumerate(BUCKETS)
    ]


def _share_by_bucket(values: NDArray[Any], buckets: NDArray[np.int8]) -> FloatArray:
    """Each bucket's share of the total, float64 [4], NaN where the total is 0."""
    sums = np.bincount(buckets, weights=values, minlength=len(BUCKETS))
    return sums / sums.sum() if sums.sum() > 0 else np.full(len(sums), np.nan)


def _first(lists: IntArray, k: int) -> IntArray:
    """The first k of each list."""
    if k < 1 or lists.ndim != 2 or lists.shape[1] < k:
        raise ValueError(f"lists of shape {lists.shape} do not hold the first {k} items of each user")
    return lists[:, :k]


def _mean_per_row(sums: NDArray[Any], sizes: NDArray[Any]) -> FloatArray:
    """Sums over sizes, NaN where the size is 0."""
    means = np.full(len(sums), np.nan)
    np.divide(sums, sizes, out=means, where=sizes > 0)
    return means


def _relative_entropy(p: FloatArray, q: FloatArray) -> FloatArray:
    """Σ p log₂(p/q) per row, where 0 log 0 is 0 and q is positive wherever p is."""
    quotient = np.divide(p, q, out=np.ones_like(p), where=p > 0)
    terms: FloatArray = p * np.log2(quotient)
    entropy: FloatArray = terms.sum(axis=1)
    return entropy
