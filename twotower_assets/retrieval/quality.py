"""How much of the exact result an index finds, and how fast, at several popularity weights and search depths.

Measurements, and the choice of a depth from them, belong here. The recall that an index must reach is a setting.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twotower_assets.retrieval.errors import ItemIndexError
from twotower_assets.retrieval.geometry import FloatMatrix, Items
from twotower_assets.retrieval.index import ItemIndex, faiss_threads

MAX_QUERIES = 1_000


@dataclass(frozen=True, slots=True)
class IndexQuality:
    """One measurement: recall against exact search and speed, at one popularity weight and search depth.

    Attributes:
        popularity_weight: γ of the queries.
        search_depth: efSearch or nprobe; None if the index has no such parameter.
        k: length of the lists compared.
        recall_at_k: mean share of the k results that score at least as high as the k-th exact result.
        queries: number of users searched for.
        queries_per_second: when searching for all of them in one batch.
        threads: FAISS threads in use.
    """

    popularity_weight: float
    search_depth: int | None
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
    popularity_weights: Sequence[float],
    depths: Sequence[int] = (),
    stop_at_recall: float | None = None,
    k: int = 100,
    max_queries: int = MAX_QUERIES,
    seed: int = 0,
    threads: int | None = None,
) -> list[IndexQuality]:
    """Compare the index with exact search over the same vectors, once per search depth and popularity weight.

    An item counts as found if its exact score reaches that of the k-th exact item, so ties (items
    with the same vector) cost no recall. Exact search runs once per weight, for any number of depths, and is
    independent of the index's geometry.

    Args:
        index: the index to measure; its depth is restored afterwards.
        item_vectors: float32 [n, d], as given to `build_index`, in the same order; likewise log_q and bias.
        user_vectors: float32 [m, d]; a sample of at most `max_queries` is drawn from them.
        log_q: float32 [n].
        bias: float32 [n] or None.
        popularity_weights: the γ to measure at; the gate needs 0, ½ and 1.
        depths: search depths, ascending; empty for the current depth of the index.
        stop_at_recall: once a depth reaches this recall at every weight, one more is measured; None measures all.
        k: length of the lists.
        max_queries: most users to search for.
        seed: of that sample.
        threads: for searching; None leaves it to FAISS.

    Returns:
        One row per depth and weight, in the order given.

    Raises:
        ItemIndexError: item vectors that do not match the index, no user vectors, or γ outside 0 to 1.
    """
    items = Items.checked(item_vectors, index.geometry.inverse_temperature, bias, log_q)
    if items.vectors.shape != (len(index), index.dimension):
        raise ItemIndexError(
            f"the index holds {len(index)} items of dimension {index.dimension}, item_vectors has shape "
            f"{np.shape(item_vectors)}: measure it with the vectors it was built from"
        )
    users = np.asarray(user_vectors, dtype=np.float32)
    if len(users) == 0:
        raise ItemIndexError("no user vectors to measure the index with")
    if len(users) > max_queries:
        users = users[np.random.default_rng(seed).choice(len(users), max_queries, replace=False)]
    with faiss_threads(threads) as used:
        targets = [_target(index, items, users, gamma, k) for gamma in popularity_weights]
        rows: list[IndexQuality] = []
        reached = False
        for depth in depths or (index.search_depth,):
            at_depth = [_measure(index if depth is None else index.at_depth(depth), target, used) for target in targets]
            rows.extend(at_depth)
            if reached:
                break
            reached = stop_at_recall is not None and min(row.recall_at_k for row in at_depth) >= stop_at_recall
    if index.search_depth is not None:
        index.at_depth(index.search_depth)
    return rows


def least_depth(rows: Sequence[IndexQuality], floor: float) -> int | None:
    """The smallest measured depth whose recall reaches the floor at every weight, or the largest if none does.

    None for an index without a search depth.
    """
    depths = sorted({row.search_depth for row in rows if row.search_depth is not None})
    for depth in depths:
        if all(row.recall_at_k >= floor for row in rows if row.search_depth == depth):
            return depth
    return depths[-1] if depths else None


@dataclass(frozen=True, slots=True)
class _Target:
    """What an index should find at one γ: for m users, the k items of highest score.

    Items are [v/τ, b, log q], float32 [n, d + 2], with b and log q minus their means, so that float32 distinguishes
    close scores; queries are [u, 1, γ − γ₀], [m, d + 2].
    """

    popularity_weight: float
    k: int
    items: FloatMatrix
    queries: FloatMatrix
    kth: FloatMatrix  # (m,), score of the k-th item by exact search


def _target(index: ItemIndex, items: Items, users: FloatMatrix, popularity_weight: float, k: int) -> _Target:
    """Exact search at one γ."""
    import faiss

    plain = np.column_stack(
        [
            items.vectors * np.float32(items.inverse_temperature),
            (items.bias - items.bias.mean()).astype(np.float32),
            (items.log_q - items.log_q.mean()).astype(np.float32),
        ]
    )
    constants = np.array([1.0, index.log_q_weight(popularity_weight).item()], dtype=np.float32)
    queries = np.hstack([users, np.broadcast_to(constants, (len(users), 2))])
    best, _ = faiss.knn(queries, plain, min(k, len(plain)), metric=faiss.METRIC_INNER_PRODUCT)
    return _Target(float(popularity_weight), k, plain, queries, best[:, -1])


def _measure(index: ItemIndex, target: _Target, threads: int) -> IndexQuality:
    """One row: the index at its depth against exact search."""
    users = target.queries[:, : index.dimension]
    index.search(users[:1], target.k, target.popularity_weight)  # the first search after a build pays for allocations
    start = time.perf_counter()
    _, found = index.search(users, target.k, target.popularity_weight)
    seconds = time.perf_counter() - start
    scores = np.einsum("mkd,md->mk", target.items[found], target.queries)  # (m, k), of the last item where padded
    least = target.kth - 1e-5 * np.maximum(1.0, np.abs(target.kth))
    hits = int(((scores >= least[:, None]) & (found >= 0)).sum())
    return IndexQuality(
        popularity_weight=target.popularity_weight,
        search_depth=index.search_depth,
        k=target.k,
        recall_at_k=hits / (min(target.k, len(target.items)) * len(users)),
        queries=len(users),
        queries_per_second=len(users) / seconds,
        threads=threads,
    )
