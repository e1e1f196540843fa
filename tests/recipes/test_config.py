from __future__ import annotations

import subprocess
import sys
from typing import Any, get_args

import pydantic
import pytest

from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.recipes.negative_settings import Negatives

BATCH = {"source": "in_batch"}
UNIFORM = {"source": "uniform", "count": 8}
QUEUE = {"source": "cross_batch", "count": 8}
EXPOSED = {"source": "exposed", "per_positive": 1}
MINED = {"source": "mined", "per_positive": 1, "recipe": "other"}


def popularity(exponent: float) -> dict[str, Any]:
    return {"source": "popularity", "count": 8, "exponent": exponent}


def category(treatment: str = "corrected") -> dict[str, Any]:
    return {"source": "category", "per_positive": 1, "treatment": treatment}


def context(treatment: str = "corrected") -> dict[str, Any]:
    return {"source": "context", "per_positive": 1, "treatment": treatment}


def config(*negatives: dict[str, Any], **changes: Any) -> TrainingConfig:
    return TrainingConfig.model_validate({"negatives": list(negatives) or [BATCH], **changes})


@pytest.mark.parametrize(
    ("negatives", "correction", "weight", "known"),
    [
        ([BATCH], "none", 0.0, True),
        ([BATCH], "logq", 1.0, True),
        ([BATCH], "logq_positive_excluded", 1.0, True),
        ([UNIFORM], "none", 1.0, True),
        ([UNIFORM], "logq", 1.0, True),
        ([popularity(0.75)], "none", 0.25, True),
        ([popularity(0.0)], "none", 1.0, True),
        ([popularity(2.0)], "none", -1.0, True),
        ([popularity(0.75)], "logq", 1.0, True),
        ([BATCH, popularity(1.0)], "none", 0.0, True),
        ([BATCH, QUEUE], "none", 0.0, True),
        ([BATCH, QUEUE, UNIFORM], "logq_positive_excluded", 1.0, True),
        ([BATCH, UNIFORM], "none", 0.0, False),
        ([BATCH, UNIFORM], "logq", 1.0, True),
        ([BATCH, popularity(0.75)], "none", 0.0, False),
        ([category()], "none", 1.0, False),
        ([category()], "logq", 1.0, True),
        ([BATCH, category()], "none", 0.0, False),
        ([BATCH, category(), context()], "logq", 1.0, True),
        ([BATCH, category("uncorrected")], "logq", 1.0, False),
        ([BATCH, context("uncorrected")], "none", 0.0, False),
        ([BATCH, EXPOSED], "logq", 1.0, False),
        ([BATCH, EXPOSED], "logq_positive_excluded", 1.0, False),
        ([BATCH, EXPOSED], "none", 0.0, False),
        ([EXPOSED], "none", 1.0, False),
        ([BATCH, MINED], "logq", 1.0, False),
    ],
)
def test_the_popularity_weight_trained_to_follows_from_negatives_and_correction(
    negatives: list[dict[str, Any]], correction: str, weight: float, known: bool
) -> None:
    one = config(*negatives, correction=correction)
    assert one.trained_popularity_weight == pytest.approx(weight)
    assert one.trained_weight_is_known is known


def test_a_learned_bias_or_temperature_changes_nothing_about_the_popularity_weight() -> None:
    for correction, weight in (("none", 0.0), ("logq", 1.0)):
        one = config(correction=correction, item_bias=True, learn_temperature=True)
        assert one.trained_popularity_weight == weight
        assert one.trained_weight_is_known


def test_masking_near_negatives_makes_the_popularity_weight_unknown() -> None:
    one = config(positive_aware_share=0.95)
    assert one.has_uncorrected
    assert not one.trained_weight_is_known
    assert one.trained_popularity_weight == 1.0


