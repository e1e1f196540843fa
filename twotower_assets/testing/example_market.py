"""A market of 20 users and 32 items, on which a recipe trains in a second.

Here: its tables. Not here: what is checked on them (`suite.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.two_tower.data.item_sets import ItemSets
from twotower_assets.two_tower.data.training_set import TrainingSet, build_training_set

STRINGS = pa.list_(pa.string())
FEATURES = pa.map_(pa.string(), pa.string())
CLICKS = 300


@dataclass(frozen=True)
class Market:
    """Tables as the platform reads them for training, and a configuration."""

    pairs: pa.Table
    items: pa.Table
    users: pa.Table
    config: TrainingConfig
    exposures: pa.Table | None = None

    def configured(self, **changes: Any) -> Market:
        """The same market with other settings. Raises `pydantic.ValidationError`."""
        return replace(self, config=TrainingConfig.model_validate({**self.config.model_dump(), **changes}))

    def training_set(self) -> TrainingSet:
        """The arrays that training reads."""
        return build_training_set(self.pairs, self.items, self.users, self.config, self.exposures)


def example_market(config: TrainingConfig | None = None) -> Market:
    """301 clicks of 20 users on 31 of 32 items: even users like the first half of them, odd ones the second.

    Requests, contexts, exposures, features and paths of categories are all there, and each is missing somewhere. Users
    u0 to u11 were shown things. Each of the two categories has subcategories of three to eight items; the last one, of
    item i30, has nothing else in it; i31 is in the catalogue only; every tenth item has no category.
    """
    user, item = clicks()
    request = [None if row % 9 == 0 else f"r{row // 5}" for row in range(CLICKS)]
    context = [None if row % 7 == 0 else f"q{row % 4}" for row in range(CLICKS)]
    leaves = [None if i % 10 == 9 else "alone" if i == 30 else f"c{i // 15}.{(i % 15) // 4}" for i in range(32)]
    paths = [leaf and ([leaf] if leaf == "alone" else [leaf.split(".")[0], leaf]) for leaf in leaves]
    features = [[("price", str(1.5 * i)), ("brand", f"b{i % 3}")] if i % 7 else None for i in range(32)]
    generator, shown = np.random.default_rng(11), 200
    exposures = {
        "user_id": [f"u{u}" for u in generator.integers(0, 12, shown)],
        "item_id": [f"i{i}" for i in generator.integers(0, 32, shown)],
        "request_id": [f"r{r}" for r in generator.integers(0, 70, shown)],
        "context": [f"q{c}" for c in generator.integers(0, 6, shown)],
    }
    return Market(
        pairs=pa.table(
            {
                "user_id": [*(f"u{u}" for u in user.tolist()), "u0"],
                "item_id": [*(f"i{i}" for i in item.tolist()), "i30"],
                "clicked_at": pa.array(range(CLICKS + 1), pa.timestamp("us")),
                "history": pa.array([*histories(user, item), []], STRINGS),
                "weight": pa.array([*[None] * CLICKS, 2.0], pa.float32()),
                "request_id": pa.array([*request, None], pa.string()),
                "context": pa.array([*context, None], pa.string()),
            }
        ),
        items=pa.table(
            {
                "item_id": [f"i{i}" for i in range(32)],
                "category": pa.array(leaves, pa.string()),
                "categories": pa.array(paths, STRINGS),
                "features": pa.array(features, FEATURES),
            }
        ),
        users=pa.table(
            {
                "user_id": [f"u{u}" for u in range(10)],
                "features": pa.array([[("age", str(20 + u)), ("country", "x")] for u in range(10)], FEATURES),
            }
        ),
        config=config or TrainingConfig(),
        exposures=pa.table(exposures),
    )


def clicks() -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the users and items of 300 clicks, int64 [300] each, in the order of time."""
    generator = np.random.default_rng(7)
    user = generator.integers(0, 20, CLICKS)
    return user, (generator.random(CLICKS) ** 2 * 15).astype(int) + 15 * (user % 2)


def histories(user: np.ndarray, item: np.ndarray) -> list[list[str]]:
    """What the user of each click had clicked before, oldest first."""
    clicked: dict[int, list[str]] = {}
    before = []
    for u, i in zip(user.tolist(), item.tolist(), strict=True):
        before.append(list(clicked.setdefault(u, [])))
        clicked[u].append(f"i{i}")
    return before


def mined_lists(data: TrainingSet) -> ItemSets:
    """Three items for every user but the first, as a mined model would rank them."""
    users = np.repeat(np.arange(2, len(data.user_inputs.ids)), 3)
    items = 1 + (users * 5 + np.tile([0, 1, 2], len(users) // 3)) % (len(data.item_counts) - 1)
    return ItemSets.from_members(users, items, len(data.user_inputs.ids), len(data.item_counts))
