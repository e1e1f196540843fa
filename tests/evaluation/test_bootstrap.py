import numpy as np
import pytest

from twotower_assets.evaluation import bootstrap
from twotower_assets.evaluation.bootstrap import bootstrap_interval, bootstrap_ratio


def test_users_without_a_value_are_excluded():
    interval = bootstrap_interval(np.array([1.0, np.nan, 3.0, np.nan]))
    assert (interval.mean, interval.users) == (2.0, 2)


def test_the_interval_is_that_of_the_mean():
    values = np.random.default_rng(0).normal(5, 2, 400)
    interval = bootstrap_interval(values, resamples=4000)
    margin = 1.96 * values.std() / 20
    np.testing.assert_allclose(
        [interval.low, interval.high], [values.mean() - margin, values.mean() + margin], atol=0.02
    )


def test_the_normal_interval_for_many_users_agrees_with_the_bootstrap(monkeypatch):
    rng = np.random.default_rng(1)
    above, below = rng.exponential(3, 500), rng.exponential(2, 500)
    drawn = bootstrap_ratio(above, below, resamples=4000)
    monkeypatch.setattr(bootstrap, "MAX_RESAMPLED_USERS", 100)
    normal = bootstrap_ratio(above, below)
    assert normal.mean == drawn.mean
    assert normal == bootstrap_ratio(above, below, seed=1)  # nothing is drawn
    width = drawn.high - drawn.low
    np.testing.assert_allclose([normal.low, normal.high], [drawn.low, drawn.high], atol=0.06 * width)


def test_a_wider_level_gives_a_wider_interval():
    values = np.random.default_rng(0).random(50)
    narrow, wide = bootstrap_interval(values, level=0.5), bootstrap_interval(values, level=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_the_seed_decides_the_draws():
    values = np.random.default_rng(0).random(50)
    assert bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)


def test_nobody_gives_nothing_and_one_user_gives_no_interval():
    nobody = bootstrap_interval(np.array([np.nan]))
    assert nobody.users == 0
    assert np.isnan([nobody.mean, nobody.low, nobody.high]).all()
    one = bootstrap_interval(np.array([2.0]))
    assert (one.mean, one.users) == (2.0, 1)
    assert np.isnan([one.low, one.high]).all()


def test_a_ratio_is_of_the_means():
    ratio = bootstrap_ratio(np.array([1.0, 3.0]), np.array([1.0, 1.0]))
    assert ratio.mean == 2.0
    assert np.isnan(bootstrap_ratio(np.ones(3), np.zeros(3)).mean)


def test_without_draws_there_is_the_ratio_alone():
    alone = bootstrap_ratio(np.array([1.0, 3.0, 5.0]), np.ones(3), resamples=0)
    assert (alone.mean, alone.users) == (3.0, 3)
    assert np.isnan([alone.low, alone.high]).all()


@pytest.mark.filterwarnings("error")
def test_draws_without_a_denominator_leave_no_warning_and_no_finite_end():
    ratio = bootstrap_ratio(np.ones(40), np.eye(40)[0])
    assert ratio.mean == 40.0
    assert not np.isfinite(ratio.high)


def test_what_cannot_be_averaged_is_refused():
    with pytest.raises(ValueError, match="infinite"):
        bootstrap_interval(np.array([1.0, np.inf]))
    with pytest.raises(ValueError, match="level"):
        bootstrap_interval(np.ones(3), level=1.0)
    with pytest.raises(ValueError, match="one value per user"):
        bootstrap_ratio(np.ones(3), np.ones(2))


def test_the_shared_draws_give_the_interval_of_each_draw_by_itself():
    values = np.random.default_rng(3).random(150)
    means = [values[drawn].mean() for drawn in bootstrap.resampled_users(150, 200, 7)]
    found = bootstrap.bootstrap_interval(values, 0.9, 200, 7)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.05, 0.95])))
