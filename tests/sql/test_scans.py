"""What feature SQL reads of a lake: the files of its window, the columns that it names, the rows that it keeps."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest

from twotower_assets.core.days import Days
from twotower_assets.experiments import stage_features as features
from twotower_assets.experiments.stage_features import feature_parameters, stage_feature
from twotower_assets.lake.lake import CommitInfo, Lake, Replacement
from twotower_assets.lake.queries import bound, read_query, stage
from twotower_assets.settings import Settings

SETTINGS = Settings(window_days=3)
ALL_DAYS = Days(date(2024, 1, 1), date(2024, 1, 8))
IMPRESSIONS = """
SELECT
    (TIMESTAMP '2024-01-01' + to_minutes((place * 8 * 1440 // 4000)::INTEGER))::DATE AS day,
    'u' || place % 7 AS user_id,
    'i' || place % 11 AS item_id,
    TIMESTAMP '2024-01-01' + to_minutes((place * 8 * 1440 // 4000)::INTEGER) AS shown_at,
    place % 5 = 0 AS clicked,
    'r' || place // 10 AS request_id,
    'home' AS context,
    place % 10 AS position,
    1.0 AS weight
FROM (SELECT unnest(range(4000)) AS place)
"""


class Scan(NamedTuple):
    """A scan of a table in a plan that was run."""

    table: str
    days: list[int]
    columns: set[str]
    filters: str
    rows: int


@pytest.fixture
def con(lake: Lake) -> Iterator[duckdb.DuckDBPyConnection]:
    """A lake with eight days of impressions and of their daily frequencies."""
    with lake.writer() as con:
        stage(con, "staged_impressions", IMPRESSIONS)
        lake.commit(con, [Replacement("impressions", "staged_impressions", ALL_DAYS)], CommitInfo("impressions"))
        stage_feature(con, "item_frequency_daily", SETTINGS, ALL_DAYS)
        daily = Replacement("item_frequency_daily", "staged_item_frequency_daily", ALL_DAYS)
        lake.commit(con, [daily], CommitInfo("item_frequency_daily"))
        yield con


@pytest.fixture
def scans(con: duckdb.DuckDBPyConnection, jan: Callable[[int], date]) -> Callable[..., list[Scan]]:
    """The scans that the SQL of a feature makes for the days from one of January to another, smallest first."""

    def analyze(feature: str, first: int, last: int) -> list[Scan]:
        sql = read_query(f"features/{feature}.sql")
        values = bound(con, sql, feature_parameters(SETTINGS, Days(jan(first), jan(last))))
        ((_, plan),) = con.execute(f"EXPLAIN (ANALYZE, FORMAT json) {sql}", values).fetchall()
        return sorted(_scans(json.loads(plan)), key=lambda scan: len(scan.days))

    return analyze


def _scans(node: dict[str, Any]) -> Iterator[Scan]:
    if node.get("operator_type") == "TABLE_SCAN":
        about = node["extra_info"]
        files = [Path(name.strip()) for name in about.get("Filename(s)", "").split(",")]
        days = [date.fromisoformat(file.parent.name.removeprefix("day=")).day for file in files]
        assert len(days) == int(about["Total Files Read"])
        filters = " AND ".join([about["Filters"]] if isinstance(about["Filters"], str) else about["Filters"])
        columns = set(about["Projections"])
        yield Scan(about["Table"], sorted(days), columns, filters, node["operator_cardinality"])
    for child in node["children"]:
        yield from _scans(child)


def rows_of(con: duckdb.DuckDBPyConnection, where: str) -> int:
    ((rows,),) = con.execute(f"SELECT count(*) FROM impressions WHERE {where}").fetchall()
    return int(rows)


def test_daily_counts_read_four_columns_of_their_days(
    scans: Callable[..., list[Scan]], con: duckdb.DuckDBPyConnection
) -> None:
    (scan,) = scans("item_frequency_daily", 5, 6)
    assert (scan.table, scan.days, scan.columns) == ("impressions", [5, 6], {"day", "item_id", "user_id", "clicked"})
    assert scan.rows == rows_of(con, "day IN ('2024-01-05', '2024-01-06')")


def test_frequencies_read_the_daily_counts_of_the_window_and_no_impression(scans: Callable[..., list[Scan]]) -> None:
    (scan,) = scans("item_frequency", 5, 6)
    assert (scan.table, scan.days) == ("item_frequency_daily", [3, 4, 5, 6])
    assert scan.columns == {"day", "item_id", "impressions", "clicks"}


def test_the_exposure_log_reads_its_own_days_and_of_the_window_the_clicked_pairs(
    scans: Callable[..., list[Scan]], con: duckdb.DuckDBPyConnection
) -> None:
    shown, clicks = scans("exposure_log", 5, 6)
    assert (shown.table, shown.days) == ("impressions", [5, 6])
    assert shown.columns == {"day", "user_id", "item_id", "context", "request_id", "shown_at"}
    assert "NOT clicked" in shown.filters
    assert (clicks.table, clicks.days) == ("impressions", [3, 4, 5, 6])
    assert clicks.columns == {"day", "user_id", "item_id"}
    assert clicks.rows == rows_of(con, "clicked AND day BETWEEN '2024-01-03' AND '2024-01-06'")


def test_the_exposure_log_meets_the_clicks_in_one_join(con: duckdb.DuckDBPyConnection) -> None:
    sql = read_query("features/exposure_log.sql")
    ((_, plan),) = con.execute(f"EXPLAIN {sql}", bound(con, sql, feature_parameters(SETTINGS, ALL_DAYS))).fetchall()
    assert plan.count("_JOIN") == 1
    assert "DELIM" not in plan


def test_training_pairs_read_the_clicks_of_the_window_once(
    scans: Callable[..., list[Scan]], con: duckdb.DuckDBPyConnection
) -> None:
    (scan,) = scans("training_pairs", 5, 6)
    assert (scan.table, scan.days) == ("impressions", [3, 4, 5, 6])
    assert scan.columns == {"day", "user_id", "item_id", "shown_at", "request_id", "context", "weight"}
    assert scan.rows == rows_of(con, "clicked AND day BETWEEN '2024-01-03' AND '2024-01-06'")


def test_the_exposure_log_is_made_in_stretches_of_days_with_the_same_rows(
    con: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = stage_feature(con, "exposure_log", SETTINGS, ALL_DAYS)
    expected = con.execute("FROM staged_exposure_log").fetchall()
    asked: list[Days] = []
    stage_days = features.stage

    def spy(con: duckdb.DuckDBPyConnection, name: str, sql: str, parameters: dict[str, Any], *, append: bool) -> int:
        asked.append(Days(parameters["first_day"], parameters["last_day"]))
        return stage_days(con, name, sql, parameters, append=append)

    monkeypatch.setattr(features, "stage", spy)
    monkeypatch.setattr(features, "IMPRESSIONS_AT_ONCE", 1_000)  # of 500 a day
    assert stage_feature(con, "exposure_log", SETTINGS, ALL_DAYS) == whole == len(expected)
    assert con.execute("FROM staged_exposure_log").fetchall() == expected
    assert [(days.first.day, days.last.day) for days in asked] == [(1, 2), (3, 4), (5, 6), (7, 8)]
    asked.clear()
    monkeypatch.setattr(features, "IMPRESSIONS_AT_ONCE", 10)
    stage_feature(con, "exposure_log", SETTINGS, ALL_DAYS)
    assert [days.first for days in asked] == [days.last for days in asked], "a day is never cut"
    assert len(asked) == 8
