"""The loss of a batch, as the configuration declares it: candidates from every source, masked, corrected by one rule.

    vectors of the pairs and of every source's items → cosines → scores (1/τ, bias) → masks → expected counts → softmax

All recipes go through this one path. Here: how the parts are put together, and the state that outlives a batch (the
queue, streaming frequencies). Not here: the parts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from twotower_assets.two_tower.config import TrainingConfig
from twotower_assets.two_tower.dataset import TrainingSet
from twotower_assets.two_tower.embedding import history_tensors, side_tensors
from twotower_assets.two_tower.item_sets import ItemSets
from twotower_assets.two_tower.losses import positive_excluded_softmax, sampled_softmax
from twotower_assets.two_tower.masks import FalseNegatives, MaskCounts, log_unmasked_share
from twotower_assets.two_tower.negative_settings import CrossBatchNegatives
from twotower_assets.two_tower.negatives import (
    Batch,
    ExpectsCounts,
    InBatch,
    RowSource,
    Weighted,
    build_source,
    total_expected_count,
)
from twotower_assets.two_tower.proposals import build_proposal
from twotower_assets.two_tower.towers import Towers
from twotower_assets.two_tower.vector_queue import VectorQueue
from twotower_assets.two_tower.vocabulary import UNKNOWN

Int64s = npt.NDArray[np.int64]
Generator = np.random.Generator
UNSEEN_PAIRS = 0.5
"""A margin's item that no other source could draw is taken for one with so many training pairs."""


@dataclass(frozen=True)
class Vectors:
    """Vectors float [n, d] of length 1 with the biases float [n] of their items."""

    vectors: Tensor
    bias: Tensor


