"""Adam on the rows of embedding tables that have a gradient, and on all dense parameters.

Here: one pass over these rows, for their moments and their values. Not here: which parameters there are (`towers`), and
the training step (`training/trainer.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from twotower_assets.two_tower.data.item_sets import Int64s
from twotower_assets.two_tower.kernels.compiled import compiled_parallel
from twotower_assets.two_tower.optim.flat_parameters import flatten_parameters, split_like
from twotower_assets.two_tower.optim.weight_average import NO_AVERAGE, TableAverage, WeightAverage, catch_up_row
from twotower_assets.two_tower.towers.embedding_tables import EmbeddingTable

Float32s = npt.NDArray[np.float32]


@dataclass
class Moments:
    """Moving averages of a gradient and of its square, float32 [rows, d], and the number of steps in them."""

    mean: Float32s
    square: Float32s
    steps: int = 0

    @classmethod
    def zeros(cls, rows: int, dimensions: int) -> Moments:
        """Moments before the first step."""
        return cls(np.zeros((rows, dimensions), np.float32), np.zeros((rows, dimensions), np.float32))


class RowAdam:
    """`torch.optim.SparseAdam` for tables and `torch.optim.AdamW` for dense parameters, equal to theirs up to rounding.

    Rows without a gradient keep their moments; the bias correction counts the steps of the table. Scalars are not
    decayed: the only one, the temperature, would be drawn to 1. Dense parameters are one flat vector: at the size of
    towers, torch's optimisers spend longer on finding their parameters than on updating them, and a second on import.
    """

    def __init__(
        self,
        tables: Iterable[EmbeddingTable],
        dense: Iterable[nn.Parameter] = (),
        *,
        lr: float,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ) -> None:
        self._lr, self._betas, self._epsilon = lr, betas, epsilon
        self._tables = list(tables)
        self._dense = list(dense)
        self.flat_dense = flatten_parameters(self._dense)
        """The values of all dense parameters, float32 [n]."""
        self._flat_gradient = torch.zeros_like(self.flat_dense)
        self._gradients = split_like(self._flat_gradient, self._dense)
        self._table_moments = [Moments.zeros(*table.weight.shape) for table in self._tables]
        self._dense_moments = Moments.zeros(1, len(self.flat_dense))
        decays = [lr * weight_decay if parameter.ndim else 0.0 for parameter in self._dense]
        self._decay = np.repeat(np.array(decays, np.float32), [parameter.numel() for parameter in self._dense])
        self._no_decay = np.zeros(max((table.weight.shape[1] for table in self._tables), default=0), np.float32)

    def zero_grad(self) -> None:
        """Clear all gradients."""
        for table in self._tables:
            table.gradient = None
        for parameter in self._dense:
            parameter.grad = None

    @torch.no_grad()
    def step(self, average: WeightAverage | None = None) -> None:
        """Update the table rows that have a gradient, and all dense parameters.

        `average` is brought up to date with the rows before they change.

        Raises:
            ValueError: A dense parameter has no gradient.
        """
        for index, (table, moments) in enumerate(zip(self._tables, self._table_moments, strict=True)):
            if table.gradient is not None:
                table_average = NO_AVERAGE if average is None else average.table_average(index)
                self._update(moments, table.weight.numpy(), *table.gradient, self._no_decay, table_average)
        if self._dense:
            torch._foreach_copy_(self._gradients, [_gradient(parameter) for parameter in self._dense])
            rows = self.flat_dense[None].numpy(), ONE_ROW, self._flat_gradient[None].numpy()
            self._update(self._dense_moments, *rows, self._decay, NO_AVERAGE)

    def state_dict(self) -> dict[str, Tensor]:
        """Moments and steps of each table, then of the dense parameters."""
        return {
            f"{index}/{name}": torch.as_tensor(getattr(moments, name))
            for index, moments in enumerate([*self._table_moments, self._dense_moments])
            for name in ("steps", "mean", "square")
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a saved state."""
        for index, moments in enumerate([*self._table_moments, self._dense_moments]):
            moments.steps = int(state[f"{index}/steps"].item())
            moments.mean[:] = state[f"{index}/mean"].numpy()
            moments.square[:] = state[f"{index}/square"].numpy()

    def _update(
        self,
        moments: Moments,
        weight: Float32s,
        rows: Int64s,
        gradient: Float32s,
        decay: Float32s,
        average: TableAverage,
    ) -> None:
        moments.steps += 1
        beta1, beta2 = self._betas
        bias_correction = math.sqrt(1.0 - beta2**moments.steps) / (1.0 - beta1**moments.steps)
        _adam(
            weight,
            moments.mean,
            moments.square,
            rows,
            gradient,
            np.float32(beta1),
            np.float32(beta2),
            np.float32(self._lr * bias_correction),
            np.float32(self._epsilon),
            decay,
            average,
        )


ONE_ROW = np.zeros(1, np.int64)


def _gradient(parameter: Tensor) -> Tensor:
    if parameter.grad is None:
        raise ValueError(f"A dense parameter of shape {list(parameter.shape)} has no gradient in this step.")
    return parameter.grad


@compiled_parallel
def _adam(
    weight: Float32s,
    mean: Float32s,
    square: Float32s,
    rows: Int64s,
    gradient: Float32s,
    beta1: np.float32,
    beta2: np.float32,
    rate: np.float32,
    epsilon: np.float32,
    decay: Float32s,
    average: TableAverage,
) -> None:
    one = np.float32(1.0)
    for i in numba.prange(len(rows)):
        if len(average.updated_at):
            catch_up_row(average, rows[i], weight[rows[i]])
        row_weight, row_mean, row_square, row_gradient = weight[rows[i]], mean[rows[i]], square[rows[i]], gradient[i]
        for column in range(len(row_gradient)):
            row_mean[column] += (one - beta1) * (row_gradient[column] - row_mean[column])
            row_square[column] += (one - beta2) * (row_gradient[column] * row_gradient[column] - row_square[column])
            row_weight[column] -= decay[column] * row_weight[column]
            row_weight[column] -= rate * row_mean[column] / (np.sqrt(row_square[column]) + epsilon)
