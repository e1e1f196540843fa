"""Raw data sets: finding their SQL and files, and what is said when they are wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path

import duckdb
import pytest

from twotower_assets.core.folders import SQL_FOLDER
from twotower_assets.datasets.raw_source import (
    Source,
    SourceError,
    partition_bounds,
    stage_catalogue,
    stage_impressions,
    types_found,
)

BOUNDS = partition_bounds(date(2024, 1, 2), date(2024, 1, 2), date(2024, 1, 1))
GOOD_LOG = "SELECT 1 AS user_id, 2 AS item_id, TIMESTAMP '2024-01-02 10:00' AS shown_at, true AS clicked"
Sql = Callable[..., Source]


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'; SET threads = 1")
        yield connection


@pytest.fixture
def own_sql(tmp_path: Path) -> Sql:
    """A data set with its own SQL, given as text per file, and an existing folder of files."""

    def write(file_format: str | None = None, **texts: str) -> Source:
        for folder in ("sql/mine", "raw"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (tmp_path / "sql" / "mine" / f"{name.replace('__', '.')}.sql").write_text(text)
        return Source("mine", tmp_path / "raw", tmp_path / "sql" / "mine", file_format)

    return write


def test_own_sql_is_read_into_the_contract(con: duckdb.DuckDBPyConnection, own_sql: Sql) -> None:
    rejects, excluded = stage_impressions(con, own_sql(impressions=f"{GOOD_LOG}, 'x' AS device"), BOUNDS)
    assert (rejects.rows, rejects.rejected, excluded) == (1, 0, ["device"])
    assert con.execute("SELECT day, user_id, item_id, shown_at, clicked FROM staged_impressions").fetchall() == [
        (date(2024, 1, 2), "1", "2", datetime(2024, 1, 2, 10), True)
    ]


def test_a_data_set_without_sql_is_named_with_those_that_there_are(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    source = Source("netflix", tmp_path, SQL_FOLDER / "sources" / "netflix")
    with pytest.raises(
        SourceError,
        match=r"'netflix'.*amazon_reviews, ebnerd, kuairand, lastfm_1k, movielens, parquet.*TWOTOWER_DATASET",
    ):
        stage_impressions(con, source, BOUNDS)


def test_a_missing_folder_of_files_is_named(con: duckdb.DuckDBPyConnection, own_sql: Sql) -> None:
    source = own_sql(impressions=GOOD_LOG)
    source.path.rmdir()
    with pytest.raises(SourceError, match=r"raw does not exist.*TWOTOWER_SOURCE_PATH"):
        stage_impressions(con, source, BOUNDS)


def test_a_missing_file_is_named(con: duckdb.DuckDBPyConnection, own_sql: Sql) -> None:
    source = own_sql(impressions="FROM read_parquet($path || '/log.parquet')")
    with pytest.raises(SourceError, match=r"impressions\.sql of the data set 'mine'.*raw/log\.parquet"):
        stage_impressions(con, source, BOUNDS)


def test_a_missing_column_is_named_with_those_that_were_found(con: duckdb.DuckDBPyConnection, own_sql: Sql) -> None:
    source = own_sql(impressions="SELECT 1 AS user, 2 AS item_id, now() AS ts, true AS clicked", items="SELECT 1 AS id")
    with pytest.raises(SourceError, match=r"no column 'user_id' \(it has: user, item_id, ts, clicked\)"):
        stage_impressions(con, source, BOUNDS)
    with pytest.raises(SourceError, match=r"items\.sql gave no column 'item_id' \(it has: id\)"):
        stage_catalogue(con, source, "items")


def test_sql_that_names_an_unknown_parameter_is_told_which_there_are(
    con: duckdb.DuckDBPyConnection, own_sql: Sql
) -> None:
    with pytest.raises(SourceError, match=r"\$yesterday.*\$partition_end.*\$partition_start.*\$path"):
        stage_impressions(con, own_sql(impressions=f"{GOOD_LOG} WHERE $yesterday < 1"), BOUNDS)


def test_a_table_that_the_data_set_does_not_have_is_an_error_but_users_may_be_missing(
    con: duckdb.DuckDBPyConnection, own_sql: Sql
) -> None:
    source = own_sql(impressions=GOOD_LOG)
    with pytest.raises(SourceError, match=r"no items\.sql"):
        stage_catalogue(con, source, "items")
    assert source.query("users") is None


def test_a_column_of_the_wrong_type_is_an_error(con: duckdb.DuckDBPyConnection, own_sql: Sql) -> None:
    with pytest.raises(SourceError, match="column of the wrong type"):
        stage_catalogue(con, own_sql(items="SELECT 1 AS item_id, 'a|b' AS categories"), "items")


def in_two_formats(own_sql: Sql, file_format: str | None, *files: str) -> Source:
    source = own_sql(file_format, impressions__csv=f"{GOOD_LOG} --csv", impressions__parquet=f"{GOOD_LOG} --parquet")
    for file in files:
        (source.path / file).write_text("")
    return source


def test_the_format_is_found_from_the_files(own_sql: Sql) -> None:
    assert str(in_two_formats(own_sql, None, "log.csv").query("impressions")).endswith("--csv")


def test_files_of_two_formats_must_be_chosen_from(own_sql: Sql) -> None:
    with pytest.raises(SourceError, match="2 of the formats csv, parquet; choose with TWOTOWER_SOURCE_FORMAT"):
        in_two_formats(own_sql, None, "log.csv", "log.parquet").query("impressions")
    assert str(in_two_formats(own_sql, "parquet").query("impressions")).endswith("--parquet")


def test_files_of_no_known_format_are_an_error(own_sql: Sql) -> None:
    with pytest.raises(SourceError, match="0 of the formats csv, parquet"):
        in_two_formats(own_sql, None, "log.xlsx").query("impressions")


def test_a_format_that_the_data_set_does_not_come_in_is_an_error(own_sql: Sql) -> None:
    with pytest.raises(SourceError, match=r"TWOTOWER_SOURCE_FORMAT is 'json'.*csv, parquet"):
        in_two_formats(own_sql, "json", "log.csv").query("impressions")


def test_days_are_what_days_sql_says_and_nothing_without_it(con: duckdb.DuckDBPyConnection, own_sql: Sql) -> None:
    assert own_sql(impressions=GOOD_LOG).days(con) == (None, None)
    source = own_sql(days="SELECT DATE '2024-01-01', NULL::DATE")
    source.path.rmdir()
    assert source.days(con) == (date(2024, 1, 1), None)


@pytest.mark.parametrize("sql", ["SELECT DATE '2024-01-01'", "SELECT TIMESTAMP '2024-01-01', NULL", "SELECT 1, 2"])
def test_days_that_are_not_two_dates_are_a_clear_error(con: duckdb.DuckDBPyConnection, own_sql: Sql, sql: str) -> None:
    with pytest.raises(SourceError, match="two dates"):
        own_sql(days=sql).days(con)


def test_a_log_without_rows_has_no_days(con: duckdb.DuckDBPyConnection, own_sql: Sql) -> None:
    assert own_sql(days="SELECT NULL::DATE, NULL::DATE WHERE false").days(con) == (None, None)


def test_days_that_need_files_that_are_not_there_are_a_clear_error(
    con: duckdb.DuckDBPyConnection, own_sql: Sql
) -> None:
    source = own_sql(days="SELECT min(day), max(day) FROM read_csv($path || '/log.csv')")
    with pytest.raises(SourceError, match=r"days\.sql of the data set 'mine' cannot read"):
        source.days(con)
    source.path.rmdir()
    with pytest.raises(SourceError, match="does not exist"):
        source.days(con)


def parquet(con: duckdb.DuckDBPyConnection, folder: Path, **tables: str) -> Source:
    """The data set `parquet` with files made from SQL."""
    folder.mkdir(exist_ok=True)
    for name, sql in tables.items():
        con.execute(f"COPY ({sql}) TO '{folder / name}.parquet'")
    return Source("parquet", folder, SQL_FOLDER / "sources" / "parquet")


def test_own_parquet_files_are_read_day_by_day(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    log = "SELECT 'u' AS user_id, i AS item_id, TIMESTAMP '2024-01-01 12:00' + to_days(i) AS shown_at, i = 1 AS clicked"
    source = parquet(
        con,
        tmp_path / "raw",
        impressions_1=f"{log} FROM (SELECT unnest([0, 1])::INTEGER AS i)",
        impressions_2=f"{log}, 7 AS position FROM (SELECT 2 AS i)",
        items="SELECT 1 AS item_id, 'news' AS category, 3.5 AS price",
        users="SELECT 'u' AS user_id, 'DE' AS country",
    )
    assert source.days(con) == (date(2024, 1, 1), None)
    stage_impressions(con, source, partition_bounds(date(2024, 1, 2), date(2024, 1, 3), date(2024, 1, 1)))
    assert con.execute("SELECT day(day), item_id, clicked, position FROM staged_impressions").fetchall() == [
        (2, "1", True, None),
        (3, "2", False, 7),
    ]
    stage_catalogue(con, source, "items")
    stage_catalogue(con, source, "users")
    assert con.execute("SELECT item_id, category, features FROM staged_items").fetchall() == [
        ("1", "news", {"price": "3.5"})
    ]
    assert con.execute("FROM staged_users").fetchall() == [("u", {"country": "DE"})]


@pytest.mark.parametrize("time_zone", ["Pacific/Auckland", "America/Los_Angeles"])
def test_days_are_utc_days_wherever_the_machine_stands(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, time_zone: str
) -> None:
    log = "SELECT 1 AS user_id, 1 AS item_id, TIMESTAMPTZ '2024-01-02 12:00:00+00' AS shown_at, true AS clicked"
    source = parquet(con, tmp_path / "raw", impressions=log)
    with duckdb.connect() as local:
        local.execute(f"SET TimeZone = '{time_zone}'")
        assert source.days(local) == (date(2024, 1, 2), None)
    rejects, _ = stage_impressions(con, source, BOUNDS)
    assert rejects.rows == 1


def test_text_that_is_no_timestamp_is_rejected_once_in_the_first_partition(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    log = "SELECT 1 AS user_id, i AS item_id, found AS shown_at, true AS clicked"
    found = ("'2024-01-01 12:00'", "'around noon'", "NULL", "'2024-01-02T12:00:00'", "'2024-01-01T23:00:00-02:00'")
    rows = f"(VALUES {', '.join(f'({place}, {text})' for place, text in enumerate(found))}) rows(i, found)"
    source = parquet(con, tmp_path / "raw", impressions=f"{log} FROM {rows}")
    first = date(2024, 1, 1)
    assert source.days(con) == (first, None)
    reads = []
    for day in (first, date(2024, 1, 2)):
        rejects, _ = stage_impressions(con, source, partition_bounds(day, day, first))
        reads.append((rejects.rows, rejects.reasons))
    assert reads == [(3, {"shown_at is missing or no timestamp": 2}), (2, {})]


def movielens(folder: Path) -> Source:
    folder.mkdir()
    (folder / "ml-100k.inter").write_text(
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
        "1\t10\t4\t879120000\n1\t11\t3\t879120001\n2\t10\t5\t879206400\n2\t11\t?\t879120002\n3\t11\t5\t1e30\n"
    )
    (folder / "ml-100k.item").write_text(
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        '10\tIt\'s "quoted"\t1994\tDrama War\n11\tunknown\t\t\n'
    )
    (folder / "ml-100k.user").write_text(
        "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n1\t24\tM\twriter\t85711\n"
    )
    return Source("movielens", folder, SQL_FOLDER / "sources" / "movielens")


def test_of_movielens_four_and_five_stars_are_clicks(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    source = movielens(tmp_path / "raw")
    day = date(1997, 11, 10)
    rejects, _ = stage_impressions(con, source, partition_bounds(day, day, day))
    assert con.execute("SELECT user_id, item_id, clicked FROM staged_impressions").fetchall() == [
        ("1", "10", True),
        ("1", "11", False),
    ]
    assert rejects.reasons == {
        "clicked is missing or neither true nor false": 1,
        "shown_at is missing or no timestamp": 1,
    }


def test_the_first_genre_of_a_film_is_its_category(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    stage_catalogue(con, movielens(tmp_path / "raw"), "items")
    rows = con.execute("SELECT item_id, category, title, year(published_at), features['genres'] FROM staged_items")
    assert rows.fetchall() == [
        ("10", "Drama", 'It\'s "quoted"', 1994, "Drama War"),
        ("11", "unknown", "unknown", None, None),
    ]


DAILY_ROWS = {24: 2405, 25: 14440, 26: 14093, 27: 13790, 28: 13368, 29: 16263, 30: 17446}


def kuairand_source(con: duckdb.DuckDBPyConnection, slice_: Path, folder: Path, file_format: str) -> Source:
    """The slice as the files of the full data set are called, in a folder of one format."""
    folder.mkdir()
    for file, name in (("log_standard_*", "log_standard_x"), ("video_features_basic", "video_features_basic_pure")):
        con.execute(f"COPY (FROM '{slice_ / file}.parquet') TO '{folder / name}.{file_format}'")
    return Source("kuairand", folder, SQL_FOLDER / "sources" / "kuairand")


@pytest.mark.real_data
def test_kuairand_is_read_by_utc_day_the_same_from_every_format(
    con: duckdb.DuckDBPyConnection, kuairand: Path, tmp_path: Path
) -> None:
    first, last = date(2022, 4, 24), date(2022, 4, 30)
    for file_format in ("parquet", "csv"):
        source = kuairand_source(con, kuairand, tmp_path / file_format, file_format)
        assert source.days(con) == (first, last)
        rejects, _ = stage_impressions(con, source, partition_bounds(first, last, first))
        assert (rejects.rows, rejects.reasons) == (94_784, {"repeats a user, item and moment": 2_979})
        assert stage_catalogue(con, source, "items").reasons == {}
        for table in ("impressions", "items"):
            con.execute(f"CREATE TABLE {table}_{file_format} AS FROM staged_{table}")
    kept = con.execute("SELECT count(*), count(*) FILTER (clicked) FROM impressions_csv")
    assert kept.fetchone() == (91_805, 41_096)
    daily = con.execute("SELECT day(day), count(*) FROM impressions_csv GROUP BY day ORDER BY day")
    assert dict(daily.fetchall()) == DAILY_ROWS
    unknown = con.execute("SELECT count(*), count(*) FILTER (category = 'unknown') FROM items_csv")
    assert unknown.fetchone() == (7_583, 96)
    for table in ("impressions", "items"):
        for one, other in (("csv", "parquet"), ("parquet", "csv")):
            assert con.execute(f"FROM {table}_{one} EXCEPT ALL FROM {table}_{other}").fetchall()[:3] == []


@pytest.mark.real_data
def test_the_days_of_kuairand_read_one_by_one_are_those_read_at_once(
    con: duckdb.DuckDBPyConnection, kuairand: Path
) -> None:
    source = Source("kuairand", kuairand, SQL_FOLDER / "sources" / "kuairand")
    found = {}
    for number in DAILY_ROWS:
        day = date(2022, 4, number)
        rejects, _ = stage_impressions(con, source, partition_bounds(day, day, date(2022, 4, 24)))
        found[number] = rejects.rows - rejects.rejected
    assert found == DAILY_ROWS


def test_a_damaged_row_of_a_csv_log_is_rejected_and_the_others_are_read(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    (tmp_path / "log_standard_x.csv").write_text(
        "user_id,video_id,date,time_ms,is_click,tab\n"
        "1,10,20220425,1650880800000,1,0\n1,11,20220425,soon,1,0\n1,12,20220425,1650880800000,,1\n"
    )
    source = Source("kuairand", tmp_path, SQL_FOLDER / "sources" / "kuairand")
    day = date(2022, 4, 25)
    assert source.days(con) == (day, day)
    rejects, _ = stage_impressions(con, source, partition_bounds(day, day, day))
    assert (rejects.rows, sorted(rejects.reasons)) == (
        3,
        ["clicked is missing or neither true nor false", "shown_at is missing or no timestamp"],
    )


def test_a_row_outside_the_published_days_moves_no_calendar_and_is_counted_once(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    """1650880800000 is 2022-04-25; the others lie in 1970 and 2199."""
    (tmp_path / "log_standard_x.csv").write_text(
        "user_id,video_id,date,time_ms,is_click,tab\n"
        "1,10,20220425,1650880800000,1,0\n1,10,20220426,1650967200000,1,0\n"
        "1,11,19700101,5,1,0\n1,12,21990101,7226582400000,1,1\n"
    )
    source = Source("kuairand", tmp_path, SQL_FOLDER / "sources" / "kuairand")
    first, second = date(2022, 4, 25), date(2022, 4, 26)
    assert source.days(con) == (first, second)
    rejected = {}
    for day in (first, second):
        rejects, _ = stage_impressions(con, source, partition_bounds(day, day, first))
        rejected[day] = rejects.reasons
    assert rejected == {
        first: {"shown_at lies in the future": 1, "shown_at lies before the earliest day": 1},
        second: {},
    }


def test_a_row_of_the_future_in_own_files_moves_no_calendar_and_is_counted_once(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    moments = ("2024-01-02 10:00:00", "2024-01-03 10:00:00", "2199-01-01 00:00:00")
    rows = " UNION ALL ".join(
        f"SELECT 1 AS user_id, 2 AS item_id, TIMESTAMP '{moment}' AS shown_at, true AS clicked" for moment in moments
    )
    source = parquet(con, tmp_path / "raw", impressions=rows)
    first = date(2024, 1, 2)
    assert source.days(con) == (first, None)
    found = [
        stage_impressions(con, source, partition_bounds(day, day, first))[0].reasons
        for day in (first, date(2024, 1, 3))
    ]
    assert found == [{"shown_at lies in the future": 1}, {}]


def test_the_types_of_the_required_columns_are_those_of_the_source(
    con: duckdb.DuckDBPyConnection, own_sql: Sql
) -> None:
    stage_impressions(con, own_sql(impressions=GOOD_LOG.replace("1 AS user_id", "1.0::DOUBLE AS user_id")), BOUNDS)
    found = {"user_id": "DOUBLE", "item_id": "INTEGER", "shown_at": "TIMESTAMP", "clicked": "BOOLEAN"}
    assert types_found(con, "impressions") == found


@pytest.mark.parametrize("folder", ["there", "missing"])
def test_a_log_whose_files_have_not_come_gives_no_last_day_where_the_first_is_set(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, folder: str
) -> None:
    (tmp_path / "there").mkdir()
    source = Source("parquet", tmp_path / folder, SQL_FOLDER / "sources" / "parquet")
    assert source.days(con, only_last=True) == (None, None)
    with pytest.raises(SourceError, match=r"missing|No files found"):
        source.days(con)