class Objective:
    """The loss of the batches of one training run, in their order."""

    def __init__(self, data: TrainingSet, config: TrainingConfig, mined: ItemSets | None = None) -> None:
        """`mined`: one set per user number, which mined negatives are drawn from.

        Raises:
            TrainingDataError: `mined` is missing where the configuration needs it.
        """
        self.data, self.config = data, config
        self.proposal = build_proposal(data, config)
        self.false_negatives = FalseNegatives(config)
        self._log_unmasked = torch.from_numpy(log_unmasked_share(data, config).astype(np.float32))
        self._starting_bias = starting_bias(data, config)
        self._item_replaced = replaced_item_share(data.item_counts, config.unknown_id_share)
        self._in_batch: InBatch | None = None
        self._drawn: list[Weighted] = []
        self._rows: list[tuple[RowSource, float]] = []
        self.queue: VectorQueue | None = None
        for one in config.negatives:
            if isinstance(one, CrossBatchNegatives):
                warm_up = math.ceil(one.warm_up_epochs * math.ceil(len(data) / config.batch_size))
                self.queue = VectorQueue(one, self.proposal, config.dimensions, warm_up)
                continue
            source = build_source(one, data, self.proposal, mined)
            if isinstance(source, InBatch):
                self._in_batch = source
            elif isinstance(source, Weighted):
                self._drawn.append(source)
            else:
                self._rows.append((source, math.log(getattr(one, "weight", 1.0))))

    def loss(self, towers: Towers, rows: Int64s, generator: Generator) -> Tensor:
        """The loss, a scalar, of the pairs at the positions `rows` int64 [B]; to be asked for once per batch."""
        batch = Batch(self.data, rows)
        users = self._embed_users(towers, batch, generator)
        pairs = self._embed_pairs(towers, batch, generator)
        shared_items, shared = self._shared_candidates(towers, batch, pairs, generator)
        own_items, own, log_weights = self._own_candidates(towers, batch, generator)
        positive = (users * pairs.vectors).sum(dim=1)  # (B,)
        cosines = torch.cat([users @ shared.vectors.T, torch.einsum("bd,bkd->bk", users, own.vectors)], dim=1)
        mask = self._mask(batch, shared_items, own_items, cosines, positive)
        scale = towers.inverse_temperature()
        of_shared, of_own = (self._log_unmasked[torch.from_numpy(items)] for items in (shared_items, own_items))
        bias = torch.cat([(shared.bias - of_shared).expand(len(batch), -1), own.bias + log_weights - of_own], dim=1)
        loss = self._softmax(
            batch, positive * scale + pairs.bias, cosines * scale + bias, mask, shared_items, own_items
        )
        if self.config.item_bias:
            start = self._starting_bias[torch.from_numpy(self.data.item_inputs.ids[batch.item])]
            loss = loss + self.config.item_bias_penalty * (pairs.bias - start).square().mean()
        self.proposal.update(batch.item)
        if self.queue is not None:
            self.queue.push(batch.item, pairs.vectors)
        return loss

    def take_counts(self) -> MaskCounts:
        """What was masked since this was last asked."""
        counts, self.false_negatives.counts = self.false_negatives.counts, MaskCounts()
        return counts

    def state(self) -> dict[str, Tensor]:
        """What outlives a batch."""
        parts = {"proposal": self.proposal.state(), "queue": self.queue.state() if self.queue is not None else {}}
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
        if self.queue is not None:
            self.queue.restore(parts["queue"])

    def _embed_users(self, towers: Towers, batch: Batch, generator: Generator) -> Tensor:
        inputs = self.data.user_inputs.take(batch.user)
        inputs.ids[generator.random(len(batch)) < self.config.unknown_id_share] = UNKNOWN
        return towers.embed_users(*side_tensors(inputs), *history_tensors(self.data.history.take(batch.rows)))

    def _embed_pairs(self, towers: Towers, batch: Batch, generator: Generator) -> Vectors:
        inputs = self.data.item_inputs.take(batch.item)
        inputs.ids[generator.random(len(batch)) < self._item_replaced[batch.item]] = UNKNOWN
        # A hidden id hides the vector alone: the bias is the item's own, whose popularity the correction takes out.
        own = torch.from_numpy(self.data.item_inputs.ids[batch.item])
        return Vectors(towers.embed_items(*side_tensors(inputs)), towers.bias_of(own))

    def _embed_items(self, towers: Towers, items: Int64s) -> Vectors:
        """Of items of any shape; each distinct one is embedded once."""
        distinct, place = np.unique(items, return_inverse=True)
        tensors = side_tensors(self.data.item_inputs.take(distinct))
        places = torch.from_numpy(place.reshape(items.shape))
        return Vectors(towers.embed_items(*tensors)[places], towers.bias_of(tensors[0])[places])

    def _shared_candidates(
        self, towers: Towers, batch: Batch, pairs: Vectors, generator: Generator
    ) -> tuple[Int64s, Vectors]:
        """Items int64 [S] and their vectors: those of the batch first, then what was drawn, then the queue."""
        items, found = [], []
        if self._in_batch is not None:
            items.append(batch.item)
            found.append(Vectors(self._pushed_for_the_queue(pairs.vectors), pairs.bias))
        for source in self._drawn:
            items.append(source.draw(batch, generator))
            found.append(self._embed_items(towers, items[-1]))
        if self.queue is not None:
            items.append(self.queue.items)
            ids = torch.from_numpy(self.data.item_inputs.ids[self.queue.items])
            found.append(Vectors(self.queue.vectors, towers.bias_of(ids)))
        if not items:
            return np.zeros(0, np.int64), Vectors(pairs.vectors[:0], pairs.bias[:0])
        vectors, bias = (torch.cat(parts) for parts in zip(*((one.vectors, one.bias) for one in found), strict=True))
        return np.concatenate(items), Vectors(vectors, bias)

    def _pushed_for_the_queue(self, vectors: Tensor) -> Tensor:
        """The vectors of the batch as negatives: unchanged, but with the gradient of the queue's share added to theirs.

        An item is pulled by all of its positives. Were it pushed by its in-batch share of the softmax alone, popular
        items would rise the further, the longer the queue. Both are drawn in proportion to q: one factor serves all.
        """
        factor = 1.0 + (len(self.queue) if self.queue is not None else 0) / max(1, len(vectors) - 1)
        return vectors.detach() + factor * (vectors - vectors.detach()) if factor > 1.0 else vectors

    def _own_candidates(self, towers: Towers, batch: Batch, generator: Generator) -> tuple[Int64s, Vectors, Tensor]:
        """Items int64 [B, K] of the rows' own sources, their vectors [B, K, d] and log weights [K]."""
        drawn = [(source.draw(batch, generator), log_weight) for source, log_weight in self._rows]
        items = np.concatenate([np.zeros((len(batch), 0), np.int64), *(one for one, _ in drawn)], axis=1)
        weights = [log_weight for one, log_weight in drawn for _ in range(one.shape[1])]
        return items, self._embed_items(towers, items), torch.tensor(weights, dtype=torch.float32)

    def _mask(self, batch: Batch, shared_items: Int64s, own_items: Int64s, cosines: Tensor, positive: Tensor) -> Tensor:
        in_batch = len(batch) if self._in_batch is not None else 0
        out = np.concatenate(
            [
                self.false_negatives.of_items(batch, shared_items, in_batch=in_batch),
                self.false_negatives.of_items(batch, own_items),
            ],
            axis=1,
        )
        return self.false_negatives.of_cosines(torch.from_numpy(out), cosines.detach(), positive.detach())

    def _softmax(
        self,
        batch: Batch,
        positive: Tensor,
        negatives: Tensor,
        mask: Tensor,
        shared_items: Int64s,
        own_items: Int64s,
    ) -> Tensor:
        weights = torch.from_numpy(self.data.weights[batch.rows])
        if self.config.correction == "none":
            return sampled_softmax(positive, negatives, mask, weights=weights)
        of_shared, of_own = (_log(self._expected_count(batch, items)) for items in (shared_items, own_items))
        log_expected = of_shared  # (1, S) or (B, S)
        if own_items.shape[1]:
            log_expected = torch.cat([of_shared.expand(len(batch), len(shared_items)), of_own], dim=1)
        if self.config.correction == "logq":
            of_positive = _log(self._expected_count(batch, batch.item[:, None])[:, 0]).expand(len(batch))
            return sampled_softmax(positive, negatives, mask, log_expected=(of_positive, log_expected), weights=weights)
        left = (~mask[:, : len(shared_items)]).sum(dim=1).numpy()
        log_expected = log_expected + _log(np.maximum(left, 1) / self._expected_left(batch))[:, None]
        return positive_excluded_softmax(positive, negatives, mask, log_expected=log_expected, weights=weights)

    def _expected_count(self, batch: Batch, items: Int64s) -> npt.NDArray[np.float64]:
        """The one rule, float64 [1, S], [B, S] or [B, K]; as for half a training pair where no known source draws."""
        total = total_expected_count(self._known(), batch, items)
        unseen = UNSEEN_PAIRS / len(self.data) * max(1, len(batch) - 1)
        expected: npt.NDArray[np.float64] = np.where(total > 0, total, unseen)
        return expected

    def _expected_left(self, batch: Batch) -> npt.NDArray[np.float64]:
        """Shared candidates of a row that no mask of items takes out, on average: float64 [B]."""
        drawn = (len(batch) - 1) * (self._in_batch is not None) + sum(source.count for source in self._drawn)
        drawn += len(self.queue) if self.queue is not None else 0

        def expected(items: Int64s) -> npt.NDArray[np.float64]:
            row: npt.NDArray[np.float64] = self._expected_count(batch, items)[0]
            return row

        if "clicked" in self.config.masks:
            masked = self.data.clicked.sums(batch.user, expected)
        else:
            masked = expected(batch.item)
        return np.maximum(drawn - masked, 1e-9)

    def _known(self) -> list[ExpectsCounts]:
        """Every source; margins say themselves that their proposal is not known."""
        in_batch = [] if self._in_batch is None else [self._in_batch]
        queue = [] if self.queue is None else [self.queue]
        return [*in_batch, *self._drawn, *queue, *(source for source, _ in self._rows)]


def starting_bias(data: TrainingSet, config: TrainingConfig) -> Tensor:
    """Where learned biases start, float32 [embedding rows]: at the popularity that the score is to hold, γ₀·log q.

    Cosines divided by a temperature have a bounded range, which log q often exceeds; and a bias that starts at 0 is far
    from log q for as long as a training takes. The mean over the pairs is taken out, which changes no ranking.
    """
    own = data.encoder.items.own_rows + 1
    log_q = np.log(np.maximum(data.item_counts[:own], UNSEEN_PAIRS) / len(data))
    start = config.trained_popularity_weight * (log_q - (data.q[:own] * log_q).sum())
    return torch.from_numpy(start.astype(np.float32))


def _log(expected: npt.NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.log(expected).astype(np.float32))


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
