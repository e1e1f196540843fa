"""The comparison of recipes: a training per recipe and seed on the same pairs, and all of them side by side.

A backfill over the recipes is the ablation. How a recipe trains lives in `two_tower`, how models are judged in
`experiments.evaluate_model`, how recipes are compared in `evaluation`, how that is drawn and worded in `reporting`.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import date
from functools import partial
from typing import Any

import dagster as dg
from pydantic import Field

from twotower_assets.core.days import Days, window
from twotower_assets.defs.launch_checks import checked_at_launch
from twotower_assets.defs.partitions import Partitions
from twotower_assets.defs.preconditions import refuse_failed_inputs, require_whole_window
from twotower_assets.defs.publish import commit_tables, table_result
from twotower_assets.defs.specs import (
    code_files,
    code_version,
    key_of,
    sql_files,
    table_spec,
)
from twotower_assets.defs.training_config import changes_for, window_for
from twotower_assets.experiments.evaluate_recipes import (
    Measured,
    comparable_runs,
    compared_rows,
    data_fingerprint,
    judge,
    require_served,
)
from twotower_assets.experiments.hold_out import HoldOutRule, read_hold_out
from twotower_assets.experiments.train_recipe import train_recipe
from twotower_assets.experiments.training_request import Training, judged_by_of, logged_epochs
from twotower_assets.lake.lake import LakeError
from twotower_assets.lake.staging import stage_frame, stage_rows
from twotower_assets.lake.tables import RECIPES, names
from twotower_assets.recipes.recipes import Recipe, load_recipes, recipe_named
from twotower_assets.settings import Settings
from twotower_assets.workspace import Workspace

BASELINE = "logq"
RUN_TABLES = [name for name in names(RECIPES) if name != "negative_sampling_comparison"]


class NegativeSamplingConfig(dg.Config):
    """What all recipes of a comparison share."""

    model_day: str | None = Field(
        None, description="Train as of this day. Default: the last daily partition that has ended."
    )
    window_days: int | None = Field(
        None, description="Days of pairs to train on; by default TWOTOWER_WINDOW_DAYS.", ge=1
    )
    seeds: list[int] = Field([0, 1, 2], min_length=1, description="One training a seed; each takes as long as another.")
    training: dict[str, Any] = Field(
        {},
        description='Training settings for every recipe, over its own, such as {"temperature": 0.5, "epochs": 10}; see '
        "tower_checkpoint for what there is.",
    )


class ComparisonConfig(dg.Config):
    """What recipes are compared with."""

    baseline: str = Field(BASELINE, description="The recipe that gains are measured against.")


def recipe_partitions(workspace: Workspace) -> dg.StaticPartitionsDefinition:
    """One partition a recipe: the shipped ones, then those of the user's file. Raises `RecipeError`."""
    return dg.StaticPartitionsDefinition(list(load_recipes(workspace.settings.own_recipes)))


