import numpy as np
import pytest

from twotower_assets.two_tower.data.item_sets import ItemSets

MEMBERS = {0: [], 1: [4], 2: [1, 2, 5, 7, 8], 3: [0, 3, 9]}


@pytest.fixture
def sets() -> ItemSets:
    pairs = np.array([(index, item) for index, items in MEMBERS.items() for item in [*items, *items[:1]]])
    shuffled = np.random.default_rng(0).permutation(pairs)
    return ItemSets.from_members(shuffled[:, 0], shuffled[:, 1], 4, 10)


def test_repeated_members_count_once(sets: ItemSets) -> None:
    assert len(sets) == 4
    assert sets.sizes.tolist() == [0, 1, 5, 3]


def test_membership_of_shared_items_and_of_different_items_per_set(sets: ItemSets) -> None:
    queried, items = np.array([2, 0, 3, 2]), np.array([5, 9, 0, 5, 6])
    expected = [[item in MEMBERS[index] for item in items.tolist()] for index in queried.tolist()]
    assert sets.membership(queried, items).tolist() == expected
    per_set = np.array([[1, 9], [4, 4], [3, 1], [6, 8]])
    expected = [
        [item in MEMBERS[index] for item in row] for index, row in zip(queried.tolist(), per_set.tolist(), strict=True)
    ]
    assert sets.membership(queried, per_set).tolist() == expected


@pytest.mark.parametrize(("queried", "items"), [(0, (3,)), (2, (0,)), (0, (0, 3)), (2, (2, 0))])
def test_membership_of_nothing_is_empty_in_the_right_shape(
    sets: ItemSets, queried: int, items: tuple[int, ...]
) -> None:
    found = sets.membership(np.zeros(queried, np.int64), np.zeros(items, np.int64))
    assert found.shape == (queried, items[-1])
    assert not found.any()


def test_draws_are_uniform_within_each_set_and_nothing_comes_from_an_empty_one(sets: ItemSets) -> None:
    drawn = sets.draw(np.array([2, 0, 3]), 30_000, np.random.default_rng(1))
    assert drawn.dtype == np.int64
    assert (drawn[1] == 0).all()
    for row, index in ((0, 2), (2, 3)):
        values, counts = np.unique(drawn[row], return_counts=True)
        assert values.tolist() == MEMBERS[index]
        assert counts / 30_000 == pytest.approx(np.full(len(values), 1 / len(values)), abs=0.01)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7])
def test_distinct_draws_are_distinct_equally_likely_and_as_many_as_there_are(sets: ItemSets, count: int) -> None:
    queried = np.repeat([2, 0, 1], [20_000, 5, 5])
    drawn = sets.draw_distinct(queried, count, np.random.default_rng(2))
    assert drawn.shape == (len(queried), count)
    assert (drawn[20_000:20_005] == 0).all()
    assert (drawn[20_005:, 0] == 4).all()
    assert (drawn[20_005:, 1:] == 0).all()
    n_drawn = min(count, 5)
    rows = np.sort(drawn[:20_000, :n_drawn], axis=1)
    assert (np.diff(rows, axis=1) > 0).all()
    assert (drawn[:20_000, n_drawn:] == 0).all()
    values, counts = np.unique(rows, return_counts=True)
    assert values.tolist() == MEMBERS[2]
    assert counts / 20_000 == pytest.approx(np.full(5, n_drawn / 5), abs=0.02)


class AlmostOne(np.random.Generator):
    """Gives the largest number below one, always."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def random(self, size):  # type: ignore[override]
        return np.full(size, np.nextafter(1.0, 0.0))


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 1000])
def test_the_last_draw_stays_inside_its_set(count: int) -> None:
    sets = ItemSets.from_members(np.repeat([0, 1, 2], [1, 9, 3]), np.r_[3, 0:9, 1:4], 3, 9)
    members = sets.members.toarray()
    for draw in (sets.draw, sets.draw_distinct):
        drawn = draw(np.arange(3), count, AlmostOne())
        assert all(members[index, item] or item == 0 for index in range(3) for item in drawn[index])


def test_the_same_seed_gives_the_same_draws_and_another_others(sets: ItemSets) -> None:
    queried = np.repeat([2, 3], 50)
    for draw in (sets.draw, sets.draw_distinct):
        first, again, other = (draw(queried, 2, np.random.default_rng(seed)) for seed in (1, 1, 2))
        assert (first == again).all()
        assert (first != other).any()


def test_sums_over_the_items_of_each_set(sets: ItemSets) -> None:
    queried = np.array([2, 0, 3, 2])
    sums = sets.sums(queried, lambda items: items.astype(np.float64) ** 2)
    assert sums.tolist() == [sum(item**2 for item in MEMBERS[index]) for index in queried.tolist()]


def test_the_fingerprint_follows_from_the_members(sets: ItemSets) -> None:
    users, items = np.array([1, 2, 2]), np.array([4, 1, 2])
    same = ItemSets.from_members(users[::-1], items[::-1], 4, 10)
    assert same.fingerprint() == ItemSets.from_members(users, items, 4, 10).fingerprint()
    assert same.fingerprint() != ItemSets.from_members(users, items + 1, 4, 10).fingerprint()
    assert same.fingerprint() != sets.fingerprint()
