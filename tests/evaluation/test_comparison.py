import numpy as np
import pytest

from twotower_assets.evaluation import bootstrap
from twotower_assets.evaluation.bootstrap import bootstrap_interval
from twotower_assets.evaluation.comparison import Comparison, Difference, compare, paired_difference

NAN = float("nan")


def test_the_gain_is_over_the_users_who_have_both_and_the_mean_over_all_who_have_a_value():
    found = compare({"base": np.array([0.2, 0.4, NAN, 0.6]), "other": np.array([0.3, 0.6, 0.9, NAN])}, "base")
    assert found["other"].value == pytest.approx(0.6)
    assert found["other"].users == 3
    assert found["other"].gain_percent == pytest.approx(50.0)
    assert found["base"].value == pytest.approx(0.4)
    assert found["base"].users == 3


def test_the_baseline_has_a_value_and_no_gain_over_itself():
    own = np.array([0.1, 0.2, 0.6])
    found = compare({"other": own / 2, "base": own}, "base", resamples=200, seed=3)
    assert list(found) == ["other", "base"]
    assert (found["base"].gain_percent, found["base"].gain_low, found["base"].gain_high) == (None, None, None)
    interval = bootstrap_interval(own, resamples=200, seed=3)
    assert (found["base"].value, found["base"].low, found["base"].high) == (interval.mean, interval.low, interval.high)
    assert found["other"].gain_percent == pytest.approx(-50.0)


def test_users_are_drawn_in_pairs_so_that_a_constant_ratio_has_no_spread():
    own = np.random.default_rng(0).random(200)
    other = compare({"base": own, "other": 1.1 * own}, "base")["other"]
    np.testing.assert_allclose([other.gain_percent, other.gain_low, other.gain_high], [10, 10, 10])
    assert other.low < other.value < other.high


def test_a_paired_gain_sees_what_two_intervals_hide():
    rng = np.random.default_rng(1)
    own = rng.random(300)
    found = compare({"base": own, "other": own + rng.normal(0.02, 0.02, 300)}, "base")
    assert found["other"].low < found["base"].high
    assert 0 < found["other"].gain_low < found["other"].gain_percent < found["other"].gain_high


def test_a_wider_level_gives_a_wider_gain_and_the_seed_decides_the_draws():
    rng = np.random.default_rng(2)
    values = {"base": rng.random(60), "other": rng.random(60)}
    narrow, wide = compare(values, "base", level=0.5)["other"], compare(values, "base", level=0.99)["other"]
    assert wide.gain_low < narrow.gain_low < narrow.gain_high < wide.gain_high
    assert wide.low < narrow.low < narrow.high < wide.high
    assert compare(values, "base", seed=1) == compare(values, "base", seed=1)
    one, two = compare(values, "base", seed=1)["other"], compare(values, "base", seed=2)["other"]
    assert one.gain_low != two.gain_low
    assert one.low != two.low
    assert compare(values, "base", resamples=10)["other"].gain_low != compare(values, "base")["other"].gain_low


@pytest.mark.filterwarnings("error")
def test_there_is_no_gain_over_nothing():
    found = compare({"base": np.zeros(3), "other": np.ones(3)}, "base")["other"]
    assert found == Comparison(1.0, 1.0, 1.0, None, None, None, 3)


@pytest.mark.filterwarnings("error")
def test_a_gain_that_the_draws_do_not_bound_has_no_interval():
    found = compare({"base": np.eye(30)[0], "other": np.ones(30)}, "base")["other"]
    assert found.gain_percent == pytest.approx(2900)
    assert (found.gain_low, found.gain_high) == (None, None)


def test_nobody_and_one_user_leave_none_and_never_nan():
    found = compare({"base": np.array([NAN, 0.5]), "other": np.array([NAN, NAN])}, "base")
    assert found["other"] == Comparison(None, None, None, None, None, None, 0)
    assert found["base"] == Comparison(0.5, None, None, None, None, None, 1)


def test_many_users_have_the_normal_interval(monkeypatch):
    monkeypatch.setattr(bootstrap, "MAX_RESAMPLED_USERS", 10)
    rng = np.random.default_rng(3)
    found = compare({"base": rng.random(100), "other": rng.random(100)}, "base")["other"]
    assert found.gain_percent - found.gain_low == pytest.approx(found.gain_high - found.gain_percent)


def test_what_cannot_be_compared_is_refused_by_name():
    with pytest.raises(ValueError, match=r"'logq' is not among the models: 'a', 'b'"):
        compare({"a": np.ones(2), "b": np.ones(2)}, "logq")
    with pytest.raises(ValueError, match=r"'b' has values of shape \(3,\), the baseline 'a' of \(2,\)"):
        compare({"a": np.ones(2), "b": np.ones(3)}, "a")
    with pytest.raises(ValueError, match="infinite"):
        compare({"a": np.ones(2), "b": np.array([1.0, np.inf])}, "a")
    with pytest.raises(ValueError, match="level"):
        compare({"a": np.ones(2)}, "a", level=1.0)


def test_the_difference_is_over_the_users_who_have_both():
    found = paired_difference(np.array([0.5, 0.4, NAN, 0.6]), np.array([0.3, 0.1, 0.9, NAN]))
    assert (found.value, found.other_value) == (pytest.approx(0.45), pytest.approx(0.2))
    assert (found.difference, found.users) == (pytest.approx(0.25), 2)


def test_the_interval_of_a_difference_is_paired():
    rng = np.random.default_rng(0)
    other = rng.random(400)
    own = other + 0.01 + rng.normal(0, 0.01, 400)
    found = paired_difference(own, other)
    unpaired = bootstrap_interval(own).high - bootstrap_interval(own).low
    assert 0 < found.low < found.difference < found.high
    assert found.high - found.low < unpaired / 10


@pytest.mark.parametrize(("own", "users"), [(np.array([NAN, NAN]), 0), (np.array([0.5, NAN]), 1)])
def test_a_difference_of_too_few_users_has_no_interval_and_no_nan(own: np.ndarray, users: int):
    found = paired_difference(own, np.array([0.2, 0.4]))
    none = Difference(None, None, None, None, None, 0)
    assert found == (none if not users else Difference(0.5, 0.2, pytest.approx(0.3), None, None, 1))


def test_values_of_other_users_are_refused():
    with pytest.raises(ValueError, match="same users"):
        paired_difference(np.zeros(2), np.zeros(3))
