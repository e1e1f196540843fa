from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from two_tower.every_source import negatives
from twotower_assets.two_tower.data.item_sets import ItemSets
from twotower_assets.two_tower.sampling.batch_problem import BatchProblem
from twotower_assets.two_tower.sampling.negative_sampler import NegativeSampler

BATCH = np.arange(0, 120)


def sample(market, *names: str, **changes: Any) -> BatchProblem:
    market = market.configured(negatives=negatives(*names), **changes)
    data = market.training_set()
    users = np.arange(1, len(data.user_inputs.ids))
    mined = ItemSets.from_members(users, 1 + users % 9, len(data.user_inputs.ids), len(data.item_counts))
    sampler = NegativeSampler(data, market.config, mined)
    return sampler.draw(BATCH, np.random.default_rng(3))


def test_candidates_of_one_item_are_one_column_that_counts_them(logged_market) -> None:
    problem = sample(logged_market, "in_batch", "uniform", "popularity", masks=[], unknown_id_share=0.0)
    shared, pairs = problem.candidates, problem.batch.item
    assert len(set(shared.item.tolist())) == len(shared)
    assert shared.positive_count.sum() == len(BATCH)
    assert shared.count.sum() == len(BATCH) + 24 + 24
    for item, positive_count in zip(shared.item.tolist(), shared.positive_count.tolist(), strict=True):
        assert positive_count == (pairs == item).sum()
    assert (problem.item[problem.softmax.pair_index[:, 0]] == pairs).all()
    assert (shared.request == -1).all()


def test_pairs_whose_id_is_hidden_have_a_column_of_their_own(logged_market) -> None:
    problem = sample(logged_market, "in_batch", masks=[], unknown_id_share=0.5)
    data, shared = problem.batch.data, problem.candidates
    hidden = problem.items.ids[: len(shared)] != data.item_inputs.ids[shared.item]
    assert 0 < shared.count[hidden].sum() < len(BATCH)
    assert (problem.items.ids[: len(shared)][hidden] == 0).all()
    both = set(shared.item[hidden].tolist()) & set(shared.item[~hidden].tolist())
    assert both, "an item seen and hidden in one batch"
    assert shared.count.sum() == len(BATCH)


def test_pairs_of_different_requests_have_separate_columns_where_requests_are_masked(logged_market) -> None:
    problem = sample(logged_market, "in_batch", masks=["same_request"], unknown_id_share=0.0)
    request = problem.batch.data.request[BATCH]
    found = {
        (item, request_index): count
        for item, request_index, count in zip(
            problem.candidates.item, problem.candidates.request, problem.candidates.count, strict=True
        )
    }
    assert len(found) == len(problem.candidates)
    for item, request_index in {*zip(problem.batch.item.tolist(), request.tolist(), strict=True)}:
        assert found[item, request_index] == ((problem.batch.item == item) & (request == request_index)).sum()


@pytest.mark.parametrize("in_batch", [True, False])
def test_per_row_negatives_are_embedded_but_are_no_shared_column(logged_market, *, in_batch: bool) -> None:
    names = ("in_batch", "category", "mined") if in_batch else ("category", "mined")
    problem = sample(logged_market, *names, correction="none", masks=[], unknown_id_share=0.0)
    assert problem.row_negatives.shape == (len(BATCH), 5)
    assert (problem.item[problem.softmax.pair_index[:, 1:]] == problem.row_negatives).all()
    assert (problem.item[problem.softmax.pair_index[:, 0]] == problem.batch.item).all()
    assert len(problem.candidates) == (len(set(problem.batch.item.tolist())) if in_batch else 0)
    assert len(problem.item) > len(problem.candidates)


@pytest.mark.parametrize(("treatment", "corrected"), [("corrected", True), ("uncorrected", False)])
def test_only_negatives_that_are_corrected_change_the_logits_of_their_set(
    logged_market, treatment: str, *, corrected: bool
) -> None:
    category = negatives("category")[0] | {"treatment": treatment}
    market = logged_market.configured(negatives=[*negatives("in_batch"), category], correction="logq")
    problem = NegativeSampler(market.training_set(), market.config).draw(BATCH, np.random.default_rng(3))
    assert (len(problem.softmax.row_corrections.columns) > 0) is corrected
