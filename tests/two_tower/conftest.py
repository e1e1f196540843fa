"""A small market that every test of the towers can train on in a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from twotower_assets.two_tower.config import TrainingConfig
from twotower_assets.two_tower.dataset import TrainingSet, build_training_set

STRINGS = pa.list_(pa.string())
FEATURES = pa.map_(pa.string(), pa.string())


@dataclass(frozen=True)
class Market:
    pairs: pa.Table
    items: pa.Table
    users: pa.Table
    config: TrainingConfig

    def configured(self, **changes: Any) -> Market:
        config = TrainingConfig.model_validate({**self.config.model_dump(), **changes})
        return Market(self.pairs, self.items, self.users, config)

    def training_set(self) -> TrainingSet:
        return build_training_set(self.pairs, self.items, self.users, self.config)


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny batches gain nothing from threads, and lose much where other processes want the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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
