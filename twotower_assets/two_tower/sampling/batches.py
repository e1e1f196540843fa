"""The order in which an epoch visits the training pairs.

Here: cutting pairs into seeded batches of one size, users and items spread evenly. Not here: the loss, and
the masks for what repeats all the same.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]


def epoch_generator(seed: int, epoch: int) -> np.random.Generator:
    """All randomness of one epoch; it follows from seed and epoch alone, so that an epoch can be repeated."""
    return np.random.default_rng([seed, epoch])


def shuffled_batches(pairs: int, batch_size: int, generator: np.random.Generator) -> list[Int64s]:
    """Cut the pairs into batches by a plain shuffle; as `spread_batches`, without its care."""
    return _cut(generator.permutation(pairs), batch_size)


def spread_batches(user: Int64s, item: Int64s, batch_size: int, generator: np.random.Generator) -> list[Int64s]:
    """Cut the pairs into batches in which users repeat as little as possible.

    1. Each item spreads its c pairs evenly over the epoch: places (rank + phase) / c in [0, 1), any phase.
    2. Each user takes its pairs in the order of these places and spreads its n pairs evenly in the same way.
       Its phase is the one that moves them least on average, sum(places) - (n - 1) / 2, modulo 1. A sum of
       uniform numbers is uniform modulo 1, so this phase is as good as a drawn one, and a user with a single
       pair keeps the place that the item gave it.
    3. Pairs are sorted by the user's place and cut into batches whose sizes differ by one at most.

    So a user with n pairs is in every batch n / (number of batches) times, give or take one; the expected
    count of an item in a batch stays batch size times q, as logQ assumes, and varies less than by shuffling.

    Args:
        user: int64 [N].
        item: int64 [N].
        batch_size: Largest size of a batch.
        generator: Source of ranks and phases.

    Returns:
        ceil(N / batch_size) arrays int64 of positions in `user`; together each position once. Linear in N.
    """
    item_counts, user_counts = np.bincount(item), np.bincount(user)
    item_phases = generator.random(len(item_counts))
    item_places = _even_places(item, item_counts, generator.permutation(len(item)), item_phases)
    user_phases = (np.bincount(user, weights=item_places) - (user_counts - 1) / 2) % 1.0
    user_places = _even_places(user, user_counts, _order(item_places), user_phases)
    return _cut(_order(user_places), batch_size)


def _cut(order: Int64s, batch_size: int) -> list[Int64s]:
    """Batches whose sizes differ by one at most."""
    return np.array_split(order, max(1, -(-len(order) // batch_size)))


def _even_places(group: Int64s, counts: Int64s, order: Int64s, phases: Float64s) -> Float64s:
    """Place in [0, 1) of each member: its group's members, in this order, at equal distances."""
    order = order[_order_of_integers(group[order])]
    ordered = group[order]
    rank = np.arange(len(group)) - (np.cumsum(counts) - counts)[ordered]
    places = np.empty(len(group))
    places[order] = (rank + phases[ordered]) / counts[ordered]
    return places


def _order(places: Float64s) -> Int64s:
    """Positions that put places in [0, 1) in order, to 2⁻³², and among equals by position."""
    return _order_of_integers((places * 2.0**32).astype(np.int64))


def _order_of_integers(values: Int64s) -> Int64s:
    """Stable order of integers from 0 to 2³² - 1: by their lower half, then by their upper; both are radix sorts."""
    order: Int64s = np.argsort((values & 0xFFFF).astype(np.uint16), kind="stable")
    upper = (values >> 16).astype(np.uint16)
    return order[np.argsort(upper[order], kind="stable")] if upper.any() else order


def repeat_share(user: Int64s, batches: list[Int64s]) -> float:
    """Share of pairs whose user already has an earlier pair in the same batch."""
    last = np.zeros(user.max(initial=0) + 1, np.int64)
    distinct = 0
    for batch in batches:
        users, place = user[batch], np.arange(len(batch))
        last[users] = place  # of a user's pairs the last remains
        distinct += int((last[users] == place).sum())
    return 1.0 - distinct / max(1, sum(map(len, batches)))
