"""A moving average of the towers' weights over the steps of a training run.

Here: how the average is updated. Not here: when it is validated and kept (`training/loop.py`).
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from twotower_assets.two_tower.data.item_sets import Int64s
from twotower_assets.two_tower.kernels.compiled import compiled, compiled_parallel
from twotower_assets.two_tower.optim.flat_parameters import flatten_parameters
from twotower_assets.two_tower.towers.model import Towers

Float32s = npt.NDArray[np.float32]


class WeightAverage:
    """Bias-corrected exponential moving average: the weights after a step count k^age, with the age in steps.

    A row of a table changes only when a batch touches it. Its average is brought up to date then, and once at the end
    of an epoch, so that no step passes over a whole table.
    """

    def __init__(self, towers: Towers, flat_dense: Tensor, half_life: float, steps: int) -> None:
        """`flat_dense`: `RowAdam.flat_dense` of these towers; `half_life` in epochs of `steps` steps each."""
        self.towers = copy.deepcopy(towers)
        self._decay = 0.5 ** (1.0 / steps / half_life)
        self._steps = 0
        self._tables = [
            (average.weight, table, np.zeros(len(table), np.int64))
            for average, table in zip(self.towers.tables(), towers.tables(), strict=True)
        ]
        self._dense, self._dense_average = flat_dense, flatten_parameters(self.towers.dense_parameters())

    def table_average(self, index: int) -> TableAverage:
        """The average of a table, for bringing rows up to date before they change."""
        average, _, updated_at = self._tables[index]
        return TableAverage(average.detach().numpy(), updated_at, self._steps, self._decay, self._decay**self._steps)

    @torch.no_grad()
    def after_step(self) -> None:
        """Include the weights after a step."""
        self._steps += 1
        share = (1.0 - self._decay) / (1.0 - self._decay**self._steps)
        self._dense_average.lerp_(self._dense, share)

    @torch.no_grad()
    def catch_up(self) -> None:
        """Bring every row of `towers` up to date."""
        for index, (_, table, _) in enumerate(self._tables):
            _catch_up(self.table_average(index), table.weight.numpy())

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights and the number of steps in them; call `catch_up` first."""
        return {**self.towers.state_dict(), "steps": torch.tensor([self._steps])}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from a saved state."""
        self._steps = int(state["steps"].item())
        self.towers.load_state_dict({name: tensor for name, tensor in state.items() if name != "steps"})
        for _, _, updated_at in self._tables:
            updated_at[:] = self._steps


class TableAverage(NamedTuple):
    """The average of a table and what its update needs.

    Attributes:
        average: float32 [rows, d].
        updated_at: int64 [rows], the number of steps that the average of each row includes.
        steps: m, the steps so far.
        decay: k.
        decay_of_all: k^m.
    """

    average: Float32s
    updated_at: Int64s
    steps: int
    decay: float
    decay_of_all: float


NO_AVERAGE = TableAverage(np.zeros((0, 0), np.float32), np.zeros(0, np.int64), 0, 0.0, 0.0)


@compiled
def catch_up_row(table: TableAverage, row: int, weight: Float32s) -> None:
    """Bring the average of a row up to date; its weights float32 [d] have not changed since the last update.

    After steps 1 … n the average is Σ k^(n - s)·w_s / Σ k^(n - s). Steps n + 1 … m with the same weights w take it to
    w + (average - w)·(k^(m - n) - k^m) / (1 - k^m).
    """
    average, updated_at, steps, decay, decay_of_all = table
    before = updated_at[row]
    if before < steps:
        remaining = np.float32((decay ** (steps - before) - decay_of_all) / (1.0 - decay_of_all))
        row_average = average[row]
        for column in range(len(row_average)):
            row_average[column] = weight[column] + (row_average[column] - weight[column]) * remaining
        updated_at[row] = steps


@compiled_parallel
def _catch_up(table: TableAverage, weight: Float32s) -> None:
    for row in numba.prange(len(weight)):
        catch_up_row(table, row, weight[row])
