"""Adam, on the rows of embedding tables that a batch touched and on everything dense.

Here: one pass over those rows, for their moments and for their values. Not here: which parameters there are
(`towers.py`), and the step (`trainer.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

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
    """A parameter, the moving means of its gradient and of the gradient's square, and the steps it was in.

    A table [rows, d] has sparse gradients; `decay` is the share of itself that a dense parameter loses in a step.
    """

    parameter: nn.Parameter
    mean: Tensor
    square: Tensor
    is_table: bool
    decay: float
    steps: int = 0

    def __post_init__(self) -> None:
        rows = len(self.parameter) if self.is_table else 1
        self.place = np.full(rows, -1, np.int32)  # scratch of `distinct_rows`


class RowAdam:
    """`torch.optim.SparseAdam` of tables and `torch.optim.AdamW` of what is dense, their results to rounding.

    Rows without a gradient keep their moments; the bias correction counts the steps of the parameter. Scalars do not
    decay: the one there is, the temperature, would be pulled to 1. At the size of towers torch's optimisers take longer
    to find their parameters than to update them, and a second to import.
    """

    def __init__(
        self,
        tables: Iterable[nn.Parameter],
        dense: Iterable[nn.Parameter] = (),
        *,
        lr: float,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ) -> None:
        self._lr, self._betas, self._epsilon = lr, betas, epsilon
        self._tables = [_moments(one, is_table=True) for one in tables]
        self._dense = [_moments(one, decay=lr * weight_decay if one.ndim else 0.0) for one in dense]

    @torch.no_grad()
    def merge(self) -> None:
        """Sum what the look-ups of a step gave to the same rows: gradients are coalesced then. `step` does it too."""
        for one in self._tables:
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
        """Update the rows of tables, and the dense parameters, that have a gradient: float32."""
        self.merge()
        for one in self._tables:
            if one.parameter.grad is not None:
                self._update(one, one.parameter.numpy(), *touched_rows(one.parameter))
        for one in self._dense:
            if one.parameter.grad is not None:
                whole = one.parameter.view(1, -1).numpy()
                self._update(one, whole, ONE_ROW, one.parameter.grad.reshape(1, -1).numpy())

    def state(self) -> dict[str, Tensor]:
        """Moments and steps of each parameter."""
        return {
            f"{number}/{name}": torch.as_tensor(getattr(one, name))
            for number, one in enumerate(self._all())
            for name in ("steps", "mean", "square")
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state."""
        for number, one in enumerate(self._all()):
            one.steps = int(state[f"{number}/steps"].item())
            one.mean.copy_(state[f"{number}/mean"])
            one.square.copy_(state[f"{number}/square"])

    def _all(self) -> list[Moments]:
        return [*self._tables, *self._dense]

    def _update(self, one: Moments, weight: Float32s, rows: Int64s, gradient: Float32s) -> None:
        one.steps += 1
        first, second = self._betas
        correction = math.sqrt(1.0 - second**one.steps) / (1.0 - first**one.steps)
        _adam(
            weight,
            one.mean.numpy().reshape(weight.shape),
            one.square.numpy().reshape(weight.shape),
            rows,
            gradient,
            np.float32(first),
            np.float32(second),
            np.float32(self._lr * correction),
            np.float32(self._epsilon),
            np.float32(one.decay),
        )


ONE_ROW = np.zeros(1, np.int64)


def _moments(parameter: nn.Parameter, *, is_table: bool = False, decay: float = 0.0) -> Moments:
    return Moments(parameter, torch.zeros_like(parameter), torch.zeros_like(parameter), is_table, decay)


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
    decay: np.float32,
) -> None:
    one = np.float32(1.0)
    for i in range(len(rows)):
        of_weight, of_mean, of_square, pull = weight[rows[i]], mean[rows[i]], square[rows[i]], gradient[i]
        for column in range(len(pull)):
            of_mean[column] += (one - first) * (pull[column] - of_mean[column])
            of_square[column] += (one - second) * (pull[column] * pull[column] - of_square[column])
            of_weight[column] -= decay * of_weight[column]
            of_weight[column] -= rate * of_mean[column] / (np.sqrt(of_square[column]) + epsilon)
