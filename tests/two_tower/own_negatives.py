"""Sources of negatives of a user's own: one that is right, and some that are wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

from twotower_assets.two_tower.data.training_set import TrainingSet
from twotower_assets.two_tower.sampling.negatives import Batch

Generator = np.random.Generator


class Squared:
    """Items in proportion to a power of their clicks."""

    def __init__(self, data: TrainingSet, power: float = 2.0) -> None:
        weights = data.item_counts.astype(np.float64) ** power
        weights[0] = 0
        self.weights = weights / weights.sum()

    def draw(self, batch: Batch, count: int, generator: Generator) -> Any:
        return generator.choice(len(self.weights), (len(batch), count), p=self.weights)

    def probability(self, items: Any) -> Any:
        return self.weights[items]


class Undeclared:
    """Draws, and does not know how likely."""

    def __init__(self, data: TrainingSet) -> None:
        self.items = len(data.item_counts)

    def draw(self, batch: Batch, count: int, generator: Generator) -> Any:
        return generator.integers(0, self.items, (len(batch), count))


class OutOfRange(Squared):
    def draw(self, batch: Batch, count: int, generator: Generator) -> Any:
        return super().draw(batch, count, generator) + len(self.weights)


class OneTooMany(Squared):
    def draw(self, batch: Batch, count: int, generator: Generator) -> Any:
        return super().draw(batch, count + 1, generator)


class Improbable(Squared):
    def probability(self, items: Any) -> Any:
        return 2.0 + super().probability(items)
