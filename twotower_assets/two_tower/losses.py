"""The sampled softmax over a block of candidates that all rows share, and a few that each row has for itself.

Here: loss and gradients, tile by tile. Not here: which candidates there are (`negatives.py`), which of them are masked
(`masks.py`), and how they are corrected for how often they are drawn (`objective.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

TILE = 2**19
"""Scores per tile: 2 MiB in float32, which the caches of one or two cores hold."""
SMALLEST_TILE_ROWS = 32

Edit = Callable[[int, Tensor], Tensor | None]
"""Told the number of the first row of a tile and its scores [t, S], which it may change in place, -∞ leaving a
candidate out; gives what is to be added to the scores of the tile's positives [t], or None for nothing."""


def sampled_softmax(
    queries: Tensor,
    shared: Tensor,
    offsets: Tensor,
    positive: Tensor,
    own: Tensor,
    *,
    weights: Tensor,
    edit: Edit | None = None,
    bfloat16: bool = False,
) -> Tensor:
    """Softmax cross-entropy of each positive against its candidates, of [B, S] scores never more than a tile at a time.

    The scores of a row are positive[i], queries[i]·shared[j] + offsets[j], and own[i, k].

    1. Of some rows: the scores of all their candidates, in a tile that stays in the cache.
    2. `edit` leaves candidates out, and corrects those that differ from row to row.
    3. Softmax, its logarithmic sum, and so the loss. The weights of the loss are known, and with them the gradient of
       every score.
    4. Its products with `shared` and with `queries` are added to their gradients; the tile is forgotten.

    So the backward pass has nothing left to do, and memory is O((B + S)·d + tile).

    Args:
        queries: float [B, d].
        shared: float [S, d].
        offsets: float [S].
        positive: float [B].
        own: float [B, K], -∞ where there is no candidate.
        weights: float [B], not negative: the loss is their mean.
        edit: See `Edit`; it has no gradient.
        bfloat16: Products of matrices round their factors and results to bfloat16, accumulating in float32; everything
            else stays in the precision of `queries`.

    Returns:
        Scalar. A row without negatives adds 0 and has no gradient; if all weights are 0, so is the loss.
    """
    loss: Tensor = _SampledSoftmax.apply(queries, shared, offsets, positive, own, weights, edit, bfloat16)  # type: ignore[no-untyped-call]
    return loss


class _SampledSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        shared: Tensor,
        offsets: Tensor,
        positive: Tensor,
        own: Tensor,
        weights: Tensor,
        edit: Edit | None,
        bfloat16: bool,
    ) -> Tensor:
        share = weights / weights.sum().clamp_min(torch.finfo(weights.dtype).tiny)  # (B,)
        product = torch.bfloat16 if bfloat16 else queries.dtype
        left, right = queries.to(product), shared.to(product)
        weighted = (queries * share[:, None]).to(product)
        rows, candidates, others = len(queries), len(shared), 1 + own.shape[1]
        per_tile = min(rows, max(SMALLEST_TILE_ROWS, TILE // max(1, candidates)))
        of_queries, of_rest = torch.empty_like(queries), queries.new_empty(rows, others)
        of_shared, of_offsets = torch.zeros_like(shared), torch.zeros_like(offsets)
        scores, softmax = (queries.new_empty(per_tile, candidates + others) for _ in range(2))
        loss = queries.new_zeros(())
        for first in range(0, rows, max(1, per_tile)):
            tile = slice(first, min(first + per_tile, rows))
            logits = scores[: tile.stop - first]
            block, rest = logits[:, :candidates], logits[:, candidates:]
            block.copy_(torch.mm(left[tile], right.T))  # 1
            added = edit(first, block) if edit is not None else None  # 2
            block += offsets
            rest[:, 0] = positive[tile] if added is None else positive[tile] + added
            rest[:, 1:] = own[tile]
            probabilities = torch.softmax(logits, dim=1, out=softmax[: len(logits)])  # 3
            log_sum = logits.amax(dim=1) - probabilities.amax(dim=1).log()
            loss += torch.dot(log_sum - rest[:, 0], share[tile])
            torch.mul(probabilities[:, candidates:], share[tile, None], out=of_rest[tile])
            pulls = probabilities[:, :candidates]
            if ctx.needs_input_grad[2]:
                of_offsets += torch.mv(pulls.T, share[tile])
            pulls = pulls.to(product)
            of_queries[tile] = torch.mm(pulls, right)  # 4
            of_shared += torch.mm(pulls.T, weighted[tile])
        of_queries *= share[:, None]
        of_rest[:, 0] -= share
        ctx.save_for_backward(of_queries, of_shared, of_offsets, of_rest)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        of_queries, of_shared, of_offsets, of_rest = ctx.saved_tensors
        of_rest = of_rest * gradient
        return (
            of_queries * gradient,
            of_shared * gradient,
            of_offsets * gradient,
            of_rest[:, 0],
            of_rest[:, 1:],
            None,
            None,
            None,
        )
