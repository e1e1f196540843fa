"""The loss of a batch, as the configuration declares it: candidates from every source, masked, corrected by one rule.

    what was drawn → vectors → scores (1/τ, bias) → masks → expected counts → softmax

All recipes go through this one path. Here: how the parts are put together, and the state that outlives a batch (the
queue, streaming frequencies). Not here: the parts.
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
from twotower_assets.two_tower.kernels.processor import multiplies_bfloat16
from twotower_assets.two_tower.loss.compiled_softmax import Edit, Softmax, sampled_softmax
from twotower_assets.two_tower.sampling.masks import (
    FalseNegatives,
    MaskCounts,
    SharedMask,
    leave_out_own,
    log_unmasked_share,
)
from twotower_assets.two_tower.sampling.negative_sampler import Drawn, Sources
from twotower_assets.two_tower.sampling.negatives import Batch, Candidates
from twotower_assets.two_tower.sampling.proposals import build_proposal
from twotower_assets.two_tower.towers.compiled_towers import Towers
from twotower_assets.two_tower.towers.embedding import history_tensors, side_tensors
from twotower_assets.two_tower.towers.embedding_tables import Table

Float32s = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]
Generator = np.random.Generator


@dataclass(frozen=True)
class Loss:
    """The loss of a batch, and what makes its gradients, of towers that have none; to be called once."""

    value: float
    backward: Callable[[], None]


class Objective:
    """The loss of the batches of one training run, in their order."""

    def __init__(self, data: TrainingSet, config: TrainingConfig, mined: ItemSets | None = None) -> None:
        """`mined`: one set per user number, which mined negatives are drawn from.

        Raises:
            TrainingDataError: `mined` is missing where the configuration needs it.
        """
        self.data, self.config = data, config
        self.proposal = build_proposal(data, config)
        self.sources = Sources(data, config, self.proposal, mined)
        self.counts = MaskCounts()
        self._bfloat16 = config.products == "bfloat16" or (config.products == "auto" and multiplies_bfloat16())
        self._log_unmasked = log_unmasked_share(data, config)
        self._starting_bias = starting_bias(data, config)

    def loss(self, towers: Towers, rows: Int64s, generator: Generator) -> Loss:
        """The loss of the pairs at the positions `rows` int64 [B]; to be asked for once per batch."""
        return self.loss_of(towers, self.sources.draw(rows, generator))

    @torch.no_grad()
    def loss_of(self, towers: Towers, drawn: Drawn) -> Loss:
        """The loss of what was drawn; to be asked for once per batch."""
        batch, queue = drawn.batch, self.sources.queue
        users = *side_tensors(drawn.users), *history_tensors(drawn.history)
        queries, pull_queries = towers.queries_vjp(*users)
        vectors, pull_vectors = towers.items_vjp(*side_tensors(drawn.items))
        candidates, shared = self._shared(drawn, vectors)
        places = np.concatenate([drawn.pair_places[:, None], drawn.own_places], axis=1)
        terms, offsets = torch.from_numpy(self._terms(drawn)), torch.from_numpy(self._offsets(batch, candidates))
        bias = None if towers.item_bias is None else _Bias(towers.item_bias, self._ids_of_biases(drawn), places)
        if bias is not None:
            terms += bias.of_pairs
            offsets += bias.of_shared(len(drawn.shared), len(vectors))
        softmax = sampled_softmax(
            queries,
            vectors,
            shared,
            offsets,
            places,
            terms,
            weights=torch.from_numpy(self.data.weights[batch.rows]),
            edit=self._edit(drawn, candidates),
            bfloat16=self._bfloat16,
            learned_offsets=bias is not None,
        )
        loss = softmax.loss
        if bias is not None:
            start = self._starting_bias[torch.from_numpy(self.data.item_inputs.ids[batch.item])]
            loss += bias.penalty(self.config.item_bias_penalty, start)
        push = None if queue is None else self._push_for_the_queue(drawn.shared, len(batch))
        self.proposal.update(batch.item)
        if queue is not None:
            queue.push(batch.item, vectors[torch.from_numpy(drawn.pair_places)])

        @torch.no_grad()
        def backward() -> None:
            of_shared = softmax.shared[: len(drawn.shared)]
            softmax.vectors[: len(of_shared)] += of_shared if push is None else of_shared * push[:, None]
            pull_queries(softmax.queries)
            pull_vectors(softmax.vectors)
            if bias is not None:
                bias.pull(softmax, len(drawn.shared), len(vectors))

        return Loss(loss, backward)

    def take_counts(self) -> MaskCounts:
        """What was masked since this was last asked."""
        counts, self.counts = self.counts, MaskCounts()
        return counts

    def state(self) -> dict[str, Tensor]:
        """What outlives a batch."""
        queue = self.sources.queue
        parts = {"proposal": self.proposal.state(), "queue": queue.state() if queue is not None else {}}
        return {
            f"{part}/{name}": torch.from_numpy(np.array(array))
            for part, arrays in parts.items()
            for name, array in arrays.items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state."""
        parts: dict[str, dict[str, npt.NDArray[np.generic]]] = {"proposal": {}, "queue": {}}
        for path, tensor in state.items():
            part, _, name = path.partition("/")
            parts[part][name] = tensor.numpy()
        if parts["proposal"]:
            self.proposal.restore(parts["proposal"])
        if self.sources.queue is not None:
            self.sources.queue.restore(parts["queue"])

    def _ids_of_biases(self, drawn: Drawn) -> Tensor:
        """Embedding rows of the distinct items, then of what is queued, int64 [D + queued].

        A hidden id hides the vector alone: the bias is the item's own, whose popularity the correction takes out.
        """
        queue = self.sources.queue
        items = drawn.item if queue is None else np.concatenate([drawn.item, queue.items])
        return torch.from_numpy(self.data.item_inputs.ids[items])

    def _shared(self, drawn: Drawn, vectors: Tensor) -> tuple[Candidates, Tensor]:
        """The candidates of all rows, what is queued the last of them, and their vectors."""
        own, queue = vectors[: len(drawn.shared)], self.sources.queue
        if queue is None:
            return drawn.shared, own
        return drawn.shared.and_items(queue.items), torch.cat([own, queue.vectors])

    def _push_for_the_queue(self, shared: Candidates, pairs: int) -> Tensor:
        """What the gradients of the batch's shared vectors are multiplied with, float [S].

        An item is pulled by all of its positives. Were it pushed by its in-batch share of the softmax alone, popular
        items would rise the further, the longer the queue. Both are drawn in proportion to q: one factor serves all.
        """
        queue = self.sources.queue
        factor = (len(queue) if queue is not None else 0) / max(1, pairs - 1)
        return torch.from_numpy((1.0 + factor * shared.of_batch / shared.count).astype(np.float32))

    def _offsets(self, batch: Batch, candidates: Candidates) -> Float32s:
        """What comes to the products of all rows with a candidate, but for its bias: float32 [S]."""
        offsets = np.log(candidates.count) - self._log_unmasked[candidates.item]
        if self.config.correction != "none":
            offsets -= np.log(self.sources.expected_of_every_row(batch, candidates.item))
        return offsets.astype(np.float32)

    def _terms(self, drawn: Drawn) -> Float32s:
        """The same of the positives, then of the items that each row has for itself: float32 [B, 1 + K]."""
        batch, own, terms = drawn.batch, drawn.own, np.zeros((len(drawn.batch), 1 + drawn.own.shape[1]), np.float32)
        if self.config.correction == "logq":
            terms[:, 0] = -np.log(self.sources.expected_count(batch, batch.item[:, None])[:, 0])
        if own.shape[1]:
            terms[:, 1:] = self.sources.own_log_weights - self._log_unmasked[own]
            if self.config.correction != "none":
                terms[:, 1:] -= np.log(self.sources.expected_count(batch, own))
        return terms

    def _edit(self, drawn: Drawn, candidates: Candidates) -> Edit:
        """What is done to products, which are cosines times 1/τ."""
        batch, items = drawn.batch, candidates.item
        known = drawn.false_negatives or FalseNegatives.of(self.config.masks, batch, candidates)
        mask = SharedMask(self.config, self.counts, known)
        excluded = self.config.correction == "logq_positive_excluded"
        expected_left = self.sources.expected_left(batch) if excluded else None
        differ = self.config.correction != "none" and bool(self.sources.differ_by_row)
        alike = self.sources.expected_of_every_row(batch, items) if differ else None

        def edit(first: int, scores: Tensor, pairs: Tensor) -> tuple[Tensor | None, Tensor | None]:
            tile = slice(first, first + len(scores))
            rows, cosine, own = Batch(self.data, batch.rows[tile]), pairs[:, 0], pairs[:, 1:]
            left = mask.leave_out(first, scores, cosine)
            if own.shape[1]:
                out = leave_out_own(self.config, self.counts, rows, drawn.own[tile], own, cosine)
                own.masked_fill_(out, float("-inf"))
            of_positives, of_candidates = None, None
            if alike is not None:
                more = self.sources.expected_of_each_row(rows, items)
                of_candidates = -_log(1.0 + more / alike)
            if expected_left is not None:
                # log n, n the negatives left: the same for all of a row, so that the positive may have it instead.
                of_positives = _log(np.maximum(left, 1) / expected_left[tile])
            return of_positives, of_candidates

        return edit


