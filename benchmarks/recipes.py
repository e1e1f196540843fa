"""Every recipe beside in-batch with logQ: MovieLens-100K in two readings, and a slice of KuaiRand-Pure.

    python benchmarks/recipes.py [--data-sets NAME ...] [--recipes NAME ...] [--seeds 3]
    python benchmarks/recipes.py --tune
    python benchmarks/recipes.py --short

Protocol:

- `movielens_ratings`: every rating is a positive; of each user's ratings, by timestamp and numeric item id, test is
  percent_rank() > 0.8, validation the same share of what is left. It has no exposures. (The protocol of
  quality_movielens.py.)
- `movielens_clicks`: a rating of 4 or 5 is a click, a lower one was shown and not clicked; the last 20 % of each user's
  clicks are the test, the 10 % before them the validation.
- `kuairand`: real exposures, 24 to 30 April 2022; the clicks of the last day are the test, those of the day before
  the validation. It is read from --kuairand, and left out, with a word, where that is missing.
- Full ranking over the catalogue, without what the user clicked before. γ = 1 for all, so that every model is asked
  for click probability: uncorrected ones gain log q, those with logQ are served as they are.
- --tune chooses, for every recipe alike, temperature (0.2, 0.4, 0.8, as long as it gets better), then the share of
  hidden ids (0.05, 0.5), and the number of epochs of each, by recall@20 on the validation split after training on the
  training split, seed 0.
  What was chosen is in recipes_tuned.json. Nothing is chosen by the test split.
- The table trains on training and validation split together, with what was chosen, one training per seed, and evaluates
  on the test split. Gains are paired by user: the bootstrap draws users, and means over seeds are compared. Seconds are
  of training on one thread; a mined model's training counts.

Every training is kept in --out as soon as it is done, and not done again while code, settings and data are the same.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import quality_movielens as ratings_protocol

from twotower_assets.core.cores import available_cores
from twotower_assets.datasets.movielens import fetch_movielens
from twotower_assets.defs.code_version import code_version
from twotower_assets.defs.runs import open_instance, partition_days, run_job
from twotower_assets.experiments.evaluate_recipes import (
    RecipeResults,
    TrainingEvaluation,
    comparison_rows,
    data_fingerprint,
    evaluate_training,
)
from twotower_assets.experiments.hold_out import HoldOut, HoldOutRule, read_hold_out
from twotower_assets.experiments.train_recipe import train_recipe
from twotower_assets.experiments.training_request import TrainingRequest
from twotower_assets.recipes.recipes import load_recipes, recipe_named
from twotower_assets.reporting import recipe_charts
from twotower_assets.reporting.recipe_summary import comparison_table, diagnostics_table, recommendation
from twotower_assets.settings import Settings, load_settings
from twotower_assets.two_tower.data.encoders import TrainingDataError
from twotower_assets.workspace import open_workspace

HERE = Path(__file__).resolve().parent
TUNED = HERE / "recipes_tuned.json"
KUAIRAND = HERE.parents[1] / "shared" / "data" / "kuairand_pure_slice"
BASELINE = "logq"
SHORT = ["in_batch", "logq", "mixed", "best"]
TEMPERATURES, HIDDEN_IDS = (0.2, 0.4, 0.8), (0.05, 0.5)
TRAIN_SPLITS = ("train", "validation")


@dataclass(frozen=True)
class DataSet:
    """One hold-out, and the rule that made it."""

    name: str
    hold_out: HoldOut
    rule: HoldOutRule

    @property
    def fingerprint(self) -> str:
        return data_fingerprint(self.hold_out, self.rule)


def movielens_ratings(out: Path, _kuairand: Path) -> DataSet:
    data = ratings_protocol.read(fetch_movielens(out / "cache" / "movielens"))
    ratings = data.ratings
    frame = pl.DataFrame({"user": ratings.user, "item": ratings.item, "time": ratings.time}).with_row_index("row")

    def place(of: pl.Expr) -> pl.Expr:  # percent_rank() within the user; rows are in order of time and item
        return (of.rank("ordinal").over("user") - 1) / (of.count().over("user") - 1).clip(lower_bound=1)

    frame = frame.with_columns(place=place(pl.col("row")))
    inner = frame.filter(pl.col("place") <= 0.8).with_columns(place=place(pl.col("row")))
    train = pl.col("row").is_in(inner.filter(pl.col("place") <= 0.8)["row"].implode())
    test = pl.col("place") > 0.8
    split = pl.when(test).then(pl.lit("test")).when(train).then(pl.lit("train")).otherwise(pl.lit("validation"))
    # Ids of equal length, so that their order as text is their order as numbers.
    padded = pl.Series(data.items["item_id"].to_pylist()).str.zfill(4)
    catalogue = data.items.set_column(0, "item_id", padded.to_arrow().cast("string"))
    padded_data = ratings_protocol.Dataset(ratings, catalogue, data.user_ids)
    pairs = pl.DataFrame(pl.from_arrow(ratings_protocol.training_pairs(padded_data, ratings, 1000, "time")))
    pairs = pairs.with_columns(
        frame.select(split=split, clicked_at=pl.from_epoch("time").cast(pl.Datetime("us")))
    ).with_columns(pl.col("user_id", "item_id").cast(pl.String))
    nobody = pa.table({"user_id": pa.array([], pa.string())})
    nothing = pa.table({"item_id": pa.array([], pa.string()), "impressions": pa.array([], pa.int64())})
    titled = catalogue.append_column("title", pa.nulls(catalogue.num_rows, pa.string()))
    return DataSet(
        "movielens_ratings",
        HoldOut(0, pairs.sort("clicked_at", "user_id", "item_id"), titled, nobody, nothing),
        HoldOutRule("per_user_last", 215, 0.2, 0.16),
    )


def movielens_clicks(out: Path, _kuairand: Path) -> DataSet:
    folder = fetch_movielens(out / "cache" / "movielens")
    settings = load_settings(
        home=out / "movielens", dataset="movielens", source_path=folder, hold_out="per_user_last", window_days=215
    )
    return _through_the_platform("movielens_clicks", settings)


def kuairand(out: Path, folder: Path) -> DataSet:
    if not folder.is_dir():
        raise FileNotFoundError(f"KuaiRand is left out: there is no folder {folder} (--kuairand)")
    first, last = date(2022, 4, 24), date(2022, 4, 30)
    settings = load_settings(
        home=out / "kuairand",
        dataset="kuairand",
        source_path=folder,
        hold_out="by_day",
        window_days=7,
        first_day=first,
        last_day=last,
    )
    return _through_the_platform("kuairand", settings)


DATA_SETS: dict[str, Callable[[Path, Path], DataSet]] = {
    "movielens_ratings": movielens_ratings,
    "movielens_clicks": movielens_clicks,
    "kuairand": kuairand,
}


def _through_the_platform(name: str, settings: Settings) -> DataSet:
    workspace = open_workspace(settings)
    with open_instance(workspace) as instance:
        first, last = partition_days(workspace)
        if not workspace.lake.exists:
            run_job(workspace, instance, "features_job", first, last, log_level="WARNING")
    rule = HoldOutRule.from_settings(settings, settings.window_days)
    with workspace.lake.reader() as con:
        return DataSet(name, read_hold_out(con, rule, last, workspace.lake.snapshot(con), exposures=True), rule)


class Kept:
    """Results as JSON files, by what they depend on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.code = code_version(["experiments.train_recipe", "experiments.evaluate_recipes"])

    def get(self, key: list[Any], make: Callable[[], Any]) -> Any:
        name = hashlib.sha256(json.dumps([self.code, *key], sort_keys=True).encode()).hexdigest()[:20]
        file = self.folder / f"{name}.json"
        if not file.is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            value = make()
            part = file.with_suffix(".part")
            part.write_text(json.dumps(value))
            part.rename(file)
        return json.loads(file.read_text())


