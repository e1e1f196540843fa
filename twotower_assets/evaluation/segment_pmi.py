"""How well scores follow PMI between user segments and items, over cells (segment, item) with enough clicks.

Segments are clusters of users, or their most clicked category: the empirical PMI of a single user, with one click per
pair, would be −log q again. The caller assigns users to segments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from twotower_assets.core.ragged import Ragged
from twotower_assets.evaluation.scores import FloatArray, IntArray, ScoreBlock, score_blocks


@dataclass(frozen=True, slots=True)
class SegmentPmi:
    """Correlation of scores with PMI within segments.

    Attributes:
        correlation: Pearson correlation over all cells used, centred per segment; NaN with fewer than three cells.
        cells: cells with enough clicks, in segments that have at least two.
        segments: segments with such cells.
    """

    correlation: float
    cells: int
    segments: int


def segment_pmi_correlation(segment_scores: NDArray[Any], counts: NDArray[Any], min_clicks: int = 20) -> SegmentPmi:
    """Correlate mean scores with log(p(item | segment) / p(item)), over cells with enough clicks.

    Both are centred within each segment first, because training fixes scores up to a constant per user only.

    Args:
        segment_scores: mean score of the segment's users per item, float [n_segments, n_items].
        counts: clicks of the segment's users per item, int64 [n_segments, n_items].
        min_clicks: minimum clicks of a cell.

    Raises:
        ValueError: different shapes.
    """
    if segment_scores.shape != counts.shape or counts.ndim != 2:
        raise ValueError(f"scores and counts must both be [segments, items]: {segment_scores.shape}, {counts.shape}")
    used = counts >= max(min_clicks, 1)
    used &= used.sum(axis=1, keepdims=True) >= 2
    cells, segments = int(used.sum()), int(used.any(axis=1).sum())
    if cells < 3:
        return SegmentPmi(np.nan, cells, segments)
    segment_clicks, item_clicks = counts.sum(axis=1, keepdims=True), counts.sum(axis=0, keepdims=True)
    segment, item = np.nonzero(used)
    pmi = np.log(counts[used] * counts.sum() / (segment_clicks[segment, 0] * item_clicks[0, item]))
    x, y = _centred_within(pmi, segment), _centred_within(segment_scores[used].astype(np.float64), segment)
    spread = np.sqrt((x @ x) * (y @ y))
    return SegmentPmi(float(x @ y / spread) if spread > 0 else np.nan, cells, segments)


def segment_mean_scores(
    score_block: ScoreBlock, segments: IntArray, n_segments: int, block_size: int = 1024
) -> FloatArray:
    """Mean score of each segment's users on every item, float64 [n_segments, n_items], NaN for no users.

    Args:
        score_block: float [b, n_items] for rows int64 [b].
        segments: segment of each user, int64 [n_users], −1 for users without one.
        n_segments: number of segments.
        block_size: users scored at once.

    Raises:
        ValueError: a segment outside [−1, n_segments), or no user in any segment.
    """
    _check(segments, n_segments)
    rows = np.flatnonzero(segments >= 0).astype(np.int64)
    if not len(rows):
        raise ValueError("no user is in a segment")
    sums: FloatArray | None = None
    for block, scores in score_blocks(score_block, rows, block_size):
        member = _membership(segments[block], n_segments)
        block_sums = np.asarray(member @ scores.astype(np.float64))
        sums = block_sums if sums is None else sums + block_sums
    assert sums is not None
    users = np.bincount(segments[rows], minlength=n_segments)[:, None]
    means: FloatArray = np.where(users > 0, sums / np.maximum(users, 1), np.nan)
    return means


def segment_item_counts(clicks: Ragged, segments: IntArray, n_segments: int, n_items: int) -> IntArray:
    """Clicks of each segment's users per item, int64 [n_segments, n_items].

    Args:
        clicks: clicked items per user.
        segments: segment of each user, int64 [n_users], −1 for users without one.
        n_segments: number of segments.
        n_items: size of the catalogue.
    """
    _check(segments, n_segments)
    segment = segments[clicks.rows()]
    known = segment >= 0
    cells = segment[known] * n_items + clicks.values[known]
    counts = np.bincount(cells, minlength=n_segments * n_items).astype(np.int64)
    return counts.reshape(n_segments, n_items)


def _check(segments: IntArray, n_segments: int) -> None:
    """Raise `ValueError` for segment numbers out of range."""
    if len(segments) and (segments.min() < -1 or segments.max() >= n_segments):
        raise ValueError(f"segments must lie in [−1, {n_segments}), got {segments.min()} to {segments.max()}")


def _membership(segments: IntArray, n_segments: int) -> Any:
    """Which users of a block are in which segment, sparse [n_segments, b]."""
    ones = np.ones(len(segments))
    return csr_matrix((ones, (segments, np.arange(len(segments)))), shape=(n_segments, len(segments)))


def _centred_within(values: FloatArray, group: IntArray) -> FloatArray:
    """Values minus the mean of their group."""
    sizes = np.bincount(group)
    means = np.bincount(group, weights=values) / np.maximum(sizes, 1)
    centred: FloatArray = values - means[group]
    return centred
