"""Turns the tables of training pairs and catalogue into the arrays that a training run reads.

Here: vocabularies, item counts, and what each user clicked, all from the training pairs alone; and the errors for
unusable pairs. Not here: which pairs are for training (the SQL decides), item sets for hard negatives
(`negative_pools.py`), and anything random.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from twotower_assets.core.ragged import Ragged
from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.two_tower.data.encoders import (
    Encoder,
    NumericScale,
    SideEncoder,
    SideInputs,
    TrainingDataError,
    feature_keys,
    item_categories,
    lookup_rows,
    numeric_feature,
    require_columns,
    require_features,
    string_feature,
)
from twotower_assets.two_tower.data.item_sets import ItemSets
from twotower_assets.two_tower.data.negative_pools import NegativePools, encode_groups, negative_pools
from twotower_assets.two_tower.data.vocabulary import Vocabulary, as_strings

PAIR_COLUMNS = ("user_id", "item_id", "history")


@dataclass(frozen=True)
class TrainingSet:
    """N training pairs as arrays, and the encoder that made them.

    User indices are 1 … U. Item indices are 1 … I for items with training pairs, as in the vocabulary, and I + 1 … M
    for the rest of the catalogue; index 0 is no user and no item.

    Attributes:
        user, item: int64 [N], the indices of each pair.
        history: Embedding rows of the last L known items before each click.
        weights: float32 [N].
        clicked_at: int64 [N], microseconds; 0 where unknown.
        request, context: int64 [N], indices of the pair's request and context; -1 where it has none.
        item_counts: int64 [M + 1], the number of pairs of each item.
        user_inputs: The inputs of the user tower for each user index, U + 1 rows.
        item_inputs: The inputs of the item tower for each item index, M + 1 rows.
        encoder: Made the inputs, and makes those of other tables.
        pools: The sets that hard negatives are drawn from.
        item_ids: string [M], the ids of the items 1 … M.
    """

    user: npt.NDArray[np.int64]
    item: npt.NDArray[np.int64]
    history: Ragged
    weights: npt.NDArray[np.float32]
    clicked_at: npt.NDArray[np.int64]
    request: npt.NDArray[np.int64]
    context: npt.NDArray[np.int64]
    item_counts: npt.NDArray[np.int64]
    user_inputs: SideInputs
    item_inputs: SideInputs
    encoder: Encoder
    pools: NegativePools
    item_ids: pa.Array

    def __len__(self) -> int:
        return len(self.user)

    def item_index(self, item_ids: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int64]:
        """The index of each item, int64 [n]; 0 for items in neither pairs nor catalogue."""
        return Vocabulary(self.item_ids).encode(item_ids)

    @property
    def q(self) -> npt.NDArray[np.float64]:
        """Share of each item among the pairs, and so among in-batch negatives, float64 [M + 1]."""
        shares: npt.NDArray[np.float64] = self.item_counts / self.item_counts.sum()
        return shares

    @cached_property
    def clicked(self) -> ItemSets:
        """The items that each user clicked in the training pairs, one set per user index."""
        return ItemSets.from_members(self.user, self.item, len(self.user_inputs.ids), len(self.item_counts))

    def fingerprint(self) -> str:
        """SHA-256 over everything that training reads."""
        digest = hashlib.sha256()
        sides = (self.user_inputs, self.item_inputs)
        arrays: list[npt.NDArray[Any]] = [
            self.user,
            self.item,
            self.history.offsets,
            self.history.values,
            self.weights,
            self.clicked_at,
            self.request,
            self.context,
            *self.pools.arrays(),
        ]
        arrays += [array for side in sides for array in (side.ids, side.categorical, side.numeric)]
        for array in arrays:
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data if array.size else b"")
        for side in (self.encoder.users, self.encoder.items):
            for ids in (side.ids, *side.categorical.values()):
                digest.update(pa.RecordBatch.from_arrays([ids.ids], ["ids"]).serialize())
        return digest.hexdigest()


def build_training_set(
    pairs: pa.Table, items: pa.Table, users: pa.Table, config: TrainingConfig, exposures: pa.Table | None = None
) -> TrainingSet:
    """Encode the training pairs.

    Args:
        pairs: `user_id`, `item_id`, `history` list<string> (items clicked strictly before, oldest first), and
            optionally `weight` (null means 1), `clicked_at`, `request_id` and `context`. One row per positive.
        items: `item_id`, optionally `category`, `categories` (the path, widest first) and `features`
            map<string, string>. Items without a row have the category 'unknown' and no features.
        users: `user_id`, optionally `features`. May be empty.
        config: Names the features and the negatives, and sets L and the clicks an item needs for its own embedding.
        exposures: `user_id`, `item_id` of what was shown and not clicked, optionally `request_id` and `context`.

    Raises:
        TrainingDataError: Missing columns, no pairs, null ids, fewer than two distinct items, weights that are
            negative, not finite or all zero, a feature that no row has, a numeric feature that is not numeric, or data
            that lack what a configured source of negatives needs.
    """
    _require_usable(pairs, items, users)
    require_features(config, feature_keys(items), feature_keys(users))
    user_vocabulary = Vocabulary.from_values(pairs.column("user_id"))
    item_vocabulary, counts = _items_by_frequency(pairs.column("item_id"))
    embedded_items = int((counts >= config.minimum_item_clicks).sum())
    catalogue = _with_unclicked_items(item_vocabulary, items)
    trained_items = lookup_rows(item_vocabulary.ids, items, "item_id")
    trained_users = lookup_rows(user_vocabulary.ids, users, "user_id")
    encoder = Encoder(
        users=_side_encoder(
            user_vocabulary,
            user_vocabulary.size - 1,
            trained_users,
            config.user_categorical_features,
            config.user_numeric_features,
        ),
        items=_side_encoder(
            item_vocabulary,
            embedded_items,
            trained_items,
            [*_category_feature(trained_items), *config.item_categorical_features],
            config.item_numeric_features,
        ),
        history_length=config.history_length,
    )
    item = item_vocabulary.encode(pairs.column("item_id"))
    groups = encode_groups(pairs, exposures)
    return TrainingSet(
        user=user_vocabulary.encode(pairs.column("user_id")),
        item=item,
        history=encoder.encode_histories(pairs.column("history")),
        weights=_weights(pairs),
        clicked_at=_click_times(pairs, config),
        request=groups.request,
        context=groups.context,
        item_counts=np.concatenate(
            [np.zeros(1, np.int64), counts, np.zeros(catalogue.size - 1 - len(counts), np.int64)]
        ),
        user_inputs=_with_unknown_row(encoder.users.encode(user_vocabulary.ids, trained_users)),
        item_inputs=_with_unknown_row(
            encoder.items.encode(catalogue.ids, lookup_rows(catalogue.ids, items, "item_id"))
        ),
        encoder=encoder,
        pools=negative_pools(config, catalogue, user_vocabulary, item, items, groups, exposures),
        item_ids=catalogue.ids,
    )


def _with_unclicked_items(trained: Vocabulary, items: pa.Table) -> Vocabulary:
    """The items with training pairs, then the rest of the catalogue by id."""
    catalogue = pc.unique(as_strings(items.column("item_id"))).drop_null().sort()
    unclicked = catalogue.filter(pc.invert(pc.is_in(catalogue, value_set=trained.ids)))
    return Vocabulary(pa.concat_arrays([trained.ids, unclicked]))


def _click_times(pairs: pa.Table, config: TrainingConfig) -> npt.NDArray[np.int64]:
    if "clicked_at" not in pairs.column_names:
        if config.proposal == "decayed":
            raise TrainingDataError("proposal 'decayed' needs the column 'clicked_at' in the training pairs.")
        return np.zeros(pairs.num_rows, np.int64)
    times = pairs.column("clicked_at").cast(pa.timestamp("us")).cast(pa.int64())
    microseconds: npt.NDArray[np.int64] = pc.fill_null(times, 0).to_numpy()
    return microseconds


def _require_usable(pairs: pa.Table, items: pa.Table, users: pa.Table) -> None:
    require_columns(pairs, "pairs", PAIR_COLUMNS)
    require_columns(items, "items", ("item_id",))
    require_columns(users, "users", ("user_id",))
    if not pairs.num_rows:
        raise TrainingDataError(
            "There are no training pairs. Materialize the impressions of the training window, or widen it."
        )
    for column in ("user_id", "item_id"):
        if nulls := pairs.column(column).null_count:
            raise TrainingDataError(
                f"{nulls} of {pairs.num_rows} training pairs have a null {column}. Rows without ids "
                "must be rejected when the impressions are cleaned."
            )
    if pc.count_distinct(pairs.column("item_id")).as_py() < 2:
        only = pairs.column("item_id")[0].as_py()
        raise TrainingDataError(
            f"All {pairs.num_rows} training pairs have the same item, {only!r}. A softmax over items "
            "needs at least two; widen the training window."
        )


def _items_by_frequency(column: pa.ChunkedArray) -> tuple[Vocabulary, npt.NDArray[np.int64]]:
    """Vocabulary of the items, the most clicked first (ties by id), and the count of each."""
    counted = pa.table({"item": as_strings(column)}).group_by("item").aggregate([([], "count_all")])
    counted = counted.sort_by([("count_all", "descending"), ("item", "ascending")])
    counts = counted.column("count_all").to_numpy().astype(np.int64)
    return Vocabulary(counted.column("item")), counts


def _category_feature(trained_items: pa.Table) -> list[str]:
    """The key of the items' category; none if all items have the same, which carries no information."""
    return [""] if pc.count_distinct(item_categories(trained_items)).as_py() > 1 else []


