"""The loss of the batches of a training run: a sampler makes their problems, an engine solves them.

    pairs → problem (`sampling`) → vectors (`towers`) → softmax → loss and gradients (an engine)

Every recipe takes this path. Here: sampler and engine together, and their state. Not here: what they do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.recipes.own_code import loss_function
from twotower_assets.two_tower.data.item_sets import ItemSets
from twotower_assets.two_tower.data.training_set import TrainingSet
from twotower_assets.two_tower.kernels.processor import has_bfloat16_matmul, runs_compiled_loops
from twotower_assets.two_tower.loss.compiled_engine import CompiledEngine
from twotower_assets.two_tower.loss.engine import Engine, Loss
from twotower_assets.two_tower.loss.torch_engine import TorchEngine
from twotower_assets.two_tower.loss.torch_softmax import Logits
from twotower_assets.two_tower.sampling.batch_problem import BatchProblem, MaskCounts
from twotower_assets.two_tower.sampling.negative_sampler import NegativeSampler
from twotower_assets.two_tower.towers.model import Towers

EngineName = Literal["cpu", "torch"]


class Objective:
    """The loss of the batches of one training run, in their order."""

    def __init__(
        self,
        data: TrainingSet,
        config: TrainingConfig,
        mined: ItemSets | None = None,
        *,
        engine: EngineName | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """An objective over a training set.

        Args:
            data: The pairs.
            config: Names sources, masks and the correction.
            mined: The sets that mined negatives are drawn from, one per user index.
            engine: `cpu` is compiled, and needs towers on the processor; `torch` takes them on any `device`. None is
                `torch` for a loss of one's own and for other devices than the processor.
            device: Where the towers are.

        Raises:
            TrainingDataError: `mined` is missing where the configuration needs it.
            ValueError: The engine `cpu` is asked for a loss of one's own.
        """
        self.data, self.config = data, config
        self.sampler = NegativeSampler(data, config, mined)
        bfloat16 = config.products == "bfloat16" or (config.products == "auto" and has_bfloat16_matmul(device))
        own_loss = config.loss and loss_function(config.loss)
        if engine == "cpu" and own_loss:
            raise ValueError(f"the engine `cpu` computes no loss but its own; {config.loss} needs the engine `torch`")
        self.engine: Engine
        if engine == "torch" or own_loss or not runs_compiled_loops(torch.device(device)):
            self.engine = TorchEngine(config.dimensions, device=device, bfloat16=bfloat16, loss=own_loss or Logits.loss)
        else:
            self.engine = CompiledEngine(config.dimensions, bfloat16=bfloat16)
        self._counts = MaskCounts()
        self._close: int | Tensor = 0

    def loss(self, towers: Towers, rows: npt.NDArray[np.int64], generator: np.random.Generator) -> Loss:
        """The loss of the pairs `rows` int64 [B]; call it once per batch, in their order."""
        return self.problem_loss(towers, self.sampler.draw(rows, generator))

    def problem_loss(self, towers: Towers, problem: BatchProblem) -> Loss:
        """The loss of a problem of `sampler`; call it once per batch, in their order."""
        loss = self.engine.loss(towers, problem)
        self._counts.add(problem.mask_counts)
        self._close = self._close + loss.close
        return loss

    def pop_counts(self) -> MaskCounts:
        """The mask counts since the last call."""
        counts, self._counts = self._counts, MaskCounts()
        counts.mask_close(int(self._close))
        self._close = 0
        return counts

    def state_dict(self) -> dict[str, Tensor]:
        """The state that outlives a batch: of the sampler and of the engine."""
        sampler = {name: torch.from_numpy(np.array(array)) for name, array in self.sampler.state_dict().items()}
        return {f"sampler/{name}": tensor for name, tensor in sampler.items()} | {
            f"engine/{name}": tensor for name, tensor in self.engine.state_dict().items()
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a saved state."""
        parts: dict[str, dict[str, Tensor]] = {"sampler": {}, "engine": {}}
        for path, tensor in state.items():
            part, _, name = path.partition("/")
            parts[part][name] = tensor
        self.sampler.load_state_dict({name: tensor.numpy() for name, tensor in parts["sampler"].items()})
        self.engine.load_state_dict(parts["engine"])
