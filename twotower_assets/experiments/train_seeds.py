"""One recipe of a comparison: trained once per seed on the same pairs, evaluated, and its earlier rows replaced.

`train_recipe.py` trains a recipe, `evaluate_recipes.py` evaluates it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from twotower_assets.experiments.evaluate_recipes import RUN_TABLES, RecipeResults, data_fingerprint, evaluate_training
from twotower_assets.experiments.hold_out import HoldOutRule, read_hold_out, window_from
from twotower_assets.experiments.train_day import scratch_name
from twotower_assets.experiments.train_recipe import train_recipe
from twotower_assets.experiments.training_request import TrainingRequest, describe_validation, epoch_logger
from twotower_assets.lake.staging import stage_frame
from twotower_assets.lake.writing import Run, WrittenTable, commit_tables, written_table
from twotower_assets.recipes.recipes import Recipe, load_recipes
from twotower_assets.workspace import Workspace


@dataclass(frozen=True)
class SeedsRequest:
    """The request that all recipes of a comparison share.

    Attributes:
        day: the day as of whose end the recipes are trained.
        window_days: length of the trailing window of training pairs.
        seeds: one training run per seed.
        training: settings that override those of every recipe, as entered by the user.
    """

    day: date
    window_days: int
    seeds: Sequence[int]
    training: Mapping[str, Any]


def train_seeds(
    workspace: Workspace, recipe: Recipe, changes: Mapping[str, Any], request: SeedsRequest, run: Run
) -> WrittenTable:
    """Train a recipe with every seed, evaluate the models, and write the tables of `RUN_TABLES`.

    A recipe whose required data are missing is written as not applicable, with the reason. `changes` are the settings
    of `request.training` that apply to this recipe. Raises `HoldOutError` where nothing is left to train on or to
    evaluate with.
    """
    from twotower_assets.two_tower.data.encoders import TrainingDataError

    settings = workspace.settings
    with workspace.lake.reader() as con:
        snapshot = workspace.lake.snapshot(con)
        window_days = window_from(con, workspace.days()[0], request.day, request.window_days)
        rule = HoldOutRule.from_settings(settings, window_days)
        hold_out = read_hold_out(con, rule, request.day, snapshot, exposures=True)
    shared = {
        "recipe": recipe.name,
        "model_day": request.day,
        "lake_snapshot": snapshot,
        "data_fingerprint": data_fingerprint(hold_out, rule),
        "changes": json.dumps(request.training, sort_keys=True),
        "popularity_weight": settings.popularity_weight,
        "popularity_from": settings.popularity_from,
        "run_id": run.run_id,
        "code_version": run.code_version,
    }
    validation_description = describe_validation(rule, settings, hold_out)
    recipes = load_recipes(settings.recipes_file)
    results = RecipeResults(shared)
    scratch: list[str] = []
    try:
        for seed in dict.fromkeys(request.seeds):
            seeded = {**changes, "seed": seed}
            config = recipe.config(**seeded)
            scratch.append(scratch_name(request.day, config, validation_description))
            training = TrainingRequest(
                hold_out,
                settings.popularity_from,
                settings.popularity_weight,
                validation_description=validation_description,
                threads=settings.training_threads,
                device=settings.device,
                on_epoch=epoch_logger(run.log, config.epochs),
            )
            folder = workspace.artifacts.scratch("negative_sampling_runs", scratch[-1])
            trained = train_recipe(training, config, recipes, seeded, folder.joinpath)
            results.add(evaluate_training(trained, hold_out, settings.popularity_from, settings.popularity_weight))
            run.log.info(f"{recipe.name}, seed {seed}: {results.summary(seed)}")
    except TrainingDataError as error:
        run.log.warning(f"{recipe.name} is not applicable: {error}")
        results = RecipeResults(shared, reason=str(error), settings=recipe.config(**changes).model_dump_json())
    with workspace.lake.writer() as con:
        for name, frame in results.tables().items():
            stage_frame(con, name, frame)
        snapshot = commit_tables(workspace.lake, con, RUN_TABLES, None, run, where=("recipe", recipe.name))
        numbers = results.headline(settings.popularity_weight)
        written = written_table(con, "negative_sampling_runs", snapshot, None, **numbers)
    for name in scratch:
        workspace.artifacts.discard_scratch("negative_sampling_runs", name)
    return written
