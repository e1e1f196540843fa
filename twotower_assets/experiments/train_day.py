"""The model of a day: a recipe trained on the trailing window, published as a checkpoint and rows of `training_curves`.

`train_recipe.py` trains a recipe; this module gives it data, lets it resume after an interruption and records it.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from twotower_assets.core.days import Days, window
from twotower_assets.experiments.evaluate_model import negative_counts
from twotower_assets.experiments.hold_out import HoldOutRule, read_hold_out, window_from
from twotower_assets.experiments.train_recipe import TrainedModel, changed_settings, needs_exposures, train_recipe
from twotower_assets.experiments.training_request import TrainingRequest, describe_validation, epoch_logger
from twotower_assets.lake.artifacts import Artifact, Provenance, TableInput
from twotower_assets.lake.staging import stage_rows
from twotower_assets.lake.writing import Run, WrittenTable, artifact_rows, commit_tables, written_table
from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.recipes.recipes import Recipe, load_recipes
from twotower_assets.workspace import Workspace

if TYPE_CHECKING:
    import polars as pl

    from twotower_assets.two_tower.training.epoch_report import EpochReport


@dataclass(frozen=True)
class TrainedDay:
    """The published model of a day.

    Attributes:
        artifact: its checkpoint.
        trained: the model and its training set.
        epochs: rows of `training_curves`.
        curves: what was written to that table.
    """

    artifact: Artifact
    trained: TrainedModel
    epochs: pl.DataFrame
    curves: WrittenTable

    @property
    def best_epoch(self) -> EpochReport:
        """The report of the epoch whose weights were kept."""
        return self.trained.result.reports[self.trained.result.best_epoch - 1]


def reads_exposures(workspace: Workspace, recipe: Recipe, changes: Mapping[str, Any]) -> bool:
    """Whether training this recipe reads the exposures, items shown and not clicked."""
    return needs_exposures(recipe.config(**changes), load_recipes(workspace.settings.recipes_file))


def train_day(
    workspace: Workspace, day: date, recipe: Recipe, changes: Mapping[str, Any], window_days: int, run: Run
) -> TrainedDay:
    """Train a recipe, with `changes` to its settings, on the window that ends with a day, and publish the model.

    A training that was interrupted continues after its last finished epoch. Raises `HoldOutError` or
    `TrainingDataError` where the data leave nothing to train on.
    """
    from twotower_assets.two_tower.checkpoint import save_checkpoint

    settings = workspace.settings
    recipes = load_recipes(settings.recipes_file)
    config = recipe.config(**changes)
    exposures = needs_exposures(config, recipes)
    with workspace.lake.reader() as con:
        snapshot = workspace.lake.snapshot(con)
        rule = HoldOutRule.from_settings(settings, window_from(con, workspace.days()[0], day, window_days))
        hold_out = read_hold_out(con, rule, day, snapshot, exposures=exposures)
    run.log.info(f"recipe {recipe.name} as of {day}, on {rule.window_days} days with {len(hold_out.pairs):,} clicks")
    validation_description = describe_validation(rule, settings, hold_out)
    scratch = scratch_name(day, config, validation_description)
    training = TrainingRequest(
        hold_out,
        settings.popularity_from,
        settings.popularity_weight,
        validation_description=validation_description,
        threads=settings.training_threads,
        device=settings.device,
        show_progress=sys.stderr.isatty(),
        on_epoch=epoch_logger(run.log, config.epochs),
    )
    trained = train_recipe(
        training, config, recipes, changes, lambda name: workspace.artifacts.scratch("tower_checkpoint", scratch) / name
    )
    result, training_set = trained.result, trained.training_set
    provenance = _provenance(day, snapshot, recipe, config, rule, exposures, run)
    artifact = workspace.artifacts.publish(
        "tower_checkpoint",
        lambda folder: save_checkpoint(folder, result.towers, training_set, config, result.reports, provenance.details),
        provenance,
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
            **negative_counts(report),
        }
        for report in result.reports
    ]
    with workspace.lake.writer() as con:
        epochs = stage_rows(con, "training_curves", rows)
        stage_rows(con, "artifacts", artifact_rows(artifact, settings.home))
        written = commit_tables(workspace.lake, con, ["training_curves", "artifacts"], Days(day, day), run)
        curves = written_table(con, "training_curves", written, Days(day, day))
    workspace.artifacts.discard_scratch("tower_checkpoint", scratch)
    return TrainedDay(artifact, trained, epochs, curves)


def scratch_name(day: date, config: TrainingConfig, validation_description: str) -> str:
    """The folder that a training resumes from: the same for the same day, configuration and validation."""
    return f"{day}-{hashlib.sha256((config.model_dump_json() + validation_description).encode()).hexdigest()[:12]}"


def _provenance(
    day: date, snapshot: int, recipe: Recipe, config: TrainingConfig, rule: HoldOutRule, exposures: bool, run: Run
) -> Provenance:
    changed = changed_settings(config, recipe)
    days = tuple(end.isoformat() for end in window(day, rule.window_days))
    return Provenance(
        model_day=day,
        lake_snapshot=snapshot,
        code_version=run.code_version,
        run_id=run.run_id,
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
