"""What assets, groups, steps and jobs are called."""

from __future__ import annotations

import dagster as dg
import pytest

from twotower_assets.defs.naming import Naming, group_of, key_of


def test_the_key_of_an_asset_starts_with_its_group() -> None:
    assert key_of("exposure_log") == dg.AssetKey(["features", "exposure_log"])


def test_an_asset_outside_every_group_is_refused() -> None:
    with pytest.raises(KeyError, match="nothing belongs to no group"):
        group_of("nothing")


def test_a_prefix_stands_before_keys_and_in_the_names_of_steps_and_jobs() -> None:
    naming = Naming(("shop", "eu-west"))
    assert naming.key_of("items") == dg.AssetKey(["shop", "eu-west", "sources", "items"])
    assert naming.definition_name("training_job") == "shop_eu_west_training_job"


def test_a_group_is_shown_under_the_name_that_it_is_given() -> None:
    naming = Naming(group_names={"training": "models", "promotion": "go_live"})
    assert [naming.group_name_of(name) for name in ("tower_checkpoint", "champion", "items")] == [
        "models",
        "go_live",
        "sources",
    ]


def test_an_unknown_group_name_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown group 'trainings' in group_names"):
        Naming(group_names={"trainings": "models"})
