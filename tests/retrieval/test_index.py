"""The suite that every index type runs through, and the guards of building."""

import subprocess
import sys
from dataclasses import replace

import faiss
import numpy as np
import pytest

from twotower_assets.retrieval import index as index_module
from twotower_assets.retrieval.index import (
    HNSW_DEPTHS,
    ItemIndexError,
    build_index,
    default_factory,
    depths_to_try,
    faiss_threads,
    inverted_file_depths,
)

LEAST_RECALL = {"Flat": 1.0, "HNSW32": 0.95, "IVF16,Flat": 0.85}


def recall(found, scores, k):
    best = np.argsort(-scores, axis=1)[:, :k]
    return np.mean([len(set(a) & set(b)) / k for a, b in zip(found, best, strict=True)])


class TestEveryIndex:
    def test_lists_have_the_shape_asked_for(self, index, catalogue):
        scores, positions = index.search(catalogue.users, 7)
        assert (scores.shape, scores.dtype) == ((200, 7), np.float32)
        assert (positions.shape, positions.dtype) == ((200, 7), np.int64)
        assert (np.diff(scores, axis=1) <= 1e-4).all()
        assert all(len(set(row)) == 7 for row in positions.tolist())

    @pytest.mark.parametrize(("trained", "gamma"), [(1.0, 0.0), (0.0, 0.0), (0.0, 0.5), (0.5, 1.0), (0.0, 1.0)])
    def test_it_finds_the_best_by_brute_force_at_every_weight(
        self, index, factory, catalogue, exact_scores, trained, gamma
    ):
        scores, positions = replace(index, trained_popularity_weight=trained).search(catalogue.users, 50, gamma)
        exact = exact_scores(np.full(200, gamma - trained))
        np.testing.assert_allclose(scores, np.take_along_axis(exact, positions, axis=1), atol=1e-4)
        assert recall(positions, exact, 50) >= LEAST_RECALL[factory]

    @pytest.mark.parametrize("trained", [0.0, 0.25, 1.0])
    def test_without_a_weight_the_score_is_the_trained_one(self, index, catalogue, trained):
        index = replace(index, trained_popularity_weight=trained)
        plain, at_trained = index.search(catalogue.users, 20), index.search(catalogue.users, 20, trained)
        assert all(np.array_equal(a, b) for a, b in zip(plain, at_trained, strict=True))

    def test_each_query_has_its_own_weight(self, index, factory, catalogue, exact_scores):
        gammas = np.linspace(0, 1, 200)
        scores, positions = replace(index, trained_popularity_weight=0.5).search(catalogue.users, 20, gammas)
        exact = exact_scores(gammas - 0.5)
        np.testing.assert_allclose(scores, np.take_along_axis(exact, positions, axis=1), atol=1e-4)
        assert recall(positions, exact, 20) >= LEAST_RECALL[factory]

    def test_the_weight_changes_what_is_found(self, index, catalogue):
        popularity = [
            catalogue.log_q[
                replace(index, trained_popularity_weight=trained).search(catalogue.users, 20, gamma)[1]
            ].mean()
            for trained, gamma in ((1.0, 0.0), (0.0, 0.0), (0.0, 1.0))
        ]
        assert popularity[0] + 0.5 < popularity[1] < popularity[2] - 0.5

    def test_the_same_seed_gives_the_same_index(self, factory, build):
        first, second = (faiss.serialize_index(build(factory, seed=3).faiss_index) for _ in range(2))
        assert np.array_equal(first, second)
        if factory != "Flat":
            other = faiss.serialize_index(build(factory, seed=4).faiss_index)
            assert not np.array_equal(first, other)

    def test_more_than_there_is_gets_padded(self, factory, build, catalogue):
        few = build(
            "IVF2,Flat" if factory.startswith("IVF") else factory,
            item_ids=catalogue.ids[:5],
            item_vectors=catalogue.vectors[:5],
            log_q=catalogue.log_q[:5],
            bias=None,
        )
        scores, positions = few.search(catalogue.users[:3], 8, 1.0)
        assert np.sort(positions, axis=1).tolist() == [[-1, -1, -1, 0, 1, 2, 3, 4]] * 3
        assert np.isneginf(scores[:, 5:]).all()
        assert np.isfinite(scores[:, :5]).all()

    def test_what_few_lists_cannot_fill_is_padded(self, build, catalogue):
        scores, positions = build("IVF64,Flat", search_depth=1).search(catalogue.users, 200, 0.5)
        assert (positions == -1).any()
        assert np.array_equal(positions == -1, np.isneginf(scores))

    def test_no_users_give_no_lists(self, index):
        scores, positions = index.search(np.empty((0, 16), dtype=np.float32), 4)
        assert scores.shape == positions.shape == (0, 4)

    def test_similar_items_go_by_cosine_without_the_item_itself(self, index, catalogue):
        cosine = catalogue.vectors @ catalogue.vectors[42]
        cosine[42] = -np.inf
        scores, positions = index.similar_items(42, 10)
        assert positions.tolist() == np.argsort(-cosine)[:10].tolist()
        np.testing.assert_allclose(scores, np.sort(cosine)[::-1][:10], atol=1e-5)

    def test_similar_items_of_a_new_vector(self, index, catalogue):
        _, positions = index.similar_items(catalogue.users[3], 5)
        assert positions.tolist() == np.argsort(-(catalogue.vectors @ catalogue.users[3]))[:5].tolist()

    def test_item_vectors_come_back(self, index, catalogue):
        np.testing.assert_allclose(index.item_vector(17), catalogue.vectors[17], atol=1e-6)

    @pytest.mark.parametrize(
        ("users", "k", "weight"),
        [
            (np.ones((2, 15)), 3, 0.0),
            (np.ones(16), 3, 0.0),
            (np.full((2, 16), np.nan), 3, 0.0),
            (np.ones((2, 16)), 0, 0.0),
            (np.ones((2, 16)), 3, np.ones(3)),
            (np.ones((2, 16)), 3, np.nan),
            (np.ones((2, 16)), 3, [0.5, np.nan]),
            (np.ones((2, 16)), 3, np.inf),
            (np.ones((2, 16)), 3, -0.5),
            (np.ones((2, 16)), 3, 1.5),
            (np.ones((2, 16)), 3, "0.5"),
        ],
    )
    def test_a_query_that_does_not_fit_is_refused(self, index, users, k, weight):
        with pytest.raises(ItemIndexError):
            index.search(users, k, weight)


