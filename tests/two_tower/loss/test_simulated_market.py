"""What each loss trains to, in a market whose click probabilities are known.

The log holds every pair as often as its probability says, so that nothing but the loss separates the scores from
log p(item | user) or PMI. What is left of a distance is the noise of batches (about .02), and, where every logit is
corrected or none is, what masking the positive's own item costs: about -log(1 - p).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from two_tower.simulated_market import Fit, SimulatedMarket, distance
from twotower_assets.core.ragged import Ragged
from twotower_assets.evaluation.missing_popularity import missing_popularity
from twotower_assets.two_tower.sampling import correction as correction_module
from twotower_assets.two_tower.sampling import negative_sampler as sampler_module
from twotower_assets.two_tower.sampling.batch_problem import SoftmaxProblem, SparseRows
from twotower_assets.two_tower.sampling.correction import Correction
from twotower_assets.two_tower.sampling.item_queue import ItemQueue
from twotower_assets.two_tower.sampling.negative_sampler import NegativeSampler
from twotower_assets.two_tower.sampling.negatives import GroupSource, InBatchSource, WeightedSource

pytestmark = pytest.mark.slow
MARKET = SimulatedMarket()
LOG_P, PMI, LOG_Q = MARKET.log_p, MARKET.pmi, np.log(MARKET.q)
WITHOUT_POSITIVE = LOG_P - np.log1p(-np.exp(LOG_P))
"""log p - log(1 - p): what log p becomes where accidental hits are masked and the positive is corrected too."""

IN_BATCH = {"source": "in_batch"}
UNIFORM = {"source": "uniform", "count": 128}
POPULARITY = {"source": "popularity", "count": 128, "exponent": 0.5}
QUEUE = {"source": "cross_batch", "count": 256, "warm_up_epochs": 0.25, "maximum_age": 4}
CATEGORY = {"source": "category", "per_positive": 12, "minimum_items": 2}
CONTEXT = {"source": "context", "per_positive": 12}

FITS: dict[str, dict[str, Any]] = {
    "uncorrected": {"negatives": [IN_BATCH], "correction": "none"},
    "uncorrected with bias": {"negatives": [IN_BATCH], "correction": "none", "item_bias": True},
    "uniform only": {"negatives": [UNIFORM | {"count": 255}], "correction": "none"},
    "popularity only": {"negatives": [POPULARITY | {"count": 255}], "correction": "none"},
    "logQ": {"negatives": [IN_BATCH]},
    "logQ with bias": {"negatives": [IN_BATCH], "item_bias": True},
    "streaming": {"negatives": [IN_BATCH], "proposal": "streaming"},
    "mixed": {"negatives": [IN_BATCH, UNIFORM]},
    "popularity": {"negatives": [IN_BATCH, POPULARITY]},
    "queue": {"negatives": [IN_BATCH, QUEUE]},
    "queue, table held by items": {"negatives": [IN_BATCH, QUEUE], "held_by": "items"},
    "category": {"negatives": [IN_BATCH, CATEGORY]},
    "context": {"negatives": [IN_BATCH, CONTEXT]},
    "everything": {
        "negatives": [
            IN_BATCH,
            UNIFORM | {"count": 64},
            QUEUE | {"count": 128},
            CATEGORY | {"per_positive": 4},
            CONTEXT | {"per_positive": 4},
        ],
        "held_by": "items",
    },
    "positive excluded": {"negatives": [IN_BATCH], "correction": "logq_positive_excluded"},
    "positive excluded, mixed": {"negatives": [IN_BATCH, UNIFORM, QUEUE], "correction": "logq_positive_excluded"},
}


LOGQ_ALIKE = [name for name, changes in FITS.items() if "correction" not in changes and name != "logQ"]
EXCLUDED = ["positive excluded", "positive excluded, mixed"]
UNCORRECTED = ["uncorrected", "uncorrected with bias"]

NOISE = 0.05
"""More than the noise of batches (.03), less than what any mutation below costs."""
MASKED_HITS = 0.13
"""The same with what masking accidental hits costs where the positive is corrected like the negatives."""
AS_LOGQ = 0.02
"""Fits on the same batches share most of their noise."""


@cache
def fitted(name: str) -> Fit:
    return Fit(MARKET, **FITS[name])


def test_popularity_tells_the_two_optima_apart() -> None:
    assert distance(LOG_P, PMI, MARKET.joint) > 0.6


def test_the_softmax_over_all_items_shows_the_noise_of_batches_alone() -> None:
    assert Fit(MARKET, full_softmax=True).distance(LOG_P) < NOISE


@pytest.mark.parametrize("name", UNCORRECTED)
def test_the_uncorrected_in_batch_softmax_learns_pmi(name: str) -> None:
    assert fitted(name).distance(PMI) < MASKED_HITS
    assert fitted(name).distance(LOG_P) > 0.5


def test_logq_learns_the_click_probability_but_for_what_masking_accidental_hits_costs() -> None:
    assert fitted("logQ").distance(LOG_P) < MASKED_HITS
    assert fitted("logQ").distance(WITHOUT_POSITIVE) < NOISE
    assert fitted("logQ").distance(PMI) > 0.5


@pytest.mark.parametrize("name", EXCLUDED)
def test_logq_with_the_positive_excluded_learns_the_click_probability_without_that_cost(name: str) -> None:
    assert fitted(name).distance(LOG_P) < NOISE
    assert fitted(name).distance(LOG_P) < fitted("logQ").distance(LOG_P) / 2


@pytest.mark.parametrize("name", LOGQ_ALIKE)
def test_with_the_expected_count_correction_every_source_trains_to_what_logq_does(name: str) -> None:
    assert fitted(name).distance(fitted("logQ").scores) < AS_LOGQ
    assert fitted(name).distance(LOG_P) < MASKED_HITS


def test_uncorrected_uniform_negatives_learn_the_click_probability() -> None:
    assert fitted("uniform only").distance(LOG_P) < MASKED_HITS
    assert fitted("uniform only").distance(WITHOUT_POSITIVE) < NOISE


def test_a_learned_bias_is_part_of_the_score_and_does_not_restore_popularity() -> None:
    uncorrected, corrected = fitted("uncorrected with bias"), fitted("logQ with bias")
    slope = np.polyfit(LOG_Q, uncorrected.bias, 1)[0]
    assert -0.3 < slope < 0.1
    assert np.polyfit(LOG_Q, corrected.bias, 1)[0] > 0.5
    assert distance(corrected.scores - corrected.bias, LOG_P, MARKET.joint) > 0.4, "the bias is part of the score"


@pytest.mark.parametrize(
    "name", ["uncorrected", "uncorrected with bias", "logQ", "mixed", "popularity only", EXCLUDED[0]]
)
@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_the_popularity_weight_moves_every_model_to_the_same_scores(name: str, weight: float) -> None:
    trained = fitted(name).config.trained_popularity_weight
    assert fitted(name).config.trained_weight_is_known
    served = fitted(name).scores + (weight - trained) * LOG_Q
    assert distance(served, PMI + weight * LOG_Q, MARKET.joint) < MASKED_HITS
    twice = fitted(name).scores + (weight - 1 - trained) * LOG_Q
    assert distance(twice, PMI + weight * LOG_Q, MARKET.joint) > 0.5


def missing(scores: np.ndarray) -> float:
    """δ of the scores, on one held-out click of each of 4,000 sessions."""
    generator = np.random.default_rng(9)
    clicks = generator.choice(MARKET.joint.size, 4000, p=MARKET.joint.ravel())
    user, item = np.divmod(clicks, len(LOG_Q))
    fit = missing_popularity(lambda rows: scores[user[rows]], Ragged.from_lists(item[:, None]), LOG_Q, resamples=200)
    assert fit.low < fit.delta < fit.high < fit.low + 0.2
    return fit.delta


def test_the_fitted_missing_popularity_is_what_the_true_scores_lack() -> None:
    assert missing(LOG_P) == pytest.approx(0.0, abs=0.06)
    assert missing(PMI) == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize(
    "name", [*UNCORRECTED, "logQ", "logQ with bias", "mixed", "queue", "category", "popularity only", EXCLUDED[0]]
)
def test_held_out_clicks_show_how_much_popularity_a_trained_model_lacks(name: str) -> None:
    lacking = 1.0 - fitted(name).config.trained_popularity_weight
    assert missing(fitted(name).scores) == pytest.approx(lacking, abs=0.15)


# What the limits above would see: each mutation of the loss misses the one that it is there to miss.


def flipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The correction is added instead of subtracted."""
    above_zero = Correction._above_zero
    monkeypatch.setattr(Correction, "_above_zero", lambda *arguments: 1.0 / above_zero(*arguments))


