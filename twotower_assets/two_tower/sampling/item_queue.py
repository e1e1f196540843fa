"""The queue of cross-batch negatives: items of earlier batches, whose vectors an engine keeps, first in, first out.

Here: which items are kept, for how long, and how often an item is expected among them. Not here: their vectors, which
the engines under `loss` keep.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from twotower_assets.recipes.negative_settings import CrossBatchNegatives
from twotower_assets.two_tower.sampling.negatives import Batch
from twotower_assets.two_tower.sampling.proposals import Proposal

Int64s = npt.NDArray[np.int64]


class ItemQueue:
    """At most `count` items, none older than `maximum_age` batches (Wang et al. 2021, SIGIR)."""

    def __init__(self, settings: CrossBatchNegatives, proposal: Proposal, warm_up: int) -> None:
        """`warm_up`: batches before the first item is kept."""
        self.settings, self.proposal, self.warm_up = settings, proposal, warm_up
        self.batches = 0
        self.items = np.zeros(0, np.int64)
        self.added_at = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self.items)

    def push(self, items: Int64s) -> None:
        """Add a batch's items int64 [B], and drop the oldest."""
        self.batches += 1
        if self.batches <= self.warm_up:
            return
        added_at = np.concatenate([self.added_at, np.full(len(items), self.batches)])
        items = np.concatenate([self.items, items])
        first = max(
            len(items) - self.settings.count,
            int(np.searchsorted(added_at, self.batches - self.settings.maximum_age, side="right")),
        )
        self.items, self.added_at = items[first:], added_at[first:]

    def expected_count(self, batch: Batch, items: Int64s) -> npt.NDArray[np.float64]:  # noqa: ARG002
        """Length of the queue times q: the expected number of times each item (any shape) is in it."""
        return len(self) * self.proposal.probability(items)

    def state_dict(self) -> dict[str, npt.NDArray[np.generic]]:
        """The arrays that change during training."""
        return {"batches": np.array([self.batches]), "items": self.items, "added_at": self.added_at}

    def load_state_dict(self, state: dict[str, npt.NDArray[np.generic]]) -> None:
        """Continue from a saved state."""
        self.batches = int(state["batches"][0])
        self.items, self.added_at = state["items"].astype(np.int64), state["added_at"].astype(np.int64)