def negative_sampling_assets(
    workspace: Workspace, partitions: Partitions, blocking_checks: list[dg.AssetCheckKey]
) -> list[dg.AssetsDefinition]:
    """`negative_sampling_runs` and `negative_sampling_comparison`."""
    evaluated = code_files(
        "experiments/hold_out.py",
        "experiments/train_recipe.py",
        "experiments/evaluate_model.py",
        "experiments/evaluate_recipes.py",
    )
    every_day = [
        dg.AssetDep(key_of(name), partition_mapping=dg.AllPartitionMapping())
        for name in ("training_pairs", "exposure_log")
    ]

    @dg.multi_asset(
        name="negative_sampling_runs",
        specs=[
            table_spec(
                "negative_sampling_runs",
                workspace,
                used_for="knowing which way to draw negatives helps on this data set. Materialize some recipes, or all "
                "as a backfill, then `negative_sampling_comparison`.",
                deps=[*every_day, dg.AssetDep(key_of("items")), dg.AssetDep(key_of("users"))],
                kinds={"pytorch", "duckdb"},
                version=code_version(
                    [
                        *code_files("core", "two_tower", "recipes", "evaluation"),
                        *evaluated,
                        *sql_files("training/*.sql"),
                    ]
                ),
                note="Every recipe trains on the same pairs, as of the last day, with the same seeds and the same most "
                "epochs, and is judged on the same test clicks. Writes "
                f"{', '.join(f'`{name}`' for name in RUN_TABLES)}.",
            )
        ],
        partitions_def=recipe_partitions(workspace),
    )
    def negative_sampling_runs(
        context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace], config: NegativeSamplingConfig
    ) -> dg.MaterializeResult:
        return _run(context, workspace, config, partitions, blocking_checks)

    @dg.multi_asset(
        name="negative_sampling_comparison",
        specs=[
            table_spec(
                "negative_sampling_comparison",
                workspace,
                used_for="choosing a recipe: its name goes into TWOTOWER_RECIPE, or into the launchpad of "
                "`tower_checkpoint`.",
                deps=[dg.AssetDep(key_of("negative_sampling_runs"), partition_mapping=dg.AllPartitionMapping())],
                kinds={"duckdb"},
                version=code_version(
                    [*code_files("core", "evaluation", "reporting"), *code_files("experiments/evaluate_recipes.py")]
                ),
                note="Gains are paired by user against the baseline recipe, with bootstrap intervals. The "
                "recommendation chooses by the validation part and names its evidence on the test part.",
            )
        ],
    )
    def negative_sampling_comparison(
        context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace], config: ComparisonConfig
    ) -> dg.MaterializeResult:
        return _compare(context, workspace, config)

    recipes = load_recipes(workspace.settings.own_recipes)
    comparable = partial(_require_comparable, workspace.settings, recipes, partitions)
    return [
        checked_at_launch(negative_sampling_runs, NegativeSamplingConfig, comparable),
        checked_at_launch(negative_sampling_comparison, ComparisonConfig, choices={"baseline": list(recipes)}),
    ]


def _require_comparable(
    settings: Settings,
    recipes: Mapping[str, Recipe],
    partitions: Partitions,
    asked: Mapping[str, Any],
) -> None:
    """Raises `ValueError` where a run that is asked for with these settings could train no recipe.

    What a single recipe cannot have is its own; it is told when that recipe is trained.
    """
    if asked["model_day"]:
        _model_day(asked["model_day"], partitions)
    window_for(asked["window_days"], settings)
    recipe_named(recipes, BASELINE).config(**asked["training"])


def _run(
    context: dg.AssetExecutionContext,
    workspace: Workspace,
    run_config: NegativeSamplingConfig,
    partitions: Partitions,
    blocking_checks: list[dg.AssetCheckKey],
) -> dg.MaterializeResult:
    from twotower_assets.two_tower.data.encoders import TrainingDataError

    settings, log = workspace.settings, context.log
    recipes = load_recipes(settings.own_recipes)
    recipe = recipe_named(recipes, context.partition_key)
    changes = changes_for(run_config.training, recipe, settings, log)
    day = _model_day(run_config.model_day, partitions)
    window_days = window_for(run_config.window_days, settings)
    for name in ("training_pairs", "exposure_log"):
        require_whole_window(context, key_of(name), Days(day, day), window_days, workspace.days()[0])
    refuse_failed_inputs(context.instance, blocking_checks, window(day, window_days))
    rule = HoldOutRule.of(settings, window_days)
    with workspace.lake.reader() as con:
        snapshot = workspace.lake.snapshot(con)
        hold_out = read_hold_out(con, rule, day, snapshot, exposures=True)
    shared = {
        "recipe": recipe.name,
        "model_day": day,
        "lake_snapshot": snapshot,
        "data_fingerprint": data_fingerprint(hold_out, rule),
        "changes": json.dumps(run_config.training, sort_keys=True),
        "popularity_weight": settings.popularity_weight,
        "popularity_from": settings.popularity_from,
        "run_id": context.run.run_id,
        "code_version": context.assets_def.code_versions_by_key[key_of("negative_sampling_runs")] or "",
    }
    judged_by = judged_by_of(rule, settings, hold_out)
    measured = Measured(shared)
    used: list[str] = []
    try:
        for seed in dict.fromkeys(run_config.seeds):
            seeded = {**changes, "seed": seed}
            config = recipe.config(**seeded)
            key = f"{day}-{hashlib.sha256((config.model_dump_json() + judged_by).encode()).hexdigest()[:12]}"
            used.append(key)
            training = Training(
                hold_out,
                settings.popularity_from,
                settings.popularity_weight,
                judged_by=judged_by,
                threads=settings.training_threads,
                on_epoch=logged_epochs(log, config.epochs),
            )
            folder = workspace.artifacts.scratch("negative_sampling_runs", key)
            trained = train_recipe(training, config, recipes, seeded, folder.joinpath)
            measured.add(judge(trained, hold_out, settings.popularity_from, settings.popularity_weight))
            log.info(f"{recipe.name}, seed {seed}: {measured.told(seed)}")
    except TrainingDataError as error:
        log.warning(f"{recipe.name} is not applicable: {error}")
        measured = Measured(shared, reason=str(error), settings=recipe.config(**changes).model_dump_json())
    with workspace.lake.writer() as con:
        for name, frame in measured.tables().items():
            stage_frame(con, name, frame)
        written = commit_tables(context, workspace, con, RUN_TABLES, None, of=("recipe", recipe.name))
        numbers = measured.headline(settings.popularity_weight)
        result = table_result(context, con, "negative_sampling_runs", written, None, **numbers)
    for key in used:
        workspace.artifacts.discard_scratch("negative_sampling_runs", key)
    return result


