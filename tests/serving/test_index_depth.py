"""A day's index is searched as deep as the gate's recall requires."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from twotower_assets.core.popularity import KEY_WEIGHTS
from twotower_assets.serving.index_depth import curve_rows, measured_index
from twotower_assets.settings import Settings


@pytest.fixture
def vectors() -> dict[str, Any]:
    """4,000 items and 300 users, with the columns of `item_embeddings` that an index is built from."""
    rng = np.random.default_rng(5)

    def unit(n: int) -> np.ndarray:
        drawn = rng.standard_normal((n, 16)).astype(np.float32)
        return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)

    log_q = np.log(rng.permutation(1 / np.arange(1, 4001)) / 8.87).astype(np.float32)
    columns = {
        "item_id": [f"i{position}" for position in range(4000)],
        "log_q": pa.array(log_q),
        "bias": pa.array(log_q + rng.normal(0, 0.2, 4000).astype(np.float32)),
        "inverse_temperature": pa.array([5.0] * 4000, pa.float32()),
        "trained_popularity_weight": pa.array([1.0] * 4000, pa.float32()),
        "trained_weight_is_known": [True] * 4000,
        "model_version": ["m"] * 4000,
    }
    return {"items": pa.table(columns), "item_vectors": unit(4000), "user_vectors": unit(300)}


@pytest.mark.parametrize("floor", [0.6, 0.95])
def test_the_least_depth_that_passes_the_gate_is_chosen_and_stored_with_the_index(
    vectors: dict[str, Any], floor: float
) -> None:
    settings = Settings(index_factory="IVF64,Flat", minimum_index_recall=floor, threads=1)
    index, curve = measured_index(**vectors, settings=settings)
    rows = curve_rows(curve, index.search_depth)
    lowest = {
        depth: min(row["recall_at_k"] for row in rows if row["search_depth"] == depth)
        for depth in {row["search_depth"] for row in rows}
    }
    assert index.search_depth == min(depth for depth, recall in lowest.items() if recall >= floor)
    assert min(lowest.values()) < floor
    assert sorted(row["popularity_weight"] for row in rows if row["chosen"]) == sorted(KEY_WEIGHTS)
    assert {row["search_depth"] for row in rows if row["chosen"]} == {index.search_depth}
    assert (index.extra["model_version"], index.trained_popularity_weight) == ("m", 1.0)


def test_a_small_catalogue_has_an_exact_index_and_one_point_per_weight(vectors: dict[str, Any]) -> None:
    index, curve = measured_index(**vectors, settings=Settings(threads=1))
    rows = curve_rows(curve, index.search_depth)
    assert index.factory == "Flat"
    assert [(row["search_depth"], row["chosen"], row["recall_at_k"]) for row in rows] == [(None, True, 1.0)] * 3
