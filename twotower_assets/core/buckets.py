"""Head, mid, tail and cold: the popularity bucket of every item, by cumulative share of training clicks.

Names, bounds and the rule belong here; `sql/features/item_frequency.sql` gets the bounds as parameters. Metrics per
bucket are in `evaluation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HEAD: Final = 0
MID: Final = 1
TAIL: Final = 2
COLD: Final = 3
BUCKETS: Final = ("head", "mid", "tail", "cold")
"""Names of the buckets, most popular first; the index of a name is the bucket's number."""
ALL: Final = "all"
BEYOND_HEAD: Final = "beyond_head"
"""Mid, tail and cold together."""

HEAD_PERCENT: Final = 50
MID_PERCENT: Final = 80


def popularity_buckets(counts: NDArray[Any]) -> NDArray[np.int8]:
    """The bucket of every item: HEAD, MID, TAIL or COLD.

    Items are sorted by clicks, descending; ties are broken by lower position. An item is head while the
    items before it hold less than 50 % of all clicks, mid while they hold less than 80 %, tail after that. So
    the head is the smallest set of most popular items that holds half the clicks, and is not empty if
    there are any clicks. An item without clicks is cold.

    Args:
        counts: training clicks per item, int64 [n_items] (or decayed counts, float), not negative.

    Returns:
        int8 [n_items].

    Raises:
        ValueError: a negative or non-finite count, or not one number per item.
    """
    import numpy as np

    counts = np.asarray(counts)
    if counts.ndim != 1:
        raise ValueError(f"counts must have shape [n_items], got {counts.shape}")
    if not np.isfinite(counts).all() or (counts < 0).any():
        raise ValueError("counts must be finite and not negative")
    order = np.argsort(-counts, kind="stable")
    held = np.cumsum(counts[order])
    before = held - counts[order]
    total = held[-1] if len(held) else 0
    ranked = np.full(len(counts), TAIL, dtype=np.int8)
    ranked[before * 100 < MID_PERCENT * total] = MID
    ranked[before * 100 < HEAD_PERCENT * total] = HEAD
    ranked[counts[order] == 0] = COLD
    buckets = np.empty(len(counts), dtype=np.int8)
    buckets[order] = ranked
    return buckets
