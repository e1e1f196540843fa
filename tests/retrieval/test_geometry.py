"""The layout of items and queries changes no score, and has the properties that make an index find them."""

import numpy as np
import pytest

from twotower_assets.retrieval.geometry import POPULARITY_SPREAD, Geometry, Items


@pytest.fixture(params=[True, False], ids=["distance", "inner product"])
def by_distance(request):
    return request.param


@pytest.fixture
def lay_out(catalogue, by_distance):
    def lay_out(**changes):
        parts = {
            "item_vectors": catalogue.vectors,
            "inverse_temperature": catalogue.inverse_temperature,
            "bias": catalogue.bias,
            "log_q": catalogue.log_q,
        }
        return Geometry.fit(Items.checked(**(parts | changes)), by_distance)

    return lay_out


def answered(stored, queries, by_distance):
    """What an exact FAISS index would answer for every item."""
    if by_distance:
        return ((queries[:, None, :] - stored[None, :, :]) ** 2).sum(axis=2)
    return queries @ stored.T


@pytest.mark.parametrize("weight", [-1.0, 0.0, 0.5])
def test_scores_come_back_as_they_were(lay_out, by_distance, catalogue, exact_scores, weight):
    geometry, stored = lay_out()
    weights = np.full(len(catalogue.users), weight, dtype=np.float32)
    queries = geometry.queries(catalogue.users, weights)
    found = geometry.scores(answered(stored, queries, by_distance), queries, weights)
    np.testing.assert_allclose(found, exact_scores(weights), atol=1e-4)


def test_stored_popularity_is_centred_uncorrelated_and_of_one_spread(lay_out, catalogue):
    learned = catalogue.bias + 0.8 * catalogue.log_q - 30.0
    _, stored = lay_out(bias=learned)
    bias, popularity = stored[:, 16].astype(np.float64), stored[:, 17].astype(np.float64)
    assert (bias.mean(), popularity.mean()) == (pytest.approx(0, abs=1e-5), pytest.approx(0, abs=1e-5))
    assert np.corrcoef(bias, popularity)[0, 1] == pytest.approx(0, abs=1e-4)
    assert np.sqrt(bias.var() + popularity.var()) == pytest.approx(POPULARITY_SPREAD, rel=1e-3)


def test_the_layout_does_not_depend_on_where_the_model_keeps_its_popularity(lay_out, catalogue):
    _, apart = lay_out()
    _, held = lay_out(bias=catalogue.bias + catalogue.log_q)
    np.testing.assert_allclose(held, apart, atol=1e-5)


def test_by_distance_all_items_have_one_length(lay_out, by_distance):
    geometry, stored = lay_out()
    squared = (stored.astype(np.float64) ** 2).sum(axis=1)
    if by_distance:
        np.testing.assert_allclose(squared, geometry.squared_length, rtol=1e-5)
    else:
        assert np.ptp(squared) > 0.1


@pytest.mark.parametrize("constant", [0.0, -3.0])
def test_items_that_are_all_as_popular_have_a_layout(lay_out, by_distance, catalogue, constant):
    geometry, stored = lay_out(bias=None, log_q=np.full(1500, constant))
    weights = np.ones(len(catalogue.users), dtype=np.float32)
    queries = geometry.queries(catalogue.users, weights)
    found = geometry.scores(answered(stored, queries, by_distance), queries, weights)
    exact = catalogue.inverse_temperature * catalogue.users @ catalogue.vectors.T + constant
    np.testing.assert_allclose(found, exact, atol=1e-4)
