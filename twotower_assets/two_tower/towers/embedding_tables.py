"""Embedding tables of which a training step touches only the rows that its batch needs.

    ids → distinct ids (one pass over integers) → their rows → vectors

The gradient of a table covers these distinct rows, with repeats summed; nothing passes over the whole table.

Here: the tables and weighted sums of their rows. Not here: what the vectors are for (`compiled_towers.py`), and the
update (`optim/row_adam.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from twotower_assets.two_tower.data.item_sets import Int32s, Int64s, distinct
from twotower_assets.two_tower.kernels.compiled import compiled

Float32s = npt.NDArray[np.float32]


class Table(nn.Module):
    """Vectors float32 [rows, d]; `weight` starts at a normal distribution of mean 0."""

    def __init__(self, rows: int, dimensions: int, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(rows, dimensions) * scale)
        self.gradient: tuple[Int64s, Float32s] | None = None
        """Rows int64 [D], each once, and the gradient of the loss by each of them, float32 [D, d]."""
        self._place = np.full(rows, -1, np.int32)  # scratch; all -1 between calls

    def __len__(self) -> int:
        return len(self.weight)

    def forward(self, ids: Tensor) -> Tensor:
        """Vectors float32 [..., d] of the rows int64 [...]."""
        return functional.embedding(ids, self.weight)

    def vjp(self, ids: Tensor) -> tuple[Tensor, Callable[[Tensor], None]]:
        """The same, and what takes the gradient of these vectors and adds it to `gradient`."""
        return self(ids), partial(self._add_gradient, ids)

    def _add_gradient(self, ids: Tensor, gradient: Tensor) -> None:
        rows, vectors = ids.numpy().reshape(-1), gradient.reshape(-1, self.weight.shape[1]).numpy()
        if self.gradient is not None:
            rows = np.concatenate([self.gradient[0], rows])
            vectors = np.concatenate([self.gradient[1], vectors])
        self.gradient = distinct_rows(rows, vectors, self._place)

    def distinct(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The distinct ids int64 [D], in the order of their first appearance, and the place of each id among them."""
        rows, places = distinct(ids.numpy().reshape(-1), self._place)
        return torch.from_numpy(rows), torch.from_numpy(places).view(ids.shape)


def weighted_sums(
    vectors: Tensor, places: Tensor, offsets: Tensor, weights: Tensor
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Sum of weights[m]·vectors[places[m]] over offsets[r] ≤ m < offsets[r + 1].

    Args:
        vectors: float32 [D, d].
        places: int64 [m].
        offsets: int64 [n + 1], from 0 to m.
        weights: float32 [m], without gradient.

    Returns:
        float32 [n, d], and what makes the gradient of `vectors` of that of the sums.
    """
    sums = functional.embedding_bag(
        places, vectors, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True
    )

    def pull(gradient: Tensor) -> Tensor:
        total = torch.zeros_like(vectors)
        _scatter(total.numpy(), places.numpy(), offsets.numpy(), weights.numpy(), gradient.numpy())
        return total

    return sums, pull


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
