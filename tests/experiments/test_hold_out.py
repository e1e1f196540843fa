"""The hold-out as arrays: which users are evaluated, on what, knowing what."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import duckdb
import polars as pl
import pytest

from twotower_assets.experiments.hold_out import HoldOut, HoldOutError, HoldOutRule, read_hold_out

AS_OF = date(2024, 1, 5)
BY_DAY = HoldOutRule("by_day", 4, 0.2, 0.1)
Clicked = Callable[..., None]


@pytest.fixture
def clicked(insert: Callable[..., None]) -> Clicked:
    """Put clicks of January 2024 into `training_pairs`: `clicked("ann", 3, "a", "b")`."""

    def put(user: str, day: int, *items: str) -> None:
        for minute, item in enumerate(items):
            moment = f"2024-01-{day:02} 10:{minute:02}"
            row = {
                "day": moment[:10],
                "user_id": user,
                "item_id": item,
                "clicked_at": moment,
                "history": [],
                "weight": 1,
            }
            insert("training_pairs", row)

    return put


@pytest.fixture
def read(tables: duckdb.DuckDBPyConnection, insert: Callable[..., None]) -> Callable[[], HoldOut]:
    for item in ("a", "b", "c", "d"):
        insert("items", {"item_id": item, "category": "x"})
    return lambda: read_hold_out(tables, BY_DAY, AS_OF, 7)


def test_the_last_day_is_the_test_split_and_the_day_before_validates(
    clicked: Clicked, read: Callable[[], HoldOut]
) -> None:
    for day, item in ((1, "d"), (2, "a"), (3, "b"), (4, "c"), (5, "d")):
        clicked("ann", day, item)
    pairs = read().pairs
    assert dict(pairs.select("item_id", "split").iter_rows()) == {
        "a": "train",
        "b": "train",
        "c": "validation",
        "d": "test",
    }


def test_items_known_before_are_seen_and_are_not_to_be_found_again(
    clicked: Clicked, read: Callable[[], HoldOut]
) -> None:
    clicked("ann", 2, "a", "b")
    clicked("ann", 5, "b", "c", "c")
    view = read().view(("train", "validation"), "test", 10)
    assert view.user_ids.to_pylist() == ["ann"]
    assert view.seen.values.tolist() == [0, 1]
    assert view.relevant.values.tolist() == [2]


def test_a_history_holds_the_latest_known_clicks_oldest_first(clicked: Clicked, read: Callable[[], HoldOut]) -> None:
    clicked("ann", 2, "a", "b")
    clicked("ann", 4, "c")
    clicked("ann", 5, "d")
    clicked("bob", 5, "d")
    hold_out = read()
    assert hold_out.view(("train", "validation"), "test", 2).histories.to_pylist() == [["b", "c"], []]
    assert hold_out.view(("train",), "validation", 2).histories.to_pylist() == [["a", "b"]]


def test_counts_are_of_the_requested_splits_and_of_the_whole_catalogue(
    clicked: Clicked, read: Callable[[], HoldOut]
) -> None:
    clicked("ann", 2, "a", "a", "unlisted")
    clicked("ann", 4, "b")
    clicked("ann", 5, "b", "c")
    hold_out = read()
    assert hold_out.items["item_id"].to_pylist() == ["a", "b", "c", "d", "unlisted"]
    assert hold_out.item_clicks("train").tolist() == [2, 0, 0, 0, 1]
    assert hold_out.item_clicks("train", "validation", "test").tolist() == [2, 2, 1, 0, 1]
    assert hold_out.positions(pl.Series(["unlisted", "b"])).tolist() == [4, 1]


def test_without_a_click_before_the_held_out_days_there_is_nothing_to_train_on(
    clicked: Clicked, read: Callable[[], HoldOut]
) -> None:
    clicked("ann", 1, "a")
    clicked("ann", 4, "b")
    clicked("ann", 5, "c")
    with pytest.raises(HoldOutError, match="4 days holds 2 clicks, 1 of them validation and 1 test"):
        read()
