"""The towers that come with the platform, with hand-written gradients.

Here: inputs to normalised vectors, and the gradients of the weights. Not here: the interface (`tower.py`), the two
towers of a model (`model.py`), the loss, and the optimiser.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.two_tower.data.encoders import Encoder, SideEncoder
from twotower_assets.two_tower.data.vocabulary import UNKNOWN
from twotower_assets.two_tower.kernels import processor
from twotower_assets.two_tower.towers.embedding_tables import EmbeddingTable, weighted_sums
from twotower_assets.two_tower.towers.residual_mlp import ResidualMLP
from twotower_assets.two_tower.towers.torch_towers import Average, history_sum, side_sum
from twotower_assets.two_tower.towers.tower import SMALLEST_NORM, History, TowerInputs, torch_vjp


class SideEmbedding(nn.Module):
    """Sum of the vectors of an id and of its categorical values, and of a linear map of its numeric features.

    Row 0 of every table is the unknown id or value. The unknown id is trained by replacing a share of the ids. The
    unknown value of a categorical feature starts at zero, so that a value without training adds nothing.
    """

    def __init__(self, encoder: SideEncoder, config: TrainingConfig) -> None:
        super().__init__()
        self.ids = _table(encoder.embedded_ids + 1, config)
        self.categorical = nn.ModuleList(
            _table(values.size, config, unknown_is_zero=True) for values in encoder.categorical.values()
        )
        self.numeric = nn.Linear(len(encoder.numeric), config.dimensions, bias=False) if encoder.numeric else None

    def vjp(self, inputs: TowerInputs) -> tuple[Tensor, Callable[[Tensor], None]]:
        """The sums float [n, d], and the backward function of the weights."""
        total, ids_backward = self.ids.vjp(inputs.ids)
        tables_backward = [ids_backward]
        for column, table in enumerate(self.categorical):
            assert isinstance(table, EmbeddingTable)
            vectors, values_backward = table.vjp(inputs.categorical[:, column])
            total += vectors
            tables_backward.append(values_backward)
        if self.numeric is not None:
            total += self.numeric(inputs.numeric)

        def backward(gradient: Tensor) -> None:
            for table_backward in tables_backward:
                table_backward(gradient)
            if self.numeric is not None:
                self.numeric.weight.grad = gradient.T @ inputs.numeric

        return total, backward


class CompiledItemTower(nn.Module):
    """The sum of the vectors of an item's id, categories and numbers, through a residual MLP."""

    def __init__(self, side: SideEmbedding, mlp: ResidualMLP) -> None:
        super().__init__()
        self.side, self.mlp = side, mlp

    @property
    def dimensions(self) -> int:
        """d, the length of its vectors."""
        return self.side.ids.weight.shape[1]

    @torch.no_grad()
    def encode(self, inputs: TowerInputs) -> Tensor:
        """As `Tower.encode`."""
        if not processor.runs_compiled_loops(inputs.ids.device):
            return _unit(self(inputs))
        unit: Tensor = self.mlp(self.side.vjp(inputs)[0])
        return unit

    def forward(self, inputs: TowerInputs) -> Tensor:
        """The vectors before they are normalised, by plain operations."""
        total = side_sum(self.side.ids, self.side.categorical, self.side.numeric, inputs)
        return self.mlp.total(total)

    @torch.no_grad()
    def vjp(self, inputs: TowerInputs, length: float = 1.0) -> tuple[Tensor, Callable[[Tensor], None]]:
        """As `Tower.vjp`."""
        if not processor.runs_compiled_loops(inputs.ids.device):
            return torch_vjp(self, lambda: _unit(self(inputs)) * length)
        total, side_backward = self.side.vjp(inputs)
        vectors, mlp_backward = self.mlp.vjp(total, length)
        return vectors, lambda gradient: side_backward(mlp_backward(gradient))


