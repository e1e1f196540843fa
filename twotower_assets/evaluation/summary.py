"""All list metrics of one model, as rows in long format, each with its interval.

Only the choice of metrics, depths and buckets lives here; every number is computed by the module that defines
it. The missing popularity reads scores and not lists, and has its own function.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twotower_assets.evaluation.bootstrap import Interval, bootstrap_interval
from twotower_assets.evaluation.buckets import BUCKET_NAMES, HEAD, popularity_buckets
from twotower_assets.evaluation.popularity import (
    average_recommendation_popularity,
    calibration,
    coverage_at_k,
    exposure_counts,
    gini,
    log_popularity,
    novelty,
    popularity_lift,
    tail_share,
)
from twotower_assets.evaluation.ranking import (
    Ragged,
    hit_rate_at_k,
    mrr_at_k,
    ndcg_at_k,
    recall_at_k,
    restrict,
)
from twotower_assets.evaluation.scores import IntArray

BEYOND_HEAD = "beyond_head"
"""Mid, tail and cold together."""


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric of one model.

    Attributes:
        metric: its name, without the depth.
        k: depth of the lists.
        bucket: 'all', 'head', 'mid', 'tail', 'cold' or 'beyond_head': what the relevant items are restricted
            to.
        value: the mean over users, or the catalogue's number for coverage and Gini; NaN where nobody counts.
        low: lower end of the bootstrap interval over users; NaN for coverage and Gini.
        high: upper end.
        users: users the mean is over.
    """

    metric: str
    k: int
    bucket: str
    value: float
    low: float
    high: float
    users: int


def evaluate_lists(
    lists: IntArray,
    relevant: Ragged,
    profile: Ragged,
    train_counts: NDArray[Any],
    *,
    ks: Sequence[int] = (20, 100),
    seed: int = 0,
    resamples: int = 1000,
) -> list[MetricRow]:
    """Every list metric of one model: for each k, ranking (recall per bucket too) and then popularity.

    Args:
        lists: int64 [n_users, at least max(ks)], from `top_k`.
        relevant: held-out items per user. Items the lists may not hold (seen in training) should be taken out
            with `without`, or recall cannot reach 1.
        profile: items of each user's training clicks.
        train_counts: training clicks per item, [n_items].
        ks: depths.
        seed: of the bootstrap.
        resamples: bootstrap draws.

    Raises:
        ValueError: lists shorter than a depth, another number of users, or no training clicks at all.
    """
    if not len(lists) == len(relevant) == len(profile):
        raise ValueError(
            f"lists, relevant and profile must be of the same users, got {len(lists)}, {len(relevant)} and "
            f"{len(profile)}"
        )
    rows: list[MetricRow] = []
    for k in ks:
        for metric, bucket, values in _ranking_values(lists, relevant, train_counts, k):
            rows.append(_row(metric, k, bucket, bootstrap_interval(values, resamples=resamples, seed=seed)))
        rows += _popularity_rows(lists, profile, train_counts, k, seed, resamples)
    return rows


def _ranking_values(
    lists: IntArray, relevant: Ragged, train_counts: NDArray[Any], k: int
) -> Iterator[tuple[str, str, NDArray[np.float64]]]:
    """Metric, bucket and per-user values of everything that finds relevant items."""
    yield "recall", "all", recall_at_k(lists, relevant, k)
    yield "ndcg", "all", ndcg_at_k(lists, relevant, k)
    yield "mrr", "all", mrr_at_k(lists, relevant, k)
    yield "hit_rate", "all", hit_rate_at_k(lists, relevant, k)
    buckets = popularity_buckets(train_counts)
    for number, name in enumerate(BUCKET_NAMES):
        yield "recall", name, recall_at_k(lists, restrict(relevant, buckets == number), k)
    yield "recall", BEYOND_HEAD, recall_at_k(lists, restrict(relevant, buckets != HEAD), k)


def _popularity_rows(
    lists: IntArray, profile: Ragged, train_counts: NDArray[Any], k: int, seed: int, resamples: int
) -> list[MetricRow]:
    """Rows of everything that reads the popularity of what is shown."""
    n_items = len(train_counts)
    buckets = popularity_buckets(train_counts)
    users = int((lists[:, :k] >= 0).any(axis=1).sum())
    whole = {
        "coverage": coverage_at_k(lists, n_items, k),
        "gini": gini(exposure_counts(lists, n_items, k)),
    }
    per_user = {
        "average_recommendation_popularity": average_recommendation_popularity(lists, train_counts, k),
        "aplt": tail_share(lists, buckets, k),
        "novelty": novelty(lists, log_popularity(train_counts), k),
        "calibration": calibration(lists, profile, buckets, k),
    }
    lift = popularity_lift(lists, profile, train_counts, k, resamples=resamples, seed=seed)
    return [
        *(_row(name, k, "all", Interval(value, np.nan, np.nan, users)) for name, value in whole.items()),
        *(
            _row(name, k, "all", bootstrap_interval(values, resamples=resamples, seed=seed))
            for name, values in per_user.items()
        ),
        _row("popularity_lift", k, "all", lift),
    ]


def _row(metric: str, k: int, bucket: str, interval: Interval) -> MetricRow:
    """The row of one interval."""
    return MetricRow(metric, k, bucket, interval.mean, interval.low, interval.high, interval.users)