def positive_uncorrected(monkeypatch: pytest.MonkeyPatch) -> None:
    """logQ leaves the positive's logit alone."""

    def alone(softmax: SoftmaxProblem) -> None:
        softmax.pair_offsets[:, 0] = 0.0

    change_problems(monkeypatch, alone)


def change_problems(monkeypatch: pytest.MonkeyPatch, change: Callable[[SoftmaxProblem], None]) -> None:
    """Every batch's problem is changed before an engine sees it."""
    draw = NegativeSampler.draw

    def changed(self, rows, generator):
        problem = draw(self, rows, generator)
        change(problem.softmax)
        return problem

    monkeypatch.setattr(NegativeSampler, "draw", changed)


def no_corrections_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """What differs between rows in the expected counts is forgotten."""
    change_problems(monkeypatch, lambda softmax: softmax.row_corrections.values.fill(0.0))


def without(source: type):
    """The expected count omits the source."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(source, "expected_count", lambda self, batch, items: None)
        if source is GroupSource:
            no_corrections_of_rows(monkeypatch)

    return patch


def only_its_own_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each candidate is corrected by the source that it came from, and by no other."""
    total = correction_module.total_expected_count

    def one_source(sources, batch, items):
        per_row = items.ndim == 2 and items.shape[1] > 1
        return total([source for source in sources if isinstance(source, GroupSource) is per_row], batch, items)

    monkeypatch.setattr(correction_module, "total_expected_count", one_source)
    no_corrections_of_rows(monkeypatch)