def say(text: str) -> None:
    print(text, flush=True)


def chosen_on_validation(data: DataSet, name: str, kept: Kept) -> dict[str, Any]:
    """Settings that recall the most on the validation split, with what they recalled; or why there are none."""
    recipes = load_recipes()
    recipe = recipe_named(recipes, name)

    def trial(changes: dict[str, Any]) -> dict[str, Any]:
        def train() -> dict[str, Any]:
            training = TrainingRequest(data.hold_out, "clicks", 1.0, threads=1)
            config = recipe.config(seed=0, patience=2, **changes)
            try:
                result = train_recipe(training, config, recipes, {**changes, "seed": 0}).result
            except TrainingDataError as error:
                return {"reason": str(error)}
            best = result.reports[result.best_epoch - 1]
            return {"validation_metric": best.validation_metric, "changes": {**changes, "epochs": result.best_epoch}}

        found: dict[str, Any] = kept.get(
            ["trial", data.fingerprint, name, recipe.config(**changes).model_dump()], train
        )
        say(f"  {data.name} {name} {changes}: {found.get('validation_metric') or found['reason']}")
        return found

    best = trial({})
    if "reason" in best:
        return best
    for setting, values in (("temperature", TEMPERATURES), ("unknown_id_share", HIDDEN_IDS)):
        so_far = {key: value for key, value in best["changes"].items() if key != "epochs"}
        for value in values[1:]:  # the first is the default
            found = trial({**so_far, setting: value})
            if found["validation_metric"] <= best["validation_metric"]:
                break
            best = found
    return best


def tune(data_sets: list[DataSet], names: list[str], kept: Kept) -> None:
    for data in data_sets:
        chosen = {name: chosen_on_validation(data, name, kept) for name in names}
        tuned = json.loads(TUNED.read_text()) if TUNED.is_file() else {}
        tuned[data.name] = {**tuned.get(data.name, {}), **chosen}
        TUNED.write_text(json.dumps(tuned, indent=1) + "\n")


