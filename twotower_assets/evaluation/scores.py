"""Scores of users on the whole catalogue, computed in blocks so that the full matrix is never in memory.

This module has the type of a score function, the loop over its blocks, the score function of a two-tower model, and the
wrapper that serves it at γ. Lists, metrics and the missing popularity are in the modules that read scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from twotower_assets.core.popularity import log_q_weight

IntArray: TypeAlias = NDArray[np.int64]
FloatArray: TypeAlias = NDArray[np.float64]
Scores: TypeAlias = NDArray[np.floating[Any]]

ScoreBlock: TypeAlias = Callable[[IntArray], Scores]
"""A function of user rows, int64 [b], to their scores on every item, float [b, n_items]."""

MAX_SCORES_PER_BLOCK = 2**22
"""Scores in memory at once: 16 MiB in float32, about a cache. A large catalogue gets fewer users per block."""


def score_blocks(score_block: ScoreBlock, rows: IntArray, block_size: int = 1024) -> Iterator[tuple[IntArray, Scores]]:
    """Iterate over the users in blocks, and check each block.

    Args:
        score_block: gives scores, float [b, n_items], for user rows, int64 [b].
        rows: users to score, int64 [n].
        block_size: most users in a block. The first block has one user, to learn the size of the catalogue;
            the later ones have at most `MAX_SCORES_PER_BLOCK` scores.

    Yields:
        The block's rows, int64 [b], and its scores, float32 or float64 [b, n_items].

    Raises:
        ValueError: scores of the wrong shape, or a score that is NaN or infinite.
    """
    if block_size < 1:
        raise ValueError(f"block_size must be at least 1, got {block_size}")
    n_items: int | None = None
    start = 0
    while start < len(rows):
        size = 1 if n_items is None else max(1, min(block_size, MAX_SCORES_PER_BLOCK // max(n_items, 1)))
        block = rows[start : start + size]
        scores = _checked(score_block(block), block, n_items)
        n_items = scores.shape[1]
        yield block, scores
        start += size


def served_scores(
    score_block: ScoreBlock, log_q: NDArray[Any], popularity_weight: float, trained_popularity_weight: float
) -> ScoreBlock:
    """The scores that are served at γ, block by block: s + (γ − γ₀)·log q.

    Args:
        score_block: the trained scores of the model, float [b, n_items].
        log_q: log sampling probability per item, float [n_items], finite (clipped below for unseen items).
        popularity_weight: γ, from 0 to 1.
        trained_popularity_weight: γ₀.

    Raises:
        ValueError: γ is not a number from 0 to 1, or log_q is not one finite number per item.
    """
    log_q = np.asarray(log_q, dtype=np.float64)
    if log_q.ndim != 1 or not np.isfinite(log_q).all():
        raise ValueError("log_q must be one finite number per item: clip it from below for items never clicked")
    return _with_added(score_block, log_q_weight(popularity_weight, trained_popularity_weight) * log_q, "log_q")


def _with_added(score_block: ScoreBlock, added: FloatArray, name: str) -> ScoreBlock:
    """Scores plus one number per item, float64 [n_items], in the dtype of the scores. `name` is for errors."""

    def score(rows: IntArray) -> Scores:
        scores = np.asarray(score_block(rows))
        if scores.ndim != 2 or scores.shape[1] != len(added):
            raise ValueError(f"{name} has {len(added)} items, but the scores have shape {scores.shape}")
        kind = scores.dtype if scores.dtype.kind == "f" else np.float64
        total: Scores = scores + added.astype(kind)
        return total

    return score


def _checked(scores: Scores, rows: IntArray, n_items: int | None) -> Scores:
    """The scores as float32 or float64, [b, n_items], checked to be finite and of that shape."""
    scores = np.asarray(scores)
    if scores.dtype not in (np.float32, np.float64):
        scores = scores.astype(np.float64)
    if scores.ndim != 2 or len(scores) != len(rows) or n_items not in (None, scores.shape[1]):
        width = "n_items" if n_items is None else str(n_items)
        raise ValueError(f"score_block must give scores of shape [{len(rows)}, {width}], got {scores.shape}")
    if not np.isfinite(scores).all():
        bad = ~np.isfinite(scores)
        user, item = np.argwhere(bad)[0]
        raise ValueError(
            f"{int(bad.sum())} scores in this block are NaN or infinite, the first one for user row "
            f"{int(rows[user])} and item {int(item)}: look for a diverged training or an unclipped log q"
        )
    return scores


def inner_products(
    user_vectors: NDArray[Any],
    item_vectors: NDArray[Any],
    inverse_temperature: float,
    bias: NDArray[Any] | None = None,
) -> ScoreBlock:
    """The trained scores of a two-tower model, ⟨u, v⟩/τ + b, without added popularity.

    Args:
        user_vectors: float [n_users, d].
        item_vectors: float [n_items, d].
        inverse_temperature: 1/τ; it does not scale the bias.
        bias: learned additive bias of each item, float [n_items], finite; None for a model without.

    Raises:
        ValueError: the bias is not one finite number per item.
    """
    items = np.ascontiguousarray(item_vectors.T) * np.float32(inverse_temperature)

    def score(rows: IntArray) -> Scores:
        products: Scores = user_vectors[rows] @ items
        return products

    if bias is None:
        return score
    bias = np.asarray(bias, dtype=np.float64)
    if bias.shape != (len(item_vectors),) or not np.isfinite(bias).all():
        raise ValueError(
            f"bias must be one finite number for each of the {len(item_vectors)} items, got shape {bias.shape}"
        )
    return _with_added(score, bias, "bias")
