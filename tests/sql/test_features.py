"""Features computed by hand: frequencies, exposures, categories, training pairs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

import duckdb
import numpy as np
import pytest

from twotower_assets.core.buckets import BUCKETS, HEAD_PERCENT, MID_PERCENT, popularity_buckets

Show = Callable[..., None]
Insert = Callable[..., None]
Query = Callable[..., list[dict[str, Any]]]
Jan = Callable[[int], date]
Feature = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def feature(query: Query, jan: Jan) -> Feature:
    """The rows of a daily feature from one day of January to another, by the rules that are given or these."""

    def run(name: str, first: int, last: int | None = None, **rules: Any) -> list[dict[str, Any]]:
        parameters = {
            "window_days": 3,
            "half_life_days": 1.0,
            "first_partition": date.min,
            "history_length": 10,
            "head_share": HEAD_PERCENT / 100,
            "mid_share": MID_PERCENT / 100,
            **rules,
        }
        return query(f"features/{name}.sql", first_day=jan(first), last_day=jan(last or first), **parameters)

    return run


@pytest.fixture
def counts(insert: Insert, jan: Jan) -> Callable[..., None]:
    """Put the daily counts of an item into `item_frequency_daily`."""

    def count(day: int, item: str, clicks: int, impressions: int | None = None) -> None:
        row = {"day": jan(day), "item_id": item, "clicks": clicks, "impressions": impressions or max(clicks, 1)}
        insert("item_frequency_daily", {**row, "users": 1, "clicking_users": min(clicks, 1)})

    return count


def by(rows: list[dict[str, Any]], key: str, *values: str) -> dict[Any, Any]:
    return {row[key]: tuple(row[value] for value in values) if len(values) > 1 else row[values[0]] for row in rows}


def test_daily_counts_hold_impressions_clicks_and_the_users_behind_them(
    shown: Show, feature: Feature, jan: Jan
) -> None:
    shown("ann", "a", "2024-01-02 00:00", clicked=True)
    shown("ann", "a", "2024-01-02 10:00", clicked=True)
    shown("bob", "a", "2024-01-02 23:59:59", clicked=False)
    shown("bob", "b", "2024-01-02 12:00", clicked=False)
    shown("bob", "a", "2024-01-03 00:00", clicked=True)
    assert feature("item_frequency_daily", 2) == [
        {"day": jan(2), "item_id": "a", "impressions": 3, "clicks": 2, "users": 2, "clicking_users": 1},
        {"day": jan(2), "item_id": "b", "impressions": 1, "clicks": 0, "users": 1, "clicking_users": 0},
    ]


def test_the_window_ends_with_its_day_and_starts_window_days_minus_one_before(
    counts: Callable[..., None], feature: Feature
) -> None:
    for day, item in ((1, "too old"), (2, "first"), (4, "own day"), (5, "tomorrow")):
        counts(day, item, 1)
    assert {row["item_id"] for row in feature("item_frequency", 4)} == {"first", "own day"}


def test_counts_are_halved_per_half_life(counts: Callable[..., None], feature: Feature) -> None:
    counts(1, "a", 8, 16)
    counts(2, "a", 4, 4)
    counts(3, "b", 3, 6)
    rows = by(feature("item_frequency", 3), "item_id", "impressions", "clicks", "decayed_impressions", "decayed_clicks")
    assert rows == {"a": (20, 12, 16 / 4 + 4 / 2, 8 / 4 + 4 / 2), "b": (6, 3, 6.0, 3.0)}
    shares = by(feature("item_frequency", 3), "item_id", "q", "decayed_q")
    assert shares["a"] == pytest.approx((12 / 15, 4 / 7))
    slower = by(feature("item_frequency", 3, half_life_days=2.0), "item_id", "decayed_clicks")
    assert slower["a"] == pytest.approx(8 / 2 + 4 / 2**0.5)


def test_items_are_ranked_by_clicks_then_impressions_then_id(counts: Callable[..., None], feature: Feature) -> None:
    for item, clicks, impressions in (("d", 1, 1), ("c", 1, 1), ("b", 1, 9), ("a", 0, 99), ("e", 2, 2)):
        counts(3, item, clicks, impressions)
    rows = feature("item_frequency", 3)
    assert [(row["popularity_rank"], row["item_id"]) for row in rows] == [
        (1, "e"),
        (2, "b"),
        (3, "c"),
        (4, "d"),
        (5, "a"),
    ]
    assert [row["cumulative_share"] for row in rows] == pytest.approx([0.4, 0.6, 0.8, 1, 1])


def test_buckets_hold_half_then_eighty_percent_then_the_rest_of_the_clicks(
    counts: Callable[..., None], feature: Feature
) -> None:
    for item, clicks in (("a", 30), ("b", 20), ("c", 30 - 1), ("d", 1), ("e", 20), ("f", 0)):
        counts(3, item, clicks)
    # a 30 % and c to 59 % are the head, b to 79 % and e to 99 % (it starts below 80 %) are mid, d is the tail.
    assert by(feature("item_frequency", 3), "item_id", "bucket") == {
        "a": "head",
        "c": "head",
        "b": "mid",
        "e": "mid",
        "d": "tail",
        "f": "cold",
    }


@pytest.mark.parametrize("seed", range(5))
def test_buckets_are_those_of_the_evaluation(tables: duckdb.DuckDBPyConnection, feature: Feature, seed: int) -> None:
    rng = np.random.default_rng(seed)
    clicks = rng.choice([0, 1, 2, 3, 5, 7, 10, 30], size=int(rng.integers(10, 200)))
    order = np.arange(len(clicks))
    tables.execute(
        "INSERT INTO item_frequency_daily SELECT DATE '2024-01-03', lpad(place::VARCHAR, 4, '0'), 30, clicks, 1, 1 "
        "FROM (SELECT unnest($places) AS place, unnest($clicks) AS clicks)",
        {"places": order.tolist(), "clicks": clicks.tolist()},
    )
    found = by(feature("item_frequency", 3), "item_id", "bucket")
    expected = popularity_buckets(clicks)
    assert found == {f"{place:04d}": BUCKETS[expected[place]] for place in order}


def test_the_boundary_between_buckets_is_exact(counts: Callable[..., None], feature: Feature) -> None:
    # With these counts the share of clicks before item 'm' is exactly one half, before 't' exactly 80 %.
    for total, head, mid in ((10, 5, 3), (70, 35, 21), (490, 245, 147), (1230, 615, 369)):
        day = 20 + len(str(total)) + total % 7
        counts(day, "h", head)
        counts(day, "m", mid)
        counts(day, "t", 1)
        for place in range(total - head - mid - 1):
            counts(day, f"t{place:04d}", 1)
        rows = by(feature("item_frequency", day, window_days=1), "item_id", "bucket")
        assert (rows["h"], rows["m"], rows["t"]) == ("head", "mid", "tail")


def test_the_sampling_probabilities_sum_to_one(counts: Callable[..., None], feature: Feature) -> None:
    for place in range(60):
        counts(1 + place % 5, f"i{place % 37}", place % 11)
    for day in range(1, 6):
        rows = feature("item_frequency", day)
        assert sum(row["q"] for row in rows) == pytest.approx(1)
        assert sum(row["decayed_q"] for row in rows) == pytest.approx(1)


def test_a_window_without_clicks_has_q_zero_and_only_cold_items(counts: Callable[..., None], feature: Feature) -> None:
    counts(3, "a", 0, 5)
    (row,) = feature("item_frequency", 3)
    assert (row["q"], row["decayed_q"], row["cumulative_share"], row["bucket"]) == (0, 0, 0, "cold")
    assert feature("item_frequency", 20) == []


def test_a_later_day_changes_nothing_before_it(shown: Show, feature: Feature, counts: Callable[..., None]) -> None:
    names = ("item_frequency_daily", "item_frequency", "exposure_log", "training_pairs")
    for hour in range(6):
        shown("ann", f"i{hour % 4}", f"2024-01-03 1{hour}:00", clicked=hour % 2 == 0)
    counts(3, "i0", 2)
    before = {name: feature(name, 3) for name in names}
    assert all(before.values())
    for item in ("i0", "i1", "i2", "i3", "fresh"):
        shown("ann", item, "2024-01-04 00:00", clicked=True)
        counts(4, item, 9)
    assert {name: feature(name, 3) for name in names} == before


@pytest.mark.parametrize("name", ["item_frequency_daily", "item_frequency", "exposure_log", "training_pairs"])
def test_a_range_of_days_gives_the_rows_of_the_days_one_by_one(
    tables: duckdb.DuckDBPyConnection, feature: Feature, name: str
) -> None:
    rng = np.random.default_rng(3)
    size = 600
    drawn = {
        "users": rng.integers(0, 8, size).tolist(),
        "items": rng.integers(0, 12, size).tolist(),
        "minutes": (rng.permutation(8 * 1440)[:size]).tolist(),
        "clicks": (rng.random(size) < 0.3).tolist(),
    }
    tables.execute(
        "INSERT INTO impressions SELECT shown_at::DATE, 'u' || who, 'i' || what, shown_at, clicked, NULL, "
        "if(who % 2 = 0, 'home', NULL), NULL, NULL FROM (SELECT unnest($users) AS who, unnest($items) AS what, "
        "TIMESTAMP '2024-01-01' + to_minutes(unnest($minutes)::INTEGER) AS shown_at, unnest($clicks) AS clicked)",
        drawn,
    )
    tables.execute(
        "INSERT INTO item_frequency_daily BY NAME SELECT day, item_id, count(*) AS impressions, "
        "count(*) FILTER (clicked) AS clicks, 1 AS users, 1 AS clicking_users FROM impressions GROUP BY day, item_id"
    )
    at_once = feature(name, 3, 7)
    one_by_one = [row for day in range(3, 8) for row in feature(name, day)]
    assert len(at_once) > 20
    assert _comparable(at_once) == _comparable(one_by_one)


def _comparable(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(
        repr({key: round(value, 9) if isinstance(value, float) else value for key, value in row.items()})
        for row in rows
    )


def exposures(rows: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(row["user_id"], row["item_id"]) for row in rows}


@pytest.mark.parametrize(
    ("clicked_at", "kept"),
    [
        ("2024-01-05 09:00", False),  # the same day, before
        ("2024-01-05 23:00", False),  # the same day, after
        ("2024-01-03 00:00", False),  # the first moment of the window
        ("2024-01-02 23:59", True),  # before the window
        ("2024-01-06 00:00", True),  # a later day never decides
    ],
)
def test_an_exposure_counts_unless_the_user_clicked_the_item_in_the_window(
    shown: Show, feature: Feature, clicked_at: str, kept: bool
) -> None:
    shown("ann", "a", "2024-01-05 12:00")
    shown("ann", "a", clicked_at, clicked=True)
    assert (("ann", "a") in exposures(feature("exposure_log", 5))) is kept


def test_another_users_click_and_another_items_click_decide_nothing(shown: Show, feature: Feature) -> None:
    shown("ann", "a", "2024-01-05 12:00")
    shown("bob", "a", "2024-01-05 12:00", clicked=True)
    shown("ann", "b", "2024-01-05 12:00", clicked=True)
    assert exposures(feature("exposure_log", 5)) == {("ann", "a")}


def test_exposures_are_counted_per_context_with_their_first_and_last_time(shown: Show, feature: Feature) -> None:
    for at, context in (("10:00", "home"), ("11:00", "home"), ("09:00", "home"), ("12:00", "search"), ("13:00", None)):
        shown("ann", "a", f"2024-01-05 {at}", context=context)
    found = by(feature("exposure_log", 5), "context", "times_shown", "first_shown_at", "last_shown_at")
    assert found == {
        "home": (3, datetime(2024, 1, 5, 9), datetime(2024, 1, 5, 11)),
        "search": (1, datetime(2024, 1, 5, 12), datetime(2024, 1, 5, 12)),
        None: (1, datetime(2024, 1, 5, 13), datetime(2024, 1, 5, 13)),
    }


def test_an_exposure_has_the_request_of_the_last_of_its_times_that_had_one(shown: Show, feature: Feature) -> None:
    for at, request in (("10:00", "first"), ("12:00", "last"), ("11:00", "second"), ("13:00", None)):
        shown("ann", "a", f"2024-01-05 {at}", request_id=request)
    shown("ann", "b", "2024-01-05 10:00")
    assert by(feature("exposure_log", 5), "item_id", "request_id", "times_shown") == {"a": ("last", 4), "b": (None, 1)}


def test_categories_are_numbered_in_order_and_paths_end_where_they_are_given(insert: Insert, query: Query) -> None:
    insert("items", {"item_id": "1", "category": "sport"}, {"item_id": "2", "category": "arts"})
    insert("items", {"item_id": "3", "category": "sport", "categories": ["all", "sport"]})
    insert("items", {"item_id": "4", "category": "unknown"})
    rows = by(
        query("features/category_map.sql"), "item_id", "category", "category_index", "category_items", "path", "depth"
    )
    assert rows == {
        "1": ("sport", 1, 2, ["sport"], 1),
        "2": ("arts", 0, 1, ["arts"], 1),
        "3": ("sport", 1, 2, ["all", "sport"], 2),
        "4": ("unknown", 2, 1, ["unknown"], 1),
    }


@pytest.mark.parametrize(
    ("orphan", "listed", "cause"),
    [
        ("444778", "0444778", "leading zeros"),
        ("7.0", "7", "a trailing .0"),
        ("SKU-1a", "sku-1A", "upper and lower case"),
        ("sku 1", "sku1", "spaces"),
        ("sku\u00a01", "sku1", "spaces"),
        ("SKU_1", "sku-1", "punctuation"),
        ("nobody", "sku-1", None),
        ("---", "sku-1", None),
    ],
)
def test_an_item_outside_the_catalogue_is_matched_with_the_one_that_was_meant(
    insert: Insert, shown: Show, feature: Feature, orphan: str, listed: str, cause: str | None
) -> None:
    insert("items", {"item_id": listed, "category": "c"}, {"item_id": "known", "category": "c"})
    shown("ann", "known", "2024-01-05 10:00", clicked=True)
    shown("ann", orphan, "2024-01-05 11:00")
    shown("bob", orphan, "2024-01-05 12:00", clicked=True)
    shown("bob", orphan, "2024-01-06 12:00")
    (found,) = feature("orphan_items", 5)
    assert (found["item_id"], found["impressions"], found["clicks"]) == (orphan, 2, 1)
    assert (found["likely_cause"], found["catalogue_item_id"]) == (cause, listed if cause else None)


@pytest.fixture
def clicks(shown: Show) -> Callable[..., None]:
    """One user's clicks: `clicks("ann", ("a", "2024-01-03 10:00"), …)`."""

    def click(user: str, *moments: tuple[str, str], **more: Any) -> None:
        for item, at in moments:
            shown(user, item, at, clicked=True, **more)

    return click


