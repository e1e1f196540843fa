import numpy as np
import pytest

from twotower_assets.core.buckets import COLD, HEAD, MID, TAIL
from twotower_assets.core.popularity import log_q
from twotower_assets.core.ragged import Ragged
from twotower_assets.evaluation import popularity_metrics as p

# Items 0 … 4 with 50, 30, 10, 10, 0 clicks: head, mid, tail, tail, cold.
COUNTS = np.array([50, 30, 10, 10, 0])
BUCKETS = np.array([HEAD, MID, TAIL, TAIL, COLD], dtype=np.int8)
LISTS = np.array([[0, 1, 4], [0, 2, -1], [-1, -1, -1]])


def test_exposure_counts_places_without_padding():
    assert p.exposure_counts(LISTS, 5, 3).tolist() == [2, 1, 1, 0, 1]
    assert p.exposure_counts(LISTS, 5, 1).tolist() == [2, 0, 0, 0, 0]
    with pytest.raises(ValueError, match="item 4"):
        p.exposure_counts(LISTS, 4, 3)


def test_coverage_is_the_share_of_the_catalogue_shown():
    assert p.coverage_at_k(LISTS, 5, 3) == 4 / 5
    assert p.coverage_at_k(LISTS, 5, 1) == 1 / 5


def test_gini_of_known_distributions():
    assert p.gini(np.ones(7)) == pytest.approx(0)
    assert p.gini(np.array([0, 0, 0, 5])) == pytest.approx(3 / 4)
    assert p.gini(np.array([3, 1])) == pytest.approx(1 / 4)  # mean difference 2·2/4 over twice the mean 2
    assert np.isnan(p.gini(np.zeros(3)))


def test_the_lorenz_curve_encloses_the_gini_coefficient():
    exposure = np.random.default_rng(0).zipf(1.5, 50).clip(max=1000)
    items, share = p.lorenz_curve(exposure)
    assert (items[0], share[0], items[-1], share[-1]) == (0, 0, 1, 1)
    assert 1 - 2 * np.trapezoid(share, items) == pytest.approx(p.gini(exposure))
    assert len(p.lorenz_curve(exposure, points=11)[0]) == 11
    with pytest.raises(ValueError, match="no item is shown"):
        p.lorenz_curve(np.zeros(3))


def test_average_recommendation_popularity_is_the_mean_of_clicks_in_each_list():
    expected = [80 / 3, 30, np.nan]
    np.testing.assert_allclose(p.average_recommendation_popularity(LISTS, COUNTS, 3), expected)


def test_tail_share_counts_tail_and_cold():
    np.testing.assert_allclose(p.tail_share(LISTS, BUCKETS, 3), [1 / 3, 1 / 2, np.nan])


def test_novelty_is_in_bits_and_finite_for_cold_items():
    popularity = log_q(COUNTS)
    expected = [-np.log2([0.5, 0.3, 0.005]).mean(), -np.log2([0.5, 0.1]).mean(), np.nan]
    np.testing.assert_allclose(p.novelty(LISTS, popularity, 3), expected)


def test_popularity_lift_is_the_ratio_of_mean_popularities_less_one():
    profile = Ragged.from_lists([[2, 3], [1], [0]])  # means 10 and 30; the third user has an empty list
    lift = p.popularity_lift(LISTS, profile, COUNTS, 3)
    assert lift.mean == pytest.approx((80 / 3 + 30) / (10 + 30) - 1)
    assert lift.users == 2
    assert lift.low <= lift.mean <= lift.high


def test_calibration_is_the_jensen_shannon_divergence_in_bits():
    lists = np.array([[0, 1], [0, 0], [0, 2], [0, 1]])
    profile = Ragged.from_lists([[0, 1], [1], [0], []])
    # Third user: list (½, 0, ½, 0) against profile (1, 0, 0, 0), mean (¾, 0, ¼, 0).
    third = 0.5 * (0.5 * np.log2(0.5 / 0.75) + 0.5 * np.log2(0.5 / 0.25)) + 0.5 * np.log2(1 / 0.75)
    np.testing.assert_allclose(p.calibration(lists, profile, BUCKETS, 2), [0, 1, third, np.nan], atol=1e-12)


def test_exposure_by_bucket_sets_exposure_against_clicks():
    rows = p.exposure_by_bucket(LISTS, COUNTS, 3)
    assert [row.bucket for row in rows] == ["head", "mid", "tail", "cold"]
    np.testing.assert_allclose([row.item_share for row in rows], [0.2, 0.2, 0.4, 0.2])
    np.testing.assert_allclose([row.click_share for row in rows], [0.5, 0.3, 0.2, 0])
    np.testing.assert_allclose([row.exposure_share for row in rows], [0.4, 0.2, 0.2, 0.2])


def test_lists_shorter_than_the_depth_are_refused():
    with pytest.raises(ValueError, match="first 4"):
        p.coverage_at_k(LISTS, 5, 4)
