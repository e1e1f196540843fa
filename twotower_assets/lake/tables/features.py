"""The features that training reads, made from the log and the catalogue."""

from __future__ import annotations

from twotower_assets.core.buckets import BUCKETS
from twotower_assets.lake.tables.declaration import Column, Table, count, day, item, share, user

ORPHAN_CAUSES = ("leading zeros", "a trailing .0", "upper and lower case", "spaces", "punctuation")
"""In what `sql/features/orphan_items.sql` sees two ids differ."""
FEATURES = (
    Table(
        "item_frequency_daily",
        "How often each item was shown and clicked on a day: one row per item and day with at least one impression.",
        (
            day(source="impressions.day"),
            item("impressions.item_id"),
            count("impressions", "Times shown.", "impressions.item_id"),
            count("clicks", "Times clicked.", "impressions.clicked"),
            count("users", "Distinct users who saw it.", "impressions.user_id"),
            count(
                "clicking_users",
                "Distinct users who clicked it.",
                "impressions.user_id",
                "impressions.clicked",
            ),
        ),
        ("day", "item_id"),
    ),
    Table(
        "item_frequency",
        "Popularity as of the end of a day, over the trailing window: one row per item shown in the window.",
        (
            day("The last day of the window.", "item_frequency_daily.day"),
            item("item_frequency_daily.item_id"),
            count("impressions", "Times shown in the window.", "item_frequency_daily.impressions"),
            count("clicks", "Times clicked in the window.", "item_frequency_daily.clicks"),
            count(
                "decayed_impressions",
                "Impressions, decayed exponentially with the half-life.",
                "item_frequency_daily.impressions",
                type_="DOUBLE",
            ),
            count(
                "decayed_clicks",
                "Clicks, decayed exponentially with the half-life.",
                "item_frequency_daily.clicks",
                type_="DOUBLE",
            ),
            share(
                "q",
                "Share of the window's clicks; 0 in a window without clicks.",
                "item_frequency_daily.clicks",
            ),
            share("decayed_q", "Share of the decayed clicks.", "item_frequency_daily.clicks"),
            Column(
                "popularity_rank",
                "BIGINT",
                "1 for the most clicked item; ties by impressions, then item_id.",
                minimum=1,
                derived_from=("item_frequency_daily.clicks", "item_frequency_daily.impressions"),
            ),
            share(
                "cumulative_share",
                "Share of clicks of this and all higher ranks.",
                "item_frequency_daily.clicks",
            ),
            Column(
                "bucket",
                "VARCHAR",
                "head: the most popular items holding the first half of the clicks; mid: to 80 %; tail: the rest; "
                "cold: no click.",
                values=BUCKETS,
                derived_from=("item_frequency_daily.clicks",),
            ),
        ),
        ("day", "item_id"),
    ),
    Table(
        "exposure_log",
        "Shown and not clicked: one row per user, item, context and day. Items that the user clicked on that day or in "
        "the trailing window are excluded; later clicks have no effect.",
        (
            day(source="impressions.day"),
            user("impressions.user_id"),
            item("impressions.item_id"),
            Column(
                "context",
                "VARCHAR",
                "Where it was shown.",
                nullable=True,
                derived_from=("impressions.context",),
            ),
            Column(
                "request_id",
                "VARCHAR",
                "The request of the last impression.",
                nullable=True,
                derived_from=("impressions.request_id", "impressions.shown_at"),
            ),
            Column(
                "times_shown",
                "BIGINT",
                "Times shown on that day without a click.",
                minimum=1,
                derived_from=("impressions.shown_at",),
            ),
            Column(
                "first_shown_at",
                "TIMESTAMP",
                "Time of the first impression, UTC.",
                derived_from=("impressions.shown_at",),
            ),
            Column(
                "last_shown_at",
                "TIMESTAMP",
                "Time of the last impression, UTC.",
                derived_from=("impressions.shown_at",),
            ),
        ),
        ("day", "user_id", "item_id", "context"),
    ),
    Table(
        "orphan_items",
        "Items that were shown on a day and are not in the catalogue. They are trained and served without category.",
        (
            day(source="impressions.day"),
            item("impressions.item_id"),
            count("impressions", "Times shown.", "impressions.item_id"),
            count("clicks", "Times clicked.", "impressions.clicked"),
            Column(
                "likely_cause",
                "VARCHAR",
                "In what the id differs from one of the catalogue; null where none is alike.",
                nullable=True,
                values=ORPHAN_CAUSES,
                derived_from=("impressions.item_id", "items.item_id"),
            ),
            Column(
                "catalogue_item_id",
                "VARCHAR",
                "The item of the catalogue that was probably meant.",
                nullable=True,
                derived_from=("items.item_id",),
            ),
        ),
        ("day", "item_id"),
    ),
    Table(
        "category_map",
        "Item to category: one row per item.",
        (
            item("items.item_id"),
            Column("category", "VARCHAR", "Leaf category.", derived_from=("items.category",)),
            Column(
                "category_index",
                "BIGINT",
                "Index of the category in alphabetical order, from 0.",
                minimum=0,
                derived_from=("items.category",),
            ),
            Column(
                "category_items",
                "BIGINT",
                "Items in the category.",
                minimum=1,
                derived_from=("items.category", "items.item_id"),
            ),
            Column(
                "path",
                "VARCHAR[]",
                "Categories from the root to the leaf.",
                derived_from=("items.categories", "items.category"),
            ),
            Column("depth", "BIGINT", "Length of the path.", minimum=1, derived_from=("items.categories",)),
        ),
        ("item_id",),
    ),
    Table(
        "training_pairs",
        "The day's positives: one row per click, with what the user had clicked strictly before it.",
        (
            day(source="impressions.day"),
            user("impressions.user_id"),
            item("impressions.item_id"),
            Column("clicked_at", "TIMESTAMP", "When, UTC.", derived_from=("impressions.shown_at",)),
            Column(
                "history",
                "VARCHAR[]",
                "Items the user clicked in the trailing window strictly before `clicked_at`, oldest first, the "
                "latest `history_length` of them.",
                derived_from=("impressions.item_id", "impressions.clicked", "impressions.shown_at"),
            ),
            Column(
                "request_id",
                "VARCHAR",
                "Groups the items of one page.",
                nullable=True,
                derived_from=("impressions.request_id",),
            ),
            Column("context", "VARCHAR", "Where it was.", nullable=True, derived_from=("impressions.context",)),
            Column("weight", "DOUBLE", "Weight in training.", minimum=0, derived_from=("impressions.weight",)),
        ),
        ("user_id", "item_id", "clicked_at"),
    ),
)
