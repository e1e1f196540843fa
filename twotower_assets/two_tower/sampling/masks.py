"""False negatives: which candidates must not be negatives of a row, and how many were masked.

Here: finding these candidates, setting their scores to -∞, and counting them. Not here: what the loss does with the
remaining scores (`loss`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.two_tower.data.item_sets import Int32s, Int64s, Occurrences
from twotower_assets.two_tower.data.training_set import TrainingSet
from twotower_assets.two_tower.kernels.bfloat16 import as_numpy, minus_infinity
from twotower_assets.two_tower.kernels.compiled import compiled, compiled_parallel
from twotower_assets.two_tower.sampling.negatives import Batch, Candidates

Bools = npt.NDArray[np.bool_]
Flags = npt.NDArray[np.uint8]
Scores = npt.NDArray[Any]  # bfloat16 as uint16, see `kernels/bfloat16.py`
ONE = np.uint8(1)
REASONS = ("accidental_hit", "clicked", "same_request", "positive_aware")


@dataclass
class MaskCounts:
    """Totals over many batches: rows, negatives that remain, and candidates that each mask removed."""

    rows: int = 0
    unmasked: int = 0
    masked: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))

    @property
    def negatives_per_positive(self) -> float:
        """Mean number of negatives that a row keeps."""
        return self.unmasked / max(1, self.rows)

    @property
    def masked_per_positive(self) -> dict[str, float]:
        """Mean number of candidates of a row that each mask removed; a candidate counts for the first such mask."""
        return {reason: count / max(1, self.rows) for reason, count in self.masked.items()}


@dataclass(frozen=True)
class FalseNegatives:
    """The false negatives among the candidates that all rows of a batch share, as far as scores play no part.

    They are found by looking up, among the candidates, what each row must mask: its positive's item, index 0 (no item),
    the clicks of its user, and the positives of its request.

    Attributes:
        candidates: S columns.
        occurrences: Where each item occurs among the candidates.
        item, user: int64 [B], the pairs of the batch.
        starts, members: The clicks of a user are the items `members[starts[user]:starts[user + 1]]`.
        request: int64 [B], an index of each row's request among those of the batch; -1 for none.
        request_occurrences: Where each request occurs among the candidates.
    """

    candidates: Candidates
    occurrences: Occurrences
    item: Int64s
    user: Int64s
    starts: Int32s
    members: Int32s
    request: Int64s
    request_occurrences: Occurrences

    @classmethod
    def find(cls, masks: Sequence[str], batch: Batch, candidates: Candidates) -> FalseNegatives:
        """Prepare the masks that are always on (the positive's item, no item) and those that `masks` names."""
        occurrences = Occurrences.build(candidates.item, len(batch.data.item_counts))
        clicked = batch.data.clicked.members
        starts, members = (clicked.indptr, clicked.indices) if "clicked" in masks else _no_clicks(clicked.shape[0])
        request, request_occurrences = _requests(batch, candidates, masked="same_request" in masks)
        return cls(candidates, occurrences, batch.item, batch.user, starts, members, request, request_occurrences)

    @cached_property
    def has_positives(self) -> bool:
        """Whether the positives of the batch are among the candidates."""
        return bool(self.candidates.positive_count.any())

    def mask(self, first: int, scores: Tensor) -> tuple[Int64s, tuple[int, int, int]]:
        """Set the scores of false negatives to -∞, in place.

        Args:
            first: Index in the batch of the first row.
            scores: float [t, S or more], rows first … first + t - 1.

        Returns:
            How many candidates remain in each row, without its own positive, int64 [t]; and how many were masked for
            each of the first three `REASONS`.
        """
        tile = slice(first, first + len(scores))
        unmasked, array = np.empty(len(scores), np.int64), as_numpy(scores)
        masked = _mask_false_negatives(
            array,
            minus_infinity(array),
            self.candidates.count,
            self.item[tile],
            self.occurrences.first_index,
            self.occurrences.next_index,
            self.user[tile],
            self.starts,
            self.members,
            self.request[tile],
            self.request_occurrences.first_index,
            self.request_occurrences.next_index,
            unmasked,
        )
        positives = len(scores) if self.has_positives else 0  # a row's own positive is not an accidental hit
        return unmasked, (masked[0] - positives, masked[1], masked[2])


class SharedMask:
    """Masks the shared candidates of a batch: its false negatives, and those that `positive_aware_share` excludes."""

    def __init__(self, config: TrainingConfig, counts: MaskCounts, false_negatives: FalseNegatives) -> None:
        """Masked and remaining candidates are added to `counts`."""
        self._share, self._counts, self._false_negatives = config.positive_aware_share, counts, false_negatives

    def mask(self, first: int, scores: Tensor, positive: Tensor) -> Int64s:
        """Set the scores of masked candidates to -∞, in place.

        Args:
            first: Index in the batch of the first row.
            scores: float [t, S or more], cosines times 1/τ.
            positive: float [t], the same for the positives.

        Returns:
            How many candidates remain in each row, without its own positive, int64 [t].
        """
        unmasked, masked = self._false_negatives.mask(first, scores)
        masked_close = 0
        if self._share is not None:
            candidate_scores = scores[:, : len(self._false_negatives.candidates)]
            close = (candidate_scores > self._share * positive[:, None]) & (positive > 0)[:, None]
            candidate_scores.masked_fill_(close, float("-inf"))
            close_count = close.numpy() @ self._false_negatives.candidates.count
            masked_close = int(close_count.sum())
            unmasked = unmasked - close_count
        _add(self._counts, (*masked, masked_close), rows=len(unmasked), unmasked=int(unmasked.sum()))
        return unmasked


def _no_clicks(users: int) -> tuple[Int32s, Int32s]:
    return np.zeros(users + 1, np.int32), np.zeros(0, np.int32)


def _requests(batch: Batch, candidates: Candidates, *, masked: bool) -> tuple[Int64s, Occurrences]:
    """An index for the request of each row, -1 for none, and where each request occurs among the candidates."""
    if not masked:
        return np.full(len(batch), -1), Occurrences(np.zeros(0, np.int32), np.zeros(0, np.int32))
    requests = np.concatenate([batch.data.request[batch.rows], candidates.request])
    index = np.unique(requests, return_inverse=True)[1]
    return np.where(requests >= 0, index, -1)[: len(batch)], Occurrences.build(index[len(batch) :], len(requests))


def mask_row_negatives(
    config: TrainingConfig, counts: MaskCounts, batch: Batch, items: Int64s, scores: Tensor, positive: Tensor
) -> Tensor:
    """The masks of per-row negatives.

    Args:
        config: Names the masks.
        counts: Masked and remaining candidates are added here.
        batch: B pairs.
        items: int64 [B, K], 0 for no item.
        scores: float [B, K], cosines times 1/τ.
        positive: float [B], the same for the positives.

    Returns:
        bool [B, K], true where a candidate must not be a negative.
    """
    masked_counts = [0] * len(REASONS)
    masked = items == 0

    def add(reason: str, more: Bools) -> None:
        masked_counts[REASONS.index(reason)] += int((more & ~masked).sum())
        np.logical_or(masked, more, out=masked)

    add("accidental_hit", items == batch.item[:, None])
    if "clicked" in config.masks:
        add("clicked", batch.data.clicked.membership(batch.user, items))
    if config.positive_aware_share is not None:
        close = (scores > config.positive_aware_share * positive[:, None]) & (positive > 0)[:, None]
        add("positive_aware", close.numpy())
    _add(counts, masked_counts, rows=0, unmasked=int((~masked).sum()))
    return torch.from_numpy(masked)


def _add(counts: MaskCounts, masked: Sequence[int], *, rows: int, unmasked: int) -> None:
    counts.rows += rows
    counts.unmasked += unmasked
    for reason, count in zip(REASONS, masked, strict=True):
        counts.masked[reason] += count


@compiled_parallel
def _mask_false_negatives(
    scores: Scores,
    minus_infinity: np.generic,
    count: Int64s,
    item: Int64s,
    first_index: Int32s,
    next_index: Int32s,
    user: Int64s,
    clicked_starts: Int32s,
    clicked: Int32s,
    request: Int64s,
    first_index_of_request: Int32s,
    next_index_of_request: Int32s,
    unmasked: Int64s,
) -> tuple[int, int, int]:
    candidates, columns = count.sum(), len(count)
    count32, repeated = count.astype(np.int32), np.flatnonzero(next_index >= 0)
    all_hits, all_clicked, all_request = 0, 0, 0
    for row in numba.prange(len(scores)):
        flags = np.zeros(columns + 1, np.uint8)  # flags[0] absorbs the writes for clicked items that are no candidates
        masked = flags[1:]  # 1 where a column is masked
        no_item = _mark(masked, count32, first_index[0], next_index)
        hits = _mark(masked, count32, first_index[item[row]], next_index)
        user_clicks = clicked[clicked_starts[user[row]] : clicked_starts[user[row] + 1]]
        for member in range(len(user_clicks)):  # without a branch, which would be mispredicted half of the time
            flags[np.uint64(first_index[np.uint64(user_clicks[member])] + 1)] = ONE  # unsigned: no negative indices
        for index in repeated:
            masked[next_index[index]] |= masked[index]
        n_masked, row_scores, n_request = np.int32(0), scores[row], 0
        for column in range(columns):
            n_masked += count32[column] * np.int32(masked[column])
        for column in range(columns):
            row_scores[column] = minus_infinity if masked[column] != 0 else row_scores[column]
        if request[row] >= 0:
            index = first_index_of_request[request[row]]
            n_request = _mark(masked, count32, index, next_index_of_request)
            while index >= 0:
                row_scores[index] = minus_infinity
                index = next_index_of_request[index]
        unmasked[row] = candidates - n_masked - n_request
        all_hits += hits
        all_clicked += int(n_masked) - no_item - hits
        all_request += n_request
    return all_hits, all_clicked, all_request


@compiled
def _mark(masked: Flags, count: Int32s, index: int, next_index: Int32s) -> int:
    """Mark a linked list of columns as masked; returns how many candidates were not marked before."""
    marked = np.int32(0)
    while index >= 0:
        marked += count[index] * np.int32(ONE - masked[index])
        masked[index] = ONE
        index = next_index[index]
    return int(marked)


def log_unmasked_share(data: TrainingSet, config: TrainingConfig) -> npt.NDArray[np.float64]:
    """Log of the share of pairs whose user did not click the item, float64 [M + 1]; zeros without the mask `clicked`.

    Clicked items are masked in the rows of everyone who clicked them. Popular items are therefore negatives less often
    than their popularity says, and would be scored too high: on MovieLens-100K by log 4 for the best-known films.
    Subtracting this from every candidate's logit restores the weight that the mask removed.
    """
    if "clicked" not in config.masks:
        return np.zeros(len(data.item_counts))
    pairs_of_user = np.bincount(data.user, minlength=len(data.clicked)).astype(np.float64)
    masked = data.clicked.members.T @ pairs_of_user / len(data)
    shares: npt.NDArray[np.float64] = np.log(np.maximum(1.0 - masked, 1.0 / len(data)))
    return shares
