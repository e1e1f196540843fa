"""Recipes trained on the market side by side: the five tables, their metadata, and the commands."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from end_to_end.market import (
    COMPARED,
    Compared,
    instance_of,
    metadata,
    rows,
    twotower,
    workspace_in,
    write_settings,
)
from twotower_assets.defs.build import build_definitions
from twotower_assets.defs.naming import GROUPS, key_of
from twotower_assets.defs.runs import ComparedRecipes
from twotower_assets.lake.tables import RECIPES
from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.recipes.recipes import load_recipes
from twotower_assets.workspace import Workspace

TRAINED = {"in_batch": (0.0, True), "logq": (1.0, True), "hard_category": (1.0, True)}
TRAINED |= {"hard_exposure_1": (1.0, False), "deep": (1.0, False)}
"""γ₀ of each recipe, and whether it is known."""
SEEDS = (0, 1)
RECALL = "metric = 'recall' AND k = 20 AND bucket = 'all'"


@pytest.fixture(scope="module")
def workspace(compared: Compared) -> Workspace:
    return workspace_in(compared.home)


@pytest.fixture(scope="module")
def comparison_metadata(workspace: Workspace) -> dict[str, Any]:
    """The metadata of the comparison."""
    with instance_of(workspace) as instance:
        event = instance.get_latest_materialization_event(key_of("negative_sampling_comparison"))
    assert event
    assert event.asset_materialization
    return metadata(event.asset_materialization)


@pytest.fixture(scope="module")
def runs(workspace: Workspace) -> dict[tuple[str, int], dict[str, Any]]:
    """`negative_sampling_runs` by recipe and seed."""
    with workspace.lake.reader() as con:
        found = con.execute("FROM negative_sampling_runs").to_arrow_table().to_pylist()
    return {(row["recipe"], row["seed"]): row for row in found}


def test_a_recipe_of_ones_own_is_a_partition_after_the_shipped_ones(workspace: Workspace) -> None:
    asset = build_definitions(workspace.settings).resolve_asset_graph().get(key_of("negative_sampling_runs"))
    assert asset.partitions_def
    assert asset.partitions_def.get_partition_keys() == [*load_recipes(), "deep"]


@pytest.mark.parametrize("table", [table.name for table in RECIPES])
def test_the_rows_of_a_table_are_identified_by_its_grain(workspace: Workspace, table: str) -> None:
    (grain,) = (each.grain for each in RECIPES if each.name == table)
    counts = f"SELECT count(*), count(DISTINCT ({', '.join(grain)})) FROM {table}"
    ((total, distinct),) = rows(workspace, counts)
    assert total == distinct > 0


def test_the_checks_of_all_five_tables_have_run_and_pass(workspace: Workspace) -> None:
    keys = build_definitions(workspace.settings).resolve_asset_graph().asset_check_keys
    own = [key for key in keys if key.asset_key.path[-1] in GROUPS["recipes"]]
    for name in ("metrics", "user_metrics", "diagnostics"):
        assert f"negative_sampling_{name}_rows_are_unique" in {key.name for key in own}
    with instance_of(workspace) as instance:
        for key in own:
            record = instance.get_latest_asset_check_evaluation_record(key)
            assert record, f"{key} did not run"
            assert record.event.dagster_event.asset_check_evaluation_data.passed, key  # type: ignore[union-attr]


def test_there_is_a_run_per_seed_and_one_with_a_reason_where_a_recipe_cannot_be_trained(runs: dict[Any, Any]) -> None:
    assert set(runs) == {*itertools.product(TRAINED, SEEDS), ("hard_mined", 0)}
    for (recipe, _), row in runs.items():
        if recipe == "hard_mined":
            assert row["status"] == "not applicable"
            assert "41 items, so none has rank 101" in row["reason"]
            assert (row["loss"], row["trained_popularity_weight"], row["negatives_per_positive"]) == (None, None, None)
        else:
            assert (row["status"], row["reason"]) == ("trained", None)
            assert (row["trained_popularity_weight"], row["trained_weight_is_known"]) == TRAINED[recipe]
            assert (row["epochs"], row["inverse_temperature"]) == (2, 5.0)
            assert 1 <= row["best_epoch"] <= 2
            assert row["seconds"] > 0
    assert len({row["data_fingerprint"] for row in runs.values()}) == 1


def test_a_run_keeps_every_setting_with_which_it_was_trained(workspace: Workspace, runs: dict[Any, Any]) -> None:
    recipes = load_recipes(workspace.settings.recipes_file)
    for (recipe, seed), row in runs.items():
        assert json.loads(row["changes"]) == COMPARED
        assert (row["popularity_weight"], row["popularity_from"]) == (1.0, "clicks")
        config = recipes[recipe].config(**COMPARED, seed=seed)
        assert TrainingConfig.model_validate_json(row["settings"]) == config


def test_seeds_give_different_models(runs: dict[Any, Any]) -> None:
    for recipe in TRAINED:
        assert runs[recipe, 0]["loss"] != runs[recipe, 1]["loss"]


def test_what_is_left_and_what_is_masked_add_up_to_the_candidates(runs: dict[Any, Any]) -> None:
    def candidates(recipe: str) -> float:
        row = runs[recipe, 0]
        return float(row["negatives_per_positive"] + sum(row[name] for name in row if name.startswith("masked_")))

    own = candidates("in_batch")
    assert 40 < own < 64  # the batch of 64 without the pair itself; the last batch is smaller
    assert candidates("logq") == own
    assert own + 1.5 < candidates("hard_category") < own + 2  # two of the category, where an item has one
    assert own + 0.5 < candidates("hard_exposure_1") < own + 1.001
    assert own + 1.5 < candidates("deep") < own + 2.001
    for recipe in TRAINED:
        row = runs[recipe, 0]
        assert row["masked_accidental_hits"] > 0
        assert row["masked_clicked"] > 0
        assert row["masked_same_request"] == row["masked_positive_aware"] == 0


def test_metrics_are_there_at_every_weight_and_agree_with_those_per_user_when_served(
    workspace: Workspace,
) -> None:
    weights: dict[Any, set[float]] = defaultdict(set)
    for recipe, seed, weight, value in rows(
        workspace, f"SELECT recipe, seed, popularity_weight, value FROM negative_sampling_metrics WHERE {RECALL}"
    ):
        weights[recipe, seed].add(weight)
        assert 0 < value <= 1
    assert weights == {run: {0.0, 0.25, 0.5, 0.75, 1.0} for run in itertools.product(TRAINED, SEEDS)}
    differing = rows(
        workspace,
        """
        WITH per_seed AS (
            SELECT recipe, metric, k, bucket, avg(value) AS value, any_value(users) AS users
            FROM negative_sampling_metrics
            WHERE popularity_weight = 1 AND value IS NOT NULL
            GROUP BY ALL
        ),
        per_user AS (
            SELECT recipe, metric, k, bucket, avg(value) AS value, count(*) AS users
            FROM negative_sampling_user_metrics
            GROUP BY ALL
        )
        SELECT
            count(*),
            count(*) FILTER (abs(per_seed.value - per_user.value) > 1e-9 OR per_seed.users != per_user.users)
        FROM per_user JOIN per_seed USING (recipe, metric, k, bucket)
        """,
    )
    assert differing[0][0] > 100
    assert differing[0][1] == 0


def test_missing_popularity_falls_by_what_is_added_of_it(workspace: Workspace) -> None:
    found = defaultdict(dict)  # type: ignore[var-annotated]
    for recipe, seed, weight, delta in rows(
        workspace, "SELECT recipe, seed, popularity_weight, delta FROM negative_sampling_diagnostics"
    ):
        found[recipe, seed][weight] = delta
    assert set(found) == set(itertools.product(TRAINED, SEEDS))
    for deltas in found.values():
        assert set(deltas) == {0.0, 0.5, 1.0}
        if deltas[0.0] is not None:
            assert deltas[0.0] - deltas[1.0] == pytest.approx(1.0)


def test_gains_are_those_over_the_users_whom_both_recipes_have(workspace: Workspace) -> None:
    by_user: dict[str, dict[str, float]] = defaultdict(dict)
    for recipe, user, value in rows(
        workspace, f"SELECT recipe, user_id, value FROM negative_sampling_user_metrics WHERE {RECALL}"
    ):
        by_user[recipe][user] = value
    compared = rows(
        workspace,
        "SELECT recipe, baseline, value, gain_percent, gain_low, gain_high, users, seeds "
        f"FROM negative_sampling_comparison WHERE {RECALL}",
    )
    assert {row[0] for row in compared} == set(TRAINED)
    own = sum(by_user["logq"].values()) / len(by_user["logq"])
    for recipe, baseline, value, gain, low, high, users, seeds in compared:
        mean = sum(by_user[recipe].values()) / len(by_user[recipe])
        assert (baseline, users, seeds) == ("logq", len(by_user["logq"]), 2)
        assert value == pytest.approx(mean)
        if recipe == "logq":
            assert (gain, low, high) == (None, None, None)
        else:
            assert gain == pytest.approx((mean / own - 1) * 100)
            assert low <= gain <= high


def test_metrics_of_the_whole_catalogue_are_compared_without_an_interval(workspace: Workspace) -> None:
    for metric in ("coverage", "gini"):
        found = rows(
            workspace,
            "SELECT recipe, value, gain_percent, low, gain_low, seed_deviation FROM negative_sampling_comparison "
            f"WHERE metric = '{metric}' AND k = 20",
        )
        values = dict(row[:2] for row in found)
        assert set(values) == set(TRAINED)
        for recipe, value, gain, low, gain_low, deviation in found:
            assert (low, gain_low) == (None, None)
            assert deviation is not None
            if recipe == "logq":
                assert gain is None
            else:
                assert gain == pytest.approx((value / values["logq"] - 1) * 100)


def test_the_comparison_is_shown_with_a_table_charts_and_a_recommendation(comparison_metadata: dict[str, Any]) -> None:
    for recipe in (*TRAINED, "hard_mined"):
        assert f"`{recipe}`" in comparison_metadata["comparison"]
    assert "41 items" in comparison_metadata["comparison"]
    assert "- `logq` at γ = 1: δ = " in comparison_metadata["popularity"]
    assert "Compared: 5 recipes, 2 seeds each." in comparison_metadata["recommendation"]
    for chart in ("gains", "missing_popularity", "tradeoff"):
        assert comparison_metadata[chart].startswith("![")
    assert comparison_metadata["left_out"] == []
    assert comparison_metadata["dagster/row_count"] > 100


def test_a_partition_tells_its_headline_numbers(workspace: Workspace) -> None:
    wanted = dg.AssetRecordsFilter(key_of("negative_sampling_runs"), asset_partitions=["in_batch"])
    with instance_of(workspace) as instance:
        (record,) = instance.fetch_materializations(wanted, limit=1).records
    numbers = metadata(record.asset_materialization)
    ((mean,),) = rows(
        workspace, f"SELECT avg(value) FROM negative_sampling_user_metrics WHERE {RECALL} AND recipe = 'in_batch'"
    )
    assert (numbers["status"], numbers["seeds"], numbers["dagster/row_count"]) == ("trained", 2, 2)
    assert numbers["recall_at_20"] == pytest.approx(mean)


def test_compare_prints_the_table_and_the_recommendation(compared: Compared) -> None:
    for recipe in (*TRAINED, "hard_mined"):
        assert recipe in compared.output
    assert "Compared: 5 recipes" in compared.output


@pytest.mark.parametrize("arguments", [["nothing_like_it"], ["logq", "--baseline", "nothing_like_it"]])
def test_an_unknown_recipe_is_refused_before_anything_is_trained_with_those_there_are(
    compared: Compared, arguments: list[str]
) -> None:
    output = twotower(compared.home, "compare-recipes", *arguments, exit_code=1)
    assert output.startswith("error: unknown recipe 'nothing_like_it'. The recipes: in_batch, ")
    assert output.rstrip().endswith("best, deep")


def test_recipes_lists_all_there_are_with_what_they_train_to(compared: Compared) -> None:
    lines = [line.split("│") for line in twotower(compared.home, "recipes").splitlines() if "│" in line]
    weights = {cells[1].strip(): cells[2].strip() for cells in lines if cells[1].strip()}
    configs = {name: recipe.config() for name, recipe in load_recipes(compared.home / "recipes.yaml").items()}
    assert weights == {
        name: f"{config.trained_popularity_weight:g}" if config.trained_weight_is_known else "unknown"
        for name, config in configs.items()
    }


def test_recipes_gives_json_for_scripts(compared: Compared) -> None:
    found = json.loads(twotower(compared.home, "recipes", "--json"))
    assert [recipe["name"] for recipe in found] == [*load_recipes(), "deep"]
    assert found[-1]["training"]["negatives"][1]["last_rank"] == 12


def test_a_wrong_file_of_recipes_is_one_error_that_names_it(tmp_path: Path) -> None:
    wrong = tmp_path / "mine.yaml"
    wrong.write_text("mine: {description: Mine., training: {epochs: none}}")
    write_settings(tmp_path / "home", recipes=wrong)
    output = twotower(tmp_path / "home", "recipes", exit_code=1)
    assert output.startswith(f"error: {wrong}: recipe 'mine': epochs: ")


def test_a_comparison_is_printed_as_json(compared: Compared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "twotower_assets.defs.runs.compare_recipes", lambda *_: ComparedRecipes("a table", "a table", "Take logq.")
    )
    printed = json.loads(twotower(compared.home, "compare-recipes", "--json"))
    assert printed["recommendation"] == "Take logq."
    assert {row["recipe"] for row in printed["metrics"]} >= {"in_batch", "logq"}
    assert all(isinstance(row["value"], float | None) for row in printed["metrics"])
