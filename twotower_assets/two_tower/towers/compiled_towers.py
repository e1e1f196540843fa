"""The user tower and the item tower as PyTorch modules.

Here: tensors in, normalised vectors out, and the gradients of the weights. Not here: where the indices come from
(`data/encoders.py`), the loss, and the optimiser.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.two_tower.data.encoders import Encoder, SideEncoder
from twotower_assets.two_tower.data.vocabulary import UNKNOWN
from twotower_assets.two_tower.towers.embedding_tables import EmbeddingTable, weighted_sums
from twotower_assets.two_tower.towers.residual_mlp import ResidualMLP

MAX_INVERSE_TEMPERATURE = 100.0
"""The limit of a learned temperature, as in CLIP; training is unstable beyond it."""


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

    def vjp(self, ids: Tensor, categorical: Tensor, numeric: Tensor) -> tuple[Tensor, Callable[[Tensor], None]]:
        """int64 [n], int64 [n, c], float [n, m] to float [n, d], and the backward function of the weights."""
        total, ids_backward = self.ids.vjp(ids)
        tables_backward = [ids_backward]
        for column, table in enumerate(self.categorical):
            assert isinstance(table, EmbeddingTable)
            vectors, values_backward = table.vjp(categorical[:, column])
            total += vectors
            tables_backward.append(values_backward)
        if self.numeric is not None:
            total += self.numeric(numeric)

        def backward(gradient: Tensor) -> None:
            for table_backward in tables_backward:
                table_backward(gradient)
            if self.numeric is not None:
                self.numeric.weight.grad = gradient.T @ numeric

        return total, backward


class Towers(nn.Module):
    """Both towers; `embed_users` and `embed_items` return L2-normalised vectors."""

    def __init__(self, encoder: Encoder, config: TrainingConfig) -> None:
        super().__init__()
        self.user_side = SideEmbedding(encoder.users, config)
        self.item_side = SideEmbedding(encoder.items, config)
        rows = encoder.items.embedded_ids + 1
        self.history = _table(rows, config)
        self.history_half_life = config.history_half_life
        self.second_history_half_life = config.history_second_half_life
        self.second_history = None if config.history_second_half_life is None else _table(rows, config)
        self.history_power = config.history_power
        self.history_shares_items = config.history_shares_items
        self.user_mlp = ResidualMLP(config.dimensions, config.hidden_sizes)
        self.item_mlp = ResidualMLP(config.dimensions, config.hidden_sizes)
        self.item_bias = EmbeddingTable(rows, 1, 0.0) if config.item_bias else None
        scale = torch.tensor(config.inverse_temperature).log()
        self.log_inverse_temperature = nn.Parameter(scale, requires_grad=config.learn_temperature)

    def embed_users(
        self,
        ids: Tensor,
        categorical: Tensor,
        numeric: Tensor,
        history_offsets: Tensor,
        history_values: Tensor,
    ) -> Tensor:
        """Vectors of n users.

        Args:
            ids: int64 [n].
            categorical: int64 [n, c].
            numeric: float32 [n, m].
            history_offsets: int64 [n + 1]; the history of row r is values[offsets[r]:offsets[r + 1]].
            history_values: int64 [offsets[-1]], embedding rows of items. An empty history adds nothing.

        Returns:
            float32 [n, d] of length 1.
        """
        with torch.no_grad():
            unit: Tensor = self.user_mlp(
                self._user_inputs(ids, categorical, numeric, history_offsets, history_values)[0]
            )
        return unit

    def embed_items(self, ids: Tensor, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Vectors float32 [n, d] of length 1 of n items: int64 [n], int64 [n, c], float32 [n, m]."""
        with torch.no_grad():
            unit: Tensor = self.item_mlp(self.item_side.vjp(ids, categorical, numeric)[0])
        return unit

    @torch.no_grad()
    def queries_vjp(
        self, ids: Tensor, categorical: Tensor, numeric: Tensor, offsets: Tensor, values: Tensor
    ) -> tuple[Tensor, Callable[[Tensor], None]]:
        """The vectors of `embed_users` times 1/τ, and their backward function, which sets the weights' gradients."""
        inputs, inputs_backward = self._user_inputs(ids, categorical, numeric, offsets, values)
        scale = math.exp(self.log_inverse_temperature.item())
        if self.log_inverse_temperature.requires_grad:
            scale = min(scale, MAX_INVERSE_TEMPERATURE)
        queries, mlp_backward = self.user_mlp.vjp(inputs, scale)

        @torch.no_grad()
        def backward(gradient: Tensor) -> None:
            if self.log_inverse_temperature.requires_grad:
                grad_log = (gradient * queries).sum()  # d(u/τ) / d(log 1/τ) = u/τ
                self.log_inverse_temperature.grad = grad_log if scale < MAX_INVERSE_TEMPERATURE else 0.0 * grad_log
            inputs_backward(mlp_backward(gradient))

        return queries, backward

    @torch.no_grad()
    def items_vjp(self, ids: Tensor, categorical: Tensor, numeric: Tensor) -> tuple[Tensor, Callable[[Tensor], None]]:
        """The vectors of `embed_items`, and their backward function, which sets the weights' gradients."""
        inputs, inputs_backward = self.item_side.vjp(ids, categorical, numeric)
        vectors, mlp_backward = self.item_mlp.vjp(inputs)
        return vectors, lambda gradient: inputs_backward(mlp_backward(gradient))

    def _user_inputs(
        self, ids: Tensor, categorical: Tensor, numeric: Tensor, offsets: Tensor, values: Tensor
    ) -> tuple[Tensor, Callable[[Tensor], None]]:
        """The input of the user MLP, float [n, d]: the side embedding plus the averages of the history."""
        total, side_backward = self.user_side.vjp(ids, categorical, numeric)
        if not len(values):
            return total, side_backward
        rows, index = self.history.unique(values)
        vectors, history_backward = self.history.vjp(rows)
        tables_backward = [history_backward]
        if self.history_shares_items:
            item_vectors, items_backward = self.item_side.ids.vjp(rows)
            vectors += item_vectors
            tables_backward.append(items_backward)
        averages = [(vectors, tables_backward, self.history_half_life)]
        if self.second_history is not None and self.second_history_half_life is not None:
            vectors, second_backward = self.second_history.vjp(rows)
            averages.append((vectors, [second_backward], self.second_history_half_life))
        sums_backward = []
        for vectors, _, half_life in averages:
            weights = recency_weights(offsets, half_life, self.history_power)
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


def build_towers(encoder: Encoder, config: TrainingConfig) -> Towers:
    """New towers, initialised from `config.seed`; torch's global generator is unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.seed)
        return Towers(encoder, config)


def _table(rows: int, config: TrainingConfig, *, unknown_is_zero: bool = False) -> EmbeddingTable:
    table = EmbeddingTable(rows, config.dimensions, config.initial_scale)
    if unknown_is_zero:
        with torch.no_grad():
            table.weight[UNKNOWN] = 0.0
    return table
