"""Training: the pairs of a trailing window become towers, and the epochs a table.

How towers are trained lives in `two_tower`; what a run may change is its `TrainingConfig`, shown in the launchpad.
"""

import hashlib
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import dagster as dg
from pydantic import Field, create_model

from twotower_assets.assets.declaration import (
    asset_files,
    asset_spec,
    code_files,
    code_version,
    key_of,
    sql_files,
    table_spec,
)
from twotower_assets.assets.hold_out import HoldOut, HoldOutRule, read_hold_out
from twotower_assets.assets.materialization import commit_tables, table_result
from twotower_assets.assets.records import artifact_rows, stage_rows
from twotower_assets.assets.refusals import refuse_failed_inputs
from twotower_assets.assets.windows import require_whole_window
from twotower_assets.lake.artifacts import Provenance, TableInput
from twotower_assets.partitions import Days, day_of, trailing_window, window
from twotower_assets.platform import Platform
from twotower_assets.settings import Settings
from twotower_assets.two_tower.config import TrainingConfig

RECIPES = {"none": "in_batch", "logq": "logq"}


def _with_range(description: str, field: Any) -> str:
    limits = {
        name: getattr(one, name) for one in field.metadata for name in ("ge", "gt", "le", "lt") if hasattr(one, name)
    }
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    shown = ", ".join(f"{signs[name]} {value:g}" for name, value in limits.items())
    return f"{description} ({shown})" if shown else description


def _as_dagster_config() -> type[dg.Config]:
    """`TrainingConfig` and the window, as Dagster shows them in the launchpad, ranges in the descriptions."""
    fields: dict[str, Any] = {}
    for name, field in TrainingConfig.model_fields.items():
        shown = field.merge_field_infos(field, description=_with_range(field.description or "", field))
        fields[name] = (field.annotation, shown)
    fields["window_days"] = (
        int | None,
        Field(
            None,
            ge=1,
            description="Days of pairs to train on, this day included; at most, and by default, the platform's "
            "TWOTOWER_WINDOW_DAYS.",
        ),
    )
    return create_model("TowerTrainingConfig", __base__=dg.Config, **fields)


TowerTrainingConfig = _as_dagster_config()


def training_assets(
    platform: Platform, partitions: dg.DailyPartitionsDefinition, blocking_checks: list[dg.AssetCheckKey]
) -> list[dg.AssetsDefinition]:
    """`tower_checkpoint` and `training_curves`, made together."""
    mapping = trailing_window(platform.settings.window_days)
    version = code_version(
        [*code_files("two_tower"), *asset_files("hold_out", "training"), *sql_files("training/*.sql")]
    )
    deps = [
        dg.AssetDep(key_of("training_pairs"), partition_mapping=mapping),
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
                    "hold-out is never trained on."
                ),
                deps=deps,
                kinds={"pytorch"},
                version=version,
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

    return [tower_checkpoint]


