"""Adam on the rows of embedding tables that a batch touched.

Here: one pass over those rows, for their moments and for their values. Not here: what is dense, which torch's own AdamW
updates.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from twotower_assets.two_tower.compiled import compiled
from twotower_assets.two_tower.item_sets import Int64s
from twotower_assets.two_tower.tables import distinct_rows

Float32s = npt.NDArray[np.float32]


@dataclass
class Moments:
    """A table, the moving means [rows, d] of its gradient and of the gradient's square, and the steps it was in."""

    parameter: nn.Parameter
    mean: Tensor
    square: Tensor
    steps: int = 0

    def __post_init__(self) -> None:
        self.place = np.full(len(self.parameter), -1, np.int32)  # scratch of `distinct_rows`


class RowAdam:
    """Lazy Adam: `torch.optim.SparseAdam`, its results to rounding, in a single pass.

    Rows without a gradient keep their moments; the bias correction counts the steps of the table. It is no subclass of
    torch's `Optimizer`, which takes a second to import.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ) -> None:
        self._lr, self._betas, self._epsilon = lr, betas, epsilon
        self._moments = [Moments(one, torch.zeros_like(one), torch.zeros_like(one)) for one in parameters]

    @torch.no_grad()
    def merge(self) -> None:
        """Sum what the look-ups of a step gave to the same rows: gradients are coalesced then. `step` does it too."""
        for one in self._moments:
            gradient = one.parameter.grad
            if gradient is None or gradient.is_coalesced():
                continue
            rows, values = distinct_rows(gradient._indices()[0].numpy(), gradient._values().numpy(), one.place)
            one.parameter.grad = torch.sparse_coo_tensor(
                torch.from_numpy(rows)[None],
                torch.from_numpy(values),
                gradient.shape,
                is_coalesced=True,
                check_invariants=False,
            )

    @torch.no_grad()
    def step(self) -> None:
        """Update the rows that have a gradient: sparse, float32."""
        self.merge()
        for one in self._moments:
            if one.parameter.grad is not None:
                self._update(one)

    def state_dict(self) -> dict[str, dict[int, dict[str, Any]]]:
        """Moments and steps of each table, in the form of torch's optimisers."""
        names = ("steps", "mean", "square")
        return {"state": {i: {name: getattr(one, name) for name in names} for i, one in enumerate(self._moments)}}

    def load_state_dict(self, state: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> None:
        """Go on from a state."""
        for i, one in enumerate(self._moments):
            one.steps = int(state["state"][i]["steps"])
            one.mean.copy_(state["state"][i]["mean"])
            one.square.copy_(state["state"][i]["square"])

    def _update(self, one: Moments) -> None:
        one.steps += 1
        rows, gradient = touched_rows(one.parameter)
        first, second = self._betas
        correction = math.sqrt(1.0 - second**one.steps) / (1.0 - first**one.steps)
        _adam(
            one.parameter.numpy(),
            one.mean.numpy(),
            one.square.numpy(),
            rows,
            gradient,
            np.float32(first),
            np.float32(second),
            np.float32(self._lr * correction),
            np.float32(self._epsilon),
        )


def touched_rows(parameter: nn.Parameter) -> tuple[Int64s, Float32s]:
    """Which rows of a table have a gradient, int64 [D], each once, and that gradient, float32 [D, d]; after `merge`."""
    assert parameter.grad is not None
    return parameter.grad.indices()[0].numpy(), parameter.grad.values().numpy()


@compiled
def _adam(
    weight: Float32s,
    mean: Float32s,
    square: Float32s,
    rows: Int64s,
    gradient: Float32s,
    first: np.float32,
    second: np.float32,
    rate: np.float32,
    epsilon: np.float32,
) -> None:
    one = np.float32(1.0)
    for i in range(len(rows)):
        of_weight, of_mean, of_square, pull = weight[rows[i]], mean[rows[i]], square[rows[i]], gradient[i]
        for column in range(len(pull)):
            of_mean[column] += (one - first) * (pull[column] - of_mean[column])
            of_square[column] += (one - second) * (pull[column] * pull[column] - of_square[column])
            of_weight[column] -= rate * of_mean[column] / (np.sqrt(of_square[column]) + epsilon)
