"""Everything random about a batch, and what follows from it: the problem that an engine solves.

    pairs → draws of every source → equal candidates merged → masks → correction → `BatchProblem`

Here: the steps in this order, and the state that outlives a batch (streaming frequencies, the items of the queue). Not
here: what each source draws (`negatives.py`), the masks (`masks.py`) and the correction (`correction.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from twotower_assets.core.popularity import log_q
from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.two_tower.data.item_sets import ItemSets, unique_ids
from twotower_assets.two_tower.data.training_set import TrainingSet
from twotower_assets.two_tower.data.vocabulary import UNKNOWN
from twotower_assets.two_tower.kernels.ragged_rows import take_rows
from twotower_assets.two_tower.sampling.all_sources import Sources
from twotower_assets.two_tower.sampling.batch_problem import BatchProblem, ItemBiases, SoftmaxProblem
from twotower_assets.two_tower.sampling.correction import Correction
from twotower_assets.two_tower.sampling.masks import find_masks
from twotower_assets.two_tower.sampling.negatives import Batch, Candidates
from twotower_assets.two_tower.sampling.proposals import build_proposal

Int64s = npt.NDArray[np.int64]
Float32s = npt.NDArray[np.float32]
Float64s = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


class NegativeSampler:
    """Makes the problems of the batches of one training run, in their order."""

    def __init__(self, data: TrainingSet, config: TrainingConfig, mined: ItemSets | None = None) -> None:
        """`mined`: the sets that mined negatives are drawn from, one per user index.

        Raises:
            TrainingDataError: `mined` is missing where the configuration needs it.
        """
        self.data, self.config = data, config
        self.proposal = build_proposal(data, config)
        self.sources = Sources.build(data, config, self.proposal, mined)
        self.correction = Correction(data, config, self.proposal, self.sources)
        self._item_hidden = hidden_item_share(data.item_counts, config.unknown_id_share)
        self._starting_bias = starting_bias(data, config)
        self._scratch = np.full(2 * len(data.item_counts), -1, np.int32)  # of `unique_ids`

    def draw(self, rows: Int64s, generator: np.random.Generator) -> BatchProblem:
        """The problem of the pairs `rows` int64 [B]; call it once per batch, in their order."""
        data, config, sources = self.data, self.config, self.sources
        batch = Batch(data, rows)
        users = data.user_inputs.take(batch.user)
        users.ids[generator.random(len(batch)) < config.unknown_id_share] = UNKNOWN
        hidden = generator.random(len(batch)) < self._item_hidden[batch.item]
        drawn = np.concatenate([np.zeros(0, np.int64), *(source.draw(batch, generator) for source in sources.weighted)])
        per_row = [np.zeros((len(batch), 0), np.int64), *(source.draw(batch, generator) for source in sources.per_row)]
        row_negatives = np.concatenate(per_row, axis=1)
        keys, positive_index, row_negative_index, positive_count, count = self._merge_equal(
            batch, hidden, drawn, row_negatives
        )
        columns = int(np.count_nonzero(count))
        item, request = keys // 2 % len(data.item_counts), keys // (2 * len(data.item_counts)) - 1
        items = data.item_inputs.take(item)
        items.ids[keys % 2 == 1] = UNKNOWN
        shared = Candidates(item[:columns], count[:columns], positive_count[:columns], request[:columns])
        queued = sources.queue.items if sources.queue is not None else item[:0]
        candidates = shared.with_items(queued)
        masks = find_masks(config.masks, batch, candidates, row_negatives)
        offsets = self.correction.offsets(batch, candidates, row_negatives)
        offsets.pairs[:, 1:][masks.row_negatives] = -np.inf
        scale = None if sources.queue is None else shared_gradient_scale(shared, len(batch), len(queued))
        self.proposal.update(batch.item)
        if sources.queue is not None:
            sources.queue.push(batch.item)
        return BatchProblem(
            batch=batch,
            users=users,
            history=take_rows(data.history, rows),
            items=items,
            item=item,
            candidates=candidates,
            row_negatives=row_negatives,
            softmax=SoftmaxProblem(
                pair_index=np.concatenate(
                    [positive_index[:, None], row_negative_index.reshape(row_negatives.shape)], axis=1
                ),
                pair_offsets=offsets.pairs,
                column_offsets=offsets.columns,
                column_count=candidates.count,
                masked=masks.columns,
                row_corrections=offsets.rows,
                weights=data.weights[rows],
                unmasked=masks.unmasked,
                expected_unmasked=offsets.expected_unmasked,
                positive_aware_share=np.inf if config.positive_aware_share is None else config.positive_aware_share,
            ),
            biases=self._biases(batch, np.concatenate([item, queued])) if config.item_bias else None,
            queued=len(queued),
            queued_after=0 if sources.queue is None else len(sources.queue),
            shared_gradient_scale=scale,
            mask_counts=masks.counts,
        )

    def state_dict(self) -> dict[str, npt.NDArray[np.generic]]:
        """The state that outlives a batch: of the proposal and of the queue."""
        queue = self.sources.queue
        states = {"proposal": self.proposal.state_dict(), "queue": queue.state_dict() if queue is not None else {}}
        return {f"{part}/{name}": array for part, arrays in states.items() for name, array in arrays.items()}

    def load_state_dict(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from a saved state."""
        states: dict[str, dict[str, npt.NDArray[Any]]] = {"proposal": {}, "queue": {}}
        for path, array in state.items():
            part, _, name = path.partition("/")
            states[part][name] = array
        if states["proposal"]:
            self.proposal.load_state_dict(states["proposal"])
        if self.sources.queue is not None:
            self.sources.queue.load_state_dict(states["queue"])

    def _merge_equal(
        self, batch: Batch, hidden: Bools, drawn: Int64s, row_negatives: Int64s
    ) -> tuple[Int64s, Int64s, Int64s, Int64s, Int64s]:
        """Merge candidates that have the same vector and the same masks.

        Returns:
            The distinct keys [D] (request, item, hidden), those of shared candidates first; the index among them of
            each positive [B] and of each per-row negative [B·K]; how often each key is a positive of the batch, and
            how often it is a shared candidate, [D] each.
        """
        n_items, by_request = len(batch.data.item_counts), "same_request" in self.config.masks
        in_batch = self.sources.in_batch is not None
        request = batch.data.request[batch.rows] + 1 if by_request else 0
        positives, pairs = (request * n_items + batch.item) * 2 + hidden, len(batch)
        shared = len(drawn) + (pairs if in_batch else 0)
        parts = (positives, drawn * 2) if in_batch else (drawn * 2, positives)  # shared candidates come first
        keys = np.concatenate([*parts, row_negatives.ravel() * 2])
        if by_request:  # requests times items are too many for a scratch array
            sorted_keys, positions = np.unique(keys, return_inverse=True)
            unique, index = unique_ids(positions, np.full(len(sorted_keys), -1, np.int32))
            keys = sorted_keys[unique]
        else:
            keys, index = unique_ids(keys, self._scratch)
        first = 0 if in_batch else shared
        count = np.bincount(index[:shared], minlength=len(keys))
        positive_count = np.bincount(index[:pairs], minlength=len(keys)) if in_batch else np.zeros_like(count)
        return keys, index[first : first + pairs], index[pairs + len(drawn) :], positive_count, count

    def _biases(self, batch: Batch, items: Int64s) -> ItemBiases:
        ids = self.data.item_inputs.ids
        return ItemBiases(ids[items], self._starting_bias[ids[batch.item]], self.config.item_bias_penalty)


