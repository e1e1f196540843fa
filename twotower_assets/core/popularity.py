"""The popularity weight γ: log q, its weight in the served score s + (γ − γ₀)·log q, and the γ that are reported.

γ is how much popularity a served score contains, from 0 (affinity alone) to 1 (click probability); γ₀ is how much the
trained score already contains. Every argument `popularity_weight` is γ; only this module subtracts γ₀. Popularity
buckets are in `buckets`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

UNSEEN_CLICKS: Final = 0.5
"""Clicks that an item without clicks counts as having, so that its log q is finite."""
REPORTED_WEIGHTS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
"""The γ at which lists are evaluated."""
KEY_WEIGHTS: Final = (0.0, 0.5, 1.0)
"""The γ at which δ is fitted, the index is measured, and a list is explained."""


def log_q(counts: NDArray[Any], floor: float = UNSEEN_CLICKS) -> NDArray[np.float64]:
    """The natural logarithm of each item's share of all counts, as if no item had fewer than `floor`.

    Args:
        counts: clicks (or impressions) per item, [n_items], finite and not negative.
        floor: minimum count per item, so that log q of an item never clicked is finite.

    Returns:
        float64 [n_items], finite.

    Raises:
        ValueError: no clicks at all, a negative or non-finite count, or a floor that is not positive.
    """
    import numpy as np

    counts = np.asarray(counts, dtype=np.float64)
    if floor <= 0 or not 0 < counts.sum() < np.inf or counts.min() < 0:
        raise ValueError("log q needs at least one click in training, no negative counts, and a positive floor")
    logarithms: NDArray[np.float64] = np.log(np.maximum(counts, floor) / counts.sum())
    return logarithms


def check_popularity_weight(popularity_weight: Any) -> None:
    """Raise `ValueError` unless the weight is γ: a number from 0 to 1, or an array of them.

    Passing γ − γ₀ is the easiest mistake; for γ₀ = 1 it is negative and raises here unless γ = 1.
    """
    import numpy as np

    weights = np.asarray(popularity_weight)
    if weights.dtype.kind not in "fiu" or not ((weights >= 0) & (weights <= 1)).all():
        raise ValueError(
            f"popularity_weight is γ, from 0 (affinity alone) to 1 (click probability), got {popularity_weight!r}. "
            "Pass γ itself: the model's γ₀ is subtracted for you"
        )


def log_q_weight(popularity_weight: Any, trained_popularity_weight: float) -> NDArray[np.float64]:
    """γ − γ₀: the weight of log q to add to a trained score, so that the served score contains γ.

    Args:
        popularity_weight: γ, one number from 0 to 1 or an array of them.
        trained_popularity_weight: γ₀, finite. If it is unknown, γ is relative to it.

    Returns:
        float64, of the shape of γ.

    Raises:
        ValueError: γ is not a number from 0 to 1, or γ₀ is not finite.
    """
    import numpy as np

    check_popularity_weight(popularity_weight)
    if not np.isfinite(trained_popularity_weight):
        raise ValueError(f"trained_popularity_weight (γ₀) must be finite, got {trained_popularity_weight}")
    return np.asarray(popularity_weight, dtype=np.float64) - trained_popularity_weight
