"""The user tower and the item tower as PyTorch modules.

Here: tensors in, normalised vectors out. Not here: where the indices come from (`features.py`), the loss, and
the optimiser.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from twotower_assets.two_tower.config import TrainingConfig
from twotower_assets.two_tower.features import Encoder, SideEncoder
from twotower_assets.two_tower.vocabulary import UNKNOWN

MAX_INVERSE_TEMPERATURE = 100.0
"""As in CLIP: beyond it a learned temperature makes training unstable."""


class ResidualMLP(nn.Module):
    """x + MLP(x), [n, d] to [n, d]; the identity where there are no hidden layers."""

    def __init__(self, dimensions: int, hidden_sizes: list[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = dimensions
        for hidden in hidden_sizes:
            layers += [nn.Linear(width, hidden), nn.GELU()]
            width = hidden
        if hidden_sizes:
            layers.append(nn.Linear(width, dimensions))
        self.layers = nn.Sequential(*layers)

    def forward(self, inputs: Tensor) -> Tensor:
        """Float [n, d] to float [n, d]."""
        return inputs + self.layers(inputs) if len(self.layers) else inputs


class SideEmbedding(nn.Module):
    """Sum of the vectors of an id, of its categorical values, and of a linear map of its numbers.

    Row 0 of every table is the unknown. The unknown id is trained by replacing a share of ids; the unknown
    value of a categorical feature starts at zero, so that a value never trained on adds nothing.
    """

    def __init__(self, encoder: SideEncoder, config: TrainingConfig) -> None:
        super().__init__()
        self.ids = _table(encoder.own_rows + 1, config)
        self.categorical = nn.ModuleList(
            _table(values.size, config, unknown_is_zero=True) for values in encoder.categorical.values()
        )
        self.numeric = nn.Linear(len(encoder.numeric), config.dimensions, bias=False) if encoder.numeric else None

    def forward(self, ids: Tensor, categorical: Tensor, numeric: Tensor) -> Tensor:
        """int64 [n], int64 [n, c], float [n, m] to float [n, d]."""
        total: Tensor = self.ids(ids)
        for column, table in enumerate(self.categorical):
            total = total + table(categorical[:, column])
        return total if self.numeric is None else total + self.numeric(numeric)


class Towers(nn.Module):
    """Both towers; `embed_users` and `embed_items` give L2-normalised vectors."""

    def __init__(self, encoder: Encoder, config: TrainingConfig) -> None:
        super().__init__()
        self.user_side = SideEmbedding(encoder.users, config)
        self.item_side = SideEmbedding(encoder.items, config)
        self.history = _bag(encoder.items.own_rows + 1, config)
        self.history_half_life = config.history_half_life
        self.second_history_half_life = config.history_second_half_life
        self.second_history = (
            None if config.history_second_half_life is None else _bag(self.history.num_embeddings, config)
        )
        self.history_power = config.history_power
        self.history_shares_items = config.history_shares_items
        self.user_mlp = ResidualMLP(config.dimensions, config.hidden_sizes)
        self.item_mlp = ResidualMLP(config.dimensions, config.hidden_sizes)
        self.item_bias = nn.Embedding(encoder.items.own_rows + 1, 1, sparse=True) if config.item_bias else None
        if self.item_bias is not None:
            nn.init.zeros_(self.item_bias.weight)
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
        inputs = self.user_side(ids, categorical, numeric) + self._embed_histories(history_offsets, history_values)
        return functional.normalize(self.user_mlp(inputs), dim=1)

    def embed_items(self, ids: Tensor, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Vectors float32 [n, d] of length 1 of n items: int64 [n], int64 [n, c], float32 [n, m]."""
        return functional.normalize(self.item_mlp(self.item_side(ids, categorical, numeric)), dim=1)

    def _embed_histories(self, offsets: Tensor, values: Tensor) -> Tensor:
        """Float [n, d], the sum of the averages; zeros where the history is empty."""
        weights = recency_weights(offsets, self.history_half_life, self.history_power)
        total: Tensor = self.history(values, offsets, per_sample_weights=weights)
        if self.history_shares_items:
            total = total + functional.embedding_bag(
                values,
                self.item_side.ids.weight,
                offsets,
                mode="sum",
                sparse=True,
                per_sample_weights=weights,
                include_last_offset=True,
            )
        if self.second_history is not None and self.second_history_half_life is not None:
            weights = recency_weights(offsets, self.second_history_half_life, self.history_power)
            total = total + self.second_history(values, offsets, per_sample_weights=weights)
        return total

    def bias_of(self, ids: Tensor) -> Tensor:
        """Learned biases float32 [n] of the items in embedding rows int64 [n]; zeros where none are learned."""
        if self.item_bias is None:
            return torch.zeros(ids.shape, device=ids.device)
        return self.item_bias(ids).squeeze(-1)  # type: ignore[no-any-return]

    def inverse_temperature(self) -> Tensor:
        """1/τ, a scalar: what cosines are multiplied with; at most 100 where it is learned."""
        scale = self.log_inverse_temperature.exp()
        return scale.clamp(max=MAX_INVERSE_TEMPERATURE) if self.log_inverse_temperature.requires_grad else scale

    def embedding_parameters(self) -> list[nn.Parameter]:
        """The tables, whose gradients are sparse."""
        tables = (nn.Embedding, nn.EmbeddingBag)
        return [
            parameter for module in self.modules() if isinstance(module, tables) for parameter in module.parameters()
        ]

    def dense_parameters(self) -> list[nn.Parameter]:
        """Everything else that is trained: MLPs, maps of numbers, the temperature. May be empty."""
        tables = {id(parameter) for parameter in self.embedding_parameters()}
        return [one for one in self.parameters() if id(one) not in tables and one.requires_grad]


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
    places = torch.arange(int(offsets[-1]), device=offsets.device)
    age = torch.repeat_interleave(offsets[1:], lengths) - 1 - places
    ratio = 0.5 ** (1.0 / half_life)
    row_sums = (1.0 - torch.pow(ratio, lengths.double())) / (1.0 - ratio)
    weights = torch.pow(ratio, age.double()) / torch.repeat_interleave(row_sums**power, lengths)
    return weights.float()


def build_towers(encoder: Encoder, config: TrainingConfig) -> Towers:
    """Fresh towers, whose weights follow from `config.seed`; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.seed)
        return Towers(encoder, config)


def _bag(rows: int, config: TrainingConfig) -> nn.EmbeddingBag:
    bag = nn.EmbeddingBag(rows, config.dimensions, mode="sum", sparse=True, include_last_offset=True)
    nn.init.normal_(bag.weight, 0.0, config.initial_scale)
    return bag


def _table(rows: int, config: TrainingConfig, *, unknown_is_zero: bool = False) -> nn.Embedding:
    table = nn.Embedding(rows, config.dimensions, sparse=True)
    with torch.no_grad():
        table.weight.normal_(0.0, config.initial_scale)
        if unknown_is_zero:
            table.weight[UNKNOWN] = 0.0
    return table
