"""Adam, on the rows of embedding tables that a batch touched and on everything dense.

Here: one pass over those rows, for their moments and for their values. Not here: which parameters there are
(`compiled_towers.py`), and the step (`trainer.py`).
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
from twotower_assets.two_tower.optim.dense_row import as_one_row, parts_of
from twotower_assets.two_tower.optim.weight_average import NO_AVERAGE, OfTable, WeightAverage, catch_up_row
from twotower_assets.two_tower.towers.embedding_tables import Table

Float32s = npt.NDArray[np.float32]


@dataclass
class Moments:
    """The moving means of a gradient and of its square, float32 [rows, d], and the steps that they are of."""

    mean: Float32s
    square: Float32s
    steps: int = 0

    @classmethod
    def of(cls, rows: int, dimensions: int) -> Moments:
        """Zeros."""
        return cls(np.zeros((rows, dimensions), np.float32), np.zeros((rows, dimensions), np.float32))


class RowAdam:
    """`torch.optim.SparseAdam` of tables and `torch.optim.AdamW` of what is dense, their results to rounding.

    Rows without a gradient keep their moments; the bias correction counts the steps of the table. Scalars do not decay:
    the one there is, the temperature, would be pulled to 1. What is dense is one row of numbers: at the size of towers
    torch's optimisers take longer to find their parameters than to update them, and a second to import.
    """

    def __init__(
        self,
        tables: Iterable[Table],
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
        self.row = as_one_row(self._dense)
        """Of all that is dense, float32 [n]."""
        self._gradient = torch.zeros_like(self.row)
        self._gradients = parts_of(self._gradient, self._dense)
        self._of_table = [Moments.of(*one.weight.shape) for one in self._tables]
        self._of_dense = Moments.of(1, len(self.row))
        decays = [lr * weight_decay if one.ndim else 0.0 for one in self._dense]
        self._decay = np.repeat(np.array(decays, np.float32), [one.numel() for one in self._dense])
        self._no_decay = np.zeros(max((one.weight.shape[1] for one in self._tables), default=0), np.float32)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for table in self._tables:
            table.gradient = None
        for one in self._dense:
            one.grad = None

    @torch.no_grad()
    def step(self, average: WeightAverage | None = None) -> None:
        """Update the rows of tables that have a gradient, and all that is dense, which must have one: float32.

        Rows change after `average` has taken them in as they are.
        """
        for number, (table, moments) in enumerate(zip(self._tables, self._of_table, strict=True)):
            if table.gradient is not None:
                of_average = NO_AVERAGE if average is None else average.of_table(number)
                self._update(moments, table.weight.numpy(), *table.gradient, self._no_decay, of_average)
        if self._dense:
            torch._foreach_copy_(self._gradients, [_gradient(one) for one in self._dense])
            rows = self.row[None].numpy(), ONE_ROW, self._gradient[None].numpy()
            self._update(self._of_dense, *rows, self._decay, NO_AVERAGE)

    def state(self) -> dict[str, Tensor]:
        """Moments and steps of each table, then of what is dense."""
        return {
            f"{number}/{name}": torch.as_tensor(getattr(one, name))
            for number, one in enumerate([*self._of_table, self._of_dense])
            for name in ("steps", "mean", "square")
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state."""
        for number, one in enumerate([*self._of_table, self._of_dense]):
            one.steps = int(state[f"{number}/steps"].item())
            one.mean[:] = state[f"{number}/mean"].numpy()
            one.square[:] = state[f"{number}/square"].numpy()

    def _update(
        self,
        moments: Moments,
        weight: Float32s,
        rows: Int64s,
        gradient: Float32s,
        decay: Float32s,
        average: OfTable,
    ) -> None:
        moments.steps += 1
        first, second = self._betas
        correction = math.sqrt(1.0 - second**moments.steps) / (1.0 - first**moments.steps)
        _adam(
            weight,
            moments.mean,
            moments.square,
            rows,
            gradient,
            np.float32(first),
            np.float32(second),
            np.float32(self._lr * correction),
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
    first: np.float32,
    second: np.float32,
    rate: np.float32,
    epsilon: np.float32,
    decay: Float32s,
    average: OfTable,
) -> None:
    one = np.float32(1.0)
    for i in numba.prange(len(rows)):
        if len(average.taken):
            catch_up_row(average, rows[i], weight[rows[i]])
        of_weight, of_mean, of_square, pull = weight[rows[i]], mean[rows[i]], square[rows[i]], gradient[i]
        for column in range(len(pull)):
            of_mean[column] += (one - first) * (pull[column] - of_mean[column])
            of_square[column] += (one - second) * (pull[column] * pull[column] - of_square[column])
            of_weight[column] -= decay[column] * of_weight[column]
            of_weight[column] -= rate * of_mean[column] / (np.sqrt(of_square[column]) + epsilon)
