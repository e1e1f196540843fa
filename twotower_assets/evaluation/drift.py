"""How far items moved between two versions of a model, after aligning their embedding spaces.

Two trainings that learn the same similarities may differ by any rotation, so the vectors of two versions cannot be
compared directly. The caller chooses the versions and loads their vectors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 20
ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Drift:
    """How much each item moved.

    Attributes:
        cosine: between the two vectors of an item after alignment, float64 [n].
        neighbours_kept: share of the nearest neighbours that are the same in both versions, float64 [n].
    """

    cosine: NDArray[np.float64]
    neighbours_kept: NDArray[np.float64]


def drift(before: NDArray[np.float32], after: NDArray[np.float32], neighbours: int = NEIGHBOURS) -> Drift:
    """Compare the vectors of the same items in two versions.

    1. Normalisation: every vector gets length 1, because similarity is a cosine.
    2. Alignment: the rotation or reflection R that minimises ‖before·R − after‖ (orthogonal Procrustes,
       Schönemann 1966). The version with fewer dimensions is first padded with zeros.
    3. Per item, the cosine of its aligned vectors, and how many of its nearest neighbours are the same. Neighbours are
       searched within each version, so rotation does not matter.

    Args:
        before: float [n, d], one row per item that both versions have.
        after: float [n, e], in the same order.
        neighbours: how many nearest neighbours are compared; fewer where there are fewer items.

    Raises:
        ValueError: matrices with different items, fewer than two items, or a vector that is 0 or not finite.
    """
    from scipy.linalg import orthogonal_procrustes

    if before.ndim != 2 or after.ndim != 2 or len(before) != len(after) or len(before) < 2:
        raise ValueError(
            f"expected two matrices with a row for each of at least 2 items, got {before.shape} and {after.shape}"
        )
    if neighbours < 1:
        raise ValueError(f"neighbours must be at least 1, got {neighbours}")
    width = max(before.shape[1], after.shape[1])
    old, new = _normalised(before, width), _normalised(after, width)
    rotation, _ = orthogonal_procrustes(old, new)
    cosine = np.einsum("nd,nd->n", old @ rotation, new)
    k = min(neighbours, len(old) - 1)
    kept = np.empty(len(old))
    for start in range(0, len(old), ROWS_AT_ONCE):
        rows = slice(start, min(start + ROWS_AT_ONCE, len(old)))
        kept[rows] = _overlap(_nearest(old, rows, k), _nearest(new, rows, k), len(old))
    return Drift(np.clip(cosine, -1, 1), kept)


def _normalised(vectors: NDArray[np.float32], width: int) -> NDArray[np.float64]:
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise ValueError("a vector is 0, or holds NaN or infinity; materialize the embeddings again")
    normalised = np.zeros((len(vectors), width))
    normalised[:, : vectors.shape[1]] = vectors / lengths
    return normalised


def _nearest(normalised: NDArray[np.float64], rows: slice, k: int) -> NDArray[np.int64]:
    """The k nearest other items per row, unsorted: int64 [rows, k]. O(rows · n · d) time, rows · n memory."""
    cosines = normalised[rows] @ normalised.T
    cosines[np.arange(len(cosines)), np.arange(rows.start, rows.stop)] = -np.inf
    found: NDArray[np.int64] = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
    return found


def _overlap(left: NDArray[np.int64], right: NDArray[np.int64], n: int) -> NDArray[np.float64]:
    """The share of `left` that is also in `right`, per row."""
    row = np.arange(len(left))[:, None] * n
    same = np.isin(left + row, right + row)
    share: NDArray[np.float64] = same.mean(axis=1)
    return share
