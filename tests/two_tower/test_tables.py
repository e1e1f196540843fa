from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from twotower_assets.two_tower.tables import Table, weighted_sums


@pytest.fixture
def table() -> Table:
    torch.manual_seed(3)
    return Table(9, 4, 0.5)


def test_rows_are_looked_up_in_any_shape_with_and_without_gradients(table: Table) -> None:
    ids = torch.tensor([[3, 3, 0], [8, 1, 3]])
    expected = table.weight.detach()[ids]
    assert torch.equal(table(ids).detach(), expected)
    with torch.no_grad():
        assert torch.equal(table(ids), expected)
    assert table(torch.zeros(0, dtype=torch.int64)).shape == (0, 4)


def test_the_gradient_is_of_the_distinct_rows_alone_repeats_summed(table: Table) -> None:
    ids = torch.tensor([3, 3, 0, 8, 3])
    pull = torch.arange(20.0).view(5, 4)
    (table(ids) * pull).sum().backward()
    gradient = table.weight.grad
    assert gradient is not None
    assert gradient._indices().tolist() == [[3, 0, 8]]
    assert torch.equal(gradient.to_dense(), torch.zeros(9, 4).index_add(0, ids, pull))


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
    results = []
    for sums in (
        weighted_sums,
        lambda vectors, *_: functional.embedding_bag(
            places, vectors, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True
        ),
    ):
        vectors = torch.randn(6, 5, generator=torch.Generator().manual_seed(1)).requires_grad_()
        found = sums(vectors, places, offsets, weights)
        results.append((found.detach(), torch.autograd.grad((found * pull).sum(), vectors)[0]))
    assert (results[0][0][0] == 0).all(), "an empty row"
    for ours, expected in zip(*results, strict=True):
        assert (ours - expected).abs().max() < 1e-5
        assert expected.abs().max() > 0.1
