"""A small market that every test of the towers can train on in a second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.two_tower.data.training_set import TrainingSet, build_training_set

STRINGS = pa.list_(pa.string())
FEATURES = pa.map_(pa.string(), pa.string())


@dataclass(frozen=True)
class Market:
    pairs: pa.Table
    items: pa.Table
    users: pa.Table
    config: TrainingConfig
    exposures: pa.Table | None = None

    def configured(self, **changes: Any) -> Market:
        config = TrainingConfig.model_validate({**self.config.model_dump(), **changes})
        return Market(self.pairs, self.items, self.users, config, self.exposures)

    def training_set(self) -> TrainingSet:
        return build_training_set(self.pairs, self.items, self.users, self.config, self.exposures)


@pytest.fixture(scope="package", autouse=True)
def on_one_thread(one_thread: None) -> None:
    """Whatever is trained here is tiny."""


@pytest.fixture
def make_pairs() -> Callable[..., pa.Table]:
    """Pairs from lists; histories are empty and weights null unless given."""

    def make(users: list[Any], items: list[Any], histories: Any = None, weights: Any = None) -> pa.Table:
        return pa.table(
            {
                "user_id": pa.array(users, pa.string()),
                "item_id": pa.array(items, pa.string()),
                "clicked_at": pa.array(range(len(users)), pa.timestamp("us")),
                "history": pa.array(histories or [[]] * len(users), STRINGS),
                "weight": pa.array(weights or [None] * len(users), pa.float32()),
            }
        )

    return make


@pytest.fixture
def market(make_pairs: Callable[..., pa.Table]) -> Market:
    """300 clicks of 20 users on 30 items: even users like the first half of them, odd ones the second."""
    generator = np.random.default_rng(7)
    user = generator.integers(0, 20, 300)
    item = (generator.random(300) ** 2 * 15).astype(int) + 15 * (user % 2)
    clicked: dict[int, list[str]] = {}
    histories = []
    for u, i in zip(user.tolist(), item.tolist(), strict=True):
        histories.append(list(clicked.setdefault(u, [])))
        clicked[u].append(f"i{i}")
    categories = [None if i % 10 == 9 else f"c{i // 15}" for i in range(30)]
    item_features = [{"price": str(1.5 * i), "brand": f"b{i % 3}"} if i % 7 else None for i in range(30)]
    return Market(
        pairs=make_pairs([f"u{u}" for u in user], [f"i{i}" for i in item], histories),
        items=pa.table(
            {
                "item_id": [f"i{i}" for i in range(30)],
                "category": pa.array(categories, pa.string()),
                "features": pa.array([f and list(f.items()) for f in item_features], FEATURES),
            }
        ),
        users=pa.table(
            {
                "user_id": [f"u{u}" for u in range(10)],
                "features": pa.array([[("age", str(20 + u)), ("country", "x")] for u in range(10)], FEATURES),
            }
        ),
        config=TrainingConfig(
            dimensions=8, batch_size=32, epochs=3, history_length=4, learning_rate=0.02, unknown_id_share=0.1
        ),
    )


@pytest.fixture
def rich_market(market: Market) -> Market:
    """The market with every kind of feature and an MLP in use."""
    return market.configured(
        hidden_sizes=[12],
        item_categorical_features=["brand"],
        item_numeric_features=["price"],
        user_categorical_features=["country"],
        user_numeric_features=["age"],
        weight_decay=0.01,
        minimum_item_clicks=2,
    )


@pytest.fixture
def logged_market(market: Market) -> Market:
    """The market with requests, contexts, exposures and paths of categories, each of them missing somewhere.

    Users u0 to u11 were shown things; each of the two categories has subcategories of three to eight items; the last
    one, of item i30, has nothing else in it; i31 is in the catalogue only; every tenth item has no category.
    """
    generator = np.random.default_rng(11)
    rows = market.pairs.num_rows
    request = pa.array([None if row % 9 == 0 else f"r{row // 5}" for row in range(rows)], pa.string())
    context = pa.array([None if row % 7 == 0 else f"q{row % 4}" for row in range(rows)], pa.string())
    leaves = [None if i % 10 == 9 else "alone" if i == 30 else f"c{i // 15}.{(i % 15) // 4}" for i in range(32)]
    paths = [leaf and ([leaf] if leaf == "alone" else [leaf.split(".")[0], leaf]) for leaf in leaves]
    shown = 200
    exposures = pa.table(
        {
            "user_id": [f"u{u}" for u in generator.integers(0, 12, shown)],
            "item_id": [f"i{i}" for i in generator.integers(0, 32, shown)],
            "request_id": pa.array([f"r{r}" for r in generator.integers(0, 70, shown)]),
            "context": pa.array([f"q{c}" for c in generator.integers(0, 6, shown)]),
        }
    )
    items = pa.table(
        {
            "item_id": [f"i{i}" for i in range(32)],
            "category": pa.array(leaves, pa.string()),
            "categories": pa.array(paths, STRINGS),
        }
    )
    last = pa.table(
        {
            "user_id": ["u0"],
            "item_id": ["i30"],
            "clicked_at": pa.array([rows], pa.timestamp("us")),
            "history": pa.array([[]], STRINGS),
            "weight": pa.array([2.0], pa.float32()),
            "request_id": pa.array([None], pa.string()),
            "context": pa.array([None], pa.string()),
        }
    )
    pairs = market.pairs.append_column("request_id", request).append_column("context", context)
    return Market(pa.concat_tables([pairs, last]), items, market.users, market.config, exposures)
