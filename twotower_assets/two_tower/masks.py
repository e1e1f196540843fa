"""False negatives: candidates that must not be negatives of a row, and how many there were.

Here: which candidates are left out, and why. Not here: what is done with the rest.
"""

from __future__ import annotations

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


class SharedMask:
    """Leaves out, among the candidates that all rows of a batch share, those that are no negatives of a row."""

    def __init__(self, config: TrainingConfig, counts: MaskCounts, batch: Batch, candidates: Candidates) -> None:
        """What is masked and left is added to `counts`."""
        self._share = config.positive_aware_share
        self._counts, self._batch, self._candidates = counts, batch, candidates
        self._user, self._item = batch.user, batch.item
        self._places = Places.of(candidates.item, len(batch.data.item_counts))
        self._clicked = "clicked" in config.masks
        self._request, self._of_request = np.full(len(batch), -1), Places(np.zeros(0, np.int32), np.zeros(0, np.int32))
        if "same_request" in config.masks:
            known = np.concatenate([batch.data.request[batch.rows], candidates.request])
            numbers = np.unique(known, return_inverse=True)[1]
            self._of_request = Places.of(numbers[len(batch) :], len(known))
            self._request = np.where(known >= 0, numbers, -1)[: len(batch)]

    def leave_out(self, first: int, scores: Tensor, positive: Tensor) -> Int64s:
        """Set the scores float [t, S] of the rows from `first` on to -∞ where a candidate is no negative.

        Left out are the row's own pair, what is no item (0), the positive's item again, and what `masks` and
        `positive_aware_share` name.

        Args:
            first: Number of the first row in the batch.
            scores: Cosines times 1/τ, changed in place.
            positive: float [t], the same of the positives.

        Returns:
            How many candidates each row has left, its own positive not among them, int64 [t].
        """
        rows = slice(first, first + len(scores))
        masked, left = np.zeros(len(REASONS), np.int64), np.empty(len(scores), np.int64)
        clicked = self._batch.data.clicked.members
        _leave_out(
            scores.numpy(),
            self._candidates.count,
            int(self._candidates.of_batch.any()),
            self._item[rows],
            self._places.first,
            self._places.following,
            self._clicked,
            self._user[rows],
            clicked.indptr,
            clicked.indices,
            self._request[rows],
            self._of_request.first,
            self._of_request.following,
            masked,
            left,
        )
        if self._share is not None:
            close = (scores > self._share * positive[:, None]) & (positive > 0)[:, None]
            scores.masked_fill_(close, float("-inf"))
            taken = close.numpy() @ self._candidates.count
            masked[REASONS.index("positive_aware")] += taken.sum()
            left -= taken
        _count(self._counts, masked, rows=len(left), left=int(left.sum()))
        return left


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
def _leave_out(
    scores: Float32s,
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
    masked: Int64s,
    left: Int64s,
) -> None:
    candidates = count.sum()
    for row in range(len(scores)):
        of_row = scores[row]
        left[row] = candidates - _take(of_row, count, first[0], following)
        hits = _take(of_row, count, first[item[row]], following)
        masked[0] += hits - in_batch
        left[row] -= hits
        if mask_clicked:
            taken = 0
            for member in range(clicked_starts[user[row]], clicked_starts[user[row] + 1]):
                if first[clicked[member]] >= 0:
                    taken += _take(of_row, count, first[clicked[member]], following)
            masked[1] += taken
            left[row] -= taken
        if request[row] >= 0:
            taken = _take(of_row, count, first_of_request[request[row]], following_of_request)
            masked[2] += taken
            left[row] -= taken


@compiled
def _take(scores: Float32s, count: Int64s, place: int, following: Int32s) -> int:
    taken = 0
    while place >= 0:
        if scores[place] != -np.inf:
            scores[place] = -np.inf
            taken += count[place]
        place = following[place]
    return taken


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
