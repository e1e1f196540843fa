import numpy as np
import pytest

from twotower_assets.core.ragged import Ragged
from twotower_assets.evaluation.bootstrap import bootstrap_interval
from twotower_assets.evaluation.popularity_metrics import popularity_lift
from twotower_assets.evaluation.summary import catalogue_values, evaluate_lists, user_values

COUNTS = np.array([50, 30, 10, 10, 0])  # head, mid, tail, tail, cold
LISTS = np.array([[0, 1, 4], [2, 0, 1], [3, 0, 2]])
RELEVANT = Ragged.from_lists([[0, 1, 3], [0], [4]])
PROFILE = Ragged.from_lists([[2], [3], [1]])


@pytest.fixture(scope="module")
def rows():
    return evaluate_lists(LISTS, RELEVANT, PROFILE, COUNTS, ks=(1, 3), resamples=50)


def value(rows, metric, k, bucket="all"):
    (row,) = [row for row in rows if (row.metric, row.k, row.bucket) == (metric, k, bucket)]
    return row.value, row.users


def test_every_metric_stands_once_per_depth(rows):
    names = [(row.metric, row.bucket) for row in rows if row.k == 3]
    assert len(set(names)) == len(names) == len(rows) / 2
    popularity = "coverage gini average_recommendation_popularity aplt novelty popularity_lift calibration"
    assert {metric for metric, _ in names} == {"recall", "ndcg", "mrr", "hit_rate", *popularity.split()}
    assert {bucket for _, bucket in names} == {"all", "head", "mid", "tail", "cold", "beyond_head"}


def test_recall_per_bucket_is_over_the_users_who_have_any(rows):
    assert value(rows, "recall", 3) == (pytest.approx((2 / 3 + 1 + 0) / 3), 3)
    assert value(rows, "recall", 3, "head") == (1.0, 2)
    assert value(rows, "recall", 3, "mid") == (1.0, 1)
    assert value(rows, "recall", 3, "tail") == (0.0, 1)
    assert value(rows, "recall", 3, "cold") == (0.0, 1)
    assert value(rows, "recall", 3, "beyond_head") == (pytest.approx((1 / 2 + 0) / 2), 2)


def test_the_catalogue_numbers_have_no_interval(rows):
    assert value(rows, "coverage", 1) == (pytest.approx(3 / 5), 3)
    for row in rows:
        if row.metric in ("coverage", "gini"):
            assert np.isnan([row.low, row.high]).all()
        elif row.users > 1:
            assert row.low <= row.value <= row.high


def test_a_bucket_that_nobody_has_is_nan_over_no_users():
    rows = evaluate_lists(LISTS, Ragged.from_lists([[0], [0], []]), PROFILE, COUNTS, ks=(1,), resamples=5)
    assert np.isnan(value(rows, "recall", 1, "cold")[0])
    assert value(rows, "recall", 1, "cold")[1] == 0


def test_arrays_of_other_users_are_refused():
    with pytest.raises(ValueError, match="same users"):
        evaluate_lists(LISTS, RELEVANT, Ragged.from_lists([[0]]), COUNTS)


def per_user(metric, k, bucket="all", relevant=RELEVANT):
    found = {row[:3]: row[3] for row in user_values(LISTS, relevant, PROFILE, COUNTS, ks=(1, 3))}
    return found[metric, k, bucket]


def test_values_of_users_against_numbers_worked_by_hand():
    np.testing.assert_allclose(per_user("recall", 3), [2 / 3, 1, 0])
    np.testing.assert_allclose(per_user("recall", 1), [1 / 3, 0, 0])
    np.testing.assert_allclose(per_user("mrr", 3), [1, 1 / 2, 0])
    np.testing.assert_allclose(per_user("hit_rate", 1), [1, 0, 0])
    np.testing.assert_allclose(per_user("ndcg", 3)[1], 1 / np.log2(3))
    np.testing.assert_allclose(per_user("average_recommendation_popularity", 3), [80 / 3, 30, 70 / 3])
    np.testing.assert_allclose(per_user("aplt", 1), [0, 1, 1])
    np.testing.assert_allclose(per_user("novelty", 1), [1, np.log2(10), np.log2(10)])
    np.testing.assert_allclose(per_user("calibration", 1), [1, 0, 1], atol=1e-12)


def test_a_user_who_does_not_count_is_nan_and_stays_in_place():
    np.testing.assert_allclose(per_user("recall", 3, "beyond_head"), [1 / 2, np.nan, 0])
    np.testing.assert_allclose(per_user("recall", 3, "cold"), [np.nan, np.nan, 0])
    assert per_user("recall", 3, "mid").tolist()[0] == 1.0


def test_the_catalogue_is_one_number_of_all_lists():
    found = {row[:3]: row[3] for row in catalogue_values(LISTS, PROFILE, COUNTS, ks=(1, 3))}
    assert {metric for metric, *_ in found} == {"coverage", "gini", "popularity_lift"}
    assert found["coverage", 1, "all"] == pytest.approx(3 / 5)
    assert found["gini", 1, "all"] == pytest.approx(0.4)  # shown 0, 0, 1, 1, 1 times
    assert found["popularity_lift", 1, "all"] == pytest.approx((50 + 10 + 10) / (10 + 10 + 30) - 1)


def test_rows_are_the_values_of_users_and_of_the_catalogue(rows):
    expected = [
        (metric, k, bucket, bootstrap_interval(values, resamples=50))
        for metric, k, bucket, values in user_values(LISTS, RELEVANT, PROFILE, COUNTS, ks=(1, 3))
    ]
    for metric, k, bucket, interval in expected:
        (row,) = [row for row in rows if (row.metric, row.k, row.bucket) == (metric, k, bucket)]
        np.testing.assert_equal(
            [row.value, row.low, row.high, row.users], [interval.mean, interval.low, interval.high, interval.users]
        )
    catalogue = list(catalogue_values(LISTS, PROFILE, COUNTS, ks=(1, 3)))
    for metric, k, bucket, number in catalogue:
        assert value(rows, metric, k, bucket)[0] == number
    assert len(rows) == len(expected) + len(catalogue)


def test_the_popularity_lift_keeps_its_interval(rows):
    (row,) = [row for row in rows if (row.metric, row.k) == ("popularity_lift", 3)]
    lift = popularity_lift(LISTS, PROFILE, COUNTS, 3, resamples=50)
    assert (row.value, row.low, row.high, row.users) == (lift.mean, lift.low, lift.high, 3)
    assert row.low < row.value < row.high


def test_values_of_other_users_are_refused():
    with pytest.raises(ValueError, match="lists 3, relevant 3, profile 1"):
        list(user_values(LISTS, RELEVANT, Ragged.from_lists([[0]]), COUNTS))
    with pytest.raises(ValueError, match="lists 3, profile 1"):
        list(catalogue_values(LISTS, Ragged.from_lists([[0]]), COUNTS, ks=(1,)))
