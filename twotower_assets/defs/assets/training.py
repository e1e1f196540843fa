"""Training: the pairs of a trailing window become towers, and the epochs a table.

How towers are trained lives in `two_tower`; what a run may change is its `TrainingConfig`, shown in the launchpad.
"""

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

import dagster as dg

from twotower_assets.core.days import Days, window
from twotower_assets.defs.launch_checks import checked_at_launch
from twotower_assets.defs.partitions import Partitions, day_of, trailing_window
from twotower_assets.defs.preconditions import refuse_failed_inputs, require_whole_window
from twotower_assets.defs.publish import artifact_rows, commit_tables, table_result
from twotower_assets.defs.specs import (
    asset_spec,
    code_files,
    code_references,
    code_version,
    folder_of,
    key_of,
    sql_files,
    table_spec,
)
from twotower_assets.defs.training_config import (
    TowerTrainingConfig,
    require_trainable,
    shown_in_launchpad,
    split_config,
)
from twotower_assets.experiments.evaluate_model import left_and_masked
from twotower_assets.experiments.hold_out import HoldOutRule, read_hold_out
from twotower_assets.experiments.training_request import Training, judged_by_of, logged_epochs
from twotower_assets.lake.artifacts import Provenance, TableInput
from twotower_assets.lake.staging import stage_rows
from twotower_assets.recipes.recipes import load_recipes, recipe_named
from twotower_assets.workspace import Workspace


def training_assets(
    workspace: Workspace, partitions: Partitions, blocking_checks: list[dg.AssetCheckKey]
) -> list[dg.AssetsDefinition]:
    """`tower_checkpoint` and `training_curves`, made together."""
    mapping = trailing_window(partitions, workspace.settings.window_days)
    version = code_version(
        [
            *code_files("core", "two_tower", "recipes"),
            *code_files(
                "experiments/hold_out.py",
                "defs/assets/training.py",
                "defs/training_config.py",
                "experiments/train_recipe.py",
            ),
            *sql_files("training/*.sql"),
        ]
    )
    deps = [
        dg.AssetDep(key_of("training_pairs"), partition_mapping=mapping),
        dg.AssetDep(key_of("exposure_log"), partition_mapping=mapping),
        dg.AssetDep(key_of("items")),
        dg.AssetDep(key_of("users")),
    ]

    @dg.multi_asset(
        name="tower_checkpoint",
        specs=[
            asset_spec(
                "tower_checkpoint",
                description=(
                    "The trained user and item tower as of a day: one checkpoint a day, an immutable folder of "
                    "safetensors, JSON and vocabularies, named by its content hash.\n\n**Used for:** embeddings. The "
                    "hold-out is never trained on. Which negatives and which correction it is trained with is a recipe."
                ),
                deps=deps,
                kinds={"pytorch"},
                version=version,
                metadata={
                    **folder_of("tower_checkpoint", workspace),
                    **code_references(sql_files("training/hold_out_*.sql")),
                },
            ),
            table_spec(
                "training_curves",
                workspace,
                used_for="seeing whether a training went well, and comparing trainings in SQL.",
                deps=[dg.AssetDep(key_of("tower_checkpoint"))],
                kinds={"duckdb", "pytorch"},
                version=version,
            ),
        ],
        partitions_def=partitions,
    )
    def tower_checkpoint(
        context: dg.AssetExecutionContext,
        workspace: dg.ResourceParam[Workspace],
        config: TowerTrainingConfig,  # type: ignore[valid-type]
    ) -> Iterator[dg.MaterializeResult]:
        yield from _train(context, workspace, config, blocking_checks)

    recipes = load_recipes(workspace.settings.own_recipes)
    trainable = partial(require_trainable, workspace.settings, recipes)
    shown = shown_in_launchpad(workspace.settings, recipes)
    return [checked_at_launch(tower_checkpoint, TowerTrainingConfig, trainable, {"recipe": list(recipes)}, shown)]


