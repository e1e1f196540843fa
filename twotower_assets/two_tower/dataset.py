"""From the tables of training pairs and catalogue to the arrays that a training run reads.

Here: vocabularies, item counts and sampling probabilities, all from the training pairs alone, and the clear
refusals. Not here: which pairs are for training (the SQL decides), and anything drawn at random.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from twotower_assets.two_tower.config import TrainingConfig
from twotower_assets.two_tower.features import (
    Encoder,
    NumericScale,
    SideEncoder,
    SideInputs,
    TrainingDataError,
    feature_numbers,
    feature_strings,
    item_categories,
    require_columns,
    rows_of,
)
from twotower_assets.two_tower.ragged import Ragged
from twotower_assets.two_tower.vocabulary import Vocabulary, as_strings

PAIR_COLUMNS = ("user_id", "item_id", "history")


@dataclass(frozen=True)
class TrainingSet:
    """N training pairs as arrays, and the encoder that made them.

    `user` and `item` int64 [N] are vocabulary indices (1 … U, 1 … I); `history` holds the last L known items
    before each click as embedding rows; `weights` float32 [N]; `item_counts` int64 [I + 1] counts the pairs
    of each item (index 0, the unknown, has none). `user_inputs` [U + 1 rows] and `item_inputs` [I + 1 rows]
    are what the towers read for each index.
    """

    user: npt.NDArray[np.int64]
    item: npt.NDArray[np.int64]
    history: Ragged
    weights: npt.NDArray[np.float32]
    item_counts: npt.NDArray[np.int64]
    user_inputs: SideInputs
    item_inputs: SideInputs
    encoder: Encoder

    def __len__(self) -> int:
        return len(self.user)

    @property
    def q(self) -> npt.NDArray[np.float64]:
        """Share of each item in the pairs, and so in the in-batch negatives, float64 [I + 1]."""
        shares: npt.NDArray[np.float64] = self.item_counts / self.item_counts.sum()
        return shares

    def fingerprint(self) -> str:
        """SHA-256 over everything that training reads; equal data give equal fingerprints."""
        digest = hashlib.sha256()
        sides = (self.user_inputs, self.item_inputs)
        arrays: list[npt.NDArray[Any]] = [
            self.user,
            self.item,
            self.history.offsets,
            self.history.values,
            self.weights,
        ]
        arrays += [array for side in sides for array in (side.ids, side.categorical, side.numeric)]
        for array in arrays:
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data if array.size else b"")
        for side in (self.encoder.users, self.encoder.items):
            for ids in (side.ids, *side.categorical.values()):
                digest.update(pa.RecordBatch.from_arrays([ids.ids], ["ids"]).serialize())
        return digest.hexdigest()


def build_training_set(pairs: pa.Table, items: pa.Table, users: pa.Table, config: TrainingConfig) -> TrainingSet:
    """Encode the training pairs.

    Args:
        pairs: `user_id`, `item_id`, `history` list<string> (items clicked strictly before, oldest first), and
            optionally `weight` (null means 1). One row per positive.
        items: `item_id`, optionally `category` and `features` map<string, string>. Items without a row have
            the category 'unknown' and no features.
        users: `user_id`, optionally `features`. May be empty.
        config: Which features to read, L, and how many clicks give an item its own vector.

    Raises:
        TrainingDataError: missing columns, no pairs, null ids, fewer than two distinct items, weights that
            are negative, not finite or all zero, or a numeric feature that is not numeric.
    """
    _require_usable(pairs, items, users)
    user_vocabulary = Vocabulary.of_values(pairs.column("user_id"))
    item_vocabulary, counts = _items_by_frequency(pairs.column("item_id"))
    own_items = int((counts >= config.minimum_item_clicks).sum())
    trained_items = rows_of(item_vocabulary.ids, items, "item_id")
    trained_users = rows_of(user_vocabulary.ids, users, "user_id")
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
            own_items,
            trained_items,
            ["", *config.item_categorical_features],
            config.item_numeric_features,
        ),
        history_length=config.history_length,
    )
    return TrainingSet(
        user=user_vocabulary.encode(pairs.column("user_id")),
        item=item_vocabulary.encode(pairs.column("item_id")),
        history=encoder.encode_histories(pairs.column("history")),
        weights=_weights(pairs),
        item_counts=np.concatenate([np.zeros(1, np.int64), counts]),
        user_inputs=_with_unknown_row(encoder.users.encode(user_vocabulary.ids, trained_users)),
        item_inputs=_with_unknown_row(encoder.items.encode(item_vocabulary.ids, trained_items)),
        encoder=encoder,
    )


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
                "are to be rejected when the impressions are cleaned."
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


def _side_encoder(
    ids: Vocabulary, own_rows: int, trained: pa.Table, categorical: list[str], numeric: list[str]
) -> SideEncoder:
    """Values and scales come from the rows of trained ids only, so no other value gets a random vector."""
    return SideEncoder(
        ids=ids,
        own_rows=own_rows,
        categorical={
            key: Vocabulary.of_values(feature_strings(trained, key) if key else item_categories(trained))
            for key in categorical
        },
        numeric={key: NumericScale.of(feature_numbers(trained, key)) for key in numeric},
    )


def _with_unknown_row(inputs: SideInputs) -> SideInputs:
    """The inputs with a row of zeros (unknown id, unknown values, mean numbers) before the first."""
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
            f"{weights.min()} to {weights.max()}. Correct 'weight' in the SQL of the data set."
        )
    return weights
