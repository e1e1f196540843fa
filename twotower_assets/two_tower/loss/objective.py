"""The loss of a batch as the configuration declares it: candidates of every source, masked and corrected.

    sampled batch → vectors → scores (1/τ, bias) → masks → expected-count correction → softmax

Every recipe takes this path. Here: how the steps are put together, and the state that outlives a batch (the queue,
streaming frequencies). Not here: sampling and masks (`sampling`), vectors (`towers`), and the softmax
(`compiled_softmax.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from twotower_assets.core.popularity import log_q
from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.two_tower.data.item_sets import ItemSets
from twotower_assets.two_tower.data.training_set import TrainingSet
from twotower_assets.two_tower.kernels.processor import has_bfloat16_matmul
from twotower_assets.two_tower.loss.compiled_softmax import MaskAndCorrect, SoftmaxResult, sampled_softmax
from twotower_assets.two_tower.sampling.masks import (
    FalseNegatives,
    MaskCounts,
    SharedMask,
    log_unmasked_share,
    mask_row_negatives,
)
from twotower_assets.two_tower.sampling.negative_sampler import NegativeSampler, SampledBatch
from twotower_assets.two_tower.sampling.negatives import Batch, Candidates
from twotower_assets.two_tower.sampling.proposals import build_proposal
from twotower_assets.two_tower.towers.embedding_tables import EmbeddingTable
from twotower_assets.two_tower.towers.model import Towers
from twotower_assets.two_tower.towers.tower import TowerInputs

Float32s = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]
Generator = np.random.Generator


@dataclass(frozen=True)
class Loss:
    """The loss of a batch; `backward` sets the gradients of towers that have none, and is called at most once."""

    value: float
    backward: Callable[[], None]


class Objective:
    """The loss of the batches of one training run, in their order."""

    def __init__(self, data: TrainingSet, config: TrainingConfig, mined: ItemSets | None = None) -> None:
        """`mined`: the sets that mined negatives are drawn from, one per user index.

        Raises:
            TrainingDataError: `mined` is missing where the configuration needs it.
        """
        self.data, self.config = data, config
        self.proposal = build_proposal(data, config)
        self.sampler = NegativeSampler(data, config, self.proposal, mined)
        self.counts = MaskCounts()
        self._bfloat16 = config.products == "bfloat16" or (config.products == "auto" and has_bfloat16_matmul())
        self._log_unmasked = log_unmasked_share(data, config)
        self._starting_bias = starting_bias(data, config)

    def loss(self, towers: Towers, rows: Int64s, generator: Generator) -> Loss:
        """Sample the pairs `rows` int64 [B], and return their loss; call it once per batch."""
        return self.sampled_loss(towers, self.sampler.draw(rows, generator))

    @torch.no_grad()
    def sampled_loss(self, towers: Towers, sampled: SampledBatch) -> Loss:
        """The loss of a sampled batch; call it once per batch."""
        batch, queue = sampled.batch, self.sampler.queue
        queries, queries_backward = towers.queries_vjp(TowerInputs.of(sampled.users, sampled.history))
        vectors, vectors_backward = towers.items_vjp(TowerInputs.of(sampled.items))
        candidates, shared = self._shared(sampled, vectors)
        pair_index = np.concatenate([sampled.positive_index[:, None], sampled.row_negative_index], axis=1)
        pair_offsets = torch.from_numpy(self._pair_offsets(sampled))
        column_offsets = torch.from_numpy(self._column_offsets(batch, candidates))
        biases = None
        if towers.item_bias is not None:
            biases = _ItemBiases(towers.item_bias, self._bias_ids(sampled), pair_index)
            pair_offsets += biases.pairs
            column_offsets += biases.shared(len(sampled.shared), len(vectors))
        result = sampled_softmax(
            queries,
            vectors,
            shared,
            column_offsets,
            pair_index,
            pair_offsets,
            weights=torch.from_numpy(self.data.weights[batch.rows]),
            mask_and_correct=self._mask_and_correct(sampled, candidates),
            bfloat16=self._bfloat16,
            learned_offsets=biases is not None,
        )
        loss = result.loss
        if biases is not None:
            start = self._starting_bias[torch.from_numpy(self.data.item_inputs.ids[batch.item])]
            loss += biases.penalty(self.config.item_bias_penalty, start)
        scale = None if queue is None else self._queue_gradient_scale(sampled.shared, len(batch))
        self.proposal.update(batch.item)
        if queue is not None:
            queue.push(batch.item, vectors[torch.from_numpy(sampled.positive_index)])

        @torch.no_grad()
        def backward() -> None:
            grad_shared = result.grad_shared[: len(sampled.shared)]
            result.grad_vectors[: len(grad_shared)] += grad_shared if scale is None else grad_shared * scale[:, None]
            queries_backward(result.grad_queries)
            vectors_backward(result.grad_vectors)
            if biases is not None:
                biases.backward(result, len(sampled.shared), len(vectors))

        return Loss(loss, backward)

    def pop_counts(self) -> MaskCounts:
        """The mask counts since the last call."""
        counts, self.counts = self.counts, MaskCounts()
        return counts

    def state_dict(self) -> dict[str, Tensor]:
        """The state that outlives a batch: of the proposal and of the queue."""
        queue = self.sampler.queue
        states = {"proposal": self.proposal.state_dict(), "queue": queue.state_dict() if queue is not None else {}}
        return {
            f"{part}/{name}": torch.from_numpy(np.array(array))
            for part, arrays in states.items()
            for name, array in arrays.items()
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a saved state."""
        states: dict[str, dict[str, npt.NDArray[np.generic]]] = {"proposal": {}, "queue": {}}
        for path, tensor in state.items():
            part, _, name = path.partition("/")
            states[part][name] = tensor.numpy()
        if states["proposal"]:
            self.proposal.load_state_dict(states["proposal"])
        if self.sampler.queue is not None:
            self.sampler.queue.load_state_dict(states["queue"])

    def _bias_ids(self, sampled: SampledBatch) -> Tensor:
        """Embedding rows of the distinct items, then of the queued items, int64 [D + queued].

        A hidden id hides only the vector: the bias stays the item's own, because the correction uses its popularity.
        """
        queue = self.sampler.queue
        items = sampled.item if queue is None else np.concatenate([sampled.item, queue.items])
        return torch.from_numpy(self.data.item_inputs.ids[items])

    def _shared(self, sampled: SampledBatch, vectors: Tensor) -> tuple[Candidates, Tensor]:
        """The shared candidates, queued items last, and their vectors."""
        batch_vectors, queue = vectors[: len(sampled.shared)], self.sampler.queue
        if queue is None:
            return sampled.shared, batch_vectors
        return sampled.shared.with_items(queue.items), torch.cat([batch_vectors, queue.vectors])

    def _queue_gradient_scale(self, shared: Candidates, pairs: int) -> Tensor:
        """Factors of the gradients of the batch's shared vectors, float [S].

        An item moves towards users by all of its positives. If only its in-batch share of the softmax moved it away,
        popular items would rise, the more the longer the queue. In-batch and queued items are both drawn in proportion
        to q, so one factor fits all.
        """
        queue = self.sampler.queue
        factor = (len(queue) if queue is not None else 0) / max(1, pairs - 1)
        return torch.from_numpy((1.0 + factor * shared.positive_count / shared.count).astype(np.float32))

    def _column_offsets(self, batch: Batch, candidates: Candidates) -> Float32s:
        """Column logit offsets without biases, float32 [S]: the part that is the same for all rows."""
        offsets = np.log(candidates.count) - self._log_unmasked[candidates.item]
        if self.config.correction != "none":
            offsets -= np.log(self.sampler.shared_expected_count(batch, candidates.item))
        return offsets.astype(np.float32)

    def _pair_offsets(self, sampled: SampledBatch) -> Float32s:
        """Pair logit offsets without biases, of positives and per-row negatives, float32 [B, 1 + K]."""
        batch, items = sampled.batch, sampled.row_negatives
        offsets = np.zeros((len(batch), 1 + items.shape[1]), np.float32)
        if self.config.correction == "logq":
            offsets[:, 0] = -np.log(self.sampler.expected_count(batch, batch.item[:, None])[:, 0])
        if items.shape[1]:
            offsets[:, 1:] = self.sampler.row_log_weights - self._log_unmasked[items]
            if self.config.correction != "none":
                offsets[:, 1:] -= np.log(self.sampler.expected_count(batch, items))
        return offsets

    def _mask_and_correct(self, sampled: SampledBatch, candidates: Candidates) -> MaskAndCorrect:
        """Masks and row-dependent corrections of the scores, which are cosines times 1/τ."""
        batch, items = sampled.batch, candidates.item
        false_negatives = sampled.false_negatives or FalseNegatives.find(self.config.masks, batch, candidates)
        shared_mask = SharedMask(self.config, self.counts, false_negatives)
        positive_excluded = self.config.correction == "logq_positive_excluded"
        expected_unmasked = self.sampler.expected_unmasked(batch) if positive_excluded else None
        row_dependent = self.config.correction != "none" and bool(self.sampler.row_dependent)
        shared_count = self.sampler.shared_expected_count(batch, items) if row_dependent else None

        def mask_and_correct(first: int, scores: Tensor, pairs: Tensor) -> tuple[Tensor | None, Tensor | None]:
            tile = slice(first, first + len(scores))
            rows, positive, row_scores = Batch(self.data, batch.rows[tile]), pairs[:, 0], pairs[:, 1:]
            unmasked = shared_mask.mask(first, scores, positive)
            if row_scores.shape[1]:
                row_items = sampled.row_negatives[tile]
                masked = mask_row_negatives(self.config, self.counts, rows, row_items, row_scores, positive)
                row_scores.masked_fill_(masked, float("-inf"))
            positive_offset, candidate_offsets = None, None
            if shared_count is not None:
                row_count = self.sampler.row_expected_count(rows, items)
                candidate_offsets = -_log(1.0 + row_count / shared_count)
            if expected_unmasked is not None:
                # log n of the n unmasked negatives is the same for a whole row, so the positive's logit can take it.
                positive_offset = _log(np.maximum(unmasked, 1) / expected_unmasked[tile])
            return positive_offset, candidate_offsets

        return mask_and_correct