def evaluated(data: DataSet, name: str, tuned: dict[str, Any], seeds: int, kept: Kept) -> RecipeResults:
    """The recipe's trainings on training and validation split, evaluated on the test split."""
    recipes = load_recipes()
    shared = {"recipe": name, "model_day": date(2000, 1, 1), "lake_snapshot": 0, "run_id": "", "code_version": ""}
    shared |= {
        "data_fingerprint": data.fingerprint,
        "changes": "{}",
        "popularity_weight": 1.0,
        "popularity_from": "clicks",
    }
    if "reason" in tuned:
        return RecipeResults(shared, reason=tuned["reason"])
    measured = RecipeResults(shared)
    for seed in range(seeds):
        changes = {**tuned["changes"], "seed": seed}
        config = recipe_named(recipes, name).config(**changes)

        def train(config: Any = config, changes: dict[str, Any] = changes) -> dict[str, Any]:
            training = TrainingRequest(
                data.hold_out, "clicks", 1.0, train_splits=TRAIN_SPLITS, validation_split=None, threads=1
            )
            one = evaluate_training(
                train_recipe(training, config, recipes, changes), data.hold_out, "clicks", 1.0, TRAIN_SPLITS
            )
            return {
                **vars(one),
                "user_values": [[*place, values.tolist()] for place, values in one.user_values.items()],
            }

        found = kept.get(["judged", data.fingerprint, name, config.model_dump()], train)
        values = {(metric, k, bucket): np.array(each, float) for metric, k, bucket, each in found.pop("user_values")}
        found["run"]["validation_metric"] = tuned["validation_metric"]
        measured.add(TrainingEvaluation(**found, user_values=values))
        say(f"  {data.name} {name}, seed {seed}: {measured.summary(seed)}")
    return measured


def report(data: DataSet, every: list[RecipeResults], charts: Path | None) -> Iterator[str]:
    """The comparison in words, and its charts as files."""
    tables = [measured.tables() for measured in every]
    runs, metrics, users, diagnostics = (
        pl.concat([each[f"negative_sampling_{name}"] for each in tables], how="vertical_relaxed")
        for name in ("runs", "metrics", "user_metrics", "diagnostics")
    )
    comparison = pl.DataFrame(comparison_rows(metrics, users, BASELINE, 1.0), infer_schema_length=None)
    yield f"\n## {data.name}\n\n{data.rule.description}; {len(data.hold_out.pairs):,} pairs; γ = 1\n"
    yield comparison_table(comparison, runs, diagnostics)
    yield "\n" + diagnostics_table(diagnostics)
    yield "\n" + recommendation(runs, comparison, BASELINE) + "\n"
    yield "Negatives left and masked per positive: " + "; ".join(
        f"{row['recipe']} {row['negatives_per_positive']:.0f} left, {row['masked_clicked']:.0f} clicked, "
        f"{row['masked_accidental_hits']:.1f} accidental hits"
        for row in runs.filter(pl.col("status") == "trained")
        .unique("recipe", keep="first", maintain_order=True)
        .to_dicts()
    )
    if charts is not None:
        charts.mkdir(parents=True, exist_ok=True)
        for name, svg in {
            "gains": recipe_charts.gains_over_baseline(comparison),
            "missing_popularity": recipe_charts.missing_popularity_by_recipe(diagnostics),
            "tradeoff": recipe_charts.recipe_tradeoff(metrics),
        }.items():
            (charts / f"{data.name}_{name}.svg").write_text(svg)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-sets", nargs="+", choices=DATA_SETS, default=list(DATA_SETS), metavar="NAME")
    parser.add_argument("--recipes", nargs="+", choices=load_recipes(), default=list(load_recipes()), metavar="NAME")
    parser.add_argument("--seeds", type=int, default=3, help="trainings per recipe")
    parser.add_argument("--tune", action="store_true", help="choose settings on validation first, and write them down")
    parser.add_argument("--short", action="store_true", help=f"{', '.join(SHORT)} on movielens_ratings, one seed")
    parser.add_argument("--kuairand", type=Path, default=KUAIRAND, help="folder of the KuaiRand-Pure slice")
    parser.add_argument(
        "--out", type=Path, default=HERE.parent / ".twotower" / "bench_recipes", help="where results are kept"
    )
    parser.add_argument("--charts", type=Path, help="folder to write the charts to")
    arguments = parser.parse_args()
    if arguments.short:
        arguments.data_sets, arguments.recipes, arguments.seeds = ["movielens_ratings"], SHORT, 1
    kept = Kept(arguments.out / "results")
    names = list(dict.fromkeys([BASELINE, *arguments.recipes]))
    say(f"{available_cores()} cores, one thread")
    data_sets = []
    for name in arguments.data_sets:
        try:
            data_sets.append(DATA_SETS[name](arguments.out.resolve(), arguments.kuairand.resolve()))
        except FileNotFoundError as error:
            say(str(error))
    if arguments.tune:
        tune(data_sets, names, kept)
    tuned = json.loads(TUNED.read_text())
    for data in data_sets:
        chosen = {name: tuned[data.name][name] for name in names if name in tuned[data.name]}
        every = [evaluated(data, name, settings, arguments.seeds, kept) for name, settings in chosen.items()]
        for line in report(data, every, arguments.charts):
            say(line)


if __name__ == "__main__":
    main()