def _train(
    context: dg.AssetExecutionContext, workspace: Workspace, run_config: Any, blocking_checks: list[dg.AssetCheckKey]
) -> Iterator[dg.MaterializeResult]:
    from twotower_assets.experiments.train_recipe import changed_settings, needs_exposures, train_recipe
    from twotower_assets.reporting.charts import loss_curve
    from twotower_assets.reporting.markdown_images import as_markdown_image, sparkline
    from twotower_assets.two_tower.checkpoint import save_checkpoint

    day, settings = day_of(context), workspace.settings
    recipes = load_recipes(settings.own_recipes)
    recipe = recipe_named(recipes, run_config.recipe or settings.recipe)
    changes, window_days = split_config(run_config, recipe, settings, context.log)
    config = recipe.config(**changes)
    rule = HoldOutRule.of(settings, window_days)
    require_whole_window(context, key_of("training_pairs"), Days(day, day), window_days, workspace.days()[0])
    exposures = needs_exposures(config, recipes)
    if exposures:
        require_whole_window(context, key_of("exposure_log"), Days(day, day), window_days, workspace.days()[0])
    refuse_failed_inputs(context.instance, blocking_checks, window(day, window_days))
    with workspace.lake.reader() as con:
        snapshot = workspace.lake.snapshot(con)
        hold_out = read_hold_out(con, rule, day, snapshot, exposures=exposures)
    context.log.info(f"recipe {recipe.name} as of {day}, on {window_days} days with {len(hold_out.pairs):,} clicks")
    judged_by = judged_by_of(rule, settings, hold_out)
    scratch = f"{day}-{hashlib.sha256((config.model_dump_json() + judged_by).encode()).hexdigest()[:12]}"
    training = Training(
        hold_out,
        settings.popularity_from,
        settings.popularity_weight,
        judged_by=judged_by,
        threads=settings.training_threads,
        show_progress=sys.stderr.isatty(),
        on_epoch=logged_epochs(context.log, config.epochs),
    )
    trained = train_recipe(
        training, config, recipes, changes, lambda part: workspace.artifacts.scratch("tower_checkpoint", scratch) / part
    )
    result, training_set = trained.result, trained.training_set
    changed = changed_settings(config, recipe)
    days = tuple(end.isoformat() for end in window(day, window_days))
    made = Provenance(
        model_day=day,
        lake_snapshot=snapshot,
        code_version=context.assets_def.code_versions_by_key[key_of("tower_checkpoint")] or "",
        run_id=context.run.run_id,
        tables=(
            TableInput("training_pairs", snapshot, *days),
            *((TableInput(rule.exposures_from, snapshot, *days),) if exposures else ()),
            TableInput("items", snapshot),
            TableInput("users", snapshot),
        ),
        recipe=f"{recipe.name}, changed: {', '.join(changed)}" if changed else recipe.name,
        seed=config.seed,
        details=asdict(rule),
    )
    artifact = workspace.artifacts.publish(
        "tower_checkpoint",
        lambda folder: save_checkpoint(folder, result.towers, training_set, config, result.reports, made.details),
        made,
    )
    rows = [
        {
            "day": day,
            "model_version": artifact.version,
            "epoch": report.epoch,
            "loss": report.loss,
            "validation_metric": report.validation_metric,
            "pairs_per_second": report.pairs_per_second,
            "seconds": report.seconds,
            "repeat_share": report.repeat_share,
            **left_and_masked(report),
        }
        for report in result.reports
    ]
    with workspace.lake.writer() as con:
        curves = stage_rows(con, "training_curves", rows)
        stage_rows(con, "artifacts", artifact_rows(artifact, workspace))
        written = commit_tables(context, workspace, con, ["training_curves", "artifacts"], Days(day, day))
        curve = table_result(context, con, "training_curves", written, Days(day, day))
    workspace.artifacts.discard_scratch("tower_checkpoint", scratch)
    best = result.reports[result.best_epoch - 1]
    yield dg.MaterializeResult(
        asset_key=key_of("tower_checkpoint"),
        data_version=dg.DataVersion(artifact.content_hash),
        metadata={
            "loss_by_epoch": dg.MetadataValue.md(
                as_markdown_image(sparkline(curves["loss"].to_list()), "Loss by epoch")
            ),
            "loss_curve": dg.MetadataValue.md(as_markdown_image(loss_curve(curves), "Loss and recall by epoch")),
            "model_version": artifact.version,
            "recipe": made.recipe,
            "trained_popularity_weight": config.trained_popularity_weight,
            "trained_weight_is_known": config.trained_weight_is_known,
            "training_pairs": len(training_set.user),
            "users": len(training_set.encoder.users.ids.ids),
            "items": len(training_set.encoder.items.ids.ids),
            "epochs": len(result.reports),
            "best_epoch": result.best_epoch,
            "loss": best.loss,
            "validation_recall_at_20": best.validation_metric,
            "pairs_per_second": best.pairs_per_second,
            "repeat_share": best.repeat_share,
            **left_and_masked(best),
            "lake_snapshot": snapshot,
        },
    )
    yield curve
