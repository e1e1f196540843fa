import numpy as np
import pytest

from twotower_assets.core.buckets import BUCKETS, COLD, HEAD, MID, TAIL, popularity_buckets


def test_buckets_follow_the_cumulative_share_of_clicks():
    # In order 40, 20, 15, 10, 10, 5: before each 0, 40, 60, 75, 85, 95 of 100.
    counts = np.array([10, 40, 0, 20, 5, 15, 10])
    assert popularity_buckets(counts).tolist() == [MID, HEAD, COLD, HEAD, TAIL, MID, TAIL]


def test_a_share_met_exactly_closes_the_bucket():
    assert popularity_buckets(np.array([50, 30, 20])).tolist() == [HEAD, MID, TAIL]


def test_equal_counts_go_by_position():
    assert popularity_buckets(np.array([1] * 10)).tolist() == [HEAD] * 5 + [MID] * 3 + [TAIL] * 2


def test_a_single_item_is_head():
    assert popularity_buckets(np.array([3])).tolist() == [HEAD]


def test_without_clicks_everything_is_cold():
    assert popularity_buckets(np.zeros(3, dtype=np.int64)).tolist() == [COLD] * 3
    assert popularity_buckets(np.zeros(0)).tolist() == []


def test_names_stand_at_their_numbers():
    assert [BUCKETS[b] for b in (HEAD, MID, TAIL, COLD)] == ["head", "mid", "tail", "cold"]


@pytest.mark.parametrize("counts", [[1, -1], [1.0, np.nan], [[1, 2]]])
def test_what_is_no_count_per_item_is_refused(counts):
    with pytest.raises(ValueError, match="counts"):
        popularity_buckets(np.array(counts))
