from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.two_tower.data.training_set import TrainingSet, build_training_set
from twotower_assets.two_tower.sampling.batch_problem import REASONS, MaskCounts, SparseRows
from twotower_assets.two_tower.sampling.masks import find_masks
from twotower_assets.two_tower.sampling.negatives import Batch, Candidates

NO_USERS = pa.table({"user_id": pa.array([], pa.string())})
ROWS = np.arange(5)


@pytest.fixture
def data() -> TrainingSet:
    """Items numbered by clicks: a = 1 (twice), then b = 2, c = 3, d = 4; e = 5 is in the catalogue only."""
    pairs = pa.table(
        {
            "user_id": ["u", "v", "u", "w", "v"],
            "item_id": ["a", "a", "b", "c", "d"],
            "request_id": ["r", None, "s", "r", None],
            "history": pa.array([[]] * 5, pa.list_(pa.string())),
        }
    )
    return build_training_set(pairs, pa.table({"item_id": list("abcde")}), NO_USERS, TrainingConfig())


class Masks:
    """The masks of a configuration, and what they counted."""

    def __init__(self, *names: str) -> None:
        self.names, self.counts = names, MaskCounts()

    def shared(
        self, batch: Batch, items: np.ndarray, in_batch: int = 0, counts: list[int] | None = None
    ) -> list[list[bool]]:
        """Which shared candidates are masked; the first `in_batch` are positives."""
        ones, positive_count = np.ones_like(items), (np.arange(len(items)) < in_batch).astype(np.int64)
        request = np.full(len(items), -1)
        request[:in_batch] = batch.data.request[batch.rows][:in_batch]
        count = ones if counts is None else np.array(counts)
        candidates = Candidates(items, count, positive_count * count, request)
        masks = find_masks(self.names, batch, candidates, np.zeros((len(batch), 0), np.int64))
        self.counts.add(masks.counts)
        found = dense(masks.columns, len(items))
        assert masks.unmasked.tolist() == (~found @ count).tolist()
        return found.tolist()

    def per_row(self, batch: Batch, items: np.ndarray) -> list[list[bool]]:
        """Which per-row candidates are masked."""
        none = np.zeros(0, np.int64)
        masks = find_masks(self.names, batch, Candidates(none, none, none, none), items)
        self.counts.add(masks.counts)
        return masks.row_negatives.tolist()


def dense(rows: SparseRows, columns: int) -> np.ndarray:
    """Whether each column of a row is there, bool [B, S]; each is there once at most."""
    found = np.zeros((len(rows.offsets) - 1, columns), np.int64)
    np.add.at(found, (np.repeat(np.arange(len(found)), np.diff(rows.offsets)), rows.columns), 1)
    assert found.max(initial=0) <= 1
    return found == 1


def table(*rows: str) -> list[list[bool]]:
    return [[mark == "x" for mark in row] for row in rows]


def test_a_rows_positive_and_other_pairs_of_its_item_are_masked(data: TrainingSet) -> None:
    found = Masks().shared(Batch(data, ROWS), data.item, in_batch=5)
    assert found == table("xx...", "xx...", "..x..", "...x.", "....x")


def test_items_that_the_user_clicked_in_the_training_pairs_are_masked(data: TrainingSet) -> None:
    found = Masks("clicked").shared(Batch(data, ROWS), data.item, in_batch=5)
    assert found == table("xxx..", "xx..x", "xxx..", "...x.", "xx..x")
    only_first = np.array([0, 3])
    found = Masks("clicked").shared(Batch(data, only_first), np.array([1, 2, 3, 4, 5]))
    assert found == table("xx...", "..x..")


def test_clicks_of_the_same_request_are_masked(data: TrainingSet) -> None:
    found = Masks("same_request").shared(Batch(data, ROWS), data.item, in_batch=5)
    assert found == table("xx.x.", "xx...", "..x..", "x..x.", "....x")
    shared = Masks("same_request").shared(Batch(data, ROWS), np.array([1, 2, 3, 4]))
    assert shared == table("x...", "x...", ".x..", "..x.", "...x"), "drawn items belong to no request"


def test_per_row_candidates_are_masked_and_so_is_index_0(data: TrainingSet) -> None:
    items = np.array([[1, 2, 0], [4, 0, 5], [2, 1, 3], [3, 3, 4], [1, 2, 4]])
    assert Masks().per_row(Batch(data, ROWS), items) == table("x.x", ".x.", "x..", "xx.", "..x")
    found = Masks("clicked").per_row(Batch(data, ROWS), items)
    assert found == table("xxx", "xx.", "xx.", "xx.", "x.x")


