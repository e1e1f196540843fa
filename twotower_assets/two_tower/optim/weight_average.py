"""A moving average of the towers' weights over the steps of a training run.

Here: how weights of later steps outweigh earlier ones. Not here: when the average is validated and kept
(`training.py`).
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
from twotower_assets.two_tower.optim.dense_row import as_one_row
from twotower_assets.two_tower.towers.compiled_towers import Towers

Float32s = npt.NDArray[np.float32]


class WeightAverage:
    """Exponential average without a bias towards its start: a step's weights count k^age, age in steps.

    A row of a table keeps its weights until a batch touches it, so its average is brought up to date only then, and
    once at the end of an epoch: no step passes over a table.
    """

    def __init__(self, towers: Towers, dense: Tensor, half_life: float, steps: int) -> None:
        """`dense` float32 [n]: the row of `towers.dense_parameters()`; `half_life` in epochs, of `steps` steps each."""
        self.towers = copy.deepcopy(towers)
        self._kept = 0.5 ** (1.0 / steps / half_life)
        self._steps = 0
        self._tables = [
            (average.weight, table, np.zeros(len(table), np.int64))
            for average, table in zip(self.towers.tables(), towers.tables(), strict=True)
        ]
        self._dense, self._average_of_dense = dense, as_one_row(self.towers.dense_parameters())

    def of_table(self, number: int) -> OfTable:
        """What a table's update needs to bring the average of the rows that it changes up to date before it does."""
        average, _, taken = self._tables[number]
        return OfTable(average.detach().numpy(), taken, self._steps, self._kept, self._kept**self._steps)

    @torch.no_grad()
    def after_step(self) -> None:
        """Take in the weights after a step."""
        self._steps += 1
        share = (1.0 - self._kept) / (1.0 - self._kept**self._steps)
        self._average_of_dense.lerp_(self._dense, share)

    @torch.no_grad()
    def catch_up(self) -> None:
        """Bring every row of `towers` up to date."""
        for number, (_, table, _) in enumerate(self._tables):
            _catch_up(self.of_table(number), table.weight.numpy())

    def state(self) -> dict[str, Tensor]:
        """The weights, and how many steps they stand for; to be asked for after `catch_up`."""
        return {**self.towers.state_dict(), "steps": torch.tensor([self._steps])}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from a state."""
        self._steps = int(state["steps"].item())
        self.towers.load_state_dict({name: tensor for name, tensor in state.items() if name != "steps"})
        for _, _, taken in self._tables:
            taken[:] = self._steps


class OfTable(NamedTuple):
    """The averages of a table's rows float32 [rows, d]; the steps int64 [rows] that each row's is of; m, k and k^m."""

    average: Float32s
    taken: Int64s
    steps: int
    kept: float
    kept_of_all: float


NO_AVERAGE = OfTable(np.zeros((0, 0), np.float32), np.zeros(0, np.int64), 0, 0.0, 0.0)


@compiled
def catch_up_row(of_table: OfTable, row: int, weight: Float32s) -> None:
    """Bring the average of a row up to date, whose weights float32 [d] have not changed since it was.

    Of steps 1 … n the average holds Σ k^(n - s)·w_s / Σ k^(n - s); from n to m steps of the same weight w it goes to
    w + (average - w)·(k^(m - n) - k^m) / (1 - k^m).
    """
    average, taken, steps, kept, kept_of_all = of_table
    before = taken[row]
    if before < steps:
        left = np.float32((kept ** (steps - before) - kept_of_all) / (1.0 - kept_of_all))
        of_average = average[row]
        for column in range(len(of_average)):
            of_average[column] = weight[column] + (of_average[column] - weight[column]) * left
        taken[row] = steps


@compiled_parallel
def _catch_up(of_table: OfTable, weight: Float32s) -> None:
    for row in numba.prange(len(weight)):
        catch_up_row(of_table, row, weight[row])
