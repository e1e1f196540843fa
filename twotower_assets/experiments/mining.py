"""Hard negatives mined from a trained model: for each user, the items in a range of ranks, without clicked items."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twotower_assets.experiments.training_request import TrainingRequest
from twotower_assets.recipes.negative_settings import MinedNegatives

if TYPE_CHECKING:
    from twotower_assets.two_tower.checkpoint import Checkpoint
    from twotower_assets.two_tower.data.item_sets import ItemSets
    from twotower_assets.two_tower.data.training_set import TrainingSet


def mine_negatives(
    training: TrainingRequest, checkpoint: Checkpoint, training_set: TrainingSet, settings: MinedNegatives
) -> ItemSets:
    """For each user, the items that the model ranks from `first_rank` to `last_rank`, without those the user clicked.

    Raises `TrainingDataError` where the catalogue is too small to have such ranks.
    """
    import numpy as np
    import polars as pl

    from twotower_assets.retrieval.index import build_index
    from twotower_assets.two_tower.data.encoders import TrainingDataError
    from twotower_assets.two_tower.data.item_sets import ItemSets

    hold_out = training.hold_out
    items = hold_out.items_known_in(*training.train_splits)
    if items.num_rows < settings.first_rank:
        raise TrainingDataError(
            f"The catalogue has {items.num_rows} items, so none has rank {settings.first_rank}; lower `first_rank`."
        )
    item_ids = items["item_id"]
    index = build_index(
        item_ids.to_pylist(),
        checkpoint.embed_items(items),
        inverse_temperature=checkpoint.inverse_temperature,
        log_q=checkpoint.log_q(item_ids),
        trained_popularity_weight=checkpoint.trained_popularity_weight,
        bias=checkpoint.item_bias(items),
        threads=training.threads,
    )
    users = training_set.encoder.users.ids.ids
    clicks = hold_out.pairs.filter(pl.col("split").is_in(training.train_splits)).sort("clicked_at", "item_id")
    histories = (
        pl.DataFrame({"user_id": pl.Series(pl.from_arrow(users)).cast(pl.String)})
        .join(
            clicks.group_by("user_id").agg(pl.col("item_id").tail(checkpoint.config.history_length)),
            on="user_id",
            how="left",
            maintain_order="left",
        )["item_id"]
        .to_arrow()
    )
    vectors = checkpoint.embed_users(users, histories, hold_out.users)
    _, positions = index.search(vectors, min(settings.last_rank, len(index)))
    ranked = positions[:, settings.first_rank - 1 :]
    user_index = np.repeat(np.arange(1, len(users) + 1), ranked.shape[1])
    found = ranked.ravel() >= 0
    item_index = training_set.item_index(item_ids)[ranked.ravel()[found]]
    user_index = user_index[found]
    unclicked = ~training_set.clicked.contains(user_index, item_index)
    return ItemSets.from_members(
        user_index[unclicked], item_index[unclicked], len(users) + 1, len(training_set.item_counts)
    )
