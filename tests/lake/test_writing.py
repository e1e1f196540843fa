"""What is reported of rows that were written."""

from __future__ import annotations

from datetime import date

import duckdb
import pytest

from twotower_assets.core.days import Days
from twotower_assets.lake.writing import daily_numbers

DAYS = Days(date(2024, 1, 1), date(2024, 1, 3))


@pytest.fixture
def con() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute(
        """
        CREATE TABLE checked_impressions AS
        SELECT DATE '2024-01-01' AS day, 'ann' AS user_id, item_id, item_id = 'a' AS clicked, reason
        FROM (VALUES ('a', NULL), ('b', NULL), ('b', NULL), ('c', NULL), ('d', 'it repeats')) AS shown (item_id, reason)
        """
    )
    con.execute("CREATE TABLE staged_user_embeddings AS SELECT day, user_id FROM checked_impressions LIMIT 2")
    return con


def test_each_day_has_a_count_and_its_own_numbers(con: duckdb.DuckDBPyConnection) -> None:
    numbers = daily_numbers(con, "impressions", DAYS)
    first = numbers[date(2024, 1, 1)]
    assert first["row_count"] == 4
    assert (first["rows_read"], first["rows_rejected"]) == (5, 1)
    assert (first["clicks"], first["click_rate"], first["users"], first["items"]) == (1, 0.25, 1, 3)
    assert numbers[date(2024, 1, 2)] == numbers[date(2024, 1, 3)] == {"row_count": 0, "note": "no rows"}


def test_a_table_without_numbers_of_its_own_has_the_count(con: duckdb.DuckDBPyConnection) -> None:
    numbers = daily_numbers(con, "user_embeddings", DAYS)
    assert [entry["row_count"] for entry in numbers.values()] == [2, 0, 0]
