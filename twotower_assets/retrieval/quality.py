"""How much of the exact result an index finds, and how fast, at several popularity weights.

Here are measurements only. What recall an index must reach before it is served is a setting of the gate.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twotower_assets.retrieval.index import (
    FloatMatrix,
    ItemIndex,
    ItemIndexError,
    faiss_threads,
    stored_vectors,
)

MAX_QUERIES = 1_000


@dataclass(frozen=True, slots=True)
class IndexQuality:
    """One measurement: recall against exact search and speed, at one popularity weight.

    Attributes:
        name: of the weight, such as "γ = ½".
        weight: γ − γ₀ used in the query.
        k: length of the lists compared.
        recall_at_k: mean share of the k found that are as good as the k-th of exact search.
        queries: users measured on.
        queries_per_second: of one batch of all of them.
        threads: FAISS threads in use.
    """

    name: str
    weight: float
    k: int
    recall_at_k: float
    queries: int
    queries_per_second: float
    threads: int


def measure_index(
    index: ItemIndex,
    item_vectors: NDArray[Any],
    user_vectors: NDArray[Any],
    *,
    log_q: NDArray[Any],
    bias: NDArray[Any] | None = None,
    weights: Mapping[str, float],
    k: int = 100,
    max_queries: int = MAX_QUERIES,
    seed: int = 0,
    threads: int | None = None,
) -> list[IndexQuality]:
    """Compare the index with exact search over the same vectors, once per popularity weight.

    An item counts as found if its exact score reaches that of the k-th exact item, so equal scores (items
    with the same vector) cost no recall.

    Args:
        index: the index to measure.
        item_vectors: float32 [n, d], as given to `build_index`, in the same order; likewise log_q and bias.
        user_vectors: float32 [m, d]; a sample of at most `max_queries` is drawn from them.
        log_q: float32 [n].
        bias: float32 [n] or None.
        weights: γ − γ₀ by name; the gate asks for those that serve γ = 0, ½ and 1.
        k: length of the lists.
        max_queries: bound on the users measured on.
        seed: of that sample.
        threads: for searching; None leaves it to FAISS.

    Returns:
        One row per weight, in the order given.

    Raises:
        ItemIndexError: vectors of another number than the index holds, or no user vectors.
    """
    import faiss

    stored, _ = stored_vectors(item_vectors, index.inverse_temperature, bias, log_q)
    if stored.shape != (len(index), index.dimension + 2):
        raise ItemIndexError(
            f"the index holds {len(index)} items of dimension {index.dimension}, item_vectors has shape "
            f"{np.shape(item_vectors)}: measure it with the vectors it was built from"
        )
    users = np.asarray(user_vectors, dtype=np.float32)
    if len(users) == 0:
        raise ItemIndexError("no user vectors to measure the index with")
    if len(users) > max_queries:
        users = users[np.random.default_rng(seed).choice(len(users), max_queries, replace=False)]
    exact = faiss.IndexFlatIP(stored.shape[1])
    exact.add(stored)
    with faiss_threads(threads) as used:
        return [_measure(index, stored, exact, users, k, name, weight, used) for name, weight in weights.items()]


def _measure(
    index: ItemIndex,
    stored: FloatMatrix,
    exact: Any,
    users: FloatMatrix,
    k: int,
    name: str,
    weight: float,
    threads: int,
) -> IndexQuality:
    """One row: the index against exact search at one weight."""
    index.search(users[:1], k, weight)  # the first search after a build pays for allocations
    start = time.perf_counter()
    _, found = index.search(users, k, weight)
    seconds = time.perf_counter() - start
    width = min(k, len(stored))
    constants = np.broadcast_to(np.array([1.0, weight], dtype=np.float32), (len(users), 2))
    queries = np.hstack([users, constants])  # (m, d + 2)
    kth = exact.search(queries, width)[0][:, -1]  # (m,)
    hits = 0
    for query, positions, least in zip(queries, found, kth, strict=True):
        scores = stored[positions[positions >= 0]] @ query
        hits += int((scores >= least - 1e-5 * max(1.0, abs(float(least)))).sum())
    return IndexQuality(
        name=name,
        weight=float(weight),
        k=k,
        recall_at_k=hits / (width * len(users)),
        queries=len(users),
        queries_per_second=len(users) / seconds,
        threads=threads,
    )
