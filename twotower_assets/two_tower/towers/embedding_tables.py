"""Embedding tables of which a training step touches only the rows that its batch needs.

    ids → distinct ids (one pass over integers) → their rows → vectors

The gradient of a table covers these distinct rows, with repeats summed; nothing passes over the whole table.

Here: the tables and weighted sums of their rows. Not here: what the vectors are for (`compiled_towers.py`), and the
update (`optim/row_adam.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from twotower_assets.two_tower.data.item_sets import Int32s, Int64s, unique_ids
from twotower_assets.two_tower.kernels import processor
from twotower_assets.two_tower.kernels.compiled import compiled

Float32s = npt.NDArray[np.float32]


class EmbeddingTable(nn.Module):
    """Vectors float32 [rows, d]; `weight` is initialised from a normal distribution with mean 0."""

    def __init__(self, rows: int, dimensions: int, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(rows, dimensions) * scale)
        self.gradient: tuple[Int64s, Float32s] | None = None
        """Distinct rows int64 [D], and the gradient of the loss with respect to each, float32 [D, d]."""
        self.looked_up: list[Tensor] = []
        """On a device without compiled loops: the rows, with repeats, that `weight.grad` covers, int64 of any shape."""
        self._scratch = np.full(rows, -1, np.int32)  # of `unique_ids`

    def __len__(self) -> int:
        return len(self.weight)

    def forward(self, ids: Tensor) -> Tensor:
        """Vectors float32 [..., d] of the rows int64 [...].

        With compiled loops autograd adds to `gradient`, and not to `weight.grad`; without, to `weight.grad`.
        """
        if torch.is_grad_enabled() and self.weight.requires_grad:
            if not processor.runs_compiled_loops(ids.device):
                self.looked_up.append(ids)
                return functional.embedding(ids, self.weight)
            vectors: Tensor = _RowsOfTable.apply(self.weight, ids, self)  # type: ignore[no-untyped-call]
            return vectors
        return functional.embedding(ids, self.weight)

    def vjp(self, ids: Tensor) -> tuple[Tensor, Callable[[Tensor], None]]:
        """The vectors, and their backward function, which adds to `gradient` or `weight.grad` as `forward` says."""
        if not processor.runs_compiled_loops(ids.device):
            with torch.enable_grad():
                vectors = self(ids)
            return vectors.detach(), partial(torch.autograd.backward, vectors)
        return functional.embedding(ids, self.weight.detach()), partial(self._backward, ids)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradient."""
        super().zero_grad(set_to_none)
        self.gradient = None
        self.looked_up.clear()

    def _backward(self, ids: Tensor, gradient: Tensor) -> None:
        rows, vectors = ids.numpy().reshape(-1), gradient.reshape(-1, self.weight.shape[1]).numpy()
        if self.gradient is not None:
            rows = np.concatenate([self.gradient[0], rows])
            vectors = np.concatenate([self.gradient[1], vectors])
        self.gradient = sum_by_row(rows, vectors, self._scratch)

    def unique(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The distinct ids int64 [D] in order of first appearance, and the index of each id among them."""
        rows, index = unique_ids(ids.numpy().reshape(-1), self._scratch)
        return torch.from_numpy(rows), torch.from_numpy(index).view(ids.shape)


class _RowsOfTable(torch.autograd.Function):
    """Rows of a table in torch's autograd, with a gradient that covers only these rows."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, ids: Tensor, table: EmbeddingTable) -> Tensor:
        """Vectors float32 [..., d] of the rows int64 [...]."""
        ctx.ids, ctx.table = ids, table
        return functional.embedding(ids, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """None for the weight: its gradient is that of the table."""
        ctx.table._backward(ctx.ids, gradient)
        return None, None, None


def weighted_sums(
    vectors: Tensor, index: Tensor, offsets: Tensor, weights: Tensor
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Sum of weights[m]·vectors[index[m]] over offsets[r] ≤ m < offsets[r + 1].

    Args:
        vectors: float32 [D, d].
        index: int64 [m].
        offsets: int64 [n + 1], from 0 to m.
        weights: float32 [m], without gradient.

    Returns:
        The sums float32 [n, d], and their backward function, which returns the gradient of `vectors`.
    """
    sums = functional.embedding_bag(
        index, vectors, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True
    )

    def backward(gradient: Tensor) -> Tensor:
        grad_vectors = torch.zeros_like(vectors)
        _weighted_sums_backward(grad_vectors.numpy(), index.numpy(), offsets.numpy(), weights.numpy(), gradient.numpy())
        return grad_vectors

    return sums, backward


def sum_by_row(ids: Int64s, vectors: Float32s, scratch: Int32s) -> tuple[Int64s, Float32s]:
    """The distinct ids int64 [D] in order of first appearance, and the sums of their vectors [n, d], float32 [D, d].

    `scratch` as for `unique_ids`.
    """
    rows, index = unique_ids(ids, scratch)
    if len(rows) == len(ids):
        return ids, vectors
    sums = np.zeros((len(rows), vectors.shape[1]), np.float32)
    _add_rows(sums, index, vectors)
    return rows, sums


@compiled
def _weighted_sums_backward(
    grad_vectors: Float32s, index: Int64s, offsets: Int64s, weights: Float32s, gradient: Float32s
) -> None:
    for row in range(len(offsets) - 1):
        row_gradient = gradient[row]
        for m in range(offsets[row], offsets[row + 1]):
            grad_vector, weight = grad_vectors[index[m]], weights[m]
            for column in range(len(row_gradient)):
                grad_vector[column] += weight * row_gradient[column]


@compiled
def _add_rows(sums: Float32s, index: Int64s, vectors: Float32s) -> None:
    for i in range(len(index)):
        row_sum, vector = sums[index[i]], vectors[i]
        for column in range(len(vector)):
            row_sum[column] += vector[column]
