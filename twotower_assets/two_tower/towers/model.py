"""The two towers of a model, and what their scores need beside vectors: the temperature and learned biases.

    score = ⟨user vector, item vector⟩ / τ + bias

Here: both towers together, and how they are built. Not here: what a tower is (`tower.py`), and the loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.recipes.own_code import tower_class
from twotower_assets.two_tower.data.encoders import Encoder
from twotower_assets.two_tower.kernels import processor
from twotower_assets.two_tower.towers.compiled_towers import build_compiled_towers
from twotower_assets.two_tower.towers.embedding_tables import EmbeddingTable
from twotower_assets.two_tower.towers.tower import Tower, TowerError, TowerInputs, TowerShape

MAX_INVERSE_TEMPERATURE = 100.0
"""The limit of a learned temperature, as in CLIP; training is unstable beyond it."""


class Towers(nn.Module):
    """A user tower and an item tower, with 1/τ and, where it is configured, a bias of each item."""

    def __init__(self, user_tower: nn.Module, item_tower: nn.Module, item_rows: int, config: TrainingConfig) -> None:
        """`item_rows`: rows of the table of biases, the unknown item (0) included."""
        super().__init__()
        self.user_tower, self.item_tower = user_tower, item_tower
        self.item_bias = EmbeddingTable(item_rows, 1, 0.0) if config.item_bias else None
        scale = torch.tensor(config.inverse_temperature).log()
        self.log_inverse_temperature = nn.Parameter(scale, requires_grad=config.learn_temperature)

    @property
    def dimensions(self) -> int:
        """d, the length of the vectors."""
        return self._users.dimensions

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.log_inverse_temperature.device

    def encode_users(self, inputs: TowerInputs) -> Tensor:
        """Vectors float32 [n, d] of length 1 of n users."""
        return self._users.encode(inputs)

    def encode_items(self, inputs: TowerInputs) -> Tensor:
        """Vectors float32 [n, d] of length 1 of n items."""
        return self._items.encode(inputs)

    @torch.no_grad()
    def queries_vjp(self, inputs: TowerInputs) -> tuple[Tensor, Callable[[Tensor], None]]:
        """The vectors of users times 1/τ, and their backward function, which sets the gradients of the weights."""
        if not processor.runs_compiled_loops(self.device):
            return self._queries_vjp_on_device(inputs)
        scale = math.exp(self.log_inverse_temperature.item())
        if self.log_inverse_temperature.requires_grad:
            scale = min(scale, MAX_INVERSE_TEMPERATURE)
        queries, queries_backward = self._users.vjp(inputs, scale)

        @torch.no_grad()
        def backward(gradient: Tensor) -> None:
            if self.log_inverse_temperature.requires_grad:
                grad_log = (gradient * queries).sum()  # d(u/τ) / d(log 1/τ) = u/τ
                self.log_inverse_temperature.grad = grad_log if scale < MAX_INVERSE_TEMPERATURE else 0.0 * grad_log
            queries_backward(gradient)

        return queries, backward

    def _queries_vjp_on_device(self, inputs: TowerInputs) -> tuple[Tensor, Callable[[Tensor], None]]:
        """`queries_vjp` without waiting for the value of the temperature."""
        vectors, vectors_backward = self._users.vjp(inputs)
        scale, learned = self.inverse_temperature(), self.log_inverse_temperature.requires_grad

        @torch.no_grad()
        def backward(gradient: Tensor) -> None:
            if learned:
                grad_log = (gradient * vectors * scale).sum()
                self.log_inverse_temperature.grad = torch.where(scale < MAX_INVERSE_TEMPERATURE, grad_log, 0.0)
            vectors_backward(gradient * scale)

        return vectors * scale, backward

    def items_vjp(self, inputs: TowerInputs) -> tuple[Tensor, Callable[[Tensor], None]]:
        """The vectors of items, and their backward function, which sets the gradients of the weights."""
        return self._items.vjp(inputs)

    def biases(self, ids: Tensor) -> Tensor:
        """Learned biases float32 [n] of the items with these embedding rows int64 [n]; zeros without learned biases."""
        if self.item_bias is None:
            return torch.zeros(ids.shape, device=ids.device)
        return self.item_bias(ids).squeeze(-1)  # type: ignore[no-any-return]

    def inverse_temperature(self) -> Tensor:
        """1/τ, the scalar factor of cosines in the loss; at most 100 if it is learned."""
        scale = self.log_inverse_temperature.exp()
        return scale.clamp(max=MAX_INVERSE_TEMPERATURE) if self.log_inverse_temperature.requires_grad else scale

    def tables(self) -> list[EmbeddingTable]:
        """The embedding tables, whose gradients cover only some rows."""
        return [module for module in self.modules() if isinstance(module, EmbeddingTable)]

    def dense_parameters(self) -> list[nn.Parameter]:
        """All other trained parameters: MLPs, maps of numeric features, the temperature. May be empty."""
        sparse = {id(table.weight) for table in self.tables()}
        return [parameter for parameter in self.parameters() if id(parameter) not in sparse and parameter.requires_grad]

    @property
    def _users(self) -> Tower:
        return cast(Tower, self.user_tower)

    @property
    def _items(self) -> Tower:
        return cast(Tower, self.item_tower)


def build_towers(encoder: Encoder, config: TrainingConfig) -> Towers:
    """New towers, initialised from `config.seed`; torch's global generator is unchanged.

    Raises `TowerError` if a tower of the user's own cannot be made, or gives vectors of another length.
    """
    rows = encoder.items.embedded_ids + 1
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.seed)
        user_tower: nn.Module
        item_tower: nn.Module
        user_tower, item_tower = build_compiled_towers(encoder, config)
        if config.user_tower is not None:
            shape = TowerShape.of(encoder.users, config.dimensions, rows, config.history_length, config.initial_scale)
            user_tower = _own_tower(config.user_tower, config.user_tower_parameters, shape)
        if config.item_tower is not None:
            shape = TowerShape.of(encoder.items, config.dimensions, rows, 0, config.initial_scale)
            item_tower = _own_tower(config.item_tower, config.item_tower_parameters, shape)
        return Towers(user_tower, item_tower, rows, config)


def _own_tower(name: str, parameters: dict[str, object], shape: TowerShape) -> nn.Module:
    try:
        tower = tower_class(name)(shape, **parameters)
    except Exception as error:
        raise TowerError(f"the tower {name} cannot be made: {error}") from error
    dimensions = getattr(tower, "dimensions", None)
    if not isinstance(tower, nn.Module) or dimensions != shape.dimensions:
        found = f"has dimensions {dimensions}" if isinstance(tower, nn.Module) else "is no torch module"
        raise TowerError(f"the tower {name} {found}; it must be a module with dimensions {shape.dimensions}")
    return tower