class _Bias:
    """Learned biases in the scores of a batch: of its D distinct items and of what is queued, in this order."""

    def __init__(self, table: Table, ids: Tensor, places: Int64s) -> None:
        """`ids` int64 [D + queued], of the table; `places` int64 [B, 1 + K] among them, of positives and their own."""
        column, self._pull = table.vjp(ids)
        self._bias, self._places = column[:, 0], torch.from_numpy(places)
        self.of_pairs = self._bias[self._places]
        self._of_positives = torch.zeros(len(places))

    def of_shared(self, columns: int, distinct: int) -> Tensor:
        """Of what all rows share: the first `columns` of the distinct items, and what is queued."""
        return torch.cat([self._bias[:columns], self._bias[distinct:]])

    def penalty(self, weight: float, start: Tensor) -> float:
        """Mean square of the positives' distance from float [B], times `weight`."""
        away = self.of_pairs[:, 0] - start
        self._of_positives = 2.0 * weight / len(away) * away
        return weight * away.square().mean().item()

    def pull(self, softmax: Softmax, columns: int, distinct: int) -> None:
        """Add to the table's gradient."""
        gradient = torch.zeros_like(self._bias)
        gradient[:columns] += softmax.offsets[:columns]
        gradient[distinct:] += softmax.offsets[columns:]
        gradient.index_add_(0, self._places.reshape(-1), softmax.terms.reshape(-1))
        gradient.index_add_(0, self._places[:, 0], self._of_positives)
        self._pull(gradient[:, None])


def starting_bias(data: TrainingSet, config: TrainingConfig) -> Tensor:
    """Where learned biases start, float32 [embedding rows]: at the popularity that the score is to hold, γ₀·log q.

    Cosines divided by a temperature have a bounded range, which log q often exceeds; and a bias that starts at 0 is far
    from log q for as long as a training takes. The mean over the pairs is taken out, which changes no ranking.
    """
    own = data.encoder.items.own_rows + 1
    popularity = log_q(data.item_counts)[:own]
    start = config.trained_popularity_weight * (popularity - (data.q[:own] * popularity).sum())
    return torch.from_numpy(start.astype(np.float32))


def _log(counts: npt.NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.log(counts).astype(np.float32))
