"""The proposal q, the probability of an item in the training pairs: counted, counted with a half-life, or estimated.

Here: these three ways to obtain q. Not here: what is drawn (`negatives.py`), and the streaming estimator
(`streaming_frequency.py`).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.two_tower.data.training_set import TrainingSet
from twotower_assets.two_tower.sampling.streaming_frequency import StreamingFrequency

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]
MICROSECONDS_PER_DAY = 86_400_000_000


class Proposal(Protocol):
    """Gives q, an item's share of the training pairs; `is_fixed` if it does not change during training."""

    is_fixed: bool

    def probability(self, items: Int64s) -> Float64s:
        """q of items int64 of any shape, float64 of that shape; 0 for items known to have no pair."""

    def update(self, items: Int64s) -> None:
        """Observe the items int64 [B] of a batch; called once per batch, in order."""

    def state_dict(self) -> dict[str, npt.NDArray[np.generic]]:
        """The arrays that change during training."""

    def load_state_dict(self, state: dict[str, npt.NDArray[np.generic]]) -> None:
        """Continue from a saved state."""


class CountedFrequency:
    """q from fixed counts."""

    is_fixed = True

    def __init__(self, counts: npt.NDArray[np.float64]) -> None:
        self._q = counts / counts.sum()

    def probability(self, items: Int64s) -> Float64s:
        """q of items of any shape."""
        shares: Float64s = self._q[items]
        return shares

    def update(self, items: Int64s) -> None:
        """Does nothing: all pairs are counted already."""

    def state_dict(self) -> dict[str, npt.NDArray[np.generic]]:
        """Empty."""
        return {}

    def load_state_dict(self, state: dict[str, npt.NDArray[np.generic]]) -> None:
        """Does nothing."""


def decayed_counts(data: TrainingSet, half_life_days: float) -> Float64s:
    """WeightedSource pairs of each item, float64 [M + 1]: a pair counts half per half-life before the latest pair."""
    age = (data.clicked_at.max() - data.clicked_at) / MICROSECONDS_PER_DAY
    weights = 0.5 ** (age / half_life_days)
    return np.bincount(data.item, weights=weights, minlength=len(data.item_counts)).astype(np.float64)


def build_proposal(data: TrainingSet, config: TrainingConfig) -> Proposal:
    """The proposal that the configuration names."""
    if config.proposal == "streaming":
        return StreamingFrequency(
            n_items=len(data.item_counts),  # index 0 is no item and never observed
            initial_gap=len(data.item_counts) - 1,
            buckets=config.streaming_buckets,
            hashes=config.streaming_hashes,
            rate=config.streaming_rate,
            seed=config.seed,
        )
    if config.proposal == "decayed":
        return CountedFrequency(decayed_counts(data, config.proposal_half_life_days))
    return CountedFrequency(data.item_counts.astype(np.float64))
