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
from twotower_assets.two_tower.towers.tower import SMALLEST_NORM

Floats = npt.NDArray[np.floating]


class ResidualMLP(nn.Module):
    """(x + MLP(x)) / ‖x + MLP(x)‖ with GELU between layers; x / ‖x‖ without hidden layers."""

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
        return functional.normalize(self.total(inputs), dim=1, eps=SMALLEST_NORM)

    def total(self, inputs: Tensor) -> Tensor:
        """x + MLP(x), which is not normalised yet."""
        return inputs + self.layers(inputs) if len(self.layers) else inputs

    @torch.no_grad()
    def vjp(self, inputs: Tensor, length: float = 1.0) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """The output with rows of the given length, and its backward function.

        The backward function sets the gradients of the layers and returns that of the inputs.
        """
        linear = [layer for layer in self.layers if isinstance(layer, nn.Linear)]
        pre_activations: list[Tensor] = []  # of each hidden layer
        layer_inputs = [inputs]
        for layer in linear:
            if pre_activations:
                layer_inputs.append(functional.gelu(pre_activations[-1]))
            pre_activations.append(torch.addmm(layer.bias, layer_inputs[-1], layer.weight.T))
        output = pre_activations.pop() if pre_activations else torch.zeros_like(inputs)
        scales = inputs.new_empty(len(inputs))
        _add_and_normalise(inputs.numpy(), length, output.numpy(), scales.numpy())

        @torch.no_grad()
        def backward(gradient: Tensor) -> Tensor:
            grad_total = torch.empty_like(output)
            _normalise_backward(gradient.numpy(), output.numpy(), scales.numpy(), length, grad_total.numpy())
            grad_layer = grad_total
            for index in reversed(range(len(linear))):
                layer = linear[index]
                layer.weight.grad, layer.bias.grad = grad_layer.T @ layer_inputs[index], grad_layer.sum(0)
                if index:
                    grad_layer = torch.ops.aten.gelu_backward(grad_layer @ layer.weight, pre_activations[index - 1])
            return torch.addmm(grad_total, grad_layer, linear[0].weight) if linear else grad_total

        return output, backward


@compiled_parallel
def _add_and_normalise(inputs: Floats, length: float, output: Floats, scales: Floats) -> None:
    """Adds `inputs` [n, d] to `output` and scales its rows to the given length, in place; writes `scales` [n]."""
    for row in numba.prange(len(inputs)):
        total, added = output[row], inputs[row]
        square = 0 * total[0]
        for column in range(len(total)):
            total[column] += added[column]
            square += total[column] * total[column]
        scale = total.dtype.type(length / max(math.sqrt(square), SMALLEST_NORM))
        scales[row] = scale
        for column in range(len(total)):
            total[column] *= scale


@compiled_parallel
def _normalise_backward(gradient: Floats, output: Floats, scales: Floats, length: float, grad_total: Floats) -> None:
    """The gradient before scaling from that of the output; the component along the output vanishes."""
    for row in numba.prange(len(gradient)):
        vector, grad_vector, result = output[row], gradient[row], grad_total[row]
        along = 0 * vector[0]
        for column in range(len(vector)):
            along += vector[column] * grad_vector[column]
        along = vector.dtype.type(along / (length * length))
        for column in range(len(vector)):
            result[column] = (grad_vector[column] - along * vector[column]) * scales[row]
