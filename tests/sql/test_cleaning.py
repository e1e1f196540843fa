"""Cleaning: which raw rows are taken, which are rejected and why, and what becomes of a catalogue's columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from twotower_assets.core.folders import SQL_FOLDER
from twotower_assets.datasets.raw_source import (
    KNOWN_COLUMNS,
    REQUIRED_COLUMNS,
    Rejects,
    Source,
    SourceError,
    partition_bounds,
    refuse_days_above,
    stage_catalogue,
    stage_impressions,
)
from twotower_assets.lake.queries import read_query
from twotower_assets.lake.tables import REJECTION_REASONS

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


def test_a_day_whose_rows_are_rejected_is_refused_though_the_range_is_not(
    clean: Clean, con: duckdb.DuckDBPyConnection
) -> None:
    good = [f"'u{i}', 'a', TIMESTAMP '2024-01-0{day} 10:00', true" for day in (1, 3) for i in range(50)]
    lost = [f"'u{i}', 'a', TIMESTAMP '2024-01-02 10:00', NULL" for i in range(4)]
    untimed = [f"'u{i}', 'a', NULL::TIMESTAMP, true" for i in range(5)]
    found = clean(rows(*good, *lost, *untimed), day=FIRST, last=date(2024, 1, 3))
    found.raise_above(0.1, "impressions")
    with pytest.raises(
        SourceError, match=r"on 2024-01-02 \(4 of 4, most of them: clicked is missing.*Nothing was written"
    ):
        refuse_days_above(con, 0.1)
    clean(rows(*good, *untimed), day=FIRST, last=date(2024, 1, 3))
    refuse_days_above(con, 0.05)


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


ID_AS_FOUND = [
    ("1.0::DOUBLE", "1"),
    ("-7.0::FLOAT", "-7"),
    ("7.00::DECIMAL(5, 2)", "7"),
    ("12345678901234567890::HUGEINT", "12345678901234567890"),
    ("9007199254740991::DOUBLE", "9007199254740991"),
    ("'\"sku1\"'::JSON", "sku1"),
    ("'12'::JSON", "12"),
    ("encode('ü')", "ü"),
    ("'1.0'", "1.0"),
    ("'nan'", "nan"),
    ("'0444778'", "0444778"),
]


@pytest.mark.parametrize(("found", "text"), ID_AS_FOUND)
def test_an_id_of_any_type_is_the_text_that_its_owner_means(
    clean: Clean, con: duckdb.DuckDBPyConnection, found: str, text: str
) -> None:
    assert clean(rows(f"{found}, {found}, {NOON}, true")).rejected == 0
    assert taken(con) == [(text, text)]
    clean(f"SELECT {found} AS item_id", "items")
    clean(f"SELECT {found} AS user_id", "users")
    assert con.execute("SELECT item_id FROM staged_items").fetchall() == [(text,)]
    assert con.execute("SELECT user_id FROM staged_users").fetchall() == [(text,)]


FAULTY_IDS = [
    ("'nan'::DOUBLE", " is missing"),
    ("'null'::JSON", " is missing"),
    ("'\"  \"'::JSON", " is missing"),
    ("1.5::DOUBLE", " is no whole number"),
    ("7.25::DECIMAL(5, 2)", " is no whole number"),
    ("'inf'::DOUBLE", " is no whole number"),
    ("1e16::DOUBLE", " is a float above 2^53, which is not exact"),
    ("'\\xFF'::BLOB", " is no text in UTF-8"),
    ("'a' || chr(0)", " holds a character of code 0"),
    ("repeat('x', 1001)", " has more than 1,000 characters"),
]


@pytest.mark.parametrize(("found", "fault"), FAULTY_IDS)
def test_what_is_no_id_is_rejected_with_the_reason(
    clean: Clean, con: duckdb.DuckDBPyConnection, found: str, fault: str
) -> None:
    assert clean(rows(f"{found}, 'a', {NOON}, true")).reasons == {f"user_id{fault}": 1}
    assert clean(rows(f"'u', {found}, {NOON}, true")).reasons == {f"item_id{fault}": 1}
    assert clean(f"SELECT {found} AS item_id", "items").reasons == {f"item_id{fault}": 1}
    assert clean(f"SELECT {found} AS user_id", "users").reasons == {f"user_id{fault}": 1}
    kept = con.execute("SELECT user_id, item_id, shown_at FROM staged_rejected_impressions").fetchall()
    assert not any("\0" in str(value) or len(str(value)) > 1000 for row in kept for value in row)


def test_integers_that_one_missing_id_turned_into_floats_join_the_catalogue(
    clean: Clean, con: duckdb.DuckDBPyConnection
) -> None:
    log = [f"{user}, {item}, {NOON}, true" for user, item in (("1.0::DOUBLE", "7"), ("NULL", "8"), ("2.0", "7"))]
    assert clean(rows(*log)).reasons == {"user_id is missing": 1}
    clean("SELECT 7 AS item_id", "items")
    assert con.execute(
        "SELECT user_id, item_id FROM staged_impressions JOIN staged_items USING (item_id)"
    ).fetchall() == [
        ("1", "7"),
        ("2", "7"),
    ]


@pytest.mark.parametrize(
    ("found", "click"),
    [
        *(
            (value, True)
            for value in ("true", "1", "1.0::DOUBLE", "'true'", "'1'", "'1.0'", "'t'", "'true'::JSON", "'1'::JSON")
        ),
        *((value, False) for value in ("false", "0", "0.0::DOUBLE", "'false'", "'0'", "'0.0'", "0::UTINYINT")),
        *((value, None) for value in ("-1", "2", "0.4", "'nan'::DOUBLE", "'-1'", "'maybe'", "''", "NULL", "[true]")),
    ],
)
def test_a_click_is_a_boolean_or_0_or_1_and_nothing_else(
    clean: Clean, con: duckdb.DuckDBPyConnection, found: str, click: bool | None
) -> None:
    reasons = clean(rows(f"'u', 'a', {NOON}, {found}")).reasons
    assert taken(con, "clicked") == ([] if click is None else [(click,)])
    assert reasons == ({"clicked is missing or neither true nor false": 1} if click is None else {})


MOMENT = datetime(2024, 1, 2, 10)


@pytest.mark.parametrize(
    "found",
    [
        "TIMESTAMP '2024-01-02 10:00'",
        "TIMESTAMP_NS '2024-01-02 10:00:00'",
        "TIMESTAMPTZ '2024-01-02 15:00:00+05'",
        "'2024-01-02T15:00:00+05:00'",
        "'2024-01-02T15:00+05:00'",
        "'\"2024-01-02T15:00:00+05:00\"'::JSON",
        "'2024-01-02 10:00:00'",
        "'2024-01-02 10:00'",
        "1704189600",
        "1704189600000",
        "1704189600000000",
        "1704189600000000000",
        "1704189600::DOUBLE",
        "'1704189600'",
    ],
)
def test_a_moment_keeps_its_offset_and_epochs_are_told_apart(
    clean: Clean, con: duckdb.DuckDBPyConnection, found: str
) -> None:
    assert clean(rows(f"'u', 'a', {found}, true")).rejected == 0
    assert taken(con, "shown_at") == [(MOMENT,)]
    clean(f"SELECT 'a' AS item_id, {found} AS published_at", "items")
    assert con.execute("SELECT published_at FROM staged_items").fetchall() == [(MOMENT,)]


@pytest.mark.parametrize("found", ["1995", "'1995'", "1995.0", "'1995-01-01'", "DATE '1995-01-01'"])
def test_a_year_of_publication_is_its_first_day(clean: Clean, con: duckdb.DuckDBPyConnection, found: str) -> None:
    clean(f"SELECT 'a' AS item_id, {found} AS published_at", "items")
    assert con.execute("SELECT published_at FROM staged_items").fetchall() == [(datetime(1995, 1, 1),)]


@pytest.mark.parametrize("found", ["'soon'", "true", "[1]", "INTERVAL 1 DAY", "12", "NULL"])
def test_what_is_no_moment_of_publication_is_unknown_and_the_item_stays(
    clean: Clean, con: duckdb.DuckDBPyConnection, found: str
) -> None:
    assert clean(f"SELECT 'a' AS item_id, {found} AS published_at", "items").rejected == 0
    assert con.execute("SELECT item_id, published_at FROM staged_items").fetchall() == [("a", None)]


@pytest.mark.parametrize("year", [1, 1970, 1989, 9999])
def test_a_row_of_long_ago_or_far_ahead_gives_no_first_day_and_is_rejected_once(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, year: int
) -> None:
    odd = f"make_timestamp({year}, 1, 1, 0, 0, 0.0)"
    con.execute(f"COPY ({rows(f'1, 1, {NOON}, true', f'1, 1, {odd}, true')}) TO '{tmp_path}/impressions.parquet'")
    source = Source("parquet", tmp_path, SQL_FOLDER / "sources" / "parquet")
    assert source.days(con) == (DAY, None)
    reason = "shown_at lies in the future" if year == 9999 else "shown_at lies before the earliest day"
    found = [
        stage_impressions(con, source, partition_bounds(day, day, DAY))[0].reasons for day in (DAY, date(2024, 1, 3))
    ]
    assert found == [{reason: 1}, {}]


@pytest.mark.parametrize(
    ("sql", "table", "column"),
    [
        ("SELECT *, lpad(item_id, 5, '0') AS item_id FROM (SELECT '1' AS item_id)", "items", "item_id"),
        ("SELECT *, 2 AS user_id FROM (SELECT 1 AS user_id)", "users", "user_id"),
        (f"SELECT *, true AS CLICKED {rows(f'1, 2, {NOON}, false')}", "impressions", "clicked"),
    ],
)
def test_a_column_of_the_contract_that_comes_twice_is_refused(clean: Clean, sql: str, table: str, column: str) -> None:
    with pytest.raises(SourceError, match=rf"gives the column '{column}' 2 times.*EXCLUDE \({column}\)"):
        clean(sql, table)


WORDS = sorted(
    {
        word.lower()
        for file in SQL_FOLDER.rglob("*.sql")
        for word in re.findall(r"\b[a-zA-Z_]\w*\b", file.read_text(encoding="utf-8"))
    }
    | {"source", "c0", "c1", "moment", "entry", "contract", "source_rows", "contract_rows", "other_columns", "value"}
)
"""Every identifier that occurs in the SQL, and more."""


def test_no_name_of_a_users_own_column_means_anything_to_the_sql(
    clean: Clean, con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    contract = {name for names in KNOWN_COLUMNS.values() for name in names}
    own = ", ".join(f'"own" AS "{word}"' for word in WORDS if word not in contract)
    plain = f"SELECT 'own' AS own, found.* {rows(f'1, 2, {NOON}, true')}"
    assert clean(f"SELECT user_id, item_id, shown_at, clicked, {own} FROM ({plain})").rejected == 0
    assert taken(con, "user_id, item_id, shown_at, clicked") == [("1", "2", datetime(2024, 1, 2, 12), True)]
    for table in ("items", "users"):
        key = REQUIRED_COLUMNS[table][0]
        assert clean(f"SELECT '1' AS {key}, {own} FROM (SELECT 'own' AS own)", table).rejected == 0
        ((found, features),) = con.execute(f"SELECT {key}, features FROM staged_{table}").fetchall()
        assert found == "1"
        assert features == {word: "own" for word in WORDS if word not in contract}
    con.execute(
        f"COPY (SELECT user_id, item_id, shown_at, clicked, {own} FROM ({plain})) TO '{tmp_path}/impressions.parquet'"
    )
    source = Source("parquet", tmp_path, SQL_FOLDER / "sources" / "parquet")
    assert source.days(con) == (DAY, None)
    assert stage_impressions(con, source, partition_bounds(DAY, DAY, DAY))[0].rejected == 0
    assert taken(con) == [("1", "2")]


def test_texts_with_a_character_of_code_0_can_be_kept(clean: Clean, con: duckdb.DuckDBPyConnection) -> None:
    odd = "'a' || chr(0)"
    clean(f"SELECT 1 AS item_id, {odd} AS title, {odd} AS category, {odd} AS brand", "items")
    (row,) = con.execute("SELECT title, category, features['brand'] FROM staged_items").fetchall()
    assert set(row) == {"a\ufffd"}
    clean(rows(f"1, 2, {NOON}, true, {odd}", columns="user_id, item_id, shown_at, clicked, context"))
    assert taken(con, "context") == [("a\ufffd",)]


def test_every_reason_is_declared_and_every_declared_one_is_given() -> None:
    sql = read_query("cleaning/checked_impressions.sql")
    said = set(re.findall(r"THEN '([a-z_]+ [^']+)'", sql)) | {
        f"{column}{fault}"
        for column in ("user_id", "item_id")
        for fault in re.findall(r"(?:THEN|ELSE) '( [^']+)'", read_query("macros/id_fault.sql"))
    }
    assert said == set(REJECTION_REASONS)


def test_optional_columns_are_found_in_any_case(clean: Clean, con: duckdb.DuckDBPyConnection) -> None:
    clean("SELECT 1 AS item_id, 'A' AS Title, 'c' AS CATEGORY, 'b' AS Brand", "items")
    assert con.execute("SELECT title, category, features FROM staged_items").fetchall() == [("A", "c", {"Brand": "b"})]
