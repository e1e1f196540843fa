"""The comparison of recipes: one training per recipe and seed on the same pairs, and a table of all of them.

A backfill over the recipes is the ablation.
"""

from collections.abc import Mapping
from datetime import date
from functools import partial
from typing import Any

import dagster as dg
from pydantic import Field

from twotower_assets.defs.code_version import code_version, sql_files
from twotower_assets.defs.failures import expected_errors_as_failures
from twotower_assets.defs.launch_checks import checked_at_launch
from twotower_assets.defs.metadata import comparison_metadata
from twotower_assets.defs.partitions import Partitions, recipe_partitions
from twotower_assets.defs.plan import Plan
from twotower_assets.defs.preconditions import require_training_inputs
from twotower_assets.defs.publish import run_of, table_result
from twotower_assets.defs.specs import table_spec
from twotower_assets.defs.training_config import changes_for, window_for
from twotower_assets.experiments.compare_recipes import compare_recipes
from twotower_assets.experiments.evaluate_recipes import RUN_TABLES
from twotower_assets.experiments.train_seeds import SeedsRequest, train_seeds
from twotower_assets.lake.lake import LakeError
from twotower_assets.recipes.recipes import SHIPPED, Recipe, load_recipes, recipe_named
from twotower_assets.settings import Settings

BASELINE = "logq"


class NegativeSamplingConfig(dg.Config):
    """Configuration shared by all recipes of a comparison."""

    model_day: str | None = Field(
        None, description="Train as of this day. Default: the last daily partition that has ended."
    )
    window_days: int | None = Field(
        None, description="Days of pairs to train on; by default TWOTOWER_WINDOW_DAYS.", ge=1
    )
    seeds: list[int] = Field([0, 1, 2], min_length=1, description="One training per seed.")
    training: dict[str, Any] = Field(
        {},
        description='Training settings for all recipes, over their own, such as {"temperature": 0.5, "epochs": 10}. '
        "They are listed at tower_checkpoint.",
    )


class ComparisonConfig(dg.Config):
    """Configuration of the comparison."""

    baseline: str = Field(BASELINE, description="The recipe that gains are measured against.")


def recipe_assets(plan: Plan) -> list[dg.AssetsDefinition]:
    """`negative_sampling_runs` and `negative_sampling_comparison`."""

    @plan.step(
        "negative_sampling_runs",
        table_spec(
            "negative_sampling_runs",
            plan,
            used_for="finding out which way of sampling negatives works on this data set. Materialize some recipes, or "
            "all of them as a backfill, then `negative_sampling_comparison`.",
            deps=[
                *map(plan.every_day_dep, ("training_pairs", "exposure_log")),
                *map(plan.dep, ("items", "users")),
            ],
            kinds={"pytorch", "duckdb"},
            version=code_version(["experiments.train_seeds"], [*sql_files("training/*.sql"), SHIPPED]),
            note="Every recipe trains on the same pairs, as of the last day, with the same seeds and the same "
            "maximum of epochs, and is evaluated on the same test clicks. Writes "
            f"{', '.join(f'`{name}`' for name in RUN_TABLES)}.",
        ),
        partitions_def=recipe_partitions(plan.settings),
    )
    def negative_sampling_runs(
        context: dg.AssetExecutionContext, config: NegativeSamplingConfig
    ) -> dg.MaterializeResult:
        with expected_errors_as_failures():
            workspace, settings = plan.workspace(context), plan.workspace(context).settings
            recipe = recipe_named(load_recipes(settings.recipes_file), context.partition_key)
            changes = changes_for(config.training, recipe, settings, context.log)
            day, window_days = _model_day(config.model_day, plan.partitions), window_for(config.window_days, settings)
            require_training_inputs(context, plan, workspace, day, window_days, exposures=True)
            request = SeedsRequest(day, window_days, config.seeds, config.training)
            run = run_of(context, "negative_sampling_runs")
            return table_result(context, train_seeds(workspace, recipe, changes, request, run))

    @plan.step(
        "negative_sampling_comparison",
        table_spec(
            "negative_sampling_comparison",
            plan,
            used_for="choosing a recipe: set its name in TWOTOWER_RECIPE or in the launchpad of `tower_checkpoint`.",
            deps=[plan.every_day_dep("negative_sampling_runs")],
            kinds={"duckdb"},
            version=code_version(["experiments.compare_recipes"]),
            note="Gains are paired by user against the baseline recipe, with bootstrap intervals. The "
            "recommendation chooses on the validation split and reports its evidence on the test split.",
        ),
    )
    def negative_sampling_comparison(
        context: dg.AssetExecutionContext, config: ComparisonConfig
    ) -> dg.MaterializeResult:
        with expected_errors_as_failures():
            workspace = plan.workspace(context)
            made = compare_recipes(workspace, config.baseline, run_of(context, "negative_sampling_comparison"))
            shown = comparison_metadata(made, workspace.settings.popularity_weight)
            return table_result(context, made.written, **shown)

    recipes = load_recipes(plan.settings.recipes_file)
    comparable = partial(_require_comparable, plan.settings, recipes, plan.partitions)
    return [
        checked_at_launch(negative_sampling_runs, NegativeSamplingConfig, comparable),
        checked_at_launch(negative_sampling_comparison, ComparisonConfig, choices={"baseline": list(recipes)}),
    ]


def _require_comparable(
    settings: Settings,
    recipes: Mapping[str, Recipe],
    partitions: Partitions,
    requested: Mapping[str, Any],
) -> None:
    """Check settings that no recipe could be trained with. Raises `ValueError`.

    Settings that are invalid for a single recipe are reported when that recipe is trained.
    """
    if requested["model_day"]:
        _model_day(requested["model_day"], partitions)
    window_for(requested["window_days"], settings)
    recipe_named(recipes, BASELINE).config(**requested["training"])


def _model_day(day: str | None, partitions: Partitions) -> date:
    key = day or partitions.get_last_partition_key()
    if key is None:
        raise LakeError("no daily partition has ended yet, so there is nothing to train on")
    if not partitions.has_partition_key(key):
        raise ValueError(
            f"model_day '{key}' is not a daily partition; partitions range from "
            f"{partitions.get_first_partition_key()} to {partitions.get_last_partition_key()}"
        )
    return date.fromisoformat(key)
