"""The sampled softmax over candidates that all rows share and per-row negatives, with its gradients.

Here: loss and gradients of a `SoftmaxProblem`, tile by tile, in compiled loops. Not here: which candidates there are,
which of them are masked, and their correction (`sampling`); and vectors (`towers`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from twotower_assets.two_tower.data.item_sets import Int32s, Int64s
from twotower_assets.two_tower.kernels.bfloat16 import as_numpy, to_bfloat16, to_float32
from twotower_assets.two_tower.kernels.compiled import compiled, compiled_parallel
from twotower_assets.two_tower.kernels.exponential import exponential, row_maximum
from twotower_assets.two_tower.sampling.batch_problem import SoftmaxProblem

TILE = 2**19
"""Scores per tile: 2 MiB in float32, which fits the caches of one or two cores."""
SMALLEST_TILE_ROWS = 32
COLUMN_MULTIPLE = 32
"""The columns of a tile are padded to a multiple of this. In bfloat16, matrix products of other widths take an eighth
longer, and the first product of each width four times as long."""

Floats = npt.NDArray[np.floating]
Scores = npt.NDArray[np.generic]  # bfloat16 as uint16, see `kernels/bfloat16.py`


@dataclass(frozen=True)
class SoftmaxResult:
    """The loss, and its gradients with respect to vectors and offsets, of their shapes.

    `close` counts the candidates that `positive_aware_share` masked.
    """

    loss: float
    grad_queries: Tensor
    grad_vectors: Tensor
    grad_shared: Tensor
    grad_column_offsets: Tensor
    grad_pair_offsets: Tensor
    close: int


def sampled_softmax(
    queries: Tensor,
    vectors: Tensor,
    shared: Tensor,
    problem: SoftmaxProblem,
    *,
    bfloat16: bool = False,
    learned_offsets: bool = True,
) -> SoftmaxResult:
    """Softmax cross-entropy of positives against their candidates, holding only a tile of the [B, S] scores.

    The scores of row i are those of its pairs, queries[i]·vectors[pair_index[i, k]], and those of the shared
    candidates, queries[i]·shared[j]; biases are part of the problem's offsets.

    1. For the rows of a tile: the products with all shared candidates, in a tile that stays in the cache.
    2. Offsets, masks and softmax cross-entropy in place: the loss, and the gradient of every logit.
    3. The products of these gradients with `shared` and with `queries` are added to the gradients of the arguments.

    Loss and gradients come out of one pass, and memory is O((B + S)·d + tile).

    Args:
        queries: float [B, d].
        vectors: float [D, d].
        shared: float [S, d].
        problem: Of B rows and S columns.
        bfloat16: Round the factors and results of matrix products to bfloat16, with float32 accumulation, and with them
            the gradients of the logits that `column_offsets` sums; everything else has the precision of `queries`.
        learned_offsets: Whether to compute `grad_column_offsets`; it is 0 otherwise.

    Returns:
        A row without negatives adds 0 to the loss and has no gradient; the loss is 0 if all weights are.
    """
    pair_index, masked, corrections = problem.pair_index, problem.masked, problem.row_corrections
    share = problem.weights / max(problem.weights.sum(), np.finfo(problem.weights.dtype).tiny)  # (B,)
    pairs = queries.new_empty(pair_index.shape)  # (B, 1 + K), products, later the gradients of logits
    pair_scores = pairs.numpy()
    _pair_products(queries.numpy(), vectors.numpy(), pair_index, pair_scores)
    product = torch.bfloat16 if bfloat16 else queries.dtype
    rows, candidates, columns = len(queries), len(shared), -(-len(shared) // COLUMN_MULTIPLE) * COLUMN_MULTIPLE
    left, right = queries.to(product), queries.new_zeros(columns, queries.shape[1], dtype=product)
    right[:candidates] = shared
    per_tile = min(rows, max(SMALLEST_TILE_ROWS, TILE // max(1, columns)))
    grad_queries, grad_right = torch.empty_like(queries), torch.zeros_like(right, dtype=queries.dtype)
    grad_column_offsets = queries.new_zeros(candidates)
    buffer = left.new_empty(per_tile, columns)
    loss, close = 0.0, 0
    for first in range(0, rows, max(1, per_tile)):
        tile = slice(first, min(first + per_tile, rows))
        edges = slice(first, tile.stop + 1)
        scores = buffer[: tile.stop - first]  # (t, columns), later the gradients of logits
        torch.mm(left[tile], right.T, out=scores)  # 1
        tile_loss, tile_close = _softmax_cross_entropy_in_place(  # 2
            as_numpy(scores),
            problem.column_offsets,
            problem.column_count,
            masked.offsets[edges],
            masked.columns,
            corrections.offsets[edges],
            corrections.columns,
            corrections.values,
            pair_scores[tile],
            problem.pair_offsets[tile],
            problem.positive_aware_share,
            problem.unmasked[tile],
            problem.expected_unmasked[tile],
            share[tile],
        )
        loss, close = loss + tile_loss, close + tile_close
        if learned_offsets:
            grad_column_offsets += scores.sum(dim=0, dtype=queries.dtype)[:candidates]
        grad_queries[tile] = torch.mm(scores, right)  # 3
        grad_right += torch.mm(scores.T, left[tile])
    grad_vectors = torch.zeros_like(vectors)
    _pair_products_backward(
        queries.numpy(), vectors.numpy(), pair_index, pair_scores, grad_queries.numpy(), grad_vectors.numpy()
    )
    return SoftmaxResult(loss, grad_queries, grad_vectors, grad_right[:candidates], grad_column_offsets, pairs, close)


@compiled_parallel
def _softmax_cross_entropy_in_place(
    scores: Scores,
    column_offsets: Floats,
    column_count: Int64s,
    mask_starts: Int64s,
    masked: Int32s,
    correction_starts: Int64s,
    corrected: Int32s,
    corrections: Floats,
    pairs: Floats,
    pair_offsets: Floats,
    positive_aware_share: float,
    unmasked: Int64s,
    expected_unmasked: Floats,
    share: Floats,
) -> tuple[float, int]:
    """Replaces scores by the gradients of the loss with respect to the logits.

    Args:
        scores: [t, S and padding]; padding becomes 0.
        column_offsets, column_count: [S].
        mask_starts, masked: The masked columns of row i are masked[mask_starts[i]:mask_starts[i + 1]].
        correction_starts, corrected, corrections: The same, and what is added to these columns.
        pairs: Scores of the positives, then of the per-row negatives, [t, 1 + K].
        pair_offsets: Added to these, [t, 1 + K].
        positive_aware_share: As in `SoftmaxProblem`.
        unmasked, expected_unmasked: [t]; the latter may be [0].
        share: [t], the weight of each row in the loss.

    Returns:
        The loss of the rows, and how many candidates `positive_aware_share` masked.
    """
    loss, all_close = 0.0, 0
    for row in numba.prange(len(scores)):
        row_scores, row_pairs, powers = scores[row], pairs[row], np.empty(len(column_offsets), pairs.dtype)
        for column in range(len(powers)):
            powers[column] = to_float32(row_scores[column]) + column_offsets[column]
        for index in range(correction_starts[row], correction_starts[row + 1]):
            powers[corrected[index]] += corrections[index]
        for index in range(mask_starts[row], mask_starts[row + 1]):
            powers[masked[index]] = -np.inf
        close = 0
        if positive_aware_share < np.inf and row_pairs[0] > 0:
            limit = pairs.dtype.type(positive_aware_share) * row_pairs[0]
            for column in range(len(powers)):
                if powers[column] > -np.inf and to_float32(row_scores[column]) > limit:
                    powers[column] = -np.inf
                    close += column_count[column]
            for column in range(1, len(row_pairs)):
                if pair_offsets[row, column] > -np.inf and row_pairs[column] > limit:
                    row_pairs[column] = -np.inf
                    all_close += 1
            all_close += close
        for column in range(len(row_pairs)):
            row_pairs[column] += pair_offsets[row, column]
        if len(expected_unmasked):
            # log n of the n unmasked negatives is the same for a whole row, so the positive's logit can take it.
            row_pairs[0] += pairs.dtype.type(math.log(max(unmasked[row] - close, 1) / expected_unmasked[row]))
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
    return loss, all_close


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
