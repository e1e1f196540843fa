import numpy as np
import pytest

from twotower_assets.two_tower.data.ragged import Ragged


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
