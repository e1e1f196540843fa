"""Training: the pairs of a trailing window become towers, and the epochs a table.

How towers are trained lives in `two_tower`; what a run may change is its `TrainingConfig`, shown in the launchpad.
"""

import hashlib
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

import dagster as dg

from twotower_assets.assets.declaration import (
    asset_files,
    asset_spec,
    code_files,
    code_references,
    code_version,
    folder_of,
    key_of,
    sql_files,
    table_spec,
)
from twotower_assets.assets.hold_out import HoldOut, HoldOutRule, read_hold_out
from twotower_assets.assets.launchpad import checked_at_launch
from twotower_assets.assets.materialization import commit_tables, table_result
from twotower_assets.assets.records import artifact_rows, stage_rows
from twotower_assets.assets.refusals import refuse_failed_inputs
from twotower_assets.assets.training_config import TowerTrainingConfig, require_trainable, split_config
from twotower_assets.assets.windows import require_whole_window
from twotower_assets.lake.artifacts import Provenance, TableInput
from twotower_assets.partitions import Days, day_of, trailing_window, window
from twotower_assets.platform import Platform
from twotower_assets.settings import Settings
from twotower_assets.two_tower.recipes import load_recipes, recipe_named


def training_assets(
    platform: Platform, partitions: dg.DailyPartitionsDefinition, blocking_checks: list[dg.AssetCheckKey]
) -> list[dg.AssetsDefinition]:
    """`tower_checkpoint` and `training_curves`, made together."""
    mapping = trailing_window(platform.settings.window_days)
    version = code_version(
        [
            *code_files("two_tower"),
            *asset_files("hold_out", "training", "training_config", "recipe_training"),
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
                    **folder_of("tower_checkpoint", platform),
                    **code_references(sql_files("training/hold_out_*.sql")),
                },
            ),
            table_spec(
                "training_curves",
                platform,
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
        platform: dg.ResourceParam[Platform],
        config: TowerTrainingConfig,  # type: ignore[valid-type]
    ) -> Iterator[dg.MaterializeResult]:
        yield from _train(context, platform, config, blocking_checks)

    recipes = load_recipes(platform.settings.own_recipes)
    trainable = partial(require_trainable, platform.settings, recipes)
    return [checked_at_launch(tower_checkpoint, TowerTrainingConfig, trainable, {"recipe": list(recipes)})]


def _train(
    context: dg.AssetExecutionContext, platform: Platform, run_config: Any, blocking_checks: list[dg.AssetCheckKey]
) -> Iterator[dg.MaterializeResult]:
    from twotower_assets.assets.recipe_training import Training, changed_settings, needs_exposures, train_recipe
    from twotower_assets.reporting.charts import as_markdown_image, loss_curve, sparkline
    from twotower_assets.two_tower.checkpoint import save_checkpoint

    day, settings = day_of(context), platform.settings
    recipes = load_recipes(settings.own_recipes)
    recipe = recipe_named(recipes, run_config.recipe or settings.recipe)
    changes, window_days = split_config(run_config, recipe, settings, context.log)
    config = recipe.config(**changes)
    rule = HoldOutRule.of(settings, window_days)
    require_whole_window(context, key_of("training_pairs"), Days(day, day), window_days, platform.days()[0])
    exposures = needs_exposures(config, recipes)
    if exposures:
        require_whole_window(context, key_of("exposure_log"), Days(day, day), window_days, platform.days()[0])
    refuse_failed_inputs(context.instance, blocking_checks, window(day, window_days))
    with platform.lake.reader() as con:
        snapshot = platform.lake.snapshot(con)
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
        training, config, recipes, changes, lambda part: platform.artifacts.scratch("tower_checkpoint", scratch) / part
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
    artifact = platform.artifacts.publish(
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
    with platform.lake.writer() as con:
        curves = stage_rows(con, "training_curves", rows)
        stage_rows(con, "artifacts", artifact_rows(artifact, platform))
        written = commit_tables(context, platform, con, ["training_curves", "artifacts"], Days(day, day))
        curve = table_result(context, con, "training_curves", written, Days(day, day))
    platform.artifacts.discard_scratch("tower_checkpoint", scratch)
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


def judged_by_of(rule: HoldOutRule, settings: Settings, hold_out: HoldOut) -> str:
    """What the validation of a training depends on beside its configuration and its pairs."""
    served = f"γ = {settings.popularity_weight} of {settings.popularity_from}"
    return f"{rule.description}; {served}; {hold_out.fingerprint('validation')}"


def left_and_masked(report: Any) -> dict[str, float]:
    """Negatives left, and those masked, per pair, under the names of the tables' columns."""
    masked = report.masked_per_positive
    return {
        "negatives_per_positive": report.negatives_per_positive,
        "masked_accidental_hits": masked["accidental_hit"],
        "masked_clicked": masked["clicked"],
        "masked_same_request": masked["same_request"],
        "masked_positive_aware": masked["positive_aware"],
    }


def logged_epochs(log: logging.Logger, epochs: int) -> Callable[[Any], None]:
    """Tells the log of every epoch's report."""

    def tell(report: Any) -> None:
        recall = "" if report.validation_metric is None else f", validation recall@20 {report.validation_metric:.4f}"
        log.info(
            f"epoch {report.epoch} of at most {epochs}: loss {report.loss:.4f}{recall}, "
            f"{report.pairs_per_second:,.0f} pairs/s, at most {report.seconds_left:.0f} s left"
        )

    return tell