def histories(rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    return by(rows, "item_id", "history")


def test_a_history_holds_what_was_clicked_strictly_before_oldest_first(
    clicks: Callable[..., None], shown: Show, feature: Feature
) -> None:
    clicks("ann", ("c", "2024-01-05 12:00"), ("a", "2024-01-04 12:00"), ("b", "2024-01-05 09:00"))
    clicks("bob", ("x", "2024-01-05 08:00"))
    shown("ann", "seen", "2024-01-05 10:00")
    assert histories(feature("training_pairs", 5)) == {"b": ["a"], "c": ["a", "b"], "x": []}


def test_clicks_at_the_same_moment_do_not_see_each_other_and_one_microsecond_later_does(
    clicks: Callable[..., None], feature: Feature
) -> None:
    noon = "2024-01-05 12:00:00"
    clicks("ann", ("b", noon), ("a", noon), ("c", f"{noon}.000001"))
    assert histories(feature("training_pairs", 5)) == {"a": [], "b": [], "c": ["a", "b"]}


def test_a_history_reaches_back_over_whole_days_of_the_window(clicks: Callable[..., None], feature: Feature) -> None:
    clicks("ann", ("old", "2024-01-02 23:59:59"), ("edge", "2024-01-03 00:00"), ("now", "2024-01-05 00:30"))
    clicks("ann", ("late", "2024-01-05 23:59"))
    assert histories(feature("training_pairs", 5)) == {"now": ["edge"], "late": ["edge", "now"]}
    assert histories(feature("training_pairs", 5, window_days=1)) == {"now": [], "late": ["now"]}


def test_of_a_long_history_the_latest_clicks_are_kept(clicks: Callable[..., None], feature: Feature) -> None:
    clicks("ann", *((item, f"2024-01-05 1{place}:00") for place, item in enumerate("abcde")))
    assert histories(feature("training_pairs", 5, history_length=2))["e"] == ["c", "d"]
    assert histories(feature("training_pairs", 5, history_length=4))["e"] == ["a", "b", "c", "d"]


@pytest.mark.parametrize("seed", range(3))
def test_histories_are_those_of_the_definition(shown: Show, feature: Feature, jan: Jan, seed: int) -> None:
    rng = np.random.default_rng(seed)
    moments = [datetime(2024, 1, 1) + timedelta(hours=6 * int(step)) for step in rng.integers(0, 40, 120)]
    drawn = {(f"u{rng.integers(3)}", f"i{rng.integers(9)}", moment) for moment in moments}
    for user, item, moment in drawn:
        shown(user, item, str(moment), clicked=True)

    def history(user: str, at: datetime) -> list[str]:
        opens = datetime(at.year, at.month, at.day) - timedelta(days=2)
        past = sorted((when, item) for who, item, when in drawn if who == user and opens <= when < at)
        return [item for _, item in past[-5:]]

    found = {
        (row["user_id"], row["item_id"], row["clicked_at"]): row["history"]
        for row in feature("training_pairs", 4, 9, history_length=5)
    }
    expected = {one: history(one[0], one[2]) for one in drawn if jan(4) <= one[2].date() <= jan(9)}
    assert found == expected
    assert max(map(len, found.values())) == 5


def test_an_item_that_is_clicked_again_is_in_its_own_history(clicks: Callable[..., None], feature: Feature) -> None:
    clicks("ann", ("a", "2024-01-04 12:00"), ("a", "2024-01-05 12:00"), ("a", "2024-01-05 13:00"))
    rows = feature("training_pairs", 5)
    assert [(row["item_id"], row["history"]) for row in rows] == [("a", ["a"]), ("a", ["a", "a"])]


def test_a_pair_keeps_request_context_and_weight_and_counts_once_without_a_weight(
    clicks: Callable[..., None], feature: Feature
) -> None:
    clicks("ann", ("a", "2024-01-05 12:00"), request_id="r", context="home", weight=2.5)
    clicks("ann", ("b", "2024-01-05 13:00"))
    rows = by(feature("training_pairs", 5), "item_id", "clicked_at", "request_id", "context", "weight")
    noon = datetime(2024, 1, 5, 12)
    assert rows == {"a": (noon, "r", "home", 2.5), "b": (noon + timedelta(hours=1), None, None, 1.0)}
