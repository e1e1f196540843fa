"""All sources of negatives of a configuration together: what they draw for a batch, and how often they should.

Here: the draws of a batch as the arrays that the towers read, and the one rule of expected counts. Not here: what each
source draws (`negatives.py`), and vectors (`objective.py`).
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
from twotower_assets.two_tower.data.item_sets import ItemSets, distinct
from twotower_assets.two_tower.data.training_set import TrainingSet
from twotower_assets.two_tower.data.vocabulary import UNKNOWN
from twotower_assets.two_tower.kernels.ragged_rows import take_rows
from twotower_assets.two_tower.sampling.masks import FalseNegatives
from twotower_assets.two_tower.sampling.negatives import (
    Batch,
    Candidates,
    ExpectsCounts,
    Grouped,
    InBatch,
    RowSource,
    Weighted,
    build_source,
    total_expected_count,
)
from twotower_assets.two_tower.sampling.proposals import Proposal
from twotower_assets.two_tower.sampling.vector_queue import VectorQueue

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Drawn:
    """Everything random of a batch of B pairs, and what the towers read of it; nothing in it depends on weights.

    `users` are the inputs of the pairs' users, `history` has B rows. `items` are the inputs of the batch's distinct
    items, numbers `item` int64 [D]: first those of the columns of `shared`, then others. Among them, `pair_places`
    int64 [B] are the positives, some with the unknown id, and `own_places` int64 [B, K] what is drawn for each row: the
    items `own`, 0 where there is none. `false_negatives` are those among `shared`; None where a queue adds to these.
    """

    batch: Batch
    users: SideInputs
    history: Ragged
    items: SideInputs
    item: Int64s
    shared: Candidates
    pair_places: Int64s
    own: Int64s
    own_places: Int64s
    false_negatives: FalseNegatives | None


class Sources:
    """The sources that the configuration names, over a training set."""

    def __init__(self, data: TrainingSet, config: TrainingConfig, proposal: Proposal, mined: ItemSets | None) -> None:
        """Raises `TrainingDataError` where `mined` is missing and the configuration needs it."""
        self._data, self._proposal = data, proposal
        self._user_replaced = config.unknown_id_share
        self._item_replaced = replaced_item_share(data.item_counts, config.unknown_id_share)
        self.masks = config.masks
        self._place = np.full(2 * len(data.item_counts), -1, np.int32)  # scratch of `distinct`
        self._clicked_mass: dict[tuple[int, int], Float64s] = {}
        self._of_every_item: dict[int, Float64s] = {}  # by batch size, of which an epoch has two
        self._weighted: list[Weighted] = []
        self._rows: list[RowSource] = []
        weights: list[float] = []
        self.in_batch: InBatch | None = None
        self.queue: VectorQueue | None = None
        for one in config.negatives:
            if isinstance(one, CrossBatchNegatives):
                warm_up = math.ceil(one.warm_up_epochs * math.ceil(len(data) / config.batch_size))
                self.queue = VectorQueue(one, proposal, config.dimensions, warm_up)
                continue
            source = build_source(one, data, proposal, mined)
            if isinstance(source, InBatch):
                self.in_batch = source
            elif isinstance(source, Weighted):
                self._weighted.append(source)
            else:
                self._rows.append(source)
                weights += [math.log(getattr(one, "weight", 1.0))] * source.per_positive
        self.own_log_weights = np.array(weights, np.float32)
        self.differ_by_row = [one for one in self._rows if isinstance(one, Grouped) and not one.is_margin]

    def draw(self, rows: Int64s, generator: np.random.Generator) -> Drawn:
        """All that is random of the pairs at the positions `rows` int64 [B]; changes nothing but the generator."""
        data = self._data
        batch = Batch(data, rows)
        users = data.user_inputs.take(batch.user)
        users.ids[generator.random(len(batch)) < self._user_replaced] = UNKNOWN
        hidden = generator.random(len(batch)) < self._item_replaced[batch.item]
        drawn = np.concatenate([np.zeros(0, np.int64), *(one.draw(batch, generator) for one in self._weighted)])
        by_row = [np.zeros((len(batch), 0), np.int64), *(one.draw(batch, generator) for one in self._rows)]
        own = np.concatenate(by_row, axis=1)
        keys, pair_places, own_places, of_batch, count = self._taken_together(batch, hidden, drawn, own)
        columns = int(np.count_nonzero(count))
        item, request = keys // 2 % len(data.item_counts), keys // (2 * len(data.item_counts)) - 1
        items = data.item_inputs.take(item)
        items.ids[keys % 2 == 1] = UNKNOWN
        shared = Candidates(item[:columns], count[:columns], of_batch[:columns], request[:columns])
        return Drawn(
            batch=batch,
            users=users,
            history=take_rows(data.history, rows),
            items=items,
            item=item,
            shared=shared,
            pair_places=pair_places,
            own=own,
            own_places=own_places.reshape(own.shape),
            false_negatives=None if self.queue is not None else FalseNegatives.of(self.masks, batch, shared),
        )

    def _taken_together(
        self, batch: Batch, hidden: Bools, drawn: Int64s, own: Int64s
    ) -> tuple[Int64s, Int64s, Int64s, Int64s, Int64s]:
        """What has the same vector, and is masked alike, counts as one.

        Returns:
            The distinct keys [D] (request, item, hidden), those of shared candidates first; the place among them of
            each pair [B], and of what was drawn for each row [B·K]; how often each is a positive of the batch, and how
            often it is shared, [D] each.
        """
        n_items, by_request = len(batch.data.item_counts), "same_request" in self.masks
        request = batch.data.request[batch.rows] + 1 if by_request else 0
        of_pairs, pairs = (request * n_items + batch.item) * 2 + hidden, len(batch)
        shared = len(drawn) + (pairs if self.in_batch else 0)
        parts = (of_pairs, drawn * 2) if self.in_batch else (drawn * 2, of_pairs)  # what all rows share comes first
        keys = np.concatenate([*parts, own.ravel() * 2])
        if by_request:  # there are too many requests times items for a place of each
            known, numbers = np.unique(keys, return_inverse=True)
            rows, places = distinct(numbers, np.full(len(known), -1, np.int32))
            keys = known[rows]
        else:
            keys, places = distinct(keys, self._place)
        first = 0 if self.in_batch else shared
        count = np.bincount(places[:shared], minlength=len(keys))
        of_batch = np.bincount(places[:pairs], minlength=len(keys)) if self.in_batch else np.zeros_like(count)
        return keys, places[first : first + pairs], places[pairs + len(drawn) :], of_batch, count

    def expected_count(self, batch: Batch, items: Int64s) -> Float64s:
        """The one rule: how often a row is expected to draw an item, over all sources of known proposal.

        Args:
            batch: B pairs.
            items: int64 [S], candidates of every row, or [B, K], the candidates of each row.

        Returns:
            float64 [1, S], [B, S] or [B, K]; as for half a training pair where no known source draws.
        """
        if not self.differ_by_row:
            return np.atleast_2d(self.expected_of_every_row(batch, items))
        return self._above_zero(batch, total_expected_count(self._all(), batch, items))

    def expected_of_every_row(self, batch: Batch, items: Int64s) -> Float64s:
        """The part of it that is the same for every row, float64 of the shape of the items, which may be any."""
        if self._proposal.is_fixed and self.queue is None:
            pairs = len(batch)
            if pairs not in self._of_every_item:
                self._of_every_item[pairs] = self._alike(batch, np.arange(len(self._data.item_counts)))
            return self._of_every_item[pairs][items]
        return self._alike(batch, items)

    def _alike(self, batch: Batch, items: Int64s) -> Float64s:
        sources = [one for one in self._all() if one not in self.differ_by_row]
        total = total_expected_count(sources, batch, items.reshape(-1))[0]  # one number where there is no source
        every_row: Float64s = np.broadcast_to(self._above_zero(batch, total), (items.size,)).reshape(items.shape)
        return every_row

    def expected_of_each_row(self, rows: Batch, items: Int64s) -> Float64s:
        """What comes to it in each of the rows, which may be some of a batch: float64 [B, S]."""
        return total_expected_count(self.differ_by_row, rows, items)

    def expected_left(self, batch: Batch) -> Float64s:
        """Shared candidates of a row that no mask of items takes out, on average: float64 [B]."""
        queued = len(self.queue) if self.queue is not None else 0
        drawn = (len(batch) - 1) * (self.in_batch is not None) + sum(one.count for one in self._weighted) + queued
        if "clicked" not in self.masks:
            return self._at_least_some(drawn - self.expected_of_every_row(batch, batch.item))
        if not self._proposal.is_fixed:
            masked = self._data.clicked.sums(batch.user, lambda items: self.expected_of_every_row(batch, items))
            return self._at_least_some(drawn - masked)
        key = len(batch), queued
        if key not in self._clicked_mass:
            every = self.expected_of_every_row(batch, np.arange(len(self._data.item_counts)))
            self._clicked_mass = {key: self._data.clicked.members @ every}
        return self._at_least_some(drawn - self._clicked_mass[key][batch.user])

    def _at_least_some(self, left: Float64s) -> Float64s:
        some: Float64s = np.maximum(left, 1e-9)
        return some

    def _above_zero(self, batch: Batch, total: Float64s) -> Float64s:
        # A margin's item that no other source could draw is taken for one that was never clicked.
        unseen = UNSEEN_CLICKS / len(self._data) * max(1, len(batch) - 1)
        expected: Float64s = np.where(total > 0, total, unseen)
        return expected

    def _all(self) -> list[ExpectsCounts]:
        """Every source; margins say themselves that their proposal is not known."""
        in_batch = [] if self.in_batch is None else [self.in_batch]
        queue = [] if self.queue is None else [self.queue]
        return [*in_batch, *self._weighted, *queue, *self._rows]


def replaced_item_share(item_counts: npt.NDArray[np.int64], share: float) -> npt.NDArray[np.float64]:
    """How often a pair's item id is replaced by the unknown one, float64 [items], at most half of the time.

    Every item gives equally many pairs, `share` of all pairs together, so that the unknown id stands for the average
    item. With the same share of every pair it would stand for the average click, which is a popular item, and items
    never clicked would be recommended above most of those that were.
    """
    clicked = np.maximum(item_counts, 1)
    share_of_item = share * item_counts.sum() / max(np.count_nonzero(item_counts), 1) / clicked
    replaced: npt.NDArray[np.float64] = np.minimum(share_of_item, 0.5)
    return replaced
