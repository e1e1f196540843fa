"""The engine for processors: compiled loops over tiles that stay in the caches, and hand-written gradients.

Here: a batch's problem to vectors, the softmax, and gradients back. Not here: the softmax (`compiled_softmax.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from twotower_assets.two_tower.loss.compiled_softmax import SoftmaxResult, sampled_softmax
from twotower_assets.two_tower.loss.engine import Loss
from twotower_assets.two_tower.sampling.batch_problem import BatchProblem, ItemBiases, SoftmaxProblem
from twotower_assets.two_tower.towers.embedding_tables import EmbeddingTable
from twotower_assets.two_tower.towers.model import Towers
from twotower_assets.two_tower.towers.tower import TowerInputs


class CompiledEngine:
    """Solves problems with any towers, through their `vjp`."""

    def __init__(self, dimensions: int, *, bfloat16: bool) -> None:
        """`dimensions` of the vectors; `bfloat16`: as in `sampled_softmax`."""
        self._bfloat16 = bfloat16
        self.queue = torch.zeros(0, dimensions)
        """The vectors of the queue, oldest first, float32 [queued, d]."""

    @torch.no_grad()
    def loss(self, towers: Towers, problem: BatchProblem) -> Loss:
        """As `Engine.loss`."""
        queries, queries_backward = towers.queries_vjp(TowerInputs.of(problem.users, problem.history))
        vectors, vectors_backward = towers.items_vjp(TowerInputs.of(problem.items))
        columns = len(problem.candidates) - problem.queued  # of this batch
        shared = torch.cat([vectors[:columns], self.queue]) if problem.queued else vectors[:columns]
        softmax, biases = problem.softmax, None
        if towers.item_bias is not None and problem.biases is not None:
            biases = _LearnedBiases(towers.item_bias, problem.biases, softmax, columns)
            softmax = biases.added()
        result = sampled_softmax(
            queries, vectors, shared, softmax, bfloat16=self._bfloat16, learned_offsets=biases is not None
        )
        loss = result.loss + (biases.penalty() if biases is not None else 0.0)
        positives = vectors[torch.from_numpy(softmax.pair_index[:, 0])]
        self.queue = queue_after(self.queue, positives, problem.queued_after)

        @torch.no_grad()
        def backward() -> None:
            grad_shared, scale = result.grad_shared[:columns], problem.shared_gradient_scale
            if scale is not None:
                grad_shared = grad_shared * torch.from_numpy(scale)[:, None]
            result.grad_vectors[:columns] += grad_shared
            queries_backward(result.grad_queries)
            vectors_backward(result.grad_vectors)
            if biases is not None:
                biases.backward(result)

        return Loss(loss, backward, result.close)

    def state_dict(self) -> dict[str, Tensor]:
        """As `Engine.state_dict`."""
        return {"queue": self.queue}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """As `Engine.load_state_dict`."""
        self.queue = state["queue"].clone()


def queue_after(queue: Tensor, positives: Tensor, kept: int) -> Tensor:
    """The last `kept` of the queue's vectors and of the batch's positives float [B, d], without gradient."""
    if not kept:
        return queue[:0]
    return torch.cat([queue, positives.detach()])[-kept:]


class _LearnedBiases:
    """Learned biases in the logits of a batch: of its D distinct items, then of the queued items."""

    def __init__(self, table: EmbeddingTable, biases: ItemBiases, softmax: SoftmaxProblem, columns: int) -> None:
        """`columns`: the shared columns of this batch; they are the first of its D distinct items."""
        self._softmax, self._columns, self._weight = softmax, columns, biases.penalty
        column, self._table_backward = table.vjp(torch.from_numpy(biases.ids))
        self._bias, self._pair_index = column[:, 0], torch.from_numpy(softmax.pair_index)
        self._queued = len(biases.ids) - (len(softmax.column_count) - columns)  # the first queued item
        self._pairs = self._bias[self._pair_index]
        self._difference = self._pairs[:, 0] - torch.from_numpy(biases.start)

    def added(self) -> SoftmaxProblem:
        """The problem with the biases in its offsets."""
        shared = torch.cat([self._bias[: self._columns], self._bias[self._queued :]])
        return replace(
            self._softmax,
            pair_offsets=self._softmax.pair_offsets + self._pairs.numpy(),
            column_offsets=self._softmax.column_offsets + shared.numpy(),
        )

    def penalty(self) -> float:
        """The mean squared difference between the positives' biases and where they are drawn to, times its factor."""
        return self._weight * self._difference.square().mean().item()

    def backward(self, result: SoftmaxResult) -> None:
        """Add to the table's gradient."""
        gradient = torch.zeros_like(self._bias)
        gradient[: self._columns] += result.grad_column_offsets[: self._columns]
        gradient[self._queued :] += result.grad_column_offsets[self._columns :]
        gradient.index_add_(0, self._pair_index.reshape(-1), result.grad_pair_offsets.reshape(-1))
        gradient.index_add_(0, self._pair_index[:, 0], 2.0 * self._weight / len(self._difference) * self._difference)
        self._table_backward(gradient[:, None])
