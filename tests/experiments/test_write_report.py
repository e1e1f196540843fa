"""How a report writes the settings of a training."""

from __future__ import annotations

from twotower_assets.experiments.write_report import settings_of
from twotower_assets.recipes.config import TrainingConfig


def test_every_setting_is_told_with_its_default_and_meaning() -> None:
    settings = {setting.name: setting for setting in settings_of(TrainingConfig(temperature=0.5))}
    assert set(settings) == set(TrainingConfig.model_fields)
    assert (settings["temperature"].value, settings["temperature"].default) == ("0.5", "0.2")
    assert "divided by this temperature" in settings["temperature"].meaning
    assert {name for name, setting in settings.items() if setting.value != setting.default} == {"temperature"}


def test_negatives_are_told_by_source_with_their_options() -> None:
    config = TrainingConfig.model_validate(
        {"negatives": [{"source": "in_batch"}, {"source": "mined", "per_positive": 2, "recipe": "logq"}]}
    )
    (negatives,) = (setting for setting in settings_of(config) if setting.name == "negatives")
    assert negatives.default == "in_batch"
    assert negatives.value.startswith("in_batch, mined ")
    assert "per_positive=2" in negatives.value
    assert "recipe=logq" in negatives.value


def test_what_is_not_set_is_told_as_none() -> None:
    settings = {setting.name: setting.value for setting in settings_of(TrainingConfig(average_half_life=None))}
    assert settings["average_half_life"] == "none"
    assert settings["hidden_sizes"] == "none"
