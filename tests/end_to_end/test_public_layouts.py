"""Public data sets in the layout in which they are published, from raw files to a report by SQL alone.

The files are generated: tab-separated text with stray quotation marks, JSON lines with values of many types, Parquet in
folders with lists.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from end_to_end.market import TRAINING, rows, twotower, workspace_in, write_settings

USERS, ITEMS, DAYS = 40, 30, 5
FIRST = datetime(2009, 3, 1)


def tastes() -> list[tuple[int, int, datetime, bool]]:
    """User, item, moment and whether the user likes it: each user likes a third of the items."""
    generator = np.random.default_rng(3)
    events = []
    for user in range(USERS):
        for day in range(DAYS):
            for place, item in enumerate(generator.choice(ITEMS, 6, replace=False).tolist()):
                moment = FIRST + timedelta(days=day, hours=8 + place, minutes=user)
                events.append((user, item, moment, item % 3 == user % 3))
    return events


def write_lastfm(folder: Path) -> dict[str, Any]:
    names = ['"Heroes" & Friends', "Ænima\\", "Guns N' Roses", '"', "a;b,c"]
    lines = []
    for user, item, moment, liked in tastes():
        artist = "" if item % 5 == 4 else f"{item:08d}-mbid"
        name = f"{names[item % len(names)]} {item}"
        if liked:
            lines.append(f"user_{user:06d}\t{moment.isoformat()}Z\t{artist}\t{name}\t\tTrack {item}\n")
    lines.append("user_000000\t2013-09-29T18:32:04Z\tlate\tOf the future\t\tTrack\n")
    (folder / "userid-timestamp-artid-artname-traid-traname.tsv").write_text("".join(lines), encoding="utf-8")
    profile = ["#id\tgender\tage\tcountry\tregistered\n", *(f"user_{user:06d}\tf\t\tPeru\t\n" for user in range(USERS))]
    (folder / "userid-profile.tsv").write_text("".join(profile), encoding="utf-8")
    return {}


def write_amazon(folder: Path) -> dict[str, Any]:
    for name in ("reviews", "meta"):
        (folder / name).mkdir()
    with (folder / "reviews" / "All_Beauty.jsonl").open("w", encoding="utf-8") as file:
        for user, item, moment, liked in tastes():
            milliseconds = int(moment.replace(tzinfo=UTC).timestamp() * 1000)
            review = {
                "rating": 5.0 if liked else 2,
                "title": 'So "so"\u2028',
                "text": "<br />",
                "images": [],
                "asin": f"B{item}",
                "parent_asin": f"{item:010d}",
                "user_id": f"AE{user}",
                "timestamp": milliseconds,
                "helpful_vote": 0,
                "verified_purchase": True,
            }
            file.write(json.dumps(review) + "\n")
    with (folder / "meta" / "meta_All_Beauty.jsonl").open("w", encoding="utf-8") as file:
        for item in range(ITEMS):
            price: Any = [None, 3.5, "—", "$5.99 - $7"][item % 4]
            meta = {
                "main_category": "All Beauty",
                "title": f"Thing {item}",
                "price": price,
                "store": None if item % 2 else "Shop",
                "categories": [] if item % 7 == 0 else ["Beauty", f"Shelf {item % 3}"],
                "details": {f"Key {item}": "1", "UPC": item},
                "parent_asin": f"{item:010d}",
                "bought_together": None,
            }
            file.write(json.dumps(meta) + "\n")
    return {}


def write_ebnerd(folder: Path) -> dict[str, Any]:
    views: dict[tuple[int, datetime], tuple[list[int], list[int]]] = {}
    for user, item, moment, liked in tastes():
        shown, clicked = views.setdefault((user, moment.replace(hour=8)), ([], []))
        shown += [item, item] if item % 9 == 0 else [item]
        clicked += [item] if liked else []
    table = pl.DataFrame(
        {
            "impression_id": range(len(views)),
            "article_id": [None if number % 2 else 7 for number in range(len(views))],
            "impression_time": [moment for _, moment in views],
            "article_ids_inview": [shown for shown, _ in views.values()],
            "article_ids_clicked": [clicked for _, clicked in views.values()],
            "user_id": [user for user, _ in views],
        },
        schema_overrides={"article_id": pl.Int32, "article_ids_inview": pl.List(pl.Int32), "user_id": pl.UInt32},
    )
    early = pl.col("impression_time") < FIRST + timedelta(days=3)
    for name, part in (("train", table.filter(early)), ("validation", table.filter(~early))):
        (folder / name).mkdir()
        part.write_parquet(folder / name / "behaviors.parquet")
    pl.DataFrame(
        {
            "article_id": list(range(ITEMS)),
            "title": [f"Nyhed {item}" for item in range(ITEMS)],
            "published_time": [FIRST] * ITEMS,
            "article_type": "article_default",
            "premium": False,
            "category_str": [f"c{item % 3}" for item in range(ITEMS)],
        },
        schema_overrides={"article_id": pl.Int32},
    ).write_parquet(folder / "articles.parquet")
    return {"hold_out": "by_day"}


@pytest.mark.parametrize(
    ("dataset", "write", "user", "title"),
    [
        ("lastfm_1k", write_lastfm, "user_000003", '" 3'),
        ("amazon_reviews", write_amazon, "AE3", "Thing 3"),
        ("ebnerd", write_ebnerd, "3", "Nyhed 3"),
    ],
)
def test_published_files_come_to_a_report(tmp_path: Path, dataset: str, write: Any, user: str, title: str) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    chosen = {"hold_out": "per_user_last", "first_day": "", "last_day": "", "window_days": DAYS} | write(raw)
    write_settings(tmp_path / "home", source_path=raw, dataset=dataset, **chosen)
    workspace = workspace_in(tmp_path / "home")
    assert workspace.days() == (FIRST.date(), date(2009, 3, DAYS))
    features = twotower(tmp_path / "home", "materialize", "features_job")
    assert ", 0 rejected" in features
    assert rows(workspace, "SELECT count(*) FROM orphan_items") == [(0,)]
    assert rows(workspace, f"SELECT count(*) FROM items WHERE title = '{title}'") == [(1,)]
    settings = [text for name, value in TRAINING.items() for text in ("--set", f"{name}={value}")]
    training = twotower(tmp_path / "home", "materialize", "training_job", *settings)
    assert "report: " in training
    assert json.loads(twotower(tmp_path / "home", "recommend", "--user", user, "-k", "3", "--json"))


def test_ids_of_digits_keep_their_zeros(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    write_amazon(raw)
    write_settings(
        tmp_path / "home", source_path=raw, dataset="amazon_reviews", first_day="", last_day="", window_days=DAYS
    )
    found = json.loads(twotower(tmp_path / "home", "check-data", "--json"))
    assert found["totals"]["top_item"].startswith("00000000")
    assert found["orphaned"] == 0
