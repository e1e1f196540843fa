from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from twotower_assets.two_tower.data.item_sets import ItemSets
from twotower_assets.two_tower.sampling.negative_sampler import Drawn, Sources
from twotower_assets.two_tower.sampling.proposals import build_proposal

from .every_source import negatives

BATCH = np.arange(0, 120)


def drawn_of(market, *names: str, **changes: Any) -> Drawn:
    market = market.configured(negatives=negatives(*names), **changes)
    data = market.training_set()
    users = np.arange(1, len(data.user_inputs.ids))
    mined = ItemSets.from_members(users, 1 + users % 9, len(data.user_inputs.ids), len(data.item_counts))
    sources = Sources(data, market.config, build_proposal(data, market.config), mined)
    return sources.draw(BATCH, np.random.default_rng(3))


def test_candidates_of_one_item_are_one_column_that_counts_them(logged_market) -> None:
    drawn = drawn_of(logged_market, "in_batch", "uniform", "popularity", masks=[], unknown_id_share=0.0)
    shared, pairs = drawn.shared, drawn.batch.item
    assert len(set(shared.item.tolist())) == len(shared)
    assert shared.of_batch.sum() == len(BATCH)
    assert shared.count.sum() == len(BATCH) + 24 + 24
    for item, of_batch in zip(shared.item.tolist(), shared.of_batch.tolist(), strict=True):
        assert of_batch == (pairs == item).sum()
    assert (drawn.item[drawn.pair_places] == pairs).all()
    assert (shared.request == -1).all()


def test_pairs_whose_id_is_hidden_have_a_column_of_their_own(logged_market) -> None:
    drawn = drawn_of(logged_market, "in_batch", masks=[], unknown_id_share=0.5)
    data, shared = drawn.batch.data, drawn.shared
    hidden = drawn.items.ids[: len(shared)] != data.item_inputs.ids[shared.item]
    assert 0 < shared.count[hidden].sum() < len(BATCH)
    assert (drawn.items.ids[: len(shared)][hidden] == 0).all()
    both = set(shared.item[hidden].tolist()) & set(shared.item[~hidden].tolist())
    assert both, "an item seen and hidden in one batch"
    assert shared.count.sum() == len(BATCH)


def test_pairs_of_different_requests_are_told_apart_where_these_are_masked(logged_market) -> None:
    drawn = drawn_of(logged_market, "in_batch", masks=["same_request"], unknown_id_share=0.0)
    request = drawn.batch.data.request[BATCH]
    found = {
        (item, of): count
        for item, of, count in zip(drawn.shared.item, drawn.shared.request, drawn.shared.count, strict=True)
    }
    assert len(found) == len(drawn.shared)
    for item, of in {*zip(drawn.batch.item.tolist(), request.tolist(), strict=True)}:
        assert found[item, of] == ((drawn.batch.item == item) & (request == of)).sum()


@pytest.mark.parametrize("in_batch", [True, False])
def test_what_no_row_shares_is_embedded_and_is_no_column(logged_market, *, in_batch: bool) -> None:
    names = ("in_batch", "category", "mined") if in_batch else ("category", "mined")
    drawn = drawn_of(logged_market, *names, correction="none", masks=[], unknown_id_share=0.0)
    assert drawn.own.shape == (len(BATCH), 5)
    assert (drawn.item[drawn.own_places] == drawn.own).all()
    assert (drawn.item[drawn.pair_places] == drawn.batch.item).all()
    assert len(drawn.shared) == (len(set(drawn.batch.item.tolist())) if in_batch else 0)
    assert len(drawn.item) > len(drawn.shared)
