"""The baselines in every table of results: most popular, and EASE.

Each gives a `ScoreBlock`, so that `top_k` treats it like any model. Trained towers do not belong here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.sparse import csr_matrix

from twotower_assets.core.ragged import Ragged
from twotower_assets.evaluation.scores import IntArray, ScoreBlock, Scores

EASE_MAX_ITEMS = 20_000
"""EASE inverts a dense items-by-items matrix: 8 · n² bytes, 3.2 GB here, and a time that grows with n³."""


def most_popular(counts: NDArray[Any]) -> ScoreBlock:
    """The same scores for everybody: training clicks per item, [n_items]."""
    popularity = np.asarray(counts, dtype=np.float64)

    def score(rows: IntArray) -> Scores:
        return np.broadcast_to(popularity, (len(rows), len(popularity)))

    return score


def ease(
    user: NDArray[Any],
    item: NDArray[Any],
    n_users: int,
    n_items: int,
    l2: float = 200.0,
    profiles: Ragged | None = None,
) -> ScoreBlock:
    """EASE: a linear model from a user's items to all items, with no item used to predict itself.

    Args:
        user: user row of each training click, int [m]; repeats of a pair count once.
        item: item position of each training click, int [m].
        n_users: number of users; scores are available for rows 0 to n_users − 1.
        n_items: number of items, at most `EASE_MAX_ITEMS`.
        l2: λ, the weight of the squared norm. 200 suits MovieLens-100K; larger logs want more.
        profiles: items to score from, one set per user row, such as clicks of the training and validation splits;
            None scores from the training clicks.

    Raises:
        ValueError: more items than `EASE_MAX_ITEMS`, or λ not positive.

    Source: Steck (2019), "Embarrassingly Shallow Autoencoders for Sparse Data", equation 8.
    """
    if n_items > EASE_MAX_ITEMS:
        raise ValueError(
            f"EASE inverts a dense {n_items:,} by {n_items:,} matrix, and is limited to "
            f"{EASE_MAX_ITEMS:,} items: omit this baseline for a catalogue of this size"
        )
    if l2 <= 0:
        raise ValueError(f"l2 must be positive, got {l2}")
    clicks = csr_matrix((np.ones(len(user)), (user, item)), shape=(n_users, n_items))
    clicks.data[:] = 1.0
    clicked = np.unique(item)  # the matrix is block diagonal: an item without clicks has weights 0, to and from all
    gram = (clicks[:, clicked].T @ clicks[:, clicked]).toarray()
    gram[np.diag_indices(len(clicked))] += l2
    weights = _inverse(gram)
    weights /= -np.diag(weights).copy()  # column j divided by −P_jj
    weights[np.diag_indices(len(clicked))] = 0.0
    known = clicks
    if profiles is not None:
        shape = (len(profiles), n_items)
        known = csr_matrix((np.ones(len(profiles.values)), profiles.values, profiles.offsets), shape=shape)
    known = known[:, clicked]

    def score(rows: IntArray) -> Scores:
        scores = np.zeros((len(rows), n_items))
        scores[:, clicked] = known[rows] @ weights
        return scores

    return score


def _inverse(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of a symmetric positive definite matrix, through its Cholesky factor."""
    # A symmetric C-ordered array, transposed, is in the Fortran order that LAPACK overwrites in place.
    factor, failed = lapack.dpotrf(gram.T, lower=True, overwrite_a=True)
    if failed:
        raise ValueError("the EASE matrix is not positive definite: raise l2")
    inverse, _ = lapack.dpotri(factor, lower=True, overwrite_c=True)
    lower: NDArray[np.float64] = np.tril(inverse)
    strict = np.tril(inverse, -1).T
    lower += strict
    return lower
