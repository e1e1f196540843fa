"""All sources of negatives of a training run together.

Here: building what a configuration names, and which kind each source is of. Not here: what a source draws
(`negatives.py`, `item_queue.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.recipes.negative_settings import CrossBatchNegatives
from twotower_assets.two_tower.data.item_sets import ItemSets
from twotower_assets.two_tower.data.training_set import TrainingSet
from twotower_assets.two_tower.sampling.item_queue import ItemQueue
from twotower_assets.two_tower.sampling.negatives import (
    GroupSource,
    HasExpectedCount,
    InBatchSource,
    PerRowSource,
    WeightedSource,
    build_source,
)
from twotower_assets.two_tower.sampling.proposals import Proposal


@dataclass
class Sources:
    """The sources of a configuration, by kind.

    Attributes:
        in_batch: The positives of the batch.
        weighted: Those that draw for all rows of a batch.
        queue: Items of earlier batches.
        per_row: Those that draw for each row.
        row_log_weights: Log of the weight of each of the K per-row negatives, float32 [K].
    """

    in_batch: InBatchSource | None = None
    weighted: list[WeightedSource] = field(default_factory=list)
    queue: ItemQueue | None = None
    per_row: list[PerRowSource] = field(default_factory=list)
    row_log_weights: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))

    @classmethod
    def build(cls, data: TrainingSet, config: TrainingConfig, proposal: Proposal, mined: ItemSets | None) -> Sources:
        """Raises `TrainingDataError` where `mined` is missing and the configuration needs it."""
        sources, weights = cls(), []
        for settings in config.negatives:
            if isinstance(settings, CrossBatchNegatives):
                warm_up = math.ceil(settings.warm_up_epochs * math.ceil(len(data) / config.batch_size))
                sources.queue = ItemQueue(settings, proposal, warm_up)
                continue
            source = build_source(settings, data, proposal, mined)
            if isinstance(source, InBatchSource):
                sources.in_batch = source
            elif isinstance(source, WeightedSource):
                sources.weighted.append(source)
            else:
                sources.per_row.append(source)
                weights += [math.log(getattr(settings, "weight", 1.0))] * source.per_positive
        sources.row_log_weights = np.array(weights, np.float32)
        return sources

    def all(self) -> list[HasExpectedCount]:
        """Every source, those that stay uncorrected included: their expected counts are None."""
        in_batch = [] if self.in_batch is None else [self.in_batch]
        queue = [] if self.queue is None else [self.queue]
        return [*in_batch, *self.weighted, *queue, *self.per_row]

    @property
    def row_dependent(self) -> list[GroupSource]:
        """The sources whose expected counts differ between rows."""
        return [source for source in self.per_row if isinstance(source, GroupSource) and not source.uncorrected]