def test_each_masked_candidate_is_counted_once_for_the_first_mask_that_removes_it(data: TrainingSet) -> None:
    masks = Masks("clicked", "same_request")
    masks.shared(Batch(data, ROWS), data.item, in_batch=5)
    counts = masks.counts
    assert counts.masked == {"accidental_hit": 2, "clicked": 6, "same_request": 2, "positive_aware": 0}
    assert counts.rows == 5
    assert counts.unmasked == 25 - 5 - 10
    assert counts.negatives_per_positive == pytest.approx(10 / 5)
    assert counts.masked_per_positive["clicked"] == 6 / 5


def test_a_column_that_stands_for_several_candidates_counts_as_several(data: TrainingSet) -> None:
    masks = Masks("clicked")
    batch = Batch(data, np.array([0, 1, 3]))  # a, a and c; b was drawn four times
    assert masks.shared(batch, np.array([1, 3, 2]), in_batch=2, counts=[2, 1, 4]) == table("x.x", "x..", ".x.")
    assert masks.counts.masked == {"accidental_hit": 2, "clicked": 4, "same_request": 0, "positive_aware": 0}
    assert masks.counts.unmasked == 1 + 5 + 6


def test_distinct_items_of_distinct_users_keep_all_other_negatives_of_the_batch() -> None:
    pairs = pa.table(
        {
            "user_id": [f"u{row}" for row in range(512)],
            "item_id": [f"i{row}" for row in range(512)],
            "history": pa.array([[]] * 512, pa.list_(pa.string())),
        }
    )
    data = build_training_set(pairs, pa.table({"item_id": ["i0"]}), NO_USERS, TrainingConfig())
    masks = Masks("clicked")
    masks.shared(Batch(data, np.arange(512)), data.item, in_batch=512)
    assert masks.counts.negatives_per_positive == 511


@pytest.mark.parametrize("masks", [(), ("clicked",), ("same_request",), ("clicked", "same_request")])
def test_the_masked_columns_are_those_that_the_definitions_name(masks: tuple[str, ...]) -> None:
    random = np.random.default_rng(5)
    pairs = pa.table(
        {
            "user_id": random.integers(12, size=400).astype(str),
            "item_id": random.integers(60, size=400).astype(str),
            "request_id": random.integers(90, size=400).astype(str),
            "history": pa.array([[]] * 400, pa.list_(pa.string())),
        }
    )
    data = build_training_set(pairs, pa.table({"item_id": ["0"]}), NO_USERS, TrainingConfig())
    batch = Batch(data, random.choice(400, 50, replace=False))
    items = np.concatenate([batch.item, random.integers(len(data.item_counts), size=70)])  # some twice, some nothing
    request = np.concatenate([data.request[batch.rows], np.full(70, -1)])
    count = random.integers(1, 4, size=len(items))
    candidates = Candidates(items, count, np.where(request >= 0, count, 0), request)
    found = find_masks(masks, batch, candidates, np.zeros((50, 0), np.int64))
    masked = dense(found.columns, len(items))
    expected = dict.fromkeys(REASONS, 0)
    for row in range(50):
        user, item = batch.user[row], batch.item[row]
        hit = (items == item) | (items == 0)
        clicked = np.isin(items, data.item[data.user == user]) & ("clicked" in masks)
        together = (request >= 0) & (request == data.request[batch.rows[row]]) & ("same_request" in masks)
        assert (masked[row] == (hit | clicked | together)).all()
        assert found.unmasked[row] == count[~(hit | clicked | together)].sum()
        expected["accidental_hit"] += count[items == item].sum() - 1  # its own positive is not an accidental hit
        expected["clicked"] += count[clicked & ~hit].sum()
        expected["same_request"] += count[together & ~clicked & ~hit].sum()
    assert found.counts.masked == expected
    assert found.counts.unmasked == found.unmasked.sum()


def test_a_batch_of_one_keeps_no_negatives(data: TrainingSet) -> None:
    masks = Masks("clicked", "same_request")
    assert masks.shared(Batch(data, np.array([3])), np.array([3]), in_batch=1) == [[True]]
    assert masks.shared(Batch(data, np.array([3])), np.zeros(0, np.int64)) == [[]]
    assert masks.per_row(Batch(data, np.array([3])), np.zeros((1, 0), np.int64)) == [[]]
    assert sum(masks.counts.masked.values()) == 0
