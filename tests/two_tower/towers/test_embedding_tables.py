from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from two_tower.plain_softmax import gradient_of
from twotower_assets.two_tower.towers.embedding_tables import EmbeddingTable, weighted_sums


@pytest.fixture
def table() -> EmbeddingTable:
    torch.manual_seed(3)
    return EmbeddingTable(9, 4, 0.5)


def test_rows_are_looked_up_in_any_shape(table: EmbeddingTable) -> None:
    ids = torch.tensor([[3, 3, 0], [8, 1, 3]])
    expected = table.weight.detach()[ids]
    assert torch.equal(table(ids).detach(), expected)
    assert torch.equal(table.vjp(ids)[0].detach(), expected)
    assert table(torch.zeros(0, dtype=torch.int64)).shape == (0, 4)


def test_the_gradient_covers_the_distinct_rows_with_repeats_summed(table: EmbeddingTable) -> None:
    ids, gradient = torch.tensor([3, 3, 0, 8, 3]), torch.arange(20.0).view(5, 4)
    expected = torch.zeros(9, 4).index_add(0, ids, gradient)
    vectors, backward = table.vjp(ids)
    assert torch.equal(vectors, table.weight.detach()[ids])
    backward(gradient)
    assert table.gradient is not None
    assert table.gradient[0].tolist() == [3, 0, 8]
    assert torch.equal(gradient_of(table), expected)
    others = torch.tensor([[8], [1]])
    table.vjp(others)[1](torch.ones(2, 1, 4))
    assert sorted(table.gradient[0].tolist()) == [0, 1, 3, 8]
    assert torch.equal(gradient_of(table), expected.index_add(0, others.flatten(), torch.ones(2, 4)))


def test_a_second_look_up_does_not_see_the_first(table: EmbeddingTable) -> None:
    first, index = table.unique(torch.tensor([5, 2, 5]))
    assert (first.tolist(), index.tolist()) == ([5, 2], [0, 1, 0])
    second, index = table.unique(torch.tensor([2, 7]))
    assert (second.tolist(), index.tolist()) == ([2, 7], [0, 1])


def test_weighted_sums_and_their_gradient_are_those_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    index = torch.randint(6, (40,), generator=generator)
    offsets = torch.tensor([0, 0, 13, 14, 40])
    weights = torch.rand(40, generator=generator)
    grad_sums = torch.randn(4, 5, generator=generator)
    vectors = torch.randn(6, 5, generator=generator).requires_grad_()
    expected = functional.embedding_bag(
        index, vectors, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True
    )
    sums, backward = weighted_sums(vectors.detach(), index, offsets, weights)
    assert (sums[0] == 0).all(), "an empty row"
    assert (sums - expected).abs().max() < 1e-5
    (gradient,) = torch.autograd.grad((expected * grad_sums).sum(), vectors)
    assert gradient.abs().max() > 0.1
    assert (backward(grad_sums) - gradient).abs().max() < 1e-5
