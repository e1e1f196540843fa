"""Replacing rows: whole or not at all, remembered, and with a bounded number of retries."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from datetime import date
from typing import Any

import duckdb
import pytest

from twotower_assets.lake import lake as lake_module
from twotower_assets.lake.lake import COMMIT_ATTEMPTS, CommitInfo, Lake, LakeError, Replacement, writes_of
from twotower_assets.lake.queries import stage

PutDay = Callable[..., int]
UsersByDay = Callable[..., dict[int, list[str]]]
FIRST, SECOND, THIRD = (date(2024, 1, day) for day in (1, 2, 3))


def test_replacing_a_day_leaves_the_other_days(put_day: PutDay, users_by_day: UsersByDay) -> None:
    for day in (FIRST, SECOND, THIRD):
        put_day(day, "ann", 2)
    put_day(SECOND, "bob", 3)
    assert users_by_day() == {1: ["ann"] * 2, 2: ["bob"] * 3, 3: ["ann"] * 2}


def test_replacing_a_day_twice_by_the_same_rows_gives_these_rows_once(
    put_day: PutDay, users_by_day: UsersByDay
) -> None:
    put_day(FIRST, "ann")
    once = users_by_day()
    put_day(FIRST, "ann")
    assert users_by_day() == once


def test_replacing_a_day_by_nothing_empties_it(put_day: PutDay, users_by_day: UsersByDay) -> None:
    put_day(FIRST, "ann")
    put_day(FIRST, "ann", 0)
    assert users_by_day() == {}


def test_a_commit_that_changes_nothing_gives_the_newest_snapshot(lake: Lake) -> None:
    with lake.writer() as con:
        newest = lake.snapshot(con)
        stage(con, "staged", "SELECT NULL::VARCHAR AS user_id, NULL AS features WHERE false")
        assert lake.commit(con, [Replacement("users", "staged")], CommitInfo("users")) == newest


def test_a_table_without_days_is_replaced_as_a_whole(lake: Lake) -> None:
    with lake.writer() as con:
        for user in ("ann", "bob"):
            stage(con, "staged", "SELECT $user AS user_id, NULL AS features", {"user": user})
            lake.commit(con, [Replacement("users", "staged")], CommitInfo("users"))
        assert con.execute("SELECT user_id FROM lake.users").fetchall() == [("bob",)]


def test_rows_of_equal_identity_are_replaced_and_the_others_stay(lake: Lake) -> None:
    category = """
    SELECT $item AS item_id, $name AS category, 0 AS category_index, 1 AS category_items, ['x'] AS path, 1 AS depth
    """
    with lake.writer() as con:
        for item, name in (("i", "old"), ("j", "old"), ("i", "fresh")):
            stage(con, "staged", category, {"item": item, "name": name})
            replacement = Replacement("category_map", "staged", matching=("item_id",))
            lake.commit(con, [replacement], CommitInfo("category_map"))
        rows = con.execute("SELECT item_id, category FROM lake.category_map ORDER BY item_id").fetchall()
    assert rows == [("i", "fresh"), ("j", "old")]


def test_rows_that_have_a_value_are_replaced_and_the_others_stay_even_by_no_row_at_all(lake: Lake) -> None:
    feature = "SELECT $user AS user_id, MAP {'city': $city} AS features"
    with lake.writer() as con:

        def replace(user: str, query: str, **parameters: str) -> list[tuple[Any, ...]]:
            stage(con, "staged", query, {"user": user, **parameters})
            lake.commit(con, [Replacement("users", "staged", where=("user_id", user))], CommitInfo("users"))
            return con.execute("SELECT user_id, features['city'] FROM lake.users ORDER BY ALL").fetchall()

        for user in ("ann", "it's bob"):
            replace(user, feature, city="old")
        assert replace("ann", feature, city="new") == [("ann", "new"), ("it's bob", "old")]
        assert replace("it's bob", f"{feature} WHERE false", city="none") == [("ann", "new")]


def test_columns_are_matched_by_name(lake: Lake) -> None:
    with lake.writer() as con:
        stage(con, "staged", "SELECT 'left out' AS other, NULL AS features, 'ann' AS user_id")
        lake.commit(con, [Replacement("users", "staged")], CommitInfo("users"))
        assert con.execute("SELECT user_id FROM lake.users").fetchall() == [("ann",)]


def test_a_failed_replacement_leaves_the_old_rows_of_every_table_in_the_commit(
    lake: Lake, put_day: PutDay, users_by_day: UsersByDay
) -> None:
    put_day(FIRST, "ann", 2)
    with lake.writer() as con:
        stage(con, "fresh", "SELECT * REPLACE ('bob' AS user_id) FROM lake.impressions")
        stage(con, "broken", "SELECT NULL::VARCHAR AS user_id, NULL AS features")
        replacements = [Replacement("impressions", "fresh", (FIRST, FIRST)), Replacement("users", "broken")]
        with pytest.raises(LakeError, match=r"left the rows as they were: .*user_id"):
            lake.commit(con, replacements, CommitInfo("impressions"))
        assert con.execute("SELECT count(*) FROM lake.users").fetchone() == (0,)
    assert users_by_day() == {1: ["ann", "ann"]}
    put_day(FIRST, "cid", 1)
    assert users_by_day() == {1: ["cid"]}


def test_views_are_defined_in_the_same_commit_or_not_at_all(
    lake: Lake, put_day: PutDay, users_by_day: UsersByDay
) -> None:
    view = "CREATE OR REPLACE VIEW lake.main.clicks AS SELECT user_id FROM lake.main.impressions WHERE clicked"
    put_day(FIRST, "ann", views=[view])
    with pytest.raises(LakeError, match="no_such_table"):
        put_day(FIRST, "bob", views=[view, "CREATE VIEW lake.main.broken AS FROM lake.main.no_such_table"])
    with lake.reader() as con:
        assert con.execute("FROM clicks").fetchall() == [("ann",)]


def test_a_commit_is_remembered_with_its_run_its_days_and_its_snapshot(lake: Lake, put_day: PutDay) -> None:
    snapshots = [put_day(FIRST, "ann", run_id="run one"), put_day(THIRD, "ann", run_id="run two")]
    with lake.writer() as con:
        stage(con, "staged", "SELECT 'ann' AS user_id, NULL AS features")
        last = lake.commit(con, [Replacement("users", "staged")], CommitInfo("users", "run three"))
    with lake.reader() as con:
        daily, whole = writes_of(con, "impressions"), writes_of(con, "users")
    assert [(write["snapshot_id"], write["run_id"], write["first_day"], write["last_day"]) for write in daily] == [
        (snapshots[0], "run one", FIRST, FIRST),
        (snapshots[1], "run two", THIRD, THIRD),
    ]
    assert [(write["snapshot_id"], write["run_id"], write["first_day"]) for write in whole] == [
        (last, "run three", None)
    ]
    assert daily[0]["snapshot_time"] <= daily[1]["snapshot_time"] <= whole[0]["snapshot_time"]


@pytest.fixture
def failing_commit(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], int]:
    """Commit a user while the first `failures` attempts end with `message`; gives the number of attempts."""
    monkeypatch.setattr(lake_module.time, "sleep", lambda seconds: None)

    def commit(message: str, failures: int) -> int:
        attempts: list[int] = []

        def attempt() -> int:
            attempts.append(1)
            if len(attempts) <= failures:
                raise RuntimeError(message)
            return len(attempts)

        with lake.writer() as con:
            con.create_function("attempt", attempt, [], duckdb.sqltypes.INTEGER, side_effects=True)
            stage(con, "staged", "SELECT 'ann' AS user_id, NULL AS features")
            lands = failures < COMMIT_ATTEMPTS
            with nullcontext() if lands else pytest.raises(LakeError, match=message):
                lake.commit(
                    con,
                    [Replacement("users", "staged")],
                    CommitInfo("users"),
                    views=["CREATE OR REPLACE TEMP TABLE attempted AS SELECT attempt()"],
                )
            assert con.execute("SELECT user_id FROM lake.users").fetchall() == ([("ann",)] if lands else [])
            con.remove_function("attempt")
        return len(attempts)

    return commit


@pytest.mark.parametrize("message", ["Transaction conflict on table users", "database is locked"])
def test_a_commit_that_met_another_writer_is_tried_again(failing_commit: Any, message: str) -> None:
    assert failing_commit(message, 2) == 3


def test_retries_end_with_an_error(failing_commit: Any) -> None:
    assert failing_commit("database is locked", 1000) == COMMIT_ATTEMPTS


def test_an_error_of_another_kind_is_not_tried_again(failing_commit: Any) -> None:
    assert failing_commit("out of luck", 1000) == 1
