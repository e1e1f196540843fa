"""Cleaning: which raw rows are taken, which are rejected and why, and what becomes of a catalogue's columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from twotower_assets.datasets.raw_source import (
    Rejects,
    Source,
    SourceError,
    partition_bounds,
    stage_catalogue,
    stage_impressions,
)

FIRST, DAY = date(2024, 1, 1), date(2024, 1, 2)
NOON = "TIMESTAMP '2024-01-02 12:00'"
Clean = Callable[..., Rejects]


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'; SET threads = 1")
        yield connection


@pytest.fixture
def clean(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> Clean:
    """Clean the rows that SQL gives, as `impressions` of some days or as a catalogue table."""

    def run(sql: str, table: str = "impressions", day: date = DAY, last: date | None = None) -> Rejects:
        (tmp_path / f"{table}.sql").write_text(sql)
        source = Source("mine", tmp_path, tmp_path)
        if table != "impressions":
            return stage_catalogue(con, source, table)
        rejects, _ = stage_impressions(con, source, partition_bounds(day, last or day, FIRST))
        return rejects

    return run


def rows(*values: str, columns: str = "user_id, item_id, shown_at, clicked") -> str:
    return f"FROM (VALUES {', '.join(f'({value})' for value in values)}) found({columns})"


def taken(con: duckdb.DuckDBPyConnection, columns: str = "user_id, item_id") -> list[tuple[Any, ...]]:
    return con.execute(f"SELECT {columns} FROM staged_impressions").fetchall()


def rejected(con: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    return con.execute("FROM staged_rejected_impressions").fetchall()


@pytest.mark.parametrize(("user", "item"), [("1", "2"), ("'1'", "'2'"), ("' 1 '", "'2 '")])
def test_ids_are_text_whether_the_source_has_numbers_or_text(
    clean: Clean, con: duckdb.DuckDBPyConnection, user: str, item: str
) -> None:
    assert clean(rows(f"{user}, {item}, {NOON}, true")).rejected == 0
    assert taken(con) == [("1", "2")]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (f"NULL, 'a', {NOON}, true", "user_id is missing"),
        (f"'  ', 'a', {NOON}, true", "user_id is missing"),
        (f"'u', NULL, {NOON}, true", "item_id is missing"),
        (f"'u', '', {NOON}, true", "item_id is missing"),
        ("'u', 'a', NULL::TIMESTAMP, true", "shown_at is missing or no timestamp"),
        (f"'u', 'a', {NOON}, NULL", "clicked is missing or neither true nor false"),
        ("'u', 'a', TIMESTAMP '2024-01-01 23:59:59.999999', true", "shown_at lies outside the partition"),
        ("'u', 'a', TIMESTAMP '2024-01-03', true", "shown_at lies outside the partition"),
        ("'u', 'a', TIMESTAMP '2999-01-01', true", "shown_at lies in the future"),
    ],
)
def test_a_bad_row_is_rejected_with_its_reason_and_as_it_was_found(
    clean: Clean, con: duckdb.DuckDBPyConnection, row: str, reason: str
) -> None:
    found = clean(rows(f"'good', 'a', {NOON}, false", row))
    assert (found.rows, found.rejected, found.reasons) == (2, 1, {reason: 1})
    assert taken(con) == [("good", "a")]
    ((day, why, *as_found),) = rejected(con)
    assert (day, why) == (DAY, reason)
    texts = ", ".join(f"({value})::VARCHAR" for value in row.split(", "))
    assert tuple(as_found) == con.execute(f"SELECT {texts}").fetchone()


@pytest.mark.parametrize("found", ["'maybe'", "''"])
def test_a_click_flag_that_is_no_flag_is_rejected_and_kept_as_found(
    clean: Clean, con: duckdb.DuckDBPyConnection, found: str
) -> None:
    assert clean(rows(f"'u', 'a', {NOON}, {found}")).reasons == {"clicked is missing or neither true nor false": 1}
    assert rejected(con)[0][-1] == found.strip("'")


@pytest.mark.parametrize(("found", "clicked"), [("1", True), ("0", False), ("'true'", True), ("'f'", False)])
def test_numbers_and_words_are_click_flags(
    clean: Clean, con: duckdb.DuckDBPyConnection, found: str, clicked: bool
) -> None:
    clean(rows(f"'u', 'a', {NOON}, {found}"))
    assert taken(con, "clicked") == [(clicked,)]


def test_text_is_read_as_a_timestamp_and_an_offset_is_applied(clean: Clean, con: duckdb.DuckDBPyConnection) -> None:
    clean(rows("'u', 'a', '2024-01-02T01:00:00+02:00', true", "'u', 'b', '2024-01-03 01:00:00+02:00', true"))
    assert taken(con, "item_id, shown_at") == [("b", datetime(2024, 1, 2, 23))]
    assert rejected(con)[0][1:4] == ("shown_at lies outside the partition", "u", "a")


@pytest.mark.parametrize("weight", ["-1", "'nan'::DOUBLE", "'inf'::DOUBLE"])
def test_a_weight_that_training_cannot_use_is_rejected(
    clean: Clean, con: duckdb.DuckDBPyConnection, weight: str
) -> None:
    columns = "user_id, item_id, shown_at, clicked, weight"
    found = clean(rows(f"'u', 'a', {NOON}, true, {weight}", f"'u', 'b', {NOON}, true, NULL", columns=columns))
    assert found.reasons == {"weight is negative or not finite": 1}
    assert taken(con, "item_id, weight") == [("b", None)]


def test_of_repeats_one_is_taken_and_a_click_wins(clean: Clean, con: duckdb.DuckDBPyConnection) -> None:
    found = clean(
        rows(
            *(f"'u', 'a', {NOON}, {clicked}" for clicked in ("false", "true", "false")),
            f"'u', 'b', {NOON}, true",
            f"'v', 'a', {NOON}, true",
            "'u', 'a', TIMESTAMP '2024-01-02 12:00:00.000001', false",
        )
    )
    assert found.reasons == {"repeats a user, item and moment": 2}
    assert sorted(taken(con, "user_id, item_id, clicked")) == [
        ("u", "a", False),
        ("u", "a", True),
        ("u", "b", True),
        ("v", "a", True),
    ]
    assert {row[-1] for row in rejected(con)} == {"false"}


def test_a_bad_row_never_takes_the_place_of_a_good_repeat(clean: Clean, con: duckdb.DuckDBPyConnection) -> None:
    found = clean(rows(f"'u', 'a', {NOON}, NULL", f"'u', 'a', {NOON}, false", f"'u', 'a', {NOON}, NULL"))
    assert found.reasons == {"clicked is missing or neither true nor false": 2}
    assert taken(con, "clicked") == [(False,)]
    columns = "user_id, item_id, shown_at, clicked, weight"
    clean(rows(f"'u', 'a', {NOON}, true, -1", f"'u', 'a', {NOON}, false, 2", columns=columns))
    assert taken(con, "clicked, weight") == [(False, 2)]


def test_every_row_is_either_taken_or_rejected(clean: Clean, con: duckdb.DuckDBPyConnection) -> None:
    found = clean(
        "SELECT nullif(i % 5, 0) AS user_id, nullif(i % 3, 0) AS item_id, "
        "TIMESTAMP '2024-01-01' + to_hours(i::INTEGER) AS shown_at, nullif(i % 4, 0) = 1 AS clicked "
        "FROM range(200) numbers(i)"
    )
    assert found.rows == 200
    assert len(rejected(con)) == found.rejected == sum(found.reasons.values())
    assert len(taken(con)) == 200 - found.rejected > 0


def test_over_several_days_each_row_lies_in_its_own(clean: Clean, con: duckdb.DuckDBPyConnection) -> None:
    nights = [f"'u', 'a', TIMESTAMP '2024-01-0{day} 23:59:59', true" for day in (1, 2, 3, 4)]
    clean(rows(*nights), day=FIRST, last=date(2024, 1, 3))
    assert taken(con, "day(day)") == [(1,), (2,), (3,)]
    assert [row[:2] for row in rejected(con)] == [(FIRST, "shown_at lies outside the partition")]


def test_a_day_without_rows_is_empty_and_not_refused(clean: Clean, con: duckdb.DuckDBPyConnection) -> None:
    found = clean(rows(f"'u', 'a', {NOON}, true") + " WHERE false")
    found.raise_above(0, "impressions")
    assert (found.rows, taken(con), rejected(con)) == (0, [], [])


def test_more_rejects_than_allowed_are_refused_and_the_first_few_named(clean: Clean) -> None:
    found = clean(rows(*(f"NULL, 'item {i}', {NOON}, true" for i in range(5)), f"'u', 'a', {NOON}, true"))
    with pytest.raises(SourceError, match=r"5 of 6 rows of impressions .*TWOTOWER_MAXIMUM_REJECTED_SHARE") as error:
        found.raise_above(0.5, "impressions")
    assert str(error.value).count("user_id is missing (user_id=None, item_id=item ") == 3
    found.raise_above(5 / 6, "impressions")


def catalogue(con: duckdb.DuckDBPyConnection, columns: str) -> list[tuple[Any, ...]]:
    return con.execute(f"SELECT {columns} FROM staged_items").fetchall()


def test_further_columns_of_an_item_land_in_its_features_as_text(clean: Clean, con: duckdb.DuckDBPyConnection) -> None:
    clean(
        "SELECT 1 AS item_id, 'news' AS category, 'T' AS title, 3.5 AS price, true AS \"on sale\", NULL AS brand",
        "items",
    )
    assert catalogue(con, "item_id, category, title, features") == [
        ("1", "news", "T", {"price": "3.5", "on sale": "true"})
    ]


def test_an_item_without_a_category_is_unknown_or_what_its_path_ends_in(
    clean: Clean, con: duckdb.DuckDBPyConnection
) -> None:
    clean(
        rows(
            "1, NULL, NULL",
            "2, '  ', []",
            "3, NULL, ['home', 'garden']",
            "4, 'own', ['home', 'garden']",
            columns="item_id, category, categories",
        ),
        "items",
    )
    assert catalogue(con, "item_id, category, categories") == [
        ("1", "unknown", None),
        ("2", "unknown", None),
        ("3", "garden", ["home", "garden"]),
        ("4", "own", ["home", "garden"]),
    ]


def test_a_catalogue_of_ids_only_is_enough(clean: Clean, con: duckdb.DuckDBPyConnection) -> None:
    assert clean("SELECT 7 AS item_id", "items").rejected == 0
    assert catalogue(con, "item_id, category, categories, title, published_at, features") == [
        ("7", "unknown", None, None, None, {})
    ]


@pytest.mark.parametrize("table", ["items", "users"])
def test_of_repeated_and_nameless_rows_of_a_catalogue_one_each_is_taken(
    clean: Clean, con: duckdb.DuckDBPyConnection, table: str
) -> None:
    key = f"{table[:-1]}_id"
    found = clean(rows("1, 'x'", "1, 'y'", "NULL, 'x'", "2, 'x'", columns=f"{key}, colour"), table)
    reasons = {"items": "repeats an item", "users": "repeats a user"}
    assert found.reasons == {reasons[table]: 1, f"{key} is missing": 1}
    assert con.execute(f"SELECT {key}, features FROM staged_{table}").fetchall() == [
        ("1", {"colour": "x"}),
        ("2", {"colour": "x"}),
    ]
