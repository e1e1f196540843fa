"""log q, the weight of log q in a served score, and what is refused as a popularity weight, wherever one is taken."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import date
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from twotower_assets.core.popularity import KEY_WEIGHTS, REPORTED_WEIGHTS, log_q, log_q_weight
from twotower_assets.core.ragged import Ragged
from twotower_assets.evaluation.ranking import top_k
from twotower_assets.evaluation.scores import inner_products, served_scores
from twotower_assets.evaluation.summary import evaluate_lists
from twotower_assets.experiments.evaluate_model import ModelEvaluation, diagnostic_rows, recommendation_lists
from twotower_assets.experiments.evaluate_recipes import comparison_rows, evaluate_training, require_served_weight
from twotower_assets.reporting import charts, recipe_summary
from twotower_assets.reporting.report_data import ReportData
from twotower_assets.retrieval.index import ItemIndex, build_index
from twotower_assets.retrieval.quality import measure_index

COUNTS = np.array([50, 30, 10, 10, 0])
WRONG = {
    "γ − γ₀": -0.5,
    "γ − γ₀ of γ₀ = 1": -1.0,
    "γ − γ₀ of γ₀ = −1": 1.5,
    "NaN": np.nan,
    "infinity": np.inf,
    "a string": "0.5",
    "nothing": None,
}


def test_log_q_is_clipped_at_the_floor_only() -> None:
    np.testing.assert_allclose(np.exp(log_q(COUNTS, floor=20)), [0.5, 0.3, 0.2, 0.2, 0.2])
    np.testing.assert_allclose(np.exp(log_q(COUNTS)), [0.5, 0.3, 0.1, 0.1, 0.005])
    with pytest.raises(ValueError, match="at least one click"):
        log_q(np.zeros(3))
    with pytest.raises(ValueError, match="floor"):
        log_q(COUNTS, floor=0)
    with pytest.raises(ValueError, match="negative"):
        log_q(np.array([3, -1]))


def test_the_weight_of_log_q_is_gamma_less_what_the_model_holds() -> None:
    assert [float(log_q_weight(gamma, 1.0)) for gamma in KEY_WEIGHTS] == [-1.0, -0.5, 0.0]
    assert log_q_weight(np.array([0.0, 1.0]), 0.25).tolist() == [-0.25, 0.75]
    with pytest.raises(ValueError, match="trained_popularity_weight"):
        log_q_weight(1.0, float("nan"))
    assert set(KEY_WEIGHTS) <= set(REPORTED_WEIGHTS)


@pytest.fixture(scope="module")
def model() -> SimpleNamespace:
    """Users and items with scores s, and log q."""
    rng = np.random.default_rng(2)
    users, items = (rng.normal(size=(n, 8)).astype(np.float32) for n in (40, 200))
    popularity = log_q(rng.zipf(1.5, 200).clip(max=1000))
    return SimpleNamespace(users=users, items=items, log_q=popularity, scores=inner_products(users, items, 3.0))


def index_of(model: SimpleNamespace, trained: float) -> ItemIndex:
    ids = [str(number) for number in range(len(model.items))]
    return build_index(
        ids,
        model.items,
        inverse_temperature=3.0,
        log_q=model.log_q,
        trained_popularity_weight=trained,
        factory="Flat",
        threads=1,
    )


def evaluation_of(model: SimpleNamespace, trained: float) -> ModelEvaluation:
    everybody = np.arange(len(model.users))
    view: Any = SimpleNamespace(
        seen=Ragged.from_lists([[] for _ in everybody]),
        relevant=Ragged.from_pairs(everybody, everybody, len(everybody)),
        clicked_at=None,
    )
    checkpoint: Any = SimpleNamespace(trained_popularity_weight=trained)
    hold_out: Any = SimpleNamespace(items={"category": ["one"] * len(model.items)})
    return ModelEvaluation(
        checkpoint, hold_out, view, model.items, model.scores, np.ones(len(model.items)), model.log_q
    )


@pytest.mark.parametrize("trained", [-1.0, 0.0, 0.25, 1.0])
@pytest.mark.parametrize("gamma", REPORTED_WEIGHTS)
def test_index_and_evaluation_rank_by_the_same_score(model: SimpleNamespace, trained: float, gamma: float) -> None:
    exact = 3.0 * model.users @ model.items.T + (gamma - trained) * model.log_q
    expected = np.argsort(-exact, axis=1, kind="stable")[:, :10]
    index = index_of(model, trained)
    scores, found = index.search(model.users, 10, gamma)
    assert np.array_equal(found, expected)
    np.testing.assert_allclose(scores, np.take_along_axis(exact, expected, axis=1), rtol=1e-4, atol=1e-3)
    assert np.array_equal(top_k(evaluation_of(model, trained).served(gamma), len(model.users), None, 10), expected)
    (row,) = measure_index(
        index, model.items, model.users, log_q=model.log_q, popularity_weights=[gamma], k=10, threads=1
    )
    assert (row.popularity_weight, row.recall_at_k) == (gamma, 1.0)


TAKES_A_WEIGHT: dict[str, Callable[[SimpleNamespace, Any], object]] = {
    "log_q_weight": lambda _, wrong: log_q_weight(wrong, 1.0),
    "served_scores": lambda model, wrong: served_scores(model.scores, model.log_q, wrong, 1.0),
    "ItemIndex.search, one of several": lambda model, wrong: index_of(model, 1.0).search(
        model.users[:2], 3, [0, wrong]
    ),
    "measure_index": lambda model, wrong: measure_index(
        index_of(model, 1.0), model.items, model.users, log_q=model.log_q, popularity_weights=[wrong]
    ),
    "ModelEvaluation.served": lambda model, wrong: evaluation_of(model, 1.0).served(wrong),
    "recommendation_lists": lambda model, wrong: recommendation_lists(evaluation_of(model, 1.0), [wrong]),
    "diagnostic_rows": lambda model, wrong: diagnostic_rows(evaluation_of(model, 1.0), wrong),
    "evaluate_training": lambda _, wrong: evaluate_training(None, None, "clicks", wrong),  # type: ignore[arg-type]
    "require_served_weight": lambda _, wrong: require_served_weight(pl.DataFrame(), "logq", wrong, "clicks"),
    "compared_rows": lambda _, wrong: comparison_rows(pl.DataFrame(), pl.DataFrame(), "logq", wrong),
    "ReportData": lambda _, wrong: ReportData("t", "d", date(2024, 1, 1), "v", wrong),
    "delta_sentence": lambda _, wrong: recipe_summary.delta_sentence("logq", wrong, 0.1),
    "comparison_table": lambda _, wrong: recipe_summary.comparison_table(
        pl.DataFrame(), pl.DataFrame(), pl.DataFrame(), wrong
    ),
    "diagnostics_table": lambda _, wrong: recipe_summary.diagnostics_table(pl.DataFrame(), wrong),
}
NONE_MEANS_SOMETHING: dict[str, Callable[[SimpleNamespace, Any], object]] = {
    "ItemIndex.search": lambda model, wrong: index_of(model, 1.0).search(model.users[:2], 3, wrong),
    "evaluate_lists": lambda _, wrong: evaluate_lists(
        np.array([[0]]),
        Ragged.from_lists([[0]]),
        Ragged.from_lists([[1]]),
        np.ones(2),
        ks=[1],
        popularity_weight=wrong,
    ),
    "popularity_tradeoff": lambda _, wrong: charts.popularity_tradeoff(pl.DataFrame(), served=wrong),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("taking", [*TAKES_A_WEIGHT, *NONE_MEANS_SOMETHING])
def test_what_is_no_popularity_weight_is_refused(model: SimpleNamespace, taking: str, wrong: str) -> None:
    if wrong == "nothing" and taking in NONE_MEANS_SOMETHING:
        return
    with pytest.raises(ValueError, match="popularity_weight"):
        {**TAKES_A_WEIGHT, **NONE_MEANS_SOMETHING}[taking](model, WRONG[wrong])


def test_days_and_declarations_load_without_numpy() -> None:
    modules = ("days", "buckets", "metric_rows", "popularity")
    code = "; ".join(f"import twotower_assets.core.{name}" for name in modules)
    code += "; import sys; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
