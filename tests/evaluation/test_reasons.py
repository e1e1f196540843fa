"""The clicked items that a suggestion resembles."""

import numpy as np
import pytest

from twotower_assets.evaluation.reasons import nearest_in_history

VECTORS = np.array([[1, 0], [0, 1], [1, 1], [-1, 0], [9, 1], [0, 0]], np.float32)


def test_the_largest_cosine_comes_first_whatever_the_length_of_a_vector() -> None:
    assert nearest_in_history(VECTORS, [1, 4, 2], [0]) == [[4, 2]]
    assert nearest_in_history(VECTORS * np.array([[1], [50], [1], [1], [0.01], [1]], np.float32), [1, 4, 2], [0]) == [
        [4, 2]
    ]


def test_each_listed_item_has_its_own_reasons() -> None:
    assert nearest_in_history(VECTORS, [0, 1], [4, 1, 2], count=1) == [[0], [1], [1]]


def test_of_equal_cosines_the_item_clicked_last_comes_first() -> None:
    assert nearest_in_history(VECTORS, [0, 1], [2]) == [[1, 0]]
    assert nearest_in_history(VECTORS, [1, 0], [2]) == [[0, 1]]


def test_an_item_clicked_twice_is_one_reason() -> None:
    assert nearest_in_history(VECTORS, [0, 1, 0], [4], count=3) == [[0, 1]]


def test_a_vector_without_length_resembles_nothing() -> None:
    assert nearest_in_history(VECTORS, [3, 5, 1], [0], count=3) == [[1, 5, 3]]


def test_without_a_history_there_is_no_reason() -> None:
    assert nearest_in_history(VECTORS, [], [0, 1]) == [[], []]


def test_without_a_list_there_is_nothing_to_explain() -> None:
    assert nearest_in_history(VECTORS, [0], []) == []


@pytest.mark.parametrize(("history", "listed"), [([6], [0]), ([0], [6]), ([-1], [0]), ([0], [-1])])
def test_an_item_without_a_vector_is_refused(history: list[int], listed: list[int]) -> None:
    with pytest.raises(ValueError, match="rows 0 to 5"):
        nearest_in_history(VECTORS, history, listed)


def test_a_count_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        nearest_in_history(VECTORS, [0], [1], count=0)


def test_vectors_that_are_no_matrix_are_refused() -> None:
    with pytest.raises(ValueError, match="matrix"):
        nearest_in_history(VECTORS[0], [0], [1])