def test_every_source_says_whether_it_is_uncorrected() -> None:
    known = {"in_batch", "uniform", "popularity", "cross_batch", "category", "context"}
    for settings in (BATCH, UNIFORM, popularity(0.5), QUEUE, category(), context(), EXPOSED, MINED):
        one = config(BATCH, settings) if settings is not BATCH else config(BATCH)
        assert one.negatives[-1].uncorrected is (settings["source"] not in known)
    assert {one.model_fields["source"].default for one in get_args(Negatives)} == known | {"exposed", "mined", "own"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"negatives": [BATCH, UNIFORM, UNIFORM]},
            "each source may be used once, but they are in_batch, uniform, uniform",
        ),
        (
            {"negatives": [EXPOSED]},
            "correction 'logq' needs negatives of a known proposal, but exposed are uncorrected",
        ),
        (
            {"negatives": [MINED, EXPOSED], "correction": "logq_positive_excluded"},
            "needs negatives of a known proposal, but mined, exposed are uncorrected",
        ),
        ({"negatives": [category("uncorrected")]}, "needs negatives of a known proposal, but category are uncorrected"),
        (
            {"negatives": [BATCH, category()], "correction": "logq_positive_excluded"},
            "needs proposals that do not depend on the positive, but category negatives do; use 'logq'",
        ),
        (
            {"negatives": [BATCH, context("uncorrected")], "correction": "logq_positive_excluded"},
            "context negatives do; use 'logq'",
        ),
        ({"correction": "logq_positive_excluded", "positive_aware_share": 0.9}, "use 'logq'"),
        (
            {"negatives": [BATCH, MINED | {"first_rank": 50, "last_rank": 49}]},
            "last_rank 49 is less than first_rank 50",
        ),
        ({"negatives": [QUEUE, UNIFORM]}, "cross_batch negatives have no gradient"),
        ({"negatives": []}, "at least 1 item"),
        ({"negatives": [{"source": "oracle"}]}, "does not match any of the expected tags"),
        ({"negatives": [{"source": "uniform"}]}, "count"),
        ({"negatives": [{"source": "uniform", "count": 0}]}, "greater than or equal to 1"),
        ({"negatives": [EXPOSED | {"weight": 0.0}]}, "greater than 0"),
        ({"negatives": [category() | {"minimum_items": 1}]}, "greater than or equal to 2"),
        ({"negatives": [UNIFORM | {"per_positive": 2}]}, "Extra inputs"),
        ({"positive_aware_share": 1.5}, "less than or equal to 1"),
        ({"masks": ["liked"]}, "'clicked' or 'same_request'"),
    ],
)
def test_recipes_that_contradict_themselves_are_refused_with_the_reason(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=message):
        TrainingConfig.model_validate(changes)


@pytest.mark.parametrize(
    "change",
    [{"temperature": 0.0}, {"unknown_id_share": 1.0}, {"batch_size": 1}, {"correction": "log_q"}, {"lr": 1}],
)
def test_values_out_of_range_and_unknown_names_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(pydantic.ValidationError):
        TrainingConfig.model_validate(change)


def test_a_configuration_survives_json_with_every_source() -> None:
    one = config(BATCH, UNIFORM, popularity(0.5), QUEUE, category(), context("uncorrected"), EXPOSED, MINED)
    assert TrainingConfig.model_validate_json(one.model_dump_json()) == one


def test_every_field_explains_itself() -> None:
    models = (TrainingConfig, *get_args(Negatives))
    fields = [field for model in models for name, field in model.model_fields.items() if name != "source"]
    assert all(field.description for field in fields)
    assert all(model.__doc__ for model in models)


def test_reading_the_configuration_does_not_load_torch() -> None:
    code = "import sys, twotower_assets.recipes.config; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_former_name_of_the_uncorrected_treatment_is_accepted() -> None:
    for former, current in ((category("margin"), category("uncorrected")), (context("margin"), context("uncorrected"))):
        accepted = config(BATCH, former)
        assert accepted == config(BATCH, current)
        assert accepted.model_dump(mode="json") == config(BATCH, current).model_dump(mode="json")
        assert accepted.has_uncorrected
