"""How well the default recipe retrieves, on MovieLens-100K, beside EASE and the most popular items.

    python benchmarks/quality_movielens.py [--data FOLDER] [--seeds 3] [--json]
    python benchmarks/quality_movielens.py --tune

Protocol:

- All 100,000 ratings count as positives, whatever their value. Item category: the first genre; no other
  feature of items or users.
- Each user's ratings are ordered by timestamp, then by numeric item id. Test is what has percent_rank() > 0.8
  in that order, training the rest. Half the users have a tie in time at the cut, so the tie rule matters.
- A training pair's history holds the last L of the user's training ratings with a smaller timestamp (`time`).
  Letting in those with the same timestamp and a smaller item id (`order`) does no better on validation, see
  --tune. At test time the history is the last L training ratings of the user, in the order above.
- Every list ranks all 1,682 items, without those of the user's training part. Items never trained on take
  part with the vector of the unknown id and their category.
- recall@k = hits / |relevant|; NDCG@k against the ideal of min(k, |relevant|) hits; means over users.
  Beyond the head: recall@20 over the relevant items outside the most popular ones that hold half of the
  training clicks, mean over the users who have any. Coverage@20: share of the 1,682 items in any list.
- Hyper-parameters and the number of epochs are chosen by NDCG@20 on a validation split: the same rule,
  applied again within the training part (--tune shows every value tried). The final fit is on the whole
  training part, with the chosen number of epochs and no early stopping. No choice reads the test part.

The two-tower rows are `TrainingConfig()` as it stands, but for epochs = EPOCHS, chosen by the validation curve, mean of
three seeds; `recipes.py` compares recipes by the same protocol. They show mean ± standard deviation over seeds. EASE
(λ = 200)
sees no order, which is what the history adds here.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import torch

from twotower_assets.core.buckets import HEAD, popularity_buckets
from twotower_assets.core.cores import available_cores
from twotower_assets.core.ragged import Ragged
from twotower_assets.evaluation.baselines import ease, most_popular
from twotower_assets.evaluation.popularity_metrics import coverage_at_k
from twotower_assets.evaluation.ranking import ndcg_at_k, recall_at_k, restrict, top_k
from twotower_assets.evaluation.scores import inner_products
from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.two_tower.data.training_set import TrainingSet, build_training_set
from twotower_assets.two_tower.towers.embedding import Embedder
from twotower_assets.two_tower.towers.model import Towers
from twotower_assets.two_tower.training.loop import train

EPOCHS = 5
HELD_OUT_AFTER = 0.8
METRICS = ("recall@20", "NDCG@20", "recall@100", "beyond head@20", "coverage@20")
Metrics = dict[str, float]
ScoreBlock = Callable[[npt.NDArray[np.int64]], npt.NDArray[Any]]


@dataclass(frozen=True)
class Ratings:
    """Rows of (user, item, time), int64 [n] each, ordered by user, then time, then numeric item id."""

    user: npt.NDArray[np.int64]
    item: npt.NDArray[np.int64]
    time: npt.NDArray[np.int64]

    def take(self, rows: npt.NDArray[Any]) -> Ratings:
        return Ratings(self.user[rows], self.item[rows], self.time[rows])

    def user_starts(self) -> npt.NDArray[np.int64]:
        """First row of each row's user, int64 [n]."""
        return np.searchsorted(self.user, self.user, side="left").astype(np.int64)

    def split(self) -> tuple[Ratings, Ratings]:
        """(training, held out): held out is percent_rank() > 0.8 within the user."""
        starts = self.user_starts()
        ends = np.searchsorted(self.user, self.user, side="right")
        percent_rank = (np.arange(len(self.user)) - starts) / np.maximum(1, ends - starts - 1)
        return self.take(percent_rank <= HELD_OUT_AFTER), self.take(percent_rank > HELD_OUT_AFTER)

    def sets(self, n_users: int) -> Ragged:
        return Ragged.from_pairs(self.user, self.item, n_users)


@dataclass(frozen=True)
class Dataset:
    """Ratings with users and items as positions, and the items' table (item_id, category)."""

    ratings: Ratings
    items: pa.Table
    user_ids: pa.Array


def read(folder: Path) -> Dataset:
    """The three tab-separated files of the folder."""

    def table(name: str) -> pa.Table:
        return pyarrow.csv.read_csv(folder / f"ml-100k.{name}", parse_options=pyarrow.csv.ParseOptions(delimiter="\t"))

    interactions, items, users = table("inter"), table("item"), table("user")
    item_ids = np.sort(items.column("item_id:token").to_numpy())
    user_ids = np.sort(users.column("user_id:token").to_numpy())
    user = np.searchsorted(user_ids, interactions.column("user_id:token").to_numpy())
    item = np.searchsorted(item_ids, interactions.column("item_id:token").to_numpy())
    at = interactions.column("timestamp:float").to_numpy().astype(np.int64)
    ratings = Ratings(user, item, at).take(np.lexsort((item, at, user)))
    genres = dict(
        zip(
            items.column("item_id:token").to_pylist(),
            items.column("class:token_seq").to_pylist(),
            strict=True,
        )
    )
    category = [(genres[item_id] or "unknown").split()[0] for item_id in item_ids.tolist()]
    catalogue = pa.table({"item_id": pa.array(item_ids).cast(pa.string()), "category": category})
    return Dataset(ratings, catalogue, pa.array(user_ids).cast(pa.string()))


