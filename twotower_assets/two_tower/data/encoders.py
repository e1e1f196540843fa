"""Turns Arrow rows of users and items into the index and number arrays that the towers read.

Here: reading the feature maps, vocabularies of feature values, standardisation, and the arrays themselves. Not here:
training pairs (`training_set.py`), and embeddings or any other tensor (`towers`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from twotower_assets.core.errors import ExpectedError
from twotower_assets.core.ragged import Ragged
from twotower_assets.core.suggestions import did_you_mean
from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.two_tower.data.vocabulary import UNKNOWN, Vocabulary, as_strings

UNKNOWN_CATEGORY = "unknown"


class TrainingDataError(ExpectedError, ValueError):
    """The tables cannot be used for training or encoding; the message says what was expected and what was found."""


@dataclass(frozen=True)
class SideInputs:
    """The inputs of a tower for n rows: `ids` int64 [n], `categorical` int64 [n, c], `numeric` float32 [n, m]."""

    ids: npt.NDArray[np.int64]
    categorical: npt.NDArray[np.int64]
    numeric: npt.NDArray[np.float32]

    def take(self, rows: npt.NDArray[np.int64]) -> SideInputs:
        """The given rows (int64 [m]) in the given order."""
        return SideInputs(self.ids[rows], self.categorical[rows], self.numeric[rows])


@dataclass(frozen=True)
class NumericScale:
    """Standardises a numeric feature: (value - mean) / deviation, and 0 where it is missing."""

    mean: float
    deviation: float

    @classmethod
    def fit(cls, values: npt.NDArray[np.float64]) -> NumericScale:
        """Mean and standard deviation of the finite values; 0 and 1 if there are none."""
        finite = values[np.isfinite(values)]
        if not len(finite):
            return cls(0.0, 1.0)
        return cls(float(finite.mean()), float(finite.std()) or 1.0)

    def apply(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        """Standardised values, float32, of the same shape."""
        scaled = (values - self.mean) / self.deviation
        return np.where(np.isfinite(scaled), scaled, 0.0).astype(np.float32)


def require_columns(table: pa.Table, name: str, columns: tuple[str, ...]) -> None:
    """Raise TrainingDataError if the table lacks one of the columns."""
    missing = [column for column in columns if column not in table.column_names]
    if missing:
        raise TrainingDataError(
            f"Table {name} has no column {', '.join(map(repr, missing))} (it has: "
            f"{', '.join(table.column_names) or 'none'}). It needs: {', '.join(columns)}."
        )


def require_features(config: TrainingConfig, items: Collection[str], users: Collection[str]) -> None:
    """Raise `TrainingDataError` if settings name features that no item, or no user, has a value of."""
    for side, known in (("item", items), ("user", users)):
        for kind in ("categorical", "numeric"):
            for key in getattr(config, f"{side}_{kind}_features"):
                if key not in known:
                    listed = f"Their features: {', '.join(sorted(known))}" if known else "They have no features"
                    raise TrainingDataError(
                        f"{side}_{kind}_features names '{key}', which none of the {side}s has"
                        f"{did_you_mean(key, known)} {listed}. Features are the columns of {side}s.sql that are not in "
                        "the data contract."
                    )


def feature_keys(table: pa.Table) -> set[str]:
    """The keys of the map column `features` that have a value in some row."""
    keys: set[str] = set()
    for maps in _feature_maps(table).chunks if has_features(table) else ():
        keys |= set(pc.unique(maps.keys.filter(maps.items.is_valid())).to_pylist())
    return keys


def has_features(table: pa.Table) -> bool:
    """Whether it has a column `features` that holds something."""
    return "features" in table.column_names and not pa.types.is_null(table.schema.field("features").type)


def _feature_maps(table: pa.Table) -> pa.ChunkedArray:
    maps = table.column("features")
    if not pa.types.is_map(maps.type):
        raise TrainingDataError(f"Column 'features' must be a map of strings to strings, but it is {maps.type}.")
    return maps


def string_feature(table: pa.Table, key: str) -> pa.Array:
    """The values under `key` in the map column `features`, large_string [n], null where missing."""
    if not has_features(table):
        return pa.nulls(table.num_rows, pa.large_string())
    maps = _feature_maps(table)
    return as_strings(pc.map_lookup(maps, pa.scalar(key, maps.type.key_type), "first"))


def numeric_feature(table: pa.Table, key: str) -> npt.NDArray[np.float64]:
    """The values of `string_feature` as float64 [n], NaN where missing; TrainingDataError if not numeric."""
    try:
        numbers = string_feature(table, key).cast(pa.float64())
    except pa.ArrowInvalid as error:
        raise TrainingDataError(
            f"Feature {key!r} is configured as numeric, but has a value that is not a number ({error}). "
            "List it among the categorical features, or correct it in the data set's SQL."
        ) from error
    values: npt.NDArray[np.float64] = pc.fill_null(numbers, float("nan")).to_numpy(zero_copy_only=False)
    return values


def item_categories(items: pa.Table) -> pa.Array:
    """Category of each item, large_string [n]; 'unknown' where it is null or the column is missing."""
    if "category" not in items.column_names:
        return pa.array([UNKNOWN_CATEGORY] * items.num_rows, pa.large_string())
    return pc.fill_null(as_strings(items.column("category")), UNKNOWN_CATEGORY)


@dataclass(frozen=True)
class SideEncoder:
    """Turns rows of one table, users or items, into SideInputs.

    The first `embedded_ids` ids of the vocabulary have an embedding of their own; later ones share that of the unknown
    id. `categorical` and `numeric` are keyed by feature name. The category of items has the key ''; it is left out if
    all items have the same.
    """

    ids: Vocabulary
    embedded_ids: int
    categorical: dict[str, Vocabulary]
    numeric: dict[str, NumericScale]

    def encode_ids(self, ids: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int64]:
        """Embedding row of each id, int64 [n]; 0 for unknown and rare ids."""
        return self.share_unknown(self.ids.encode(ids))

    def share_unknown(self, index: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Embedding row of each vocabulary index, same shape: 0 for ids too rare to have one."""
        return np.where(index <= self.embedded_ids, index, UNKNOWN)

    def encode(self, ids: pa.Array | pa.ChunkedArray, table: pa.Table) -> SideInputs:
        """SideInputs of the n rows of `table`, whose ids are `ids`."""
        return SideInputs(self.encode_ids(ids), *encode_attributes(table, self.categorical, self.numeric))

    def describe(self) -> dict[str, Any]:
        """Everything except the ids, as JSON values. The keys are part of the checkpoint format."""
        return {
            "own_rows": self.embedded_ids,
            "categorical": {key: values.ids.to_pylist() for key, values in self.categorical.items()},
            "numeric": {key: [scale.mean, scale.deviation] for key, scale in self.numeric.items()},
        }

    @classmethod
    def from_description(cls, ids: Vocabulary, description: dict[str, Any]) -> SideEncoder:
        """The encoder with these ids and what `describe` returned."""
        return cls(
            ids=ids,
            embedded_ids=int(description["own_rows"]),
            categorical={
                key: Vocabulary(pa.array(values, pa.large_string()))
                for key, values in description["categorical"].items()
            },
            numeric={key: NumericScale(*map(float, scale)) for key, scale in description["numeric"].items()},
        )


