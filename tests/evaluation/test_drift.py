"""Comparing the vectors of two versions: what no rotation changes, what moved, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ortho_group

from twotower_assets.evaluation import drift as drift_module
from twotower_assets.evaluation.drift import drift


def vectors(seed: int, n: int = 60, d: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def test_a_space_that_was_only_turned_and_stretched_did_not_drift() -> None:
    before = vectors(1)
    rotation = ortho_group.rvs(8, random_state=2).astype(np.float32)
    stretch = np.random.default_rng(3).uniform(0.5, 2, size=(60, 1)).astype(np.float32)
    found = drift(before, before @ rotation * stretch)
    assert found.cosine == pytest.approx(np.ones(60), abs=1e-5)
    assert found.neighbours_kept == pytest.approx(np.ones(60))
    unaligned = np.einsum("nd,nd->n", before, before @ rotation) / np.linalg.norm(before, axis=1) ** 2
    assert unaligned.mean() < 0.7  # so the alignment is what made them equal


def test_one_item_that_moved_is_the_one_that_is_found() -> None:
    before = vectors(1, 200)
    after = before @ ortho_group.rvs(8, random_state=2).astype(np.float32)
    after[7] = -after[7]
    found = drift(before, after)
    assert found.cosine.argmin() == 7
    assert found.cosine[7] < -0.9
    assert np.delete(found.cosine, 7).min() > 0.99
    assert found.neighbours_kept.argmin() == 7


def test_versions_that_have_nothing_in_common_keep_few_neighbours() -> None:
    found = drift(vectors(1, 400), vectors(2, 400))
    assert found.neighbours_kept.mean() == pytest.approx(20 / 399, abs=0.02)
    assert abs(found.cosine.mean()) < 0.3


def test_neighbours_are_those_of_a_search_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift_module, "ROWS_AT_ONCE", 7)
    before, after = vectors(1), vectors(1) + 0.4 * vectors(2)
    found = drift(before, after, neighbours=5)

    def near(space: np.ndarray, item: int) -> set[int]:
        unit = space / np.linalg.norm(space, axis=1, keepdims=True)
        return set([int(other) for other in np.argsort(-(unit @ unit[item])) if other != item][:5])

    expected = [len(near(before, item) & near(after, item)) / 5 for item in range(60)]
    assert found.neighbours_kept == pytest.approx(expected)
    assert 0 < np.mean(expected) < 1


def test_versions_of_other_dimensions_are_compared() -> None:
    before = vectors(1)
    after = np.hstack([before, np.zeros((60, 4), np.float32)]) @ ortho_group.rvs(12, random_state=2)
    assert drift(before, after.astype(np.float32)).cosine == pytest.approx(np.ones(60), abs=1e-5)


def test_fewer_items_than_neighbours_keep_all_of_the_others() -> None:
    assert drift(vectors(1, 3), vectors(2, 3)).neighbours_kept.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (vectors(1, 3), vectors(1, 4), "row for each"),
        (vectors(1, 1), vectors(1, 1), "at least 2 items"),
        (vectors(1)[0], vectors(1)[0], "matrices"),
        (vectors(1), np.zeros((60, 8), np.float32), "a vector is 0"),
        (vectors(1), np.full((60, 8), np.nan, np.float32), "NaN"),
    ],
)
def test_what_cannot_be_compared_is_refused(before: np.ndarray, after: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        drift(before, after)


def test_no_neighbours_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        drift(vectors(1), vectors(2), neighbours=0)
