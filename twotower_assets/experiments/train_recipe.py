"""Training a recipe on a hold-out: the training set, the model that negatives are mined from, early stopping.

`tower_checkpoint` and the comparison of recipes both call `train_recipe`. The training loop itself is in `two_tower`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twotower_assets.core.metric_rows import K
from twotower_assets.core.popularity import log_q
from twotower_assets.experiments.mining import mine_negatives
from twotower_assets.experiments.training_request import TrainingRequest
from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.recipes.negative_settings import ContextNegatives, ExposedNegatives, MinedNegatives
from twotower_assets.recipes.recipes import Recipe, recipe_named

if TYPE_CHECKING:
    from twotower_assets.two_tower.checkpoint import Checkpoint
    from twotower_assets.two_tower.data.training_set import TrainingSet
    from twotower_assets.two_tower.training.loop import TrainingResult

log = logging.getLogger(__name__)
RECIPE_SETTINGS = (
    "negatives",
    "correction",
    "proposal",
    "masks",
    "positive_aware_share",
    "batch_order",
    "item_bias",
    "learn_temperature",
    "loss",
)
"""Settings that define a recipe: negative sampling and popularity. The others are size, effort and features."""


@dataclass(frozen=True)
class TrainedModel:
    """A trained model, its training set, and how long the model took that negatives were mined from."""

    config: TrainingConfig
    training_set: TrainingSet
    result: TrainingResult
    mining_seconds: float

    @property
    def checkpoint(self) -> Checkpoint:
        """The model as a checkpoint in memory, not saved yet."""
        from twotower_assets.two_tower.checkpoint import Checkpoint

        return Checkpoint.from_result(self.result, self.training_set, self.config)

    @property
    def seconds(self) -> float:
        """Training time in seconds, including the model that negatives were mined from."""
        return self.mining_seconds + sum(report.seconds for report in self.result.reports)


def needs_exposures(config: TrainingConfig, recipes: Mapping[str, Recipe]) -> bool:
    """Whether a configuration, or the recipe that it mines, samples negatives from exposures."""
    return any(
        isinstance(source, ExposedNegatives | ContextNegatives)
        or (
            isinstance(source, MinedNegatives)
            and needs_exposures(recipe_named(recipes, source.recipe).config(), recipes)
        )
        for source in config.negatives
    )


def train_recipe(
    training: TrainingRequest,
    config: TrainingConfig,
    recipes: Mapping[str, Recipe],
    changes: Mapping[str, Any],
    scratch: Callable[[str], Path] | None = None,
) -> TrainedModel:
    """Train a configuration. A recipe that it mines negatives from is trained first, on the same pairs.

    Args:
        training: The data, and how the towers are validated.
        config: A recipe's configuration with `changes` applied.
        recipes: All known recipes, including the mined one.
        changes: Settings that override the mined recipe's, except its negatives.
        scratch: Folder for the resume state of `model` or of `mined`; None keeps none.

    Raises:
        TrainingDataError: the data lack what the configuration needs.
    """
    from twotower_assets.two_tower.data.training_set import build_training_set
    from twotower_assets.two_tower.training.loop import train

    hold_out = training.hold_out
    pairs = hold_out.pairs_in(*training.train_splits)
    items = hold_out.items_known_in(*training.train_splits)
    training_set = build_training_set(pairs, items, hold_out.users, config, hold_out.exposures)
    mined, mining_seconds = None, 0.0
    for source in config.negatives:
        if isinstance(source, MinedNegatives):
            miner_changes = {name: value for name, value in changes.items() if name != "negatives"}
            miner_config = recipe_named(recipes, source.recipe).config(**miner_changes)
            miner = train_recipe(training, miner_config, recipes, miner_changes, _prefixed(scratch, "mined"))
            mined = mine_negatives(training, miner.checkpoint, training_set, source)
            mining_seconds = miner.seconds
    result = train(
        training_set,
        config,
        validate=_validation(training, training_set, config),
        on_epoch=training.on_epoch,
        resume_dir=scratch("model") if scratch else None,
        validation=training.validation_description,
        progress=training.show_progress,
        threads=training.threads,
        device=training.device,
        mined=mined,
    )
    return TrainedModel(config, training_set, result, mining_seconds)


def _prefixed(scratch: Callable[[str], Path] | None, prefix: str) -> Callable[[str], Path] | None:
    return (lambda name: scratch(f"{prefix}-{name}")) if scratch else None


def _validation(
    training: TrainingRequest, training_set: TrainingSet, config: TrainingConfig
) -> Callable[[Any], float] | None:
    """A function that gives towers' recall@20 on the validation split at the served γ; None if the split is empty."""
    import numpy as np

    from twotower_assets.evaluation.ranking import recall_at_k, top_k
    from twotower_assets.evaluation.scores import inner_products, served_scores
    from twotower_assets.two_tower.towers.embedding import Embedder

    if training.validation_split is None:
        return None
    hold_out = training.hold_out
    view = hold_out.view(training.train_splits, training.validation_split, config.history_length)
    if not len(view.relevant.values):
        log.warning("No user has a validation click, so training runs for all %d epochs.", config.epochs)
        return None
    popularity = log_q(hold_out.item_popularity(training.popularity_from, *training.train_splits))
    gamma, trained_weight = training.popularity_weight, config.trained_popularity_weight

    def validate(towers: Any) -> float:
        embedder = Embedder(towers, training_set.encoder)
        items = embedder.embed_items(hold_out.items)
        users = embedder.embed_users(view.user_ids, view.histories, hold_out.users)
        scores = inner_products(users, items, embedder.inverse_temperature, embedder.item_bias(hold_out.items))
        lists = top_k(served_scores(scores, popularity, gamma, trained_weight), len(view), view.seen, K)
        return float(np.nanmean(recall_at_k(lists, view.relevant, K)))

    return validate


def changed_settings(config: TrainingConfig, recipe: Recipe) -> Sequence[str]:
    """The names of the settings that define a recipe, and that a configuration has changed."""
    unchanged = recipe.config()
    return [name for name in RECIPE_SETTINGS if getattr(config, name) != getattr(unchanged, name)]
