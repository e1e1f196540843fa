"""Which recipes are comparable, and that they are compared user by user; not how models are evaluated."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from twotower_assets.experiments.evaluate_recipes import (
    RecipeResults,
    TrainingEvaluation,
    comparable_runs,
    comparison_rows,
    require_served_weight,
)
from twotower_assets.lake.tables import TABLES

AS_THE_BASELINE = {
    "status": "trained",
    "data_fingerprint": "these pairs",
    "changes": '{"epochs": 2}',
    "popularity_weight": 1.0,
    "popularity_from": "clicks",
}


def runs_of(*recipes: dict[str, Any]) -> pl.DataFrame:
    """Runs of the baseline `logq` with two seeds, and of other recipes, with two seeds where none are given."""
    rows = []
    for one in ({"recipe": "logq"}, *recipes):
        given = {**AS_THE_BASELINE, **one}
        seeds = given.pop("seeds", [0, 1])
        rows += [{**given, "seed": seed} for seed in seeds]
    return pl.DataFrame(rows)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"data_fingerprint": "others"}, "trained on other data than the baseline"),
        ({"data_fingerprint": "others", "status": "not applicable", "seeds": [0]}, "trained on other data"),
        ({"seeds": [0]}, "trained with seeds [0], the baseline with [0, 1]"),
        ({"seeds": [0, 1, 2]}, "trained with seeds [0, 1, 2], the baseline with [0, 1]"),
        ({"changes": "{}"}, 'trained with the changes {}, the baseline with {"epochs": 2}'),
        ({"popularity_weight": 0.5}, "evaluated at γ = 0.5 of clicks, the baseline at γ = 1 of clicks"),
        ({"popularity_from": "impressions"}, "evaluated at γ = 1 of impressions, the baseline at γ = 1 of clicks"),
    ],
)
def test_a_recipe_trained_differently_from_the_baseline_is_excluded(other: dict[str, Any], reason: str) -> None:
    kept, excluded = comparable_runs(runs_of({"recipe": "other", **other}, {"recipe": "like it"}), "logq")
    assert set(excluded) == {"other"}
    assert excluded["other"].startswith(reason)
    assert set(kept["recipe"]) == {"logq", "like it"}


@pytest.mark.parametrize("other", [{"seeds": [1, 0]}, {"status": "not applicable", "seeds": [0]}])
def test_the_order_of_seeds_does_not_matter_and_what_is_not_applicable_has_none(other: dict[str, Any]) -> None:
    kept, excluded = comparable_runs(runs_of({"recipe": "other", **other}), "logq")
    assert excluded == {}
    assert set(kept["recipe"]) == {"logq", "other"}


def test_a_baseline_that_was_not_trained_is_an_error_that_says_what_to_do() -> None:
    runs = runs_of({"recipe": "barred", "status": "not applicable", "seeds": [0]})
    for baseline in ("barred", "never"):
        with pytest.raises(LookupError, match=f"'{baseline}' was not trained; materialize recipes/negative_sampling"):
            comparable_runs(runs, baseline)


def test_a_baseline_that_was_evaluated_at_another_weight_than_is_served_is_an_error() -> None:
    runs = runs_of()
    require_served_weight(runs, "logq", 1.0, "clicks")
    for served in ((0.5, "clicks"), (1.0, "impressions")):
        with pytest.raises(LookupError, match=r"was evaluated at γ = 1 of clicks, but γ = .* is served"):
            require_served_weight(runs, "logq", *served)


def compared(users: dict[str, dict[str, float]], metrics: dict[str, list[float | None]]) -> dict[str, dict[str, Any]]:
    """Recipes beside `logq` in a metric, given its values per user, and over all users per seed."""
    place = {"metric": "recall", "k": 20, "bucket": "all"}
    user_values = [
        {"recipe": recipe, **place, "user_id": user, "value": value}
        for recipe, values in users.items()
        for user, value in values.items()
    ]
    of_seeds = [
        {"recipe": recipe, "seed": seed, "popularity_weight": weight, **place, "value": value, "users": 4}
        for recipe, values in metrics.items()
        for seed, value in enumerate(values)
        for weight in (0.0, 1.0)
    ]
    schema = {"recipe": pl.String, "metric": pl.String, "k": pl.Int64, "bucket": pl.String}
    empty = pl.DataFrame(schema={**schema, "user_id": pl.String, "value": pl.Float64})
    frame = pl.DataFrame(user_values) if user_values else empty
    rows = comparison_rows(pl.DataFrame(of_seeds, infer_schema_length=None), frame, "logq", 1.0)
    return {row["recipe"]: row for row in rows}


def test_recipes_are_paired_by_user_in_whatever_order_the_rows_are() -> None:
    own = {"ann": 0.1, "bob": 0.5, "cid": 0.2, "dan": 0.9}
    twice = {user: 2 * value for user, value in reversed(own.items())}
    found = compared({"logq": own, "twice": twice}, {"logq": [0.425, 0.425], "twice": [0.85, 0.85]})["twice"]
    assert found["gain_percent"] == pytest.approx(100)
    assert (found["gain_low"], found["gain_high"]) == (pytest.approx(100), pytest.approx(100))
    assert (found["users"], found["seeds"], found["baseline"]) == (4, 2, "logq")


def test_the_gain_is_over_the_users_whom_both_have_and_the_value_over_a_recipes_own() -> None:
    own = {"ann": 0.2, "bob": 0.4}
    found = compared({"logq": own, "other": {"bob": 0.6, "cid": 0.9}}, {"logq": [0.3, 0.3], "other": [0.75, 0.75]})
    assert found["other"]["gain_percent"] == pytest.approx(50)
    assert found["other"]["value"] == pytest.approx(0.75)
    assert found["logq"]["value"] == pytest.approx(0.3)


def test_a_metric_of_the_whole_catalogue_has_a_gain_and_a_deviation_and_no_interval() -> None:
    found = compared({}, {"logq": [0.4, 0.6], "other": [0.9, 0.6]})
    assert found["other"]["gain_percent"] == pytest.approx(50)
    assert found["other"]["seed_deviation"] == pytest.approx(0.2121, abs=1e-4)
    assert (found["other"]["low"], found["other"]["gain_low"], found["logq"]["gain_percent"]) == (None, None, None)


def test_what_nobody_has_a_value_of_is_null_and_no_number() -> None:
    found = compared({}, {"logq": [None, None], "other": [None, None]})
    for row in found.values():
        assert (row["value"], row["seed_deviation"], row["gain_percent"]) == (None, None, None)


def test_the_values_of_users_are_means_over_seeds_without_users_that_do_not_count() -> None:
    recall, coverage = ("recall", 20, "all"), ("recall", 100, "tail")
    results = RecipeResults({"recipe": "mine"})
    for values, tail in (([0.2, np.nan, 0.6], [np.nan] * 3), ([0.4, np.nan, 0.6], [np.nan, np.nan, 1.0])):
        user_values = {recall: np.array(values), coverage: np.array(tail)}
        results.evaluations.append(TrainingEvaluation({"seed": 0}, [], [], ["ann", "bob", "cid"], user_values))
    found = results.user_metrics()
    assert found.columns == list(TABLES["negative_sampling_user_metrics"].column_names)
    assert found.rows() == [
        ("mine", "recall", 20, "all", "ann", pytest.approx(0.3)),
        ("mine", "recall", 20, "all", "cid", pytest.approx(0.6)),
    ]


def test_a_recipe_that_cannot_be_trained_has_a_row_with_the_reason_and_no_values() -> None:
    tables = RecipeResults({"recipe": "mine"}, reason="no category").tables()
    (row,) = tables["negative_sampling_runs"].to_dicts()
    assert (row["recipe"], row["status"], row["reason"]) == ("mine", "not applicable", "no category")
    assert [len(frame) for frame in tables.values()] == [1, 0, 0, 0]
    assert all(frame.columns == list(TABLES[name].column_names) for name, frame in tables.items())
