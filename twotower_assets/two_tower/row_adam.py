"""Adam on the rows of embedding tables that a batch touched.

Here: one pass over those rows, for their moments and for their values. Not here: what is dense, which torch's own AdamW
updates.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from twotower_assets.two_tower.item_sets import Int32s, Int64s, compiled
from twotower_assets.two_tower.tables import distinct_rows
from twotower_assets.two_tower.workers import side_by_side

Float32s = npt.NDArray[np.float32]


class RowAdam(torch.optim.Optimizer):
    """Lazy Adam: `torch.optim.SparseAdam`, its results to rounding, in a single pass.

    Rows without a gradient keep their moments; the bias correction counts the steps of the table.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ) -> None:
        super().__init__(list(parameters), {"lr": lr, "betas": betas, "epsilon": epsilon})
        self._places: dict[int, Int32s] = {}

    @torch.no_grad()
    def merge(self) -> None:
        """Sum what the look-ups of a step gave to the same rows, so that gradients are coalesced; `step` needs it."""
        for parameter in self._with_gradient():
            gradient = parameter.grad
            assert gradient is not None
            if gradient.is_coalesced():
                continue
            place = self._places.setdefault(id(parameter), np.full(len(parameter), -1, np.int32))
            rows, values = distinct_rows(gradient._indices()[0].numpy(), gradient._values().numpy(), place)
            parameter.grad = torch.sparse_coo_tensor(
                torch.from_numpy(rows)[None],
                torch.from_numpy(values),
                parameter.shape,
                is_coalesced=True,
                check_invariants=False,
            )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """Update the rows that have a gradient: sparse, float32."""
        self.merge()
        touched = [(one, group) for group in self.param_groups for one in group["params"] if one.grad is not None]

        def update(worker: int, workers: int) -> None:
            for parameter, group in touched[worker::workers]:
                self._update(parameter, group)

        for parameter, _ in touched:
            self._remember(parameter)
        side_by_side(update)

    def _with_gradient(self) -> list[nn.Parameter]:
        return [one for group in self.param_groups for one in group["params"] if one.grad is not None]

    def _remember(self, parameter: nn.Parameter) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = 0
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)

    def _update(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        state["step"] += 1
        rows, gradient = touched_rows(parameter)
        first, second = group["betas"]
        correction = math.sqrt(1.0 - second ** state["step"]) / (1.0 - first ** state["step"])
        _adam(
            parameter.numpy(),
            state["exp_avg"].numpy(),
            state["exp_avg_sq"].numpy(),
            rows,
            gradient,
            np.float32(first),
            np.float32(second),
            np.float32(group["lr"] * correction),
            np.float32(group["epsilon"]),
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
