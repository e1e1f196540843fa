"""SQL files: found, their parameters bound, their result staged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from twotower_assets.core.folders import SQL_FOLDER
from twotower_assets.lake.queries import QueryError, bound, read_query, scalar, stage

PARAMETERS = {"first_day": "2024-01-01", "last_day": "2024-01-02"}


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def test_every_sql_file_of_the_project_is_one_statement(con: duckdb.DuckDBPyConnection) -> None:
    files = sorted(SQL_FOLDER.rglob("*.sql"))
    assert files
    for file in files:
        text = read_query(file).replace("{dimensions}", "2")
        assert len(con.extract_statements(text)) == 1, file


def test_a_statement_may_end_with_a_semicolon(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    (tmp_path / "one.sql").write_text("SELECT 1 AS one;\n\n")
    assert stage(con, "staged", read_query(tmp_path / "one.sql")) == 1


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(QueryError, match=r"nowhere\.sql"):
        read_query(tmp_path / "nowhere.sql")


def test_only_the_parameters_that_the_sql_names_are_bound(con: duckdb.DuckDBPyConnection) -> None:
    assert bound(con, "SELECT $first_day", PARAMETERS) == {"first_day": "2024-01-01"}
    assert bound(con, "SELECT '$first_day'", PARAMETERS) == {}


def test_an_unknown_parameter_is_named_with_those_that_there_are(con: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(QueryError, match=r"\$today.*\$first_day, \$last_day"):
        bound(con, "SELECT $today", PARAMETERS)


@pytest.mark.parametrize("sql", ["SELECT 1; SELECT 2", "-- nothing"])
def test_a_file_must_hold_one_statement(con: duckdb.DuckDBPyConnection, sql: str) -> None:
    with pytest.raises(QueryError, match="one SQL statement"):
        bound(con, sql, {})


def test_sql_that_duckdb_refuses_is_an_error_with_duckdbs_reason(con: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(QueryError, match="syntax error"):
        stage(con, "staged", "SELEKT 1")
    with pytest.raises(QueryError, match="no_such_table"):
        stage(con, "staged", "FROM no_such_table")


def test_staging_again_replaces_what_was_staged(con: duckdb.DuckDBPyConnection) -> None:
    stage(con, "staged", "SELECT unnest([1, 2])")
    assert stage(con, "staged", "SELECT $value AS value", {"value": "it's 3"}) == 1
    assert scalar(con, "SELECT value FROM staged") == "it's 3"


def test_a_query_without_a_row_gives_none(con: duckdb.DuckDBPyConnection) -> None:
    assert scalar(con, "SELECT 1 WHERE false") is None
