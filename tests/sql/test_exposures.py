"""What was shown and not clicked, as training sees it: no held-out click decides, under either hold-out rule."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import duckdb
import pytest

from twotower_assets.experiments.hold_out import HoldOutRule, read_hold_out

Row = dict[str, Any]
Show = Callable[..., None]
BY_DAY = HoldOutRule("by_day", window_days=4, test_share=0.2, validation_share=0.1)
PER_USER = HoldOutRule("per_user_last", window_days=4, test_share=0.2, validation_share=0.1)
DAYS = [f"2024-01-{day:02d}" for day in range(1, 13)]


@pytest.fixture
def featured(tables: duckdb.DuckDBPyConnection, query: Callable[..., list[Row]], jan: Callable[[int], date]) -> Any:
    """Build `training_pairs` and `exposure_log` from the impressions, as their assets do."""

    def build() -> None:
        for name in ("training_pairs", "exposure_log"):
            rows = query(
                f"features/{name}.sql",
                first_day=jan(1),
                last_day=jan(12),
                window_days=4,
                history_length=5,
                first_partition=jan(1),
            )
            for row in rows:
                names = ", ".join(row)
                tables.execute(f"INSERT INTO {name} ({names}) VALUES ({', '.join(f'${one}' for one in row)})", row)

    return build


@pytest.fixture
def exposures(featured: Callable[[], None], query: Callable[..., list[Row]], jan: Callable[[int], date]) -> Any:
    """Exposures of the training split as of 10 January: users with items."""

    def read(rule: HoldOutRule) -> list[Row]:
        featured()
        return query(f"training/exposures_{rule.hold_out}.sql", as_of=jan(10), **vars(rule))

    return read


def pairs(rows: list[Row]) -> set[tuple[str, str]]:
    return {(row["user_id"], row["item_id"]) for row in rows}


@pytest.fixture
def clicks(shown: Show) -> Callable[..., None]:
    """Ten clicks of a user on 8 January, an hour apart: eight to train on, one to validate with, two to test with."""

    def put(user: str, items: str = "abcdefghijk") -> None:
        for place, item in enumerate(items):
            shown(user, item, f"2024-01-08 {10 + place}:00", clicked=True)

    return put


def test_by_day_the_days_of_training_count_and_no_other(shown: Show, exposures: Any) -> None:
    for day in DAYS:
        shown("ann", f"seen on {day}", f"{day} 23:59")
    assert pairs(exposures(BY_DAY)) == {("ann", "seen on 2024-01-07"), ("ann", "seen on 2024-01-08")}


def test_by_day_what_was_clicked_up_to_the_day_it_was_shown_is_excluded(shown: Show, exposures: Any) -> None:
    for item, at in (("earlier", "2024-01-05"), ("same day", "2024-01-08"), ("long ago", "2024-01-04")):
        shown("ann", item, f"{at} 09:00", clicked=True)
        shown("ann", item, "2024-01-08 08:00")
    shown("bob", "same day", "2024-01-08 08:00")
    assert pairs(exposures(BY_DAY)) == {("ann", "long ago"), ("bob", "same day")}


@pytest.mark.parametrize("day", ["2024-01-09", "2024-01-10"])
def test_by_day_a_held_out_click_decides_nothing(shown: Show, exposures: Any, day: str) -> None:
    shown("ann", "a", "2024-01-08 08:00")
    shown("ann", "a", f"{day} 00:00", clicked=True)
    assert pairs(exposures(BY_DAY)) == {("ann", "a")}


def test_per_user_what_was_clicked_in_the_training_split_is_excluded_whenever_it_was_shown(
    shown: Show, clicks: Any, exposures: Any
) -> None:
    clicks("ann")
    clicks("bob", "nopqrstuvwx")
    for user in ("ann", "bob"):
        shown(user, "h", "2024-01-07 08:00")  # ann clicks it, as the last of her training split
        shown(user, "a", "2024-01-08 12:30")  # ann has clicked it before
    assert pairs(exposures(PER_USER)) == {("bob", "h"), ("bob", "a")}


@pytest.mark.parametrize("item", ["i", "j", "k"])
def test_per_user_a_held_out_click_decides_nothing(shown: Show, clicks: Any, exposures: Any, item: str) -> None:
    clicks("ann")
    shown("ann", item, "2024-01-08 09:00")
    assert pairs(exposures(PER_USER)) == {("ann", item)}


def test_per_user_other_items_in_the_held_out_clicks_change_no_exposure(
    shown: Show, clicks: Any, exposures: Any
) -> None:
    clicks("ann")
    clicks("bob", "abcdefghxyz")
    for user in ("ann", "bob"):
        for item in "xyzijk":
            shown(user, item, "2024-01-08 09:00")
    found = exposures(PER_USER)
    ann, bob = ([{**row, "user_id": ""} for row in found if row["user_id"] == user] for user in ("ann", "bob"))
    assert ann == bob
    assert len(ann) == 6


def test_per_user_nothing_counts_that_was_shown_after_the_last_training_click(
    shown: Show, clicks: Any, exposures: Any
) -> None:
    clicks("ann")
    shown("ann", "at that moment", "2024-01-08 17:00")
    shown("ann", "a moment later", "2024-01-08 17:00:01")
    shown("ann", "the next day", "2024-01-09 08:00")
    assert pairs(exposures(PER_USER)) == {("ann", "at that moment")}


def test_per_user_a_user_without_a_training_click_has_no_exposures(shown: Show, clicks: Any, exposures: Any) -> None:
    clicks("ann")
    shown("nobody", "z", "2024-01-08 08:00")
    shown("too late", "a", "2024-01-11 08:00", clicked=True)
    shown("too late", "z", "2024-01-08 08:00")
    assert exposures(PER_USER) == []


def test_per_user_what_was_shown_before_the_window_does_not_count(shown: Show, clicks: Any, exposures: Any) -> None:
    clicks("ann")
    shown("ann", "before", "2024-01-06 23:59")
    shown("ann", "inside", "2024-01-07 00:00")
    assert pairs(exposures(PER_USER)) == {("ann", "inside")}


@pytest.mark.parametrize("rule", [BY_DAY, PER_USER])
def test_times_shown_are_counted_by_context_and_the_request_is_that_of_the_last(
    shown: Show, clicks: Any, exposures: Any, rule: HoldOutRule
) -> None:
    clicks("ann")
    shown("ann", "z", "2024-01-08 06:00", context="home", request_id="first")
    shown("ann", "z", "2024-01-08 08:00", context="home", request_id="last")
    shown("ann", "z", "2024-01-08 07:00", context="home", request_id="between")
    shown("ann", "z", "2024-01-08 06:30")
    shown("ann", "z", "2024-01-08 06:45")
    rows = [(row["context"], row["times_shown"], row["request_id"]) for row in exposures(rule)]
    assert sorted(rows, key=str) == [("home", 3, "last"), (None, 2, None)]


@pytest.mark.parametrize("rule", [BY_DAY, PER_USER])
def test_impressions_of_items_are_counted_over_the_exposures_of_the_training_part(
    shown: Show,
    clicks: Any,
    featured: Callable[[], None],
    tables: duckdb.DuckDBPyConnection,
    jan: Callable[[int], date],
    rule: HoldOutRule,
) -> None:
    for user in ("ann", "bob"):
        clicks(user)
        shown(user, "z", "2024-01-08 08:00")
        shown(user, "z", "2024-01-07 08:00", context="home")
        shown(user, "z", "2024-01-07 09:00", context="home")
        shown(user, "z", "2024-01-10 08:00")
    featured()
    hold_out = read_hold_out(tables, rule, jan(10), 5, exposures=True)
    assert hold_out.impressions.to_pylist() == [{"item_id": "z", "impressions": 6}]
    assert hold_out.exposures is not None
    assert hold_out.exposures.num_rows == 4
    if rule == PER_USER:
        place = {item: place for place, item in enumerate(hold_out.items["item_id"].to_pylist())}
        popularity = hold_out.item_popularity("impressions", "train")
        assert (popularity[place["a"]], popularity[place["k"]]) == (2, 0)
    assert read_hold_out(tables, rule, jan(10), 5).exposures is None


def test_an_item_that_only_held_out_clicks_know_is_no_item_of_the_training_part(
    shown: Show, featured: Callable[[], None], tables: duckdb.DuckDBPyConnection, jan: Callable[[int], date]
) -> None:
    tables.execute("INSERT INTO items (item_id, category) VALUES ('listed', 'c')")
    for day in (8, 9, 10):
        shown("ann", f"clicked on {day}", f"2024-01-{day:02d} 08:00", clicked=True)
    featured()
    hold_out = read_hold_out(tables, BY_DAY, jan(10), 5)
    assert hold_out.items.num_rows == 4
    assert hold_out.items_known_in("train")["item_id"].to_pylist() == ["clicked on 8", "listed"]
    assert hold_out.items_known_in("train", "validation").num_rows == 3
