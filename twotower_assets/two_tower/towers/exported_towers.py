"""Towers as functions of plain tensors, by operations that other runtimes know.

Here: the arithmetic of `encode`, without compiled loops and ragged rows. Not here: the files
(`serving/export_model.py`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

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
        return functional.normalize(self.tower(inputs), dim=1, eps=SMALLEST_NORM)
