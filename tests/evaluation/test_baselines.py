import numpy as np
import pytest

from twotower_assets.core.ragged import Ragged
from twotower_assets.evaluation import baselines
from twotower_assets.evaluation.baselines import ease, most_popular
from twotower_assets.evaluation.ranking import top_k


def test_most_popular_gives_everybody_the_most_clicked_they_have_not_seen():
    lists = top_k(most_popular(np.array([2, 9, 5])), 2, Ragged.from_lists([[], [1]]), 2)
    assert lists.tolist() == [[1, 2], [2, 0]]


def test_ease_solves_its_least_squares_problem():
    rng = np.random.default_rng(0)
    clicks = (rng.random((60, 12)) < 0.3).astype(float)
    user, item = np.nonzero(clicks)
    # Column j of B is the ridge regression of item j on all the others.
    weights = np.zeros((12, 12))
    for j in range(12):
        others = np.delete(np.arange(12), j)
        gram = clicks[:, others].T @ clicks[:, others] + 5.0 * np.eye(11)
        weights[others, j] = np.linalg.solve(gram, clicks[:, others].T @ clicks[:, j])
    rows = np.array([4, 0, 59])
    scores = ease(user, item, 60, 12, l2=5.0)(rows)
    np.testing.assert_allclose(scores, clicks[rows] @ weights, atol=1e-10)


def test_ease_counts_a_repeated_click_once():
    user, item = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 0, 1, 1])
    once = ease(user[:4], item[:4], 2, 2)(np.arange(2))
    np.testing.assert_allclose(ease(user, item, 2, 2)(np.arange(2)), once)


def test_items_without_a_training_click_have_score_0_and_change_nothing_for_the_others():
    user, item = np.array([0, 0, 1, 1, 2]), np.array([1, 3, 1, 4, 3])
    profiles = Ragged.from_lists([[1, 0], [3], [4, 2]])
    scores = ease(user, item, 3, 6, l2=2.0, profiles=profiles)(np.arange(3))
    assert (scores[:, [0, 2, 5]] == 0).all()
    clicked = {1: 0, 3: 1, 4: 2}
    small = ease(
        user,
        np.array([clicked[one] for one in item.tolist()]),
        3,
        3,
        l2=2.0,
        profiles=Ragged.from_lists([[0], [1], [2]]),
    )(np.arange(3))
    np.testing.assert_allclose(scores[:, [1, 3, 4]], small)


def test_ease_is_refused_where_its_matrix_would_be_too_large(monkeypatch):
    with pytest.raises(ValueError, match="20,000"):
        ease(np.array([0]), np.array([0]), 1, 20_001)
    monkeypatch.setattr(baselines, "EASE_MAX_ITEMS", 1)
    with pytest.raises(ValueError, match="2 by 2"):
        ease(np.array([0]), np.array([0]), 1, 2)


def test_ease_needs_a_penalty():
    with pytest.raises(ValueError, match="l2"):
        ease(np.array([0]), np.array([0]), 1, 2, l2=0.0)


def test_ease_scores_from_the_profiles_that_it_is_given():
    user, item = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 0, 1, 2])
    trained = ease(user, item, 3, 3, l2=1.0)
    scored = ease(user, item, 3, 3, l2=1.0, profiles=Ragged.from_lists([[2], [0, 1]]))
    assert np.allclose(scored(np.array([1])), trained(np.array([0])))
    assert not np.allclose(scored(np.array([0])), trained(np.array([0])))
