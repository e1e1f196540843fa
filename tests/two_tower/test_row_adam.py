from __future__ import annotations

import pytest
import torch

from twotower_assets.two_tower.row_adam import RowAdam
from twotower_assets.two_tower.tables import Table


def trained(optimizer_of, threads: int = 1) -> list[torch.Tensor]:
    """Weights of three tables after steps that touch some rows, some of them twice, and one table not always."""
    torch.manual_seed(1)
    tables = [Table(20, 3, 1.0) for _ in range(3)]
    optimizer = optimizer_of([table.weight for table in tables])
    generator = torch.Generator().manual_seed(2)
    torch.set_num_threads(threads)
    try:
        for step in range(30):
            for table in tables:
                table.weight.grad = None
            loss = torch.zeros(())
            for number, table in enumerate(tables):
                if number == 1 and step % 3:
                    continue
                for size in (4, 2):  # two look-ups of one table in a step
                    ids = torch.randint(12 if step < 15 else 20, (size,), generator=generator)
                    loss = loss + (table(ids) * torch.randn(size, 3, generator=generator)).sum()
            loss.backward()
            optimizer.step()
    finally:
        torch.set_num_threads(1)
    return [table.weight.detach().clone() for table in tables]


@pytest.mark.parametrize("threads", [1, 2])
def test_it_is_torchs_sparse_adam(threads: int) -> None:
    ours = trained(lambda parameters: RowAdam(parameters, lr=0.05), threads)
    expected = trained(lambda parameters: torch.optim.SparseAdam(parameters, lr=0.05))
    for one, other in zip(ours, expected, strict=True):
        assert (one - other).abs().max() < 1e-5


def test_rows_without_a_gradient_stay_as_they_are() -> None:
    table = Table(10, 4, 1.0)
    optimizer = RowAdam([table.weight], lr=0.1)
    for ids in ([1, 2], [2, 3]):
        before = table.weight.detach().clone()
        table.weight.grad = None
        table(torch.tensor(ids)).sum().backward()
        optimizer.step()
        moved = (table.weight.detach() != before).any(dim=1).nonzero().flatten().tolist()
        assert moved == ids
