"""The end of a tower: a residual MLP, and its result scaled to one length, with the gradient written out.

Plain autograd starts three times as many operations for it, which at a thousand rows take longer than the products.

Here: x to (x + MLP(x)) / ‖x + MLP(x)‖. Not here: what x is (`towers.py`).
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from twotower_assets.two_tower.compiled import compiled_parallel

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

    def forward(self, inputs: Tensor, length: float = 1.0) -> Tensor:
        """Float [n, d] to float [n, d], rows of the given length."""
        linear = [layer for layer in self.layers if isinstance(layer, nn.Linear)]
        weights = [tensor for layer in linear for tensor in (layer.weight, layer.bias)]
        scaled: Tensor = _ScaledResidual.apply(inputs, length, *weights)  # type: ignore[no-untyped-call]
        return scaled


class _ScaledResidual(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, length: float, *weights: Tensor) -> Tensor:
        """`weights`: of each layer [out, in] and the bias [out]."""
        before: list[Tensor] = []  # what GELU is applied to, per hidden layer
        read = [inputs]  # what each layer reads
        for weight, bias in zip(weights[::2], weights[1::2], strict=True):
            if before:
                read.append(functional.gelu(before[-1]))
            before.append(torch.addmm(bias, read[-1], weight.T))
        result = before.pop() if before else torch.zeros_like(inputs)
        factors = inputs.new_empty(len(inputs))
        _scale(inputs.numpy(), length, result.numpy(), factors.numpy())
        ctx.layers, ctx.length = len(weights) // 2, length
        ctx.save_for_backward(result, factors, *weights[::2], *read, *before)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        result, factors, *saved = ctx.saved_tensors
        weights, read, before = saved[: ctx.layers], saved[ctx.layers : 2 * ctx.layers], saved[2 * ctx.layers :]
        of_total = torch.empty_like(result)
        _unscale(gradient.contiguous().numpy(), result.numpy(), factors.numpy(), ctx.length, of_total.numpy())
        of_weights: list[Tensor] = []
        pull = of_total
        for layer in reversed(range(ctx.layers)):
            of_weights = [pull.T @ read[layer], pull.sum(0), *of_weights]
            if layer:
                pull = torch.ops.aten.gelu_backward(pull @ weights[layer], before[layer - 1])
        of_inputs = torch.addmm(of_total, pull, weights[0]) if ctx.layers else of_total
        return of_inputs, None, *of_weights


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
