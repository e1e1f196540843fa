"""The hold-out: which clicks are train, validation and test, and that held-out clicks change nothing in train."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from twotower_assets.experiments.hold_out import HoldOutError, HoldOutRule, read_hold_out

Clicks = Callable[..., None]
Splits = Callable[..., dict[str, list[str]]]
BY_DAY = HoldOutRule("by_day", window_days=4, test_share=0.2, validation_share=0.1)
PER_USER = HoldOutRule("per_user_last", window_days=4, test_share=0.2, validation_share=0.1)


@pytest.fixture
def pair(insert: Callable[..., None]) -> Clicks:
    """Put clicks into `training_pairs`: `pair("ann", "a", "2024-01-03 10:00")`."""

    def put(user: str, item: str, at: str, history: tuple[str, ...] = ()) -> None:
        insert(
            "training_pairs",
            {
                "day": at[:10],
                "user_id": user,
                "item_id": item,
                "clicked_at": at,
                "history": list(history),
                "weight": 1.0,
            },
        )

    return put


@pytest.fixture
def pairs_of(query: Callable[..., list[dict[str, Any]]], jan: Callable[[int], date]) -> Callable[..., Any]:
    """The rows of one split as of 10 January."""

    def read(rule: HoldOutRule, split: str) -> list[dict[str, Any]]:
        rows = query(f"training/hold_out_{rule.hold_out}.sql", as_of=jan(10), **vars(rule))
        return [row for row in rows if row["split"] == split]

    return read


@pytest.fixture
def splits(pairs_of: Callable[..., Any]) -> Splits:
    """The items of each split as of 10 January, in order."""

    def read(rule: HoldOutRule) -> dict[str, list[str]]:
        return {split: [row["item_id"] for row in pairs_of(rule, split)] for split in ("train", "validation", "test")}

    return read


def test_by_day_the_last_day_is_test_the_day_before_validation_and_the_window_before_these_train(
    pair: Clicks, splits: Splits
) -> None:
    for day in range(5, 13):
        pair("ann", f"day {day}", f"2024-01-{day:02d} 23:59")
    assert splits(BY_DAY) == {"train": ["day 7", "day 8"], "validation": ["day 9"], "test": ["day 10"]}


def test_by_day_clicks_planted_on_the_last_two_days_change_nothing_in_train(
    pair: Clicks, pairs_of: Callable[..., Any]
) -> None:
    for day in range(7, 11):
        pair("ann", "a", f"2024-01-{day:02d} 12:00", ("z",))
    before = pairs_of(BY_DAY, "train")
    assert len(before) == 2
    for user in ("ann", "newcomer"):
        pair(user, "planted", "2024-01-09 00:00")
        pair(user, "planted", "2024-01-10 23:59")
    assert pairs_of(BY_DAY, "train") == before


def ten_clicks(pair: Clicks, user: str = "ann", items: str = "abcdefghijk") -> None:
    for place, item in enumerate(items):
        pair(user, item, f"2024-01-08 {10 + place}:00", tuple(items[:place]))


def test_per_user_the_last_share_is_test_and_the_share_before_it_validation(pair: Clicks, splits: Splits) -> None:
    ten_clicks(pair)
    assert splits(PER_USER) == {"train": list("abcdefgh"), "validation": ["i"], "test": ["j", "k"]}


def test_per_user_every_user_is_split_by_their_own_clicks(pair: Clicks, splits: Splits) -> None:
    pair("early", "a", "2024-01-07 10:00")
    pair("early", "b", "2024-01-07 11:00")
    pair("late", "c", "2024-01-10 10:00")
    pair("late", "d", "2024-01-10 11:00")
    assert splits(PER_USER) == {"train": ["a", "c"], "validation": [], "test": ["b", "d"]}


def test_per_user_a_single_click_is_for_training(pair: Clicks, splits: Splits) -> None:
    pair("ann", "only", "2024-01-10 10:00")
    assert splits(PER_USER) == {"train": ["only"], "validation": [], "test": []}


def test_per_user_clicks_of_one_moment_are_split_in_the_order_of_their_items(pair: Clicks, splits: Splits) -> None:
    for item in reversed("abcdefghijk"):
        pair("ann", item, "2024-01-08 10:00")
    assert splits(PER_USER) == {"train": list("abcdefgh"), "validation": ["i"], "test": ["j", "k"]}


def test_per_user_clicks_outside_the_window_do_not_count(pair: Clicks, splits: Splits) -> None:
    pair("ann", "before", "2024-01-06 10:00")
    pair("ann", "inside", "2024-01-07 10:00")
    pair("ann", "after", "2024-01-11 10:00")
    assert splits(PER_USER) == {"train": ["inside"], "validation": [], "test": []}


@pytest.mark.parametrize("items", ["abcdefghXYZ", "abcdefghZZZ"])
def test_per_user_other_items_in_the_held_out_clicks_change_nothing_in_train(
    pair: Clicks, pairs_of: Callable[..., Any], items: str
) -> None:
    ten_clicks(pair, "ann")
    ten_clicks(pair, "bob", items)
    ann, bob = ([row for row in pairs_of(PER_USER, "train") if row["user_id"] == user] for user in ("ann", "bob"))
    assert len(ann) == 8
    assert [{**row, "user_id": "ann"} for row in bob] == ann


@pytest.mark.parametrize("rule", [BY_DAY, PER_USER])
def test_the_splits_keep_every_click_of_the_window_once_in_the_order_of_time(
    pair: Clicks, tables: Any, jan: Callable[[int], date], rule: HoldOutRule
) -> None:
    for number in range(40):
        pair(f"u{number % 3}", f"i{number % 7}", f"2024-01-{5 + number % 7:02d} {number % 24:02d}:{number:02d}")
    found = read_hold_out(tables, rule, jan(10), 5).pairs
    inside = tables.execute("SELECT count(*) FROM training_pairs WHERE day BETWEEN '2024-01-07' AND '2024-01-10'")
    assert len(found) == inside.fetchone()[0] == len(found.unique(["user_id", "item_id", "clicked_at"]))
    assert found["clicked_at"].is_sorted()
    assert set(found["split"]) == {"train", "validation", "test"}


def test_nothing_left_to_train_on_is_an_error_that_counts_what_there_is(
    pair: Clicks, tables: Any, jan: Callable[[int], date]
) -> None:
    pair("ann", "a", "2024-01-10 10:00")
    pair("ann", "b", "2024-01-09 10:00")
    with pytest.raises(HoldOutError, match=r"2024-01-10.*2 clicks, 1 of them validation and 1 test"):
        read_hold_out(tables, BY_DAY, jan(10), 5)


def test_the_catalogue_holds_every_item_once_and_what_was_clicked_without_being_in_it(
    pair: Clicks, insert: Callable[..., None], query: Callable[..., list[dict[str, Any]]], jan: Callable[[int], date]
) -> None:
    insert("items", {"item_id": "b", "category": "news", "title": "B"}, {"item_id": "d", "category": "news"})
    for item, at in (("b", "2024-01-07"), ("a", "2024-01-07"), ("a", "2024-01-08"), ("old", "2024-01-06")):
        pair("ann", item, f"{at} 10:00")
    rows = query("training/catalogue.sql", as_of=jan(10), window_days=4)
    assert [(row["item_id"], row["category"], row["title"]) for row in rows] == [
        ("a", "unknown", None),
        ("b", "news", "B"),
        ("d", "news", None),
    ]
