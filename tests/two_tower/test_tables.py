from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from twotower_assets.two_tower.towers.embedding_tables import Table, weighted_sums

from .plain_softmax import gradient_of


@pytest.fixture
def table() -> Table:
    torch.manual_seed(3)
    return Table(9, 4, 0.5)


def test_rows_are_looked_up_in_any_shape(table: Table) -> None:
    ids = torch.tensor([[3, 3, 0], [8, 1, 3]])
    expected = table.weight.detach()[ids]
    assert torch.equal(table(ids).detach(), expected)
    assert torch.equal(table.vjp(ids)[0].detach(), expected)
    assert table(torch.zeros(0, dtype=torch.int64)).shape == (0, 4)


def test_the_gradient_is_of_the_distinct_rows_alone_repeats_summed(table: Table) -> None:
    ids, pull = torch.tensor([3, 3, 0, 8, 3]), torch.arange(20.0).view(5, 4)
    expected = torch.zeros(9, 4).index_add(0, ids, pull)
    vectors, add = table.vjp(ids)
    assert torch.equal(vectors, table.weight.detach()[ids])
    add(pull)
    assert table.gradient is not None
    assert table.gradient[0].tolist() == [3, 0, 8]
    assert torch.equal(gradient_of(table), expected)
    others = torch.tensor([[8], [1]])
    table.vjp(others)[1](torch.ones(2, 1, 4))
    assert sorted(table.gradient[0].tolist()) == [0, 1, 3, 8]
    assert torch.equal(gradient_of(table), expected.index_add(0, others.flatten(), torch.ones(2, 4)))


def test_a_second_look_up_does_not_see_the_first(table: Table) -> None:
    first, places = table.distinct(torch.tensor([5, 2, 5]))
    assert (first.tolist(), places.tolist()) == ([5, 2], [0, 1, 0])
    second, places = table.distinct(torch.tensor([2, 7]))
    assert (second.tolist(), places.tolist()) == ([2, 7], [0, 1])


def test_weighted_sums_and_their_gradient_are_those_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    places = torch.randint(6, (40,), generator=generator)
    offsets = torch.tensor([0, 0, 13, 14, 40])
    weights = torch.rand(40, generator=generator)
    pull = torch.randn(4, 5, generator=generator)
    vectors = torch.randn(6, 5, generator=generator).requires_grad_()
    expected = functional.embedding_bag(
        places, vectors, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True
    )
    found, to_vectors = weighted_sums(vectors.detach(), places, offsets, weights)
    assert (found[0] == 0).all(), "an empty row"
    assert (found - expected).abs().max() < 1e-5
    (gradient,) = torch.autograd.grad((expected * pull).sum(), vectors)
    assert gradient.abs().max() > 0.1
    assert (to_vectors(pull) - gradient).abs().max() < 1e-5
