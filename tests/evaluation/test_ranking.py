import numpy as np
import pytest

from twotower_assets.core.ragged import Ragged
from twotower_assets.evaluation.ranking import (
    exclude_seen,
    hit_rate_at_k,
    mrr_at_k,
    ndcg_at_k,
    recall_at_k,
    restrict,
    top_k,
)
from twotower_assets.evaluation.scores import inner_products, score_blocks, served_scores


def source(scores):
    return lambda rows: scores[rows]


def ids(*lists):
    return np.array(lists, dtype=np.int64)


class TestSets:
    def test_restricting_keeps_only_the_items_wanted(self):
        kept = restrict(Ragged.from_lists([[0, 1, 2], [2], []]), np.array([True, False, True]))
        assert [list(kept[row]) for row in range(3)] == [[0, 2], [2], []]

    def test_seen_items_are_taken_out_for_the_user_who_saw_them_only(self):
        left = exclude_seen(Ragged.from_lists([[0, 1], [0, 1]]), Ragged.from_lists([[1, 9], []]))
        assert [list(left[row]) for row in range(2)] == [[0], [0, 1]]
        with pytest.raises(ValueError, match="2 users"):
            exclude_seen(Ragged.from_lists([[0], [1]]), Ragged.from_lists([[0]]))


class TestTopK:
    def test_best_first_without_seen_items(self):
        scores = np.array([[0.1, 0.9, 0.5, 0.7], [4.0, 3.0, 2.0, 1.0]])
        seen = Ragged.from_lists([[1], []])
        assert top_k(source(scores), 2, seen, 2).tolist() == [[3, 2], [0, 1]]

    def test_equal_scores_go_by_position_even_across_the_cut(self):
        scores = np.array([[0.0, 1.0, 1.0, 1.0, 2.0, 1.0]] * 2, dtype=np.float32)
        seen = Ragged.from_lists([[], [2]])
        assert top_k(source(scores), 2, seen, 3).tolist() == [[4, 1, 2], [4, 1, 3]]

    def test_fewer_items_left_than_k_are_padded(self):
        scores = np.array([[1.0, 2.0, 3.0]])
        assert top_k(source(scores), 1, Ragged.from_lists([[2, 0]]), 2).tolist() == [[1, -1]]
        assert top_k(source(scores), 1, None, 5).tolist() == [[2, 1, 0, -1, -1]]

    @pytest.mark.parametrize("block_size", [1, 7, 1000])
    def test_agrees_with_a_full_sort_whatever_the_block(self, block_size):
        rng = np.random.default_rng(3)
        scores = rng.integers(0, 12, (50, 40)).astype(np.float32)  # many ties
        seen = Ragged.from_lists([rng.choice(40, 6, replace=False) for _ in range(50)])
        expected = []
        for user in range(50):
            allowed = [item for item in range(40) if item not in set(seen[user])]
            expected.append(sorted(allowed, key=lambda item: (-scores[user, item], item))[:10])
        assert top_k(source(scores), 50, seen, 10, block_size).tolist() == expected

    def test_the_source_keeps_its_scores(self):
        scores = np.array([[1.0, 2.0]])
        top_k(source(scores), 1, Ragged.from_lists([[1]]), 1)
        assert scores.tolist() == [[1.0, 2.0]]

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_a_score_that_is_not_finite_is_named(self, bad):
        scores = np.zeros((5, 4))
        scores[3, 2] = bad
        with pytest.raises(ValueError, match="user row 3 and item 2"):
            top_k(source(scores), 5, None, 2)

    def test_seen_items_beyond_the_catalogue_are_refused(self):
        with pytest.raises(ValueError, match="position 9"):
            top_k(source(np.zeros((1, 4))), 1, Ragged.from_lists([[9]]), 2)

    def test_seen_items_of_other_users_are_refused(self):
        with pytest.raises(ValueError, match="seen has 1 users"):
            top_k(source(np.zeros((2, 4))), 2, Ragged.from_lists([[1]]), 2)

    def test_a_list_must_have_a_length(self):
        with pytest.raises(ValueError, match="k must be"):
            top_k(source(np.zeros((1, 4))), 1, None, 0)


