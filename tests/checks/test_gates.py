"""The gates: each passes on good data, and on planted bad data fails with a sample that a person can read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from math import inf, nan
from typing import Any

import duckdb
import pytest

from twotower_assets.checks.gates import CHALLENGER_GATES, CHAMPION_GATES, GATES, evaluate_gate
from twotower_assets.checks.outcome import Outcome
from twotower_assets.core.days import Days
from twotower_assets.lake.tables import TABLES
from twotower_assets.settings import Settings

Insert = Callable[..., None]
Show = Callable[..., None]
GateResult = Callable[..., Outcome]
DAYS = Days(date(2024, 1, 5), date(2024, 1, 5))


@pytest.fixture
def gate_result(tables: duckdb.DuckDBPyConnection) -> GateResult:
    """What a gate finds on 5 January, or on other days, with a window of 3 days."""

    def run(name: str, days: Days = DAYS) -> Outcome:
        (gate,) = (gate for gate in GATES if gate.name == name)
        settings = Settings(window_days=3, popularity_weight=0.5, minimum_index_recall=0.9)
        return evaluate_gate(tables, gate, days, settings)

    return run


@pytest.mark.parametrize("gate", [gate.name for gate in GATES])
def test_on_empty_tables_a_gate_gives_a_verdict_in_words(gate_result: GateResult, gate: str) -> None:
    outcome = gate_result(gate)
    assert outcome.passed is (gate not in ("index_recall", "model_beats_most_popular"))
    assert "None" not in outcome.observed + outcome.expected
    assert outcome.sample == []


@pytest.fixture
def frequency(insert: Insert) -> Callable[..., None]:
    """Put a row into `item_frequency`."""

    def put(item: str, q: float, decayed_q: float, clicks: int = 1, day: str = "2024-01-05") -> None:
        row = {column.name: 0 for column in TABLES["item_frequency"].columns}
        given = {"day": day, "item_id": item, "q": q, "decayed_q": decayed_q, "clicks": clicks, "bucket": "head"}
        insert("item_frequency", {**row, **given})

    return put


def test_sampling_probabilities_that_sum_to_one_pass(gate_result: GateResult, frequency: Callable[..., None]) -> None:
    frequency("a", 0.75, 0.5)
    frequency("b", 0.25, 0.5)
    frequency("quiet", 0, 0, clicks=0, day="2024-01-04")
    assert gate_result("q_sums_to_one", Days(date(2024, 1, 4), DAYS.last)).passed


@pytest.mark.parametrize(("q", "decayed_q"), [(0.2, 0.5), (0.25, 0.4), (nan, 0.5), (0.25, nan)])
def test_sampling_probabilities_that_do_not_sum_to_one_fail_with_the_day(
    gate_result: GateResult, frequency: Callable[..., None], q: float, decayed_q: float
) -> None:
    frequency("a", 0.75, 0.5)
    frequency("b", q, decayed_q)
    outcome = gate_result("q_sums_to_one")
    assert not outcome.passed
    (line,) = outcome.sample
    assert line.startswith("2024-01-05: ")


@pytest.fixture
def exposed(insert: Insert) -> Callable[[str, str], None]:
    """Put a pair into `exposure_log` on 5 January."""

    def put(user: str, item: str) -> None:
        at = "2024-01-05 12:00"
        row = {"day": "2024-01-05", "user_id": user, "item_id": item, "times_shown": 1}
        insert("exposure_log", {**row, "first_shown_at": at, "last_shown_at": at})

    return put


def test_exposures_of_pairs_that_were_not_clicked_in_the_window_pass(
    gate_result: GateResult, exposed: Callable[[str, str], None], shown: Show
) -> None:
    exposed("ann", "a")
    shown("ann", "a", "2024-01-02 12:00", clicked=True)
    shown("ann", "a", "2024-01-06 12:00", clicked=True)
    shown("bob", "a", "2024-01-05 12:00", clicked=True)
    shown("ann", "a", "2024-01-05 12:00", clicked=False)
    assert gate_result("no_clicked_pair").passed


@pytest.mark.parametrize("at", ["2024-01-03 00:00", "2024-01-05 23:59"])
def test_an_exposure_of_a_clicked_pair_fails_and_names_the_pair(
    gate_result: GateResult, exposed: Callable[[str, str], None], shown: Show, at: str
) -> None:
    exposed("ann", "a")
    shown("ann", "a", at, clicked=True)
    outcome = gate_result("no_clicked_pair")
    assert (outcome.passed, outcome.sample) == (False, ["2024-01-05 user ann item a"])


@pytest.fixture
def claimed(insert: Insert, shown: Show) -> Callable[[str], Outcome]:
    """A click at noon of 5 January with one item in its history; `past` was clicked before, the others not."""
    shown("ann", "past", "2024-01-03 12:00", clicked=True)
    shown("ann", "seen", "2024-01-03 12:00", clicked=False)
    shown("bob", "bobs", "2024-01-03 12:00", clicked=True)
    shown("ann", "same moment", "2024-01-05 12:00", clicked=True)
    shown("ann", "future", "2024-01-05 12:01", clicked=True)
    shown("ann", "too old", "2024-01-02 12:00", clicked=True)

    def put(item: str) -> None:
        row = {"day": "2024-01-05", "user_id": "ann", "item_id": "x", "clicked_at": "2024-01-05 12:00", "weight": 1}
        insert("training_pairs", {**row, "history": [item]})

    return put


def test_a_history_of_past_clicks_passes(gate_result: GateResult, claimed: Callable[[str], None]) -> None:
    claimed("past")
    assert gate_result("history_is_past").passed


@pytest.mark.parametrize("item", ["future", "same moment", "seen", "bobs", "too old", "never shown"])
def test_a_history_with_anything_else_fails_and_names_it(
    gate_result: GateResult, claimed: Callable[[str], None], item: str
) -> None:
    claimed(item)
    outcome = gate_result("history_is_past")
    assert not outcome.passed
    (line,) = outcome.sample
    assert "user ann" in line
    assert item in line


@pytest.fixture
def vectors(insert: Insert) -> Callable[..., None]:
    """Put a vector into `item_embeddings` or `user_embeddings` on 5 January."""

    def put(kind: str, name: str, embedding: list[float | None], **more: Any) -> None:
        # As text: DuckDB binds a NaN inside a Python list as null.
        vector = [None if number is None else str(number) for number in embedding]
        row = {"day": "2024-01-05", f"{kind}_id": name, "embedding": vector, "model_version": "m"}
        numbers = {"inverse_temperature": 5.0, **({"bias": 0.0, "log_q": -1.0} if kind == "item" else {})}
        trained = {"trained_popularity_weight": 1.0, "trained_weight_is_known": True}
        insert(f"{kind}_embeddings", {**row, **numbers, **trained, **more})

    return put


@pytest.mark.parametrize("kind", ["item", "user"])
def test_finite_vectors_of_length_one_pass(gate_result: GateResult, vectors: Callable[..., None], kind: str) -> None:
    vectors(kind, "a", [1.0, 0.0])
    vectors(kind, "b", [0.6, 0.8])
    assert gate_result(f"{kind}_embeddings_are_sound").passed


@pytest.mark.parametrize("kind", ["item", "user"])
@pytest.mark.parametrize(
    "embedding", [[nan, 0.0], [inf, 0.0], [0.5, 0.0], [0.0, 0.0], [2.0, 0.0], [1.0], [0.0, 0.0, 1.0], []]
)
def test_a_vector_that_is_not_sound_fails_and_is_named(
    gate_result: GateResult, vectors: Callable[..., None], kind: str, embedding: list[float]
) -> None:
    for name in ("a", "b"):
        vectors(kind, name, [1.0, 0.0])
    vectors(kind, "bad", embedding)
    outcome = gate_result(f"{kind}_embeddings_are_sound")
    assert (outcome.passed, outcome.observed) == (False, "1 unsound vectors of 3")
    assert outcome.sample[0].startswith(f"{kind} bad: {len(embedding)} dimensions, norm ")


def test_vectors_of_different_models_may_differ_in_dimension(
    gate_result: GateResult, vectors: Callable[..., None]
) -> None:
    vectors("item", "a", [1.0, 0.0])
    vectors("item", "a", [1.0], day="2024-01-04", model_version="smaller")
    assert gate_result("item_embeddings_are_sound", Days(date(2024, 1, 4), DAYS.last)).passed


def test_what_a_gate_cannot_evaluate_fails_and_says_why(gate_result: GateResult, vectors: Callable[..., None]) -> None:
    vectors("item", "hole", [1.0, None])
    outcome = gate_result("item_embeddings_are_sound")
    assert not outcome.passed
    assert "NULL" in outcome.observed


@pytest.mark.parametrize(
    ("kind", "column"),
    [("item", "bias"), ("item", "log_q"), ("item", "inverse_temperature"), ("user", "inverse_temperature")],
)
@pytest.mark.parametrize("value", [nan, -inf])
def test_a_number_of_the_score_that_is_not_finite_fails_and_is_named(
    gate_result: GateResult, vectors: Callable[..., None], kind: str, column: str, value: float
) -> None:
    vectors(kind, "a", [1.0, 0.0])
    vectors(kind, "bad", [1.0, 0.0], **{column: value})
    outcome = gate_result(f"{kind}_embeddings_are_sound")
    assert not outcome.passed
    assert f"{kind} bad" in outcome.sample[0]
    assert f"{column} {value}" in outcome.sample[0]


@pytest.fixture
def measured(insert: Insert) -> Callable[[float, float], None]:
    """Put the recall of an index at a popularity weight into `ann_index_quality`."""

    def put(weight: float, recall: float) -> None:
        row = {"day": "2024-01-05", "index_version": "i", "model_version": "m", "factory": "HNSW32", "k": 100}
        numbers = {"popularity_weight": weight, "recall_at_k": recall, "queries_per_second": 1.0, "queries": 10}
        insert("ann_index_quality", {**row, **numbers})

    return put


@pytest.fixture
def trained(insert: Insert) -> Callable[..., None]:
    """Put the losses of a training on 5 January into `training_curves`."""

    def put(*losses: float) -> None:
        for epoch, loss in enumerate(losses, start=1):
            row = {column.name: 0 for column in TABLES["training_curves"].columns}
            insert("training_curves", {**row, "day": "2024-01-05", "epoch": epoch, "loss": loss, "model_version": "v"})

    return put


@pytest.mark.parametrize("losses", [(7.0,), (7.0, 6.5, 6.6)])
def test_a_training_whose_loss_fell_passes(
    gate_result: GateResult, trained: Callable[..., None], losses: tuple[float, ...]
) -> None:
    trained(*losses)
    assert gate_result("training_went_down").passed


@pytest.mark.parametrize("last", [7.1, nan, float("inf")])
def test_a_training_that_diverged_fails_and_names_the_epoch(
    gate_result: GateResult, trained: Callable[..., None], last: float
) -> None:
    trained(7.0, 6.5, last)
    outcome = gate_result("training_went_down")
    assert not outcome.passed
    assert ["epoch 3" in line for line in outcome.sample] == [True]


def test_an_index_that_finds_enough_at_every_weight_passes(
    gate_result: GateResult, measured: Callable[[float, float], None]
) -> None:
    for weight, recall in ((0, 1.0), (0.5, 0.95), (1, 0.9)):
        measured(weight, recall)
    outcome = gate_result("index_recall")
    assert outcome.passed
    assert "0.9" in outcome.observed


@pytest.mark.parametrize("recall", [0.89, 0.0, nan])
def test_an_index_that_finds_too_little_at_one_weight_fails_and_names_the_weight(
    gate_result: GateResult, measured: Callable[[float, float], None], recall: float
) -> None:
    measured(0, 1.0)
    measured(0.5, recall)
    outcome = gate_result("index_recall")
    assert not outcome.passed
    (line,) = outcome.sample
    assert "0.5" in line
    assert "0.9" in outcome.expected


@pytest.fixture
def recall(insert: Insert) -> Callable[..., None]:
    """Put a recall@20 of the whole hold-out into `model_metrics`."""

    def put(model: str, value: float | None, weight: float | None = None, **more: Any) -> None:
        row = {"day": "2024-01-05", "model_version": "m", "model": model, "popularity_weight": weight, "users": 9}
        insert("model_metrics", {**row, "metric": "recall", "k": 20, "bucket": "all", "value": value, **more})

    return put


def test_a_model_above_most_popular_at_the_served_weight_passes(
    gate_result: GateResult, recall: Callable[..., None]
) -> None:
    recall("most_popular", 0.1)
    recall("two_tower", 0.11, 0.5)
    recall("two_tower", 0.01, 0.0)
    assert gate_result("model_beats_most_popular").passed


@pytest.mark.parametrize("value", [0.1, 0.05, nan, None])
def test_a_model_not_above_most_popular_fails_whatever_it_does_at_other_weights(
    gate_result: GateResult, recall: Callable[..., None], value: float | None
) -> None:
    recall("most_popular", 0.1)
    recall("two_tower", value, 0.5)
    recall("two_tower", 0.9, 1.0)
    recall("two_tower", 0.9, 0.5, bucket="tail")
    recall("two_tower", 0.9, 0.5, k=100)
    recall("two_tower", 0.9, 0.5, metric="ndcg")
    outcome = gate_result("model_beats_most_popular")
    assert not outcome.passed
    (line,) = outcome.sample
    assert line.startswith("2024-01-05: ")
    assert "0.1" in line


def test_a_model_without_a_baseline_to_compare_with_fails(gate_result: GateResult, recall: Callable[..., None]) -> None:
    recall("two_tower", 0.9, 0.5)
    assert not gate_result("model_beats_most_popular").passed


def test_a_gate_looks_at_the_days_that_it_is_asked_about_only(
    gate_result: GateResult, frequency: Callable[..., None], vectors: Callable[..., None]
) -> None:
    frequency("a", 0.1, 0.1)
    vectors("item", "bad", [0.0])
    other = Days(date(2024, 1, 4), date(2024, 1, 4))
    for gate in ("q_sums_to_one", "item_embeddings_are_sound"):
        assert not gate_result(gate).passed
        assert gate_result(gate, other).passed


def test_no_more_than_a_few_offenders_are_shown(gate_result: GateResult, vectors: Callable[..., None]) -> None:
    for place in range(9):
        vectors("item", f"i{place}", [0.1])
    outcome = gate_result("item_embeddings_are_sound")
    assert (outcome.observed, len(outcome.sample)) == ("9 unsound vectors of 9", 5)


def test_the_champion_passes_every_gate_on_what_is_served_and_how_it_was_measured() -> None:
    assert {gate.asset for gate in CHAMPION_GATES} == {
        "item_embeddings",
        "user_embeddings",
        "ann_index",
        "popularity_bias_report",
    }


NO_CHAMPION = "no champion of another version"
KEPT = {"coverage_is_kept": ("coverage", "all"), "beyond_head_is_kept": ("recall", "beyond_head")}


@pytest.fixture
def beside_the_champion(tables: duckdb.DuckDBPyConnection, insert: Insert) -> Callable[..., Outcome]:
    """What a gate says of version `a`, beside `b`, or beside none where `other` is None."""
    tables.execute("CREATE TEMP VIEW staged_version_comparisons AS FROM version_comparisons")

    def run(name: str, value: float | None, other: float | None, low: float | None = None, **settings: Any) -> Outcome:
        metric, bucket = KEPT.get(name, ("recall", "all"))
        measured = {"metric": metric, "k": 20, "bucket": bucket, "value": value, "users": 9}
        pair = {"model_version": "a", "other_version": "b", "hold_out_day": DAYS.first}
        insert(
            "model_metrics",
            {"day": DAYS.first, "model_version": "a", "model": "two_tower", "popularity_weight": 0.5, **measured},
        )
        if other is not None:
            difference = {"other_value": other, "difference": (value or 0) - other, "low": low, "high": 1}
            insert("version_comparisons", {**pair, **measured, **difference})
        (gate,) = (gate for gate in CHALLENGER_GATES if gate.name == name)
        return evaluate_gate(tables, gate, DAYS, Settings(popularity_weight=0.5, **settings), "a")

    return run


@pytest.mark.parametrize("low", [-0.01, 0.1])
def test_a_challenger_passes_whose_interval_lies_above_the_margin(
    beside_the_champion: Callable[..., Outcome], low: float
) -> None:
    outcome = beside_the_champion("recall_is_not_worse", 0.21, 0.2, low, maximum_recall_loss=0.05)
    assert outcome.passed
    assert "-0.0100, 5 % of the champion's" in outcome.expected


@pytest.mark.parametrize("low", [-0.0101, None, nan])
def test_a_challenger_fails_whose_interval_reaches_below_the_margin_or_is_none(
    beside_the_champion: Callable[..., Outcome], low: float | None
) -> None:
    outcome = beside_the_champion("recall_is_not_worse", 0.21, 0.2, low, maximum_recall_loss=0.05)
    assert not outcome.passed
    assert outcome.observed.startswith("recall@20 of 0.21, that is +0.0100")
    assert outcome.observed.endswith("against the champion's 0.2")


def test_without_a_champion_nothing_is_worse(beside_the_champion: Callable[..., Outcome]) -> None:
    outcome = beside_the_champion("recall_is_not_worse", 0.21, None)
    assert outcome.passed
    assert outcome.observed.startswith(NO_CHAMPION)


@pytest.mark.parametrize("gate", KEPT)
@pytest.mark.parametrize(
    ("value", "other", "settings", "passes"),
    [
        (0.4, 0.5, {"minimum_kept_of_champion": 0.8}, True),
        (0.39, 0.5, {"minimum_kept_of_champion": 0.8}, False),
        (0.39, None, {"minimum_kept_of_champion": 0.8}, True),
        (0.39, None, {"minimum_coverage": 0.4, "minimum_beyond_head_recall": 0.4}, False),
        (0.6, 0.5, {"minimum_coverage": 0.7, "minimum_beyond_head_recall": 0.7}, False),
        (None, 0.5, {}, False),
        (nan, 0.5, {}, False),
        (None, None, {}, True),
        (None, 0.5, {"minimum_kept_of_champion": 0}, True),
    ],
)
def test_enough_of_the_catalogue_and_of_the_clicks_beyond_the_head_is_kept(
    beside_the_champion: Callable[..., Outcome],
    gate: str,
    value: float | None,
    other: float | None,
    settings: dict[str, float],
    passes: bool,
) -> None:
    outcome = beside_the_champion(gate, value, other, **settings)
    assert outcome.passed is passes
    assert "None" not in outcome.observed + outcome.expected


@pytest.fixture
def decided(insert: Insert) -> Callable[..., None]:
    """Put a decision on a version that could be served."""

    def put(version: str, decision: str, hour: int, day: str = "2024-01-05") -> None:
        keys = {"model_version": version, "model_day": day, "reasons": "failed: something", "run_id": "run"}
        insert("champion_decisions", {**keys, "decision": decision, "decided_at": f"2024-01-06 {hour:02}:00"})
        quality = {"day": day, "model_version": version, "index_version": version, "factory": "Flat", "k": 100}
        insert(
            "ann_index_quality",
            {**quality, "popularity_weight": 1, "recall_at_k": 1, "queries_per_second": 1, "queries": 1},
        )

    return put


@pytest.fixture
def served_on(insert: Insert) -> Callable[..., None]:
    """Make a version the champion."""

    def put(version: str, day: str) -> None:
        keys = {"index_version": version, "report_version": version, "promoted_at": "2024-01-06", "reason": "it passed"}
        insert("champion", {"model_version": version, "model_day": day, **keys})

    return put


def test_a_newer_version_that_was_refused_last_is_named_with_its_reasons(
    gate_result: GateResult, decided: Callable[..., None], served_on: Callable[..., None]
) -> None:
    served_on("old", "2024-01-04")
    decided("new", "promoted", 1)
    decided("new", "refused", 2)
    outcome = gate_result("challenger_is_not_worse")
    assert not outcome.passed
    assert outcome.observed == "refused: new; served: old"
    assert outcome.sample == ["new failed: something"]


@pytest.mark.parametrize(("decision", "day"), [("rolled back", "2024-01-05"), ("refused", "2024-01-03")])
def test_versions_that_were_rolled_back_or_are_older_are_no_refusals(
    gate_result: GateResult, decided: Callable[..., None], served_on: Callable[..., None], decision: str, day: str
) -> None:
    served_on("old", "2024-01-04")
    decided("new", decision, 1, day)
    assert gate_result("challenger_is_not_worse").passed
