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
from scipy.sparse import csr_array

from twotower_assets.recipes.negative_settings import (
    CategoryNegatives,
    ContextNegatives,
    ExposedNegatives,
    InBatchNegatives,
    MinedNegatives,
    Negatives,
    OwnNegatives,
    PopularityNegatives,
    UniformNegatives,
)
from twotower_assets.two_tower.data.encoders import TrainingDataError
from twotower_assets.two_tower.data.item_sets import ItemSets
from twotower_assets.two_tower.data.training_set import TrainingSet
from twotower_assets.two_tower.sampling.own_source import OwnSource
from twotower_assets.two_tower.sampling.proposals import Proposal

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]
Generator = np.random.Generator
Pool = TypeVar("Pool", ItemSets, Int64s)


@dataclass(frozen=True)
class Batch:
    """The pairs `rows` int64 [B] of a training set."""

    data: TrainingSet
    rows: Int64s

    @cached_property
    def user(self) -> Int64s:
        """User indices, int64 [B]."""
        return self.data.user[self.rows]

    @cached_property
    def item(self) -> Int64s:
        """Item indices of the positives, int64 [B]."""
        return self.data.item[self.rows]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Candidates:
    """The candidates that all rows of a batch share, as S columns of scores; equal candidates share a column.

    Attributes:
        item: int64 [S].
        count: int64 [S], how many candidates the column stands for.
        positive_count: int64 [S], how many of them are positives of the batch.
        request: int64 [S], the request of the positives; -1 where requests are not kept apart, or there is none.
    """

    item: Int64s
    count: Int64s
    positive_count: Int64s
    request: Int64s

    def __len__(self) -> int:
        return len(self.item)

    def with_items(self, items: Int64s) -> Candidates:
        """These candidates and further items int64 [m], each in a column of its own."""
        ones, zeros = np.ones_like(items), np.zeros_like(items)
        added = (items, ones, zeros, zeros - 1)
        return Candidates(*(np.concatenate(pair) for pair in zip(vars(self).values(), added, strict=True)))


class HasExpectedCount(Protocol):
    """A source of negatives, with the expected counts that its correction needs."""

    def expected_count(self, batch: Batch, items: Int64s) -> Float64s | None:
        """How often a row is expected to draw each item: shared items [S], or separate items per row [B, K].

        Returns:
            float64 of the shape of `items`, or [B, S] where it differs between rows; None for negatives that stay
            uncorrected, because their proposal is unknown or by configuration.
        """


class PerRowSource(HasExpectedCount, Protocol):
    """A source that draws separate negatives for each row."""

    @property
    def per_positive(self) -> int:
        """K, the number of negatives per row."""

    def draw(self, batch: Batch, generator: Generator) -> Int64s:
        """Item indices, int64 [B, K]; 0 where there is none."""


@dataclass(frozen=True)
class InBatchSource:
    """The positives of the batch. Each row has the B - 1 of the other pairs; its own positive is masked."""

    proposal: Proposal

    def draw(self, batch: Batch, generator: Generator) -> Int64s:  # noqa: ARG002
        """The items of the batch, int64 [B]."""
        return batch.item

    def expected_count(self, batch: Batch, items: Int64s) -> Float64s:
        """(B - 1)·q."""
        return (len(batch) - 1) * self.proposal.probability(items)


class WeightedSource:
    """`count` items in proportion to weights float64 [M + 1], with replacement."""

    def __init__(self, count: int, weights: Float64s) -> None:
        self.count = count
        self._probability = weights / weights.sum()
        self._cumulative = np.cumsum(self._probability)

    def draw(self, batch: Batch, generator: Generator) -> Int64s:  # noqa: ARG002
        """int64 [count]."""
        quantiles = generator.random(self.count) * self._cumulative[-1]
        drawn: Int64s = np.searchsorted(self._cumulative, quantiles, side="right")
        return drawn

    def expected_count(self, batch: Batch, items: Int64s) -> Float64s:  # noqa: ARG002
        """count · Q, the probability of the item."""
        expected: Float64s = self.count * self._probability[items]
        return expected


