from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from twotower_assets.two_tower.towers.residual_mlp import ResidualMLP


@pytest.mark.parametrize("length", [1.0, 5.0])
@pytest.mark.parametrize("hidden_sizes", [[], [5], [7, 3]])
def test_result_and_gradients_are_those_of_torchs_modules(hidden_sizes: list[int], length: float) -> None:
    torch.manual_seed(1)
    mlp = ResidualMLP(4, hidden_sizes).double()
    inputs = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    gradient = torch.randn(6, 4, dtype=torch.float64)
    plain = length * functional.normalize(inputs + mlp.layers(inputs) if hidden_sizes else inputs, dim=1)
    wanted = [inputs, *mlp.parameters()]
    assert len(wanted) == 1 + 2 * (len(hidden_sizes) + bool(hidden_sizes))
    output, backward = mlp.vjp(inputs.detach(), length)
    assert (output - plain).abs().max() < 1e-12
    assert (length * mlp(inputs.detach()) - output).abs().max() < 1e-12
    gradients = [backward(gradient), *(parameter.grad for parameter in mlp.parameters())]
    for one, other in zip(gradients, torch.autograd.grad((plain * gradient).sum(), wanted), strict=True):
        assert (one - other).abs().max() < 1e-12
        assert other.abs().max() > 1e-3


def test_a_vector_of_zeros_stays_zero_and_gets_a_finite_gradient() -> None:
    output, backward = ResidualMLP(3, []).vjp(torch.zeros(2, 3))
    assert torch.equal(output, torch.zeros(2, 3))
    assert backward(torch.ones(2, 3)).isfinite().all()
