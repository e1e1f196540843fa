"""Means over users, bootstrapped over users.

The input is one value per user, the output an interval. What the values measure does not belong here.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from twotower_assets.evaluation.scores import FloatArray, IntArray

MAX_RESAMPLED_USERS = 10_000
"""Above this many users the normal interval is used, to which the bootstrap of a mean converges."""

BLOCK = 64
"""Resamples that are summed at once, as float64."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A statistic with its interval. `low` and `high` are NaN where fewer than two users have a value."""

    mean: float
    low: float
    high: float
    users: int


def resampled_users(n_users: int, resamples: int, seed: int) -> Iterator[IntArray]:
    """Draw n_users users with replacement, `resamples` times: int64 [n_users] each."""
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        yield rng.integers(0, n_users, n_users)


@functools.lru_cache(maxsize=16)
def _resample_counts(n_users: int, resamples: int, seed: int) -> NDArray[np.uint16]:
    """How often each resample of `resampled_users` contains each user, uint16 [resamples, n_users].

    Cached for all metrics, because drawing users takes longer than summing over them.
    """
    drawn = resampled_users(n_users, resamples, seed)
    return np.stack([np.bincount(users, minlength=n_users).astype(np.uint16) for users in drawn])


def _resample_sums(values: FloatArray, resamples: int, seed: int) -> FloatArray:
    """The sum of the values over the users of every resample, float64 [resamples]."""
    times = _resample_counts(len(values), resamples, seed)
    return np.concatenate([times[start : start + BLOCK] @ values for start in range(0, resamples, BLOCK)])


def bootstrap_interval(values: FloatArray, level: float = 0.95, resamples: int = 1000, seed: int = 0) -> Interval:
    """The mean over users and its percentile bootstrap interval.

    Args:
        values: float64 [n_users]; users with NaN (no relevant items) are excluded.
        level: coverage of the interval, between 0 and 1.
        resamples: number of bootstrap resamples.
        seed: of the resampling.

    Raises:
        ValueError: a level outside (0, 1) or an infinite value.
    """
    return bootstrap_ratio(values, np.ones(len(values)), level, resamples, seed)


def bootstrap_ratio(
    numerator: FloatArray,
    denominator: FloatArray,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """The ratio of two means over users, with its bootstrap interval; `mean` of the result is that ratio.

    Args:
        numerator: float64 [n_users].
        denominator: float64 [n_users]; users with NaN in either are excluded.
        level: coverage of the interval, between 0 and 1.
        resamples: number of bootstrap resamples; 0 for the ratio alone, without its interval.
        seed: of the resampling.

    An end is infinite or NaN if the denominator is 0 in too many resamples.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    if numerator.shape != denominator.shape or numerator.ndim != 1:
        raise ValueError(f"expected one value per user, got shapes {numerator.shape} and {denominator.shape}")
    if np.isinf(numerator).any() or np.isinf(denominator).any():
        raise ValueError("a user's value is infinite")
    known = ~(np.isnan(numerator) | np.isnan(denominator))
    above, below = numerator[known], denominator[known]
    users = len(above)
    if users == 0 or below.sum() == 0:
        return Interval(np.nan, np.nan, np.nan, users)
    ratio = float(above.sum() / below.sum())
    if users == 1 or resamples == 0:
        return Interval(ratio, np.nan, np.nan, users)
    if users > MAX_RESAMPLED_USERS:
        spread = (above - ratio * below).std(ddof=1) / (abs(below.mean()) * np.sqrt(users))
        half_width = float(ndtri(0.5 + level / 2) * spread)
        return Interval(ratio, ratio - half_width, ratio + half_width, users)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = _resample_sums(above, resamples, seed) / _resample_sums(below, resamples, seed)
        low, high = np.nanquantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return Interval(ratio, float(low), float(high), users)
