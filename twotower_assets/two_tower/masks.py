"""False negatives: candidates that must not be negatives of a row, and how many there were.

Here: which candidates are left out, and why. Not here: what a mask does in the loss.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from torch import Tensor

from twotower_assets.two_tower.config import TrainingConfig
from twotower_assets.two_tower.dataset import TrainingSet
from twotower_assets.two_tower.negatives import Batch

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
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


class FalseNegatives:
    """Builds the masks that the configuration names, and counts what they take out."""

    def __init__(self, config: TrainingConfig) -> None:
        self.config = config
        self.counts = MaskCounts()

    def of_items(self, batch: Batch, items: Int64s, *, in_batch: int = 0) -> Bools:
        """What may be no negative, by the identity of items.

        Args:
            batch: B pairs.
            items: int64 [S], candidates of every row, or [B, K], the candidates of each row; 0 is no item.
            in_batch: The first so many of the candidates are the positives of the batch, in order.

        Returns:
            bool [B, S] or [B, K], true where a candidate is the row's own pair, nothing, the positive's item again,
            or left out by `masks`.
        """
        candidates = np.atleast_2d(items)
        out = np.broadcast_to(candidates == 0, (len(batch), candidates.shape[1])).copy()
        out[:, :in_batch] |= np.eye(len(batch), in_batch, dtype=np.bool_)
        self._mask("accidental_hit", out, candidates == batch.item[:, None])
        if "clicked" in self.config.masks:
            self._mask("clicked", out, batch.data.clicked.contain(batch.user, items))
        if "same_request" in self.config.masks and in_batch:
            request = batch.data.request[batch.rows]
            same = (request[:, None] == request[None, :]) & (request[:, None] >= 0)
            self._mask("same_request", out[:, :in_batch], same)
        return out

    def of_cosines(self, out: Tensor, cosines: Tensor, positive: Tensor) -> Tensor:
        """`out` with the negatives whose cosine comes too close to the positive's.

        Args:
            out: bool [B, C], what is out already.
            cosines: float [B, C].
            positive: float [B].
        """
        share = self.config.positive_aware_share
        if share is not None:
            close = (cosines > share * positive[:, None]) & (positive > 0)[:, None] & ~out
            self.counts.masked["positive_aware"] += int(close.sum())
            out = out | close
        self.counts.rows += len(out)
        self.counts.left += int((~out).sum())
        return out

    def _mask(self, reason: str, out: Bools, more: Bools) -> None:
        fresh = more & ~out
        self.counts.masked[reason] += int(fresh.sum())
        out |= fresh


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
