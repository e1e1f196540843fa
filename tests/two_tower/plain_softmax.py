"""The sampled softmax in its plain form: all scores at once, gradients by torch's autograd.

Here: the reference for `compiled_softmax.sampled_softmax`, and gradients in the forms that tests compare. Not here: the
tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from twotower_assets.two_tower.loss.compiled_softmax import MaskAndCorrect, SoftmaxResult, sampled_softmax
from twotower_assets.two_tower.towers.embedding_tables import EmbeddingTable
from twotower_assets.two_tower.towers.model import Towers


@dataclass(frozen=True)
class PlainResult(SoftmaxResult):
    """Also the corrected scores of all candidates [B, S + K], their mask, and the positives' logits [B]."""

    scores: Tensor
    mask: Tensor
    positive: Tensor


def plain_softmax(
    queries: Tensor,
    vectors: Tensor,
    shared: Tensor,
    column_offsets: Tensor,
    pair_index: npt.NDArray[np.int64],
    pair_offsets: Tensor,
    *,
    weights: Tensor,
    mask_and_correct: MaskAndCorrect | None = None,
    bfloat16: bool = False,
    learned_offsets: bool = True,
) -> PlainResult:
    """As `sampled_softmax`."""
    arguments = (queries, vectors, shared, column_offsets, pair_offsets)
    inputs = [tensor.detach().clone().requires_grad_() for tensor in arguments]
    with torch.enable_grad():
        loss, scores, mask, positive = _plain(inputs, pair_index, weights, mask_and_correct)
        scores.retain_grad()
        positive.retain_grad()
        loss.backward()  # type: ignore[no-untyped-call]
    gradients = [torch.zeros_like(tensor) if tensor.grad is None else tensor.grad for tensor in inputs]
    return PlainResult(loss.item(), *gradients, scores=scores, mask=mask, positive=positive)


def _plain(
    inputs: list[Tensor],
    pair_index: npt.NDArray[np.int64],
    weights: Tensor,
    mask_and_correct: MaskAndCorrect | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    queries, vectors, shared, column_offsets, pair_offsets = inputs
    products = queries @ shared.T
    pairs = torch.einsum("bd,bkd->bk", queries, vectors[torch.from_numpy(pair_index)])
    masked, masked_pairs = products.detach().clone(), pairs.detach().clone()
    positive_offset, candidate_offsets = (
        mask_and_correct(0, masked, masked_pairs) if mask_and_correct is not None else (None, None)
    )
    row_mask = (masked_pairs + pair_offsets.detach())[:, 1:] == -torch.inf
    mask = torch.cat([masked == -torch.inf, row_mask], dim=1)
    corrected = products + column_offsets
    if candidate_offsets is not None:
        corrected = corrected + candidate_offsets.masked_fill(masked == -torch.inf, 0.0)
    scores = torch.cat([corrected, (pairs + pair_offsets)[:, 1:].masked_fill(row_mask, 0.0)], dim=1)
    positive = (pairs + pair_offsets)[:, 0]
    chosen = positive if positive_offset is None else positive + positive_offset
    logits = torch.cat([chosen[:, None], scores.masked_fill(mask, -torch.inf)], dim=1)
    losses = torch.logsumexp(logits, dim=1) - chosen
    loss = (losses * weights).sum() / weights.sum().clamp_min(torch.finfo(weights.dtype).tiny)
    return loss, scores, mask, chosen


def gradient_of(table: EmbeddingTable) -> Tensor:
    """The gradient of a whole table, float [rows, d]; zeros where it has none."""
    gradient = torch.zeros_like(table.weight)
    if table.gradient is not None:
        rows, values = table.gradient
        gradient[torch.from_numpy(rows)] = torch.from_numpy(values)
    return gradient


def gradients_of(towers: Towers) -> dict[str, Tensor]:
    """The gradient of every parameter that has one, whole."""
    tables = {id(table.weight): table for table in towers.tables()}
    gradients = {}
    for name, parameter in towers.named_parameters():
        table = tables.get(id(parameter))
        if table is not None and table.gradient is not None:
            gradients[name] = gradient_of(table)
        elif parameter.grad is not None:
            gradients[name] = parameter.grad
    return gradients


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
        """Queries, vectors, shared, column offsets, pair offsets; pair indices; and a dictionary of options."""
        queries, vectors, shared, column_offsets, pair_offsets, pair_index, options = arguments
        ctx.result = sampled_softmax(queries, vectors, shared, column_offsets, pair_index, pair_offsets, **options)
        return queries.new_tensor(ctx.result.loss)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """The gradients of the tensors."""
        return *(gradient * tensor for tensor in gradients_of_inputs(ctx.result)), None, None
