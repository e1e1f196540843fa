"""The sources of negatives: what each draws for a batch, and how often it is expected to draw an item.

A shared source draws candidates for all rows of a batch, a per-row source draws separate ones for each row. Either its
proposal is known, or its negatives stay uncorrected. All randomness comes from the epoch's generator.

Here: drawing and expected counts, source by source. Not here: all sources together (`negative_sampler.py`), masks
(`masks.py`), and the item sets that are drawn from (`data/negative_pools.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from twotower_assets.recipes.negative_settings import (
    CategoryNegatives,
    ContextNegatives,
    ExposedNegatives,
    InBatchNegatives,
    MinedNegatives,
    Negatives,
    PopularityNegatives,
    UniformNegatives,
)
from twotower_assets.two_tower.data.encoders import TrainingDataError
from twotower_assets.two_tower.data.item_sets import ItemSets
from twotower_assets.two_tower.data.training_set import TrainingSet
from twotower_assets.two_tower.sampling.proposals import Proposal

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]
Generator = np.random.Generator
Pool = TypeVar("Pool", ItemSets, Int64s)


@dataclass(frozen=True)
class Batch:
    """The pairs at the positions `rows` int64 [B] of a training set."""

    data: TrainingSet
    rows: Int64s

    @cached_property
    def user(self) -> Int64s:
        """User numbers, int64 [B]."""
        return self.data.user[self.rows]

    @cached_property
    def item(self) -> Int64s:
        """Item numbers of the positives, int64 [B]."""
        return self.data.item[self.rows]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Candidates:
    """What all rows of a batch share, candidates of one vector taken together: S columns of scores.

    `item` int64 [S]; `count` int64 [S], how many candidates a column stands for; `of_batch` int64 [S], how many of them
    are positives of the batch; `request` int64 [S], where positives are told apart by it, else -1.
    """

    item: Int64s
    count: Int64s
    of_batch: Int64s
    request: Int64s

    def __len__(self) -> int:
        return len(self.item)

    def and_items(self, items: Int64s) -> Candidates:
        """With further items int64 [m], each a column of its own."""
        one, none = np.ones_like(items), np.zeros_like(items)
        more = (items, one, none, none - 1)
        return Candidates(*(np.concatenate(pair) for pair in zip(vars(self).values(), more, strict=True)))


class ExpectsCounts(Protocol):
    """Something whose candidates may be corrected for."""

    def expected_count(self, batch: Batch, items: Int64s) -> Float64s | None:
        """How often a row is expected to draw each item: of shared items [S] or of its own [B, K].

        Returns:
            float64 of the shape of `items`, or [B, S] where it differs from row to row; None for a margin, whose
            proposal nobody knows or which is not to be corrected.
        """


class RowSource(ExpectsCounts, Protocol):
    """Gives every row items of its own."""

    @property
    def per_positive(self) -> int:
        """K."""

    def draw(self, batch: Batch, generator: Generator) -> Int64s:
        """Item numbers, int64 [B, K]; 0 where there is none."""


@dataclass(frozen=True)
class InBatch:
    """The positives of the batch. Each row has the B - 1 of the other pairs; its own is masked."""

    proposal: Proposal

    def draw(self, batch: Batch, generator: Generator) -> Int64s:  # noqa: ARG002
        """The items of the batch, int64 [B]."""
        return batch.item

    def expected_count(self, batch: Batch, items: Int64s) -> Float64s:
        """(B - 1)·q."""
        return (len(batch) - 1) * self.proposal.probability(items)


class Weighted:
    """`count` items in proportion to weights float64 [M + 1], with replacement."""

    def __init__(self, count: int, weights: Float64s) -> None:
        self.count = count
        self._probability = weights / weights.sum()
        self._cumulative = np.cumsum(self._probability)

    def draw(self, batch: Batch, generator: Generator) -> Int64s:  # noqa: ARG002
        """int64 [count]."""
        places = generator.random(self.count) * self._cumulative[-1]
        drawn: Int64s = np.searchsorted(self._cumulative, places, side="right")
        return drawn

    def expected_count(self, batch: Batch, items: Int64s) -> Float64s:  # noqa: ARG002
        """count · Q."""
        expected: Float64s = self.count * self._probability[items]
        return expected


@dataclass(frozen=True, eq=False)
class Grouped:
    """Each row draws uniformly from the set of its group; `group_of_pair` int64 [N] is -1 where there is none."""

    sets: ItemSets
    group_of_pair: Int64s
    per_positive: int
    is_margin: bool

    def draw(self, batch: Batch, generator: Generator) -> Int64s:
        """int64 [B, per_positive]; 0 for rows without a group."""
        group = self.group_of_pair[batch.rows]
        drawn = self.sets.draw(np.maximum(group, 0), self.per_positive, generator)
        return np.where(group[:, None] >= 0, drawn, 0)

    def expected_count(self, batch: Batch, items: Int64s) -> Float64s | None:
        """per_positive / size of the row's set for the items in it, 0 for others."""
        if self.is_margin:
            return None
        group = self.group_of_pair[batch.rows]
        each = np.where(group >= 0, self.per_positive / np.maximum(self.sets.sizes[np.maximum(group, 0)], 1), 0.0)
        expected: Float64s = self.sets.contain(np.maximum(group, 0), items).astype(np.float64) * each[:, None]
        return expected


