"""Training: towers from the pairs of a trailing window, and a table of the epochs.

The run configuration of a training is in `defs/training_config.py`.
"""

from collections.abc import Iterator
from functools import partial

import dagster as dg

from twotower_assets.defs.code_version import code_version, sql_files
from twotower_assets.defs.failures import expected_errors_as_failures
from twotower_assets.defs.launch_checks import checked_at_launch
from twotower_assets.defs.metadata import training_metadata
from twotower_assets.defs.partitions import day_of
from twotower_assets.defs.plan import Plan
from twotower_assets.defs.preconditions import require_training_inputs
from twotower_assets.defs.publish import artifact_result, run_of, table_result
from twotower_assets.defs.specs import asset_spec, code_references, folder_of, table_spec
from twotower_assets.defs.training_config import (
    TowerTrainingConfig,
    require_trainable,
    shown_in_launchpad,
    split_config,
)
from twotower_assets.experiments.train_day import reads_exposures, train_day
from twotower_assets.recipes.recipes import SHIPPED, load_recipes, recipe_named

CHECKPOINT = (
    "The trained user and item tower as of a day: one checkpoint per day, an immutable folder of safetensors, JSON and "
    "vocabularies, named by its content hash.\n\n**Used for:** embeddings. The hold-out is never trained on. Negatives "
    "and correction are set by a recipe."
)


def training_assets(plan: Plan) -> list[dg.AssetsDefinition]:
    """`tower_checkpoint` and `training_curves`, written by one step."""
    version = code_version(["experiments.train_day"], [*sql_files("training/*.sql"), SHIPPED])

    @plan.step(
        "tower_checkpoint",
        asset_spec(
            "tower_checkpoint",
            plan,
            description=CHECKPOINT,
            deps=[
                plan.window_dep("training_pairs"),
                plan.window_dep("exposure_log"),
                plan.dep("orphan_items"),
                plan.dep("items"),
                plan.dep("users"),
            ],
            kinds={"pytorch"},
            version=version,
            metadata={**folder_of("tower_checkpoint", plan), **code_references(sql_files("training/hold_out_*.sql"))},
        ),
        table_spec(
            "training_curves",
            plan,
            used_for="monitoring convergence, and comparing trainings in SQL.",
            deps=[plan.dep("tower_checkpoint")],
            kinds={"duckdb", "pytorch"},
            version=version,
        ),
        partitions_def=plan.partitions,
    )
    def tower_checkpoint(
        context: dg.AssetExecutionContext,
        config: TowerTrainingConfig,  # type: ignore[valid-type]
    ) -> Iterator[dg.MaterializeResult]:
        with expected_errors_as_failures():
            workspace, day = plan.workspace(context), day_of(context)
            settings = workspace.settings
            recipe = recipe_named(load_recipes(settings.recipes_file), config.recipe or settings.recipe)  # type: ignore[attr-defined]
            changes, window_days = split_config(config, recipe, settings, context.log)
            exposures = reads_exposures(workspace, recipe, changes)
            require_training_inputs(context, plan, workspace, day, window_days, exposures=exposures)
            made = train_day(workspace, day, recipe, changes, window_days, run_of(context, "tower_checkpoint"))
            yield artifact_result(context, made.artifact, training_metadata(made))
            yield table_result(context, made.curves)

    recipes = load_recipes(plan.settings.recipes_file)
    trainable = partial(require_trainable, plan.settings, recipes)
    shown = shown_in_launchpad(plan.settings, recipes)
    return [checked_at_launch(tower_checkpoint, TowerTrainingConfig, trainable, {"recipe": list(recipes)}, shown)]
