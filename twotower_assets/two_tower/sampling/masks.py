"""False negatives: candidates that must not be negatives of a row, and how many there were.

Here: which candidates are left out, and why. Not here: what is done with the rest.
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
Marks = npt.NDArray[np.uint8]
Numbers = npt.NDArray[Any]  # see `bfloat16.py`
ONE = np.uint8(1)
REASONS = ("accidental_hit", "clicked", "same_request", "positive_aware")


@dataclass
class MaskCounts:
    """How many rows and candidates there were, and how many candidates each mask took out; a total of many batches."""

    rows: int = 0
    left: int = 0
    masked: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))

    @property
    def negatives_per_positive(self) -> float:
        """Negatives that a row has left, on average."""
        return self.left / max(1, self.rows)

    @property
    def masked_per_positive(self) -> dict[str, float]:
        """Candidates that each mask took out of a row, on average; each counts for the first mask that takes it."""
        return {reason: count / max(1, self.rows) for reason, count in self.masked.items()}


@dataclass(frozen=True)
class FalseNegatives:
    """Which of the candidates that all rows of a batch share are no negatives of a row; scores play no part in it.

    They are found by walking what a row must leave out, and looking up where that stands among the candidates: its item
    `item` int64 [B], what is no item, what its user `user` int64 [B] clicked, and what its request `request` int64 [B],
    -1 for none, holds. A user's clicks are the items `members[starts[user]:starts[user + 1]]`.
    """

    candidates: Candidates
    places: Occurrences
    item: Int64s
    user: Int64s
    starts: Int32s
    members: Int32s
    request: Int64s
    of_request: Occurrences

    @classmethod
    def of(cls, masks: Sequence[str], batch: Batch, candidates: Candidates) -> FalseNegatives:
        """The row's own pair, what is no item (0), the positive's item again, and what `masks` name."""
        places = Occurrences.build(candidates.item, len(batch.data.item_counts))
        clicked = batch.data.clicked.members
        starts, members = (clicked.indptr, clicked.indices) if "clicked" in masks else _nothing(clicked.shape[0])
        request, of_request = _same_request(batch, candidates, masked="same_request" in masks)
        return cls(candidates, places, batch.item, batch.user, starts, members, request, of_request)

    @cached_property
    def has_positives(self) -> bool:
        """Whether the positives of the batch are among the candidates."""
        return bool(self.candidates.of_batch.any())

    def leave_out(self, first: int, scores: Tensor) -> tuple[Int64s, tuple[int, int, int]]:
        """Set the scores float [t, S and more] of the rows from `first` on to -∞ in the columns that they leave out.

        Returns:
            How many candidates each row keeps, without its own positive, int64 [t]; and how many each of the first
            three of `REASONS` took.
        """
        tile = slice(first, first + len(scores))
        left, numbers = np.empty(len(scores), np.int64), as_numpy(scores)
        taken = _leave_out(
            numbers,
            minus_infinity(numbers),
            self.candidates.count,
            self.item[tile],
            self.places.first_index,
            self.places.next_index,
            self.user[tile],
            self.starts,
            self.members,
            self.request[tile],
            self.of_request.first_index,
            self.of_request.next_index,
            left,
        )
        own = len(scores) if self.has_positives else 0  # a row's own pair is no accident
        return left, (taken[0] - own, taken[1], taken[2])


class SharedMask:
    """Leaves out, among the candidates that all rows of a batch share, those that are no negatives of a row."""

    def __init__(self, config: TrainingConfig, counts: MaskCounts, false_negatives: FalseNegatives) -> None:
        """What is masked and left is added to `counts`."""
        self._share, self._counts, self._known = config.positive_aware_share, counts, false_negatives

    def leave_out(self, first: int, scores: Tensor, positive: Tensor) -> Int64s:
        """Set the scores float [t, S and more] of the rows from `first` on to -∞ where a candidate is no negative.

        Left out are the false negatives that are known, and what `positive_aware_share` names.

        Args:
            first: Number of the first row in the batch.
            scores: Cosines times 1/τ, changed in place.
            positive: float [t], the same of the positives.

        Returns:
            How many candidates each row has left, its own positive not among them, int64 [t].
        """
        left, known = self._known.leave_out(first, scores)
        close_ones = 0
        if self._share is not None:
            of_candidates = scores[:, : len(self._known.candidates)]
            close = (of_candidates > self._share * positive[:, None]) & (positive > 0)[:, None]
            of_candidates.masked_fill_(close, float("-inf"))
            taken = close.numpy() @ self._known.candidates.count
            close_ones = int(taken.sum())
            left = left - taken
        _count(self._counts, (*known, close_ones), rows=len(left), left=int(left.sum()))
        return left


def _nothing(users: int) -> tuple[Int32s, Int32s]:
    return np.zeros(users + 1, np.int32), np.zeros(0, np.int32)


def _same_request(batch: Batch, candidates: Candidates, *, masked: bool) -> tuple[Int64s, Occurrences]:
    """A number for the request of each row, -1 for none, and where the candidates of each stand."""
    if not masked:
        return np.full(len(batch), -1), Occurrences(np.zeros(0, np.int32), np.zeros(0, np.int32))
    known = np.concatenate([batch.data.request[batch.rows], candidates.request])
    numbers = np.unique(known, return_inverse=True)[1]
    return np.where(known >= 0, numbers, -1)[: len(batch)], Occurrences.build(numbers[len(batch) :], len(known))


def leave_out_own(
    config: TrainingConfig, counts: MaskCounts, batch: Batch, items: Int64s, scores: Tensor, positive: Tensor
) -> Tensor:
    """The same of the candidates int64 [B, K] that each row has for itself.

    Args:
        config: Names the masks.
        counts: What is masked and left is added here.
        batch: B pairs.
        items: 0 is no item.
        scores: float [B, K], cosines times 1/τ.
        positive: float [B], the same of the positives.

    Returns:
        bool [B, K], true where a candidate is no negative.
    """
    masked = [0] * len(REASONS)
    out = items == 0

    def mask(reason: str, more: Bools) -> None:
        masked[REASONS.index(reason)] += int((more & ~out).sum())
        np.logical_or(out, more, out=out)

    mask("accidental_hit", items == batch.item[:, None])
    if "clicked" in config.masks:
        mask("clicked", batch.data.clicked.membership(batch.user, items))
    if config.positive_aware_share is not None:
        close = (scores > config.positive_aware_share * positive[:, None]) & (positive > 0)[:, None]
        mask("positive_aware", close.numpy())
    _count(counts, masked, rows=0, left=int((~out).sum()))
    return torch.from_numpy(out)


def _count(counts: MaskCounts, masked: Sequence[int], *, rows: int, left: int) -> None:
    counts.rows += rows
    counts.left += left
    for reason, more in zip(REASONS, masked, strict=True):
        counts.masked[reason] += more


@compiled_parallel
def _leave_out(
    scores: Numbers,
    nothing: np.generic,
    count: Int64s,
    item: Int64s,
    first: Int32s,
    following: Int32s,
    user: Int64s,
    clicked_starts: Int32s,
    clicked: Int32s,
    request: Int64s,
    first_of_request: Int32s,
    following_of_request: Int32s,
    left: Int64s,
) -> tuple[int, int, int]:
    candidates, columns = count.sum(), len(count)
    narrow, followed = count.astype(np.int32), np.flatnonzero(following >= 0)
    all_hits, all_clicked, all_of_request = 0, 0, 0
    for row in numba.prange(len(scores)):
        marks = np.zeros(columns + 1, np.uint8)  # 1 where it is left out; the first is for what is no candidate
        out = marks[1:]
        no_item = _take(out, narrow, first[0], following)
        hits = _take(out, narrow, first[item[row]], following)
        of_user = clicked[clicked_starts[user[row]] : clicked_starts[user[row] + 1]]
        for member in range(len(of_user)):  # no branch, which would be foretold wrongly half of the time
            marks[np.uint64(first[np.uint64(of_user[member])] + 1)] = ONE  # unsigned: -1 is not the last one
        for place in followed:
            out[following[place]] |= out[place]
        taken, of_row, of_request = np.int32(0), scores[row], 0
        for column in range(columns):
            taken += narrow[column] * np.int32(out[column])
        for column in range(columns):
            of_row[column] = nothing if out[column] != 0 else of_row[column]
        if request[row] >= 0:
            place = first_of_request[request[row]]
            of_request = _take(out, narrow, place, following_of_request)
            while place >= 0:
                of_row[place] = nothing
                place = following_of_request[place]
        left[row] = candidates - taken - of_request
        all_hits += hits
        all_clicked += int(taken) - no_item - hits
        all_of_request += of_request
    return all_hits, all_clicked, all_of_request


@compiled
def _take(out: Marks, count: Int32s, place: int, following: Int32s) -> int:
    """Mark a place and those that follow it; gives the count of those that had not been marked."""
    taken = np.int32(0)
    while place >= 0:
        taken += count[place] * np.int32(ONE - out[place])
        out[place] = ONE
        place = following[place]
    return int(taken)


def log_unmasked_share(data: TrainingSet, config: TrainingConfig) -> npt.NDArray[np.float64]:
    """Log of the share of pairs whose user did not click the item, float64 [M + 1]; zeros where `clicked` is no mask.

    Clicked items are masked in the rows of all who clicked them, so that popular items are negatives less often than
    they are popular, and would be scored too high: on MovieLens-100K by log 4 for the best known films. Taking this off
    every candidate's logit gives them back the weight that the mask took.
    """
    if "clicked" not in config.masks:
        return np.zeros(len(data.item_counts))
    pairs_of_user = np.bincount(data.user, minlength=len(data.clicked)).astype(np.float64)
    masked = data.clicked.members.T @ pairs_of_user / len(data)
    shares: npt.NDArray[np.float64] = np.log(np.maximum(1.0 - masked, 1.0 / len(data)))
    return shares
