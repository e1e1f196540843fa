import subprocess
import sys

import pydantic
import pytest

from twotower_assets.two_tower.config import TrainingConfig


def test_the_popularity_weight_trained_to_follows_from_the_correction() -> None:
    assert TrainingConfig(correction="none").trained_popularity_weight == 0.0
    assert TrainingConfig(correction="logq").trained_popularity_weight == 1.0


@pytest.mark.parametrize(
    "change",
    [{"temperature": 0.0}, {"unknown_id_share": 1.0}, {"batch_size": 1}, {"correction": "log_q"}, {"lr": 1}],
)
def test_values_out_of_range_and_unknown_names_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(pydantic.ValidationError):
        TrainingConfig.model_validate(change)


def test_every_field_explains_itself() -> None:
    assert all(field.description for field in TrainingConfig.model_fields.values())


def test_reading_the_configuration_does_not_load_torch() -> None:
    code = "import sys, twotower_assets.two_tower.config; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
