"""A moving average of the towers' weights over the steps of a training run.

Here: how weights of later steps outweigh earlier ones, and how often they are taken in. Not here: when the average is
validated and kept (`training.py`), and the averaging itself, which is torch's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from twotower_assets.two_tower.towers import Towers

UPDATES_PER_EPOCH = 64
"""At most: an update passes over every row of every table, which the steps themselves do not."""


class WeightAverage:
    """Exponential average without a bias towards its start: the first weights have no special part in it."""

    def __init__(self, towers: Towers, half_life: float, steps: int) -> None:
        """`half_life` in epochs, of `steps` steps each."""
        self._every = -(-steps // UPDATES_PER_EPOCH)
        kept = 0.5 ** (self._every / steps / half_life)

        def take_in(averages: Sequence[Tensor], weights: Sequence[Tensor], taken: Tensor | int) -> None:
            share = (1.0 - kept) / (1.0 - kept ** (int(taken) + 1))
            for average, weight in zip(averages, weights, strict=True):
                average.lerp_(weight, share)

        self._model = AveragedModel(towers, multi_avg_fn=take_in)

    @property
    def towers(self) -> Towers:
        """Towers with the averaged weights."""
        return cast(Towers, self._model.module)

    def update(self, towers: Towers, step: int) -> None:
        """Take in the weights after step number `step` of an epoch, from 1; only every few steps of a long one."""
        if step % self._every == 0:
            with torch.no_grad():
                self._model.update_parameters(towers)

    def state(self) -> dict[str, Tensor]:
        """The weights, and how many updates they stand for."""
        return dict(self._model.state_dict())

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from a state."""
        self._model.load_state_dict(state)
