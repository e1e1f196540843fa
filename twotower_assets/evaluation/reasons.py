"""Why an item is in a list, in terms that a person can check: the most similar clicked items.

The similarity of items by their vectors belongs here. `ranking` and the index decide which items a list holds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def nearest_in_history(
    vectors: NDArray[np.float32], history: Sequence[int], listed: Sequence[int], count: int = 2
) -> list[list[int]]:
    """For each listed item, the items of a history whose vectors have the largest cosine with it.

    Args:
        vectors: item vectors of any length, float32 [n_items, d]. A vector of length 0 has cosine 0 with all others.
        history: rows of `vectors` that the user clicked, oldest first; an item that is there twice counts once.
        listed: rows of `vectors` to explain.
        count: most history items to give per listed item, at least 1.

    Returns:
        For each listed item up to `count` members of `history`, largest cosine first; where cosines are equal, the
        item clicked last comes first. Empty lists without a history.

    Raises:
        ValueError: vectors that are not a matrix, a row out of range, or a count below 1.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    if vectors.ndim != 2:
        raise ValueError(f"vectors must be a matrix [n_items, d], got shape {vectors.shape}")
    rows = np.asarray([*history, *listed], np.int64)
    if len(rows) and (rows.min() < 0 or rows.max() >= len(vectors)):
        raise ValueError(f"items must be rows 0 to {len(vectors) - 1} of vectors, got {rows.min()} to {rows.max()}")
    clicked = np.asarray(list(dict.fromkeys(reversed(history))), np.int64)
    if not len(clicked):
        return [[] for _ in listed]
    cosines = _normalised(vectors[np.asarray(listed, np.int64)]) @ _normalised(vectors[clicked]).T
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    found: list[list[int]] = clicked[nearest].tolist()
    return found


def _normalised(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
