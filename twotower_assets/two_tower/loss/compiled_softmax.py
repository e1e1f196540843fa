"""The sampled softmax over a block of candidates that all rows share, and a few that each row has for itself.

Here: loss and gradients, tile by tile. Not here: which candidates there are (`negatives.py`), which of them are masked
(`masks.py`), and how they are corrected for how often they are drawn (`objective.py`).
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
"""Scores per tile: 2 MiB in float32, which the caches of one or two cores hold."""
SMALLEST_TILE_ROWS = 32
COLUMNS = 32
"""A tile has a multiple of so many. In bfloat16, products of other widths take an eighth longer, and the first one of
any width four times as long."""

Floats = npt.NDArray[np.floating]
Numbers = npt.NDArray[np.generic]  # see `bfloat16.py`

Edit = Callable[[int, Tensor, Tensor], tuple[Tensor | None, Tensor | None]]
"""Told the number of the first row of a tile, its products with what all rows share [t, S and some that do not count],
and those of its pairs [t, 1 + K], where it sets to -∞ what is to be left out; gives what is to be added to the scores
of the tile's positives [t], and to those of its candidates [t, S or as many as there were]; None for nothing."""


@dataclass(frozen=True)
class Softmax:
    """A loss, and its gradients by what `sampled_softmax` was given: of the shapes of these."""

    loss: float
    queries: Tensor
    vectors: Tensor
    shared: Tensor
    offsets: Tensor
    terms: Tensor


