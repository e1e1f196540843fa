"""Everything that a step of training changes, and the step.

Here: towers, optimisers, objective and moving average of one run, together. Not here: epochs and when to stop
(`training.py`), and the files of the state (`resume.py`).
"""

from __future__ import annotations

import math

import torch

from twotower_assets.two_tower.config import TrainingConfig
from twotower_assets.two_tower.dataset import TrainingSet
from twotower_assets.two_tower.item_sets import ItemSets
from twotower_assets.two_tower.objective import Objective, starting_bias
from twotower_assets.two_tower.row_adam import RowAdam
from twotower_assets.two_tower.sources import Drawn
from twotower_assets.two_tower.towers import Towers, build_towers
from twotower_assets.two_tower.weight_average import WeightAverage


class Trainer:
    """One training run; `step` goes on with the batches that `objective.sources.draw` gives."""

    def __init__(self, data: TrainingSet, config: TrainingConfig, mined: ItemSets | None = None) -> None:
        """Raises `TrainingDataError` where `mined` is missing and the configuration needs it."""
        self.towers = build_towers(data.encoder, config)
        if self.towers.item_bias is not None:
            with torch.no_grad():
                self.towers.item_bias.weight[:, 0] = starting_bias(data, config)
        self.objective = Objective(data, config, mined)
        self._tables = RowAdam(self.towers.embedding_parameters(), lr=config.learning_rate)
        self.optimizers: dict[str, RowAdam | torch.optim.Optimizer] = {
            "tables": self._tables,
            **_dense(self.towers, config),
        }
        self.average: WeightAverage | None = None
        if config.average_half_life is not None:
            self.average = WeightAverage(self.towers, config.average_half_life, -(-len(data) // config.batch_size))

    @property
    def served(self) -> Towers:
        """The towers to validate and to keep, as of the end of an epoch: the averaged ones, where there are any."""
        return self.towers if self.average is None else self.average.towers

    def step(self, drawn: Drawn) -> float:
        """Update everything by one batch; gives the loss before. Raises `FloatingPointError` where it is not finite."""
        loss = self.objective.loss_of(self.towers, drawn)
        value = loss.item()
        if not math.isfinite(value):
            raise FloatingPointError(
                f"The training loss became {value}. Lower learning_rate or raise temperature in the recipe."
            )
        self.towers.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.average is not None:
            self._tables.merge()
            self.average.before_step()
        for optimizer in self.optimizers.values():
            optimizer.step()
        if self.average is not None:
            self.average.after_step()
        return value

    def end_epoch(self) -> None:
        """Bring what waits for the end of an epoch up to date."""
        if self.average is not None:
            self.average.catch_up()


def _dense(towers: Towers, config: TrainingConfig) -> dict[str, RowAdam | torch.optim.Optimizer]:
    """AdamW of what is no table; none where there is nothing."""
    dense = towers.dense_parameters()
    decayed = [one for one in dense if one.ndim]
    scalars = [one for one in dense if not one.ndim]  # the temperature: decay would pull it to 1
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": scalars, "weight_decay": 0.0}]
    used = [one for one in groups if one["params"]]
    return {"dense": torch.optim.AdamW(used, lr=config.learning_rate, fused=True)} if used else {}