def shared_gradient_scale(shared: Candidates, pairs: int, queued: int) -> Float32s:
    """Factors of the gradients of the batch's shared vectors beside a queue, float32 [S].

    An item moves towards users by all of its positives. If only its in-batch share of the softmax moved it away,
    popular items would rise, the more the longer the queue. In-batch and queued items are both drawn in proportion to
    q, so one factor fits all.
    """
    factor = queued / max(1, pairs - 1)
    scale: Float32s = (1.0 + factor * shared.positive_count / shared.count).astype(np.float32)
    return scale


def hidden_item_share(item_counts: npt.NDArray[np.int64], share: float) -> Float64s:
    """The probability that the item id of a pair is replaced by the unknown id, float64 [items], at most ½.

    Every item contributes equally many pairs, a `share` of all pairs in total, so that the unknown id is trained as the
    average item. With the same probability for every pair it would be trained as the average click, which is a popular
    item, and items never clicked would be recommended above most items that were.
    """
    clicked = np.maximum(item_counts, 1)
    share_of_item = share * item_counts.sum() / max(np.count_nonzero(item_counts), 1) / clicked
    hidden: Float64s = np.minimum(share_of_item, 0.5)
    return hidden


def starting_bias(data: TrainingSet, config: TrainingConfig) -> Float32s:
    """Initial values of learned biases, float32 [embedding rows]: γ₀·log q, the popularity that the score is to hold.

    Cosines divided by a temperature have a bounded range, which log q often exceeds, and a bias that starts at 0 does
    not reach log q within a training. The mean over the pairs is subtracted, which changes no ranking.
    """
    rows = data.encoder.items.embedded_ids + 1
    popularity = log_q(data.item_counts)[:rows]
    start = config.trained_popularity_weight * (popularity - (data.q[:rows] * popularity).sum())
    start32: Float32s = start.astype(np.float32)
    return start32
