"""What a run may change about a training, as Dagster sees it."""

from __future__ import annotations

import logging

import pytest
from pydantic import ValidationError

from twotower_assets.assets.training import TowerTrainingConfig, split_config
from twotower_assets.settings import Settings
from twotower_assets.two_tower.config import TrainingConfig

SETTINGS = Settings(window_days=30, history_length=50)
LOG = logging.getLogger(__name__)


def test_a_run_that_changes_nothing_trains_with_the_defaults_on_the_whole_window() -> None:
    assert split_config(TowerTrainingConfig(), SETTINGS, LOG) == (TrainingConfig(), 30)


def test_a_run_may_change_a_setting_and_train_on_fewer_days() -> None:
    config, days = split_config(TowerTrainingConfig(temperature=0.5, window_days=7), SETTINGS, LOG)
    assert (config.temperature, days) == (0.5, 7)
    assert config.epochs == TrainingConfig().epochs


def test_a_window_beyond_that_of_the_features_is_refused() -> None:
    with pytest.raises(ValueError, match="look back 30 days; raise TWOTOWER_WINDOW_DAYS"):
        split_config(TowerTrainingConfig(window_days=31), SETTINGS, LOG)


def test_a_longer_history_than_pairs_keep_is_cut_to_theirs_and_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        config, _ = split_config(TowerTrainingConfig(history_length=500), SETTINGS, LOG)
    assert config.history_length == 50
    assert "TWOTOWER_HISTORY_LENGTH" in caplog.text


@pytest.mark.parametrize("wrong", [{"temperature": 0}, {"dimensions": 1}, {"correction": "both"}, {"window_days": 0}])
def test_a_setting_out_of_range_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        TowerTrainingConfig(**wrong)


def test_the_launchpad_shows_the_range_of_a_setting() -> None:
    fields = TowerTrainingConfig.model_fields
    assert "(≥ 2, ≤ 2048)" in str(fields["dimensions"].description)
    assert set(TrainingConfig.model_fields) | {"window_days"} == set(fields)
