"""The softmax with autograd's gradients in the form of the compiled one, and gradients in the forms that tests compare.

Here: what tests compare. Not here: the tests.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from twotower_assets.two_tower.loss.compiled_softmax import SoftmaxResult, sampled_softmax
from twotower_assets.two_tower.loss.torch_softmax import SoftmaxTensors
from twotower_assets.two_tower.sampling.batch_problem import SoftmaxProblem, SparseRows
from twotower_assets.two_tower.towers.embedding_tables import EmbeddingTable


def softmax_problem(
    pair_index: np.ndarray, pair_offsets: Tensor, column_offsets: Tensor, weights: Tensor, **changes: Any
) -> SoftmaxProblem:
    """A problem of B rows and S columns without masks and corrections of rows, but for `changes`."""
    rows, columns = len(weights), len(column_offsets)
    problem = SoftmaxProblem(
        pair_index=pair_index,
        pair_offsets=pair_offsets.detach().numpy(),
        column_offsets=column_offsets.detach().numpy(),
        column_count=np.ones(columns, np.int64),
        masked=SparseRows.none(rows),
        row_corrections=SparseRows.none(rows),
        weights=weights.numpy(),
        unmasked=np.full(rows, columns),
        expected_unmasked=np.zeros(0),
    )
    return replace(problem, **changes)


def sparse_rows(places: Tensor, values: Tensor | None = None) -> SparseRows:
    """The places bool [B, S] that are true, and the values [B, S] there."""
    offsets = np.r_[0, np.cumsum(places.sum(dim=1).numpy())].astype(np.int64)
    columns = places.nonzero()[:, 1].numpy().astype(np.int32)
    return SparseRows(offsets, columns, np.zeros(0, np.float32) if values is None else values[places].numpy())


def plain_softmax(
    queries: Tensor,
    vectors: Tensor,
    shared: Tensor,
    problem: SoftmaxProblem,
    *,
    bfloat16: bool = False,
    learned_offsets: bool = True,
) -> SoftmaxResult:
    """As `sampled_softmax`."""
    tensors = SoftmaxTensors.of(problem)
    arguments = (queries, vectors, shared, tensors.column_offsets, tensors.pair_offsets)
    inputs = [tensor.detach().clone().requires_grad_() for tensor in arguments]
    with torch.enable_grad():
        logits = replace(tensors, column_offsets=inputs[3], pair_offsets=inputs[4]).logits(*inputs[:3])
        loss = logits.loss(tensors.weights)
        loss.backward()  # type: ignore[no-untyped-call]
    gradients = [torch.zeros_like(tensor) if tensor.grad is None else tensor.grad for tensor in inputs]
    return SoftmaxResult(loss.item(), *gradients, close=int(logits.close))


def gradient_of(table: EmbeddingTable) -> Tensor:
    """The gradient of a whole table, float [rows, d]; zeros where it has none."""
    gradient = torch.zeros_like(table.weight)
    if table.gradient is not None:
        rows, values = table.gradient
        gradient[torch.from_numpy(rows)] = torch.from_numpy(values)
    return gradient


def gradients_of_inputs(result: SoftmaxResult) -> list[Tensor]:
    """Those of queries, vectors, shared, column offsets and pair offsets, in this order."""
    return [
        result.grad_queries,
        result.grad_vectors,
        result.grad_shared,
        result.grad_column_offsets,
        result.grad_pair_offsets,
    ]


class DifferentiableSoftmax(torch.autograd.Function):
    """`sampled_softmax` as a function of torch's autograd."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        """Queries, vectors, shared, column offsets, pair offsets; and the problem, whose offsets are not used."""
        queries, vectors, shared, column_offsets, pair_offsets, problem = arguments
        problem = replace(
            problem, column_offsets=column_offsets.detach().numpy(), pair_offsets=pair_offsets.detach().numpy()
        )
        ctx.result = sampled_softmax(queries, vectors, shared, problem)
        return queries.new_tensor(ctx.result.loss)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """The gradients of the tensors."""
        return *(gradient * tensor for tensor in gradients_of_inputs(ctx.result)), None
