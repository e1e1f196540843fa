"""The training step, and everything that it changes.

Here: towers, optimiser, objective and weight average of one run, together. Not here: epochs and early stopping
(`loop.py`), and the files of the state (`resume.py`).
"""

from __future__ import annotations

import math

import torch

from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.two_tower.data.item_sets import ItemSets
from twotower_assets.two_tower.data.training_set import TrainingSet
from twotower_assets.two_tower.loss.objective import Objective
from twotower_assets.two_tower.optim.row_adam import RowAdam
from twotower_assets.two_tower.optim.weight_average import WeightAverage
from twotower_assets.two_tower.sampling.batch_problem import BatchProblem
from twotower_assets.two_tower.sampling.negative_sampler import starting_bias
from twotower_assets.two_tower.towers.model import Towers, build_towers


class Trainer:
    """One training run; `step` takes the problems that `objective.sampler.draw` returns."""

    def __init__(self, data: TrainingSet, config: TrainingConfig, mined: ItemSets | None = None) -> None:
        """Raises `TrainingDataError` where `mined` is missing and the configuration needs it."""
        self.towers = build_towers(data.encoder, config)
        if self.towers.item_bias is not None:
            with torch.no_grad():
                self.towers.item_bias.weight[:, 0] = torch.from_numpy(starting_bias(data, config))
        self.objective = Objective(data, config, mined)
        self.optimizer = RowAdam(
            self.towers.tables(),
            self.towers.dense_parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
        )
        self.average: WeightAverage | None = None
        if config.average_half_life is not None:
            steps = -(-len(data) // config.batch_size)
            self.average = WeightAverage(self.towers, self.optimizer.flat_dense, config.average_half_life, steps)

    @property
    def evaluation_towers(self) -> Towers:
        """The towers to validate and keep at the end of an epoch: the averaged ones if there is an average."""
        return self.towers if self.average is None else self.average.towers

    def step(self, problem: BatchProblem) -> float:
        """Train on one batch; returns the loss before the update. Raises `FloatingPointError` if it is not finite."""
        loss = self.objective.problem_loss(self.towers, problem)
        value = float(loss.value)
        if not math.isfinite(value):
            raise FloatingPointError(
                f"The training loss became {value}. Lower learning_rate or raise temperature in the recipe."
            )
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step(self.average)
        if self.average is not None:
            self.average.after_step()
        return value

    def end_epoch(self) -> None:
        """Bring the weight average up to date."""
        if self.average is not None:
            self.average.catch_up()
