"""The suites: they run on any frame, pass on good rows, and on a bad row say what was observed, expected and where."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from twotower_assets.checks.expectations import Expectation, suite, validate
from twotower_assets.checks.outcome import Outcome
from twotower_assets.lake.tables import TABLES, Column, Table

GOOD_VALUES: dict[str, Any] = {
    "DATE": "2024-01-0{n}",
    "VARCHAR": "text {n}",
    "TIMESTAMP": "2024-01-01 00:0{n}",
    "BOOLEAN": None,
    "VARCHAR[]": ["a"],
    "FLOAT[]": [1.0],
}
WITH_SUITES = sorted(name for name, table in TABLES.items() if suite(table))


def good_value(column: Column, row: int) -> Any:
    if column.values:
        return column.values[0]
    if column.type == "BOOLEAN":
        return row == 0
    if column.minimum is not None or column.maximum is not None:
        return column.minimum if column.minimum is not None else column.maximum
    pattern = GOOD_VALUES.get(column.type, row)
    return pattern.format(n=row + 1) if isinstance(pattern, str) else pattern


def frame_of(table: Table, rows: int) -> pd.DataFrame:
    """Rows that keep every rule; the identifying columns differ from row to row."""
    frame = pd.DataFrame(
        {column.name: [good_value(column, row) for row in range(rows)] for column in table.columns},
        columns=table.column_names,
    )
    return frame.astype({column.name: "bool" for column in table.columns if column.type == "BOOLEAN"})


def outcomes(table: Table, frame: pd.DataFrame) -> dict[str, Outcome]:
    expectations = suite(table)
    return {one.name: found for one, found in zip(expectations, validate(frame, expectations), strict=True)}


@pytest.mark.parametrize("name", WITH_SUITES)
def test_every_suite_passes_on_good_rows(name: str) -> None:
    found = outcomes(TABLES[name], frame_of(TABLES[name], 2))
    assert [check for check, outcome in found.items() if not outcome.passed] == []


@pytest.mark.parametrize("name", WITH_SUITES)
def test_on_an_empty_table_every_suite_runs_and_says_only_that_there_are_no_rows(name: str) -> None:
    found = outcomes(TABLES[name], frame_of(TABLES[name], 0))
    failed = {check: outcome for check, outcome in found.items() if not outcome.passed}
    assert set(failed) <= {"has_rows", "click_rate_is_plausible"}
    assert not any("could not be evaluated" in outcome.observed for outcome in failed.values())


def test_a_value_out_of_range_is_counted_and_shown() -> None:
    table = TABLES["item_frequency"]
    frame = frame_of(table, 3).assign(q=[0.5, -0.25, 1.5])
    outcome = outcomes(table, frame)["q_is_in_range"]
    assert not outcome.passed
    assert outcome.observed == "2 of 3 rows fail"
    assert outcome.sample == ["-0.25", "1.5"]
    assert "[0, 1]" in outcome.expected


def test_both_ends_of_a_range_are_allowed_and_rounding_above_one_is() -> None:
    table = TABLES["item_frequency"]
    assert outcomes(table, frame_of(table, 3).assign(q=[0.0, 1.0, 1 + 1e-12]))["q_is_in_range"].passed


def test_a_missing_value_of_a_column_that_may_be_null_passes() -> None:
    table = TABLES["impressions"]
    assert outcomes(table, frame_of(table, 2).assign(weight=[None, 2.0]))["weight_is_in_range"].passed


def test_a_value_outside_the_known_set_is_shown() -> None:
    table = TABLES["item_frequency"]
    outcome = outcomes(table, frame_of(table, 2).assign(bucket=["head", "shoulder"]))["bucket_is_known"]
    assert (outcome.passed, outcome.sample) == (False, ["shoulder"])
    assert "head, mid, tail, cold" in outcome.expected


def test_repeated_identities_are_shown_by_one_column_or_several() -> None:
    items, pairs = TABLES["items"], TABLES["training_pairs"]
    one = outcomes(items, frame_of(items, 3).assign(item_id=["a", "b", "a"]))["rows_are_unique"]
    assert (one.passed, one.observed, one.sample) == (False, "2 of 3 rows fail", ["a", "a"])
    frame = frame_of(pairs, 2)
    several = outcomes(pairs, pd.concat([frame, frame.iloc[:1]], ignore_index=True))["rows_are_unique"]
    assert (several.passed, several.observed) == (False, "2 of 3 rows fail")
    assert frame["user_id"][0] in several.sample[0]
    assert "user_id, item_id, clicked_at" in several.expected


def test_identities_that_differ_in_one_column_are_no_repeats() -> None:
    table = TABLES["exposure_log"]
    frame = pd.concat([frame_of(table, 1)] * 3, ignore_index=True).assign(context=["home", "search", None])
    assert outcomes(table, frame)["rows_are_unique"].passed
    assert not outcomes(table, frame.assign(context=[None, "search", None]))["rows_are_unique"].passed


def test_an_empty_table_fails_the_count_of_rows_and_says_zero() -> None:
    outcome = outcomes(TABLES["items"], frame_of(TABLES["items"], 0))["has_rows"]
    assert (outcome.passed, outcome.observed) == (False, "0")


@pytest.mark.parametrize("clicked", [True, False])
def test_a_log_of_only_clicks_or_none_is_suspicious_and_says_the_rate(clicked: bool) -> None:
    table = TABLES["impressions"]
    outcome = outcomes(table, frame_of(table, 4).assign(clicked=clicked))["click_rate_is_plausible"]
    assert (outcome.passed, outcome.observed) == (False, "1" if clicked else "0")


def test_a_catalogue_is_warned_of_where_most_items_have_no_category() -> None:
    table = TABLES["items"]
    frame = frame_of(table, 4)
    half = outcomes(table, frame.assign(category=["unknown", "unknown", "news", "arts"]))
    most = outcomes(table, frame.assign(category=["unknown", "unknown", "unknown", "arts"]))
    assert half["most_items_have_a_category"].passed
    assert not most["most_items_have_a_category"].passed


def test_an_expectation_that_cannot_be_evaluated_fails_and_says_why() -> None:
    expectation = Expectation("q", "", "ExpectColumnValuesToBeBetween", {"column": "q", "min_value": 0})
    absent, text = (
        validate(frame, [expectation])[0] for frame in (pd.DataFrame({"p": [1]}), pd.DataFrame({"q": ["x"]}))
    )
    assert not absent.passed
    assert '"q"' in absent.observed
    assert not text.passed
    assert "same type" in text.observed


def test_outcomes_come_in_the_order_of_the_expectations() -> None:
    one = Expectation("q", "", "ExpectColumnValuesToBeBetween", {"column": "q", "min_value": 0})
    other = replace(one, arguments={"column": "p", "min_value": 0})
    frame = pd.DataFrame({"p": [-1], "q": [1]})
    assert [found.passed for found in validate(frame, [one, other, one])] == [True, False, True]


def test_a_day_without_rows_warns_and_a_catalogue_without_rows_blocks() -> None:
    errors = {name: {one.name for one in suite(TABLES[name]) if one.error} for name in ("impressions", "items")}
    assert "has_rows" not in errors["impressions"]
    assert "has_rows" in errors["items"]
    assert not {"has_rows"} & {one.name for one in suite(TABLES["users"])}


def test_names_of_checks_are_unique_within_a_table() -> None:
    for table in TABLES.values():
        names = [one.name for one in suite(table)]
        assert len(names) == len(set(names)), table.name
