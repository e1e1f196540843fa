"""The last part of a tower: a residual MLP whose output is normalised, with hand-written gradients.

PyTorch's autograd starts three times as many operations, which at a thousand rows take longer than the matrix products.

Here: x to (x + MLP(x)) / ‖x + MLP(x)‖. Not here: what x is (`compiled_towers.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numba
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from twotower_assets.two_tower.kernels.compiled import compiled_parallel

Floats = npt.NDArray[np.floating]

SHORTEST = 1e-12
"""What shorter vectors are divided by, as in `torch.nn.functional.normalize`."""


class ResidualMLP(nn.Module):
    """(x + MLP(x)) / ‖x + MLP(x)‖ with GELU between layers; x / ‖x‖ where there are no hidden layers."""

    def __init__(self, dimensions: int, hidden_sizes: list[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = dimensions
        for hidden in hidden_sizes:
            layers += [nn.Linear(width, hidden), nn.GELU()]
            width = hidden
        if hidden_sizes:
            layers.append(nn.Linear(width, dimensions))
        self.layers = nn.Sequential(*layers)

    def forward(self, inputs: Tensor) -> Tensor:
        """Float [n, d] to float [n, d], rows of length 1."""
        total = inputs + self.layers(inputs) if len(self.layers) else inputs
        return functional.normalize(total, dim=1, eps=SHORTEST)

    @torch.no_grad()
    def vjp(self, inputs: Tensor, length: float = 1.0) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Rows of the given length, and what takes their gradient, sets those of the layers, and gives the inputs'."""
        linear = [layer for layer in self.layers if isinstance(layer, nn.Linear)]
        before: list[Tensor] = []  # what GELU is applied to, per hidden layer
        read = [inputs]  # what each layer reads
        for layer in linear:
            if before:
                read.append(functional.gelu(before[-1]))
            before.append(torch.addmm(layer.bias, read[-1], layer.weight.T))
        result = before.pop() if before else torch.zeros_like(inputs)
        factors = inputs.new_empty(len(inputs))
        _scale(inputs.numpy(), length, result.numpy(), factors.numpy())

        @torch.no_grad()
        def pull(gradient: Tensor) -> Tensor:
            of_total = torch.empty_like(result)
            _unscale(gradient.numpy(), result.numpy(), factors.numpy(), length, of_total.numpy())
            of_layer = of_total
            for number in reversed(range(len(linear))):
                layer = linear[number]
                layer.weight.grad, layer.bias.grad = of_layer.T @ read[number], of_layer.sum(0)
                if number:
                    of_layer = torch.ops.aten.gelu_backward(of_layer @ layer.weight, before[number - 1])
            return torch.addmm(of_total, of_layer, linear[0].weight) if linear else of_total

        return result, pull


@compiled_parallel
def _scale(inputs: Floats, length: float, result: Floats, factors: Floats) -> None:
    """Adds `inputs` [n, d] to `result` and scales its rows, in place, by `factors` [n]."""
    for row in numba.prange(len(inputs)):
        one, other = result[row], inputs[row]
        square = 0 * one[0]
        for column in range(len(one)):
            one[column] += other[column]
            square += one[column] * one[column]
        factor = one.dtype.type(length / max(math.sqrt(square), SHORTEST))
        factors[row] = factor
        for column in range(len(one)):
            one[column] *= factor


@compiled_parallel
def _unscale(gradient: Floats, result: Floats, factors: Floats, length: float, of_total: Floats) -> None:
    """The gradient of the sums that were scaled, from that of the result, of which what is along the result is lost."""
    for row in numba.prange(len(gradient)):
        one, pull, into = result[row], gradient[row], of_total[row]
        along = 0 * one[0]
        for column in range(len(one)):
            along += one[column] * pull[column]
        along = one.dtype.type(along / (length * length))
        for column in range(len(one)):
            into[column] = (pull[column] - along * one[column]) * factors[row]
