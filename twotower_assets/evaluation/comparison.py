"""Models side by side: the means over users, and gain or difference with an interval that is paired by user.

Per-user numbers come in, whatever they measure. What they are is in `summary`, the drawing of users in `bootstrap`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from twotower_assets.evaluation.bootstrap import bootstrap_interval, bootstrap_ratio
from twotower_assets.evaluation.scores import FloatArray


@dataclass(frozen=True, slots=True)
class Comparison:
    """One model beside the baseline, in one metric. What cannot be said is None, never NaN.

    Attributes:
        value: mean over the users who have a value.
        low: lower end of its bootstrap interval over users; None with fewer than two users.
        high: upper end.
        gain_percent: (mean / mean of the baseline − 1) · 100 over the users who have both; None for the baseline
            itself, and where the baseline's mean over them is 0.
        gain_low: lower end of its interval, users being drawn as pairs; None, with the upper, where the draws do not
            bound it, as with fewer than two users or with a baseline that is 0 for nearly all of them.
        gain_high: upper end.
        users: users that `value` is the mean over.
    """

    value: float | None
    low: float | None
    high: float | None
    gain_percent: float | None
    gain_low: float | None
    gain_high: float | None
    users: int


@dataclass(frozen=True, slots=True)
class Difference:
    """One model less another, in one metric. What cannot be said is None, never NaN.

    Attributes:
        value: mean of the first over the users who have a value of both.
        other_value: mean of the other, over the same users.
        difference: value − other_value.
        low: lower end of its bootstrap interval, users being drawn as pairs; None with fewer than two users.
        high: upper end.
        users: users that the means are over.
    """

    value: float | None
    other_value: float | None
    difference: float | None
    low: float | None
    high: float | None
    users: int


def paired_difference(
    own: FloatArray, other: FloatArray, *, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> Difference:
    """How much more one model has than another, user by user.

    Args:
        own: float64 [n_users], NaN where a user does not count.
        other: float64 [n_users] of the same users in the same order.
        level: coverage of the interval, between 0 and 1.
        resamples: number of bootstrap draws.
        seed: of the draws; the same users are drawn for every metric that as many users have.

    Raises:
        ValueError: other shapes, a level outside (0, 1) or an infinite value.
    """
    if own.shape != other.shape:
        raise ValueError(f"values must be of the same users in the same order, got shapes {own.shape}, {other.shape}")
    found = bootstrap_interval(own - other, level, resamples, seed)
    both = ~np.isnan(own - other)
    value, other_value = (float(values[both].mean()) if found.users else None for values in (own, other))
    return Difference(value, other_value, _finite(found.mean), *_bounds(found.low, found.high), found.users)


def compare(
    values: Mapping[str, FloatArray],
    baseline: str,
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Comparison]:
    """Set every model beside the baseline.

    A user who is easy for one model is easy for the other, so the gain is drawn again in pairs: its interval is much
    narrower than what the two means' own intervals suggest.

    Args:
        values: per model, float64 [n_users] of the same users in the same order, not negative, NaN where a user does
            not count.
        baseline: the model in `values` that the others are compared with.
        level: coverage of the intervals, between 0 and 1.
        resamples: number of bootstrap draws.
        seed: of the draws.

    Returns:
        One comparison per model, in the order of `values`.

    Raises:
        ValueError: an unknown baseline, other shapes than the baseline's, a level outside (0, 1) or an infinite value.
    """
    if baseline not in values:
        raise ValueError(f"the baseline {baseline!r} is not among the compared: {', '.join(map(repr, values))}")
    own = values[baseline]
    for name, its in values.items():
        if its.shape != own.shape:
            raise ValueError(
                f"{name!r} has values of shape {its.shape}, the baseline {baseline!r} of {own.shape}: they must be of "
                "the same users in the same order"
            )
    found = {}
    for name, its in values.items():
        mean = bootstrap_interval(its, level, resamples, seed)
        low, high = _bounds(mean.low, mean.high)
        gain, gain_low, gain_high = None, None, None
        if name != baseline:
            ratio = bootstrap_ratio(its, own, level, resamples, seed)
            gain = _finite(100 * (ratio.mean - 1))
            gain_low, gain_high = _bounds(100 * (ratio.low - 1), 100 * (ratio.high - 1))
        found[name] = Comparison(_finite(mean.mean), low, high, gain, gain_low, gain_high, mean.users)
    return found


def _bounds(low: float, high: float) -> tuple[float | None, float | None]:
    """Both ends, or neither."""
    return (low, high) if math.isfinite(low) and math.isfinite(high) else (None, None)


def _finite(value: float) -> float | None:
    """The number, None where there is none."""
    return value if math.isfinite(value) else None