def encode_attributes(
    table: pa.Table, categorical: dict[str, Vocabulary], numeric: dict[str, NumericScale]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Category indices int64 [n, c] and standardised numbers float32 [n, m] of the rows of a table."""
    rows = table.num_rows
    indices = np.zeros((rows, len(categorical)), np.int64)
    for column, (key, vocabulary) in enumerate(categorical.items()):
        indices[:, column] = vocabulary.encode(string_feature(table, key) if key else item_categories(table))
    numbers = np.zeros((rows, len(numeric)), np.float32)
    for column, (key, scale) in enumerate(numeric.items()):
        numbers[:, column] = scale.apply(numeric_feature(table, key))
    return indices, numbers


@dataclass(frozen=True)
class Encoder:
    """Encoders of users, items and histories: all that turns tables into the inputs of the towers."""

    users: SideEncoder
    items: SideEncoder
    history_length: int

    def encode_items(self, items: pa.Table) -> SideInputs:
        """Inputs of the item tower for each row of `items` (item_id, category, features)."""
        require_columns(items, "items", ("item_id",))
        return self.items.encode(items.column("item_id"), items)

    def encode_users(self, user_ids: pa.Array | pa.ChunkedArray, users: pa.Table | None) -> SideInputs:
        """Inputs of the user tower for each id [m], with their features from `users`."""
        return self.users.encode(user_ids, lookup_rows(user_ids, users, "user_id"))

    def encode_histories(self, histories: pa.Array | pa.ChunkedArray) -> Ragged:
        """The last `history_length` known items of each list (oldest first) as embedding rows."""
        encoded = self.items.ids.encode_lists(histories)
        encoded = Ragged(encoded.offsets, self.items.share_unknown(encoded.values))
        return encoded.where(encoded.values != UNKNOWN).last(self.history_length)


def lookup_rows(ids: pa.Array | pa.ChunkedArray, table: pa.Table | None, key: str) -> pa.Table:
    """The row of `table` for each id [n]: all null for ids it lacks, the first row for repeated ids."""
    if table is None or not table.num_rows:
        return pa.table({key: as_strings(ids)})
    require_columns(table, key.removesuffix("_id") + "s", (key,))
    rows = pc.index_in(as_strings(ids), value_set=as_strings(table.column(key)))
    return table.take(rows).set_column(table.column_names.index(key), key, as_strings(ids))
