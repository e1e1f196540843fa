"""What docs/popularity.md says of masks and of the double discount, measured on MovieLens-100K.

    python benchmarks/popularity.py [--seeds 3]

The protocol is that of `movielens_ratings` in recipes.py: trained on the training and validation splits, evaluated on
the test split, with the epochs chosen there. Nothing is chosen by these numbers.

- Masks: `in_batch` and `logq` without the mask of clicked items, with the mask alone, and with the mask whose share is
  given back (what the platform does): recall@20 in all and beyond the head, and δ, at γ = 1.
- Double discount: `in_batch`, which has divided popularity out once, served at γ = 1, at γ = 0, and with log q taken
  off once more, which the platform refuses to do.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from unittest.mock import patch

import numpy as np
from recipes import HERE, KUAIRAND, TRAIN_SPLITS, TUNED, DataSet, movielens_ratings

from twotower_assets.core.buckets import HEAD, popularity_buckets
from twotower_assets.evaluation.ranking import recall_at_k, restrict, top_k
from twotower_assets.evaluation.scores import ScoreBlock
from twotower_assets.experiments.evaluate_model import ModelEvaluation, diagnostic_rows, evaluate_checkpoint
from twotower_assets.experiments.train_recipe import train_recipe
from twotower_assets.experiments.training_request import TrainingRequest
from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.recipes.recipes import load_recipes
from twotower_assets.two_tower.data.training_set import TrainingSet
from twotower_assets.two_tower.loss import objective


def nothing_given_back(data: TrainingSet, _config: TrainingConfig) -> np.ndarray:
    return np.zeros(len(data.item_counts))


TREATMENTS = {
    "no mask of clicked items": ([], objective.log_unmasked_share),
    "mask alone": (["clicked"], nothing_given_back),
    "mask, share given back": (["clicked"], objective.log_unmasked_share),
}


def evaluated(data: DataSet, name: str, treatment: str, seed: int) -> ModelEvaluation:
    masks, share = TREATMENTS[treatment]
    recipes = load_recipes()
    changes = {**json.loads(TUNED.read_text())[data.name][name]["changes"], "masks": masks, "seed": seed}
    training = TrainingRequest(
        data.hold_out, "clicks", 1.0, train_splits=TRAIN_SPLITS, validation_split=None, threads=1
    )
    with patch.object(objective, "log_unmasked_share", share):
        trained = train_recipe(training, recipes[name].config(**changes), recipes, changes)
    return evaluate_checkpoint(trained.checkpoint, data.hold_out, "clicks", TRAIN_SPLITS)


def recalls(model: ModelEvaluation, scores: ScoreBlock) -> tuple[float, float]:
    """recall@20, and beyond the head."""
    lists = top_k(scores, len(model.view), model.view.seen, 20)
    beyond = restrict(model.view.relevant, popularity_buckets(model.counts) != HEAD)
    return tuple(float(np.nanmean(recall_at_k(lists, one, 20))) for one in (model.view.relevant, beyond))  # type: ignore[return-value]


def discounted_twice(model: ModelEvaluation) -> ScoreBlock:
    """Scores at γ = 0 less log q once more: a mistake that no function of the platform takes as a γ."""
    once = model.served(0.0)
    return lambda rows: once(rows) - model.log_q


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE.parent / ".twotower" / "bench_recipes")
    arguments = parser.parse_args()
    data = movielens_ratings(arguments.out.resolve(), KUAIRAND)
    for name in ("in_batch", "logq"):
        for treatment in TREATMENTS:
            models = [evaluated(data, name, treatment, seed) for seed in range(arguments.seeds)]
            recall, beyond = np.mean([recalls(model, model.served(1.0)) for model in models], axis=0)
            delta = np.mean([diagnostic_rows(model, 1.0)[-1]["delta"] for model in models])
            print(
                f"{name}, {treatment}: recall@20 {recall:.3f}, beyond the head {beyond:.3f}, δ {delta:+.2f}", flush=True
            )
            if name == "in_batch" and treatment == "mask, share given back":
                for label, scores_of in (
                    ("γ = 1", lambda model: model.served(1.0)),
                    ("γ = 0", lambda model: model.served(0.0)),
                    ("γ = 0 and log q taken off once more", discounted_twice),
                ):
                    recall, beyond = np.mean([recalls(model, scores_of(model)) for model in models], axis=0)
                    print(f"  {name} at {label}: recall@20 {recall:.3f}, beyond the head {beyond:.3f}", flush=True)


if __name__ == "__main__":
    main()
