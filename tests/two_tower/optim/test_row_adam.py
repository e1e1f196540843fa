from __future__ import annotations

import pytest
import torch

from twotower_assets.two_tower.kernels.threads import computing_threads
from twotower_assets.two_tower.optim.row_adam import RowAdam
from twotower_assets.two_tower.towers.embedding_tables import EmbeddingTable


def trained(*, ours: bool) -> list[torch.Tensor]:
    """Weights of three tables after steps that touch some rows, some of them twice, and one table not always."""
    torch.manual_seed(1)
    tables = [EmbeddingTable(20, 3, 1.0) for _ in range(3)]
    weights = [table.weight for table in tables]
    optimizer = RowAdam(tables, lr=0.05) if ours else torch.optim.SparseAdam(weights, lr=0.05)
    generator = torch.Generator().manual_seed(2)
    for step in range(30):
        optimizer.zero_grad()
        for index, table in enumerate(tables):
            if index == 1 and step % 3:
                continue
            for size in (4, 2):  # two look-ups of one table in a step
                ids = torch.randint(12 if step < 15 else 20, (size,), generator=generator)
                gradient = torch.randn(size, 3, generator=generator)
                if ours:
                    table.vjp(ids)[1](gradient)
                else:
                    (torch.nn.functional.embedding(ids, table.weight, sparse=True) * gradient).sum().backward()
        optimizer.step()
    return [weight.detach().clone() for weight in weights]


@pytest.mark.parametrize("threads", [1, 2])
def test_updates_are_those_of_torchs_sparse_adam(threads: int) -> None:
    with computing_threads(threads):
        ours = trained(ours=True)
    for one, expected in zip(ours, trained(ours=False), strict=True):
        assert (one - expected).abs().max() < 1e-5


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_dense_parameters_are_updated_as_by_torchs_adamw_and_scalars_do_not_decay(weight_decay: float) -> None:
    found = []
    for ours in (True, False):
        torch.manual_seed(4)
        matrix, vector, scalar = (torch.nn.Parameter(torch.randn(shape)) for shape in ((4, 3), (5,), ()))
        if ours:
            optimizer = RowAdam([], [matrix, vector, scalar], lr=0.05, weight_decay=weight_decay)
        else:
            groups = [
                {"params": [matrix, vector], "weight_decay": weight_decay},
                {"params": [scalar], "weight_decay": 0.0},
            ]
            optimizer = torch.optim.AdamW(groups, lr=0.05)
        for step in range(20):
            for parameter in (matrix, vector, scalar):
                parameter.grad = None
            factor = torch.randn(4, 3, generator=torch.Generator().manual_seed(step))
            ((matrix * factor).sum() * scalar + (vector**2).sum() * (step % 2)).backward()
            optimizer.step()
        found.append([one.detach().clone() for one in (matrix, vector, scalar)])
    for one, expected in zip(*found, strict=True):
        assert (one - expected).abs().max() < 1e-5


def test_a_dense_parameter_without_a_gradient_is_refused() -> None:
    one, other = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(3, 4))
    optimizer = RowAdam([], [one, other], lr=0.1)
    one.sum().backward()
    with pytest.raises(ValueError, match=r"shape \[3, 4\] has no gradient"):
        optimizer.step()
    assert torch.equal(one.detach(), torch.ones(2))


def test_a_loaded_state_continues_where_it_was_saved() -> None:
    def after(steps: list[int], optimizer: RowAdam, table: EmbeddingTable, bias: torch.nn.Parameter) -> None:
        for step in steps:
            optimizer.zero_grad()
            table.vjp(torch.tensor([step % 4, 1]))[1](torch.full((2, 2), float(step)))
            bias.grad = torch.full((2,), float(step))
            optimizer.step()

    weights = []
    for interrupted in (False, True):
        torch.manual_seed(5)
        table, bias = EmbeddingTable(4, 2, 1.0), torch.nn.Parameter(torch.ones(2))
        optimizer = RowAdam([table], [bias], lr=0.1, weight_decay=0.1)
        after([1, 2, 3], optimizer, table, bias)
        if interrupted:
            state = {name: tensor.clone() for name, tensor in optimizer.state_dict().items()}
            optimizer = RowAdam([table], [bias], lr=0.1, weight_decay=0.1)
            optimizer.load_state_dict(state)
        after([4, 5], optimizer, table, bias)
        weights.append(torch.cat([table.weight.detach().flatten(), bias.detach()]))
    assert torch.equal(*weights)


def test_rows_without_a_gradient_stay_as_they_are() -> None:
    table = EmbeddingTable(10, 4, 1.0)
    optimizer = RowAdam([table], lr=0.1)
    for ids in ([1, 2], [2, 3]):
        before = table.weight.detach().clone()
        optimizer.zero_grad()
        table.vjp(torch.tensor(ids))[1](torch.ones(2, 4))
        optimizer.step()
        moved = (table.weight.detach() != before).any(dim=1).nonzero().flatten().tolist()
        assert moved == ids


def test_dense_parameters_become_views_of_one_vector() -> None:
    matrix, scalar = torch.nn.Parameter(torch.arange(6.0).view(2, 3)), torch.nn.Parameter(torch.tensor(7.0))
    optimizer = RowAdam([], [matrix, scalar], lr=0.1)
    assert optimizer.flat_dense.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 7.0]
    with torch.no_grad():
        matrix[1, 0] = 9.0
    optimizer.flat_dense[-1] = 8.0
    assert optimizer.flat_dense[3] == 9.0
    assert scalar.item() == 8.0
