from dataclasses import replace

import faiss
import numpy as np
import pytest

from twotower_assets.retrieval.index import ItemIndexError, depths_to_try
from twotower_assets.retrieval.quality import least_depth, measure_index

WEIGHTS = (0.0, 0.5, 1.0)


@pytest.fixture
def measure(catalogue):
    def measure(index, **changes):
        arguments = {
            "item_vectors": catalogue.vectors,
            "user_vectors": catalogue.users,
            "log_q": catalogue.log_q,
            "bias": catalogue.bias,
            "popularity_weights": WEIGHTS,
            "threads": 1,
        }
        return measure_index(index, **(arguments | changes))

    return measure


def test_every_index_gets_one_row_per_weight(index, factory, measure):
    rows = measure(index)
    assert [row.popularity_weight for row in rows] == list(WEIGHTS)
    for row in rows:
        assert (row.k, row.queries, row.threads) == (100, 200, 1)
        assert row.queries_per_second > 0
        assert row.recall_at_k == 1.0 if factory == "Flat" else 0.9 < row.recall_at_k <= 1.0


def test_recall_falls_where_the_index_looks_in_few_lists(build, measure):
    shallow, deep = (measure(build("IVF64,Flat", search_depth=depth)) for depth in (1, 64))
    assert all(row.recall_at_k < 0.9 for row in shallow)
    assert all(row.recall_at_k == 1.0 for row in deep)


def test_every_depth_has_a_row_per_weight_and_the_index_stays_at_its_own(build, measure):
    index = build("IVF64,Flat", search_depth=2)
    rows = measure(index, depths=(1, 8, 64))
    assert [(row.search_depth, row.popularity_weight) for row in rows] == [
        (depth, gamma) for depth in (1, 8, 64) for gamma in WEIGHTS
    ]
    recalls = [row.recall_at_k for row in rows if row.popularity_weight == 0.5]
    assert recalls[0] < recalls[1] < recalls[2] == 1.0
    assert faiss.extract_index_ivf(index.faiss_index).nprobe == index.search_depth == 2


def test_one_depth_beyond_enough_recall_is_measured(build, measure):
    index, depths = build("IVF64,Flat"), (1, 2, 4, 8, 16, 32, 64)
    every = measure(index, depths=depths)
    reached = least_depth(every, 0.7)
    some = measure(index, depths=depths, stop_at_recall=0.7)
    last = depths[depths.index(reached) + 1]
    assert last < depths[-1]
    assert [row.search_depth for row in some] == [depth for depth in depths if depth <= last for _ in WEIGHTS]
    assert [row.recall_at_k for row in some] == [row.recall_at_k for row in every[: len(some)]]


@pytest.fixture
def curve(build, measure):
    """Recalls .7, .9 and 1 at one weight, .9, .8 and .95 at the other."""
    (row,) = measure(build(), popularity_weights=[0.0])
    found = {(1, 0): 0.7, (1, 1): 0.9, (2, 0): 0.9, (2, 1): 0.8, (4, 0): 1.0, (4, 1): 0.95}
    return [
        replace(row, search_depth=depth, popularity_weight=gamma, recall_at_k=value)
        for (depth, gamma), value in found.items()
    ]


@pytest.mark.parametrize(("floor", "depth"), [(0.7, 1), (0.75, 2), (0.8, 2), (0.85, 4), (0.99, 4)])
def test_the_least_depth_reaches_the_floor_at_every_weight_and_is_the_deepest_where_none_does(curve, floor, depth):
    assert least_depth(curve, floor) == depth
    assert least_depth(curve[::-1], floor) == depth


def test_an_exact_index_has_no_depth(build, measure):
    rows = measure(build(), depths=depths_to_try(build()))
    assert [row.search_depth for row in rows] == [None] * 3
    assert least_depth(rows, 0.95) is None


def test_recall_is_the_share_of_the_exact_list(build, measure, catalogue, exact_scores):
    index = build("IVF64,Flat", search_depth=2)
    exact = np.argsort(-exact_scores(np.full(200, 0.5)), axis=1)[:, :30]
    found = index.search(catalogue.users, 30, 0.5)[1]
    expected = np.mean([len(set(a) & set(b)) / 30 for a, b in zip(found, exact, strict=True)])
    (row,) = measure(index, popularity_weights=[0.5], k=30)
    assert row.recall_at_k == pytest.approx(expected, abs=1e-3)


def test_items_of_equal_score_cost_no_recall(build, measure, catalogue):
    twins = {
        "item_vectors": np.repeat(catalogue.vectors[:30], 50, axis=0),
        "log_q": np.repeat(catalogue.log_q[:30], 50),
        "bias": None,
    }
    (row,) = measure(build("IVF4,Flat", search_depth=4, **twins), k=20, popularity_weights=[1.0], **twins)
    assert row.recall_at_k == 1.0


def test_a_short_catalogue_is_found_whole(build, measure, catalogue):
    few = {"item_vectors": catalogue.vectors[:5], "log_q": catalogue.log_q[:5], "bias": None}
    (row, *_) = measure(build(item_ids=catalogue.ids[:5], **few), **few)
    assert row.recall_at_k == 1.0


def test_a_sample_bounds_the_work(build, measure):
    assert {row.queries for row in measure(build(), max_queries=20)} == {20}


def test_other_vectors_than_the_index_holds_are_refused(build, measure, catalogue):
    with pytest.raises(ItemIndexError, match="it was built from"):
        measure(build(), item_vectors=catalogue.vectors[:9], log_q=catalogue.log_q[:9], bias=None)


@pytest.mark.parametrize("wrong", [-0.5, 1.5, np.nan, "0.5"])
def test_what_is_no_popularity_weight_is_refused(build, measure, wrong):
    with pytest.raises(ItemIndexError, match="popularity_weight is γ"):
        measure(build(trained_popularity_weight=1.0), popularity_weights=[wrong])


@pytest.mark.parametrize("trained", [0.0, 0.5, 1.0])
def test_an_exact_index_finds_everything_whatever_it_was_trained_to(build, measure, trained):
    assert [row.recall_at_k for row in measure(build(trained_popularity_weight=trained))] == [1.0] * 3


def test_nobody_to_measure_with_is_refused(build, measure):
    with pytest.raises(ItemIndexError, match="no user vectors"):
        measure(build(), user_vectors=np.empty((0, 16)))