class TestScores:
    @pytest.mark.parametrize("decimals", [6, 1, 0], ids=["distinct", "with ties", "mostly ties"])
    @pytest.mark.parametrize("n_items", [1_000, 4_001])
    def test_lists_of_a_wide_catalogue_are_those_of_a_full_sort(self, n_items, decimals):
        rng = np.random.default_rng(3)
        scores = rng.normal(size=(12, n_items)).round(decimals)
        by_score = np.argsort(-scores, axis=1, kind="stable")
        seen = [by_score[row, : 30 * row] for row in range(12)]  # the best are seen, up to 330 of them
        seen[3] = rng.permutation(n_items)[:-7]
        expected = [[item for item in by_score[row] if item not in set(seen[row])][:20] for row in range(12)]
        lists = top_k(source(scores), 12, Ragged.from_lists(seen), k=20)
        assert lists.tolist() == [each + [-1] * (20 - len(each)) for each in expected]

    def test_a_wide_catalogue_is_walked_in_smaller_blocks(self, monkeypatch):
        monkeypatch.setattr("twotower_assets.evaluation.scores.MAX_SCORES_PER_BLOCK", 20)
        blocks = [len(rows) for rows, _ in score_blocks(source(np.zeros((8, 6))), np.arange(8))]
        assert blocks == [1, 3, 3, 1]

    def test_scores_of_the_wrong_shape_are_refused(self):
        with pytest.raises(ValueError, match="shape"):
            list(score_blocks(lambda rows: np.zeros((len(rows) + 1, 3)), np.arange(4)))
        with pytest.raises(ValueError, match="shape"):
            list(score_blocks(lambda rows: np.zeros((len(rows), 3 + int(rows[0]))), np.arange(4), 2))

    def test_a_block_holds_at_least_one_user(self):
        with pytest.raises(ValueError, match="block_size"):
            list(score_blocks(source(np.zeros((1, 2))), np.arange(1), 0))

    def test_whole_numbers_may_be_scores(self):
        assert top_k(source(np.array([[1, 5, 3]])), 1, None, 3).tolist() == [[1, 2, 0]]

    def test_inner_products_are_divided_by_the_temperature(self):
        users, items = np.array([[1.0, 0.0], [0.6, 0.8]]), np.array([[0.0, 1.0], [1.0, 0.0], [0.8, 0.6]])
        scores = inner_products(users, items, inverse_temperature=5.0)(np.array([1]))
        np.testing.assert_allclose(scores, [[4.0, 3.0, 4.8]])

    def test_a_bias_is_added_after_the_temperature_and_keeps_the_type(self):
        users, items = np.array([[1.0, 0.0], [0.6, 0.8]]), np.array([[0.0, 1.0], [1.0, 0.0], [0.8, 0.6]])
        scores = inner_products(users, items, 5.0, np.array([0.5, -1.0, 0.0]))(np.array([0, 1]))
        np.testing.assert_allclose(scores, [[0.5, 4.0, 4.0], [4.5, 2.0, 4.8]])
        narrow = inner_products(users.astype(np.float32), items.astype(np.float32), 5.0, np.zeros(3))
        assert narrow(np.array([0])).dtype == np.float32

    @pytest.mark.parametrize("bias", [np.zeros(2), np.zeros((3, 1)), np.array([0.0, np.nan, 1.0])])
    def test_a_bias_must_be_one_finite_number_per_item(self, bias):
        with pytest.raises(ValueError, match="each of the 3 items"):
            inner_products(np.zeros((1, 2)), np.zeros((3, 2)), 1.0, bias)

    def test_popularity_is_added_by_weight(self):
        served = served_scores(source(np.array([[1.0, 2.0]])), np.array([-1.0, -4.0]), 0.75, 0.25)
        assert served(np.array([0])).tolist() == [[0.5, 0.0]]

    def test_popularity_must_be_finite_and_of_every_item(self):
        with pytest.raises(ValueError, match="finite"):
            served_scores(source(np.zeros((1, 2))), np.array([0.0, -np.inf]), 1.0, 0.0)
        with pytest.raises(ValueError, match="3 items"):
            served_scores(source(np.zeros((1, 2))), np.zeros(3), 1.0, 0.0)(np.array([0]))


class TestMetrics:
    lists = ids([3, 1, 2, 0], [0, 1, 2, 3], [0, 1, 2, 3], [1, -1, -1, -1])
    relevant = Ragged.from_lists([[1, 2, 9], [3], [], [1]])

    def test_recall_is_hits_over_all_relevant(self):
        np.testing.assert_allclose(recall_at_k(self.lists, self.relevant, 2), [1 / 3, 0, np.nan, 1])
        np.testing.assert_allclose(recall_at_k(self.lists, self.relevant, 4), [2 / 3, 1, np.nan, 1])

    def test_ndcg_against_numbers_worked_by_hand(self):
        # User 0 at 3: hits at ranks 2 and 3, three relevant: (1/log₂3 + 1/2) / (1 + 1/log₂3 + 1/2)
        second = 1 / np.log2(3)
        expected = [(second + 0.5) / (1 + second + 0.5), 0, np.nan, 1]
        np.testing.assert_allclose(ndcg_at_k(self.lists, self.relevant, 3), expected)
        # At 2 the ideal list holds two hits, though three items are relevant.
        np.testing.assert_allclose(ndcg_at_k(self.lists, self.relevant, 2)[0], second / (1 + second))

    def test_mrr_is_one_over_the_rank_of_the_first_hit(self):
        np.testing.assert_allclose(mrr_at_k(self.lists, self.relevant, 3), [1 / 2, 0, np.nan, 1])
        np.testing.assert_allclose(mrr_at_k(self.lists, self.relevant, 4), [1 / 2, 1 / 4, np.nan, 1])

    def test_hit_rate_asks_for_one_hit(self):
        np.testing.assert_allclose(hit_rate_at_k(self.lists, self.relevant, 2), [1, 0, np.nan, 1])

    @pytest.mark.parametrize("metric", [recall_at_k, ndcg_at_k, mrr_at_k, hit_rate_at_k])
    def test_lists_too_short_or_of_other_users_are_refused(self, metric):
        with pytest.raises(ValueError, match="first 5"):
            metric(self.lists, self.relevant, 5)
        with pytest.raises(ValueError, match="shape"):
            metric(self.lists[:2], self.relevant, 2)
