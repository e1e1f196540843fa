"""The training step, and everything that it changes.

Here: towers, optimiser, objective and weight average of one run, together. Not here: epochs and early stopping
(`loop.py`), and the files of the state (`resume.py`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.two_tower.data.item_sets import ItemSets
from twotower_assets.two_tower.data.training_set import TrainingSet
from twotower_assets.two_tower.kernels.processor import runs_compiled_loops
from twotower_assets.two_tower.loss.objective import EngineName, Objective
from twotower_assets.two_tower.optim.row_adam import RowAdam
from twotower_assets.two_tower.optim.torch_adam import TorchAdam, TorchAverage
from twotower_assets.two_tower.optim.weight_average import WeightAverage
from twotower_assets.two_tower.sampling.batch_problem import BatchProblem
from twotower_assets.two_tower.sampling.negative_sampler import starting_bias
from twotower_assets.two_tower.towers.model import Towers, build_towers


class Trainer:
    """One training run; `step` takes the problems that `objective.sampler.draw` returns."""

    def __init__(
        self,
        data: TrainingSet,
        config: TrainingConfig,
        mined: ItemSets | None = None,
        *,
        device: torch.device | str = "cpu",
        engine: EngineName | None = None,
    ) -> None:
        """`engine`: as for `Objective`.

        Raises `TrainingDataError` where `mined` is missing and the configuration needs it.
        """
        self.device = torch.device(device)
        compiled = runs_compiled_loops(self.device)
        self.towers = build_towers(data.encoder, config)
        if self.towers.item_bias is not None:
            with torch.no_grad():
                self.towers.item_bias.weight[:, 0] = torch.from_numpy(starting_bias(data, config))
        self.towers.to(self.device)
        self.objective = Objective(data, config, mined, engine=engine, device=self.device)
        adam = RowAdam if compiled else TorchAdam
        self.optimizer: RowAdam | TorchAdam = adam(
            self.towers.tables(),
            self.towers.dense_parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
        )
        self.average: WeightAverage | TorchAverage | None = None
        if config.average_half_life is not None:
            half_life, steps = config.average_half_life, -(-len(data) // config.batch_size)
            if compiled:
                self.average = WeightAverage(self.towers, self.optimizer.flat_dense, half_life, steps)
            else:
                self.average = TorchAverage(self.towers, half_life, steps)

    @property
    def evaluation_towers(self) -> Towers:
        """The towers to validate and keep at the end of an epoch: the averaged ones if there is an average."""
        return self.towers if self.average is None else self.average.towers

    def step(self, problem: BatchProblem) -> float | Tensor:
        """Train on one batch; returns the loss before the update, on another device a tensor of it.

        Raises `FloatingPointError` if it is known and not finite.
        """
        self.optimizer.zero_grad()
        loss = self.objective.problem_loss(self.towers, problem)
        if self.device.type == "cpu":
            check_finite(float(loss.value))
        loss.backward()
        if isinstance(self.optimizer, RowAdam):
            self.optimizer.step(self.average if isinstance(self.average, WeightAverage) else None)
        else:
            self.optimizer.step()
        if self.average is not None:
            self.average.after_step()
        return loss.value

    def end_epoch(self) -> None:
        """Bring the weight average up to date."""
        if self.average is not None:
            self.average.catch_up()


def check_finite(loss: float) -> None:
    """Raise `FloatingPointError` if a loss is not finite."""
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"The training loss became {loss}. Lower learning_rate or raise temperature in the recipe."
        )
