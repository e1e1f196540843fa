"""The towers that come with the platform by plain operations of PyTorch: with autograd, on any device, and for export.

Here: the arithmetic before the MLP, of ragged and of padded histories. Not here: the same with compiled loops and
hand-written gradients (`compiled_towers.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from twotower_assets.two_tower.towers.embedding_tables import EmbeddingTable
from twotower_assets.two_tower.towers.tower import History, PaddedHistory, TowerInputs

Average = tuple[Sequence[EmbeddingTable], float]
"""Tables whose vectors are added, and the half-life of their weights, in items."""


def side_sum(ids: EmbeddingTable, categorical: nn.ModuleList, numeric: nn.Linear | None, inputs: TowerInputs) -> Tensor:
    """Sum of the vectors of an id and of its categorical values, and of a map of its numbers, float32 [n, d]."""
    total: Tensor = ids(inputs.ids)
    for column, table in enumerate(categorical):
        total = total + table(inputs.categorical[:, column])
    return total if numeric is None else total + numeric(inputs.numeric)


def history_sum(history: History | PaddedHistory, averages: Sequence[Average], power: float) -> Tensor | None:
    """The weighted sums of the vectors of the history, float32 [n, d]; None where nobody has one."""
    if isinstance(history, History):
        if not len(history.values):
            return None
        return torch.stack([_ragged(history, *average, power) for average in averages]).sum(dim=0)
    return torch.stack([_padded(history.items, *average, power) for average in averages]).sum(dim=0)


def _vectors(tables: Sequence[EmbeddingTable], items: Tensor) -> Tensor:
    total: Tensor = tables[0](items)
    for table in tables[1:]:
        total = total + table(items)
    return total


def _ragged(history: History, tables: Sequence[EmbeddingTable], half_life: float, power: float) -> Tensor:
    lengths, size = history.offsets.diff(), len(history.values)
    rows = torch.arange(len(lengths), device=lengths.device)
    row = torch.repeat_interleave(rows, lengths, output_size=size)
    age = history.offsets[1:][row] - 1 - torch.arange(size, device=lengths.device)
    weights = (_decay(half_life) ** age.double() * _scale(lengths, half_life, power)[row]).float()
    vectors = _vectors(tables, history.values)
    return vectors.new_zeros(len(lengths), vectors.shape[1]).index_add(0, row, vectors * weights[:, None])


def _padded(items: Tensor, tables: Sequence[EmbeddingTable], half_life: float, power: float) -> Tensor:
    there = items > 0
    lengths = there.sum(dim=1)
    age = (lengths[:, None] - 1 - torch.arange(items.shape[1], device=items.device)).clamp(min=0).double()
    weights = _decay(half_life) ** age * _scale(lengths, half_life, power)[:, None]
    return (_vectors(tables, items) * torch.where(there, weights, 0.0).float()[..., None]).sum(dim=1)


def _decay(half_life: float) -> float:
    """The weight of a click relative to that of the one after it."""
    return float(0.5 ** (1.0 / half_life))


def _scale(lengths: Tensor, half_life: float, power: float) -> Tensor:
    """The factor of the weights of rows with so many clicks, float64 [n], as in `recency_weights`."""
    ratio = _decay(half_life)
    scale: Tensor = ((1.0 - ratio ** lengths.clamp(min=1).double()) / (1.0 - ratio)) ** -power
    return scale