class CompiledUserTower(nn.Module):
    """The side embedding of a user plus one or two averages of the history, through a residual MLP."""

    def __init__(
        self,
        side: SideEmbedding,
        history: EmbeddingTable,
        second_history: EmbeddingTable | None,
        mlp: ResidualMLP,
        config: TrainingConfig,
        item_ids: EmbeddingTable | None,
    ) -> None:
        """`item_ids`: the item tower's table of ids, which the average of the history adds; None adds nothing."""
        super().__init__()
        self.side, self.history, self.second_history, self.mlp = side, history, second_history, mlp
        self._item_ids = (item_ids,)  # in a tuple, because it is a module of the item tower
        self.half_life, self.second_half_life = config.history_half_life, config.history_second_half_life
        self.power = config.history_power

    @property
    def item_ids(self) -> EmbeddingTable | None:
        """The item tower's table of ids, if histories share it."""
        return self._item_ids[0]

    @property
    def dimensions(self) -> int:
        """d, the length of its vectors."""
        return self.side.ids.weight.shape[1]

    @torch.no_grad()
    def encode(self, inputs: TowerInputs) -> Tensor:
        """As `Tower.encode`."""
        if not processor.runs_compiled_loops(inputs.ids.device):
            return _unit(self(inputs))
        unit: Tensor = self.mlp(self._inputs_of_mlp(inputs)[0])
        return unit

    def forward(self, inputs: TowerInputs) -> Tensor:
        """The vectors before they are normalised, by plain operations."""
        total = side_sum(self.side.ids, self.side.categorical, self.side.numeric, inputs)
        averages: list[Average] = [
            ([self.history] if self.item_ids is None else [self.history, self.item_ids], self.half_life)
        ]
        if self.second_history is not None and self.second_half_life is not None:
            averages.append(([self.second_history], self.second_half_life))
        sums = None if inputs.history is None else history_sum(inputs.history, averages, self.power)
        return self.mlp.total(total if sums is None else total + sums)

    @torch.no_grad()
    def vjp(self, inputs: TowerInputs, length: float = 1.0) -> tuple[Tensor, Callable[[Tensor], None]]:
        """As `Tower.vjp`."""
        if not processor.runs_compiled_loops(inputs.ids.device):
            return torch_vjp(self, lambda: _unit(self(inputs)) * length)
        total, total_backward = self._inputs_of_mlp(inputs)
        vectors, mlp_backward = self.mlp.vjp(total, length)
        return vectors, lambda gradient: total_backward(mlp_backward(gradient))

    def _inputs_of_mlp(self, inputs: TowerInputs) -> tuple[Tensor, Callable[[Tensor], None]]:
        """The side embedding plus the averages of the history, float [n, d]."""
        total, side_backward = self.side.vjp(inputs)
        if not isinstance(inputs.history, History) or not len(inputs.history.values):
            return total, side_backward
        offsets = inputs.history.offsets
        rows, index = self.history.unique(inputs.history.values)
        vectors, history_backward = self.history.vjp(rows)
        tables_backward = [history_backward]
        if self.item_ids is not None:
            item_vectors, items_backward = self.item_ids.vjp(rows)
            vectors += item_vectors
            tables_backward.append(items_backward)
        averages = [(vectors, tables_backward, self.half_life)]
        if self.second_history is not None and self.second_half_life is not None:
            vectors, second_backward = self.second_history.vjp(rows)
            averages.append((vectors, [second_backward], self.second_half_life))
        sums_backward = []
        for vectors, _, half_life in averages:
            weights = recency_weights(offsets, half_life, self.power)
            sums, vectors_backward = weighted_sums(vectors, index, offsets, weights)
            total += sums
            sums_backward.append(vectors_backward)

        def backward(gradient: Tensor) -> None:
            side_backward(gradient)
            for vectors_backward, (_, tables_backward, _) in zip(sums_backward, averages, strict=True):
                grad_vectors = vectors_backward(gradient)
                for table_backward in tables_backward:
                    table_backward(grad_vectors)

        return total, backward


def build_compiled_towers(encoder: Encoder, config: TrainingConfig) -> tuple[CompiledUserTower, CompiledItemTower]:
    """New towers from torch's generator; the order in which their parts are drawn is part of what a seed means."""
    rows, shared = encoder.items.embedded_ids + 1, config.history_shares_items
    user_side, item_side = SideEmbedding(encoder.users, config), SideEmbedding(encoder.items, config)
    history = _table(rows, config)
    second_history = None if config.history_second_half_life is None else _table(rows, config)
    user_mlp, item_mlp = (ResidualMLP(config.dimensions, config.hidden_sizes) for _ in range(2))
    item_ids = item_side.ids if shared and config.item_tower is None else None
    users = CompiledUserTower(user_side, history, second_history, user_mlp, config, item_ids)
    return users, CompiledItemTower(item_side, item_mlp)


def recency_weights(offsets: Tensor, half_life: float, power: float = 1.0) -> Tensor:
    """Weights of a mean in which a value counts half as much as the value `half_life` positions later.

    Args:
        offsets: int64 [n + 1]; row r has the values offsets[r] to offsets[r + 1], oldest first.
        half_life: In positions, above 0. Large values give the plain mean.
        power: The weights are divided by their sum to this power: 1 gives the mean, 0 the sum.

    Returns:
        float32 [offsets[-1]]; they sum to 1 in each row if `power` is 1.
    """
    lengths = offsets.diff()
    age = torch.repeat_interleave(offsets[1:], lengths) - 1 - torch.arange(int(offsets[-1]), device=offsets.device)
    ratio = 0.5 ** (1.0 / half_life)
    age_weight = torch.pow(ratio, torch.arange(int(lengths.max()) + 1 if len(lengths) else 0, dtype=torch.float64))
    row_scale = ((1.0 - torch.pow(ratio, lengths.double())) / (1.0 - ratio)).pow(
        -power
    )  # ∞ for empty rows, and not used
    return age_weight.float()[age] * torch.repeat_interleave(row_scale.float(), lengths)


def _unit(vectors: Tensor) -> Tensor:
    return functional.normalize(vectors, dim=1, eps=SMALLEST_NORM)


def _table(rows: int, config: TrainingConfig, *, unknown_is_zero: bool = False) -> EmbeddingTable:
    table = EmbeddingTable(rows, config.dimensions, config.initial_scale)
    if unknown_is_zero:
        with torch.no_grad():
            table.weight[UNKNOWN] = 0.0
    return table