class TestBuilding:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"item_ids": []}, "0 item ids for 1500"),
            ({"item_ids": ["same"] * 1500}, "'same' occurs more than once; 1499"),
            ({"item_ids": list(range(1500))}, "must be strings"),
            ({"item_vectors": np.empty((0, 16)), "item_ids": [], "log_q": np.empty(0)}, "at least 1"),
            ({"item_vectors": np.ones(1500)}, "shape"),
            ({"item_vectors": np.full((1500, 16), np.nan)}, "item_vectors holds NaN"),
            ({"log_q": np.full(1500, -np.inf)}, "log_q holds NaN or infinity"),
            ({"log_q": np.zeros(1499)}, "log_q must have shape"),
            ({"bias": np.zeros((1500, 1))}, "bias must have shape"),
            ({"bias": np.full(1500, np.inf)}, "bias holds"),
            ({"inverse_temperature": 0.0}, "inverse_temperature"),
            ({"inverse_temperature": np.nan}, "inverse_temperature"),
            ({"trained_popularity_weight": np.nan}, "trained_popularity_weight"),
            ({"factory": "NoSuchIndex"}, "could not parse index string NoSuchIndex"),
            ({"factory": "IVF2000,Flat"}, "cannot build 'IVF2000,Flat' over 1,500"),
            ({"factory": "IVF4,PQ7"}, "multiple of"),
            ({"search_depth": 0}, "search_depth"),
            ({"threads": 0}, "threads"),
        ],
    )
    def test_what_cannot_be_indexed_is_refused(self, build, changes, message):
        with pytest.raises(ItemIndexError, match=message):
            build(**changes)

    @pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
    def test_a_score_beyond_float32_is_refused(self, build):
        with pytest.raises(ItemIndexError, match="too large for float32"):
            build(inverse_temperature=1e39)

    def test_the_type_follows_the_size(self, monkeypatch, catalogue):
        assert [default_factory(n) for n in (1, 50_000, 50_001)] == ["Flat", "Flat", "IVF894,Flat"]
        assert default_factory(4_000_000) == "IVF8000,Flat"
        monkeypatch.setattr(index_module, "FLAT_UP_TO", 100)
        built = build_index(
            catalogue.ids,
            catalogue.vectors,
            inverse_temperature=1.0,
            log_q=catalogue.log_q,
            trained_popularity_weight=0.0,
            threads=1,
        )
        assert built.factory == "IVF155,Flat"

    @pytest.mark.parametrize("far", ["log_q", "bias"])
    def test_centring_keeps_a_graph_navigable_where_popularity_is_served(self, build, catalogue, exact_scores, far):
        # Far below zero, as log q is in a large catalogue, and a bias that starts there.
        graph = build("HNSW8", search_depth=64, **{far: getattr(catalogue, far) - 40.0})
        _, positions = graph.search(catalogue.users, 50, 1.0)
        assert recall(positions, exact_scores(np.ones(200)), 50) > 0.95

    def test_depth_buys_recall(self, build, catalogue, exact_scores):
        exact = exact_scores(np.ones(200))
        found = [
            recall(build("IVF64,Flat", search_depth=depth).search(catalogue.users, 50, 1.0)[1], exact, 50)
            for depth in (1, 64)
        ]
        assert found[0] < 0.9
        assert found[1] == 1.0

    def test_depths_to_try_ascend_to_every_list(self, build):
        assert depths_to_try(build("Flat")) == ()
        assert depths_to_try(build("HNSW32")) == HNSW_DEPTHS
        assert depths_to_try(build("IVF50,Flat")) == (4, 6, 8, 12, 16, 24, 32, 48, 50)
        assert [inverted_file_depths(lists)[-1] for lists in (1, 4, 64)] == [1, 4, 64]

    def test_an_index_set_to_another_depth_finds_what_one_built_at_that_depth_finds(self, build, catalogue):
        deeper = build("IVF64,Flat", search_depth=1).at_depth(16)
        assert deeper.search_depth == 16
        there = build("IVF64,Flat", search_depth=16)
        assert np.array_equal(deeper.search(catalogue.users, 50, 1.0)[1], there.search(catalogue.users, 50, 1.0)[1])

    def test_a_search_runs_on_the_threads_asked_for_and_sets_them_back(self, build, catalogue, monkeypatch):
        built, before, used = build(), faiss.omp_get_max_threads(), []
        search = built.faiss_index.search

        def watched(queries, k):
            used.append(faiss.omp_get_max_threads())
            return search(queries, k)

        monkeypatch.setattr(built.faiss_index, "search", watched)
        for threads in (before + 1, None):
            built.search(catalogue.users, 5, threads=threads)
        assert used == [before + 1, before]
        assert faiss.omp_get_max_threads() == before

    def test_the_depth_in_force_is_told(self, build):
        depths = [build(factory).search_depth for factory in ("Flat", "HNSW32", "IVF16,Flat", "PCA8,IVF128,Flat")]
        assert depths == [None, 256, 8, 16]

    def test_threads_are_set_back_after_building(self, build):
        before = faiss.omp_get_max_threads()
        build(threads=before + 1)
        assert faiss.omp_get_max_threads() == before
        with faiss_threads(1) as used:
            assert used == faiss.omp_get_max_threads() == 1

    def test_a_seed_reaches_the_index_behind_a_rotation(self, build):
        first, other = (faiss.serialize_index(build("PCA8,IVF16,Flat", seed=seed).faiss_index) for seed in (1, 2))
        assert not np.array_equal(first, other)

    def test_an_index_that_keeps_no_vectors_says_so(self, build, monkeypatch):
        built = build()

        class Forgetful:
            def reconstruct(self, position):
                raise RuntimeError

        monkeypatch.setattr(type(built), "faiss_index", Forgetful(), raising=False)
        with pytest.raises(ItemIndexError, match="cannot return its vectors"):
            built.similar_items(3, 2)

    def test_an_item_is_found_by_its_id(self, build):
        assert build().position_of("item-7") == 7
        with pytest.raises(ItemIndexError, match="'item-x' is not among the 1,500"):
            build().position_of("item-x")
        with pytest.raises(ItemIndexError, match="position 1500"):
            build().similar_items(1500, 2)


def test_importing_the_module_does_not_import_faiss():
    modules = "index", "quality", "storage"
    lines = [f"import twotower_assets.retrieval.{name}" for name in modules]
    code = "; ".join([*lines, "import sys", "sys.exit('faiss' in sys.modules)"])
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
