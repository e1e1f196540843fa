"""Models compared: means over users, and gain or difference with an interval that is paired by user.

The input is one value per user, of any metric. `summary` computes the values, `bootstrap` resamples users.
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
    """One model compared with the baseline in one metric. Undefined values are None, never NaN.

    Attributes:
        value: mean over the users who have a value.
        low: lower end of its bootstrap interval over users; None with fewer than two users.
        high: upper end.
        gain_percent: (mean / mean of the baseline − 1) · 100 over the users who have both; None for the baseline
            itself, and where the baseline's mean over them is 0.
        gain_low: lower end of its interval, bootstrapped over pairs by user; both ends are None if the resamples do not
            bound it, as with fewer than two users or a baseline that is 0 for nearly all of them.
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
    """One model minus another in one metric. Undefined values are None, never NaN.

    Attributes:
        value: mean of the first over the users with a value for both.
        other_value: mean of the other, over the same users.
        difference: value − other_value.
        low: lower end of its interval, bootstrapped over pairs by user; None with fewer than two users.
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
    first: FloatArray, other: FloatArray, *, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> Difference:
    """The values of one model minus those of another, paired by user.

    Args:
        first: float64 [n_users], NaN for users without a value.
        other: float64 [n_users] of the same users in the same order.
        level: coverage of the interval, between 0 and 1.
        resamples: number of bootstrap resamples.
        seed: of the resampling; metrics with the same number of users get the same resamples.

    Raises:
        ValueError: different shapes, a level outside (0, 1) or an infinite value.
    """
    if first.shape != other.shape:
        raise ValueError(f"values must be of the same users in the same order, got shapes {first.shape}, {other.shape}")
    found = bootstrap_interval(first - other, level, resamples, seed)
    both = ~np.isnan(first - other)
    value, other_value = (float(values[both].mean()) if found.users else None for values in (first, other))
    return Difference(value, other_value, _finite(found.mean), *_bounds(found.low, found.high), found.users)


def compare(
    values: Mapping[str, FloatArray],
    baseline: str,
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Comparison]:
    """Compare every model with the baseline.

    A user who is easy for one model is easy for the other, so the gain is bootstrapped over pairs: its interval is much
    narrower than the intervals of the two means suggest.

    Args:
        values: per model, float64 [n_users] of the same users in the same order, not negative, NaN for users
            without a value.
        baseline: the model in `values` that the others are compared with.
        level: coverage of the intervals, between 0 and 1.
        resamples: number of bootstrap resamples.
        seed: of the resampling.

    Returns:
        One comparison per model, in the order of `values`.

    Raises:
        ValueError: an unknown baseline, a shape unlike the baseline's, a level outside (0, 1) or an infinite value.
    """
    if baseline not in values:
        raise ValueError(f"the baseline {baseline!r} is not among the models: {', '.join(map(repr, values))}")
    baseline_values = values[baseline]
    for name, model_values in values.items():
        if model_values.shape != baseline_values.shape:
            raise ValueError(
                f"{name!r} has values of shape {model_values.shape}, the baseline {baseline!r} of "
                f"{baseline_values.shape}: they must be of the same users in the same order"
            )
    found = {}
    for name, model_values in values.items():
        mean = bootstrap_interval(model_values, level, resamples, seed)
        low, high = _bounds(mean.low, mean.high)
        gain, gain_low, gain_high = None, None, None
        if name != baseline:
            ratio = bootstrap_ratio(model_values, baseline_values, level, resamples, seed)
            gain = _finite(100 * (ratio.mean - 1))
            gain_low, gain_high = _bounds(100 * (ratio.low - 1), 100 * (ratio.high - 1))
        found[name] = Comparison(_finite(mean.mean), low, high, gain, gain_low, gain_high, mean.users)
    return found


def _bounds(low: float, high: float) -> tuple[float | None, float | None]:
    """Both ends, or neither."""
    return (low, high) if math.isfinite(low) and math.isfinite(high) else (None, None)


def _finite(value: float) -> float | None:
    """The number, or None if it is not finite."""
    return value if math.isfinite(value) else None
