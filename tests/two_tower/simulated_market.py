"""A market of known joint distribution, and free score tables trained through the real loss.

Here: the market, a stand-in for the towers whose scores can become anything, the fit, and the distance of what was
learned from what should have been. Not here: the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.nn import functional

from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.two_tower.data.training_set import TrainingSet, build_training_set
from twotower_assets.two_tower.loss.objective import Objective
from twotower_assets.two_tower.sampling.batches import epoch_generator, spread_batches
from twotower_assets.two_tower.towers.embedding_tables import EmbeddingTable
from twotower_assets.two_tower.towers.tower import TowerInputs

from .plain_softmax import gradient_of

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
USERS, ITEMS, CATEGORIES = 24, 24, 4
PAIRS = 25_600
BATCH_SIZE, EPOCHS = 256, 4


class SimulatedMarket:
    """Users × items of Zipf popularity; a log in which every pair comes as often as its probability says.

    `joint` [users, items] is the share of each pair in the log. Users like some categories better than others, and
    each category occurs in two of the contexts, in the second less often.
    """

    def __init__(self, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        self.category = np.arange(ITEMS) % CATEGORIES
        popularity = 1.0 / (np.argsort(generator.permutation(ITEMS)) + 2.0) ** 0.9
        taste = generator.normal(0, 0.5, (USERS, CATEGORIES))[:, self.category] + generator.normal(
            0, 0.4, (USERS, ITEMS)
        )
        joint = popularity * np.exp(taste) * np.exp(generator.normal(0, 0.4, (USERS, 1)))
        counts = np.maximum(1, np.rint(PAIRS * joint / joint.sum())).astype(np.int64)
        self.joint = counts / counts.sum()
        user, item = (np.repeat(index.ravel(), counts.ravel()) for index in np.indices(counts.shape))
        order = generator.permutation(len(user))
        self.user, self.item = user[order], item[order]
        self.context = (self.category[self.item] + (generator.random(len(order)) < 0.3)) % CATEGORIES

    @property
    def q(self) -> Floats:
        """Popularity, [items]."""
        return self.joint.sum(axis=0)

    @property
    def log_p(self) -> Floats:
        """log p(item | user), [users, items]."""
        return np.log(self.joint / self.joint.sum(axis=1, keepdims=True))

    @property
    def pmi(self) -> Floats:
        """log p(item | user) - log p(item), [users, items]."""
        return self.log_p - np.log(self.q)

    def training_set(self, config: TrainingConfig) -> TrainingSet:
        """Users u00 …, items i00 …; without histories."""
        pairs = pa.table(
            {
                "user_id": [f"u{user:02}" for user in self.user],
                "item_id": [f"i{item:02}" for item in self.item],
                "context": [f"q{context}" for context in self.context],
                "history": pa.array([[]] * len(self.user), pa.list_(pa.string())),
            }
        )
        items = pa.table(
            {"item_id": [f"i{item:02}" for item in range(ITEMS)], "category": [f"c{one}" for one in self.category]}
        )
        return build_training_set(pairs, items, pa.table({"user_id": pa.array([], pa.string())}), config)


class FreeScores(nn.Module):
    """Towers whose scores are the cells of a table: rows of it on one side, unit vectors on the other.

    Where the items hold the table, the gradient of an item's vector comes from the loss's item side alone.
    """

    def __init__(self, *, item_bias: bool, held_by: str = "users") -> None:
        super().__init__()
        shape = (USERS + 1, ITEMS + 1) if held_by == "users" else (ITEMS + 1, USERS + 1)
        self.table = nn.Parameter(torch.zeros(shape))
        self.item_bias = EmbeddingTable(ITEMS + 1, 1, 0.0) if item_bias else None
        self.held_by = held_by

    def queries_vjp(self, inputs: TowerInputs) -> tuple[Tensor, Callable[[Tensor], None]]:
        return self._vjp(inputs.ids, USERS + 1, held=self.held_by == "users")

    def items_vjp(self, inputs: TowerInputs) -> tuple[Tensor, Callable[[Tensor], None]]:
        return self._vjp(inputs.ids, ITEMS + 1, held=self.held_by == "items")

    def _vjp(self, ids: Tensor, rows: int, *, held: bool) -> tuple[Tensor, Callable[[Tensor], None]]:
        def backward(gradient: Tensor) -> None:
            if held:
                self.table.grad = torch.zeros_like(self.table).index_add(0, ids, gradient)

        return self.table[ids].detach() if held else torch.eye(rows)[ids], backward


class Fit:
    """Free scores trained through `Objective`, averaged over the batches of the second half of the epochs.

    `full_softmax` trains on the same batches with the softmax over all items instead: nothing is sampled there.
    """

    def __init__(
        self, market: SimulatedMarket, *, held_by: str = "users", full_softmax: bool = False, **changes: Any
    ) -> None:
        self.market = market
        self.config = TrainingConfig.model_validate(
            {
                "batch_size": BATCH_SIZE,
                "masks": [],
                "unknown_id_share": 0.0,
                "history_length": 0,
                "dimensions": ITEMS + 1 if held_by == "users" else USERS + 1,
                **changes,
            }
        )
        data = market.training_set(self.config)
        towers = FreeScores(item_bias=self.config.item_bias, held_by=held_by)
        objective = Objective(data, self.config)

        def set_gradients(rows: Int64s, generator: np.random.Generator) -> None:
            if full_softmax:
                user, item = (torch.from_numpy(one[rows]) for one in (data.user, data.item))
                functional.cross_entropy(towers.table[user][:, 1:], item - 1).backward()  # type: ignore[no-untyped-call]
                return
            objective.loss(towers, rows, generator).backward()  # type: ignore[arg-type]
            if towers.item_bias is not None:
                towers.item_bias.weight.grad, towers.item_bias.gradient = gradient_of(towers.item_bias), None

        average = _averaged(towers, data, set_gradients)
        index = data.encoder.items.ids.encode(pa.array([f"i{item:02}" for item in range(ITEMS)]))
        table = average["table"] if held_by == "users" else average["table"].T
        self.bias = average["item_bias.weight"][index, 0] if self.config.item_bias else np.zeros(ITEMS)
        self.scores = table[1:][:, index] + self.bias

    def distance(self, target: Floats) -> float:
        """Root mean square of what the scores miss of a target, [users, items], as clicks see it.

        Every cell counts by its share of the clicks, after subtracting each user's mean difference, weighted alike:
        a softmax knows no constant of the user.
        """
        return distance(self.scores, target, self.market.joint)


def distance(scores: Floats, target: Floats, joint: Floats) -> float:
    """As `Fit.distance`, of any scores."""
    given_user = joint / joint.sum(axis=1, keepdims=True)
    difference = scores - target
    difference = difference - (given_user * difference).sum(axis=1, keepdims=True)
    return float(np.sqrt((joint * difference**2).sum()))


def _averaged(
    towers: FreeScores, data: TrainingSet, set_gradients: Callable[[Int64s, np.random.Generator], None]
) -> dict[str, Floats]:
    optimizer = torch.optim.Adam(towers.parameters(), lr=0.05)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, EPOCHS)
    total = {name: torch.zeros_like(one, dtype=torch.float64) for name, one in towers.named_parameters()}
    averaged = 0
    for epoch in range(EPOCHS):
        generator = epoch_generator(0, epoch)
        for rows in spread_batches(data.user, data.item, BATCH_SIZE, generator):
            optimizer.zero_grad()
            set_gradients(rows, generator)
            optimizer.step()
            if epoch >= EPOCHS // 2:
                averaged += 1
                for name, one in towers.named_parameters():
                    total[name] += one.detach()
        schedule.step()
    return {name: (one / averaged).numpy() for name, one in total.items()}
