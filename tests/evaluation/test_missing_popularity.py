import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from twotower_assets.core.ragged import Ragged
from twotower_assets.evaluation.missing_popularity import missing_popularity, slope_on_log_q

N_USERS, N_ITEMS = 500, 80


@pytest.fixture(scope="module")
def world():
    """True p(i|u) of users with tastes over items of unequal popularity, and their log q."""
    rng = np.random.default_rng(5)
    logits = rng.normal(0, 1.3, N_ITEMS) + 0.6 * rng.normal(size=(N_USERS, 4)) @ rng.normal(size=(4, N_ITEMS))
    p = np.exp(logits)
    p /= p.sum(axis=1, keepdims=True)
    return p, np.log(p.mean(axis=0))


@pytest.fixture(scope="module")
def clicks(world):
    """One click per user, drawn from the true probabilities."""
    rng = np.random.default_rng(6)
    return Ragged.from_lists([rng.choice(N_ITEMS, 1, p=row) for row in world[0]])


def source(scores):
    return lambda rows: scores[rows]


@pytest.mark.parametrize(("weight", "missing"), [(0, 1), (1, 0), (2, -1), (0.5, 0.5)])
def test_the_popularity_left_out_of_the_scores_is_found(world, clicks, weight, missing):
    p, log_q = world
    pmi = np.log(p) - log_q
    offsets = np.random.default_rng(0).normal(0, 5, (N_USERS, 1))  # a constant per user changes nothing
    fit = missing_popularity(source(pmi + weight * log_q + offsets), clicks, log_q + 3.0)
    assert fit.low < missing < fit.high
    assert fit.high - fit.low < 0.3
    assert (fit.users, fit.clicks) == (N_USERS, N_USERS)


def test_seen_items_stay_out_of_the_softmax(world):
    p, log_q = world
    popular = np.argsort(-log_q)[:15]
    rng = np.random.default_rng(7)
    left = p.copy()
    left[:, popular] = 0
    left /= left.sum(axis=1, keepdims=True)
    relevant = Ragged.from_lists([[rng.choice(N_ITEMS, p=row)] for row in left])
    seen = Ragged.from_lists([popular] * N_USERS)
    fit = missing_popularity(source(np.log(p)), relevant, log_q, excluded=seen)
    assert fit.low < 0 < fit.high
    assert missing_popularity(source(np.log(p)), relevant, log_q).high < -0.5


def test_several_clicks_of_one_user_need_their_order(world):
    p, log_q = world
    rng = np.random.default_rng(8)
    items = np.array([rng.choice(N_ITEMS, 10, replace=False, p=row) for row in p])
    rows, times = np.repeat(np.arange(N_USERS), 10), np.tile(np.arange(10), N_USERS)
    relevant = Ragged.from_pairs(rows, items.ravel(), N_USERS)
    clicked_at = relevant.earliest(rows, items.ravel(), times)
    fit = missing_popularity(source(np.log(p)), relevant, log_q, clicked_at=clicked_at)
    assert fit.low < 0 < fit.high
    assert missing_popularity(source(np.log(p)), relevant, log_q).high < -0.1


def log_likelihood(delta, scores, log_q, relevant, seen, times, users):
    """The definition, click by click."""
    total = 0.0
    for user in users:
        order = np.argsort(times[relevant.offsets[user] : relevant.offsets[user + 1]])
        left = np.setdiff1d(np.arange(len(log_q)), seen[user])
        for item in relevant[user][order]:
            logits = scores[user] + delta * log_q
            total += logits[item] - np.log(np.exp(logits[left]).sum())
            left = left[left != item]
    return total


def test_the_interval_agrees_with_fitting_every_draw_again():
    rng = np.random.default_rng(9)
    n_users, n_items = 25, 12
    log_q = np.log(rng.dirichlet(np.ones(n_items)))
    scores = rng.normal(size=(n_users, n_items))
    relevant = Ragged.from_lists([rng.choice(6, rng.integers(1, 4), replace=False) for _ in range(n_users)])
    seen = Ragged.from_lists([rng.choice(np.arange(6, 12), 2, replace=False) for _ in range(n_users)])
    times = rng.random(len(relevant.values))

    def refit(users):
        return minimize_scalar(
            lambda delta: -log_likelihood(delta, scores, log_q, relevant, seen, times, users),
            bounds=(-5, 5),
            method="bounded",
        ).x

    fit = missing_popularity(source(scores), relevant, log_q, excluded=seen, clicked_at=times, resamples=150, seed=4)
    assert fit.delta == pytest.approx(refit(range(n_users)), abs=1e-4)
    draws = np.random.default_rng(4)
    refitted = [refit(draws.integers(0, n_users, n_users)) for _ in range(150)]
    width = fit.high - fit.low
    np.testing.assert_allclose([fit.low, fit.high], np.quantile(refitted, [0.025, 0.975]), atol=0.03 * width)


def test_a_sample_of_users_bounds_the_work(world, clicks):
    p, log_q = world
    asked = []

    def counting(rows):
        asked.extend(rows.tolist())
        return np.log(p)[rows]

    fit = missing_popularity(counting, clicks, log_q, max_users=40, seed=1)
    assert fit.users == fit.clicks == len(set(asked)) == 40


def test_users_without_clicks_are_never_scored(world):
    p, log_q = world
    asked = []

    def counting(rows):
        asked.extend(rows.tolist())
        return np.log(p)[rows]

    fit = missing_popularity(counting, Ragged.from_lists([[], [1, 2], [], [4]]), log_q)
    assert set(asked) == {1, 3}
    assert (fit.users, fit.clicks) == (2, 3)