def slices(data: Dataset, ratings: Ratings, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> pa.Array:
    """list<string> [n]: item ids of the ratings from each start up to each end."""
    lengths = ends - starts
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    rows = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
    ids = data.items.column("item_id").combine_chunks().take(pa.array(ratings.item[rows]))
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), ids)


def training_pairs(data: Dataset, training: Ratings, length: int, ties: str) -> pa.Table:
    """The table that `build_training_set` reads; see the protocol for ties."""
    first, ends = training.user_starts(), np.arange(len(training.user))
    if ties == "time":
        moment = training.user * (training.time.max() + 1) + training.time
        ends = np.searchsorted(moment, moment, side="left")
    return pa.table(
        {
            "user_id": data.user_ids.take(pa.array(training.user)),
            "item_id": data.items.column("item_id").take(pa.array(training.item)),
            "history": slices(data, training, np.maximum(first, ends - length), ends),
        }
    )


class Evaluator:
    """The metrics of scores, against what was held out from `training`."""

    def __init__(self, data: Dataset, training: Ratings, held_out: Ratings) -> None:
        self.n_users, self.n_items = len(data.user_ids), data.items.num_rows
        self.seen, self.relevant = training.sets(self.n_users), held_out.sets(self.n_users)
        counts = np.bincount(training.item, minlength=self.n_items)
        self.beyond_head = restrict(self.relevant, popularity_buckets(counts) != HEAD)

    def __call__(self, scores: ScoreBlock) -> Metrics:
        lists = top_k(scores, self.n_users, self.seen, 100)
        per_user = (
            recall_at_k(lists, self.relevant, 20),
            ndcg_at_k(lists, self.relevant, 20),
            recall_at_k(lists, self.relevant, 100),
            recall_at_k(lists, self.beyond_head, 20),
        )
        means = [float(np.nanmean(values)) for values in per_user]
        return dict(zip(METRICS, [*means, coverage_at_k(lists, self.n_items, 20)], strict=True))


class Trial:
    """One training on `training`, and its scores for every user with the history at the end of it."""

    def __init__(self, data: Dataset, training: Ratings, config: TrainingConfig, ties: str = "time") -> None:
        self.data, self.training, self.config = data, training, config
        nobody = pa.table({"user_id": pa.array([], pa.string())})
        pairs = training_pairs(data, training, config.history_length, ties)
        self.training_set: TrainingSet = build_training_set(pairs, data.items, nobody, config)

    def scores(self, towers: Towers) -> ScoreBlock:
        everybody = np.arange(len(self.data.user_ids))
        first = np.searchsorted(self.training.user, everybody, side="left")
        ends = np.searchsorted(self.training.user, everybody, side="right")
        histories = slices(self.data, self.training, np.maximum(first, ends - self.config.history_length), ends)
        embedder = Embedder(towers, self.training_set.encoder)
        items = embedder.embed_items(self.data.items)
        users = embedder.embed_users(self.data.user_ids, histories)
        return inner_products(users, items, embedder.inverse_temperature, embedder.item_bias(self.data.items))

    def metrics(self, evaluator: Evaluator) -> Metrics:
        """After the configured number of epochs."""
        return evaluator(self.scores(train(self.training_set, self.config).towers))

    def curve(self, evaluator: Evaluator) -> list[Metrics]:
        """After each epoch, up to the early stop."""
        metrics: list[Metrics] = []

        def validate(towers: Towers) -> float:
            metrics.append(evaluator(self.scores(towers)))
            return metrics[-1]["NDCG@20"]

        train(self.training_set, self.config, validate=validate)
        return metrics


def mean_and_spread(model: str, runs: list[Metrics], seconds: float) -> dict[str, Any]:
    row: dict[str, Any] = {
        "model": model,
        "runs": len(runs),
        "seconds_per_run": round(seconds / len(runs), 1),
    }
    for metric in METRICS:
        values = [run[metric] for run in runs]
        row[metric] = round(float(np.mean(values)), 4)
        row[f"{metric} sd"] = round(float(np.std(values, ddof=1)), 4) if len(runs) > 1 else None
    return row


def timed(model: str, runs: Callable[[], list[Metrics]]) -> dict[str, Any]:
    started = time.perf_counter()
    metrics = runs()
    return mean_and_spread(model, metrics, time.perf_counter() - started)


