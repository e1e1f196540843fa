"""Item frequencies estimated in one pass and bounded memory, for logs too long to count.

Here: the mean gap between an item's occurrences, kept in hashed arrays. Not here: exact counts, and where the estimate
is used (`proposals.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]


class StreamingFrequency:
    """Probability q that a pair of the stream has a given item: Yi et al. 2019 (RecSys), algorithms 2 and 3.

    A is the step at which an item was last seen, B the mean gap between its occurrences. Steps count pairs, not
    batches, so that 1 / B estimates q itself. On an occurrence at step t, in the bucket h of each hash:

    1. B[h] ← (1 - α) B[h] + α (t - A[h]).
    2. A[h] ← t.
    3. The estimate is 1 / (largest B over the hashes): a collision can only shorten gaps.

    First occurrence: the paper starts from A = 0, so an item that joins the catalogue at step t gets a gap of t,
    however popular it is afterwards. Here the first occurrence sets only A, and B stays at `initial_gap`; the first gap
    is that to the second occurrence, with the mean 1 / q whether the item was there from the start or not.

    Expected error, for a bucket without collisions and a constant q: gaps are geometric, so B has the relative
    variance α / (2 - α), and log of the estimate the standard deviation sqrt(α / (2 - α)) and a bias of about
    +α / (2 (2 - α)): 0.07 and 0.003 at α = 0.01. After k gaps the prior still weighs (1 - α)^k, so k must
    be several times 1 / α; that is also how many occurrences of an item the estimate needs to follow a change.
    An item that no longer occurs keeps its last estimate.

    Args:
        n_items: Items are 0 … n_items - 1.
        buckets: Length of A and B for each hash, below 2^32. Two items share a bucket with a probability of
            about 2 / buckets at most.
        hashes: Number of independent hash functions. Memory is 16 bytes * hashes * buckets.
        rate: α in (0, 1].
        seed: Draws the hash functions.
        initial_gap: B before the first gap, in pairs, at least 1; by default n_items, the uniform distribution.

    Raises:
        ValueError: An argument is out of its range.
    """

    is_fixed = False

    def __init__(
        self, *, n_items: int, buckets: int, hashes: int, rate: float, seed: int, initial_gap: float | None = None
    ) -> None:
        gap = float(n_items if initial_gap is None else initial_gap)
        if n_items < 1:
            raise ValueError(f"n_items must be at least 1, got {n_items}")
        if not 1 <= buckets < 2**32:
            raise ValueError(f"buckets must be in [1, 2^32), got {buckets}")
        if hashes < 1:
            raise ValueError(f"hashes must be at least 1, got {hashes}")
        if not 0 < rate <= 1:
            raise ValueError(f"rate must be in (0, 1], got {rate}")
        if not 1 <= gap < np.inf:
            raise ValueError(f"initial_gap must be finite and at least 1 pair, got {gap}")
        self._n_items = n_items
        self._rate = rate
        generator = np.random.default_rng(seed)
        self._multipliers = generator.integers(2**64, size=(hashes, 1), dtype=np.uint64) | np.uint64(1)
        self._pairs_seen = 0
        self._last_seen: Int64s = np.zeros((hashes, buckets), np.int64)  # 0: never, steps begin at 1
        self._mean_gap: Float64s = np.full((hashes, buckets), gap)

    def update(self, items: Int64s) -> None:
        """Observe the next pairs of the stream, in their order.

        The result is the same as observing one pair after the other. For a bucket hit k times in the batch with the
        gaps g_1 … g_k this is B ← (1 - α)^k B + Σ_j α (1 - α)^(k - j) g_j.

        Args:
            items: int64 [B], the item of each pair; B may be 0. Costs one sort of hashes * B numbers.

        Raises:
            ValueError: `items` is not a vector of integers in [0, n_items).
        """
        if items.ndim != 1:
            raise ValueError(f"items must be a vector, got the shape {items.shape}")
        indices = self._bucket_indices(items)  # (hashes, B)
        last_seen, mean_gap = self._last_seen.reshape(-1), self._mean_gap.reshape(-1)  # views
        order = np.argsort(indices, axis=None, kind="stable")  # (hashes * B,), by bucket, then by step
        index = indices.reshape(-1)[order]
        step = self._pairs_seen + 1 + order % items.size
        begin = np.flatnonzero(np.diff(index, prepend=-1))  # (buckets hit,)
        hits = np.diff(begin, append=index.size)
        end = begin + hits
        bucket = index[begin]

        previous = np.roll(step, 1)
        previous[begin] = last_seen[bucket]
        gap = np.where(previous > 0, step - previous, mean_gap[index])  # a first occurrence leaves B as it is
        later_hits = np.repeat(end, hits) - 1 - np.arange(index.size)
        keep = 1.0 - self._rate
        gained = np.add.reduceat(self._rate * keep**later_hits * gap, begin)
        mean_gap[bucket] = np.maximum(keep**hits * mean_gap[bucket] + gained, 1.0)  # rounding may fall below 1
        last_seen[bucket] = step[end - 1]
        self._pairs_seen += items.size

    def probability(self, items: Int64s) -> Float64s:
        """Estimated probability that a pair has each of these items.

        Args:
            items: int64 of any shape.

        Returns:
            float64 of that shape, in (0, 1]; 1 / initial_gap for an item without a gap yet. The
            estimates of all items need not sum to 1.

        Raises:
            ValueError: `items` are not integers in [0, n_items).
        """
        gaps = self._mean_gap.reshape(-1)[self._bucket_indices(items)]  # (hashes, number of items)
        probability: Float64s = 1.0 / gaps.max(axis=0)
        return probability.reshape(items.shape)

    def state_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Copies of the arrays that `update` changes, for `load_state_dict`.

        Returns:
            pairs_seen int64 [], last_seen int64 [hashes, buckets] (a step, 0 for never) and mean_gap float64
            [hashes, buckets] (in pairs).
        """
        return {
            "pairs_seen": np.array(self._pairs_seen, np.int64),
            "last_seen": self._last_seen.copy(),
            "mean_gap": self._mean_gap.copy(),
        }

    def load_state_dict(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from the state of an estimator with the same arguments; `seed` and `rate` are not in the state.

        Raises:
            ValueError: An array is missing or has another shape; nothing is changed then.
        """
        for name, current in self.state_dict().items():
            if name not in state:
                raise ValueError(f"state has no '{name}' (it has: {', '.join(state)})")
            if state[name].shape != current.shape:
                raise ValueError(
                    f"state's '{name}' has the shape {state[name].shape}, expected {current.shape}: "
                    "build the estimator with the buckets and hashes of the one that was saved"
                )
        self._pairs_seen = int(state["pairs_seen"])
        self._last_seen = np.array(state["last_seen"], np.int64, order="C")
        self._mean_gap = np.array(state["mean_gap"], np.float64, order="C")

    def _bucket_indices(self, items: Int64s) -> Int64s:
        """Indices [hashes, number of items] into the flattened arrays, by multiply-shift hashing.

        The high half of the 64-bit product is scaled to `buckets`, which so need not be a power of two.
        """
        if items.dtype.kind not in "iu":
            raise ValueError(f"items must be integers, got {items.dtype}")
        if items.size and not 0 <= items.min() <= items.max() < self._n_items:
            raise ValueError(f"items must be in [0, {self._n_items}), got {items.min()} … {items.max()}")
        hashes, buckets = self._mean_gap.shape
        product = self._multipliers * items.reshape(1, -1).astype(np.uint64)  # modulo 2^64
        bucket = ((product >> np.uint64(32)) * np.uint64(buckets)) >> np.uint64(32)
        indices: Int64s = bucket.astype(np.int64) + buckets * np.arange(hashes)[:, None]
        return indices
