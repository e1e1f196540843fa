"""Negatives of a user's own: drawn as they say, corrected by what they say, refused where that cannot be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.testing import CHECKS, Check
from twotower_assets.two_tower.data.encoders import TrainingDataError
from twotower_assets.two_tower.sampling.negative_sampler import NegativeSampler
from twotower_assets.two_tower.sampling.negatives import Batch


def own(name: str, **options: Any) -> list[dict[str, Any]]:
    return [
        {"source": "in_batch"},
        {"source": "own", "sampler": f"two_tower.own_negatives:{name}", "per_positive": 3, **options},
    ]


SOURCES = [own("Squared"), own("Undeclared", treatment="uncorrected")]


@pytest.mark.parametrize("engine", ["cpu", "torch"])
@pytest.mark.parametrize(
    "negatives", [own("Squared"), own("Undeclared", treatment="uncorrected")], ids=["known", "not"]
)
@pytest.mark.parametrize("check", CHECKS)
def test_a_source_of_ones_own_passes_every_check(check: Check, negatives: Any, engine: str) -> None:
    check({"negatives": negatives}, engine)


def test_the_expected_count_is_how_often_an_item_is_drawn(logged_market) -> None:
    market = logged_market.configured(negatives=own("Squared", parameters={"power": 1.5}), masks=[])
    data = market.training_set()
    sampler = NegativeSampler(data, market.config)
    (source,) = sampler.sources.per_row
    batch, generator = Batch(data, np.arange(40)), np.random.default_rng(0)
    drawn = np.concatenate([source.draw(batch, generator).ravel() for _ in range(300)])
    items = np.arange(len(data.item_counts))
    expected = source.expected_count(batch, items)
    assert np.bincount(drawn, minlength=len(items)) / (300 * 40) == pytest.approx(expected, abs=0.02)
    together = sampler.correction.expected_count(batch, items)[0]
    in_batch = (len(batch) - 1) * data.item_counts / data.item_counts.sum()
    drawn_at_all = in_batch + expected > 0
    assert together[drawn_at_all] == pytest.approx((in_batch + expected)[drawn_at_all], rel=1e-6)


def test_what_the_optimum_holds_is_known_if_they_are_corrected() -> None:
    assert TrainingConfig(negatives=own("Squared")).trained_weight_is_known
    assert TrainingConfig(negatives=own("Squared")).trained_popularity_weight == 1
    assert not TrainingConfig(negatives=own("Undeclared", treatment="uncorrected")).trained_weight_is_known


@pytest.mark.parametrize(
    ("negatives", "message"),
    [
        (own("Undeclared"), "it lacks probability"),
        (own("nothing"), "no class nothing"),
        (own("Squared", parameters={"powr": 1}), "takes other parameters than those given \\(powr\\)"),
        (own("Squared", sampler="no_such_module:Squared"), "cannot be imported"),
    ],
)
def test_a_source_that_cannot_be_used_is_refused_when_recipes_are_loaded(negatives: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainingConfig(negatives=negatives)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("OutOfRange", "they must lie in 0 to"),
        ("OneTooMany", r"it must draw integers \[20, 3\]"),
        ("Improbable", "numbers from 0 to 1"),
    ],
)
def test_what_is_no_item_is_refused_when_it_is_drawn(logged_market, name: str, message: str) -> None:
    market = logged_market.configured(negatives=own(name))
    sampler = NegativeSampler(market.training_set(), market.config)
    with pytest.raises(TrainingDataError, match=message):
        sampler.draw(np.arange(20), np.random.default_rng(0))
