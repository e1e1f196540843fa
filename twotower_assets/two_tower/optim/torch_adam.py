"""The update by plain operations of PyTorch, on any device: Adam on rows, and the moving average of weights.

Every operation covers a whole table, and none waits for the device. Here: what `RowAdam` and `WeightAverage` do, equal
to them up to rounding. Not here: the same on the rows of a batch alone, in compiled loops (`row_adam.py`).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from twotower_assets.two_tower.optim.flat_parameters import flatten_parameters
from twotower_assets.two_tower.towers.embedding_tables import EmbeddingTable
from twotower_assets.two_tower.towers.model import Towers


@dataclass
class TensorMoments:
    """As `Moments`, on a device."""

    mean: Tensor
    square: Tensor
    steps: int = 0


class TorchAdam:
    """As `RowAdam`: rows without a gradient keep their values and moments."""

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
        self._tables, self._dense = list(tables), list(dense)
        self.flat_dense = flatten_parameters(self._dense)
        """The values of all dense parameters, float32 [n]."""
        weights = [*(table.weight for table in self._tables), self.flat_dense[None]]
        self._moments = [TensorMoments(torch.zeros_like(one), torch.zeros_like(one)) for one in weights]
        decays = [torch.full_like(one, lr * weight_decay if one.ndim else 0.0) for one in self._dense]
        self._decay = torch.cat([one.reshape(-1) for one in decays])[None] if decays else None

    def zero_grad(self) -> None:
        """Clear all gradients."""
        for table in self._tables:
            table.zero_grad()
        for parameter in self._dense:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update the table rows that were looked up, and all dense parameters.

        Raises:
            ValueError: A dense parameter has no gradient.
        """
        for table, moments in zip(self._tables, self._moments, strict=False):
            if table.weight.grad is not None:
                rows = torch.cat([ids.reshape(-1) for ids in table.looked_up])
                touched = torch.zeros(len(table), device=rows.device).index_fill_(0, rows, 1.0)[:, None]
                self._update(moments, table.weight, table.weight.grad, touched)
        if self._dense:
            missing = [list(parameter.shape) for parameter in self._dense if parameter.grad is None]
            if missing:
                raise ValueError(f"Dense parameters of the shapes {missing} have no gradient in this step.")
            gradient = torch.cat(
                [parameter.grad.reshape(-1) for parameter in self._dense if parameter.grad is not None]
            )
            flat = self.flat_dense[None]
            if self._decay is not None:
                flat.sub_(self._decay * flat)
            self._update(self._moments[-1], flat, gradient[None], flat.new_ones(1, 1))

    def state_dict(self) -> dict[str, Tensor]:
        """As `RowAdam.state_dict`."""
        return {
            f"{index}/{name}": torch.as_tensor(getattr(moments, name))
            for index, moments in enumerate(self._moments)
            for name in ("steps", "mean", "square")
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a saved state."""
        for index, moments in enumerate(self._moments):
            moments.steps = int(state[f"{index}/steps"].item())
            moments.mean.copy_(state[f"{index}/mean"])
            moments.square.copy_(state[f"{index}/square"])

    def _update(self, moments: TensorMoments, weight: Tensor, gradient: Tensor, touched: Tensor) -> None:
        """`touched` float32 [rows, 1] is 1 for the rows to update, and 0 for others."""
        moments.steps += 1
        beta1, beta2 = self._betas
        bias_correction = math.sqrt(1.0 - beta2**moments.steps) / (1.0 - beta1**moments.steps)
        moments.mean.lerp_(gradient, (1.0 - beta1) * touched)
        moments.square.lerp_(gradient.square(), (1.0 - beta2) * touched)
        rate = self._lr * bias_correction * touched
        weight.sub_(rate * moments.mean / (moments.square.sqrt() + self._epsilon))


class TorchAverage:
    """As `WeightAverage`; every step covers all weights, so there is nothing to catch up."""

    def __init__(self, towers: Towers, half_life: float, steps: int) -> None:
        """`half_life` in epochs of `steps` steps each."""
        self.towers = copy.deepcopy(towers)
        self._decay = 0.5 ** (1.0 / steps / half_life)
        self._steps = 0
        self._weights = list(towers.parameters())
        self._averages = list(self.towers.parameters())

    @torch.no_grad()
    def after_step(self) -> None:
        """Include the weights after a step."""
        self._steps += 1
        share = (1.0 - self._decay) / (1.0 - self._decay**self._steps)
        for average, weight in zip(self._averages, self._weights, strict=True):
            average.lerp_(weight, share)

    def catch_up(self) -> None:
        """Nothing is left to do."""

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights and the number of steps in them."""
        return {**self.towers.state_dict(), "steps": torch.tensor([self._steps])}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from a saved state."""
        self._steps = int(state["steps"].item())
        self.towers.load_state_dict({name: tensor for name, tensor in state.items() if name != "steps"})
