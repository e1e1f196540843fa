"""Every recipe, with every kind of tower, passes the checks that are shipped, through both engines."""

from __future__ import annotations

import itertools

import pytest
from pydantic import ValidationError

from two_tower.every_source import negatives
from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.recipes.recipes import load_recipes
from twotower_assets.testing import CHECKS, Check
from twotower_assets.testing.suite import check_engines, check_gradients
from twotower_assets.two_tower.loss.objective import Objective

RECIPES = load_recipes()
TOWERS = {
    "compiled": {},
    "own user tower": {"user_tower": "two_tower.own_towers:Attention"},
    "own item tower": {"item_tower": "two_tower.own_towers:Categories"},
}
CASES = [
    (recipe, towers, engine, check)
    for recipe, towers, engine, check in itertools.product(RECIPES, TOWERS, ["cpu", "torch"], CHECKS)
]


@pytest.mark.every_pair(("recipe", "towers", "engine", "check"), CASES)
def test_every_recipe_passes_every_check(recipe: str, towers: str, engine: str, check: Check) -> None:
    check({**RECIPES[recipe].training, **TOWERS[towers]}, engine)


@pytest.mark.parametrize("check", CHECKS)
def test_a_loss_of_ones_own_passes_every_check(check: Check) -> None:
    check({"loss": "two_tower.own_towers:hinge", "negatives": negatives("in_batch", "uniform"), "item_bias": True})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("two_tower.own_towers:no_loss", "must be a function of `Logits`"),
        ("two_tower.own_towers:nothing", "no function nothing"),
        ("no_such_module:loss", "cannot be imported"),
    ],
)
def test_a_loss_that_cannot_be_used_is_refused_with_the_reason(name: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainingConfig(loss=name)


def test_a_loss_of_ones_own_leaves_the_weight_of_popularity_unknown_and_needs_the_engine_torch(logged_market) -> None:
    market = logged_market.configured(loss="two_tower.own_towers:hinge")
    assert not market.config.trained_weight_is_known
    with pytest.raises(ValueError, match="needs the engine `torch`"):
        Objective(market.training_set(), market.config, engine="cpu")


BROKEN = {
    "vectors of some rows depend on others": ("Crowd", "vector in another order"),
    "no gradient reaches a parameter": ("Detached", "gradient"),
    "weights differ between two towers of a seed": ("Unseeded", "two towers of the same seed"),
    "a number leaves the device": ("Waiting", "meta"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_tower_that_is_wrong_fails_a_check_with_a_sentence(what: str) -> None:
    name, message = BROKEN[what]
    failures = []
    for check in CHECKS:
        try:
            check({"user_tower": f"two_tower.own_towers:{name}"})
        except (AssertionError, NotImplementedError, RuntimeError) as error:
            failures.append(str(error))
    assert any(message in failure for failure in failures), failures


@pytest.mark.parametrize("check", [check_gradients, check_engines])
def test_the_penalty_of_learned_biases_has_its_gradient(check: Check) -> None:
    check({"item_bias": True, "item_bias_penalty": 1.0})
