"""The sampled softmax over candidates that all rows share and per-row negatives, with its gradients.

Here: loss and gradients, tile by tile. Not here: which candidates there are (`sampling/negatives.py`), which of them
are masked (`sampling/masks.py`), and their correction (`objective.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from twotower_assets.two_tower.data.item_sets import Int64s
from twotower_assets.two_tower.kernels.bfloat16 import as_numpy, to_bfloat16, to_float32
from twotower_assets.two_tower.kernels.compiled import compiled, compiled_parallel
from twotower_assets.two_tower.kernels.exponential import exponential, row_maximum

TILE = 2**19
"""Scores per tile: 2 MiB in float32, which fits the caches of one or two cores."""
SMALLEST_TILE_ROWS = 32
COLUMN_MULTIPLE = 32
"""The columns of a tile are padded to a multiple of this. In bfloat16, matrix products of other widths take an eighth
longer, and the first product of each width four times as long."""

Floats = npt.NDArray[np.floating]
Scores = npt.NDArray[np.generic]  # bfloat16 as uint16, see `kernels/bfloat16.py`

MaskAndCorrect = Callable[[int, Tensor, Tensor], tuple[Tensor | None, Tensor | None]]
"""Masks and corrects the scores of a tile.

Called with the index of the tile's first row, its products with the shared candidates [t, S and padding], and its pair
products [t, 1 + K]; sets the products of masked candidates to -∞ in place. Returns offsets of the positives' logits [t]
and of the candidates' logits [t, S or S and padding]; None for none."""


@dataclass(frozen=True)
class SoftmaxResult:
    """The loss, and its gradients with respect to the arguments of `sampled_softmax`, of their shapes."""

    loss: float
    grad_queries: Tensor
    grad_vectors: Tensor
    grad_shared: Tensor
    grad_column_offsets: Tensor
    grad_pair_offsets: Tensor


