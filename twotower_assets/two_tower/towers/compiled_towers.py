"""The user tower and the item tower as PyTorch modules.

Here: tensors in, normalised vectors out. Not here: where the indices come from (`features.py`), the loss, and
the optimiser.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.two_tower.data.encoders import Encoder, SideEncoder
from twotower_assets.two_tower.data.vocabulary import UNKNOWN
from twotower_assets.two_tower.towers.embedding_tables import Table, weighted_sums
from twotower_assets.two_tower.towers.residual_mlp import ResidualMLP

MAX_INVERSE_TEMPERATURE = 100.0
"""As in CLIP: beyond it a learned temperature makes training unstable."""


class SideEmbedding(nn.Module):
    """Sum of the vectors of an id, of its categorical values, and of a linear map of its numbers.

    Row 0 of every table is the unknown. The unknown id is trained by replacing a share of ids; the unknown
    value of a categorical feature starts at zero, so that a value never trained on adds nothing.
    """

    def __init__(self, encoder: SideEncoder, config: TrainingConfig) -> None:
        super().__init__()
        self.ids = _table(encoder.embedded_ids + 1, config)
        self.categorical = nn.ModuleList(
            _table(values.size, config, unknown_is_zero=True) for values in encoder.categorical.values()
        )
        self.numeric = nn.Linear(len(encoder.numeric), config.dimensions, bias=False) if encoder.numeric else None

    def vjp(self, ids: Tensor, categorical: Tensor, numeric: Tensor) -> tuple[Tensor, Callable[[Tensor], None]]:
        """int64 [n], int64 [n, c], float [n, m] to float [n, d], and what makes the weights' gradients of its own."""
        total, pull_ids = self.ids.vjp(ids)
        pulls = [pull_ids]
        for column, table in enumerate(self.categorical):
            assert isinstance(table, Table)
            vectors, pull_values = table.vjp(categorical[:, column])
            total += vectors
            pulls.append(pull_values)
        if self.numeric is not None:
            total += self.numeric(numeric)

        def pull(gradient: Tensor) -> None:
            for one in pulls:
                one(gradient)
            if self.numeric is not None:
                self.numeric.weight.grad = gradient.T @ numeric

        return total, pull


