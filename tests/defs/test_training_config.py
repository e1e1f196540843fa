"""What a run may change about a training, as Dagster sees it."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from twotower_assets.defs.training_config import NOT_IN_LAUNCHPAD, TowerTrainingConfig, shown_in_launchpad, split_config
from twotower_assets.experiments.train_recipe import changed_settings
from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.recipes.recipes import Recipe
from twotower_assets.settings import Settings

SETTINGS = Settings(window_days=30, history_length=100)
LOG = logging.getLogger(__name__)
PLAIN = Recipe(name="plain", description="The defaults.")
HOT = Recipe(name="hot", description="A higher temperature.", training={"temperature": 0.5, "correction": "none"})
LONG = Recipe(name="long", description="A long history.", training={"history_length": 500})


def test_a_run_that_changes_nothing_trains_the_recipe_on_the_whole_window() -> None:
    for recipe in (PLAIN, HOT):
        assert split_config(TowerTrainingConfig(), recipe, SETTINGS, LOG) == ({}, 30)


def test_a_run_may_change_a_setting_of_its_recipe_and_train_on_fewer_days() -> None:
    config = TowerTrainingConfig(temperature=0.3, epochs=7, window_days=7)
    changes, days = split_config(config, HOT, SETTINGS, LOG)
    assert (changes, days) == ({"temperature": 0.3, "epochs": 7}, 7)
    config = HOT.config(**changes)
    assert (config.temperature, config.epochs, config.correction) == (0.3, 7, "none")


def test_a_window_beyond_that_of_the_features_is_refused() -> None:
    with pytest.raises(ValueError, match="look back 30 days; raise TWOTOWER_WINDOW_DAYS"):
        split_config(TowerTrainingConfig(window_days=31), PLAIN, SETTINGS, LOG)


@pytest.mark.parametrize(("recipe", "config"), [(PLAIN, {"history_length": 500}), (LONG, {})])
def test_a_longer_history_than_pairs_keep_is_cut_to_theirs_and_logged(
    caplog: pytest.LogCaptureFixture, recipe: Recipe, config: dict[str, int]
) -> None:
    with caplog.at_level(logging.INFO):
        changes, _ = split_config(TowerTrainingConfig(**config), recipe, SETTINGS, LOG)
    assert recipe.config(**changes).history_length == 100
    assert "TWOTOWER_HISTORY_LENGTH" in caplog.text


def test_a_history_of_the_length_that_pairs_keep_is_left_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        changes, _ = split_config(TowerTrainingConfig(history_length=100), LONG, SETTINGS, LOG)
    assert changes == {"history_length": 100}
    assert not caplog.text


@pytest.mark.parametrize("wrong", [{"temperature": 0}, {"dimensions": 1}, {"correction": "both"}, {"window_days": 0}])
def test_a_setting_out_of_range_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        TowerTrainingConfig(**wrong)


def test_the_launchpad_shows_the_range_and_the_default_of_a_setting() -> None:
    fields = TowerTrainingConfig.model_fields
    assert "(≥ 2, ≤ 2048)" in str(fields["dimensions"].description)
    assert "0.2" in str(fields["temperature"].description)


def test_the_launchpad_offers_every_training_setting_but_the_sources_of_negatives() -> None:
    offered = set(TowerTrainingConfig.model_fields) - {"recipe", "window_days"}
    assert offered == set(TrainingConfig.model_fields) - set(NOT_IN_LAUNCHPAD)


def test_a_recipe_is_changed_by_what_makes_it_one_and_not_by_size_effort_or_seed() -> None:
    config = HOT.config(correction="logq", positive_aware_share=0.9, epochs=7, temperature=0.1, seed=3)
    assert set(changed_settings(config, HOT)) == {"correction", "positive_aware_share"}
    assert list(changed_settings(HOT.config(epochs=7, seed=3), HOT)) == []


def test_every_training_setting_is_in_the_documentation() -> None:
    table = (Path(__file__).parents[2] / "docs" / "assets.md").read_text()
    documented = {
        name for row in table.splitlines() if row.startswith("| `") for name in re.findall("`([a-z_]+)`", row)
    }
    assert set(TrainingConfig.model_fields) <= documented


def test_a_value_that_is_the_recipes_own_is_no_change() -> None:
    config = TowerTrainingConfig(temperature=0.5, correction="none", epochs=7)
    assert split_config(config, HOT, SETTINGS, LOG)[0] == {"epochs": 7}


def test_the_launchpad_starts_with_no_longer_history_than_pairs_keep() -> None:
    shown = shown_in_launchpad(Settings(recipe="long"), {"long": LONG})
    assert shown is not None
    assert shown["history_length"] == 100
