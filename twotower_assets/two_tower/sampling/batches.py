"""The order in which an epoch visits the training pairs.

Here: cutting pairs into seeded batches of one size, users and items spread evenly. Not here: masks for users and items
that repeat all the same (`masks.py`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]


def epoch_generator(seed: int, epoch: int) -> np.random.Generator:
    """The generator of all randomness in one epoch; it depends on seed and epoch only, so an epoch can be repeated."""
    return np.random.default_rng([seed, epoch])


def shuffled_batches(pairs: int, batch_size: int, generator: np.random.Generator) -> list[Int64s]:
    """Cut the pairs into batches by a plain shuffle; the result has the form of `spread_batches`."""
    return _cut(generator.permutation(pairs), batch_size)


def spread_batches(user: Int64s, item: Int64s, batch_size: int, generator: np.random.Generator) -> list[Int64s]:
    """Cut the pairs into batches in which users repeat as little as possible.

    1. Each item spreads its c pairs evenly over the epoch, at times (rank + phase) / c in [0, 1) with a random phase.
    2. Each user takes its n pairs in the order of these times and spreads them evenly in the same way. Its phase is
       the one that moves them least on average, sum(times) - (n - 1) / 2, modulo 1. A sum of uniform numbers is uniform
       modulo 1, so this phase is as good as a random one, and a user with a single pair keeps the time that the item
       gave it.
    3. Pairs are sorted by the user's times and cut into batches whose sizes differ by one at most.

    So a user with n pairs is in every batch n / (number of batches) times, give or take one. The expected count of an
    item in a batch stays batch size times q, as logQ assumes, and varies less than with shuffling.

    Args:
        user: int64 [N].
        item: int64 [N].
        batch_size: Largest size of a batch.
        generator: Source of ranks and phases.

    Returns:
        ceil(N / batch_size) arrays int64 of indices into `user`, together each index once. Linear in N.
    """
    item_counts, user_counts = np.bincount(item), np.bincount(user)
    item_phases = generator.random(len(item_counts))
    item_times = _even_times(item, item_counts, generator.permutation(len(item)), item_phases)
    user_phases = (np.bincount(user, weights=item_times) - (user_counts - 1) / 2) % 1.0
    user_times = _even_times(user, user_counts, _order(item_times), user_phases)
    return _cut(_order(user_times), batch_size)


def _cut(order: Int64s, batch_size: int) -> list[Int64s]:
    """Batches whose sizes differ by one at most."""
    return np.array_split(order, max(1, -(-len(order) // batch_size)))


def _even_times(group: Int64s, counts: Int64s, order: Int64s, phases: Float64s) -> Float64s:
    """A time in [0, 1) for each pair: the pairs of a group, in the given order, at equal distances."""
    order = order[_order_of_integers(group[order])]
    ordered = group[order]
    rank = np.arange(len(group)) - (np.cumsum(counts) - counts)[ordered]
    times = np.empty(len(group))
    times[order] = (rank + phases[ordered]) / counts[ordered]
    return times


def _order(times: Float64s) -> Int64s:
    """Indices that sort times in [0, 1), to a resolution of 2⁻³²; stable."""
    return _order_of_integers((times * 2.0**32).astype(np.int64))


def _order_of_integers(values: Int64s) -> Int64s:
    """Stable order of integers from 0 to 2³² - 1, by a radix sort of their lower half and then of their upper half."""
    order: Int64s = np.argsort((values & 0xFFFF).astype(np.uint16), kind="stable")
    upper = (values >> 16).astype(np.uint16)
    return order[np.argsort(upper[order], kind="stable")] if upper.any() else order


def repeat_share(user: Int64s, batches: list[Int64s]) -> float:
    """Share of pairs whose user already has an earlier pair in the same batch."""
    last = np.zeros(user.max(initial=0) + 1, np.int64)
    distinct = 0
    for batch in batches:
        users, index = user[batch], np.arange(len(batch))
        last[users] = index  # the last pair of each user remains
        distinct += int((last[users] == index).sum())
    return 1.0 - distinct / max(1, sum(map(len, batches)))
