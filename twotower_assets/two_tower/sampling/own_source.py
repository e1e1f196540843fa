"""A source of negatives of a user's own, as one of the sources of a batch.

Here: what such a class has, and checking what it draws. Not here: finding it (`recipes/own_code.py`), and the
correction (`correction.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from twotower_assets.recipes.negative_settings import OwnNegatives
from twotower_assets.recipes.own_code import sampler_class
from twotower_assets.two_tower.data.encoders import TrainingDataError
from twotower_assets.two_tower.data.training_set import TrainingSet

if TYPE_CHECKING:
    from twotower_assets.two_tower.sampling.negatives import Batch

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]


class Sampler(Protocol):
    """What a recipe names: a class that is made as `Sampler(data, **parameters)`, with the training set.

    It may keep what it computes of the training set, and nothing that changes from batch to batch: an interrupted
    training goes on with a new one.
    """

    def draw(self, batch: Batch, count: int, generator: np.random.Generator) -> Int64s:
        """`count` item indices for each of B pairs, int64 [B, count]: 1 to M, and 0 where there is none.

        All randomness comes from `generator`.
        """

    def probability(self, items: Int64s) -> Float64s:
        """The probability of each item in a single draw, float64 of the shape of `items`, the same for every pair.

        Only for negatives that are corrected.
        """


class OwnSource:
    """A source that asks a `Sampler`. Raises `TrainingDataError` where it draws what is no item."""

    def __init__(self, settings: OwnNegatives, data: TrainingSet) -> None:
        self.per_positive, self._name = settings.per_positive, settings.sampler
        self._corrected, self._items = not settings.uncorrected, len(data.item_counts)
        made = sampler_class(settings.sampler, settings.parameters, corrected=self._corrected)
        self._sampler: Sampler = made(data, **settings.parameters)

    def draw(self, batch: Batch, generator: np.random.Generator) -> Int64s:
        """int64 [B, per_positive]; 0 where there is none."""
        drawn: Any = np.asarray(self._sampler.draw(batch, self.per_positive, generator))
        expected = (len(batch), self.per_positive)
        if drawn.shape != expected or drawn.dtype.kind not in "iu":
            raise TrainingDataError(
                f"{self._name} drew {drawn.dtype} {list(drawn.shape)}; it must draw integers {list(expected)}"
            )
        if drawn.size and not 0 <= drawn.min() <= drawn.max() < self._items:
            raise TrainingDataError(
                f"{self._name} drew items from {drawn.min()} to {drawn.max()}; they must lie in 0 to {self._items - 1}"
            )
        items: Int64s = drawn.astype(np.int64)
        return items

    def expected_count(self, batch: Batch, items: Int64s) -> Float64s | None:  # noqa: ARG002
        """per_positive times the probability of the item; None where these negatives stay uncorrected."""
        if not self._corrected:
            return None
        probability = np.asarray(self._sampler.probability(items), np.float64)
        if probability.shape != items.shape or not np.all((probability >= 0) & (probability <= 1)):
            raise TrainingDataError(
                f"`probability` of {self._name} must give numbers from 0 to 1 of the shape {list(items.shape)}"
            )
        expected: Float64s = self.per_positive * probability
        return expected
