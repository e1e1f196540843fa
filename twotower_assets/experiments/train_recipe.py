"""A recipe trained on a hold-out: the training set, the model that is mined first, early stopping.

`tower_checkpoint` and the comparison of recipes train by this one function. How towers are trained lives in
`two_tower`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twotower_assets.core.metric_rows import K
from twotower_assets.core.popularity import log_q
from twotower_assets.experiments.mining import mine
from twotower_assets.experiments.training_request import Training
from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.recipes.negative_settings import ContextNegatives, ExposedNegatives, MinedNegatives
from twotower_assets.recipes.recipes import Recipe, recipe_named

if TYPE_CHECKING:
    from twotower_assets.two_tower.checkpoint import Checkpoint
    from twotower_assets.two_tower.data.training_set import TrainingSet
    from twotower_assets.two_tower.training.loop import TrainingResult

log = logging.getLogger(__name__)
OF_A_RECIPE = (
    "negatives",
    "correction",
    "proposal",
    "masks",
    "positive_aware_share",
    "batch_order",
    "item_bias",
    "learn_temperature",
)
"""Settings that say how negatives are drawn and popularity is treated; the others are size, effort and features."""


@dataclass(frozen=True)
class Trained:
    """The model, what it was trained on, and the time that a mined model took before."""

    config: TrainingConfig
    training_set: TrainingSet
    result: TrainingResult
    mining_seconds: float

    @property
    def checkpoint(self) -> Checkpoint:
        """The model as it can be judged, not yet saved."""
        from twotower_assets.two_tower.checkpoint import Checkpoint

        return Checkpoint.from_result(self.result, self.training_set, self.config)

    @property
    def seconds(self) -> float:
        """Of training, that of a mined model included."""
        return self.mining_seconds + sum(report.seconds for report in self.result.reports)


def needs_exposures(config: TrainingConfig, recipes: Mapping[str, Recipe]) -> bool:
    """Whether the negatives, or those of the recipe that is mined, come from what was shown."""
    return any(
        isinstance(one, ExposedNegatives | ContextNegatives)
        or (isinstance(one, MinedNegatives) and needs_exposures(recipe_named(recipes, one.recipe).config(), recipes))
        for one in config.negatives
    )


def train_recipe(
    training: Training,
    config: TrainingConfig,
    recipes: Mapping[str, Recipe],
    changes: Mapping[str, Any],
    scratch: Callable[[str], Path] | None = None,
) -> Trained:
    """Train a configuration, and before it the recipe that it mines, with the same `changes`, on the same pairs.

    Args:
        training: The data, and how the towers are judged.
        config: From a recipe, with `changes`.
        recipes: All there are; the mined one is among them.
        changes: Settings over those of the mined recipe, which keeps its own negatives.
        scratch: Folder for the resume state of `model` or of `mined`; None keeps none.

    Raises:
        TrainingDataError: the data cannot give what the configuration asks for.
    """
    from twotower_assets.two_tower.data.training_set import build_training_set
    from twotower_assets.two_tower.training.loop import train

    hold_out = training.hold_out
    pairs = hold_out.pairs_of(*training.parts)
    items = hold_out.items_known_in(*training.parts)
    training_set = build_training_set(pairs, items, hold_out.users, config, hold_out.exposures)
    mined, mining_seconds = None, 0.0
    for one in config.negatives:
        if isinstance(one, MinedNegatives):
            others = {name: value for name, value in changes.items() if name != "negatives"}  # those are the miner's
            miner = recipe_named(recipes, one.recipe).config(**others)
            found = train_recipe(training, miner, recipes, others, _under(scratch, "mined"))
            mined = mine(training, found.checkpoint, training_set, one)
            mining_seconds = found.seconds
    result = train(
        training_set,
        config,
        validate=_validation(training, training_set, config),
        on_epoch=training.on_epoch,
        resume_dir=scratch("model") if scratch else None,
        validation=training.judged_by,
        progress=training.show_progress,
        threads=training.threads,
        mined=mined,
    )
    return Trained(config, training_set, result, mining_seconds)


def _under(scratch: Callable[[str], Path] | None, name: str) -> Callable[[str], Path] | None:
    return (lambda part: scratch(f"{name}-{part}")) if scratch else None


def _validation(training: Training, training_set: TrainingSet, config: TrainingConfig) -> Callable[[Any], float] | None:
    """recall@20 of towers on the validation part, at the served γ; None where nobody is in it."""
    import numpy as np

    from twotower_assets.evaluation.ranking import recall_at_k, top_k
    from twotower_assets.evaluation.scores import inner_products, served_scores
    from twotower_assets.two_tower.towers.embedding import Embedder

    if training.validated_on is None:
        return None
    hold_out = training.hold_out
    view = hold_out.view(training.parts, training.validated_on, config.history_length)
    if not len(view.relevant.values):
        log.warning("Nobody has a validation click, so nothing stops the training before %d epochs.", config.epochs)
        return None
    popularity = log_q(hold_out.item_popularity(training.popularity_from, *training.parts))
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
    """Of the settings that make a recipe what it is, the names of those in which a configuration differs from it."""
    own = recipe.config()
    return [name for name in OF_A_RECIPE if getattr(config, name) != getattr(own, name)]
