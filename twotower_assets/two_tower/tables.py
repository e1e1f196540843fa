"""Embedding tables, of which a training step touches only the rows that its batch names.

    ids → the distinct ones (a pass over integers) → their rows → vectors

The gradient of a table is that of the distinct rows, repeats summed; nothing passes over the table.

Here: the tables and weighted sums of their rows. Not here: what the vectors mean (`towers.py`), and the update
(`row_adam.py`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from twotower_assets.two_tower.compiled import compiled
from twotower_assets.two_tower.item_sets import Int32s, Int64s, distinct

Float32s = npt.NDArray[np.float32]


class Table(nn.Module):
    """Vectors float32 [rows, d]; `weight` starts at a normal distribution of mean 0."""

    def __init__(self, rows: int, dimensions: int, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(rows, dimensions) * scale)
        self._place = np.full(rows, -1, np.int32)  # scratch; all -1 between calls

    def __len__(self) -> int:
        return len(self.weight)

    def forward(self, ids: Tensor) -> Tensor:
        """Vectors float32 [..., d] of the rows int64 [...]."""
        if not torch.is_grad_enabled():
            return functional.embedding(ids, self.weight)
        vectors: Tensor = _LookUp.apply(self.weight, ids, self._place)  # type: ignore[no-untyped-call]
        return vectors

    def distinct(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The distinct ids int64 [D], in the order of their first appearance, and the place of each id among them."""
        rows, places = distinct(ids.numpy().reshape(-1), self._place)
        return torch.from_numpy(rows), torch.from_numpy(places).view(ids.shape)

    def take(self, rows: Tensor) -> Tensor:
        """The rows int64 [D], all distinct, float32 [D, d]; their gradient is a coalesced sparse one of the table."""
        taken: Tensor = _TakeRows.apply(self.weight, rows)  # type: ignore[no-untyped-call]
        return taken


def weighted_sums(vectors: Tensor, places: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    """Sum of weights[m]·vectors[places[m]] over offsets[r] ≤ m < offsets[r + 1].

    Args:
        vectors: float32 [D, d].
        places: int64 [m].
        offsets: int64 [n + 1], from 0 to m.
        weights: float32 [m], without gradient.

    Returns:
        float32 [n, d].
    """
    sums: Tensor = _WeightedSums.apply(vectors, places, offsets, weights)  # type: ignore[no-untyped-call]
    return sums


def distinct_rows(ids: Int64s, vectors: Float32s, place: Int32s) -> tuple[Int64s, Float32s]:
    """The distinct ids int64 [D], in order of appearance, and the sums of their vectors [n, d], float32 [D, d].

    `place` int32 [rows] is scratch, all -1 between calls.
    """
    rows, places = distinct(ids, place)
    if len(rows) == len(ids):
        return ids, vectors
    total = np.zeros((len(rows), vectors.shape[1]), np.float32)
    _add_rows(total, places, vectors)
    return rows, total


class _LookUp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, ids: Tensor, place: Int32s) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.shape, ctx.place = weight.shape, place
        return functional.embedding(ids, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (ids,) = ctx.saved_tensors
        vectors = gradient.reshape(-1, ctx.shape[1]).numpy()
        rows, values = distinct_rows(ids.numpy().reshape(-1), vectors, ctx.place)
        return _of_rows(torch.from_numpy(rows), torch.from_numpy(values), ctx.shape), None, None


class _TakeRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.shape = weight.shape
        return weight.index_select(0, rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (rows,) = ctx.saved_tensors
        return _of_rows(rows, gradient, ctx.shape), None


def _of_rows(rows: Tensor, values: Tensor, shape: torch.Size) -> Tensor:
    """The sparse tensor that is 0 but for the given rows, all distinct."""
    return torch.sparse_coo_tensor(rows[None], values, shape, is_coalesced=True, check_invariants=False)


class _WeightedSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vectors: Tensor, places: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(places, offsets, weights)
        ctx.rows = len(vectors)
        return functional.embedding_bag(
            places, vectors, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        places, offsets, weights = ctx.saved_tensors
        total = torch.zeros(ctx.rows, gradient.shape[1])
        _scatter(total.numpy(), places.numpy(), offsets.numpy(), weights.numpy(), gradient.contiguous().numpy())
        return total, None, None, None


@compiled
def _scatter(total: Float32s, places: Int64s, offsets: Int64s, weights: Float32s, gradient: Float32s) -> None:
    for row in range(len(offsets) - 1):
        of_row = gradient[row]
        for m in range(offsets[row], offsets[row + 1]):
            into, weight = total[places[m]], weights[m]
            for column in range(len(of_row)):
                into[column] += weight * of_row[column]


@compiled
def _add_rows(total: Float32s, places: Int64s, vectors: Float32s) -> None:
    for i in range(len(places)):
        into, vector = total[places[i]], vectors[i]
        for column in range(len(vector)):
            into[column] += vector[column]
