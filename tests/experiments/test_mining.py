"""What is mined: the requested ranks of the items in the training split, without the items that the user clicked."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from twotower_assets.experiments.hold_out import HoldOut
from twotower_assets.experiments.mining import mine_negatives
from twotower_assets.experiments.training_request import TrainingRequest
from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.recipes.negative_settings import MinedNegatives
from twotower_assets.retrieval import index as index_module
from twotower_assets.two_tower.data.encoders import TrainingDataError
from twotower_assets.two_tower.data.training_set import build_training_set

ITEMS = list("abcdefgh")


class Model:
    """A model that ranks the catalogue in alphabetical order for everybody, and remembers what it was asked."""

    config = TrainingConfig(history_length=2)
    inverse_temperature = 1.0

    def __init__(self) -> None:
        self.histories: list[list[str]] = []
        self.ranked: list[str] = []

    def embed_items(self, items: pa.Table) -> Any:
        return np.zeros((items.num_rows, 2), np.float32)

    def item_bias(self, items: pa.Table) -> Any:
        return np.zeros(items.num_rows, np.float32)

    trained_popularity_weight = 1.0

    def log_q(self, item_ids: Any) -> Any:
        return np.zeros(len(item_ids), np.float32)

    def embed_users(self, user_ids: Any, histories: Any, users: Any) -> Any:
        self.histories = histories.to_pylist()
        return np.zeros((len(user_ids), 2), np.float32)

    def build_index(self, item_ids: list[str], *_: Any, **__: Any) -> Model:
        self.ranked = item_ids
        return self

    def search(self, vectors: Any, k: int) -> Any:
        return None, np.tile(np.arange(k), (len(vectors), 1))

    def __len__(self) -> int:
        return len(self.ranked)


@pytest.fixture
def hold_out() -> HoldOut:
    """ann clicks a, d and e, in this order, and then the held-out f and one in no list; bob clicks b."""
    clicks = [("ann", item) for item in ("a", "d", "e", "f", "unlisted")] + [("bob", "b")]
    splits = ["train", "train", "train", "validation", "test", "train"]
    pairs = pl.DataFrame(clicks, schema=["user_id", "item_id"], orient="row").with_columns(
        split=pl.Series(splits),
        clicked_at=pl.Series([datetime(2024, 1, 1, hour) for hour in range(6)]),
        history=pl.Series([[]] * 6, dtype=pl.List(pl.String)),
    )
    items = pa.table({"item_id": [*ITEMS, "unlisted"], "listed": [True] * 8 + [False]})
    nothing = pa.table({"item_id": pa.array([], pa.string()), "impressions": pa.array([], pa.int64())})
    return HoldOut(0, pairs, items, pa.table({"user_id": ["ann", "bob"]}), nothing)


def mined_from(hold_out: HoldOut, model: Model, first_rank: int, last_rank: int) -> dict[str, set[str]]:
    pairs = hold_out.pairs_in("train")
    data = build_training_set(pairs, hold_out.items_known_in("train"), hold_out.users, model.config)
    settings = MinedNegatives(per_positive=1, recipe="logq", first_rank=first_rank, last_rank=last_rank)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_module, "build_index", model.build_index)
        found = mine_negatives(TrainingRequest(hold_out, "clicks", 1.0), model, data, settings)  # type: ignore[arg-type]
    names = np.array(["", *data.item_ids.to_pylist()])
    users = data.encoder.users.ids.ids.to_pylist()
    members = found.members.toarray()
    assert not members[0].any()
    return {user: set(names[members[place]]) for place, user in enumerate(users, 1)}


@pytest.mark.parametrize(
    ("first", "last", "ann", "bob"),
    [(1, 3, "bc", "ac"), (2, 5, "bc", "cde"), (3, 4, "c", "cd"), (6, 500, "fgh", "fgh")],
)
def test_the_ranks_asked_for_are_mined_without_what_the_user_clicked_in_training(
    hold_out: HoldOut, first: int, last: int, ann: str, bob: str
) -> None:
    assert mined_from(hold_out, Model(), first, last) == {"ann": set(ann), "bob": set(bob)}


def test_the_model_ranks_after_the_last_clicks_of_training_and_knows_no_later_item(hold_out: HoldOut) -> None:
    model = Model()
    mined_from(hold_out, model, 1, 3)
    assert model.histories == [["d", "e"], ["b"]]
    assert model.ranked == ITEMS


def test_a_catalogue_without_such_ranks_is_refused_with_its_size(hold_out: HoldOut) -> None:
    with pytest.raises(TrainingDataError, match="8 items, so none has rank 9"):
        mined_from(hold_out, Model(), 9, 12)