class Towers(nn.Module):
    """Both towers; `embed_users` and `embed_items` give L2-normalised vectors."""

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
        self.item_bias = Table(rows, 1, 0.0) if config.item_bias else None
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
        """As `embed_users`, times 1/τ; and what makes the weights' gradients of the gradient of that."""
        inputs, pull_inputs = self._user_inputs(ids, categorical, numeric, offsets, values)
        scale = math.exp(self.log_inverse_temperature.item())
        if self.log_inverse_temperature.requires_grad:
            scale = min(scale, MAX_INVERSE_TEMPERATURE)
        queries, pull_mlp = self.user_mlp.vjp(inputs, scale)

        @torch.no_grad()
        def pull(gradient: Tensor) -> None:
            if self.log_inverse_temperature.requires_grad:
                of_log = (gradient * queries).sum()  # d(u/τ) / d(log 1/τ) = u/τ
                self.log_inverse_temperature.grad = of_log if scale < MAX_INVERSE_TEMPERATURE else 0.0 * of_log
            pull_inputs(pull_mlp(gradient))

        return queries, pull

    @torch.no_grad()
    def items_vjp(self, ids: Tensor, categorical: Tensor, numeric: Tensor) -> tuple[Tensor, Callable[[Tensor], None]]:
        """As `embed_items`; and what makes the weights' gradients of the gradient of that."""
        inputs, pull_inputs = self.item_side.vjp(ids, categorical, numeric)
        vectors, pull_mlp = self.item_mlp.vjp(inputs)
        return vectors, lambda gradient: pull_inputs(pull_mlp(gradient))

    def _user_inputs(
        self, ids: Tensor, categorical: Tensor, numeric: Tensor, offsets: Tensor, values: Tensor
    ) -> tuple[Tensor, Callable[[Tensor], None]]:
        """What the user's MLP reads, float [n, d]: the side and the averages of the history."""
        total, pull_side = self.user_side.vjp(ids, categorical, numeric)
        if not len(values):
            return total, pull_side
        rows, places = self.history.distinct(values)
        vectors, pull_history = self.history.vjp(rows)
        takers = [pull_history]
        if self.history_shares_items:
            shared, pull_items = self.item_side.ids.vjp(rows)
            vectors += shared
            takers.append(pull_items)
        parts = [(vectors, takers, self.history_half_life)]
        if self.second_history is not None and self.second_history_half_life is not None:
            vectors, pull_second = self.second_history.vjp(rows)
            parts.append((vectors, [pull_second], self.second_history_half_life))
        pull_sums = []
        for vectors, _, half_life in parts:
            weights = recency_weights(offsets, half_life, self.history_power)
            sums, pull_vectors = weighted_sums(vectors, places, offsets, weights)
            total += sums
            pull_sums.append(pull_vectors)

        def pull(gradient: Tensor) -> None:
            pull_side(gradient)
            for pull_vectors, (_, takers, _) in zip(pull_sums, parts, strict=True):
                of_vectors = pull_vectors(gradient)
                for take in takers:
                    take(of_vectors)

        return total, pull

    def bias_of(self, ids: Tensor) -> Tensor:
        """Learned biases float32 [n] of the items in embedding rows int64 [n]; zeros where none are learned."""
        if self.item_bias is None:
            return torch.zeros(ids.shape, device=ids.device)
        return self.item_bias(ids).squeeze(-1)  # type: ignore[no-any-return]

    def inverse_temperature(self) -> Tensor:
        """1/τ, a scalar: what cosines are multiplied with; at most 100 where it is learned."""
        scale = self.log_inverse_temperature.exp()
        return scale.clamp(max=MAX_INVERSE_TEMPERATURE) if self.log_inverse_temperature.requires_grad else scale

    def tables(self) -> list[Table]:
        """The embedding tables, which have a gradient of some rows."""
        return [module for module in self.modules() if isinstance(module, Table)]

    def dense_parameters(self) -> list[nn.Parameter]:
        """Everything else that is trained: MLPs, maps of numbers, the temperature. May be empty."""
        of_tables = {id(table.weight) for table in self.tables()}
        return [one for one in self.parameters() if id(one) not in of_tables and one.requires_grad]


def recency_weights(offsets: Tensor, half_life: float, power: float = 1.0) -> Tensor:
    """Weights of a mean in which each value counts half as much as the one `half_life` places later.

    Args:
        offsets: int64 [n + 1]; row r has the values offsets[r] to offsets[r + 1], oldest first.
        half_life: In places, positive. Large values give the plain mean.
        power: Of the weights' sum, which they are divided by: 1 gives the mean, 0 the sum.

    Returns:
        float32 [offsets[-1]], of sum 1 in each row where `power` is 1.
    """
    lengths = offsets.diff()
    age = torch.repeat_interleave(offsets[1:], lengths) - 1 - torch.arange(int(offsets[-1]), device=offsets.device)
    ratio = 0.5 ** (1.0 / half_life)
    of_age = torch.pow(ratio, torch.arange(int(lengths.max()) + 1 if len(lengths) else 0, dtype=torch.float64))
    of_row = ((1.0 - torch.pow(ratio, lengths.double())) / (1.0 - ratio)).pow(-power)  # ∞ of empty rows is not used
    return of_age.float()[age] * torch.repeat_interleave(of_row.float(), lengths)


def build_towers(encoder: Encoder, config: TrainingConfig) -> Towers:
    """Fresh towers, whose weights follow from `config.seed`; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.seed)
        return Towers(encoder, config)


def _table(rows: int, config: TrainingConfig, *, unknown_is_zero: bool = False) -> Table:
    table = Table(rows, config.dimensions, config.initial_scale)
    if unknown_is_zero:
        with torch.no_grad():
            table.weight[UNKNOWN] = 0.0
    return table
