import numpy as np
import pytest

from twotower_assets.evaluation.ranking import Ragged
from twotower_assets.evaluation.summary import evaluate_lists

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
