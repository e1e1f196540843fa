"""All list metrics of one model, per user and for the catalogue, as rows in long format with intervals.

Only the choice of metrics, depths and buckets belongs here; other modules define the metrics. The missing popularity is
not among them, because it reads scores, not lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twotower_assets.core.buckets import ALL, BEYOND_HEAD, BUCKETS, HEAD, popularity_buckets
from twotower_assets.core.metric_rows import KS, MetricRow
from twotower_assets.core.popularity import check_popularity_weight, log_q
from twotower_assets.core.ragged import Ragged
from twotower_assets.evaluation.bootstrap import Interval, bootstrap_interval
from twotower_assets.evaluation.popularity_metrics import (
    average_recommendation_popularity,
    calibration,
    coverage_at_k,
    exposure_counts,
    gini,
    novelty,
    popularity_lift,
    tail_share,
)
from twotower_assets.evaluation.ranking import (
    hit_rate_at_k,
    mrr_at_k,
    ndcg_at_k,
    recall_at_k,
    restrict,
)
from twotower_assets.evaluation.scores import FloatArray, IntArray


def evaluate_lists(
    lists: IntArray,
    relevant: Ragged,
    profile: Ragged,
    train_counts: NDArray[Any],
    *,
    model: str = "two_tower",
    popularity_weight: float | None = None,
    ks: Sequence[int] = KS,
    seed: int = 0,
    resamples: int = 1000,
) -> list[MetricRow]:
    """Every list metric of one model: those of `user_values`, then those of `catalogue_values`.

    Args:
        lists: int64 [n_users, at least max(ks)], from `top_k`.
        relevant: held-out items per user. Items that lists never hold (seen in training) should be removed
            with `ranking.exclude_seen`, or recall cannot reach 1.
        profile: items of each user's training clicks.
        train_counts: training clicks per item, [n_items].
        model: name of the model.
        popularity_weight: γ of the lists; None for a baseline.
        ks: depths.
        seed: of the bootstrap.
        resamples: number of bootstrap resamples.

    Raises:
        ValueError: lists shorter than a depth, different numbers of users, no training clicks at all, or a γ that is
            not from 0 to 1.
    """
    if popularity_weight is not None:
        check_popularity_weight(popularity_weight)
    intervals = [
        *(
            (metric, k, bucket, bootstrap_interval(values, resamples=resamples, seed=seed))
            for metric, k, bucket, values in user_values(lists, relevant, profile, train_counts, ks)
        ),
        *_catalogue_intervals(lists, profile, train_counts, ks, seed, resamples),
    ]
    return [
        MetricRow(model, popularity_weight, metric, k, bucket, found.mean, found.low, found.high, found.users)
        for metric, k, bucket, found in intervals
    ]


def user_values(
    lists: IntArray, relevant: Ragged, profile: Ragged, train_counts: NDArray[Any], ks: Sequence[int] = KS
) -> Iterator[tuple[str, int, str, FloatArray]]:
    """Every metric that is a mean over users, before the mean is taken.

    Arguments as in `evaluate_lists`.

    Yields:
        Metric, depth, bucket, and the values, float64 [n_users], NaN for users without a value: recall, ndcg, mrr,
        hit_rate, recall of each bucket and of `beyond_head`, average_recommendation_popularity, aplt, novelty and
        calibration.

    Raises:
        ValueError: lists shorter than a depth, different numbers of users, or no training clicks at all.
    """
    _require_equal_users(lists=lists, relevant=relevant, profile=profile)
    buckets, popularity = popularity_buckets(train_counts), log_q(train_counts)
    restricted = {name: restrict(relevant, buckets == number) for number, name in enumerate(BUCKETS)}
    restricted[BEYOND_HEAD] = restrict(relevant, buckets != HEAD)
    for k in ks:
        yield "recall", k, ALL, recall_at_k(lists, relevant, k)
        yield "ndcg", k, ALL, ndcg_at_k(lists, relevant, k)
        yield "mrr", k, ALL, mrr_at_k(lists, relevant, k)
        yield "hit_rate", k, ALL, hit_rate_at_k(lists, relevant, k)
        for bucket, inside in restricted.items():
            yield "recall", k, bucket, recall_at_k(lists, inside, k)
        mean_clicks = average_recommendation_popularity(lists, train_counts, k)
        yield "average_recommendation_popularity", k, ALL, mean_clicks
        yield "aplt", k, ALL, tail_share(lists, buckets, k)
        yield "novelty", k, ALL, novelty(lists, popularity, k)
        yield "calibration", k, ALL, calibration(lists, profile, buckets, k)


def catalogue_values(
    lists: IntArray, profile: Ragged, train_counts: NDArray[Any], ks: Sequence[int] = KS
) -> Iterator[tuple[str, int, str, float]]:
    """Every metric that is one number for all lists together: coverage, gini and popularity_lift.

    Arguments as in `evaluate_lists`.

    Yields:
        Metric, depth, bucket (`all`) and the value, NaN where all lists are empty.

    Raises:
        ValueError: lists shorter than a depth, or different numbers of users.
    """
    for metric, k, bucket, interval in _catalogue_intervals(lists, profile, train_counts, ks, seed=0, resamples=0):
        yield metric, k, bucket, interval.mean


def _catalogue_intervals(
    lists: IntArray, profile: Ragged, train_counts: NDArray[Any], ks: Sequence[int], seed: int, resamples: int
) -> Iterator[tuple[str, int, str, Interval]]:
    """Catalogue metrics as intervals; only popularity_lift, a ratio of two means over users, has finite ends."""
    _require_equal_users(lists=lists, profile=profile)
    n_items = len(train_counts)
    for k in ks:
        users = int((lists[:, :k] >= 0).any(axis=1).sum())
        exposure = exposure_counts(lists, n_items, k)
        yield "coverage", k, ALL, Interval(coverage_at_k(lists, n_items, k), np.nan, np.nan, users)
        yield "gini", k, ALL, Interval(gini(exposure), np.nan, np.nan, users)
        lift = popularity_lift(lists, profile, train_counts, k, resamples=resamples, seed=seed)
        yield "popularity_lift", k, ALL, lift


def _require_equal_users(**arrays: Sized) -> None:
    """Raise `ValueError` if the arrays have different numbers of users."""
    if len({len(array) for array in arrays.values()}) > 1:
        found = ", ".join(f"{name} {len(array)}" for name, array in arrays.items())
        raise ValueError(f"{' and '.join(arrays)} must be of the same users, got {found}")