def _train(
    context: dg.AssetExecutionContext, platform: Platform, run_config: Any, blocking_checks: list[dg.AssetCheckKey]
) -> Iterator[dg.MaterializeResult]:
    from twotower_assets.reporting.charts import as_markdown_image, loss_curve, sparkline
    from twotower_assets.two_tower.checkpoint import save_checkpoint
    from twotower_assets.two_tower.dataset import build_training_set
    from twotower_assets.two_tower.training import train

    day = day_of(context)
    config, window_days = split_config(run_config, platform.settings, context.log)
    rule = HoldOutRule.of(platform.settings, window_days)
    require_whole_window(context, key_of("training_pairs"), Days(day, day), window_days, platform.days()[0])
    refuse_failed_inputs(context.instance, blocking_checks, window(day, window_days))
    with platform.lake.reader() as con:
        snapshot = platform.lake.snapshot(con)
        hold_out = read_hold_out(con, rule, day, snapshot)
    training_set = build_training_set(hold_out.pairs_of("train"), hold_out.items, hold_out.users, config)
    judged_by = f"{rule.description}; γ = {platform.settings.popularity_weight}; {hold_out.fingerprint('validation')}"
    scratch = f"{day}-{hashlib.sha256((config.model_dump_json() + judged_by).encode()).hexdigest()[:12]}"
    result = train(
        training_set,
        config,
        validate=_validation(hold_out, training_set, config, platform.settings.popularity_weight, context.log),
        on_epoch=_logged(context.log, config.epochs),
        resume_dir=platform.artifacts.scratch("tower_checkpoint", scratch),
        validation=judged_by,
        progress=sys.stderr.isatty(),
        threads=platform.settings.training_threads,
    )
    made = Provenance(
        model_day=day,
        lake_snapshot=snapshot,
        code_version=context.assets_def.code_versions_by_key[key_of("tower_checkpoint")] or "",
        run_id=context.run.run_id,
        tables=(
            TableInput("training_pairs", snapshot, *(end.isoformat() for end in window(day, window_days))),
            TableInput("items", snapshot),
            TableInput("users", snapshot),
        ),
        recipe=RECIPES[config.correction],
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
            "path": dg.MetadataValue.path(str(artifact.folder)),
            "recipe": made.recipe,
            "trained_popularity_weight": config.trained_popularity_weight,
            "training_pairs": len(training_set.user),
            "users": len(training_set.encoder.users.ids.ids),
            "items": len(training_set.encoder.items.ids.ids),
            "epochs": len(result.reports),
            "best_epoch": result.best_epoch,
            "loss": best.loss,
            "validation_recall_at_20": best.validation_metric,
            "pairs_per_second": best.pairs_per_second,
            "repeat_share": best.repeat_share,
            "lake_snapshot": snapshot,
        },
    )
    yield curve


def split_config(run_config: Any, settings: Settings, log: logging.Logger) -> tuple[TrainingConfig, int]:
    """The training configuration and the window in days that a run asks for. Raises `ValueError` beyond the window.

    A longer history than the training pairs keep is cut to theirs, so that training and serving see the same.
    """
    values = {name: getattr(run_config, name) for name in TrainingConfig.model_fields}
    if values["history_length"] > settings.history_length:
        log.info(
            f"history_length is {settings.history_length}, not {values['history_length']}: training pairs keep no more "
            "(TWOTOWER_HISTORY_LENGTH)"
        )
        values["history_length"] = settings.history_length
    window_days = run_config.window_days or settings.window_days
    if window_days > settings.window_days:
        raise ValueError(
            f"window_days is {window_days}, but the platform's features look back {settings.window_days} days; raise "
            "TWOTOWER_WINDOW_DAYS and materialize them again, or train on fewer days"
        )
    return TrainingConfig(**values), window_days


def _validation(
    hold_out: HoldOut, training_set: Any, config: TrainingConfig, popularity_weight: float, log: logging.Logger
) -> Callable[[Any], float] | None:
    """recall@20 of towers on the validation part, at the served γ; None where nobody is in it."""
    import numpy as np

    from twotower_assets.evaluation.popularity import log_popularity
    from twotower_assets.evaluation.ranking import recall_at_k, top_k
    from twotower_assets.evaluation.scores import inner_products, popularity_weighted
    from twotower_assets.two_tower.embedding import Embedder

    view = hold_out.view(("train",), "validation", config.history_length)
    if not len(view.relevant.values):
        log.warning(f"Nobody has a validation click, so nothing stops the training before {config.epochs} epochs.")
        return None
    log_q = log_popularity(hold_out.item_clicks("train"), floor=0.5)
    weight = popularity_weight - config.trained_popularity_weight

    def validate(towers: Any) -> float:
        embedder = Embedder(towers, training_set.encoder)
        items = embedder.embed_items(hold_out.items)
        users = embedder.embed_users(view.user_ids, view.histories, hold_out.users)
        scores = popularity_weighted(inner_products(users, items, config.inverse_temperature), log_q, weight)
        return float(np.nanmean(recall_at_k(top_k(scores, len(view), view.seen, 20), view.relevant, 20)))

    return validate


def _logged(log: logging.Logger, epochs: int) -> Callable[[Any], None]:
    def tell(report: Any) -> None:
        recall = "" if report.validation_metric is None else f", validation recall@20 {report.validation_metric:.4f}"
        log.info(
            f"epoch {report.epoch} of at most {epochs}: loss {report.loss:.4f}{recall}, "
            f"{report.pairs_per_second:,.0f} pairs/s, at most {report.seconds_left:.0f} s left"
        )

    return tell
