"""Which users a report shows, and what it says of their lists."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from twotower_assets.core.buckets import BUCKETS, popularity_buckets
from twotower_assets.core.ragged import Ragged
from twotower_assets.experiments.evaluate_model import ModelEvaluation
from twotower_assets.experiments.hold_out import UsersView
from twotower_assets.experiments.sample_users import TASTE_CLICKS, sample_users

ITEMS = 60
ANGLES = np.linspace(0, np.pi, ITEMS)
VECTORS = np.column_stack([np.cos(ANGLES), np.sin(ANGLES)]).astype(np.float32)
COUNTS = np.arange(ITEMS, 0, -1)
LOG_Q = np.log(COUNTS / COUNTS.sum())
# The popular items come first: 0 is clicked most.
SEEN = {
    "few": [30],
    "light": [5, 6],
    "lone": [0],
    "pair": [40, 41],
    "many": list(range(0, 50, 2)),
    "median": list(range(20, 19 + TASTE_CLICKS)),
    "new": [],
    "niche": list(range(ITEMS - TASTE_CLICKS, ITEMS)),
    "popular": list(range(TASTE_CLICKS)),
    "unfindable": list(range(1, 60, 2)),
}
RELEVANT = {
    "few": [31],
    "light": [9],
    "lone": [2],
    "pair": [42],
    "many": [1],
    "median": [10],
    "new": [0],
    "niche": [49],
    "popular": [11],
    "unfindable": [],
}


def evaluation(*names: str, untitled: int = 5) -> ModelEvaluation:
    seen, relevant = (Ragged.from_lists([of[name] for name in names]) for of in (SEEN, RELEVANT))
    titles = [None if place == untitled else f"title {place}" for place in range(ITEMS)]
    view = UsersView(
        user_ids=pa.array(names),
        histories=pa.array([[f"i{place}" for place in SEEN[name]] for name in names]),
        seen=seen,
        relevant=relevant,
        clicked_at=None,
    )
    items = pa.table({"item_id": [f"i{place}" for place in range(ITEMS)], "title": titles})
    users = np.array([VECTORS[SEEN[name]].mean(axis=0) if SEEN[name] else [0, 0] for name in names], np.float32)
    return ModelEvaluation(
        checkpoint=SimpleNamespace(trained_popularity_weight=0.0),  # type: ignore[arg-type]
        hold_out=SimpleNamespace(items=items),  # type: ignore[arg-type]
        view=view,
        item_vectors=VECTORS,
        scores=lambda rows: users[rows] @ VECTORS.T,
        counts=COUNTS,
        log_q=LOG_Q,
    )


def test_users_are_chosen_by_the_rule_and_shown_once() -> None:
    found = {
        user.user_id: user.chosen_as
        for user in sample_users(evaluation(*(name for name in SEEN if name not in {"lone", "pair"})))
    }
    assert found == {
        "many": "the most clicks",
        "median": "the median number of clicks",
        "few": "the fewest clicks",
        "niche": "the least popular taste",
        "popular": "the most popular taste",
        "new": "no click before",
    }


def test_a_user_whom_several_rules_name_is_shown_under_the_first() -> None:
    (user,) = sample_users(evaluation("many"))
    assert (user.user_id, user.chosen_as, user.clicks) == ("many", "the most clicks", 25)


def test_taste_is_told_only_of_users_with_enough_clicks() -> None:
    found = sample_users(evaluation("few", "lone", "light", "pair"))
    assert [user.user_id for user in found] == ["light", "lone", "few"]


def test_without_a_click_to_find_nobody_is_shown() -> None:
    assert sample_users(evaluation("unfindable")) == []


def test_a_list_says_buckets_reasons_and_hits() -> None:
    (user,) = sample_users(evaluation("few"))
    assert set(user.lists) == {0.0, 0.5, 1.0}
    first = user.lists[0.0][0]
    assert first.title in {"title 29", "title 31"}
    assert list(first.reasons) == ["title 30"]
    assert {item.title for item in user.lists[0.0] if item.hit} == {"title 31"}
    buckets = {f"i{place}": BUCKETS[bucket] for place, bucket in enumerate(popularity_buckets(COUNTS))}
    assert all(item.bucket == buckets[item.item_id] for shown in user.lists.values() for item in shown)
    assert all(item.item_id != "i30" for shown in user.lists.values() for item in shown)


def test_the_nearest_of_the_clicked_items_come_first_among_the_reasons() -> None:
    (user,) = sample_users(evaluation("median"))
    by_title = {item.title: list(item.reasons) for item in user.lists[0.0]}
    assert by_title["title 19"] == ["title 20", "title 21"]


def test_an_item_without_a_title_goes_by_its_id_and_a_user_without_clicks_has_no_reasons() -> None:
    (user,) = sample_users(evaluation("new"))
    assert user.history == []
    shown = user.lists[1.0]
    assert [item.title for item in shown][:6] == ["title 0", "title 1", "title 2", "title 3", "title 4", "i5"]
    assert all(not item.reasons for item in shown)
    assert shown[0].hit


@pytest.mark.parametrize("names", [("niche", "popular"), ("popular", "niche")])
def test_lists_are_those_of_the_user_whatever_the_order(names: tuple[str, str]) -> None:
    alone = {user.user_id: user.lists for name in names for user in sample_users(evaluation(name))}
    together = {user.user_id: user.lists for user in sample_users(evaluation(*names))}
    assert together == alone