def _model_day(asked: str | None, partitions: Partitions) -> date:
    key = asked or partitions.get_last_partition_key()
    if key is None:
        raise LakeError("no daily partition has ended yet, so there is nothing to train on")
    if not partitions.has_partition_key(key):
        raise ValueError(
            f"model_day '{key}' is no daily partition; they reach from {partitions.get_first_partition_key()} to "
            f"{partitions.get_last_partition_key()}"
        )
    return date.fromisoformat(key)


def _compare(
    context: dg.AssetExecutionContext, workspace: Workspace, run_config: ComparisonConfig
) -> dg.MaterializeResult:
    import polars as pl

    from twotower_assets.reporting import recipe_charts as charts
    from twotower_assets.reporting.markdown_images import as_markdown_image
    from twotower_assets.reporting.recipe_summary import comparison_table, diagnostics_table, recommendation

    settings = workspace.settings
    recipe_named(load_recipes(settings.own_recipes), run_config.baseline)
    with workspace.lake.reader() as con:
        runs, metrics, users, diagnostics = (
            pl.DataFrame(pl.from_arrow(con.execute(f"FROM {name}").to_arrow_table())) for name in RUN_TABLES
        )
    comparable, left_out = comparable_runs(runs, run_config.baseline)
    require_served(runs, run_config.baseline, settings.popularity_weight, settings.popularity_from)
    for recipe, why in left_out.items():
        context.log.warning(f"{recipe} is left out: {why}")
    kept = pl.col("recipe").is_in(comparable["recipe"].unique().to_list())
    metrics, users, diagnostics = (frame.filter(kept) for frame in (metrics, users, diagnostics))
    rows = compared_rows(metrics, users, run_config.baseline, settings.popularity_weight)
    with workspace.lake.writer() as con:
        comparison = stage_rows(con, "negative_sampling_comparison", rows)
        written = commit_tables(context, workspace, con, ["negative_sampling_comparison"], None)
        table = comparison_table(comparison, comparable, diagnostics, settings.popularity_weight)
        words = recommendation(comparable, comparison, run_config.baseline)
        context.log.info(words)
        drawn = {
            "gains": (charts.gains_over_baseline(comparison), "Gains over the baseline, with intervals"),
            "missing_popularity": (charts.missing_popularity_by_recipe(diagnostics), "Missing popularity by recipe"),
            "tradeoff": (charts.recipe_tradeoff(metrics), "What the popularity weight trades, by recipe"),
        }
        return table_result(
            context,
            con,
            "negative_sampling_comparison",
            written,
            None,
            recommendation=dg.MetadataValue.md(words),
            comparison=dg.MetadataValue.md(table),
            popularity=dg.MetadataValue.md(diagnostics_table(diagnostics, settings.popularity_weight)),
            **{name: dg.MetadataValue.md(as_markdown_image(svg, alt)) for name, (svg, alt) in drawn.items()},
            left_out=[f"{recipe}: {why}" for recipe, why in left_out.items()],
        )