def accidental_hits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accidental hits are not masked."""
    find = sampler_module.find_masks

    def all_but_hits(masks, batch, candidates, row_negatives):
        found = find(masks, batch, candidates, row_negatives)
        rows = SparseRows.none(len(batch))
        return replace(found, columns=rows, unmasked=np.full(len(batch), candidates.count.sum()))

    monkeypatch.setattr(sampler_module, "find_masks", all_but_hits)


def no_log_n(monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive-excluded form forgets the number of negatives."""
    change_problems(monkeypatch, lambda softmax: softmax.unmasked.fill(1))


def queue_without_gradient_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    """Items get the gradient of in-batch negatives alone, though the queue takes its share of the softmax."""
    monkeypatch.setattr(sampler_module, "shared_gradient_scale", lambda shared, *_: np.ones(len(shared), np.float32))


MUTATIONS = [
    ("logQ", flipped, LOG_P, MASKED_HITS),
    ("logQ", positive_uncorrected, WITHOUT_POSITIVE, NOISE),
    ("mixed", without(WeightedSource), "logQ", AS_LOGQ),
    ("mixed", without(InBatchSource), "logQ", AS_LOGQ),
    ("category", without(GroupSource), "logQ", AS_LOGQ),
    ("category", only_its_own_source, "logQ", AS_LOGQ),
    ("context", without(GroupSource), "logQ", AS_LOGQ),
    ("queue, table held by items", queue_without_gradient_scale, "logQ", AS_LOGQ),
    ("positive excluded", flipped, LOG_P, NOISE),
    ("positive excluded", accidental_hits, LOG_P, NOISE),
    ("positive excluded", no_log_n, LOG_P, NOISE),
    ("positive excluded, mixed", without(ItemQueue), LOG_P, NOISE),
]


@pytest.mark.parametrize(("name", "mutation", "target", "limit"), MUTATIONS)
def test_a_mistake_in_the_loss_would_be_seen(name: str, mutation, target, limit: float, monkeypatch) -> None:
    expected = fitted("logQ").scores if isinstance(target, str) else target
    assert fitted(name).distance(expected) < limit
    mutation(monkeypatch)
    assert Fit(MARKET, **FITS[name]).distance(expected) > 1.2 * limit