def sampled_softmax(
    queries: Tensor,
    vectors: Tensor,
    shared: Tensor,
    column_offsets: Tensor,
    pair_index: Int64s,
    pair_offsets: Tensor,
    *,
    weights: Tensor,
    mask_and_correct: MaskAndCorrect | None = None,
    bfloat16: bool = False,
    learned_offsets: bool = True,
) -> SoftmaxResult:
    """Softmax cross-entropy of positives against their candidates, holding only a tile of the [B, S] scores.

    The logits of row i are those of its pairs, queries[i]·vectors[pair_index[i, k]] + pair_offsets[i, k], where k = 0
    is the positive and the others are per-row negatives; and those of the shared candidates, queries[i]·shared[j] +
    column_offsets[j].

    1. For the rows of a tile: the products with all shared candidates, in a tile that stays in the cache.
    2. `mask_and_correct` masks candidates, and adds the corrections that differ between rows.
    3. Softmax cross-entropy in place: the loss, and the gradient of every logit.
    4. The products of these gradients with `shared` and with `queries` are added to the gradients of the arguments.

    Loss and gradients come out of one pass, and memory is O((B + S)·d + tile).

    Args:
        queries: float [B, d].
        vectors: float [D, d].
        shared: float [S, d].
        column_offsets: Column logit offsets, float [S].
        pair_index: int64 [B, 1 + K].
        pair_offsets: Pair logit offsets, float [B, 1 + K]; -∞ where there is no candidate.
        weights: float [B], not negative: the loss is the weighted mean over rows.
        mask_and_correct: See `MaskAndCorrect`; it has no gradient.
        bfloat16: Round the factors and results of matrix products to bfloat16, with float32 accumulation, and with them
            the gradients of the logits that `column_offsets` sums; everything else has the precision of `queries`.
        learned_offsets: Whether to compute `grad_column_offsets`; it is 0 otherwise.

    Returns:
        A row without negatives adds 0 to the loss and has no gradient; the loss is 0 if all weights are.
    """
    row_weights = weights.numpy()
    share = row_weights / max(row_weights.sum(), np.finfo(row_weights.dtype).tiny)  # (B,)
    pairs = queries.new_empty(pair_index.shape)  # (B, 1 + K), products, later the gradients of logits
    pair_scores = pairs.numpy()
    _pair_products(queries.numpy(), vectors.numpy(), pair_index, pair_scores)
    product = torch.bfloat16 if bfloat16 else queries.dtype
    rows, candidates, columns = len(queries), len(shared), -(-len(shared) // COLUMN_MULTIPLE) * COLUMN_MULTIPLE
    left, right = queries.to(product), queries.new_zeros(columns, queries.shape[1], dtype=product)
    right[:candidates] = shared
    per_tile = min(rows, max(SMALLEST_TILE_ROWS, TILE // max(1, columns)))
    grad_queries, grad_right = torch.empty_like(queries), torch.zeros_like(right, dtype=queries.dtype)
    grad_column_offsets = torch.zeros_like(column_offsets)
    buffer, none = left.new_empty(per_tile, columns), np.zeros((rows, 0), pair_scores.dtype)
    loss = 0.0
    for first in range(0, rows, max(1, per_tile)):
        tile = slice(first, min(first + per_tile, rows))
        scores = buffer[: tile.stop - first]  # (t, columns), later the gradients of logits
        torch.mm(left[tile], right.T, out=scores)  # 1
        positive_offset, candidate_offsets = (  # 2
            mask_and_correct(first, scores, pairs[tile]) if mask_and_correct is not None else (None, None)
        )
        loss += _softmax_cross_entropy_in_place(  # 3
            as_numpy(scores),
            column_offsets.numpy(),
            none[tile] if candidate_offsets is None else candidate_offsets.expand(len(scores), -1).contiguous().numpy(),
            pair_scores[tile],
            pair_offsets.numpy()[tile],
            none[0] if positive_offset is None else positive_offset.numpy(),
            share[tile],
        )
        if learned_offsets:
            grad_column_offsets += scores.sum(dim=0, dtype=column_offsets.dtype)[:candidates]
        grad_queries[tile] = torch.mm(scores, right)  # 4
        grad_right += torch.mm(scores.T, left[tile])
    grad_vectors = torch.zeros_like(vectors)
    _pair_products_backward(
        queries.numpy(), vectors.numpy(), pair_index, pair_scores, grad_queries.numpy(), grad_vectors.numpy()
    )
    return SoftmaxResult(loss, grad_queries, grad_vectors, grad_right[:candidates], grad_column_offsets, pairs)


@compiled_parallel
def _softmax_cross_entropy_in_place(
    scores: Scores,
    column_offsets: Floats,
    candidate_offsets: Floats,
    pairs: Floats,
    pair_offsets: Floats,
    positive_offset: Floats,
    share: Floats,
) -> float:
    """Replaces scores by the gradients of the loss with respect to the logits; returns the loss of the rows.

    Args:
        scores: [t, S and padding]; padding becomes 0.
        column_offsets: [S], added to the scores of each row.
        candidate_offsets: Added to the scores, [t, S or more], or [t, 0] for none.
        pairs: Scores of the positives, then of the per-row negatives, [t, 1 + K].
        pair_offsets: Added to these, [t, 1 + K].
        positive_offset: Added to the positives, [t], or [0] for none.
        share: [t], the weight of each row in the loss.
    """
    loss = 0.0
    for row in numba.prange(len(scores)):
        row_scores, row_pairs, powers = scores[row], pairs[row], np.empty(len(column_offsets), pairs.dtype)
        _load(row_scores, column_offsets, candidate_offsets[row], powers)
        for column in range(len(row_pairs)):
            row_pairs[column] += pair_offsets[row, column]
        if len(positive_offset):
            row_pairs[0] += positive_offset[row]
        maximum = max(row_maximum(powers), row_maximum(row_pairs))
        positive = row_pairs[0] - maximum
        total = 0 * maximum
        for column in range(len(row_pairs)):
            row_pairs[column] = exponential(row_pairs[column] - maximum)
            total += row_pairs[column]
        for column in range(len(powers)):
            powers[column] = exponential(powers[column] - maximum)
            total += powers[column]
        loss += share[row] * (math.log(total) - positive)
        factor = share[row] / total
        for column in range(len(row_pairs)):
            row_pairs[column] *= factor
        row_pairs[0] -= share[row]
        for column in range(len(powers)):
            row_scores[column] = to_bfloat16(powers[column] * factor, row_scores)
        for column in range(len(powers), len(row_scores)):
            row_scores[column] = to_bfloat16(0 * factor, row_scores)
    return loss


@compiled
def _load(scores: Scores, column_offsets: Floats, candidate_offsets: Floats, logits: Floats) -> None:
    """Writes scores plus offsets to `logits`; masked scores stay -∞ whatever their offset is."""
    for column in range(len(logits)):
        logits[column] = to_float32(scores[column]) + column_offsets[column]
    for column in range(min(len(candidate_offsets), len(logits))):
        logits[column] = logits[column] + candidate_offsets[column] if logits[column] > -np.inf else logits[column]


@compiled_parallel
def _pair_products(queries: Floats, vectors: Floats, pair_index: Int64s, products: Floats) -> None:
    for row in numba.prange(len(queries)):
        query = queries[row]
        for k in range(pair_index.shape[1]):
            vector, total = vectors[pair_index[row, k]], 0 * query[0]
            for column in range(len(query)):
                total += query[column] * vector[column]
            products[row, k] = total


@compiled
def _pair_products_backward(
    queries: Floats, vectors: Floats, pair_index: Int64s, grad_pairs: Floats, grad_queries: Floats, grad_vectors: Floats
) -> None:
    """Adds the gradients of the pair products to those of queries and vectors."""
    for row in range(len(queries)):
        query, grad_query = queries[row], grad_queries[row]
        for k in range(pair_index.shape[1]):
            vector, grad_vector = vectors[pair_index[row, k]], grad_vectors[pair_index[row, k]]
            grad_pair = grad_pairs[row, k]
            for column in range(len(query)):
                grad_query[column] += grad_pair * vector[column]
                grad_vector[column] += grad_pair * query[column]
