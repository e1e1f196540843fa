import numpy as np
import pytest

from twotower_assets.core.ragged import Ragged
from twotower_assets.evaluation.segment_pmi import (
    segment_item_counts,
    segment_mean_scores,
    segment_pmi_correlation,
)


def test_pmi_plus_a_constant_per_segment_correlates_perfectly():
    counts = np.array([[40, 20, 60, 3], [80, 30, 25, 50]])
    joint = counts / counts.sum()
    pmi = np.log(joint / joint.sum(axis=1, keepdims=True) / joint.sum(axis=0))
    result = segment_pmi_correlation(pmi + np.array([[100.0], [-7.0]]), counts)
    assert result.correlation == pytest.approx(1)
    assert (result.cells, result.segments) == (7, 2)
    assert segment_pmi_correlation(-2 * pmi, counts).correlation == pytest.approx(-1)


def test_cells_with_few_clicks_do_not_count():
    counts = np.array([[40, 20, 60, 3], [80, 30, 25, 19]])
    scores = np.random.default_rng(0).normal(size=(2, 4))
    wild = scores.copy()
    wild[:, 3] = 1e6
    assert segment_pmi_correlation(wild, counts) == segment_pmi_correlation(scores, counts)


def test_too_little_to_correlate_gives_nan():
    assert np.isnan(segment_pmi_correlation(np.ones((1, 2)), np.full((1, 2), 30)).correlation)
    assert np.isnan(segment_pmi_correlation(np.ones((2, 3)), np.full((2, 3), 30)).correlation)
    lonely = segment_pmi_correlation(np.ones((3, 3)), np.diag([30, 30, 30]))  # one cell per segment
    assert (lonely.cells, lonely.segments) == (0, 0)
    with pytest.raises(ValueError, match="segments, items"):
        segment_pmi_correlation(np.ones((2, 3)), np.ones((2, 4)))


def test_mean_scores_are_of_the_users_of_each_segment():
    scores = np.arange(15.0).reshape(5, 3)
    means = segment_mean_scores(lambda rows: scores[rows], np.array([1, 0, 1, -1, 1]), 3, block_size=2)
    np.testing.assert_allclose(means, [scores[1], scores[[0, 2, 4]].mean(axis=0), [np.nan] * 3])


def test_counts_are_of_the_users_of_each_segment():
    clicks = Ragged.from_lists([[0, 2], [2], [1], [2]])
    counts = segment_item_counts(clicks, np.array([0, 0, -1, 1]), 2, 3)
    assert counts.tolist() == [[1, 0, 2], [0, 0, 1]]


def test_segments_out_of_range_are_refused():
    with pytest.raises(ValueError, match="segments must lie"):
        segment_item_counts(Ragged.from_lists([[0]]), np.array([2]), 2, 3)
    with pytest.raises(ValueError, match="no user"):
        segment_mean_scores(lambda rows: np.zeros((len(rows), 2)), np.array([-1]), 2)
