import numpy as np
import numpy.typing as npt
import pytest

from twotower_assets.two_tower.sampling.batches import epoch_generator, repeat_share, shuffled_batches, spread_batches


@pytest.fixture
def pairs() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """4,000 pairs of 200 users with long-tailed activity and 100 items of long-tailed popularity."""
    generator = np.random.default_rng(1)
    user = (generator.random(4000) ** 2 * 200).astype(np.int64)
    item = (generator.random(4000) ** 3 * 100).astype(np.int64)
    return user, item


def batches_of(pairs, batch_size=128, seed=0, epoch=1):
    return spread_batches(*pairs, batch_size, epoch_generator(seed, epoch))


def shuffled(values):
    return np.array_split(np.random.default_rng(0).permutation(len(values)), 32)


def unevenness(item: npt.NDArray[np.int64], batches: list[npt.NDArray[np.int64]]) -> float:
    """Variance over batches of each item's count, summed over items."""
    counts = np.stack([np.bincount(item[batch], minlength=100) for batch in batches])
    return float(counts.var(axis=0).sum())


@pytest.mark.parametrize("batch_size", [2, 128, 129, 4000, 9999])
def test_every_pair_comes_once_and_sizes_differ_by_one_at_most(pairs, batch_size: int) -> None:
    batches = batches_of(pairs, batch_size)
    assert sorted(np.concatenate(batches).tolist()) == list(range(4000))
    sizes = {len(batch) for batch in batches}
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1


def test_users_are_distinct_where_the_batch_size_allows() -> None:
    user = np.tile(np.arange(100), 10)
    batches = spread_batches(user, np.arange(1000), 50, epoch_generator(0, 1))
    # Each user has ten pairs in twenty batches: two in one batch would be two within half a stride.
    assert repeat_share(user, batches) == 0.0


def test_a_users_pairs_are_spread_evenly_over_the_epoch(pairs) -> None:
    user = pairs[0]
    batches = batches_of(pairs)
    busiest = np.bincount(user).argmax()
    in_batch = np.array([(user[batch] == busiest).sum() for batch in batches])
    assert in_batch.max() - in_batch.min() <= 2


def test_an_items_pairs_are_spread_more_evenly_than_by_plain_shuffling(pairs) -> None:
    item = pairs[1]
    epochs = [batches_of(pairs, epoch=epoch) for epoch in range(8)]
    assert np.mean([unevenness(item, batches) for batches in epochs]) < 0.95 * unevenness(item, shuffled(item))


def test_an_items_pairs_are_spread_evenly_where_every_user_has_one(pairs) -> None:
    item = pairs[1]
    batches = spread_batches(np.arange(len(item)), item, 128, epoch_generator(0, 1))
    assert unevenness(item, batches) < 0.2 * unevenness(item, shuffled(item))


def test_repeats_are_fewer_than_by_plain_shuffling_and_do_not_pile_up_at_the_end(pairs) -> None:
    user = pairs[0]
    batches = batches_of(pairs)
    assert repeat_share(user, batches) < repeat_share(user, shuffled(user)) - 0.05
    assert repeat_share(user, batches[-6:]) == pytest.approx(repeat_share(user, batches), abs=0.05)


def test_the_order_follows_from_seed_and_epoch(pairs) -> None:
    first = np.concatenate(batches_of(pairs, seed=3, epoch=2))
    assert (first == np.concatenate(batches_of(pairs, seed=3, epoch=2))).all()
    assert (first != np.concatenate(batches_of(pairs, seed=3, epoch=3))).any()
    assert (first != np.concatenate(batches_of(pairs, seed=4, epoch=2))).any()


def test_one_user_fills_every_batch_alone() -> None:
    user = np.zeros(10, np.int64)
    batches = spread_batches(user, np.arange(10), 4, epoch_generator(0, 1))
    assert sorted(map(len, batches)) == [3, 3, 4]
    assert repeat_share(user, batches) == pytest.approx(0.7)


@pytest.mark.parametrize("batch_size", [2, 128, 129, 4000, 9999])
def test_a_plain_shuffle_gives_every_pair_once_in_batches_of_one_size(batch_size: int) -> None:
    batches = shuffled_batches(4000, batch_size, epoch_generator(0, 1))
    assert sorted(np.concatenate(batches).tolist()) == list(range(4000))
    sizes = {len(batch) for batch in batches}
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    again = shuffled_batches(4000, batch_size, epoch_generator(0, 1))
    assert all((left == right).all() for left, right in zip(batches, again, strict=True))
    assert (np.concatenate(batches) != np.concatenate(shuffled_batches(4000, batch_size, epoch_generator(0, 2)))).any()