@pytest.mark.parametrize(
    ("relevant", "log_q"),
    [
        ([[], []], [-1.0, -2.0, -3.0]),  # no clicks
        ([[0], [1]], [-1.0, -1.0, -1.0]),  # one popularity
        ([[0], [0]], [-1.0, -2.0, -3.0]),  # only ever the most popular: δ is infinite
        ([[2], [2]], [-1.0, -2.0, -3.0]),  # only ever the least popular
    ],
)
def test_clicks_that_do_not_determine_it_give_nan(relevant, log_q):
    fit = missing_popularity(source(np.zeros((2, 3))), Ragged.from_lists(relevant), np.array(log_q))
    assert np.isnan([fit.delta, fit.low, fit.high]).all()


def test_nothing_else_to_choose_gives_nan():
    seen = Ragged.from_lists([[1, 2]])
    fit = missing_popularity(
        source(np.zeros((1, 3))), Ragged.from_lists([[0]]), np.array([-1.0, -2.0, -3.0]), excluded=seen
    )
    assert np.isnan(fit.delta)


def test_a_click_that_was_certain_says_nothing():
    log_q = np.array([-1.0, -2.0, -4.0])
    scores = np.array([[100.0, 0.0, -100.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    relevant = Ragged.from_lists([[0, 1], [1], [2]])  # the first user's second click drowns in rounding
    fit = missing_popularity(source(scores), relevant, log_q, clicked_at=np.arange(4), resamples=20)
    others = missing_popularity(source(scores), Ragged.from_lists([[], [1], [2]]), log_q)
    assert fit.delta == pytest.approx(others.delta, abs=1e-6)


def test_draws_that_do_not_determine_it_leave_a_finite_interval():
    # A draw of one user only: all clicks on the most popular, on the least popular, or nothing to choose.
    log_q = np.array([-1.0, -2.0, -4.0])
    seen = Ragged.from_lists([[], [], [0, 2]])
    fit = missing_popularity(
        source(np.zeros((3, 3))), Ragged.from_lists([[0], [2], [1]]), log_q, excluded=seen, resamples=200
    )
    assert -10 < fit.low < fit.delta < fit.high < 10


def test_a_handful_of_users_gives_a_wide_interval_within_range():
    rng = np.random.default_rng(0)
    widths = []
    for _ in range(300):
        n_users, n_items = rng.integers(2, 6), rng.integers(3, 8)
        scores = rng.normal(size=(n_users, n_items)) * rng.choice([0, 1, 6])
        relevant = Ragged.from_lists([[rng.integers(n_items)] for _ in range(n_users)])
        fit = missing_popularity(source(scores), relevant, rng.normal(size=n_items) * 4, resamples=100)
        if np.isfinite(fit.delta):
            assert -20 <= fit.low <= fit.high <= 20
            widths.append(fit.high - fit.low)
    assert len(widths) > 100
    assert np.median(widths) > 0.3


def test_one_user_gives_no_interval():
    fit = missing_popularity(source(np.zeros((1, 3))), Ragged.from_lists([[1]]), np.array([-1.0, -2.0, -4.0]))
    assert np.isfinite(fit.delta)
    assert np.isnan([fit.low, fit.high]).all()


@pytest.mark.parametrize("step", [50.0, 300.0])
def test_scores_far_apart_still_find_the_maximum(step):
    # Newton's first step from a nearly certain softmax would leave the range; the bracket holds it.
    log_q = np.array([0.0, -step / 10, -step / 5])
    scores = np.array([[0.0, step, 2 * step]] * 2)
    fit = missing_popularity(source(scores), Ragged.from_lists([[1], [0]]), log_q, resamples=10)
    assert 5 < fit.delta < 15


def test_what_does_not_fit_together_is_refused(world, clicks):
    p, log_q = world
    scores = source(np.log(p))
    with pytest.raises(ValueError, match="excluded item"):
        missing_popularity(scores, clicks, log_q, excluded=clicks)
    with pytest.raises(ValueError, match="log_q has 79"):
        missing_popularity(scores, Ragged.from_lists([[0]]), log_q[:-1])
    with pytest.raises(ValueError, match="position 99"):
        missing_popularity(scores, Ragged.from_lists([[99]]), log_q)
    with pytest.raises(ValueError, match="clicked_at"):
        missing_popularity(scores, clicks, log_q, clicked_at=np.zeros(3))
    with pytest.raises(ValueError, match="finite number per item"):
        missing_popularity(scores, clicks, np.append(log_q[:-1], -np.inf))


def test_the_slope_is_the_least_squares_one(world):
    p, log_q = world
    scores = np.log(p)
    seen = Ragged.from_lists([[1, 5, 7] if user % 2 else [] for user in range(N_USERS)])
    slopes = slope_on_log_q(source(scores), N_USERS, log_q, excluded=seen, block_size=64)
    for user in (0, 1, 64, 499):
        left = np.setdiff1d(np.arange(N_ITEMS), seen[user])
        assert slopes[user] == pytest.approx(np.polyfit(log_q[left], scores[user, left], 1)[0])
    more = slope_on_log_q(source(scores + 0.5 * log_q), N_USERS, log_q, excluded=seen)
    np.testing.assert_allclose(more - slopes, 0.5)


def test_the_slope_is_nan_where_popularity_does_not_vary():
    seen = Ragged.from_lists([[0], []])
    slopes = slope_on_log_q(source(np.ones((2, 3))), 2, np.array([-9.0, -1.0, -1.0]), excluded=seen)
    assert np.isnan(slopes[0])
    assert slopes[1] == 0
