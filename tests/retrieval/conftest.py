from types import SimpleNamespace

import numpy as np
import pytest

from twotower_assets.retrieval.index import build_index

FACTORIES = ["Flat", "HNSW32", "IVF16,Flat"]


@pytest.fixture(scope="session")
def catalogue():
    """1,500 clustered items of very unequal popularity and 200 users, with everything that makes a score."""
    rng = np.random.default_rng(11)
    centres = rng.normal(size=(20, 16))

    def vectors(n):
        v = centres[rng.integers(0, 20, n)] + rng.normal(size=(n, 16))
        return (v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float32)

    counts = rng.zipf(1.4, 1500).clip(max=10_000)
    return SimpleNamespace(
        ids=[f"item-{i}" for i in range(1500)],
        vectors=vectors(1500),
        users=vectors(200),
        log_q=np.log(counts / counts.sum()).astype(np.float32),
        bias=rng.normal(0, 0.3, 1500).astype(np.float32),
        inverse_temperature=10.0,
    )


@pytest.fixture(scope="session")
def build(catalogue):
    def build(factory="Flat", **changes):
        arguments = {
            "item_ids": catalogue.ids,
            "item_vectors": catalogue.vectors,
            "inverse_temperature": catalogue.inverse_temperature,
            "log_q": catalogue.log_q,
            "trained_popularity_weight": 0.0,
            "bias": catalogue.bias,
            "factory": factory,
            "threads": 1,
        }
        return build_index(**(arguments | changes))

    return build


@pytest.fixture(scope="session", params=FACTORIES)
def factory(request):
    return request.param


@pytest.fixture(scope="session")
def index(factory, build):
    return build(factory)


@pytest.fixture(scope="session")
def exact_scores(catalogue):
    """s + b + w·log q in float64 for a weight per user, [users, items]."""

    def scores(weights):
        s = catalogue.inverse_temperature * catalogue.users.astype(np.float64) @ catalogue.vectors.T
        return s + catalogue.bias + np.asarray(weights)[:, None] * catalogue.log_q

    return scores
