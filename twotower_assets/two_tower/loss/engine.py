"""What an engine does: the loss of a batch's problem for some towers, and its gradients.

Here: the interface of all engines. Not here: their arithmetic (`compiled_engine.py`, `torch_engine.py`), and the
problem itself (`sampling/batch_problem.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from twotower_assets.two_tower.sampling.batch_problem import BatchProblem
from twotower_assets.two_tower.towers.model import Towers


@dataclass(frozen=True)
class Loss:
    """The loss of a batch; `backward` sets the gradients of towers that have none, and is called at most once.

    Attributes:
        value: The loss; on another device than the processor a tensor, which may not have been computed yet.
        backward: Sets the gradients.
        close: How many candidates `positive_aware_share` masked.
    """

    value: float | Tensor
    backward: Callable[[], None]
    close: int | Tensor


class Engine(Protocol):
    """Arithmetic on the problems of the batches of one training run, in their order."""

    def loss(self, towers: Towers, problem: BatchProblem) -> Loss:
        """The loss of a batch; call it once per batch, in their order."""

    def state_dict(self) -> dict[str, Tensor]:
        """The state that outlives a batch: the vectors of the queue."""

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a saved state."""