@dataclass(frozen=True, eq=False)
class GroupSource:
    """Each row draws uniformly from the item set of its group; `group_of_pair` int64 [N] is -1 without a group."""

    sets: ItemSets
    group_of_pair: Int64s
    per_positive: int
    uncorrected: bool

    def draw(self, batch: Batch, generator: Generator) -> Int64s:
        """int64 [B, per_positive]; 0 for rows without a group."""
        group = self.group_of_pair[batch.rows]
        drawn = self.sets.draw(np.maximum(group, 0), self.per_positive, generator)
        return np.where(group[:, None] >= 0, drawn, 0)

    def expected_count(self, batch: Batch, items: Int64s) -> Float64s | None:
        """per_positive / size of the row's set for the items in it, 0 for other items."""
        if self.uncorrected:
            return None
        group = self.group_of_pair[batch.rows]
        each = np.where(group >= 0, self.per_positive / np.maximum(self.sets.sizes[np.maximum(group, 0)], 1), 0.0)
        expected: Float64s = self.sets.membership(np.maximum(group, 0), items).astype(np.float64) * each[:, None]
        return expected

    def expected_count_of_columns(self, batch: Batch, items: Int64s) -> csr_array:
        """`expected_count` of shared items [S], sparse float64 [B, S]."""
        group = self.group_of_pair[batch.rows]
        each = np.where(group >= 0, self.per_positive / np.maximum(self.sets.sizes[np.maximum(group, 0)], 1), 0.0)
        members = self.sets.members[np.maximum(group, 0)]
        values = np.repeat(each, np.diff(members.indptr))
        of_rows = csr_array((values, members.indices, members.indptr), shape=members.shape)
        columns = np.arange(len(items))
        return of_rows @ csr_array((np.ones(len(items)), (items, columns)), shape=(members.shape[1], len(items)))


@dataclass(frozen=True)
class PerUserSource:
    """Each row draws uniformly from the item set of its user; these negatives stay uncorrected."""

    sets: ItemSets
    per_positive: int

    def draw(self, batch: Batch, generator: Generator) -> Int64s:
        """int64 [B, K], distinct within a row; a set with fewer than K items fills the row up with 0."""
        return self.sets.draw_distinct(batch.user, self.per_positive, generator)

    def expected_count(self, batch: Batch, items: Int64s) -> None:  # noqa: ARG002
        """None: how likely this user was to see or be ranked an item is unknown."""
        return


def build_source(
    settings: Negatives, data: TrainingSet, proposal: Proposal, mined: ItemSets | None
) -> InBatchSource | WeightedSource | GroupSource | PerUserSource | OwnSource:
    """The source that the settings declare. Cross-batch negatives are not drawn: `item_queue.py` has them.

    Args:
        settings: One entry of `TrainingConfig.negatives`.
        data: The training set.
        proposal: Gives q.
        mined: The sets that mined negatives are drawn from, one per user index.

    Raises:
        TrainingDataError: `mined` is missing where it is needed.
    """
    clicks = data.item_counts.astype(np.float64)
    match settings:
        case InBatchNegatives():
            return InBatchSource(proposal)
        case UniformNegatives():
            return WeightedSource(settings.count, (np.arange(len(clicks)) > 0).astype(np.float64))
        case PopularityNegatives():
            return WeightedSource(settings.count, np.where(clicks > 0, clicks**settings.exponent, 0.0))
        case CategoryNegatives():
            sets, group = _require(data.pools.categories), _require(data.pools.category_of_item)[data.item]
            return GroupSource(sets, group, settings.per_positive, settings.uncorrected)
        case ContextNegatives():
            group = data.context if settings.within == "context" else data.request
            return GroupSource(_require(data.pools.contexts), group, settings.per_positive, settings.uncorrected)
        case ExposedNegatives():
            return PerUserSource(_require(data.pools.exposed), settings.per_positive)
        case MinedNegatives():
            if mined is None:
                raise TrainingDataError(
                    f"Mined negatives need the ranked lists of a model of the recipe '{settings.recipe}', trained on "
                    "the same pairs."
                )
            return PerUserSource(mined, settings.per_positive)
        case OwnNegatives():
            return OwnSource(settings, data)
    raise TypeError(f"{settings.source} negatives are not drawn by a source")


def _require(pool: Pool | None) -> Pool:
    if pool is None:
        raise TrainingDataError("The training set was built for other negatives; build it with the same configuration.")
    return pool


def total_expected_count(sources: Iterable[HasExpectedCount], batch: Batch, items: Int64s) -> Float64s:
    """The count of the expected-count (logQ) correction: how often a row is expected to draw an item.

    Summed over all sources of known proposal that could have drawn it.

    Args:
        sources: All sources of the loss.
        batch: B pairs.
        items: int64 [S], candidates of every row, or [B, K], separate candidates per row.

    Returns:
        float64 [1, S] where it is the same for all rows, else [B, S] or [B, K].
    """
    total: Float64s = np.zeros((1, 1))
    for source in sources:
        expected = source.expected_count(batch, items)
        if expected is not None:
            total = total + np.atleast_2d(expected)
    return total