def sampled_softmax(
    queries: Tensor,
    vectors: Tensor,
    shared: Tensor,
    offsets: Tensor,
    places: Int64s,
    terms: Tensor,
    *,
    weights: Tensor,
    edit: Edit | None = None,
    bfloat16: bool = False,
    learned_offsets: bool = True,
) -> Softmax:
    """Softmax cross-entropy of each positive against its candidates, of [B, S] scores never more than a tile at a time.

    The scores of a row are those of its pairs, queries[i]·vectors[places[i, k]] + terms[i, k], of which the first is
    the positive's and the others are candidates of its own; and those of what all rows share, queries[i]·shared[j] +
    offsets[j].

    1. Of some rows: the products of all their candidates, in a tile that stays in the cache.
    2. `edit` leaves candidates out, and corrects those that differ from row to row.
    3. Softmax, its logarithmic sum, and so the loss. The weights of the loss are known, and with them the gradient of
       every score.
    4. Its products with `shared` and with `queries` are added to their gradients; the tile is forgotten.

    So loss and gradients are there at once, and memory is O((B + S)·d + tile).

    Args:
        queries: float [B, d].
        vectors: float [D, d].
        shared: float [S, d].
        offsets: float [S].
        places: int64 [B, 1 + K].
        terms: float [B, 1 + K], -∞ where there is no candidate.
        weights: float [B], not negative: the loss is their mean.
        edit: See `Edit`; it has no gradient.
        bfloat16: Products of matrices round their factors and results to bfloat16, accumulating in float32, and so the
            gradients of scores that they are made of, and that `offsets` sum; everything else stays in the precision
            of `queries`.
        learned_offsets: Whether anybody wants their gradient, which otherwise is 0.

    Returns:
        A row without negatives adds 0 to the loss and has no gradient; if all weights are 0, so is the loss.
    """
    importance = weights.numpy()
    share = importance / max(importance.sum(), np.finfo(importance.dtype).tiny)  # (B,)
    pairs = queries.new_empty(places.shape)  # (B, 1 + K), products, then the gradients of scores
    of_pairs = pairs.numpy()
    _multiply_pairs(queries.numpy(), vectors.numpy(), places, of_pairs)
    product = torch.bfloat16 if bfloat16 else queries.dtype
    rows, candidates, columns = len(queries), len(shared), -(-len(shared) // COLUMNS) * COLUMNS
    left, right = queries.to(product), queries.new_zeros(columns, queries.shape[1], dtype=product)
    right[:candidates] = shared
    per_tile = min(rows, max(SMALLEST_TILE_ROWS, TILE // max(1, columns)))
    of_queries, of_right = torch.empty_like(queries), torch.zeros_like(right, dtype=queries.dtype)
    of_offsets = torch.zeros_like(offsets)
    scores, nothing = left.new_empty(per_tile, columns), np.zeros((rows, 0), of_pairs.dtype)
    loss = 0.0
    for first in range(0, rows, max(1, per_tile)):
        tile = slice(first, min(first + per_tile, rows))
        pulls = scores[: tile.stop - first]
        torch.mm(left[tile], right.T, out=pulls)  # 1
        of_positives, of_candidates = edit(first, pulls, pairs[tile]) if edit is not None else (None, None)  # 2
        loss += _soften(  # 3
            as_numpy(pulls),
            offsets.numpy(),
            nothing[tile] if of_candidates is None else of_candidates.expand(len(pulls), -1).contiguous().numpy(),
            of_pairs[tile],
            terms.numpy()[tile],
            nothing[0] if of_positives is None else of_positives.numpy(),
            share[tile],
        )
        if learned_offsets:
            of_offsets += pulls.sum(dim=0, dtype=offsets.dtype)[:candidates]
        of_queries[tile] = torch.mm(pulls, right)  # 4
        of_right += torch.mm(pulls.T, left[tile])
    of_vectors = torch.zeros_like(vectors)
    _add_pairs(queries.numpy(), vectors.numpy(), places, of_pairs, of_queries.numpy(), of_vectors.numpy())
    return Softmax(loss, of_queries, of_vectors, of_right[:candidates], of_offsets, pairs)


@compiled_parallel
def _soften(
    scores: Numbers, offsets: Floats, added: Floats, pairs: Floats, terms: Floats, of_positives: Floats, share: Floats
) -> float:
    """Turns scores into the gradients of the loss by them, as far as they are candidates; gives the loss of the rows.

    Args:
        scores: [t, S and more, which become 0], to which `offsets` [S] come, and `added` [t, as many], or [t, 0] for
            nothing.
        pairs: [t, 1 + K], of the positives, then of what the rows have for themselves, to which `terms` [t, 1 + K]
            come, and `of_positives` [t] or [0] to the first; made gradients too.
        terms: See above.
        of_positives: See above.
        share: [t], of the rows in the loss.
    """
    loss = 0.0
    for row in numba.prange(len(scores)):
        of_row, of_pairs, powers = scores[row], pairs[row], np.empty(len(offsets), pairs.dtype)
        _read(of_row, offsets, added[row], powers)
        for column in range(len(of_pairs)):
            of_pairs[column] += terms[row, column]
        if len(of_positives):
            of_pairs[0] += of_positives[row]
        top = max(row_maximum(powers), row_maximum(of_pairs))
        positive = of_pairs[0] - top
        total = 0 * top
        for column in range(len(of_pairs)):
            of_pairs[column] = exponential(of_pairs[column] - top)
            total += of_pairs[column]
        for column in range(len(powers)):
            powers[column] = exponential(powers[column] - top)
            total += powers[column]
        loss += share[row] * (math.log(total) - positive)
        factor = share[row] / total
        for column in range(len(of_pairs)):
            of_pairs[column] *= factor
        of_pairs[0] -= share[row]
        for column in range(len(powers)):
            of_row[column] = to_bfloat16(powers[column] * factor, of_row)
        for column in range(len(powers), len(of_row)):
            of_row[column] = to_bfloat16(0 * factor, of_row)
    return loss


@compiled
def _read(scores: Numbers, offsets: Floats, added: Floats, sums: Floats) -> None:
    """Adds them up, but for scores of -∞."""
    for column in range(len(sums)):
        sums[column] = to_float32(scores[column]) + offsets[column]
    for column in range(min(len(added), len(sums))):
        sums[column] = sums[column] + added[column] if sums[column] > -np.inf else sums[column]


@compiled_parallel
def _multiply_pairs(queries: Floats, vectors: Floats, places: Int64s, products: Floats) -> None:
    for row in numba.prange(len(queries)):
        query = queries[row]
        for k in range(places.shape[1]):
            vector, total = vectors[places[row, k]], 0 * query[0]
            for column in range(len(query)):
                total += query[column] * vector[column]
            products[row, k] = total


@compiled
def _add_pairs(
    queries: Floats, vectors: Floats, places: Int64s, gradient: Floats, of_queries: Floats, of_vectors: Floats
) -> None:
    for row in range(len(queries)):
        query, of_query = queries[row], of_queries[row]
        for k in range(places.shape[1]):
            vector, of_vector, pull = vectors[places[row, k]], of_vectors[places[row, k]], gradient[row, k]
            for column in range(len(query)):
                of_query[column] += pull * vector[column]
                of_vector[column] += pull * query[column]
