import numpy as np
import pytest

from twotower_assets.core.ragged import Ragged
from twotower_assets.two_tower.kernels.ragged_rows import take_rows


@pytest.fixture
def rows() -> Ragged:
    return Ragged.from_lengths(np.array([3, 0, 2]), np.array([1, 2, 3, 4, 5]))


def as_lists(ragged: Ragged) -> list[list[int]]:
    pieces = np.split(ragged.values, ragged.offsets[1:-1])
    return [piece.tolist() for piece in pieces]


def test_rows_are_taken_in_the_given_order_and_may_repeat(rows: Ragged) -> None:
    assert as_lists(rows.take(np.array([2, 1, 0, 2]))) == [[4, 5], [], [1, 2, 3], [4, 5]]


def test_the_last_values_of_each_row_are_kept_in_order(rows: Ragged) -> None:
    assert as_lists(rows.last(2)) == [[2, 3], [], [4, 5]]
    assert as_lists(rows.last(0)) == [[], [], []]
    assert as_lists(rows.last(9)) == as_lists(rows)


def test_dropping_values_keeps_every_row(rows: Ragged) -> None:
    assert as_lists(rows.where(rows.values % 2 == 0)) == [[2], [], [4]]


def test_parts_are_joined_row_by_row(rows: Ragged) -> None:
    assert as_lists(Ragged.concatenate([rows, rows.take(np.array([2]))])) == [[1, 2, 3], [], [4, 5], [4, 5]]
    assert len(Ragged.concatenate([])) == 0


def test_compiled_code_takes_the_same_rows(rows: Ragged) -> None:
    chosen = np.array([2, 1, 0, 2])
    assert as_lists(take_rows(rows, chosen)) == as_lists(rows.take(chosen))


def test_pairs_in_any_order_become_one_set_per_row() -> None:
    sets = Ragged.from_pairs([2, 0, 2, 0, 2], [5, 1, 3, 0, 5], n_rows=4)
    assert [list(sets[row]) for row in range(4)] == [[0, 1], [], [3, 5], []]
    assert list(sets.sizes()) == [2, 0, 2, 0]


def test_lists_and_pairs_give_the_same() -> None:
    sets = Ragged.from_lists([[3, 1, 3], [], [0]])
    same = Ragged.from_pairs([0, 0, 2], [1, 3, 0], 3)
    assert np.array_equal(sets.offsets, same.offsets)
    assert np.array_equal(sets.values, same.values)


def test_chosen_rows_come_in_the_order_asked_for() -> None:
    sets = Ragged.from_lists([[1, 2], [], [7]])
    taken = sets.take(np.array([2, 1, 0, 2]))
    assert [list(taken[row]) for row in range(4)] == [[7], [], [1, 2], [7]]


def test_membership_is_per_user_and_padding_is_in_no_set() -> None:
    sets = Ragged.from_lists([[0, 4], [1]])
    assert sets.contains(np.array([[4, 1, -1], [4, 1, -1]])).tolist() == [
        [True, False, False],
        [False, True, False],
    ]


def test_nothing_is_in_empty_sets() -> None:
    assert not Ragged.from_lists([[], []]).contains(np.array([[0, 1], [2, 3]])).any()


def test_earliest_takes_the_first_of_repeated_clicks() -> None:
    sets = Ragged.from_lists([[2, 5], [1]])
    times = sets.earliest([1, 0, 0, 0, 0], [1, 5, 2, 5, 9], [7, 4, 3, 1, 0])
    assert times.tolist() == [3.0, 1.0, 7.0]


def test_earliest_refuses_a_pair_without_a_time() -> None:
    with pytest.raises(ValueError, match="1 of 2 pairs have no time"):
        Ragged.from_lists([[2, 5]]).earliest([0], [5], [1])


@pytest.mark.parametrize(
    ("offsets", "values"),
    [
        ([0, 2], [1]),  # ends beyond the values
        ([1, 1], [1]),  # starts late
        ([0, 2, 1, 2], [1, 2]),  # decreases
        ([0, 2], [2, 1]),  # descends within a row
        ([0, 2], [1, 1]),  # repeats within a row
        ([0, 1], [-1]),  # not a position
    ],
)
def test_what_is_not_a_set_per_row_is_refused(offsets: list[int], values: list[int]) -> None:
    with pytest.raises(ValueError, match=r"offsets|values"):
        Ragged(np.array(offsets), np.array(values)).contains(np.array([[1]]))


def test_a_row_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="rows must lie"):
        Ragged.from_pairs([3], [0], n_rows=3)
    with pytest.raises(IndexError):
        Ragged.from_lists([[1]])[-1]


def test_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="of one length"):
        Ragged.from_pairs([0, 1], [0], n_rows=3)
