"""The missing popularity δ: how much log q a model's scores need to become click probabilities.

This module fits δ on held-out clicks, and the slope of scores on log q; both read scores over the whole catalogue.
`segment_pmi` has the correlation with PMI, `popularity_metrics` the popularity in lists.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from twotower_assets.core.ragged import Ragged
from twotower_assets.evaluation.bootstrap import resampled_users
from twotower_assets.evaluation.ranking import mask_items
from twotower_assets.evaluation.scores import FloatArray, IntArray, ScoreBlock, score_blocks

MAX_USERS: Final = 5_000
"""Most users to fit δ on; of more, a seeded sample is taken. The standard error of δ is then about 0.02."""
MAX_DELTA: Final = 20.0
MAX_ITERATIONS: Final = 50
TOLERANCE: Final = 1e-7


@dataclass(frozen=True, slots=True)
class MissingPopularity:
    """The fitted δ and its bootstrap interval over users.

    Attributes:
        delta: 0: calibrated as p(i|u); above 0: popular items are under-scored (pure PMI: 1); below 0: they are over-
            scored. NaN if the clicks do not determine it: no clicks, one popularity for all items, or
            every click is on the most (or every click on the least) popular available item.
        low: lower end of the interval, NaN with fewer than two users.
        high: upper end.
        users: users with held-out clicks in the fit.
        clicks: their held-out clicks.
    """

    delta: float
    low: float
    high: float
    users: int
    clicks: int


def missing_popularity(
    score_block: ScoreBlock,
    relevant: Ragged,
    log_q: NDArray[Any],
    *,
    excluded: Ragged | None = None,
    clicked_at: NDArray[Any] | None = None,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    max_users: int = MAX_USERS,
    block_size: int = 256,
) -> MissingPopularity:
    """Fit δ by maximum likelihood on held-out clicks under softmax(s + δ·log q) over the whole catalogue.

    The log-likelihood is concave in δ, so bracketed Newton steps find its maximum; each step is
    one pass over the scores of the users who have held-out clicks (a sample of `max_users`).

    The interval is a percentile bootstrap over users that does not compute scores again. The cumulants of log q
    at the maximum give each user's derivative near it to third order in δ; a resample of users sums them, and the
    root of the sum is that resample's δ. A test compares it with refitting.

    Adding w·log q to the scores lowers δ and its interval by exactly w: one fit serves every popularity
    weight.

    A user's held-out clicks are distinct items, and popular items tend to be clicked first, so that many clicks
    per user bias δ downward (20 clicks among 1,500 items: −0.09; 8 among 120: −0.16). With `clicked_at`, the
    softmax of each click is over the items not clicked before it, which removes the bias.

    Args:
        score_block: the served scores, with bias and popularity weight, float [b, n_items] for rows int64
            [b].
        relevant: held-out clicked items per user.
        log_q: log sampling probability per item, float [n_items], finite; any constant may be added to it.
        excluded: items to exclude from each user's softmax (seen items, never recommended), or None.
        clicked_at: time of each of `relevant.values` in any unit, as from `Ragged.earliest`, or None.
        level: coverage of the interval.
        resamples: number of bootstrap resamples.
        seed: of the resampling and of the sample of users.
        max_users: most users to fit on.
        block_size: users scored at once.

    Raises:
        ValueError: a held-out item that is also excluded (use `ranking.exclude_seen`), log_q or clicked_at of the
            wrong length, or a number that is not finite.
    """
    popularity = _centred(log_q)
    rows = np.flatnonzero(relevant.sizes()).astype(np.int64)
    if len(rows) > max_users:
        rows = np.sort(np.random.default_rng(seed).choice(rows, max_users, replace=False))
    clicks = int(relevant.sizes()[rows].sum())
    order = _click_order(relevant, clicked_at)

    def at(delta: float) -> FloatArray:
        return _derivatives(score_block, rows, relevant, order, excluded, popularity, delta, block_size)

    fit = _maximum(at) if len(rows) and np.ptp(popularity) > 0 else None
    if fit is None:
        return MissingPopularity(np.nan, np.nan, np.nan, len(rows), clicks)
    delta, derivatives = fit
    low, high = _interval(delta, derivatives, level, resamples, seed)
    return MissingPopularity(delta, low, high, len(rows), clicks)


def slope_on_log_q(
    score_block: ScoreBlock,
    n_users: int,
    log_q: NDArray[Any],
    *,
    excluded: Ragged | None = None,
    block_size: int = 1024,
) -> FloatArray:
    """Least-squares slope of each user's scores on log q over the catalogue.

    A description, not a calibration: items differ in more than popularity, so even exact PMI has a slope
    that depends on the data. Compare it between models; use δ to measure what is missing.

    Args:
        score_block: float [b, n_items] for rows int64 [b].
        n_users: users, rows 0 to n_users − 1.
        log_q: float [n_items], finite.
        excluded: items to exclude per user, or None.
        block_size: users scored at once.

    Returns:
        float64 [n_users], NaN where all of a user's items have the same popularity.
    """
    x = _centred(log_q)
    slopes = np.full(n_users, np.nan)
    for rows, raw in score_blocks(score_block, np.arange(n_users, dtype=np.int64), block_size):
        scores = raw.astype(np.float64)
        scores -= scores.mean(axis=1, keepdims=True)
        omitted = Ragged.from_lists([[] for _ in rows]) if excluded is None else excluded.take(rows)
        y = scores[omitted.rows(), omitted.values]

        def omitted_sum(values: FloatArray, omitted: Ragged = omitted) -> FloatArray:
            return np.bincount(omitted.rows(), weights=values, minlength=len(omitted)).astype(np.float64)

        z = x[omitted.values]
        n = len(x) - omitted.sizes()
        sum_x, sum_y = x.sum() - omitted_sum(z), scores.sum(axis=1) - omitted_sum(y)
        sum_xx, sum_xy = x @ x - omitted_sum(z * z), scores @ x - omitted_sum(y * z)
        variance = n * sum_xx - sum_x**2
        determined = variance > 1e-9 * np.maximum(n * sum_xx, 1e-300)
        covariance = n * sum_xy - sum_x * sum_y
        slopes[rows] = np.where(determined, covariance / np.where(determined, variance, 1.0), np.nan)
    return slopes


def _centred(log_q: NDArray[Any]) -> FloatArray:
    """log q minus its mean, which changes no softmax and keeps its powers small, float64 [n_items]."""
    popularity = np.asarray(log_q, dtype=np.float64)
    if popularity.ndim != 1 or not len(popularity) or not np.isfinite(popularity).all():
        raise ValueError("log_q must be one finite number per item: clip it from below for items never clicked")
    centred: FloatArray = popularity - popularity.mean()
    return centred


def _click_order(relevant: Ragged, clicked_at: NDArray[Any] | None) -> IntArray | None:
    """The rank of each held-out click in time, over all users, or None without times."""
    if clicked_at is None:
        return None
    times = np.asarray(clicked_at)
    if times.shape != relevant.values.shape or np.isnan(times).any():
        raise ValueError(
            f"clicked_at must be one time for each of the {len(relevant.values)} held-out clicks, with none missing"
        )
    order = np.empty(len(times), dtype=np.int64)
    order[np.argsort(times, kind="stable")] = np.arange(len(times))
    return order


def _derivatives(
    score_block: ScoreBlock,
    rows: IntArray,
    relevant: Ragged,
    order: IntArray | None,
    excluded: Ragged | None,
    popularity: FloatArray,
    delta: float,
    block_size: int,
) -> FloatArray:
    """Each user's terms of the log-likelihood's derivative near δ: Σ (log q − κ₁), Σ κ₂, Σ κ₃, Σ κ₄, [users, 4].

    With κ₁ … κ₄ the cumulants of log q under the softmax that a click was drawn from, the derivative at δ + ε
    is Σ_clicks (log q − κ₁ − κ₂ε − κ₃ε²/2 − κ₄ε³/6) + O(ε⁴). A bootstrap resample adds up the per-user
    sums. One pass over the scores of the users `rows`, all of whom have clicks.
    """
    powers = popularity[:, None] ** np.arange(5)  # (items, 5), of which the first column is 1
    derivatives = np.empty((len(rows), 4))
    start = 0
    for block, scores in score_blocks(score_block, rows, block_size):
        if scores.shape[1] != len(popularity):
            raise ValueError(f"log_q has {len(popularity)} items, the scores have {scores.shape[1]}")
        weights = mask_items(scores.astype(np.float64), excluded, block)
        weights += delta * popularity
        weights -= weights.max(axis=1, keepdims=True)
        user, item = _clicks(relevant, order, block, len(popularity))  # (clicks,) each, by user and then time
        logits = weights[user, item]
        if np.isneginf(logits).any():
            raise ValueError("a held-out click is on an excluded item: remove it with ranking.exclude_seen first")
        moments = (np.exp(weights, out=weights) @ powers)[user]  # (clicks, 5)
        click_terms = np.exp(logits)[:, None] * powers[item]
        if order is not None:
            moments = _subtract_earlier(moments, click_terms, user)
        terms = _cumulants(moments[:, 1:] / moments[:, :1])  # (clicks, 4)
        terms[:, 0] = popularity[item] - terms[:, 0]
        first = np.searchsorted(user, np.arange(len(block)))  # every user of the block has a click
        stop = start + len(block)
        derivatives[start:stop] = np.add.reduceat(terms, first)
        start = stop
    return derivatives


def _clicks(relevant: Ragged, order: IntArray | None, block: IntArray, n_items: int) -> tuple[IntArray, IntArray]:
    """User within the block and item of each click, by user and, where the order is known, by time."""
    clicked = relevant.take(block)
    user, item = clicked.rows(), clicked.values
    if item.max() >= n_items:
        raise ValueError(f"a held-out item has position {item.max()}, log_q has {n_items} items")
    if order is not None:
        at = np.concatenate([order[relevant.offsets[row] : relevant.offsets[row + 1]] for row in block])
        by_time = np.lexsort((at, user))
        user, item = user[by_time], item[by_time]
    return user, item


def _subtract_earlier(moments: FloatArray, click_terms: FloatArray, user: IntArray) -> FloatArray:
    """The sums over the catalogue minus the terms of the user's earlier clicks, [clicks, 5] each.

    Where rounding leaves nothing of a sum, the click counts as certain and has no influence on δ.
    """
    before = np.cumsum(click_terms, axis=0) - click_terms
    remaining = moments - (before - before[np.searchsorted(user, user)])
    lost = remaining[:, :1] < np.maximum(click_terms[:, :1], 1e-9 * moments[:, :1])
    return np.where(lost, click_terms, remaining)


def _cumulants(raw: FloatArray) -> FloatArray:
    """The first four cumulants of distributions from their first four raw moments, [clicks, 4]."""
    m1, m2, m3, m4 = raw.T
    second = m2 - m1**2
    third = m3 - 3 * m1 * m2 + 2 * m1**3
    fourth = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4 - 3 * second**2
    return np.column_stack([m1, second, third, fourth])


def _maximum(at: Callable[[float], FloatArray]) -> tuple[float, FloatArray] | None:
    """The maximum-likelihood δ, with the derivatives there; None if it is not finite."""
    low, high, delta = -MAX_DELTA, MAX_DELTA, 0.0
    here = at(delta)
    for _ in range(MAX_ITERATIONS):
        gradient, information = here[:, :2].sum(axis=0)
        if gradient == 0 and information <= 0:
            return None
        step = gradient / information if information > 0 else np.inf * np.sign(gradient)
        if abs(step) < TOLERANCE:
            return (delta, here) if abs(delta) < MAX_DELTA - 0.1 else None
        low, high = (delta, high) if gradient > 0 else (low, delta)
        delta = float(delta + step) if low < delta + step < high else (low + high) / 2
        if high - low < TOLERANCE:
            return None
        here = at(delta)
    return None


def _interval(delta: float, derivatives: FloatArray, level: float, resamples: int, seed: int) -> tuple[float, float]:
    """Percentile bootstrap over users of the root δ + ε, from the users' derivatives, [users, 4]."""
    if len(derivatives) < 2:
        return np.nan, np.nan
    sums = np.array([derivatives[drawn].sum(axis=0) for drawn in resampled_users(len(derivatives), resamples, seed)])
    g, first, second, third = sums.T  # each (resamples,): 0 = g − first·ε − second·ε²/2 − third·ε³/6
    one_step = np.divide(g, first, out=np.full(len(g), np.nan), where=first > 0)
    shift = one_step.copy()
    for _ in range(20):
        curvature = first + second * shift + third * shift**2 / 2
        residual = g - first * shift - second * shift**2 / 2 - third * shift**3 / 6
        shift = np.where(curvature > 0, shift + residual / np.where(curvature > 0, curvature, 1.0), one_step)
    # Resamples of few users may have their maximum at infinity, like clicks that do not determine δ.
    deltas = np.clip(delta + shift, -MAX_DELTA, MAX_DELTA)
    low, high = np.nanquantile(deltas, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