class _ItemBiases:
    """Learned biases in the logits of a batch: of its D distinct items, then of the queued items."""

    def __init__(self, table: EmbeddingTable, ids: Tensor, pair_index: Int64s) -> None:
        """`ids` int64 [D + queued], rows of the table; `pair_index` int64 [B, 1 + K], indices into `ids`."""
        column, self._table_backward = table.vjp(ids)
        self._bias, self._pair_index = column[:, 0], torch.from_numpy(pair_index)
        self.pairs = self._bias[self._pair_index]
        self._grad_penalty = torch.zeros(len(pair_index))

    def shared(self, columns: int, distinct: int) -> Tensor:
        """Biases of the shared candidates: the first `columns` of the distinct items, and the queued items."""
        return torch.cat([self._bias[:columns], self._bias[distinct:]])

    def penalty(self, weight: float, start: Tensor) -> float:
        """`weight` times the mean squared difference between the positives' biases and `start` float [B]."""
        difference = self.pairs[:, 0] - start
        self._grad_penalty = 2.0 * weight / len(difference) * difference
        return weight * difference.square().mean().item()

    def backward(self, result: SoftmaxResult, columns: int, distinct: int) -> None:
        """Add to the table's gradient."""
        gradient = torch.zeros_like(self._bias)
        gradient[:columns] += result.grad_column_offsets[:columns]
        gradient[distinct:] += result.grad_column_offsets[columns:]
        gradient.index_add_(0, self._pair_index.reshape(-1), result.grad_pair_offsets.reshape(-1))
        gradient.index_add_(0, self._pair_index[:, 0], self._grad_penalty)
        self._table_backward(gradient[:, None])


def starting_bias(data: TrainingSet, config: TrainingConfig) -> Tensor:
    """Initial values of learned biases, float32 [embedding rows]: γ₀·log q, the popularity that the score is to hold.

    Cosines divided by a temperature have a bounded range, which log q often exceeds, and a bias that starts at 0 does
    not reach log q within a training. The mean over the pairs is subtracted, which changes no ranking.
    """
    rows = data.encoder.items.embedded_ids + 1
    popularity = log_q(data.item_counts)[:rows]
    start = config.trained_popularity_weight * (popularity - (data.q[:rows] * popularity).sum())
    return torch.from_numpy(start.astype(np.float32))


def _log(counts: npt.NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.log(counts).astype(np.float32))
