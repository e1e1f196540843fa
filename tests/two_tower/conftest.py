"""A small market that every test of the towers can train on in a second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.testing.example_market import FEATURES, STRINGS, Market, clicks, example_market, histories


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
    user, item = clicks()
    categories = [None if i % 10 == 9 else f"c{i // 15}" for i in range(30)]
    item_features = [{"price": str(1.5 * i), "brand": f"b{i % 3}"} if i % 7 else None for i in range(30)]
    return Market(
        pairs=make_pairs([f"u{u}" for u in user], [f"i{i}" for i in item], histories(user, item)),
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
    """The market that is shipped for tests, without features of items."""
    example = example_market(market.config)
    return replace(example, items=example.items.drop_columns(["features"]))
