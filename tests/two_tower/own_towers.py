"""Towers as a user would write them, and some that are wrong."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from twotower_assets.two_tower.loss.torch_softmax import Logits
from twotower_assets.two_tower.towers.tower import TorchTower, TowerInputs, TowerShape


class Attention(TorchTower):
    """Self-attention over the history, beside the user's id."""

    def __init__(self, shape: TowerShape, heads: int = 2, dropout: float = 0.0) -> None:
        super().__init__(shape)
        self.items, self.ids = self.table(shape.items), self.table(shape.ids)
        self.position = nn.Parameter(torch.randn(shape.history_length, shape.dimensions) * 0.02)
        self.block = nn.TransformerEncoderLayer(shape.dimensions, heads, 16, dropout, batch_first=True)

    def forward(self, inputs: TowerInputs) -> Tensor:
        """The mean of what attention makes of the items, plus the vector of the id."""
        assert inputs.history is not None
        items = inputs.history.padded(self.shape.history_length)
        there = (items > 0).float()
        nothing = (items == 0) & (there.sum(1, keepdim=True) > 0)  # an empty history attends to blanks
        seen = self.block(self.items(items) + self.position, src_key_padding_mask=nothing)
        mean = (seen * there[..., None]).sum(1) / there.sum(1, keepdim=True).clamp(min=1)
        vectors: Tensor = mean + self.ids(inputs.ids)
        return vectors


class Categories(TorchTower):
    """An item by its id and categories, through a layer, and a parameter that nothing uses."""

    def __init__(self, shape: TowerShape) -> None:
        super().__init__(shape)
        self.ids = self.table(shape.ids)
        self.values = nn.ModuleList(self.table(rows) for rows in shape.categorical)
        self.layer = nn.Linear(shape.dimensions, shape.dimensions)
        self.unused = nn.Parameter(torch.ones(3))

    def forward(self, inputs: TowerInputs) -> Tensor:
        """Float32 [n, d]."""
        total = self.ids(inputs.ids)
        for column, table in enumerate(self.values):
            total = total + table(inputs.categorical[:, column])
        vectors: Tensor = total + torch.tanh(self.layer(total))
        return vectors


class TooWide(TorchTower):
    """Gives one number too many."""

    def forward(self, inputs: TowerInputs) -> Tensor:
        """Float32 [n, d + 1]."""
        return torch.ones(len(inputs), self.shape.dimensions + 1)


class Refusing(TorchTower):
    """Cannot be made."""

    def __init__(self, shape: TowerShape) -> None:
        super().__init__(shape)
        raise RuntimeError("no licence")

    def forward(self, inputs: TowerInputs) -> Tensor:
        """Never called."""
        raise NotImplementedError


class Wide(TorchTower):
    """Has other dimensions than it was asked for."""

    @property
    def dimensions(self) -> int:
        """One too many."""
        return self.shape.dimensions + 1

    def forward(self, inputs: TowerInputs) -> Tensor:
        """Never called."""
        raise NotImplementedError


class NoTower:
    """A class of something else."""


def hinge(logits: Logits, weights: Tensor) -> Tensor:
    """A loss of one's own: a margin instead of the softmax."""
    margins = (1 + logits.negatives - logits.positive[:, None]).clamp(min=0).masked_fill(logits.masked, 0.0)
    return (margins.mean(dim=1) * weights).sum() / weights.sum()


def no_loss() -> None:
    """Takes no logits."""


class Crowd(TorchTower):
    """Gives a row a vector that depends on the row before it."""

    def __init__(self, shape: TowerShape) -> None:
        super().__init__(shape)
        self.ids = self.table(shape.ids)

    def forward(self, inputs: TowerInputs) -> Tensor:
        """Float32 [n, d]."""
        vectors: Tensor = self.ids(inputs.ids)
        return vectors + vectors.roll(1, 0)


class Detached(Crowd):
    """Hides its table from autograd."""

    def forward(self, inputs: TowerInputs) -> Tensor:
        """Float32 [n, d]."""
        vectors: Tensor = self.ids(inputs.ids) + 0.0 * self.ids(inputs.ids)
        return 2.0 * vectors.detach() - vectors


class Unseeded(Crowd):
    """Draws its weights from a generator of its own."""

    def __init__(self, shape: TowerShape) -> None:
        super().__init__(shape)
        torch.nn.init.normal_(
            self.ids.weight, generator=torch.Generator().manual_seed(torch.Generator().seed() % 2**31)
        )

    def forward(self, inputs: TowerInputs) -> Tensor:
        """Float32 [n, d]."""
        vectors: Tensor = self.ids(inputs.ids)
        return vectors


class Waiting(Unseeded):
    """Asks for a number, for which the processor waits."""

    def __init__(self, shape: TowerShape) -> None:
        super(Unseeded, self).__init__(shape)

    def forward(self, inputs: TowerInputs) -> Tensor:
        """Float32 [n, d]."""
        vectors: Tensor = self.ids(inputs.ids)
        return vectors * (2.0 if inputs.ids.max().item() > 0 else 1.0)
