"""The loss of the batches of a training run: a sampler makes their problems, an engine solves them.

    pairs → problem (`sampling`) → vectors (`towers`) → softmax → loss and gradients (an engine)

Every recipe takes this path. Here: sampler and engine together, and their state. Not here: what they do.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.two_tower.data.item_sets import ItemSets
from twotower_assets.two_tower.data.training_set import TrainingSet
from twotower_assets.two_tower.kernels.processor import has_bfloat16_matmul
from twotower_assets.two_tower.loss.compiled_engine import CompiledEngine
from twotower_assets.two_tower.loss.engine import Engine, Loss
from twotower_assets.two_tower.sampling.batch_problem import BatchProblem, MaskCounts
from twotower_assets.two_tower.sampling.negative_sampler import NegativeSampler
from twotower_assets.two_tower.towers.model import Towers


class Objective:
    """The loss of the batches of one training run, in their order."""

    def __init__(self, data: TrainingSet, config: TrainingConfig, mined: ItemSets | None = None) -> None:
        """`mined`: the sets that mined negatives are drawn from, one per user index.

        Raises:
            TrainingDataError: `mined` is missing where the configuration needs it.
        """
        self.data, self.config = data, config
        self.sampler = NegativeSampler(data, config, mined)
        bfloat16 = config.products == "bfloat16" or (config.products == "auto" and has_bfloat16_matmul())
        self.engine: Engine = CompiledEngine(config.dimensions, bfloat16=bfloat16)
        self.counts = MaskCounts()

    def loss(self, towers: Towers, rows: npt.NDArray[np.int64], generator: np.random.Generator) -> Loss:
        """The loss of the pairs `rows` int64 [B]; call it once per batch, in their order."""
        return self.problem_loss(towers, self.sampler.draw(rows, generator))

    def problem_loss(self, towers: Towers, problem: BatchProblem) -> Loss:
        """The loss of a problem of `sampler`; call it once per batch, in their order."""
        loss = self.engine.loss(towers, problem)
        self.counts.add(problem.mask_counts)
        self.counts.mask_close(int(loss.close))
        return loss

    def pop_counts(self) -> MaskCounts:
        """The mask counts since the last call."""
        counts, self.counts = self.counts, MaskCounts()
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
