"""All sources of negatives of a configuration together: what they draw for a batch, and the expected counts of items.

Here: the draws of a batch as the arrays that the towers read, and the counts of the expected-count (logQ) correction.
Not here: what each source draws (`negatives.py`), and the loss (`loss/objective.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from twotower_assets.core.popularity import UNSEEN_CLICKS
from twotower_assets.core.ragged import Ragged
from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.recipes.negative_settings import CrossBatchNegatives
from twotower_assets.two_tower.data.encoders import SideInputs
from twotower_assets.two_tower.data.item_sets import ItemSets, unique_ids
from twotower_assets.two_tower.data.training_set import TrainingSet
from twotower_assets.two_tower.data.vocabulary import UNKNOWN
from twotower_assets.two_tower.kernels.ragged_rows import take_rows
from twotower_assets.two_tower.sampling.masks import FalseNegatives
from twotower_assets.two_tower.sampling.negatives import (
    Batch,
    Candidates,
    GroupSource,
    HasExpectedCount,
    InBatchSource,
    PerRowSource,
    WeightedSource,
    build_source,
    total_expected_count,
)
from twotower_assets.two_tower.sampling.proposals import Proposal
from twotower_assets.two_tower.sampling.vector_queue import VectorQueue

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SampledBatch:
    """Everything random about a batch of B pairs, with the inputs of the towers; nothing here depends on weights.

    Attributes:
        batch: The pairs.
        users: Inputs of the user tower, B rows.
        history: Histories of the pairs, B rows.
        items: Inputs of the item tower for the D distinct items of the batch: first the columns of `shared`.
        item: int64 [D], the indices of these items. An item whose id is hidden is distinct from one that is not.
        shared: The candidates of all rows.
        positive_index: int64 [B], the positive of each row among the D distinct items.
        row_negatives: int64 [B, K], items of the per-row negatives; 0 where there is none.
        row_negative_index: int64 [B, K], their indices among the D distinct items.
        false_negatives: Those among `shared`; None where a queue adds to the shared candidates.
    """

    batch: Batch
    users: SideInputs
    history: Ragged
    items: SideInputs
    item: Int64s
    shared: Candidates
    positive_index: Int64s
    row_negatives: Int64s
    row_negative_index: Int64s
    false_negatives: FalseNegatives | None


class NegativeSampler:
    """Draws from all sources that the configuration names, over a training set."""

    def __init__(self, data: TrainingSet, config: TrainingConfig, proposal: Proposal, mined: ItemSets | None) -> None:
        """Raises `TrainingDataError` where `mined` is missing and the configuration needs it."""
        self._data, self._proposal = data, proposal
        self._user_hidden = config.unknown_id_share
        self._item_hidden = hidden_item_share(data.item_counts, config.unknown_id_share)
        self.masks = config.masks
        self._scratch = np.full(2 * len(data.item_counts), -1, np.int32)  # of `unique_ids`
        self._clicked_mass: dict[tuple[int, int], Float64s] = {}
        self._shared_by_batch_size: dict[int, Float64s] = {}  # an epoch has two batch sizes
        self._weighted: list[WeightedSource] = []
        self._per_row: list[PerRowSource] = []
        weights: list[float] = []
        self.in_batch: InBatchSource | None = None
        self.queue: VectorQueue | None = None
        for settings in config.negatives:
            if isinstance(settings, CrossBatchNegatives):
                warm_up = math.ceil(settings.warm_up_epochs * math.ceil(len(data) / config.batch_size))
                self.queue = VectorQueue(settings, proposal, config.dimensions, warm_up)
                continue
            source = build_source(settings, data, proposal, mined)
            if isinstance(source, InBatchSource):
                self.in_batch = source
            elif isinstance(source, WeightedSource):
                self._weighted.append(source)
            else:
                self._per_row.append(source)
                weights += [math.log(getattr(settings, "weight", 1.0))] * source.per_positive
        self.row_log_weights = np.array(weights, np.float32)
        """Log of the weight of each of the K per-row negatives, float32 [K]."""
        self.row_dependent = [
            source for source in self._per_row if isinstance(source, GroupSource) and not source.uncorrected
        ]
        """The sources whose expected counts differ between rows."""

    def draw(self, rows: Int64s, generator: np.random.Generator) -> SampledBatch:
        """Draw everything random for the pairs `rows` int64 [B]; changes nothing but the generator."""
        data = self._data
        batch = Batch(data, rows)
        users = data.user_inputs.take(batch.user)
        users.ids[generator.random(len(batch)) < self._user_hidden] = UNKNOWN
        hidden = generator.random(len(batch)) < self._item_hidden[batch.item]
        drawn = np.concatenate([np.zeros(0, np.int64), *(source.draw(batch, generator) for source in self._weighted)])
        per_row = [np.zeros((len(batch), 0), np.int64), *(source.draw(batch, generator) for source in self._per_row)]
        row_negatives = np.concatenate(per_row, axis=1)
        keys, positive_index, row_negative_index, positive_count, count = self._merge_equal(
            batch, hidden, drawn, row_negatives
        )
        columns = int(np.count_nonzero(count))
        item, request = keys // 2 % len(data.item_counts), keys // (2 * len(data.item_counts)) - 1
        items = data.item_inputs.take(item)
        items.ids[keys % 2 == 1] = UNKNOWN
        shared = Candidates(item[:columns], count[:columns], positive_count[:columns], request[:columns])
        return SampledBatch(
            batch=batch,
            users=users,
            history=take_rows(data.history, rows),
            items=items,
            item=item,
            shared=shared,
            positive_index=positive_index,
            row_negatives=row_negatives,
            row_negative_index=row_negative_index.reshape(row_negatives.shape),
            false_negatives=None if self.queue is not None else FalseNegatives.find(self.masks, batch, shared),
        )

    def _merge_equal(
        self, batch: Batch, hidden: Bools, drawn: Int64s, row_negatives: Int64s
    ) -> tuple[Int64s, Int64s, Int64s, Int64s, Int64s]:
        """Merge candidates that have the same vector and the same masks.

        Returns:
            The distinct keys [D] (request, item, hidden), those of shared candidates first; the index among them of
            each positive [B] and of each per-row negative [B·K]; how often each key is a positive of the batch, and
            how often it is a shared candidate, [D] each.
        """
        n_items, by_request = len(batch.data.item_counts), "same_request" in self.masks
        request = batch.data.request[batch.rows] + 1 if by_request else 0
        positives, pairs = (request * n_items + batch.item) * 2 + hidden, len(batch)
        shared = len(drawn) + (pairs if self.in_batch else 0)
        parts = (positives, drawn * 2) if self.in_batch else (drawn * 2, positives)  # shared candidates come first
        keys = np.concatenate([*parts, row_negatives.ravel() * 2])
        if by_request:  # requests times items are too many for a scratch array
            sorted_keys, positions = np.unique(keys, return_inverse=True)
            unique, index = unique_ids(positions, np.full(len(sorted_keys), -1, np.int32))
            keys = sorted_keys[unique]
        else:
            keys, index = unique_ids(keys, self._scratch)
        first = 0 if self.in_batch else shared
        count = np.bincount(index[:shared], minlength=len(keys))
        positive_count = np.bincount(index[:pairs], minlength=len(keys)) if self.in_batch else np.zeros_like(count)
        return keys, index[first : first + pairs], index[pairs + len(drawn) :], positive_count, count

    def expected_count(self, batch: Batch, items: Int64s) -> Float64s:
        """How often a row is expected to draw an item, over all sources of known proposal.

        Args:
            batch: B pairs.
            items: int64 [S], candidates of every row, or [B, K], separate candidates per row.

        Returns:
            float64 [1, S], [B, S] or [B, K], above 0; that of half a training pair where no such source could draw.
        """
        if not self.row_dependent:
            return np.atleast_2d(self.shared_expected_count(batch, items))
        return self._above_zero(batch, total_expected_count(self._all(), batch, items))

    def shared_expected_count(self, batch: Batch, items: Int64s) -> Float64s:
        """The part of the expected count that is the same for all rows, float64 of the shape of `items` (any)."""
        if self._proposal.is_fixed and self.queue is None:
            pairs = len(batch)
            if pairs not in self._shared_by_batch_size:
                every_item = np.arange(len(self._data.item_counts))
                self._shared_by_batch_size[pairs] = self._compute_shared(batch, every_item)
            return self._shared_by_batch_size[pairs][items]
        return self._compute_shared(batch, items)

    def _compute_shared(self, batch: Batch, items: Int64s) -> Float64s:
        sources = [source for source in self._all() if source not in self.row_dependent]
        total = total_expected_count(sources, batch, items.reshape(-1))[0]  # a single 0 if there is no source
        shared: Float64s = np.broadcast_to(self._above_zero(batch, total), (items.size,)).reshape(items.shape)
        return shared

    def row_expected_count(self, rows: Batch, items: Int64s) -> Float64s:
        """The part of the expected count that differs between rows: float64 [B, S]; `rows` may be part of a batch."""
        return total_expected_count(self.row_dependent, rows, items)

    def expected_unmasked(self, batch: Batch) -> Float64s:
        """Expected number of shared candidates of each row that no mask of items removes, float64 [B]."""
        queued = len(self.queue) if self.queue is not None else 0
        weighted = sum(source.count for source in self._weighted)
        drawn = (len(batch) - 1) * (self.in_batch is not None) + weighted + queued
        if "clicked" not in self.masks:
            return self._positive(drawn - self.shared_expected_count(batch, batch.item))
        if not self._proposal.is_fixed:
            masked = self._data.clicked.sums(batch.user, lambda items: self.shared_expected_count(batch, items))
            return self._positive(drawn - masked)
        key = len(batch), queued
        if key not in self._clicked_mass:
            every_item = self.shared_expected_count(batch, np.arange(len(self._data.item_counts)))
            self._clicked_mass = {key: self._data.clicked.members @ every_item}
        return self._positive(drawn - self._clicked_mass[key][batch.user])

    def _positive(self, expected: Float64s) -> Float64s:
        positive: Float64s = np.maximum(expected, 1e-9)
        return positive

    def _above_zero(self, batch: Batch, total: Float64s) -> Float64s:
        # An item that no source of known proposal could draw is corrected like an item that was never clicked.
        unseen = UNSEEN_CLICKS / len(self._data) * max(1, len(batch) - 1)
        expected: Float64s = np.where(total > 0, total, unseen)
        return expected

    def _all(self) -> list[HasExpectedCount]:
        """Every source, those that stay uncorrected included: their expected counts are None."""
        in_batch = [] if self.in_batch is None else [self.in_batch]
        queue = [] if self.queue is None else [self.queue]
        return [*in_batch, *self._weighted, *queue, *self._per_row]


def hidden_item_share(item_counts: npt.NDArray[np.int64], share: float) -> npt.NDArray[np.float64]:
    """The probability that the item id of a pair is replaced by the unknown id, float64 [items], at most ½.

    Every item contributes equally many pairs, a `share` of all pairs in total, so that the unknown id is trained as the
    average item. With the same probability for every pair it would be trained as the average click, which is a popular
    item, and items never clicked would be recommended above most items that were.
    """
    clicked = np.maximum(item_counts, 1)
    share_of_item = share * item_counts.sum() / max(np.count_nonzero(item_counts), 1) / clicked
    hidden: npt.NDArray[np.float64] = np.minimum(share_of_item, 0.5)
    return hidden
