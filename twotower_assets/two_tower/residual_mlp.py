"""The end of a tower: a residual MLP, and its result scaled to length 1, with the gradient written out.

Plain autograd starts three times as many operations for it, which at a thousand rows take longer than the products.

Here: x to (x + MLP(x)) / ‖x + MLP(x)‖. Not here: what x is (`towers.py`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

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
        linear = [layer for layer in self.layers if isinstance(layer, nn.Linear)]
        weights = [tensor for layer in linear for tensor in (layer.weight, layer.bias)]
        unit: Tensor = _UnitResidual.apply(inputs, *weights)  # type: ignore[no-untyped-call]
        return unit


class _UnitResidual(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, *weights: Tensor) -> Tensor:
        """`weights`: of each layer [out, in] and the bias [out]."""
        before: list[Tensor] = []  # what GELU is applied to, per hidden layer
        read = [inputs]  # what each layer reads
        total = inputs
        for weight, bias in zip(weights[::2], weights[1::2], strict=True):
            if before:
                read.append(functional.gelu(before[-1]))
            before.append(torch.addmm(bias, read[-1], weight.T))
        if before:
            total = before.pop().add_(inputs)
        length = torch.linalg.vector_norm(total, dim=1, keepdim=True).clamp_min_(SHORTEST)  # (n, 1)
        unit: Tensor = total / length
        ctx.layers = len(weights) // 2
        ctx.save_for_backward(unit, length, *weights[::2], *read, *before)
        return unit

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        unit, length, *saved = ctx.saved_tensors
        weights, read, before = saved[: ctx.layers], saved[ctx.layers : 2 * ctx.layers], saved[2 * ctx.layers :]
        along = torch.linalg.vecdot(gradient, unit)[:, None]
        of_total = torch.addcmul(gradient, unit, along, value=-1.0).div_(length)
        of_weights: list[Tensor] = []
        pull = of_total
        for layer in reversed(range(ctx.layers)):
            of_weights = [pull.T @ read[layer], pull.sum(0), *of_weights]
            if layer:
                pull = torch.ops.aten.gelu_backward(pull @ weights[layer], before[layer - 1])
        of_inputs = torch.addmm(of_total, pull, weights[0]) if ctx.layers else of_total
        return of_inputs, *of_weights
