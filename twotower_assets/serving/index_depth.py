"""The index over a day's vectors at the search depth that its measured recall requires, and the rows that report it.

How an index is built and measured is in `retrieval`; how it is published is in `publish_index.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twotower_assets.core.metric_rows import WIDE_K
from twotower_assets.core.popularity import KEY_WEIGHTS
from twotower_assets.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from twotower_assets.retrieval.geometry import FloatMatrix
    from twotower_assets.retrieval.index import ItemIndex
    from twotower_assets.retrieval.quality import IndexQuality


def measured_index(
    items: pa.Table, item_vectors: FloatMatrix, user_vectors: FloatMatrix, settings: Settings
) -> tuple[ItemIndex, list[IndexQuality]]:
    """The index at the smallest search depth with enough recall at every γ in `KEY_WEIGHTS`, and the measured curve.

    Args:
        items: rows of `item_embeddings`, all of one model.
        item_vectors: their embeddings, float32 [n, d].
        user_vectors: float32 [m, d]; a sample of them are the queries.
        settings: `index_factory`, `minimum_index_recall` and `threads`.
    """
    from twotower_assets.retrieval.index import build_index, depths_to_try
    from twotower_assets.retrieval.quality import least_depth, measure_index

    log_q, bias = items["log_q"].to_numpy(), items["bias"].to_numpy()
    index = build_index(
        items["item_id"].to_pylist(),
        item_vectors,
        inverse_temperature=items["inverse_temperature"][0].as_py(),
        log_q=log_q,
        trained_popularity_weight=items["trained_popularity_weight"][0].as_py(),
        trained_weight_is_known=items["trained_weight_is_known"][0].as_py(),
        bias=bias,
        factory=settings.index_factory,
        threads=settings.query_threads,
        extra={"model_version": items["model_version"][0].as_py()},
    )
    curve = measure_index(
        index,
        item_vectors,
        user_vectors,
        log_q=log_q,
        bias=bias,
        popularity_weights=KEY_WEIGHTS,
        depths=depths_to_try(index),
        stop_at_recall=settings.minimum_index_recall,
        k=min(WIDE_K, len(index)),
        threads=settings.query_threads,
    )
    depth = least_depth(curve, settings.minimum_index_recall)
    return (index if depth is None else index.at_depth(depth)), curve


def curve_rows(curve: list[IndexQuality], chosen_depth: int | None) -> list[dict[str, Any]]:
    """Rows of `ann_index_depths`, without day, versions and factory."""
    return [
        {
            "search_depth": quality.search_depth,
            "popularity_weight": quality.popularity_weight,
            "k": quality.k,
            "recall_at_k": quality.recall_at_k,
            "queries_per_second": quality.queries_per_second,
            "queries": quality.queries,
            "threads": quality.threads,
            "chosen": quality.search_depth == chosen_depth,
        }
        for quality in curve
    ]