@dataclass(frozen=True)
class PerUser:
    """Each row draws uniformly from the set of its user: a margin."""

    sets: ItemSets
    per_positive: int

    def draw(self, batch: Batch, generator: Generator) -> Int64s:
        """int64 [B, K], distinct where the set has K items; 0 in the places that a smaller set leaves over."""
        return self.sets.draw_distinct(batch.user, self.per_positive, generator)

    def expected_count(self, batch: Batch, items: Int64s) -> None:  # noqa: ARG002
        """Unknown."""
        return


def build_source(
    settings: Negatives, data: TrainingSet, proposal: Proposal, mined: ItemSets | None
) -> InBatch | Weighted | Grouped | PerUser:
    """The source that the settings declare, over these data; cross-batch negatives are built where vectors are.

    Args:
        settings: One entry of `TrainingConfig.negatives`.
        data: Trained on.
        proposal: Knows q.
        mined: What to draw mined negatives from: one set per user number.

    Raises:
        TrainingDataError: `mined` is missing where it is needed.
    """
    clicks = data.item_counts.astype(np.float64)
    match settings:
        case InBatchNegatives():
            return InBatch(proposal)
        case UniformNegatives():
            return Weighted(settings.count, (np.arange(len(clicks)) > 0).astype(np.float64))
        case PopularityNegatives():
            return Weighted(settings.count, np.where(clicks > 0, clicks**settings.exponent, 0.0))
        case CategoryNegatives():
            sets, group = _given(data.pools.categories), _given(data.pools.category_of_item)[data.item]
            return Grouped(sets, group, settings.per_positive, settings.is_margin)
        case ContextNegatives():
            group = data.context if settings.within == "context" else data.request
            return Grouped(_given(data.pools.contexts), group, settings.per_positive, settings.is_margin)
        case ExposedNegatives():
            return PerUser(_given(data.pools.exposed), settings.per_positive)
        case MinedNegatives():
            if mined is None:
                raise TrainingDataError(
                    f"Mined negatives need the lists of a model of the recipe '{settings.recipe}', trained on the same "
                    "pairs."
                )
            return PerUser(mined, settings.per_positive)
    raise TypeError(f"{settings.source} is no source that draws items")


def _given(pool: Pool | None) -> Pool:
    if pool is None:
        raise TrainingDataError("The training set was built for other negatives; build it with the same configuration.")
    return pool


def total_expected_count(sources: Iterable[ExpectsCounts], batch: Batch, items: Int64s) -> Float64s:
    """The one rule: how often an item is expected in a row, over all sources of known proposal that could draw it.

    Args:
        sources: All of the loss.
        batch: B pairs.
        items: int64 [S], candidates of every row, or [B, K], the candidates of each row.

    Returns:
        float64 [1, S] where it is the same for all rows, else [B, S] or [B, K].
    """
    total: Float64s = np.zeros((1, 1))
    for source in sources:
        expected = source.expected_count(batch, items)
        if expected is not None:
            total = total + np.atleast_2d(expected)
    return total
