"""Towers as functions of plain tensors, by operations that other runtimes know.

Here: the arithmetic of `encode`, without compiled loops and ragged rows. Not here: the files
(`serving/export_model.py`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from twotower_assets.two_tower.towers.compiled_towers import CompiledItemTower, CompiledUserTower, SideEmbedding
from twotower_assets.two_tower.towers.embedding_tables import EmbeddingTable
from twotower_assets.two_tower.towers.tower import SMALLEST_NORM, PaddedHistory, TowerInputs


class ExportedTower(nn.Module):
    """`encode` of a user tower or an item tower, compiled or of one's own.

    Its arguments are the inputs that the tower has: `ids` int64 [n], `categorical` int64 [n, c], `numeric` float32
    [n, m], and for users `history` int64 [n, L], rows of items, oldest first and from the left, 0 where none is.
    """

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower

    def forward(
        self,
        ids: Tensor,
        history: Tensor | None = None,
        categorical: Tensor | None = None,
        numeric: Tensor | None = None,
    ) -> Tensor:
        """Vectors float32 [n, d] of length 1."""
        categorical = ids.new_zeros(ids.shape[0], 0) if categorical is None else categorical
        numeric = torch.zeros(ids.shape[0], 0) if numeric is None else numeric
        inputs = TowerInputs(ids, categorical, numeric, None if history is None else PaddedHistory(history))
        return functional.normalize(_encoded(self.tower, inputs), dim=1, eps=SMALLEST_NORM)


def _encoded(tower: nn.Module, inputs: TowerInputs) -> Tensor:
    """The vectors before they are normalised, float32 [n, d]."""
    if isinstance(tower, CompiledUserTower):
        total = _side(tower.side, inputs)
        if isinstance(inputs.history, PaddedHistory):
            total = total + _averages(tower, inputs.history.items)
    elif isinstance(tower, CompiledItemTower):
        total = _side(tower.side, inputs)
    else:
        vectors: Tensor = tower(inputs)
        return vectors
    return total + tower.mlp.layers(total) if len(tower.mlp.layers) else total


def _side(side: SideEmbedding, inputs: TowerInputs) -> Tensor:
    total = functional.embedding(inputs.ids, side.ids.weight)
    for column, table in enumerate(side.categorical):
        assert isinstance(table, EmbeddingTable)
        total = total + functional.embedding(inputs.categorical[:, column], table.weight)
    return total if side.numeric is None else total + side.numeric(inputs.numeric)


def _averages(tower: CompiledUserTower, items: Tensor) -> Tensor:
    """The averages of the history that the user tower adds, float32 [n, d]."""
    vectors = functional.embedding(items, tower.history.weight)
    if tower.item_ids is not None:
        vectors = vectors + functional.embedding(items, tower.item_ids.weight)
    total = (vectors * _weights(items, tower.half_life, tower.power)[..., None]).sum(dim=1)
    if tower.second_history is not None and tower.second_half_life is not None:
        vectors = functional.embedding(items, tower.second_history.weight)
        total = total + (vectors * _weights(items, tower.second_half_life, tower.power)[..., None]).sum(dim=1)
    return total


def _weights(items: Tensor, half_life: float, power: float) -> Tensor:
    """As `recency_weights`, of padded rows: float32 [n, L], 0 where no item is."""
    there = items > 0
    lengths = there.sum(dim=1, keepdim=True)
    age = (lengths - 1 - torch.arange(items.shape[1], device=items.device)).clamp(min=0).double()
    ratio = 0.5 ** (1.0 / half_life)
    scale = ((1.0 - ratio ** lengths.clamp(min=1).double()) / (1.0 - ratio)) ** -power
    return torch.where(there, ratio**age * scale, 0.0).float()