def compare(data: Dataset, seeds: int) -> Iterator[dict[str, Any]]:
    """The rows of the table on the test part."""
    training, test = data.ratings.split()
    evaluator = Evaluator(data, training, test)
    counts = np.bincount(training.item, minlength=evaluator.n_items)
    yield timed("most popular", lambda: [evaluator(most_popular(counts))])
    yield timed(
        "EASE, λ = 200 (sees no order)",
        lambda: [evaluator(ease(training.user, training.item, evaluator.n_users, evaluator.n_items, 200.0))],
    )
    recipes: dict[str, dict[str, Any]] = {
        "two-tower without history": {"history_length": 0},
        "two-tower (recipe logq)": {},
        "two-tower, products in float32": {"products": "float32"},
        "two-tower, products in bfloat16": {"products": "bfloat16"},
    }
    for model, changes in recipes.items():
        configs = [TrainingConfig(epochs=EPOCHS, seed=seed, **changes) for seed in range(seeds)]
        started = time.perf_counter()
        runs = [Trial(data, training, config).metrics(evaluator) for config in configs]
        yield mean_and_spread(model, runs, time.perf_counter() - started)


GRID: dict[str, list[Any]] = {
    "temperature": [0.1, 0.15, 0.25, 0.3],
    "history_length": [0, 20, 50, 200],
    "history_half_life": [20.0, 100.0, 1e6],
    "history_second_half_life": [None, 2.0, 10.0],
    "history_power": [0.0, 1.0],
    "history_shares_items": [False],
    "average_half_life": [None, 0.5, 2.0],
    "dimensions": [32, 96, 128],
    "hidden_sizes": [[128]],
    "batch_size": [512, 2048],
    "learning_rate": [0.005, 0.02],
    "unknown_id_share": [0.0, 0.02, 0.15],
    "initial_scale": [0.01, 0.1],
    "masks": [[]],
    "correction": ["none", "logq_positive_excluded"],
}


def tune(data: Dataset, seeds: int) -> Iterator[dict[str, Any]]:
    """Validation rows: one value changed at a time, best epoch of each; then the default epoch by epoch."""
    inner, validation = data.ratings.split()[0].split()
    evaluator = Evaluator(data, inner, validation)
    linear = ease(inner.user, inner.item, evaluator.n_users, evaluator.n_items, 200.0)
    yield timed("EASE, λ = 200", lambda: [evaluator(linear)])
    one_changed = ((name, value) for name, values in GRID.items() for value in values)
    for name, value in chain([("ties", "time"), ("ties", "order")], one_changed):
        ties = value if name == "ties" else "time"
        config = TrainingConfig(**({} if name == "ties" else {name: value}))
        started = time.perf_counter()
        curve = Trial(data, inner, config, ties).curve(evaluator)
        best = max(range(len(curve)), key=lambda epoch: curve[epoch]["NDCG@20"])
        label = f"{name} = {value}, best epoch {best + 1}"
        yield mean_and_spread(label, [curve[best]], time.perf_counter() - started)
    configs = [TrainingConfig(epochs=12, patience=12, seed=seed) for seed in range(seeds)]
    curves = [Trial(data, inner, config).curve(evaluator) for config in configs]
    for epoch, runs in enumerate(zip(*curves, strict=True), start=1):
        yield mean_and_spread(f"default recipe after epoch {epoch}", list(runs), 0.0)


def as_line(row: dict[str, Any]) -> str:
    cells = []
    for metric in METRICS:
        spread = row[f"{metric} sd"]
        cells.append(f"{row[metric]:.3f}" + ("" if spread is None else f" ± {spread:.3f}"))
    return f"| {row['model']:<44} | " + " | ".join(f"{cell:<14}" for cell in cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of ml-100k.inter and ml-100k.item, else fetched")
    parser.add_argument("--seeds", type=int, default=3, help="trainings per two-tower row")
    parser.add_argument("--tune", action="store_true", help="show the validation results behind the defaults")
    parser.add_argument("--json", action="store_true", help="one JSON object per row")
    arguments = parser.parse_args()
    data = read(arguments.data or fetched())
    if not arguments.json:
        cores = available_cores()
        print(f"{cores} cores, Python {platform.python_version()}, torch {torch.__version__}")
        print(f"| {'model':<44} | " + " | ".join(f"{metric:<14}" for metric in METRICS), "| s per run |")
    for row in (tune if arguments.tune else compare)(data, arguments.seeds):
        print(json.dumps(row) if arguments.json else f"{as_line(row)} | {row['seconds_per_run']} |", flush=True)


def fetched() -> Path:
    from twotower_assets.datasets.movielens import fetch_movielens
    from twotower_assets.settings import load_settings

    return fetch_movielens(load_settings().cache_folder / "movielens")


if __name__ == "__main__":
    main()
