import numpy as np
import pytest

from twotower_assets.retrieval.index import ItemIndexError
from twotower_assets.retrieval.quality import measure_index

WEIGHTS = {"γ = 0": -1.0, "γ = ½": -0.5, "γ = 1": 0.0}


@pytest.fixture
def measure(catalogue):
    def measure(index, **changes):
        arguments = {
            "item_vectors": catalogue.vectors,
            "user_vectors": catalogue.users,
            "log_q": catalogue.log_q,
            "bias": catalogue.bias,
            "weights": WEIGHTS,
            "threads": 1,
        }
        return measure_index(index, **(arguments | changes))

    return measure


def test_every_index_gets_one_row_per_weight(index, factory, measure):
    rows = measure(index)
    assert [(row.name, row.weight) for row in rows] == list(WEIGHTS.items())
    for row in rows:
        assert (row.k, row.queries, row.threads) == (100, 200, 1)
        assert row.queries_per_second > 0
        assert row.recall_at_k == 1.0 if factory == "Flat" else 0.9 < row.recall_at_k <= 1.0


def test_recall_falls_where_the_index_looks_in_few_lists(build, measure):
    shallow, deep = (measure(build("IVF64,Flat", search_depth=depth)) for depth in (1, 64))
    assert all(row.recall_at_k < 0.9 for row in shallow)
    assert all(row.recall_at_k == 1.0 for row in deep)


def test_recall_is_the_share_of_the_exact_list(build, measure, catalogue, exact_scores):
    index = build("IVF64,Flat", search_depth=2)
    exact = np.argsort(-exact_scores(np.full(200, 0.5)), axis=1)[:, :30]
    found = index.search(catalogue.users, 30, 0.5)[1]
    expected = np.mean([len(set(a) & set(b)) / 30 for a, b in zip(found, exact, strict=True)])
    (row,) = measure(index, weights={"w": 0.5}, k=30)
    assert row.recall_at_k == pytest.approx(expected, abs=1e-3)


def test_items_of_equal_score_cost_no_recall(build, measure, catalogue):
    twins = {
        "item_vectors": np.repeat(catalogue.vectors[:30], 50, axis=0),
        "log_q": np.repeat(catalogue.log_q[:30], 50),
        "bias": None,
    }
    (row,) = measure(build("IVF4,Flat", search_depth=4, **twins), k=20, weights={"w": 1.0}, **twins)
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


def test_nobody_to_measure_with_is_refused(build, measure):
    with pytest.raises(ItemIndexError, match="no user vectors"):
        measure(build(), user_vectors=np.empty((0, 16)))
