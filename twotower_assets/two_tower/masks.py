"""False negatives: candidates that must not be negatives of a row, and how many there were.

Here: which candidates are left out, and why. Not here: what is done with the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from twotower_assets.two_tower.compiled import compiled
from twotower_assets.two_tower.config import TrainingConfig
from twotower_assets.two_tower.dataset import TrainingSet
from twotower_assets.two_tower.item_sets import Int32s, Int64s, Places
from twotower_assets.two_tower.negatives import Batch, Candidates

Bools = npt.NDArray[np.bool_]
Float32s = npt.NDArray[np.float32]
REASONS = ("accidental_hit", "clicked", "same_request", "positive_aware")
MEAN_LEFT_OUT = 128
"""Columns that a row is first given room for, on average; more are found in a second pass."""


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

    Row r leaves out the columns `columns[starts[r]:starts[r + 1]]`, int32, `starts` int64 [B + 1]. `left` int64 [B]
    counts the candidates that it keeps, without its own positive; `masked` int64 [4] what each of `REASONS` took.
    """

    starts: Int64s
    columns: Int32s
    left: Int64s
    masked: Int64s

    @classmethod
    def of(cls, masks: Sequence[str], batch: Batch, candidates: Candidates) -> FalseNegatives:
        """The row's own pair, what is no item (0), the positive's item again, and what `masks` name."""
        clicked = batch.data.clicked.members
        request, of_request = _same_request(batch, candidates, masked="same_request" in masks)
        item = batch.item
        places = Places.of(candidates.item, len(batch.data.item_counts))
        starts, left = np.zeros(len(batch) + 1, np.int64), np.empty(len(batch), np.int64)
        masked = np.zeros(len(REASONS), np.int64)
        columns = np.empty(MEAN_LEFT_OUT * len(batch), np.int32)
        while _find(
            candidates.count,
            int(candidates.of_batch.any()),
            item,
            places.first,
            places.following,
            "clicked" in masks,
            batch.user,
            clicked.indptr,
            clicked.indices,
            request,
            of_request.first,
            of_request.following,
            starts,
            columns,
            left,
            masked,
        ):
            columns, masked[:] = np.empty(starts[-1], np.int32), 0
        return cls(starts, columns[: starts[-1]], left, masked)

    def leave_out(self, first: int, scores: Tensor) -> None:
        """Set the scores float [t, S] of the rows from `first` on to -∞ in the columns that they leave out."""
        _set(scores.numpy(), self.starts[first : first + len(scores) + 1], self.columns)


class SharedMask:
    """Leaves out, among the candidates that all rows of a batch share, those that are no negatives of a row."""

    def __init__(
        self, config: TrainingConfig, counts: MaskCounts, false_negatives: FalseNegatives, candidates: Candidates
    ) -> None:
        """What is masked and left is added to `counts`."""
        self._share, self._counts = config.positive_aware_share, counts
        self._known, self._candidates = false_negatives, candidates
        _count(counts, false_negatives.masked, rows=0, left=0)

    def leave_out(self, first: int, scores: Tensor, positive: Tensor) -> Int64s:
        """Set the scores float [t, S] of the rows from `first` on to -∞ where a candidate is no negative.

        Left out are the false negatives that are known, and what `positive_aware_share` names.

        Args:
            first: Number of the first row in the batch.
            scores: Cosines times 1/τ, changed in place.
            positive: float [t], the same of the positives.

        Returns:
            How many candidates each row has left, its own positive not among them, int64 [t].
        """
        self._known.leave_out(first, scores)
        left = self._known.left[first : first + len(scores)]
        masked = np.zeros(len(REASONS), np.int64)
        if self._share is not None:
            close = (scores > self._share * positive[:, None]) & (positive > 0)[:, None]
            scores.masked_fill_(close, float("-inf"))
            taken = close.numpy() @ self._candidates.count
            masked[REASONS.index("positive_aware")] += taken.sum()
            left = left - taken
        _count(self._counts, masked, rows=len(left), left=int(left.sum()))
        return left


def _same_request(batch: Batch, candidates: Candidates, *, masked: bool) -> tuple[Int64s, Places]:
    """A number for the request of each row, -1 for none, and where the candidates of each stand."""
    if not masked:
        return np.full(len(batch), -1), Places(np.zeros(0, np.int32), np.zeros(0, np.int32))
    known = np.concatenate([batch.data.request[batch.rows], candidates.request])
    numbers = np.unique(known, return_inverse=True)[1]
    return np.where(known >= 0, numbers, -1)[: len(batch)], Places.of(numbers[len(batch) :], len(known))


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
    masked = np.zeros(len(REASONS), np.int64)
    out = items == 0

    def mask(reason: str, more: Bools) -> None:
        masked[REASONS.index(reason)] += (more & ~out).sum()
        np.logical_or(out, more, out=out)

    mask("accidental_hit", items == batch.item[:, None])
    if "clicked" in config.masks:
        mask("clicked", batch.data.clicked.contain(batch.user, items))
    if config.positive_aware_share is not None:
        close = (scores > config.positive_aware_share * positive[:, None]) & (positive > 0)[:, None]
        mask("positive_aware", close.numpy())
    _count(counts, masked, rows=0, left=int((~out).sum()))
    return torch.from_numpy(out)


def _count(counts: MaskCounts, masked: Int64s, *, rows: int, left: int) -> None:
    counts.rows += rows
    counts.left += left
    for reason, more in zip(REASONS, masked.tolist(), strict=True):
        counts.masked[reason] += more


@compiled
def _find(
    count: Int64s,
    in_batch: int,
    item: Int64s,
    first: Int32s,
    following: Int32s,
    mask_clicked: bool,
    user: Int64s,
    clicked_starts: Int32s,
    clicked: Int32s,
    request: Int64s,
    first_of_request: Int32s,
    following_of_request: Int32s,
    starts: Int64s,
    columns: Int32s,
    left: Int64s,
    masked: Int64s,
) -> bool:
    """Fills `starts`, `left` and `masked`, and of `columns` as much as there is room for; whether it was too little."""
    candidates, end = count.sum(), 0
    row_of = np.full(len(count), -1, np.int32)  # the last row that leaves a column out
    for row in range(len(item)):
        end, nothing = _take(row, count, first[0], following, row_of, columns, end)
        end, hits = _take(row, count, first[item[row]], following, row_of, columns, end)
        left[row] = candidates - nothing - hits
        masked[0] += hits - in_batch
        if mask_clicked:
            for member in range(clicked_starts[user[row]], clicked_starts[user[row] + 1]):
                if first[clicked[member]] >= 0:
                    end, taken = _take(row, count, first[clicked[member]], following, row_of, columns, end)
                    masked[1] += taken
                    left[row] -= taken
        if request[row] >= 0:
            of_request = first_of_request[request[row]]
            end, taken = _take(row, count, of_request, following_of_request, row_of, columns, end)
            masked[2] += taken
            left[row] -= taken
        starts[row + 1] = end
    return end > len(columns)


@compiled
def _take(
    row: int, count: Int64s, place: int, following: Int32s, row_of: Int32s, columns: Int32s, end: int
) -> tuple[int, int]:
    taken = 0
    while place >= 0:
        if row_of[place] != row:
            row_of[place] = row
            taken += count[place]
            if end < len(columns):
                columns[end] = place
            end += 1
        place = following[place]
    return end, taken


@compiled
def _set(scores: Float32s, starts: Int64s, columns: Int32s) -> None:
    for row in range(len(scores)):
        of_row = scores[row]
        for place in range(starts[row], starts[row + 1]):
            of_row[columns[place]] = -np.inf


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
