"""The sampled softmax as one would write it down: all scores at once, gradients by torch's own differentiation.

Here: what `losses.sampled_softmax` is held to, and gradients in the forms that tests compare. Not here: the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from twotower_assets.two_tower.loss.compiled_softmax import Edit, Softmax, sampled_softmax
from twotower_assets.two_tower.towers.compiled_towers import Towers
from twotower_assets.two_tower.towers.embedding_tables import Table


@dataclass(frozen=True)
class Plain(Softmax):
    """With the corrected scores of all candidates [B, S + K] and of the positives [B], and which are masked."""

    scores: Tensor
    mask: Tensor
    positive: Tensor


def plain_softmax(
    queries: Tensor,
    vectors: Tensor,
    shared: Tensor,
    offsets: Tensor,
    places: npt.NDArray[np.int64],
    terms: Tensor,
    *,
    weights: Tensor,
    edit: Edit | None = None,
    bfloat16: bool = False,
    learned_offsets: bool = True,
) -> Plain:
    """As `sampled_softmax`."""
    inputs = [one.detach().clone().requires_grad_() for one in (queries, vectors, shared, offsets, terms)]
    with torch.enable_grad():
        loss, scores, mask, positive = _plain(inputs, places, weights, edit)
        scores.retain_grad()
        positive.retain_grad()
        loss.backward()  # type: ignore[no-untyped-call]
    gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in inputs]
    return Plain(loss.item(), *gradients, scores=scores, mask=mask, positive=positive)


def _plain(
    inputs: list[Tensor], places: npt.NDArray[np.int64], weights: Tensor, edit: Edit | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    queries, vectors, shared, offsets, terms = inputs
    products = queries @ shared.T
    pairs = torch.einsum("bd,bkd->bk", queries, vectors[torch.from_numpy(places)])
    edited, edited_pairs = products.detach().clone(), pairs.detach().clone()
    of_positives, of_candidates = edit(0, edited, edited_pairs) if edit is not None else (None, None)
    own_left_out = (edited_pairs + terms.detach())[:, 1:] == -torch.inf
    mask = torch.cat([edited == -torch.inf, own_left_out], dim=1)
    corrected = products + offsets
    if of_candidates is not None:
        corrected = corrected + of_candidates.masked_fill(edited == -torch.inf, 0.0)
    scores = torch.cat([corrected, (pairs + terms)[:, 1:].masked_fill(own_left_out, 0.0)], dim=1)
    positive = (pairs + terms)[:, 0]
    chosen = positive if of_positives is None else positive + of_positives
    logits = torch.cat([chosen[:, None], scores.masked_fill(mask, -torch.inf)], dim=1)
    losses = torch.logsumexp(logits, dim=1) - chosen
    loss = (losses * weights).sum() / weights.sum().clamp_min(torch.finfo(weights.dtype).tiny)
    return loss, scores, mask, chosen


def gradient_of(table: Table) -> Tensor:
    """Of the whole table, float [rows, d]; zeros where it has none."""
    gradient = torch.zeros_like(table.weight)
    if table.gradient is not None:
        rows, values = table.gradient
        gradient[torch.from_numpy(rows)] = torch.from_numpy(values)
    return gradient


def gradients_of(towers: Towers) -> dict[str, Tensor]:
    """Of every parameter that has one, whole."""
    tables = {id(table.weight): table for table in towers.tables()}
    found = {}
    for name, one in towers.named_parameters():
        table = tables.get(id(one))
        if table is not None and table.gradient is not None:
            found[name] = gradient_of(table)
        elif one.grad is not None:
            found[name] = one.grad
    return found


class DifferentiableSoftmax(torch.autograd.Function):
    """`sampled_softmax` as an operation of torch's differentiation."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        """Queries, vectors, shared, offsets, terms; places; and a dictionary of options."""
        queries, vectors, shared, offsets, terms, places, options = arguments
        ctx.found = sampled_softmax(queries, vectors, shared, offsets, places, terms, **options)
        return queries.new_tensor(ctx.found.loss)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """Those of the tensors."""
        found = ctx.found
        parts = found.queries, found.vectors, found.shared, found.offsets, found.terms
        return *(gradient * one for one in parts), None, None
