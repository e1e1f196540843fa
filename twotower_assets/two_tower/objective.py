"""The loss of a batch, as the configuration declares it: candidates from every source, masked, corrected by one rule.

    what was drawn → vectors → scores (1/τ, bias) → masks → expected counts → softmax

All recipes go through this one path. Here: how the parts are put together, and the state that outlives a batch (the
queue, streaming frequencies). Not here: the parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from twotower_assets.two_tower.config import TrainingConfig
from twotower_assets.two_tower.dataset import TrainingSet
from twotower_assets.two_tower.embedding import history_tensors, side_tensors
from twotower_assets.two_tower.item_sets import ItemSets
from twotower_assets.two_tower.losses import Edit, sampled_softmax
from twotower_assets.two_tower.masks import FalseNegatives, MaskCounts, SharedMask, leave_out_own, log_unmasked_share
from twotower_assets.two_tower.negatives import Batch, Candidates
from twotower_assets.two_tower.processor import multiplies_bfloat16
from twotower_assets.two_tower.proposals import build_proposal
from twotower_assets.two_tower.sources import UNSEEN_PAIRS, Drawn, Sources
from twotower_assets.two_tower.towers import Towers

Float32s = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]
Generator = np.random.Generator


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

    def loss(self, towers: Towers, rows: Int64s, generator: Generator) -> Tensor:
        """The loss, a scalar, of the pairs at the positions `rows` int64 [B]; to be asked for once per batch."""
        return self.loss_of(towers, self.sources.draw(rows, generator))

    def loss_of(self, towers: Towers, drawn: Drawn) -> Tensor:
        """The loss, a scalar, of what was drawn; to be asked for once per batch."""
        batch, queue = drawn.batch, self.sources.queue
        queries, vectors, bias = self._embed(towers, drawn)
        candidates, shared = self._shared(drawn, vectors)
        places = np.concatenate([drawn.pair_places[:, None], drawn.own_places], axis=1)
        terms, offsets = torch.from_numpy(self._terms(drawn)), torch.from_numpy(self._offsets(batch, candidates))
        if bias is not None:
            of_pairs = bias[torch.from_numpy(places)]
            terms = terms + of_pairs
            offsets = offsets + torch.cat([bias[: len(drawn.shared)], bias[len(vectors) :]])
        loss = sampled_softmax(
            queries,
            vectors,
            shared,
            offsets,
            places,
            terms,
            weights=torch.from_numpy(self.data.weights[batch.rows]),
            edit=self._edit(drawn, candidates),
            bfloat16=self._bfloat16,
        )
        if bias is not None:
            start = self._starting_bias[torch.from_numpy(self.data.item_inputs.ids[batch.item])]
            loss = loss + self.config.item_bias_penalty * (of_pairs[:, 0] - start).square().mean()
        self.proposal.update(batch.item)
        if queue is not None:
            queue.push(batch.item, vectors.detach()[torch.from_numpy(drawn.pair_places)])
        return loss

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

    def _embed(self, towers: Towers, drawn: Drawn) -> tuple[Tensor, Tensor, Tensor | None]:
        """Users [B, d], times 1/τ; the D distinct items of the batch [D, d]; and biases, where they are learned.

        These are the biases of the distinct items, then those of what is queued, float [D + queued].
        """
        users = *side_tensors(drawn.users), *history_tensors(drawn.history)
        queries = towers.embed_users(*users, times_inverse_temperature=True)
        vectors = towers.embed_items(*side_tensors(drawn.items))
        if not self.config.item_bias:
            return queries, vectors, None
        ids, queue = self.data.item_inputs.ids, self.sources.queue
        # A hidden id hides the vector alone: the bias is the item's own, whose popularity the correction takes out.
        items = drawn.item if queue is None else np.concatenate([drawn.item, queue.items])
        return queries, vectors, towers.bias_of(torch.from_numpy(ids[items]))

    def _shared(self, drawn: Drawn, vectors: Tensor) -> tuple[Candidates, Tensor]:
        """The candidates of all rows, what is queued the last of them, and their vectors."""
        columns, queue = len(drawn.shared), self.sources.queue
        if queue is None:
            return drawn.shared, vectors if columns == len(vectors) else vectors[:columns]
        pushed = self._pushed_for_the_queue(vectors[:columns], drawn.shared, len(drawn.batch))
        return drawn.shared.and_items(queue.items), torch.cat([pushed, queue.vectors])

    def _pushed_for_the_queue(self, vectors: Tensor, shared: Candidates, pairs: int) -> Tensor:
        """The vectors as negatives: unchanged, but with the gradient of the queue's share added to the batch's.

        An item is pulled by all of its positives. Were it pushed by its in-batch share of the softmax alone, popular
        items would rise the further, the longer the queue. Both are drawn in proportion to q: one factor serves all.
        """
        queue = self.sources.queue
        factor = (len(queue) if queue is not None else 0) / max(1, pairs - 1)
        more = torch.from_numpy((factor * shared.of_batch / shared.count).astype(np.float32))[:, None]
        return vectors + more * (vectors - vectors.detach())

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


def starting_bias(data: TrainingSet, config: TrainingConfig) -> Tensor:
    """Where learned biases start, float32 [embedding rows]: at the popularity that the score is to hold, γ₀·log q.

    Cosines divided by a temperature have a bounded range, which log q often exceeds; and a bias that starts at 0 is far
    from log q for as long as a training takes. The mean over the pairs is taken out, which changes no ranking.
    """
    own = data.encoder.items.own_rows + 1
    log_q = np.log(np.maximum(data.item_counts[:own], UNSEEN_PAIRS) / len(data))
    start = config.trained_popularity_weight * (log_q - (data.q[:own] * log_q).sum())
    return torch.from_numpy(start.astype(np.float32))


def _log(counts: npt.NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.log(counts).astype(np.float32))