def _side_encoder(
    ids: Vocabulary, embedded_ids: int, trained: pa.Table, categorical: list[str], numeric: list[str]
) -> SideEncoder:
    """Values and scales come from the rows of trained ids only, so that every value with an embedding was trained."""
    return SideEncoder(
        ids=ids,
        embedded_ids=embedded_ids,
        categorical={
            key: Vocabulary.from_values(string_feature(trained, key) if key else item_categories(trained))
            for key in categorical
        },
        numeric={key: NumericScale.fit(numeric_feature(trained, key)) for key in numeric},
    )


def _with_unknown_row(inputs: SideInputs) -> SideInputs:
    """The inputs after a first row of zeros: the unknown id, unknown values, mean numbers."""
    arrays = (inputs.ids, inputs.categorical, inputs.numeric)
    return SideInputs(*(np.concatenate([np.zeros_like(array, shape=(1, *array.shape[1:])), array]) for array in arrays))


def _weights(pairs: pa.Table) -> npt.NDArray[np.float32]:
    if "weight" not in pairs.column_names:
        return np.ones(pairs.num_rows, np.float32)
    column = pc.fill_null(pairs.column("weight").cast(pa.float32()), 1.0)
    weights: npt.NDArray[np.float32] = column.to_numpy()
    if not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise TrainingDataError(
            "Weights of training pairs must be finite, not negative and not all zero, but they range from "
            f"{weights.min()} to {weights.max()}. Correct 'weight' in the data set's SQL."
        )
    return weights
